//! The number of clusters by prediction strength (Tibshirani and Walther 2005, "Cluster validation by prediction
//! strength"): rows are halved, each half is clustered, and one asks whether the centres of one half put together
//! what the clustering of the other half puts together.
//!
//! Two things differ from the paper. The strength is the mean over the rows, not that of the worst cluster, so that
//! one rare species does not veto the rest. And the answer is the largest k of at least 0.8 *at which the strength
//! peaks*: a mean falls slowly once whole clusters are being split, and stays above any threshold for a while.
//!
//! The silhouette, which is more usual, answers with the coarsest structure: 2 for 5 kb fragments of ten bacteria as
//! canonical 4-mers, where prediction strength answers 10.

use invar_dataset::{NoProgress, Progress, seed};
use rayon::prelude::*;

use super::{KMeansConfig, NumClusters, Prepared, kmeans, nearest};
use crate::{ClusterError, Rows, rows, sample};

/// Rows that are looked at, at most.
const SAMPLE_SIZE: usize = 6000;
/// Times that they are halved; each half judges the other.
const SPLITS: u64 = 2;
/// Starts of each clustering.
const RESTARTS: usize = 3;
/// Strength that a number of clusters must have.
const THRESHOLD: f64 = 0.8;
/// Names the random streams of the sample and the halves.
const STREAM: u64 = 0x6b5f_6175_746f;

/// The number of clusters, `1..=k_max`. Fewer than four rows are one cluster.
pub(super) fn by_prediction_strength(
    data: Rows<'_>,
    config: &KMeansConfig,
    progress: &dyn Progress,
) -> Result<usize, ClusterError> {
    if data.len() < 4 {
        return Ok(data.len().min(1));
    }
    progress.message("choosing the number of clusters");
    let chosen = sample::subset(&mut seed::rng(config.seed, STREAM), data.len(), SAMPLE_SIZE);
    let halvings: Vec<[Vec<f32>; 2]> = (1..=SPLITS).map(|split| halves(data, &chosen, config, split)).collect();
    let k_max = config.k_max.min(chosen.len() / 2);
    progress.set_total(k_max as u64);
    let of_k = |k: usize| {
        if progress.is_cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let strengths = halvings.iter().map(|halves| strength(halves, data.dim(), k, config));
        let sum = strengths.sum::<Result<f64, ClusterError>>()?;
        progress.advance(1);
        Ok(sum / SPLITS as f64)
    };
    // The halves are too small to keep the threads busy; the numbers of clusters are not.
    let mut strengths = vec![1.0];
    strengths.extend((2..=k_max).into_par_iter().map(of_k).collect::<Result<Vec<f64>, _>>()?);
    Ok(last_peak(&strengths))
}

/// The largest k whose strength is at least the threshold and those of its neighbours; `strengths[0]` is that of k = 1,
/// which is 1 by definition and no rival of k = 2.
fn last_peak(strengths: &[f64]) -> usize {
    let of = |k: usize| if k < 2 { 0.0 } else { strengths.get(k - 1).copied().unwrap_or(0.0) };
    let is_peak = |&k: &usize| of(k) >= THRESHOLD && of(k) >= of(k - 1) && of(k) >= of(k + 1);
    (2..=strengths.len()).rev().find(is_peak).unwrap_or(1)
}

/// The chosen rows in two random halves, of unit length where the clusters are to be cones.
fn halves(data: Rows<'_>, chosen: &[usize], config: &KMeansConfig, split: u64) -> [Vec<f32>; 2] {
    let mut rng = seed::rng(config.seed, STREAM + split);
    let first = sample::subset(&mut rng, chosen.len(), chosen.len() / 2);
    let mut is_first = vec![false; chosen.len()];
    first.iter().for_each(|&at| is_first[at] = true);
    [true, false].map(|half| {
        let indices: Vec<usize> =
            chosen.iter().zip(&is_first).filter(|&(_, &first)| first == half).map(|(&index, _)| index).collect();
        let mut values = data.gather(&indices);
        if config.spherical {
            values.chunks_mut(data.dim()).for_each(rows::normalize);
        }
        values
    })
}

/// Mean of both directions.
fn strength(halves: &[Vec<f32>; 2], dim: usize, k: usize, config: &KMeansConfig) -> Result<f64, ClusterError> {
    let trial = KMeansConfig { k: NumClusters::Fixed(k), restarts: config.restarts.min(RESTARTS), ..config.clone() };
    let rows = [Rows::new(&halves[0], dim)?, Rows::new(&halves[1], dim)?];
    let found = [kmeans(rows[0], &trial, &NoProgress)?, kmeans(rows[1], &trial, &NoProgress)?];
    let direction = |judge: usize| {
        let judged = 1 - judge;
        let two = nearest::all(&Prepared::as_is(rows[judged]), &found[judge].centers);
        let predicted: Vec<u32> = two.iter().map(|two| two.first).collect();
        mean_strength(&found[judged].labels, &predicted, k)
    };
    Ok((direction(0) + direction(1)) / 2.0)
}

/// Mean over the rows of the share of the others in its cluster that are predicted into one cluster with it; 0 for a
/// row alone in its cluster, and 0 altogether where the rows are too alike to fill `k` clusters.
fn mean_strength(labels: &[i32], predicted: &[u32], k: usize) -> f64 {
    let mut table = vec![0u64; k * k];
    labels.iter().zip(predicted).for_each(|(&label, &other)| table[label as usize * k + other as usize] += 1);
    if table.chunks(k).any(|counts| counts.iter().all(|&count| count == 0)) {
        return 0.0;
    }
    let of_cluster = |counts: &[u64]| {
        let size: u64 = counts.iter().sum();
        let pairs: u64 = counts.iter().map(|&count| count * count.saturating_sub(1)).sum();
        if size > 1 { pairs as f64 / (size - 1) as f64 } else { 0.0 }
    };
    table.chunks(k).map(of_cluster).sum::<f64>() / labels.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strength_by_hand() {
        // Cluster 0: of its 3 rows, 2 are predicted together: 2 of 6 ordered pairs, times 3 rows. Cluster 1: whole.
        // Cluster 2 is one row alone. (3 * 2/6 + 2 * 1 + 0) / 6.
        assert_eq!(mean_strength(&[0, 0, 0, 1, 1, 2], &[0, 0, 1, 2, 2, 0], 3), 0.5);
        assert_eq!(mean_strength(&[0, 0, 1, 1], &[1, 1, 0, 0], 2), 1.0);
        assert_eq!(mean_strength(&[0, 0, 0, 0], &[0, 0, 0, 0], 2), 0.0);
    }

    #[test]
    fn the_last_peak_counts() {
        assert_eq!(last_peak(&[1.0]), 1);
        assert_eq!(last_peak(&[1.0, 0.6, 0.7]), 1);
        assert_eq!(last_peak(&[1.0, 0.9, 0.85]), 2);
        assert_eq!(last_peak(&[1.0, 0.99, 0.8, 0.97, 0.95, 0.9, 0.79, 0.795]), 4);
    }
}
