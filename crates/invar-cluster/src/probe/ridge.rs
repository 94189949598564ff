//! Ridge regression of a class or a number on the rows of an embedding, fold by fold.

use nalgebra::{Cholesky, DMatrix};
use rayon::prelude::*;

use crate::gemm;

/// What is predicted: a class, out of a given number, or a number.
pub enum Target<'a> {
    Classes(&'a [u32], usize),
    Numbers(&'a [f64]),
}

impl Target<'_> {
    /// Number of columns of the regression.
    fn width(&self) -> usize {
        match self {
            Self::Classes(_, num_classes) => *num_classes,
            Self::Numbers(_) => 1,
        }
    }

    /// The column of one row, and its value there; every other column is 0.
    fn of(&self, row: usize) -> (usize, f64) {
        match self {
            Self::Classes(classes, _) => (classes[row] as usize, 1.0),
            Self::Numbers(numbers) => (0, numbers[row]),
        }
    }
}

/// Rows, and the fold in which each is held out.
pub struct Design<'a> {
    pub values: &'a [f32],
    pub dim: usize,
    pub folds: &'a [usize],
    pub num_folds: usize,
}

/// Sums over rows from which a ridge regression is computed.
#[derive(Clone)]
struct Moments {
    num_rows: f64,
    /// `[D]`
    sum: Vec<f64>,
    /// `[D, D]`
    gram: Vec<f64>,
    /// `[T]`
    target_sum: Vec<f64>,
    /// `[T, D]`
    cross: Vec<f64>,
}

impl Design<'_> {
    /// The most likely class, or the number, predicted for each row from the rows of the other folds.
    pub fn predict(&self, target: &Target<'_>, ridge: f64) -> Vec<f64> {
        let center = self.center();
        let parts: Vec<Moments> =
            (0..self.num_folds).into_par_iter().map(|fold| self.moments(fold, &center, target)).collect();
        let mut total = Moments::zeros(self.dim, target.width());
        parts.iter().for_each(|part| total.add(part, 1.0));
        let predicted: Vec<Vec<(usize, f64)>> = parts
            .par_iter()
            .enumerate()
            .map(|(fold, held_out)| {
                let mut train = total.clone();
                train.add(held_out, -1.0);
                let model = train.solve(ridge);
                self.rows_of(fold).map(|row| (row, model.predict(&self.centered(row, &center), target))).collect()
            })
            .collect();
        let mut all = vec![0.0; self.folds.len()];
        predicted.into_iter().flatten().for_each(|(row, value)| all[row] = value);
        all
    }

    fn rows_of(&self, fold: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.folds.len()).filter(move |&row| self.folds[row] == fold)
    }

    /// The mean row: sums of squares around it do not cancel.
    fn center(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.dim];
        for row in self.values.chunks_exact(self.dim) {
            mean.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x));
        }
        mean.iter_mut().for_each(|mean| *mean /= self.folds.len().max(1) as f64);
        mean
    }

    fn centered(&self, row: usize, center: &[f64]) -> Vec<f64> {
        self.values[row * self.dim..][..self.dim].iter().zip(center).map(|(&x, mean)| f64::from(x) - mean).collect()
    }

    fn moments(&self, fold: usize, center: &[f64], target: &Target<'_>) -> Moments {
        let mut moments = Moments::zeros(self.dim, target.width());
        let mut block = vec![];
        for row in self.rows_of(fold) {
            let x = self.centered(row, center);
            let (column, value) = target.of(row);
            moments.num_rows += 1.0;
            moments.target_sum[column] += value;
            moments.sum.iter_mut().zip(&x).for_each(|(sum, x)| *sum += x);
            moments.cross[column * self.dim..][..self.dim].iter_mut().zip(&x).for_each(|(sum, x)| *sum += value * x);
            block.extend_from_slice(&x);
            if block.len() >= 256 * self.dim {
                gemm::add_gram(&block, self.dim, &mut moments.gram);
                block.clear();
            }
        }
        gemm::add_gram(&block, self.dim, &mut moments.gram);
        moments
    }
}

impl Moments {
    fn zeros(dim: usize, width: usize) -> Self {
        Self {
            num_rows: 0.0,
            sum: vec![0.0; dim],
            gram: vec![0.0; dim * dim],
            target_sum: vec![0.0; width],
            cross: vec![0.0; width * dim],
        }
    }

    fn add(&mut self, other: &Self, sign: f64) {
        self.num_rows += sign * other.num_rows;
        for (ours, theirs) in [
            (&mut self.sum, &other.sum),
            (&mut self.gram, &other.gram),
            (&mut self.target_sum, &other.target_sum),
            (&mut self.cross, &other.cross),
        ] {
            ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours += sign * theirs);
        }
    }

    /// `(S + ridge I) w = c` over standardised dimensions and centred targets. A constant dimension is left out.
    fn solve(&self, ridge: f64) -> Linear {
        let (dim, width) = (self.sum.len(), self.target_sum.len());
        let n = self.num_rows.max(1.0);
        let mean: Vec<f64> = self.sum.iter().map(|sum| sum / n).collect();
        let deviation = |d: usize| (self.gram[d * dim + d] / n - mean[d] * mean[d]).max(0.0).sqrt();
        let inverse: Vec<f64> = (0..dim).map(deviation).map(|s| if s > 1e-9 { 1.0 / s } else { 0.0 }).collect();
        let penalised = DMatrix::from_fn(dim, dim, |i, j| {
            let covariance = (self.gram[i * dim + j] - n * mean[i] * mean[j]) * inverse[i] * inverse[j];
            if i == j { covariance + ridge } else { covariance }
        });
        let right =
            DMatrix::from_fn(dim, width, |d, t| (self.cross[t * dim + d] - mean[d] * self.target_sum[t]) * inverse[d]);
        // Positive definite, because of the ridge.
        let weights = Cholesky::new(penalised).map_or_else(|| DMatrix::zeros(dim, width), |c| c.solve(&right));
        let offsets = self.target_sum.iter().map(|sum| sum / n).collect();
        Linear { mean, inverse, weights, offsets }
    }
}

struct Linear {
    mean: Vec<f64>,
    inverse: Vec<f64>,
    /// `[D, T]`, column-major.
    weights: DMatrix<f64>,
    offsets: Vec<f64>,
}

impl Linear {
    fn predict(&self, x: &[f64], target: &Target<'_>) -> f64 {
        let z: Vec<f64> = x.iter().zip(&self.mean).zip(&self.inverse).map(|((x, mean), s)| (x - mean) * s).collect();
        let output =
            |t: usize| self.weights.column(t).iter().zip(&z).map(|(w, z)| w * z).sum::<f64>() + self.offsets[t];
        match target {
            Target::Numbers(_) => output(0),
            Target::Classes(_, num_classes) => {
                let mut best = (0, f64::NEG_INFINITY);
                for class in 0..*num_classes {
                    let value = output(class);
                    if value > best.1 {
                        best = (class, value);
                    }
                }
                best.0 as f64
            }
        }
    }
}
