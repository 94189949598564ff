//! The two nearest centres of rows, by matrix products: `|x - c|^2 = |x|^2 - 2 x.c + |c|^2`.

use rayon::prelude::*;

use super::{CHUNK, Prepared};
use crate::{gemm, rows};

/// The nearest and the second nearest centre of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TwoNearest {
    /// Nearest centre; the first of equally near ones.
    pub first: u32,
    /// Squared distance to it, with the rounding error of a difference of squares.
    pub first_squared: f32,
    /// Squared distance to the second nearest, likewise; infinite if there is one centre.
    pub second_squared: f32,
}

/// Rows and centres per matrix product: its result stays in the cache.
const ROWS: usize = 512;
const CENTERS: usize = 256;
/// Values compared at a time.
const LANES: usize = 8;

/// Centres with their squared norms.
pub(super) struct Centers<'a> {
    values: &'a [f32],
    squared_norms: Vec<f32>,
}

/// Buffers for [`Centers::nearest`], so that a chunk allocates once.
#[derive(Default)]
pub(super) struct Scratch {
    gathered: Vec<f32>,
    products: Vec<f32>,
}

impl<'a> Centers<'a> {
    pub fn new(values: &'a [f32], dim: usize) -> Self {
        Self { values, squared_norms: values.chunks(dim).map(|row| rows::squared_norm(row) as f32).collect() }
    }

    /// Largest squared norm.
    pub fn max_squared_norm(&self) -> f32 {
        self.squared_norms.iter().fold(0.0, |a, &b| a.max(b))
    }

    /// Finds the two nearest centres of rows `indices` (ascending), passed one by one to `found`.
    pub fn nearest(
        &self,
        data: &Prepared<'_>,
        indices: &[u32],
        scratch: &mut Scratch,
        mut found: impl FnMut(u32, TwoNearest),
    ) {
        let dim = data.dim;
        for block in indices.chunks(ROWS) {
            let (first, last) = (block[0] as usize, block[block.len() - 1] as usize);
            // A few extra rows cost less than copying all.
            let in_place = last - first < block.len() + block.len() / 4;
            let Scratch { gathered, products } = &mut *scratch;
            let block_rows: &[f32] = if in_place {
                &data.values[first * dim..(last + 1) * dim]
            } else {
                gathered.clear();
                block.iter().for_each(|&index| gathered.extend_from_slice(data.row(index as usize)));
                gathered
            };
            let place = |at: usize| if in_place { block[at] as usize - first } else { at };
            let mut best = [(u32::MAX, f32::INFINITY, f32::INFINITY); ROWS];
            for (tile, centers) in self.values.chunks(CENTERS * dim).enumerate() {
                let norms = &self.squared_norms[tile * CENTERS..][..centers.len() / dim];
                products.resize(block_rows.len() / dim * norms.len(), 0.0);
                gemm::products(block_rows, centers, dim, products);
                for (at, best) in best.iter_mut().enumerate().take(block.len()) {
                    let row = &products[place(at) * norms.len()..][..norms.len()];
                    *best = merged(*best, two_smallest(row, norms, (tile * CENTERS) as u32));
                }
            }
            for (&index, &(first, least, second)) in block.iter().zip(&best) {
                let own = data.squared_norms[index as usize];
                let first_squared = (own + least).max(0.0);
                found(index, TwoNearest { first, first_squared, second_squared: (own + second).max(0.0) });
            }
        }
    }
}

/// The index of the smallest `|c|^2 - 2 x.c`, its value, and the second smallest; the first of equal ones. In lanes, so
/// that it vectorises.
fn two_smallest(products: &[f32], norms: &[f32], first_center: u32) -> (u32, f32, f32) {
    let mut centers = [0u32; LANES];
    let (mut least, mut second) = ([f32::INFINITY; LANES], [f32::INFINITY; LANES]);
    let whole = products.len() / LANES * LANES;
    let chunks = products[..whole].chunks_exact(LANES).zip(norms[..whole].chunks_exact(LANES));
    for (chunk, (products, norms)) in chunks.enumerate() {
        for lane in 0..LANES {
            let value = norms[lane] - 2.0 * products[lane];
            let less = value < least[lane];
            let other = if less { least[lane] } else { value };
            second[lane] = if other < second[lane] { other } else { second[lane] };
            least[lane] = if less { value } else { least[lane] };
            centers[lane] = if less { (chunk * LANES + lane) as u32 } else { centers[lane] };
        }
    }
    let mut best = (u32::MAX, f32::INFINITY, f32::INFINITY);
    for lane in 0..LANES {
        best = merged(best, (first_center + centers[lane], least[lane], second[lane]));
    }
    for center in whole..products.len() {
        let value = norms[center] - 2.0 * products[center];
        best = merged(best, (first_center + center as u32, value, f32::INFINITY));
    }
    best
}

/// The two smallest of both.
fn merged(a: (u32, f32, f32), b: (u32, f32, f32)) -> (u32, f32, f32) {
    let (winner, loser) = if (b.1, b.0) < (a.1, a.0) { (b, a) } else { (a, b) };
    (winner.0, winner.1, winner.2.min(loser.1))
}

/// The two nearest centres of every row, with the distance to the nearest recomputed from the differences.
pub(super) fn all(data: &Prepared<'_>, centers: &[f32]) -> Vec<TwoNearest> {
    let centers = Centers::new(centers, data.dim);
    let indices: Vec<u32> = (0..data.len() as u32).collect();
    let chunks: Vec<Vec<TwoNearest>> = indices
        .par_chunks(CHUNK)
        .map(|chunk| {
            let mut found = Vec::with_capacity(chunk.len());
            centers.nearest(data, chunk, &mut Scratch::default(), |row, two| {
                let center = &centers.values[two.first as usize * data.dim..][..data.dim];
                let first_squared = rows::squared_distance(data.row(row as usize), center);
                found.push(TwoNearest { first_squared, second_squared: two.second_squared.max(first_squared), ..two });
            });
            found
        })
        .collect();
    chunks.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a sort; small integers, so that ties are many.
        #[test]
        fn the_two_smallest_are_those_of_a_sort(values in prop::collection::vec(-5i8..5, 1..70)) {
            let norms: Vec<f32> = values.iter().map(|&value| f32::from(value)).collect();
            let mut sorted: Vec<(f32, u32)> = norms.iter().copied().zip(7..).collect();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let second = sorted.get(1).map_or(f32::INFINITY, |&(value, _)| value);
            let products = vec![0.0; norms.len()];
            prop_assert_eq!(two_smallest(&products, &norms, 7), (sorted[0].1, sorted[0].0, second));
        }
    }
}
