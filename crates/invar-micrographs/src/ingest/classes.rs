//! Class maps: the known class of each pixel (a phase map from electron backscatter diffraction, an annotation), from
//! which each grain gets the class of most of its pixels.

use std::collections::HashMap;

use crate::{LabelMap, Region};

/// The class of each region of a label map; 0 if most of its pixels have none.
pub(super) fn of_labels(regions: &[Region], labels: &LabelMap, classes: &LabelMap) -> Vec<u32> {
    let mut counts: HashMap<(u32, u32), u64> = HashMap::new();
    for (&label, &class) in labels.labels.iter().zip(&classes.labels).filter(|&(&label, _)| label > 0) {
        *counts.entry((label, class)).or_default() += 1;
    }
    let mut most: HashMap<u32, (u64, u32)> = HashMap::new();
    for ((label, class), count) in counts {
        let so_far = most.entry(label).or_default();
        *so_far = better(*so_far, (count, class));
    }
    regions.iter().map(|region| most.get(&region.label).map_or(0, |&(_, class)| class)).collect()
}

/// The class of each region that fills its box.
pub(super) fn of_boxes(regions: &[Region], classes: &LabelMap) -> Vec<u32> {
    let of_box = |[top, left, bottom, right]: [u32; 4]| {
        let mut counts: HashMap<u32, u64> = HashMap::new();
        for row in top..bottom {
            let start = row as usize * classes.width;
            for &class in &classes.labels[start + left as usize..start + right as usize] {
                *counts.entry(class).or_default() += 1;
            }
        }
        counts.into_iter().fold((0, 0), |best, (class, count)| better(best, (count, class))).1
    };
    regions.iter().map(|region| of_box(region.bbox_px)).collect()
}

/// The one with the larger count; the lower class of equal ones, so that the order of counting does not matter.
fn better(a: (u64, u32), b: (u64, u32)) -> (u64, u32) {
    if b.0 > a.0 || (b.0 == a.0 && b.1 < a.1) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(labels: &[u32]) -> LabelMap {
        LabelMap { width: 4, height: 2, labels: labels.into() }
    }

    #[test]
    fn a_grain_is_what_most_of_its_pixels_are() {
        let labels = map(&[1, 1, 2, 2, 1, 0, 2, 2]);
        let classes = map(&[5, 5, 7, 0, 3, 9, 7, 0]);
        let regions = crate::regions(&labels, None);
        // In the second, two pixels of 7 and two of none: the lower.
        assert_eq!(of_labels(&regions, &labels, &classes), [5, 0]);
        let boxes = crate::regions_of_boxes(
            &[[0, 0, 2, 4], [1, 1, 2, 2]],
            crate::ImageRef { width: 4, height: 2, channels: 1, pixels: crate::PixelsRef::U8(&[0; 8]) },
        );
        assert_eq!(of_boxes(&boxes, &classes), [0, 9]);
    }
}
