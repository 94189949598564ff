//! Shard files: one image with the grains found in it, to be memory-mapped.
//!
//! ```text
//! magic "INVGRAIN" | version u32 | pixel type u32 (0 u8, 1 u16, 2 f32) | width u32 | height u32 | channels u32 | grains u32
//! section table:     offset u64 | length u64     for pixels, grains, masks, edges, metadata
//! pixels             plane after plane, [channels, height, width]
//! grains             a record of 144 bytes each, in the order of their labels
//! masks              a bit a pixel of a grain's bounding box, row after row without gaps, lowest bit first, each grain
//!                    from a new byte; a grain that fills its box has none
//! edges              a u32 | b u32 | boundary u64 (px) | upright part of it u64 (px) for each pair of touching grains
//! metadata           JSON: where the image came from, levels, pixel size, what was cropped
//! ```
//! All numbers are little-endian; each section begins at a multiple of 64 bytes, the gaps are zero. The pixels come
//! first because their size is known before anything else: an image of many GB is streamed to its final place.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ImageFacts, Levels, PixelSize, Region, SampleType};

mod pixels;
mod reader;
mod writer;

pub(crate) use pixels::StoredType;
pub(crate) use reader::ShardFile;
pub(crate) use writer::ShardWriter;

const MAGIC: &[u8; 8] = b"INVGRAIN";

/// Version of this layout.
pub(crate) const VERSION: u32 = 2;

const HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 16;
const ALIGNMENT: usize = 64;
const GRAIN_BYTES: usize = 144;
const EDGE_BYTES: usize = 24;

/// Offset for a grain without a mask, which fills its bounding box.
pub(crate) const NO_MASK: u64 = u64::MAX;

/// The content of a section; the discriminant is its position in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Pixels,
    Grains,
    Masks,
    Edges,
    Metadata,
}

const NUM_SECTIONS: usize = 5;

/// The metadata of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metadata {
    /// Unique in the dataset directory.
    pub name: String,
    /// The file, as named by the user.
    pub source: String,
    /// Page of the file, 1-based.
    pub page: u32,
    /// The file's own name of the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_name: Option<String>,
    /// Number type in the file.
    pub sample_type: SampleType,
    pub levels: Levels,
    pub pixel_size: Option<PixelSize>,
    /// Total number of rows cut off at the bottom.
    pub crop_bottom_px: u32,
    /// Why, if a banner was detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub banner: Option<String>,
    /// Columns of the sample sheet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, serde_json::Value>,
    /// What was measured on the whole image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<ImageFacts>,
    /// One class per region, 0 if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<u32>>,
}

/// The regions of an image and the bits of their masks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Masks {
    /// Where each region's mask begins in `bits`; [`NO_MASK`] if the region fills its box.
    pub offsets: Vec<u64>,
    pub bits: Vec<u8>,
}

impl Masks {
    /// For regions that fill their boxes.
    pub fn full(num_regions: usize) -> Self {
        Self { offsets: vec![NO_MASK; num_regions], bits: Vec::new() }
    }

    /// For the regions of a label map.
    pub fn of_labels(map: &crate::LabelMap, regions: &[Region]) -> Self {
        use rayon::prelude::*;
        let one = |region: &Region| -> Vec<u8> {
            let [top, left, bottom, right] = region.bbox_px.map(|edge| edge as usize);
            let mut bits = vec![0u8; mask_bytes(region.bbox_px)];
            let width = right - left;
            for row in top..bottom {
                let labels = &map.labels[row * map.width + left..row * map.width + right];
                let first = (row - top) * width;
                for (column, _) in labels.iter().enumerate().filter(|&(_, &label)| label == region.label) {
                    bits[(first + column) / 8] |= 1 << ((first + column) % 8);
                }
            }
            bits
        };
        let parts: Vec<Vec<u8>> = regions.par_iter().map(one).collect();
        let mut masks = Self::default();
        for part in parts {
            masks.offsets.push(masks.bits.len() as u64);
            masks.bits.extend(part);
        }
        masks
    }
}

/// Number of bytes for the mask of a bounding box; the box must be ordered.
pub(crate) fn mask_bytes([top, left, bottom, right]: [u32; 4]) -> usize {
    ((u64::from(bottom - top) * u64::from(right - left)).div_ceil(8)) as usize
}

#[cfg(test)]
mod tests;
