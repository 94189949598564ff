//! Micrographs: image files to images, images to grains, grains to positive pairs of rotated views.
//!
//! ```text
//! TIFF, PNG, JPEG, MRC, DM3/DM4  ->  Page  ->  Image  ->  Region  ->  Grain  ->  GrainPairs, GrainViews
//! ```
//!
//! A *page* is one picture of a file (a TIFF may hold many), an *image* its pixels, a *region* what was found on it
//! (a grain, a particle, a tile), in pixels; a *grain* is a region with the pixels around it and their physical size.

pub mod pairs;
pub mod resample;
pub mod views;

mod banner;
mod config;
mod dataset;
mod error;
mod facts;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod grain_size;
mod image;
mod ingest;
mod label_map;
mod levels;
mod measured;
mod neighbors;
mod read;
mod region;
mod segment;
mod shard;

pub use banner::{Banner, find_banner};
pub use config::{IngestConfig, Inputs};
pub use dataset::{Grain, GrainDataset, Mask, MemoryImage, Pixels, StoredImage};
pub use error::{Error, Place};
pub use facts::{DatasetFacts, GrainSizes, ImageFacts};
pub use grain_size::{
    GrainSize, Intercepts, PlanimetricField, TestLines, chords_um, grain_size_by_counting, grain_size_by_intercepts,
    intercepts, planimetric_fields,
};
pub use image::{ImageRef, Levels, PageInfo, PixelSize, PixelSizeSource, PixelsRef, SampleType, Samples};
pub use ingest::{GRAINS_TABLE, NEIGHBORS_TABLE, Summary, ingest, ingest_with};
pub use label_map::{read_label_map, write_label_map};
pub use neighbors::{count_neighbors, neighbors};
pub use pairs::{GrainPairs, GrainPairsConfig};
pub use read::{Band, Format, ImageFile, open};
pub use region::{LabelMap, Neighbors, PhysicalMeasures, Region, regions, regions_of_boxes};
pub use segment::{Landscape, OtsuConfig, Polarity, Segmentation, Segments, SmallGrains, WatershedConfig, segment};
pub use views::{EmbedConfig, GrainViews, ViewConfig};
