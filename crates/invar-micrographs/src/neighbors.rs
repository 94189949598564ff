//! Which regions touch which.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::{LabelMap, Neighbors, Region};

/// Pairs of regions that touch, by label, and for how long: the number of neighbouring pixels of a row or a column
/// that carry the two labels, which on a slanting boundary is its length in the city-block metric. With `gap_px` > 0 also
/// across up to that many background pixels, as where a mask draws boundaries as lines.
pub fn neighbors(map: &LabelMap, gap_px: usize) -> Vec<Neighbors> {
    let width = map.width;
    if map.labels.is_empty() {
        return Vec::new();
    }
    let rows_a_band = map.height.div_ceil(rayon::current_num_threads() * 4).max(1);
    let counts = map
        .labels
        .par_chunks(rows_a_band * width)
        .enumerate()
        .map(|(band, chunk)| {
            let mut counts = Counts::default();
            for row in 0..chunk.len() / width {
                count_row(map, band * rows_a_band + row, gap_px, &mut counts);
            }
            counts.finish()
        })
        .reduce(HashMap::new, |mut all, more| {
            more.into_iter().for_each(|(pair, count)| *all.entry(pair).or_default() += count);
            all
        });
    let mut edges: Vec<Neighbors> =
        counts.into_iter().map(|((a, b), boundary_px)| Neighbors { a, b, boundary_px }).collect();
    edges.sort_unstable_by_key(|edge| (edge.a, edge.b));
    edges
}

/// Writes into each region how many others it touches by `edges`. Regions are ordered by label.
pub fn count_neighbors(regions: &mut [Region], edges: &[Neighbors]) {
    regions.iter_mut().for_each(|region| region.num_neighbors = 0);
    for label in edges.iter().flat_map(|edge| [edge.a, edge.b]) {
        if let Ok(at) = regions.binary_search_by_key(&label, |region| region.label) {
            regions[at].num_neighbors += 1;
        }
    }
}

/// Pairs found in `row`, each by its right or lower pixel, looking back over up to `gap` background pixels.
fn count_row(map: &LabelMap, row: usize, gap: usize, counts: &mut Counts) {
    let start = row * map.width;
    for (column, &label) in map.labels[start..start + map.width].iter().enumerate() {
        if label == 0 {
            continue;
        }
        let here = start + column;
        let mut look_back = |stride: usize, steps: usize| {
            for step in 1..=steps.min(gap + 1) {
                let other = map.labels[here - step * stride];
                if other != 0 {
                    if other != label {
                        counts.add(label, other);
                    }
                    break;
                }
            }
        };
        look_back(1, column);
        look_back(map.width, row);
    }
}

/// Counts of pairs; runs of one pair are counted before they are looked up.
#[derive(Default)]
struct Counts {
    all: HashMap<(u32, u32), u64>,
    pair: (u32, u32),
    count: u64,
}

impl Counts {
    fn add(&mut self, a: u32, b: u32) {
        let pair = (a.min(b), a.max(b));
        if pair != self.pair {
            self.store();
            self.pair = pair;
        }
        self.count += 1;
    }

    fn store(&mut self) {
        if self.count > 0 {
            *self.all.entry(self.pair).or_default() += std::mem::take(&mut self.count);
        }
    }

    fn finish(mut self) -> HashMap<(u32, u32), u64> {
        self.store();
        self.all
    }
}
