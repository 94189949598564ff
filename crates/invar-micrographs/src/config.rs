use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Error, GrainsConfig, Segmentation};

/// What becomes of the images on their way into the dataset (`[source.ingest]` in a recipe).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// How grains are found. Not used where there are masks.
    pub segment: Segmentation,
    /// Where masks are (integer images, 0 is background): a directory, a pattern, or a file. The mask of an image has its
    /// name, or its name and `_mask`, `_cp_masks`, `_labels`, `_Simple Segmentation` or another of the customary words; capitals
    /// and the kind of gap make no difference.
    #[serde(with = "invar_dataset::path::option")]
    pub labels: Option<PathBuf>,
    /// What the values of masks are.
    pub mask_kind: MaskKind,
    /// Values of masks that are no grains, in place of 0 and of what is found to be background; empty to look.
    pub mask_background: Vec<u32>,
    /// Where class maps are (integer images, 0 is unknown): phase maps, annotations; a directory, a pattern, or a file,
    /// found as masks are. Each grain is given the class that most of its pixels have, as column `class`.
    #[serde(with = "invar_dataset::path::option")]
    pub classes: Option<PathBuf>,
    /// Rows that are cut off at the bottom of every image.
    pub crop_bottom_px: u32,
    /// Whether a burnt-in data bar at the bottom is looked for and cut off. Not where `crop_bottom_px` says what to cut.
    pub detect_banner: bool,
    /// Physical size of a pixel of every image, nanometres; overrides what files and the sample sheet say.
    pub pixel_size_nm: Option<f64>,
    /// Percentiles of the whole image that views call 0 and 1.
    pub percentiles: [f64; 2],
    /// Regions of fewer pixels are left out.
    pub min_area_px: u64,
    /// Of how many images, the first, a picture of the grains found is drawn: outlines over the image.
    pub segmented_pictures: usize,
    /// Whether an image that cannot be read is listed and left out instead of ending the ingest.
    pub skip_bad_images: bool,
    /// Whether an existing dataset at the output is replaced. Not a property of the dataset: never stored.
    #[serde(skip)]
    pub force: bool,
}

/// What the values of a mask are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskKind {
    /// Decided for each mask by how its values hang together, and said in the facts of the image.
    #[default]
    Auto,
    /// Each value is a grain, in however many parts.
    Instances,
    /// Each connected part of a value is a grain.
    Classes,
}

impl MaskKind {
    /// By its name in a recipe.
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
    /// Checks that the values can hold together.
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
    /// Files, directories (all image files below) and patterns (`*`, `?`, `**`). May be empty where there is a sheet.
    pub paths: Vec<PathBuf>,
    /// Sample sheet: CSV (or TSV) with a header; column `image` or `file`, relative to the sheet, and if wanted `mask` (or
    /// `labels`), `mask_kind`, `classes`, `pixel_size_nm` and any others, which become columns of the tables.
    #[serde(default)]
    pub sheet: Option<PathBuf>,
    /// Of the sheet only rows with one of these in the column `sample`; empty: all.
    #[serde(default)]
    pub samples: Vec<String>,
}

impl Inputs {
    /// Files, directories and patterns without a sheet.
    pub fn paths(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self { paths: paths.into_iter().map(Into::into).collect(), sheet: None, samples: vec![] }
    }
}
