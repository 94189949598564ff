//! The number of clusters by the mean silhouette.

use invar_dataset::{NoProgress, Progress, seed};
use rayon::prelude::*;

use super::{KMeansConfig, NumClusters, kmeans};
use crate::{ClusterError, Rows, gemm, rows, sample};

/// Rows that the silhouette is measured on: their distances to each other fill 64 MB.
const SAMPLE_SIZE: usize = 4000;
/// Starts for each number of clusters that is tried.
const RESTARTS: usize = 3;
/// Names the random stream of the sample.
const SAMPLE_STREAM: u64 = 0x6b5f_6175_746f;

/// The number of clusters, `2..=k_max`, whose k-means has the best mean silhouette on a sample; of equally good
/// ones the least. Fewer than three rows, or rows that are all the same, are one cluster.
pub(super) fn by_silhouette(
    data: Rows<'_>,
    config: &KMeansConfig,
    progress: &dyn Progress,
) -> Result<usize, ClusterError> {
    if data.len() < 3 {
        return Ok(data.len().min(1));
    }
    progress.message("choosing the number of clusters");
    let chosen = sample::subset(&mut seed::rng(config.seed, SAMPLE_STREAM), data.len(), SAMPLE_SIZE);
    let mut values = data.gather(&chosen);
    if config.spherical {
        values.chunks_mut(data.dim()).for_each(rows::normalize);
    }
    let sample = Rows::new(&values, data.dim())?;
    let distances = distances(sample);
    let mut best = (1, 0.0);
    for k in 2..=config.k_max.min(sample.len() - 1) {
        let trial =
            KMeansConfig { k: NumClusters::Fixed(k), restarts: config.restarts.min(RESTARTS), ..config.clone() };
        if progress.is_cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let found = kmeans(sample, &trial, &NoProgress)?;
        let score = mean_silhouette(&distances, &found.labels, k);
        if score > best.1 {
            best = (k, score);
        }
    }
    Ok(best.0)
}

/// Euclidean distances of all rows to all rows, `[n, n]`.
fn distances(data: Rows<'_>) -> Vec<f32> {
    let (n, dim) = (data.len(), data.dim());
    let norms: Vec<f32> = data.values().chunks(dim).map(|row| rows::squared_norm(row) as f32).collect();
    let mut distances = vec![0.0; n * n];
    distances.par_chunks_mut(64 * n).zip(data.values().par_chunks(64 * dim)).zip(norms.par_chunks(64)).for_each(
        |((out, block), block_norms)| {
            gemm::products(block, data.values(), dim, out);
            for (row, own) in out.chunks_mut(n).zip(block_norms) {
                row.iter_mut().zip(&norms).for_each(|(d, norm)| *d = (own + norm - 2.0 * *d).max(0.0).sqrt());
            }
        },
    );
    distances
}

/// Mean over the rows of `(b - a) / max(a, b)`: `a` is the mean distance to the others of the own cluster, `b` that
/// to the nearest other cluster; 0 for a cluster of one (Rousseeuw 1987).
pub(crate) fn mean_silhouette(distances: &[f32], labels: &[i32], k: usize) -> f64 {
    let n = labels.len();
    let mut counts = vec![0u32; k];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    let scores: Vec<f64> = distances
        .par_chunks(n)
        .zip(labels)
        .map(|(row, &own)| {
            let mut sums = vec![0.0; k];
            row.iter().zip(labels).for_each(|(&d, &label)| sums[label as usize] += f64::from(d));
            if counts[own as usize] < 2 {
                return 0.0;
            }
            let within = sums[own as usize] / f64::from(counts[own as usize] - 1);
            let others = (0..k).filter(|&other| other != own as usize && counts[other] > 0);
            let nearest = others.map(|other| sums[other] / f64::from(counts[other])).fold(f64::INFINITY, f64::min);
            let most = within.max(nearest);
            if most > 0.0 && most.is_finite() { (nearest - within) / most } else { 0.0 }
        })
        .collect();
    scores.iter().sum::<f64>() / n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silhouette_of_a_line() {
        // sklearn.metrics.silhouette_score([[0],[1],[5],[6],[8]], [0,0,1,1,1])
        let values = [0.0, 1.0, 5.0, 6.0, 8.0];
        let score = mean_silhouette(&distances(Rows::new(&values, 1).unwrap()), &[0, 0, 1, 1, 1], 2);
        assert!((score - 0.720_820_042_530_568_9).abs() < 1e-6, "{score}");
    }
}
