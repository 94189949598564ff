//! Micrographs: image files to images, images to grains, grains to positive pairs of rotated views.
//!
//! ```text
//! TIFF, PNG, JPEG, MRC, DM3/DM4  ->  Page  ->  Image  ->  Region  ->  Grain  ->  GrainPairs, GrainViews
//! ```
//!
//! A *page* is one picture of a file (a TIFF may hold many), an *image* its pixels, a *region* what was found on it
//! (a grain, a particle, a tile), in pixels; a *grain* is a region with the pixels around it and their physical size.

mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod image;
mod read;
mod region;

pub use error::{Error, Place};
pub use image::{ImageRef, Levels, PageInfo, PixelSize, PixelSizeSource, PixelsRef, SampleType, Samples};
pub use read::{Band, Format, ImageFile, open};
pub use region::{LabelMap, Neighbors, Region};
