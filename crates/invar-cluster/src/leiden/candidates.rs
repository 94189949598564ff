//! Which resolution: clusters that lie apart and are found again. Separation is the silhouette (Rousseeuw 1987),
//! reproducibility the mean over the clusters of how like a cluster of half of the rows they are (Hennig 2007,
//! "Cluster-wise assessment of cluster stability"). Either alone fails: the silhouette of few and far clusters is high
//! although others hide in them, and pieces of a cluster that is cut the same way each time are found again.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::part::Part;
use crate::{Rows, gemm};

/// Mean similarity below which clusters are not "found again" (Hennig 2007).
const LEAST_REPRODUCIBILITY: f64 = 0.6;
/// Rows of one matrix product.
const ROWS: usize = 1024;

/// A resolution that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The resolution.
    pub resolution: f64,
    /// Clusters at it.
    pub num_clusters: usize,
    /// Mean silhouette of the rows by cosine distance, `[-1, 1]`; `None` where there is one cluster, or it did not matter.
    pub silhouette: Option<f64>,
    /// Mean over the clusters of the Jaccard similarity with their like in halves of the rows, `[0, 1]`.
    pub reproducibility: f64,
    /// The product, where it may be chosen.
    pub score: Option<f64>,
    /// Whether it was taken. Where no candidate was, all rows are one cluster.
    pub chosen: bool,
}

/// The clusters at one resolution.
pub(super) struct Outcome {
    resolution: f64,
    /// Cluster of each row, `0..`.
    pub labels: Vec<i32>,
    /// Of each cluster.
    pub confidence: Vec<f32>,
    silhouette: Option<f64>,
}

impl Outcome {
    /// From the clusters of all rows and of each part.
    pub fn new(resolution: f64, labels: Vec<i32>, parts: &[Part], of_parts: &[Vec<i32>]) -> Self {
        let num = labels.iter().max().map_or(0, |&most| most as usize + 1);
        let (mut sums, mut times) = (vec![0.0; num], vec![0u32; num]);
        for (part, found) in parts.iter().zip(of_parts) {
            let here: Vec<i32> = part.rows.iter().map(|&row| labels[row as usize]).collect();
            for (cluster, similarity) in best_similarities(&here, found) {
                sums[cluster as usize] += similarity;
                times[cluster as usize] += 1;
            }
        }
        let mean = |(sum, times): (f64, u32)| if times > 0 { (sum / f64::from(times)) as f32 } else { 0.0 };
        let confidence = sums.into_iter().zip(times).map(mean).collect();
        Self { resolution, labels, confidence, silhouette: None }
    }

    /// As it is told.
    pub fn candidate(&self, chosen: bool) -> Candidate {
        let reproducibility = self.reproducibility();
        Candidate {
            resolution: self.resolution,
            num_clusters: self.confidence.len(),
            silhouette: self.silhouette,
            reproducibility,
            score: self.score(),
            chosen,
        }
    }

    fn reproducibility(&self) -> f64 {
        self.confidence.iter().map(|&of| f64::from(of)).sum::<f64>() / self.confidence.len().max(1) as f64
    }

    fn score(&self) -> Option<f64> {
        let reproducibility = self.reproducibility();
        let silhouette = self.silhouette.filter(|&silhouette| silhouette > 0.0)?;
        (reproducibility >= LEAST_REPRODUCIBILITY).then_some(silhouette * reproducibility)
    }
}

/// The one of the largest score, of equal ones the first; `None` where no clusters lie apart and are found again.
pub(super) fn best(outcomes: &[Outcome]) -> Option<usize> {
    let scores = outcomes.iter().enumerate().filter_map(|(at, outcome)| Some((at, outcome.score()?)));
    scores.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0))).map(|(at, _)| at)
}

/// Measures the silhouette of each.
pub(super) fn measure_separation(rows: Rows<'_>, outcomes: &mut [Outcome]) {
    let values = rows.normalized();
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.confidence.len() > 1) {
        outcome.silhouette = Some(silhouette(&values, rows.dim(), &outcome.labels, outcome.confidence.len()));
    }
}

/// For each cluster of `labels` the largest Jaccard similarity with a cluster of `others`.
fn best_similarities(labels: &[i32], others: &[i32]) -> Vec<(i32, f64)> {
    let (mut sizes, mut other_sizes, mut both) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (&label, &other) in labels.iter().zip(others) {
        *sizes.entry(label).or_insert(0u64) += 1;
        *other_sizes.entry(other).or_insert(0u64) += 1;
        *both.entry((label, other)).or_insert(0u64) += 1;
    }
    let mut best: HashMap<i32, f64> = HashMap::new();
    for ((label, other), number) in both {
        let similarity = number as f64 / (sizes[&label] + other_sizes[&other] - number) as f64;
        let best = best.entry(label).or_insert(0.0);
        *best = best.max(similarity);
    }
    best.into_iter().collect()
}

/// Mean silhouette over all rows, of unit length, by cosine distance. The mean distance to a cluster follows from the sum of
/// its rows, so that the cost is rows x clusters. 0 for a row that is alone in its cluster, as scikit-learn has it.
fn silhouette(values: &[f32], dim: usize, labels: &[i32], num_clusters: usize) -> f64 {
    let (mut sums, mut sizes) = (vec![0f64; num_clusters * dim], vec![0f64; num_clusters]);
    for (row, &label) in values.chunks(dim).zip(labels) {
        sizes[label as usize] += 1.0;
        sums[label as usize * dim..][..dim].iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let means: Vec<f32> = sums.iter().enumerate().map(|(at, sum)| (sum / sizes[at / dim].max(1.0)) as f32).collect();
    let of_block = |(rows, labels): (&[f32], &[i32])| {
        let mut cosines = vec![0.0; labels.len() * num_clusters];
        gemm::products(rows, &means, dim, &mut cosines);
        let mut sum = 0.0;
        for ((row, &label), cosines) in rows.chunks(dim).zip(labels).zip(cosines.chunks(num_clusters)) {
            let own = label as usize;
            if sizes[own] < 2.0 {
                continue;
            }
            let itself: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            let within = 1.0 - (f64::from(cosines[own]) * sizes[own] - itself) / (sizes[own] - 1.0);
            let others = cosines.iter().enumerate().filter(|&(at, _)| at != own && sizes[at] > 0.0);
            let nearest = others.map(|(_, &cosine)| 1.0 - f64::from(cosine)).fold(f64::INFINITY, f64::min);
            let largest = within.max(nearest);
            sum += if largest > 0.0 && nearest.is_finite() { (nearest - within) / largest } else { 0.0 };
        }
        sum
    };
    let blocks: Vec<f64> = values.par_chunks(ROWS * dim).zip(labels.par_chunks(ROWS)).map(of_block).collect();
    blocks.iter().sum::<f64>() / labels.len().max(1) as f64
}

#[cfg(test)]
mod tests;
