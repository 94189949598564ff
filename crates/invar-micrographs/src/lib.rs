//! Micrographs: image files to images, images to grains, grains to positive pairs of rotated views.
//!
//! ```text
//! TIFF, PNG, JPEG, MRC, DM3/DM4  ->  Page  ->  Image  ->  Region  ->  Grain  ->  GrainPairs, GrainViews
//! ```
//!
//! A *page* is one picture of a file (a TIFF may hold many), an *image* its pixels, a *region* something found in it (a
//! grain, a particle, a tile), in pixels; a *grain* is a region with the pixels around it and their physical size.
//!
//! A file may hold more than pictures, and leave choices open. What is returned is what a person would see, at full
//! resolution: pages are turned upright ([`Orientation`]), palettes are converted to colours, smaller copies of a page
//! are left out ([`LeftOut`]). Every such choice is a [`Note`]. A label mask is opened with [`open_labels`], which
//! keeps the stored numbers. A pixel has a width and a height, in nanometres, if the file states them ([`PixelSize`]);
//! a length in micrometres always uses both.
//!
//! ```
//! use invar_micrographs::{LabelMap, open, regions};
//!
//! # fn main() -> Result<(), invar_micrographs::Error> {
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test-data/micrographs/corpus/imagej.tif");
//! # let path = std::path::Path::new(path);
//! // A stack of three pictures of 11 x 13 pixels, each 0.25 x 0.5 µm.
//! let mut file = open(path)?;
//! assert_eq!(file.pages().len(), 3);
//! let page = &file.pages()[0];
//! assert_eq!((page.height, page.width, page.sample_type.name()), (11, 13, "uint16"));
//! assert_eq!(page.pixel_size.map(|size| [size.x_nm, size.y_nm]), Some([250.0, 500.0]));
//!
//! // Pixels come in bands from the top, here of at most four rows.
//! let mut num_rows = Vec::new();
//! file.read_bands(0, 4 * 13, &mut |band| {
//!     num_rows.push(band.num_rows);
//!     Ok(())
//! })?;
//! assert_eq!(num_rows, [4, 4, 3]);
//!
//! // Two grains, of 4 and 2 pixels; 0 is background.
//! let map = LabelMap { width: 4, height: 2, labels: vec![1, 1, 0, 2, 1, 1, 0, 2] };
//! let areas: Vec<u64> = regions(&map, None).iter().map(|region| region.area_px).collect();
//! assert_eq!(areas, [4, 2]);
//! # Ok(())
//! # }
//! ```

/// The boundary network: see [`learned::BoundaryNetwork`].
pub mod learned {
    pub use crate::segment::learned::{BoundaryNetwork, Layer, NUM_INPUTS, WeightsError, inputs};
}
pub mod pairs;
pub mod resample;
pub mod synthetic;
pub mod views;

mod banner;
mod config;
mod crop;
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
mod own_pictures;
mod parts;
mod read;
mod region;
mod segment;
mod shard;

pub use banner::{Banner, find_banner};
pub use config::{IngestConfig, Inputs, MaskKind};
pub use crop::write_crop;
pub use dataset::{Grain, GrainDataset, Mask, MemoryImage, Pixels, StoredImage};
pub use error::{Error, Place};
pub use facts::{DatasetFacts, GrainSizes, ImageFacts, MaskFacts, MaskReading};
pub use grain_size::{
    GrainSize, Intercepts, PlanimetricField, TestLines, chords_um, grain_size_by_counting, grain_size_by_intercepts,
    intercepts, planimetric_fields,
};
pub use image::{
    ImageRef, LeftOut, Levels, Note, Orientation, PageInfo, PixelSize, PixelSizeSource, PixelsRef, Preview, SampleType,
    Samples,
};
pub use ingest::{GRAINS_TABLE, IMAGES_TABLE, NEIGHBORS_TABLE, SEGMENTED, Summary, ingest, ingest_with};
pub use label_map::{read_label_map, write_label_map};
pub use neighbors::{count_neighbors, neighbors};
pub use own_pictures::sign_png;
pub use pairs::{GrainPairs, GrainPairsConfig};
pub use read::{Band, Format, ImageFile, open, open_labels};
pub use region::{LabelMap, Neighbors, PhysicalMeasures, Region, regions, regions_of_boxes};
pub use segment::{
    Doubt, GrainFacts, GrainKind, GrainLandscape, GrainsConfig, Landscape, OtsuConfig, Polarity, Segmentation,
    Segments, SmallGrains, WatershedConfig, segment, segment_with_facts,
};
pub use views::{EmbedConfig, GrainViews, LevelsFrom, ViewConfig};
