//! What is found on an image: regions, their pixels, and which of them touch.

use crate::{ImageRef, LabelMap, Neighbors, Region, shard::Masks};

/// Background pixels across which grains still touch: masks often draw boundaries as lines.
const GAP_PX: usize = 1;

/// Regions with everything that a shard stores about them.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// By ascending label.
    pub regions: Vec<Region>,
    pub masks: Masks,
    /// Pairs of regions that touch.
    pub edges: Vec<Neighbors>,
}

impl Measured {
    /// The regions of a label map.
    pub fn labels(map: &LabelMap, image: ImageRef<'_>) -> Self {
        let mut regions = crate::regions(map, Some(image));
        let edges = crate::neighbors(map, GAP_PX);
        crate::count_neighbors(&mut regions, &edges);
        let masks = Masks::of_labels(map, &regions);
        Self { regions, masks, edges }
    }

    /// Regions that are boxes: tiles, whole images. They have no neighbours.
    pub fn boxes(boxes: &[[u32; 4]], image: ImageRef<'_>) -> Self {
        let regions = crate::regions_of_boxes(boxes, image);
        let masks = Masks::full(regions.len());
        Self { regions, masks, edges: Vec::new() }
    }
}
