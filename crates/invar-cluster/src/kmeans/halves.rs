//! k-means on halves of the rows, to see whether its clusters are reproducible.

use invar_dataset::{NoProgress, Progress, seed};
use rayon::prelude::*;

use super::{KMeansConfig, NumClusters, kmeans};
use crate::{
    ClusterError, Method, Rows,
    candidates::{self, Outcome},
    choice, sample,
};

/// How often the rows are halved; both halves are clustered.
const SPLITS: u64 = 2;
/// Starts of the clustering of a sample, and of a half of it.
const RESTARTS: [usize; 2] = [3, 2];
/// Names the random streams of the sample and the halves.
const STREAM: u64 = 0x6b5f_6175_746f;

/// 2 to `k_max` clusters of `rows`, but at most half as many as there are rows.
pub(crate) fn outcomes(
    rows: Rows<'_>,
    config: &KMeansConfig,
    progress: &dyn Progress,
) -> Result<Vec<Outcome>, ClusterError> {
    let halves = Halves::new(rows, config.seed);
    let tried: Vec<usize> = (2..=config.k_max.min(rows.len() / 2)).collect();
    progress.set_total(tried.len() as u64);
    let of_k = |k: usize| {
        if progress.is_cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let labels = kmeans(rows, &trial(config, k, RESTARTS[0]), &NoProgress)?.labels;
        let confidence = halves.confidence(&labels, rows.dim(), config, k)?;
        progress.advance(1);
        Ok(Outcome::new(Method::KMeans, None, labels, confidence))
    };
    // The rows are too few to keep the threads busy; the numbers of clusters are not.
    tried.into_par_iter().map(of_k).collect()
}

/// How reproducible each of the `k` clusters of `data` is in halves of a sample.
pub(super) fn confidence(
    data: Rows<'_>,
    labels: &[i32],
    config: &KMeansConfig,
    k: usize,
) -> Result<Vec<f32>, ClusterError> {
    let chosen = sample::subset(&mut seed::rng(config.seed, STREAM), data.len(), choice::MOST_ROWS);
    let gathered = data.gather(&chosen);
    let labels: Vec<i32> = chosen.iter().map(|&row| labels[row]).collect();
    Halves::new(Rows::new(&gathered, data.dim())?, config.seed).confidence(&labels, data.dim(), config, k)
}

fn trial(config: &KMeansConfig, k: usize, restarts: usize) -> KMeansConfig {
    KMeansConfig { k: NumClusters::Fixed(k), restarts: config.restarts.min(restarts), ..config.clone() }
}

/// Random halves of some rows: their indices, and their values.
struct Halves(Vec<(Vec<u32>, Vec<f32>)>);

impl Halves {
    fn new(rows: Rows<'_>, seed: u64) -> Self {
        let of_split = |split| sample::halves(&mut seed::rng(seed, STREAM + split), rows.len());
        let with_values = |half: Vec<u32>| {
            let values = rows.gather(&half.iter().map(|&row| row as usize).collect::<Vec<_>>());
            (half, values)
        };
        Self((1..=SPLITS).flat_map(of_split).map(with_values).collect())
    }

    /// Confidence of each cluster of `labels`, which cover all rows.
    fn confidence(
        &self,
        labels: &[i32],
        dim: usize,
        config: &KMeansConfig,
        k: usize,
    ) -> Result<Vec<f32>, ClusterError> {
        let trial = trial(config, k, RESTARTS[1]);
        let of_half =
            |(_, values): &(Vec<u32>, Vec<f32>)| Ok(kmeans(Rows::new(values, dim)?, &trial, &NoProgress)?.labels);
        let found = self.0.par_iter().map(of_half).collect::<Result<Vec<_>, ClusterError>>()?;
        let parts = self.0.iter().zip(&found).map(|((rows, _), found)| (rows.as_slice(), found.as_slice()));
        Ok(candidates::confidence(labels, k, None, parts))
    }
}
