//! Micrographs: image files to images, images to grains, grains to positive pairs of rotated views.
//!
//! ```text
//! TIFF, PNG, JPEG, MRC, DM3/DM4  ->  Page  ->  Image  ->  Region  ->  Grain  ->  GrainPairs, GrainViews
//! ```
//!
//! A *page* is one picture of a file (a TIFF may hold many), an *image* its pixels, a *region* what was found on it
//! (a grain, a particle, a tile), in pixels; a *grain* is a region with the pixels around it and their physical size.

mod banner;
mod error;
mod grain_size;
mod image;
mod label_map;
mod neighbors;
mod region;
mod segment;

pub use banner::{Banner, find_banner};
pub use error::{Error, Place};
pub use grain_size::{
    GrainSize, Intercepts, PlanimetricField, TestLines, chords_um, grain_size_by_counting, grain_size_by_intercepts,
    intercepts, planimetric_fields,
};
pub use image::{ImageRef, Levels, PageInfo, PixelSize, PixelSizeSource, PixelsRef, SampleType, Samples};
pub use label_map::{read_label_map, write_label_map};
pub use neighbors::{count_neighbors, neighbors};
pub use region::{LabelMap, Neighbors, Region, regions, regions_of_boxes};
pub use segment::{Landscape, OtsuConfig, Polarity, Segmentation, Segments, SmallGrains, WatershedConfig, segment};
