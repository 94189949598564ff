//! What an encoder is shown of a grain, and its checks.

use serde::{Deserialize, Serialize};

use crate::{Error, Levels, PixelsRef, StoredImage, resample::Interpolation};

/// What a view shows (`[source.view]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ViewConfig {
    /// Side of a view, in pixels.
    pub size_px: u32,
    /// How much of the source it shows.
    pub field: Field,
    /// A second, smaller field, in additional planes after those of the first: at full resolution where the first one
    /// is reduced. It lies anywhere in the region; the encoder's `scales` is then 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Field>,
    /// What is hidden.
    pub mask: Masking,
    /// Which planes it has.
    pub channels: Channels,
    /// How values between pixels are interpolated.
    pub interpolation: Interpolation,
    /// What becomes 0 and 1: by default percentiles of each image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub levels: Option<LevelsFrom>,
}

impl Default for ViewConfig {
    fn default() -> Self {
        Self {
            size_px: 64,
            field: Field::Grain(1.5),
            detail: None,
            mask: Masking::default(),
            channels: Channels::default(),
            interpolation: Interpolation::default(),
            levels: None,
        }
    }
}

/// Side of the square (or diameter of the disc) of the source that a view shows. For whole images and tiles nothing is
/// shown but pixels of the image: a field that does not lie within it at every angle is shrunk until it does (to a disc
/// in the image, or without a mask to a square whose diagonal is the disc's diameter), and moved. For grains the image
/// continues beyond its edges as its mirror image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Field {
    /// A multiple of the equivalent diameter of the grain, or of the shorter side of a tile or whole image.
    Grain(f64),
    /// This many source pixels: all grains at one magnification.
    Px(f64),
    /// This many micrometres: all grains at one magnification, even on images with other pixel sizes. An image of
    /// unknown pixel size is an error.
    Um(f64),
}

/// What a view hides. Hidden pixels are set to the mean of the visible ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Masking {
    /// Nothing: a square.
    None,
    /// Everything outside of the inscribed disc, which looks the same at every angle.
    #[default]
    Circle,
    /// Everything outside of the grain, or of the inscribed disc.
    Grain,
}

/// The planes of a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channels {
    /// Those of the images, which must all have the same number.
    #[default]
    Stored,
    /// Their mean, one plane.
    Mean,
}

/// The pixel values that become 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LevelsFrom {
    /// Percentiles of each image, as determined by the ingest: exposure then carries no information.
    #[default]
    Image,
    /// The smallest and the largest value of 8 or 16 bits: for images taken under one light, whose brightness is a
    /// property of the specimen.
    Type,
    /// These two values, for images of the same gain and offset.
    Range([f32; 2]),
}

impl LevelsFrom {
    /// The levels of an image; `None` if its pixel type has none.
    pub(super) fn of(self, image: &StoredImage) -> Option<Levels> {
        let span = |low, high| Some(Levels { low, high });
        match (self, image.pixels().pixels) {
            (Self::Image, _) => Some(image.levels),
            (Self::Range([low, high]), _) => span(low, high),
            (Self::Type, PixelsRef::U8(_)) => span(0.0, f32::from(u8::MAX)),
            (Self::Type, PixelsRef::U16(_)) => span(0.0, f32::from(u16::MAX)),
            (Self::Type, PixelsRef::F32(_)) => None,
        }
    }
}

/// Which views make up the embedding of a grain (`[source.embed]`): the mean over `rotations * crops` views.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbedConfig {
    /// Views at even angles over the circle. A mean over 4 is unchanged by quarter turns.
    pub rotations: u32,
    /// Number of places, spread evenly over a disc in the region; 1 if the field leaves no room to move.
    pub crops: u32,
    /// How far the first view is rotated, in degrees. At a multiple of 90 and about one source pixel per view pixel,
    /// values are copied, while every view that the encoder was trained on was interpolated: their finest details have
    /// twice the power. At 7.5 degrees, and in steps of 15 from there, all views are interpolated alike.
    pub angle_deg: f64,
}

impl Default for EmbedConfig {
    fn default() -> Self {
        Self { rotations: 1, crops: 1, angle_deg: 7.5 }
    }
}

/// Largest field around a grain, in diameters.
const MAX_CONTEXT: f64 = 16.0;

/// Largest view, in pixels per side.
const MAX_SIZE_PX: u32 = 4096;

impl ViewConfig {
    /// Checks the settings that do not depend on the images.
    ///
    /// # Errors
    /// [`Error::Config`], naming the setting.
    pub fn validate(&self) -> Result<(), Error> {
        if !(4..=MAX_SIZE_PX).contains(&self.size_px) {
            return Err(refuse("view.size_px", format!("4 to {MAX_SIZE_PX}"), self.size_px));
        }
        if let Some(LevelsFrom::Range([low, high])) = self.levels
            && !(low.is_finite() && high.is_finite() && low < high)
        {
            let found = format!("[{low}, {high}]");
            return Err(refuse("view.levels.range", "two numbers, the lower first".into(), found));
        }
        for (key, field) in [("field", Some(self.field)), ("detail", self.detail)] {
            let Some(field) = field else { continue };
            let (unit, value, most) = match field {
                Field::Grain(value) => ("grain", value, MAX_CONTEXT),
                Field::Px(value) => ("px", value, 1e9),
                Field::Um(value) => ("um", value, 1e9),
            };
            if !(value > 0.0 && value <= most) {
                return Err(refuse(format!("view.{key}.{unit}"), format!("more than 0 and at most {most}"), value));
            }
        }
        Ok(())
    }

    /// Which pixel values become 0 and 1.
    pub fn levels(&self) -> LevelsFrom {
        self.levels.unwrap_or_default()
    }

    /// Number of fields that a view shows.
    pub fn num_fields(&self) -> usize {
        1 + usize::from(self.detail.is_some())
    }
}

impl EmbedConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`], naming the setting.
    pub fn validate(&self) -> Result<(), Error> {
        for (name, value) in [("embed.rotations", self.rotations), ("embed.crops", self.crops)] {
            if !(1..=360).contains(&value) {
                return Err(refuse(name, "1 to 360".into(), value));
            }
        }
        if !(-360.0..=360.0).contains(&self.angle_deg) {
            return Err(refuse("embed.angle_deg", "-360 to 360".into(), self.angle_deg));
        }
        Ok(())
    }
}

pub(crate) fn refuse(what: impl Into<String>, expected: String, found: impl ToString) -> Error {
    Error::Config { what: what.into(), expected, found: found.to_string() }
}
