//! Which of several clusterings: the one whose clusters lie apart and are found again. Separation is the silhouette
//! (Rousseeuw 1987), reproducibility the mean over the clusters of how like a cluster of half of the rows they are (Hennig
//! 2007, "Cluster-wise assessment of cluster stability"). Either alone fails: the silhouette of few and far clusters is high
//! although others hide in them, and pieces of a cluster that is cut the same way each time are found again.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::silhouette::Silhouettes;

/// Mean similarity below which clusters are not "found again" (Hennig 2007).
const LEAST_REPRODUCIBILITY: f64 = 0.6;

/// What made a clustering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// k-means, with as many clusters as there are.
    KMeans,
    /// HDBSCAN.
    Hdbscan,
    /// Leiden.
    Leiden,
}

impl Method {
    /// As in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            Self::KMeans => "kmeans",
            Self::Hdbscan => "hdbscan",
            Self::Leiden => "leiden",
        }
    }
}

/// A clustering that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// What made it.
    pub method: Method,
    /// Of Leiden.
    pub resolution: Option<f64>,
    /// Its clusters.
    pub num_clusters: usize,
    /// Mean silhouette of the rows, `[-1, 1]`; `None` where there is one cluster, or it did not matter.
    pub silhouette: Option<f64>,
    /// Mean over the clusters of the Jaccard similarity with their like in halves of the rows, `[0, 1]`.
    pub reproducibility: f64,
    /// The product, where it may be chosen.
    pub score: Option<f64>,
    /// Whether it was taken. Where no candidate was, all rows are one cluster.
    pub chosen: bool,
}

/// The clusters of one candidate.
pub(crate) struct Outcome {
    pub method: Method,
    pub resolution: Option<f64>,
    /// Cluster of each row, `0..`.
    pub labels: Vec<i32>,
    /// Of each cluster.
    pub confidence: Vec<f32>,
    pub silhouette: Option<f64>,
}

impl Outcome {
    /// Measures how far its clusters lie apart.
    pub fn measure(&mut self, silhouettes: &Silhouettes) {
        self.silhouette = (self.confidence.len() > 1).then(|| silhouettes.mean(&self.labels, self.confidence.len()));
    }

    /// As it is told.
    pub fn candidate(&self, chosen: bool) -> Candidate {
        Candidate {
            method: self.method,
            resolution: self.resolution,
            num_clusters: self.confidence.len(),
            silhouette: self.silhouette,
            reproducibility: self.reproducibility(),
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
pub(crate) fn best(outcomes: &[Outcome]) -> Option<usize> {
    let scores = outcomes.iter().enumerate().filter_map(|(at, outcome)| Some((at, outcome.score()?)));
    scores.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0))).map(|(at, _)| at)
}

/// How far each cluster of `labels` is found again in parts of the rows: the mean over the parts that have some of it of the
/// largest Jaccard similarity with a cluster there; 0 where no part has any. A part is the numbers of its rows and their
/// clusters. There are `num` clusters, of which the rows may lack some.
pub(crate) fn confidence<'a>(
    labels: &[i32],
    num: usize,
    parts: impl Iterator<Item = (&'a [u32], &'a [i32])>,
) -> Vec<f32> {
    let (mut sums, mut times) = (vec![0.0; num], vec![0u32; num]);
    for (rows, found) in parts {
        let here: Vec<i32> = rows.iter().map(|&row| labels[row as usize]).collect();
        for (cluster, similarity) in best_similarities(&here, found) {
            sums[cluster as usize] += similarity;
            times[cluster as usize] += 1;
        }
    }
    let mean = |(sum, times): (f64, u32)| if times > 0 { (sum / f64::from(times)) as f32 } else { 0.0 };
    sums.into_iter().zip(times).map(mean).collect()
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

#[cfg(test)]
mod tests;
