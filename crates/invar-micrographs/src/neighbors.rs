//! Which regions touch which.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::{LabelMap, Neighbors, PixelSize, Region};

/// Pairs of regions that touch, by label, and for what length: the number of adjacent pixels in a row or a column that
/// have the two labels, which on a slanted boundary is its length in the city-block metric. With `gap_px` > 0 also
/// across up to that many background pixels, for masks that draw boundaries as lines.
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
            more.into_iter().for_each(|(pair, count)| all.entry(pair).or_default().add(count));
            all
        });
    let edge = |((a, b), Length { pairs: boundary_px, upright_px })| Neighbors { a, b, boundary_px, upright_px };
    let mut edges: Vec<Neighbors> = counts.into_iter().map(edge).collect();
    edges.sort_unstable_by_key(|edge| (edge.a, edge.b));
    edges
}

impl Neighbors {
    /// Length of the common boundary along the edges of pixels of `size`, in micrometres.
    pub fn boundary_um(&self, size: PixelSize) -> f64 {
        let level_px = self.boundary_px.saturating_sub(self.upright_px);
        (self.upright_px as f64 * size.y_nm + level_px as f64 * size.x_nm) * 1e-3
    }
}

/// Sets in each region how many others it touches according to `edges`. Regions are ordered by label.
pub fn count_neighbors(regions: &mut [Region], edges: &[Neighbors]) {
    regions.iter_mut().for_each(|region| region.num_neighbors = 0);
    for label in edges.iter().flat_map(|edge| [edge.a, edge.b]) {
        if let Ok(at) = regions.binary_search_by_key(&label, |region| region.label) {
            regions[at].num_neighbors += 1;
        }
    }
}

/// Pairs found in `row`, each from its right or lower pixel, looking back over up to `gap` background pixels.
fn count_row(map: &LabelMap, row: usize, gap: usize, counts: &mut Counts) {
    let start = row * map.width;
    for (column, &label) in map.labels[start..start + map.width].iter().enumerate() {
        if label == 0 {
            continue;
        }
        let here = start + column;
        let mut look_back = |stride: usize, steps: usize, is_upright: bool| {
            for step in 1..=steps.min(gap + 1) {
                let other = map.labels[here - step * stride];
                if other != 0 {
                    if other != label {
                        counts.add(label, other, is_upright);
                    }
                    break;
                }
            }
        };
        look_back(1, column, true);
        look_back(map.width, row, false);
    }
}

/// Length of a boundary: pairs of pixels, and those of them that are horizontally adjacent.
#[derive(Clone, Copy, Default)]
struct Length {
    pairs: u64,
    upright_px: u64,
}

impl Length {
    fn add(&mut self, more: Self) {
        self.pairs += more.pairs;
        self.upright_px += more.upright_px;
    }
}

/// Lengths by pair; runs of one pair are counted before they are looked up.
#[derive(Default)]
struct Counts {
    all: HashMap<(u32, u32), Length>,
    pair: (u32, u32),
    run: Length,
}

impl Counts {
    fn add(&mut self, a: u32, b: u32, is_upright: bool) {
        let pair = (a.min(b), a.max(b));
        if pair != self.pair {
            self.store();
            self.pair = pair;
        }
        self.run.add(Length { pairs: 1, upright_px: u64::from(is_upright) });
    }

    fn store(&mut self) {
        if self.run.pairs > 0 {
            self.all.entry(self.pair).or_default().add(std::mem::take(&mut self.run));
        }
    }

    fn finish(mut self) -> HashMap<(u32, u32), Length> {
        self.store();
        self.all
    }
}
