//! Quality of an embedding without labels: alignment and uniformity (Wang and Isola 2020), effective rank (Roy and
//! Vetterli 2007), and the spread, which vanishes in a collapse.

use invar_dataset::seed;
use nalgebra::DMatrix;
use rayon::prelude::*;

use crate::{ClusterError, Rows, gemm, pca, rows, sample};

/// Maximum number of rows for which [`uniformity`] uses every pair.
pub const UNIFORMITY_MAX_ROWS: usize = 8192;

/// Rows per matrix product.
const BLOCK: usize = 64;

/// The Euclidean distance of each row to the mean of its cluster; for noise (-1), to the nearest mean, or 0 if there is
/// none.
///
/// # Errors
/// If the numbers of labels and rows differ.
pub fn distances_to_means(data: Rows<'_>, labels: &[i32]) -> Result<Vec<f32>, ClusterError> {
    if labels.len() != data.len() {
        return Err(ClusterError::Length { what: "cluster labels", expected: data.len(), found: labels.len() });
    }
    Ok(distances_from(data, labels, &means(data, labels)))
}

/// The same, from the known `means` of the clusters.
pub(crate) fn distances_from(data: Rows<'_>, labels: &[i32], means: &[Option<Vec<f64>>]) -> Vec<f32> {
    let dim = data.dim();
    let distance = |row: &[f32], mean: &[f64]| {
        row.iter().zip(mean).map(|(&x, mean)| (f64::from(x) - mean).powi(2)).sum::<f64>().sqrt()
    };
    let of_row = |(row, &label): (&[f32], &i32)| match usize::try_from(label).ok().and_then(|at| means[at].as_ref()) {
        Some(mean) => distance(row, mean) as f32,
        None => means.iter().flatten().map(|mean| distance(row, mean)).reduce(f64::min).unwrap_or(0.0) as f32,
    };
    data.values().par_chunks(dim).zip(labels).map(of_row).collect()
}

/// The mean of each cluster, `[D]`; `None` for one without members. Noise (-1) has none.
///
/// # Panics
/// If the numbers of labels and rows differ.
pub(crate) fn means(data: Rows<'_>, labels: &[i32]) -> Vec<Option<Vec<f64>>> {
    assert_eq!(labels.len(), data.len(), "cluster labels");
    let dim = data.dim();
    let num_clusters = labels.iter().max().map_or(0, |&most| (most + 1).max(0) as usize);
    let (mut sums, mut counts) = (vec![0f64; num_clusters * dim], vec![0u64; num_clusters]);
    for (row, cluster) in
        labels.iter().enumerate().filter_map(|(row, &label)| Some((row, usize::try_from(label).ok()?)))
    {
        counts[cluster] += 1;
        sums[cluster * dim..][..dim].iter_mut().zip(data.row(row)).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let mean = |(sum, &count): (&[f64], &u64)| -> Option<Vec<f64>> {
        (count > 0).then(|| sum.iter().map(|sum| sum / count as f64).collect())
    };
    sums.chunks(dim).zip(&counts).map(mean).collect()
}

/// Mean squared distance between the two rows of each pair; 0 without pairs. Lower is better. Wang and Isola's
/// `L_align` with alpha = 2; for unit rows it is `2 - 2 cos`.
///
/// # Errors
/// If the two lists differ in shape.
pub fn alignment(anchors: Rows<'_>, keys: Rows<'_>) -> Result<f64, ClusterError> {
    let length = |what, expected, found| Err(ClusterError::Length { what, expected, found });
    if anchors.dim() != keys.dim() {
        return length("dimension of the keys", anchors.dim(), keys.dim());
    }
    if anchors.len() != keys.len() {
        return length("number of keys", anchors.len(), keys.len());
    }
    let squared: Vec<f64> = anchors
        .values()
        .par_chunks(anchors.dim())
        .zip(keys.values().par_chunks(keys.dim()))
        .map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum())
        .collect();
    Ok(squared.iter().sum::<f64>() / squared.len().max(1) as f64)
}

/// `ln mean exp(-2 |x - y|^2)` over all pairs of different rows: Wang and Isola's `L_uniform` with t = 2. 0 if all rows
/// are the same; slightly above -4 for unit rows spread evenly over a sphere of many dimensions. Lower is more uniform.
/// `None` with fewer than two rows.
///
/// Above [`UNIFORMITY_MAX_ROWS`] the pairs are those of a random sample of this size, determined by `sample_seed`.
pub fn uniformity(data: Rows<'_>, sample_seed: u64) -> Option<f64> {
    let dim = data.dim();
    let gathered;
    let values = if data.len() > UNIFORMITY_MAX_ROWS {
        gathered = data.gather(&sample::subset(&mut seed::rng(sample_seed, 0), data.len(), UNIFORMITY_MAX_ROWS));
        &gathered
    } else {
        data.values()
    };
    let n = values.len() / dim;
    if n < 2 {
        return None;
    }
    let norms: Vec<f32> = values.chunks(dim).map(|row| rows::squared_norm(row) as f32).collect();
    let blocks: Vec<f64> = values
        .par_chunks(BLOCK * dim)
        .enumerate()
        .map(|(block, rows)| {
            // Pairs of this block with itself and the later rows.
            let first = block * BLOCK;
            let width = n - first;
            let mut products = vec![0.0; rows.len() / dim * width];
            gemm::products(rows, &values[first * dim..], dim, &mut products);
            products.chunks(width).enumerate().fold(0.0, |sum, (row, products)| {
                let later = products.iter().zip(&norms[first..]).skip(row + 1);
                sum + later
                    .map(|(product, norm)| f64::from((norms[first + row] + norm - 2.0 * product).max(0.0)))
                    .map(|squared| (-2.0 * squared).exp())
                    .sum::<f64>()
            })
        })
        .collect();
    Some((blocks.iter().sum::<f64>() / (n as f64 * (n - 1) as f64 / 2.0)).ln())
}

/// `exp` of the entropy of the normalised singular values: between 1, if all rows lie on one line through the origin,
/// and D, if they fill all dimensions evenly. 0 if every value is 0. The rows are not centred (as in RankMe, Garrido et
/// al. 2023).
pub fn effective_rank(data: Rows<'_>) -> f64 {
    let dim = data.dim();
    let gram = pca::gram(data, &vec![0.0; dim]);
    let eigenvalues = DMatrix::from_vec(dim, dim, gram).symmetric_eigenvalues();
    let largest = eigenvalues.iter().fold(0.0, |a: f64, &b| a.max(b));
    // Eigenvalues below the rounding error of the largest are zero.
    let singular = eigenvalues.iter().filter(|&&v| v > largest * 1e-14).map(|v| v.sqrt());
    let singular: Vec<f64> = singular.collect();
    let total: f64 = singular.iter().sum();
    if total == 0.0 {
        return 0.0;
    }
    let entropy: f64 = singular.iter().map(|s| s / total).map(|share| -share * share.ln()).sum();
    entropy.exp()
}

/// Standard deviation of the unit-length rows, averaged over the dimensions: about `1 / sqrt(D)` in a healthy
/// embedding, 0 when all rows have collapsed to one (Chen and He 2021, section 4.1). 0 without rows.
pub fn embedding_std(data: Rows<'_>) -> f64 {
    let normalized = data.normalized();
    let data = Rows::new(&normalized, data.dim()).expect("finite values of the same shape");
    let mean = pca::mean(data);
    let gram = pca::gram(data, &mean);
    let dim = data.dim();
    let variances = (0..dim).map(|d| gram[d * dim + d] / data.len().max(1) as f64);
    variances.map(|variance| variance.max(0.0).sqrt()).sum::<f64>() / dim as f64
}

#[cfg(test)]
mod tests;
