//! The two nearest centres of rows, by matrix products: `|x - c|^2 = |x|^2 - 2 x.c + |c|^2`.

use rayon::prelude::*;

use super::{CHUNK, Prepared};
use crate::{gemm, rows};

/// The nearest and the second nearest centre of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TwoNearest {
    /// Nearest centre; of equally near ones the first.
    pub first: u32,
    /// Squared distance to it, recomputed from the differences, so exact to the last digits.
    pub first_squared: f32,
    /// Squared distance to the second nearest; infinite where there is one centre.
    pub second_squared: f32,
}

/// Rows and centres of one matrix product: its result stays in the cache.
const ROWS: usize = 128;
const CENTERS: usize = 512;

/// Centres with their squared norms.
pub(super) struct Centers<'a> {
    values: &'a [f32],
    squared_norms: Vec<f32>,
}

/// What [`Centers::nearest`] works in, so that a chunk allocates once.
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

    /// The two nearest centres of rows `indices` (ascending), given one by one to `found`.
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
            let contiguous = last - first + 1 == block.len();
            let Scratch { gathered, products } = &mut *scratch;
            let block_rows: &[f32] = if contiguous {
                &data.values[first * dim..(last + 1) * dim]
            } else {
                gathered.clear();
                block.iter().for_each(|&index| gathered.extend_from_slice(data.row(index as usize)));
                gathered
            };
            let mut best = [(0u32, f32::INFINITY, f32::INFINITY); ROWS];
            for (tile, centers) in self.values.chunks(CENTERS * dim).enumerate() {
                let norms = &self.squared_norms[tile * CENTERS..][..centers.len() / dim];
                products.resize(block.len() * norms.len(), 0.0);
                gemm::products(block_rows, centers, dim, products);
                for (row, best) in products.chunks(norms.len()).zip(&mut best) {
                    two_smallest(row, norms, (tile * CENTERS) as u32, best);
                }
            }
            for (at, (&index, &(first, _, second))) in block.iter().zip(&best).enumerate() {
                let center = &self.values[first as usize * dim..][..dim];
                let first_squared = rows::squared_distance(&block_rows[at * dim..][..dim], center);
                let second_squared = (data.squared_norms[index as usize] + second).max(first_squared);
                found(index, TwoNearest { first, first_squared, second_squared });
            }
        }
    }
}

/// Keeps the smallest and second smallest of `|c|^2 - 2 x.c`.
fn two_smallest(products: &[f32], norms: &[f32], first_center: u32, best: &mut (u32, f32, f32)) {
    let (mut arg, mut least, mut second) = *best;
    for (center, (&product, &norm)) in products.iter().zip(norms).enumerate() {
        let value = norm - 2.0 * product;
        if value < second {
            if value < least {
                second = least;
                least = value;
                arg = first_center + center as u32;
            } else {
                second = value;
            }
        }
    }
    *best = (arg, least, second);
}

/// The two nearest centres of every row.
pub(super) fn all(data: &Prepared<'_>, centers: &[f32]) -> Vec<TwoNearest> {
    let centers = Centers::new(centers, data.dim);
    let indices: Vec<u32> = (0..data.len() as u32).collect();
    let chunks: Vec<Vec<TwoNearest>> = indices
        .par_chunks(CHUNK)
        .map(|chunk| {
            let mut found = Vec::with_capacity(chunk.len());
            centers.nearest(data, chunk, &mut Scratch::default(), |_, two| found.push(two));
            found
        })
        .collect();
    chunks.concat()
}
