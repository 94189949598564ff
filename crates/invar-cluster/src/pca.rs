//! Principal components: the eigenvectors of the covariance matrix, in double precision.

use nalgebra::{DMatrix, SymmetricEigen};
use rayon::prelude::*;

use crate::{ClusterError, Rows, gemm};

/// Number of parts that the rows are split into; their sums are added up in order.
const PARTS: usize = 32;
/// Rows converted to double precision at a time.
const BLOCK: usize = 256;

/// A fitted projection. Signs are fixed: the loading of largest magnitude of each component is positive.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    /// Mean row, `[D]`.
    pub mean: Vec<f64>,
    /// Unit directions by decreasing variance, `[num_components, D]`.
    pub components: Vec<f64>,
    /// Variance along each, with divisor n - 1, like scikit-learn's `explained_variance_`.
    pub explained_variance: Vec<f64>,
    /// Fraction of the total variance; 0 if there is none.
    pub explained_variance_ratio: Vec<f64>,
}

impl Pca {
    /// Fits `num_components`, at most D. With fewer than two rows every variance is 0 and the directions are the axes.
    pub fn fit(data: Rows<'_>, num_components: usize) -> Self {
        let dim = data.dim();
        let mean = mean(data);
        let divisor = (data.len().max(2) - 1) as f64;
        let covariance = gram(data, &mean).into_iter().map(|sum| sum / divisor).collect();
        let eigen = SymmetricEigen::new(DMatrix::from_vec(dim, dim, covariance));
        let mut order: Vec<usize> = (0..dim).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let total: f64 = eigen.eigenvalues.iter().map(|v| v.max(0.0)).sum();
        order.truncate(num_components);
        let explained_variance: Vec<f64> = order.iter().map(|&at| eigen.eigenvalues[at].max(0.0)).collect();
        let components = order.iter().flat_map(|&at| signed(eigen.eigenvectors.column(at).iter().copied())).collect();
        let ratio = |&variance: &f64| if total > 0.0 { variance / total } else { 0.0 };
        let explained_variance_ratio = explained_variance.iter().map(ratio).collect();
        Self { mean, components, explained_variance, explained_variance_ratio }
    }

    /// Number of components.
    pub fn num_components(&self) -> usize {
        self.explained_variance.len()
    }

    /// Coordinates along the components, `[n, num_components]`.
    ///
    /// # Errors
    /// If the rows differ in dimension from those fitted.
    pub fn transform(&self, data: Rows<'_>) -> Result<Vec<f32>, ClusterError> {
        if data.dim() != self.mean.len() {
            let (expected, found) = (self.mean.len(), data.dim());
            return Err(ClusterError::Length { what: "dimension of the rows to project", expected, found });
        }
        let num_components = self.num_components();
        let mut out = vec![0.0; data.len() * num_components];
        if num_components == 0 {
            return Ok(out);
        }
        out.par_chunks_mut(num_components).zip(data.values().par_chunks(data.dim())).for_each(|(out, row)| {
            for (out, component) in out.iter_mut().zip(self.components.chunks(data.dim())) {
                let terms = row.iter().zip(&self.mean).zip(component);
                *out = terms.map(|((&x, mean), weight)| (f64::from(x) - mean) * weight).sum::<f64>() as f32;
            }
        });
        Ok(out)
    }
}

/// The first two principal coordinates of every row, `(x, y)`; `y` is 0 if D is 1.
pub fn project_2d(data: Rows<'_>) -> (Vec<f32>, Vec<f32>) {
    let pca = Pca::fit(data, 2);
    let projected = pca.transform(data).expect("the rows that were fitted");
    let coordinate = |axis: usize| {
        let at = |row: &[f32]| row.get(axis).copied().unwrap_or(0.0);
        projected.chunks(pca.num_components()).map(at).collect()
    };
    (coordinate(0), coordinate(1))
}

/// `sum (x - center)^T (x - center)` over the rows, `[D, D]`.
pub(crate) fn gram(data: Rows<'_>, center: &[f64]) -> Vec<f64> {
    let dim = data.dim();
    sum_of_parts(data, dim * dim, |part, sum| {
        let mut block = Vec::with_capacity(BLOCK * dim);
        for rows in part.chunks(BLOCK * dim) {
            block.clear();
            for row in rows.chunks(dim) {
                block.extend(row.iter().zip(center).map(|(&x, center)| f64::from(x) - center));
            }
            gemm::add_gram(&block, dim, sum);
        }
    })
}

/// Mean row, `[D]`; zeros without rows.
pub(crate) fn mean(data: Rows<'_>) -> Vec<f64> {
    let dim = data.dim();
    let mut mean = sum_of_parts(data, dim, |part, sum| {
        for row in part.chunks(dim) {
            sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
    });
    mean.iter_mut().for_each(|sum| *sum /= data.len().max(1) as f64);
    mean
}

/// Adds up `size` sums over a fixed number of parts, in their order.
fn sum_of_parts(data: Rows<'_>, size: usize, add: impl Fn(&[f32], &mut [f64]) + Sync) -> Vec<f64> {
    let part_rows = data.len().div_ceil(PARTS).max(1);
    let parts: Vec<Vec<f64>> = data
        .values()
        .par_chunks(part_rows * data.dim())
        .map(|part| {
            let mut sum = vec![0.0; size];
            add(part, &mut sum);
            sum
        })
        .collect();
    parts.iter().fold(vec![0.0; size], |mut total, part| {
        total.iter_mut().zip(part).for_each(|(total, sum)| *total += sum);
        total
    })
}

/// With its sign chosen so that the entry of largest magnitude (the first of equal ones) is positive.
fn signed(component: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut component: Vec<f64> = component.collect();
    let largest = component.iter().fold(0.0, |largest: f64, &x| if x.abs() > largest.abs() { x } else { largest });
    if largest < 0.0 {
        component.iter_mut().for_each(|x| *x = -*x);
    }
    component
}

#[cfg(test)]
mod tests;
