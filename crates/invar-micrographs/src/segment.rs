//! Images to segments: the `[segment]` table of a recipe and what it does.
//!
//! Memory besides the image: up to 40 bytes per pixel for `grains`, less where it is processed in strips, about 16 for
//! `watershed` and `otsu`, nothing for tiles. An image that needs more than the machine has is refused before any is read.

mod agglomerate;
mod boundary_graph;
mod by_network;
mod denoise;
mod derivatives;
mod distance;
mod gradient;
mod grains;
mod junctions;
pub(crate) mod learned;
mod merge;
mod otsu;
mod particles;
mod ridge;
mod strips;
mod threshold;
mod tiles;
mod watershed;
mod weakest;

use std::ops::Range;

use serde::{Deserialize, Serialize};

pub(crate) use self::{denoise::gaussian, merge::merge_small, watershed::each_neighbor};
pub use self::{
    grains::{Doubt, GrainFacts, GrainKind, GrainLandscape, GrainsConfig},
    otsu::OtsuConfig,
    watershed::{Landscape, SmallGrains, WatershedConfig},
};
use crate::{Error, ImageRef, LabelMap, Levels, PixelsRef};

/// How an image is divided: the `[segment]` table of a recipe, distinguished by `method`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Segmentation {
    /// `method = "grains"`: grains or particles, separated by what is measured on each image.
    Grains(GrainsConfig),
    /// `method = "watershed"`: grains that fill the image, separated by boundaries or by contrast.
    Watershed(WatershedConfig),
    /// `method = "otsu"`: particles that are brighter or darker than their background.
    Otsu(OtsuConfig),
    /// `method = "tiles"`: a grid of squares, for images without grains. The grid is centred: what does not fill a tile
    /// is left out at the edges, half on each side. An image smaller than a tile is one box.
    Tiles {
        /// Side of a tile, in pixels.
        size_px: u32,
        /// Overlap of neighbouring tiles, in pixels; less than `size_px`.
        #[serde(default)]
        overlap_px: u32,
    },
    /// `method = "whole-image"`: one box.
    WholeImage {},
    /// `method = "labels"`: a mask made elsewhere.
    Labels {},
}

/// Whether the objects are darker or brighter than their surroundings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Polarity {
    /// Decided for each image.
    #[default]
    Auto,
    /// Darker.
    Dark,
    /// Brighter.
    Bright,
}

/// What an image was divided into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segments {
    /// One label per pixel, `1..=n` without gaps; 0 is background.
    Labels(LabelMap),
    /// `[first row, first column, last row + 1, last column + 1]`, in pixels; they may overlap.
    Boxes(Vec<[u32; 4]>),
}

impl Segmentation {
    /// Name of the method in a recipe.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Grains(_) => "grains",
            Self::Watershed(_) => "watershed",
            Self::Otsu(_) => "otsu",
            Self::Tiles { .. } => "tiles",
            Self::WholeImage {} => "whole-image",
            Self::Labels {} => "labels",
        }
    }

    /// Checks that the values are consistent.
    ///
    /// # Errors
    /// [`Error::Config`], naming the field, what is allowed and what was given.
    pub fn validate(&self) -> Result<(), Error> {
        match self {
            Self::Grains(config) => config.validate(),
            Self::Watershed(config) => config.validate(),
            Self::Otsu(config) => config.validate(),
            &Self::Tiles { size_px, overlap_px } => {
                if size_px == 0 {
                    return Err(refusal("size_px", "at least 1", size_px));
                }
                if overlap_px >= size_px {
                    return Err(refusal("overlap_px", &format!("less than size_px = {size_px}"), overlap_px));
                }
                Ok(())
            }
            Self::WholeImage {} | Self::Labels {} => Ok(()),
        }
    }
}

/// Divides `image` according to `config`. The result does not depend on the number of threads.
///
/// # Errors
/// [`Error::Config`] if a setting is out of range, the image has at least 2^32 - 1 pixels, or the method is `labels`,
/// which has nothing to compute; [`invar_dataset::DatasetError::TooLarge`] if it needs more memory than there is.
///
/// # Panics
/// If the number of values is not `channels * height * width`.
pub fn segment(image: ImageRef<'_>, levels: Levels, config: &Segmentation) -> Result<Segments, Error> {
    segment_with_facts(image, levels, config).map(|(segments, _)| segments)
}

/// The same, with what was decided about the image if the method decides anything.
///
/// # Errors
/// As [`segment`].
///
/// # Panics
/// As [`segment`].
pub fn segment_with_facts(
    image: ImageRef<'_>,
    levels: Levels,
    config: &Segmentation,
) -> Result<(Segments, Option<GrainFacts>), Error> {
    config.validate()?;
    let (width, height) = (image.width, image.height);
    match config {
        &Segmentation::Tiles { size_px, overlap_px } => {
            Ok((Segments::Boxes(tiles::boxes(width, height, size_px as usize, overlap_px as usize)), None))
        }
        Segmentation::WholeImage {} => Ok((Segments::Boxes(vec![[0, 0, height as u32, width as u32]]), None)),
        Segmentation::Labels {} => Err(refusal("method", "a method that computes segments", "labels")),
        Segmentation::Grains(_) | Segmentation::Watershed(_) | Segmentation::Otsu(_) => {
            check_size(config, width, height)?;
            let (labels, facts) = match config {
                Segmentation::Grains(config) => {
                    let (labels, facts) = grains::segment(image, levels, config)?;
                    (labels, Some(facts))
                }
                Segmentation::Watershed(config) => (watershed::segment(image, levels, config), None),
                Segmentation::Otsu(config) => (otsu::segment(image, levels, config), None),
                _ => (Vec::new(), None),
            };
            Ok((Segments::Labels(LabelMap { width, height, labels }), facts))
        }
    }
}

/// Checks that an image of this size can be divided on this machine.
///
/// # Errors
/// [`Error::Config`] if it has at least 2^32 - 1 pixels; [`invar_dataset::DatasetError::TooLarge`], with both figures.
pub(crate) fn check_size(config: &Segmentation, width: usize, height: usize) -> Result<(), Error> {
    let method = match config {
        Segmentation::Grains(_) => "grains",
        Segmentation::Watershed(_) | Segmentation::Otsu(_) => config.method(),
        Segmentation::Tiles { .. } | Segmentation::WholeImage {} | Segmentation::Labels {} => return Ok(()),
    };
    check_memory(method, width, height, needed_bytes(config, width, height))
}

/// The memory that it takes to divide an image of this size; 0 where that is little beside the image itself.
pub(crate) fn needed_bytes(config: &Segmentation, width: usize, height: usize) -> usize {
    match config {
        Segmentation::Grains(config) => grains::needed_bytes(config.landscape, width, height),
        Segmentation::Watershed(_) | Segmentation::Otsu(_) => width.saturating_mul(height).saturating_mul(16),
        Segmentation::Tiles { .. } | Segmentation::WholeImage {} | Segmentation::Labels {} => 0,
    }
}

/// The same for a method that takes `needed` bytes.
fn check_memory(method: &str, width: usize, height: usize, needed: usize) -> Result<(), Error> {
    let num_pixels = width.saturating_mul(height);
    if num_pixels >= u32::MAX as usize {
        let expected = format!("an image of fewer than {} pixels; tile it first", u32::MAX);
        return Err(refusal(method, &expected, format!("{width} x {height}")));
    }
    let what = || format!("segmenting an image of {width} x {height} pixels");
    let remedy = || "cut it into several, or take tiles (--tiles)".into();
    Ok(invar_dataset::check_memory(needed, what, remedy)?)
}

fn refusal(what: &str, expected: &str, found: impl ToString) -> Error {
    Error::Config { what: format!("segment: {what}"), expected: expected.into(), found: found.to_string() }
}

/// One value per pixel, `[height, width]`, where 0 and 1 are the levels.
#[derive(Clone, Debug)]
pub(crate) struct Plane {
    pub width: usize,
    pub height: usize,
    pub values: Vec<f32>,
}

/// Rows and columns of an image.
#[derive(Clone, Debug)]
struct Window {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Window {
    fn whole(image: ImageRef<'_>) -> Self {
        Self { rows: 0..image.height, columns: 0..image.width }
    }

    /// The central square of at most `side_px`, or what exists of it.
    fn middle(image: ImageRef<'_>, side_px: usize) -> Self {
        Self::middle_of(image.width, image.height, side_px)
    }

    fn middle_of(width: usize, height: usize, side_px: usize) -> Self {
        let [rows, columns] = [height, width].map(|len| {
            let side = len.min(side_px);
            let first = (len - side) / 2;
            first..first + side
        });
        Self { rows, columns }
    }
}

impl Plane {
    /// What `window` shows of channel `channel` of `image`, not clipped.
    fn channel(image: ImageRef<'_>, levels: Levels, channel: usize, window: &Window) -> Self {
        use rayon::prelude::*;
        let (low, scale) = (levels.low, 1.0 / (levels.high - levels.low));
        let (width, height) = (window.columns.len(), window.rows.len());
        let mut values = vec![0.0f32; width * height];
        let rows = values.par_chunks_mut(width.max(1)).enumerate();
        rows.for_each(|(row, out)| {
            let start = (channel * image.height + window.rows.start + row) * image.width + window.columns.start;
            let of = start..start + width;
            match image.pixels {
                PixelsRef::U8(v) => {
                    out.iter_mut().zip(&v[of]).for_each(|(out, &x)| *out = (f32::from(x) - low) * scale)
                }
                PixelsRef::U16(v) => {
                    out.iter_mut().zip(&v[of]).for_each(|(out, &x)| *out = (f32::from(x) - low) * scale)
                }
                PixelsRef::F32(v) => out.iter_mut().zip(&v[of]).for_each(|(out, &x)| {
                    *out = if x.is_finite() { (x - low) * scale } else { 0.0 };
                }),
            }
        });
        Self { width, height, values }
    }

    /// The mean of the channels in `window`.
    fn grey(image: ImageRef<'_>, levels: Levels, window: &Window) -> Self {
        let mut sum = Self::channel(image, levels, 0, window);
        for channel in 1..image.channels {
            let next = Self::channel(image, levels, channel, window);
            sum.values.iter_mut().zip(&next.values).for_each(|(a, b)| *a += b);
        }
        if image.channels > 1 {
            let scale = 1.0 / image.channels as f32;
            sum.values.iter_mut().for_each(|v| *v *= scale);
        }
        sum
    }

    /// Smallest and largest value; `(0, 0)` if there is none.
    fn range(&self) -> (f32, f32) {
        let (low, high) =
            self.values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
        if low <= high { (low, high) } else { (0.0, 0.0) }
    }
}

#[cfg(test)]
mod tests;
