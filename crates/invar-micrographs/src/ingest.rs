//! From image files to a dataset directory.

use crate::{ImageRef, LabelMap, Neighbors, Region, shard::Masks, stand_in};

/// Regions, masks and touching pairs of a label map.
pub(crate) fn measure_labels(map: &LabelMap, image: ImageRef<'_>) -> (Vec<Region>, Masks, Vec<Neighbors>) {
    let mut regions = stand_in::regions(map, Some(image));
    let edges = stand_in::neighbors(map, 1);
    count_neighbors(&mut regions, &edges);
    let masks = Masks::of_labels(map, &regions);
    (regions, masks, edges)
}

/// Regions that are boxes: tiles, whole images. They have no neighbours.
pub(crate) fn measure_boxes(boxes: &[[u32; 4]], image: ImageRef<'_>) -> (Vec<Region>, Masks, Vec<Neighbors>) {
    let regions = stand_in::regions_of_boxes(boxes, image);
    let masks = Masks::full(regions.len());
    (regions, masks, Vec::new())
}

fn count_neighbors(regions: &mut [Region], edges: &[Neighbors]) {
    for region in regions.iter_mut() {
        region.num_neighbors = 0;
    }
    for label in edges.iter().flat_map(|edge| [edge.a, edge.b]) {
        if let Ok(place) = regions.binary_search_by_key(&label, |region| region.label) {
            regions[place].num_neighbors += 1;
        }
    }
}
