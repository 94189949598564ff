use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Error, GrainsConfig, Segmentation};

/// How images are processed into the dataset (`[source.ingest]` in a recipe).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// How grains are found. Not used for images with masks.
    pub segment: Segmentation,
    /// Where masks are (integer images, 0 is background): a directory, a pattern, or a file. The mask of an image has
    /// its name, or its name and `_mask`, `_cp_masks`, `_labels`, `_Simple Segmentation` or another of the usual
    /// suffixes; capitals and the kind of separator make no difference.
    #[serde(with = "invar_dataset::path::option")]
    pub labels: Option<PathBuf>,
    /// What the values of masks mean.
    pub mask_kind: MaskKind,
    /// Values of masks that are not grains, instead of 0 and what is detected as background; empty to detect them.
    pub mask_background: Vec<u32>,
    /// Where class maps are (integer images, 0 is unknown): phase maps, annotations; a directory, a pattern, or a file,
    /// matched like masks. Each grain gets the class of most of its pixels, as column `class`.
    #[serde(with = "invar_dataset::path::option")]
    pub classes: Option<PathBuf>,
    /// Rows to cut off at the bottom of every image.
    pub crop_bottom_px: u32,
    /// Whether to look for a burnt-in data bar at the bottom and cut it off. Not used if `crop_bottom_px` is set.
    pub detect_banner: bool,
    /// Physical size of a pixel of every image, in nanometres; overrides files and the sample sheet.
    pub pixel_size_nm: Option<f64>,
    /// Percentiles of the whole image that become 0 and 1 in views.
    pub percentiles: [f64; 2],
    /// Regions with fewer pixels are left out.
    pub min_area_px: u64,
    /// For how many images, from the first, a picture of the grains found is drawn: outlines over the image.
    pub segmented_pictures: usize,
    /// Whether an image that cannot be read is listed and skipped instead of ending the ingest.
    pub skip_bad_images: bool,
    /// Whether to replace an existing dataset at the output. Not a property of the dataset: never stored.
    #[serde(skip)]
    pub force: bool,
}

/// What the values of a mask mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskKind {
    /// Decided for each mask from how its values are connected, and recorded in the facts of the image.
    #[default]
    Auto,
    /// Each value is a grain, in however many parts.
    Instances,
    /// Each connected part of a value is a grain.
    Classes,
}

impl MaskKind {
    /// Parses its name in a recipe.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "instances" => Some(Self::Instances),
            "classes" => Some(Self::Classes),
            _ => None,
        }
    }
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            segment: Segmentation::Grains(GrainsConfig::default()),
            labels: None,
            mask_kind: MaskKind::Auto,
            mask_background: Vec::new(),
            classes: None,
            crop_bottom_px: 0,
            detect_banner: true,
            pixel_size_nm: None,
            percentiles: [1.0, 99.0],
            min_area_px: 0,
            segmented_pictures: 20,
            skip_bad_images: false,
            force: false,
        }
    }
}

impl IngestConfig {
    /// Checks that the values are consistent.
    ///
    /// # Errors
    /// [`Error::Config`], naming the field, what is allowed and what was given.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |what: &str, expected: &str, found: String| {
            Err(Error::Config { what: what.into(), expected: expected.into(), found })
        };
        let [low, high] = self.percentiles;
        if !(0.0 <= low && low < high && high <= 100.0) {
            return refuse("percentiles", "two numbers from 0 to 100, the lower first", format!("{low} and {high}"));
        }
        if let Some(size) = self.pixel_size_nm.filter(|size| !(size.is_finite() && *size > 0.0)) {
            return refuse("pixel_size_nm", "more than 0", size.to_string());
        }
        self.segment.validate()
    }
}

/// Which images are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// Files, directories (all image files below) and patterns (`*`, `?`, `**`). May be empty if there is a sheet.
    pub paths: Vec<PathBuf>,
    /// Sample sheet: CSV (or TSV) with a header; column `image` or `file`, relative to the sheet, and optionally `mask`
    /// (or `labels`), `mask_kind`, `classes`, `pixel_size_nm` and any others, which become columns of the tables.
    #[serde(default)]
    pub sheet: Option<PathBuf>,
    /// Only rows of the sheet with one of these values in the column `sample`; empty for all.
    #[serde(default)]
    pub samples: Vec<String>,
}

impl Inputs {
    /// Files, directories and patterns without a sheet.
    pub fn paths(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self { paths: paths.into_iter().map(Into::into).collect(), sheet: None, samples: vec![] }
    }
}
