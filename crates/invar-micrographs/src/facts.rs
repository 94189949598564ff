//! What an ingest records about images and a dataset: the `facts` of its manifest.

use std::{collections::BTreeMap, path::Path};

use invar_dataset::{DatasetError, manifest::Manifest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{GrainFacts, GrainSize, PixelSize};

/// Name of the domain in the manifest.
pub(crate) const DOMAIN: &str = "micrographs";

/// What was measured on an image, and what was decided about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageFacts {
    /// Its name, unique in the dataset.
    pub image: String,
    /// The file, as named by the user.
    pub source: String,
    /// Page of the file, 1-based.
    pub page: u32,
    /// Width, in pixels.
    pub width_px: u32,
    /// Remaining rows, in pixels.
    pub height_px: u32,
    /// Grains (particles, tiles).
    pub grains: u64,
    /// Those that touch the edge of the image.
    pub border_grains: u64,
    /// Mean area of all grains, in pixels; absent if there are none.
    pub mean_area_px: Option<f64>,
    /// Mean area of all grains, in square micrometres; also absent if the pixel size is unknown.
    pub mean_area_um2: Option<f64>,
    /// Mean area of the grains that do not touch the edge, in pixels.
    pub mean_area_of_inner_px: Option<f64>,
    /// Physical size of a pixel, if known.
    pub pixel_size: Option<PixelSize>,
    /// Rows that were cut off at the bottom.
    pub crop_bottom_px: u32,
    /// Why, if a data bar was found.
    pub banner: Option<String>,
    /// ASTM grain-size numbers, if grains fill at least half of an image of known pixel size.
    pub grain_size: Option<GrainSizes>,
    /// How its mask was read, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<MaskFacts>,
    /// How it was segmented and why, if that was decided from the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segmentation: Option<GrainFacts>,
}

/// How a mask was read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MaskFacts {
    /// What its values were taken to be.
    pub reading: MaskReading,
    /// Values that are not grains, including 0. Empty if each label except 0 is a grain.
    pub background: Vec<u32>,
    /// Values that lie between grains, and are not grains.
    pub boundaries: Vec<u32>,
    /// The grey level above which pixels are grains, if it had grey levels.
    pub threshold: Option<u32>,
    /// What a person should check, as text.
    pub notes: Vec<String>,
}

/// What the values of a mask were taken to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskReading {
    /// Each label is a grain.
    #[default]
    Instances,
    /// Each connected part of one colour is a grain.
    BlackAndWhite,
    /// Each connected part of a value is a grain.
    Classes,
    /// Grey levels, as left by compressing black and white.
    Grey,
}

/// ASTM grain-size numbers of one image, by both methods of E112.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrainSizes {
    /// By counting; absent without grains.
    pub planimetric: Option<GrainSize>,
    /// By intercepts; absent if no test line crosses a boundary.
    pub intercept: Option<GrainSize>,
    /// G by intercepts with the threshold of the boundaries divided and multiplied by 1.25; absent if there is no
    /// threshold, or nothing is left to cross.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intercept_numbers_moved: Option<[f64; 2]>,
}

/// The facts of a dataset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetFacts {
    /// Its images, in order.
    #[serde(default)]
    pub images: Vec<ImageFacts>,
    /// What a person should know before comparing these images with each other, as text.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl DatasetFacts {
    /// Reads them from the manifest of the dataset directory `path`; empty for another domain.
    ///
    /// # Errors
    /// [`DatasetError::Corrupt`] if they are not facts of images.
    pub fn of(path: &Path, manifest: &Manifest) -> Result<Self, DatasetError> {
        if manifest.domain != DOMAIN {
            return Ok(Self::default());
        }
        let facts: Map<String, Value> = manifest.facts.clone().into_iter().collect();
        serde_json::from_value(facts.into()).map_err(|error| DatasetError::Corrupt {
            path: invar_dataset::manifest::path(path),
            what: "facts".into(),
            expected: "those of images".into(),
            found: error.to_string(),
        })
    }

    /// In the form stored in a manifest.
    pub(crate) fn to_manifest(&self) -> BTreeMap<String, Value> {
        match serde_json::to_value(self).expect("facts are plain data") {
            Value::Object(facts) => facts.into_iter().collect(),
            _ => unreachable!("a struct is an object"),
        }
    }
}
