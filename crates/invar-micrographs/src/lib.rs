//! Micrographs: image files to images, images to grains, grains to positive pairs of rotated views.
//!
//! ```text
//! TIFF, PNG, JPEG, MRC, DM3/DM4  ->  Page  ->  Image  ->  Region  ->  Grain  ->  GrainPairs, GrainViews
//! ```
//!
//! A *page* is one picture of a file (a TIFF may hold many), an *image* its pixels, a *region* what was found on it
//! (a grain, a particle, a tile), in pixels; a *grain* is a region with the pixels around it and their physical size.

mod dataset;
mod error;
mod image;
mod ingest;
mod levels;
mod read;
mod region;
mod shard;
mod stand_in;

pub use dataset::{Grain, GrainDataset, Mask, MemoryImage, Pixels, StoredImage};
pub use error::{Error, Place};
pub use image::{ImageRef, Levels, PageInfo, PixelSize, PixelSizeSource, PixelsRef, SampleType, Samples};
pub use read::{Band, Format, ImageFile, open};
pub use region::{LabelMap, Neighbors, Region};
