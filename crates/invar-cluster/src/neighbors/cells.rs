use rayon::prelude::*;

use super::{Base, Metric, SEED};
use crate::sample;
use invar_dataset::seed;

/// Average number of rows per cell.
pub(super) const CELL: usize = 750;
/// Rows per cell used to fit the means, and the number of iterations.
const FIT_ROWS: usize = 32;
const FIT_ROUNDS: usize = 3;

/// Rows in spatial groups: a coarse k-means.
pub(super) struct Cells {
    /// The rows, cell after cell, ascending within each.
    pub order: Vec<usize>,
    /// Where each cell begins in `order`, and where the last ends.
    pub starts: Vec<usize>,
    /// The means of the cells, `[cells, dim]`.
    pub means: Vec<f32>,
}

impl Cells {
    /// Cells of `values` `[n, dim]`, and for each row the `num_near` nearest of them (or as many as there are), its own
    /// first.
    pub fn new(values: &[f32], dim: usize, num_near: usize) -> (Self, Vec<u32>) {
        let n = values.len() / dim;
        let num = n.div_ceil(CELL);
        let means = fit(values, dim, num);
        let num_near = num_near.min(num);
        let found = Base::new(&means, dim, Metric::Euclidean).best(values, num_near, |_| None);
        let nearest: Vec<u32> = found.into_par_iter().map(|(_, cell)| cell).collect();
        let mut starts = vec![0; num + 1];
        nearest.iter().step_by(num_near.max(1)).for_each(|&cell| starts[cell as usize + 1] += 1);
        (0..num).for_each(|cell| starts[cell + 1] += starts[cell]);
        let (mut next, mut order) = (starts.clone(), vec![0; n]);
        for (row, &cell) in nearest.iter().step_by(num_near.max(1)).enumerate() {
            order[next[cell as usize]] = row;
            next[cell as usize] += 1;
        }
        (Self { order, starts, means }, nearest)
    }
}

/// The means of `num` cells, by a few rounds of k-means over a part of the rows.
fn fit(values: &[f32], dim: usize, num: usize) -> Vec<f32> {
    let gather = |rows: &[usize]| -> Vec<f32> {
        rows.iter().flat_map(|&row| values[row * dim..][..dim].iter().copied()).collect()
    };
    let n = values.len() / dim;
    let part = gather(&sample::subset(&mut seed::rng(SEED, 0), n, FIT_ROWS * num));
    let mut means = gather(&sample::subset(&mut seed::rng(SEED, 1), n, num));
    for _ in 0..FIT_ROUNDS {
        let nearest = Base::new(&means, dim, Metric::Euclidean).best(&part, 1, |_| None);
        let (mut sums, mut sizes) = (vec![0f64; means.len()], vec![0f64; num]);
        for (row, &(_, cell)) in part.chunks(dim).zip(&nearest) {
            sizes[cell as usize] += 1.0;
            sums[cell as usize * dim..][..dim].iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        for (at, mean) in means.iter_mut().enumerate().filter(|(at, _)| sizes[at / dim] > 0.0) {
            *mean = (sums[at] / sizes[at / dim]) as f32;
        }
    }
    means
}
