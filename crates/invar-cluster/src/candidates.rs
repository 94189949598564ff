//! Chooses among clusterings: the one whose clusters are separated and reproducible. Separation is the silhouette
//! (Rousseeuw 1987), reproducibility the mean over the clusters of their similarity to the most similar cluster of half
//! of the rows (Hennig 2007, "Cluster-wise assessment of cluster stability"). Either alone fails: the silhouette of a
//! few distant clusters is high even if they hide others, and pieces of a cluster that is cut the same way each time
//! are reproducible. Where single-copy markers are known, the clusters are to have each of them, and once, instead.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{markers::Markers, silhouette::Silhouettes};

/// Mean similarity below which clusters do not count as reproducible (Hennig 2007).
const LEAST_REPRODUCIBILITY: f64 = 0.6;

/// The method of a clustering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// k-means, with any number of clusters.
    KMeans,
    /// HDBSCAN.
    Hdbscan,
    /// Leiden.
    Leiden,
}

impl Method {
    /// Its name in a recipe.
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
    /// The method used.
    pub method: Method,
    /// The resolution, for Leiden.
    pub resolution: Option<f64>,
    /// Number of clusters.
    pub num_clusters: usize,
    /// Mean silhouette of the rows, `[-1, 1]`; `None` if there is one cluster, or if it was not needed.
    pub silhouette: Option<f64>,
    /// Mean over the clusters of the Jaccard similarity with the most similar cluster in halves of the rows, `[0, 1]`.
    pub reproducibility: f64,
    /// The sum over the clusters of what single-copy markers say of them ([`crate::markers::Judged::score`]), where they are
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub markers: Option<f64>,
    /// That of the markers, or, without them, the product of silhouette and reproducibility, if the candidate is eligible.
    pub score: Option<f64>,
    /// Whether it was chosen. If no candidate was, all rows are one cluster.
    pub chosen: bool,
}

/// The clusters of one candidate.
pub(crate) struct Outcome {
    pub method: Method,
    pub resolution: Option<f64>,
    /// Cluster of each row, `0..`.
    pub labels: Vec<i32>,
    /// Confidence of each cluster.
    pub confidence: Vec<f32>,
    pub silhouette: Option<f64>,
    /// What single-copy markers say.
    pub by_markers: Option<f64>,
}

impl Outcome {
    /// Clusters that are not judged yet.
    pub fn new(method: Method, resolution: Option<f64>, labels: Vec<i32>, confidence: Vec<f32>) -> Self {
        Self { method, resolution, labels, confidence, silhouette: None, by_markers: None }
    }

    /// Measures how well its clusters are separated, and what the markers of the rows say of them.
    pub fn measure(&mut self, silhouettes: &Silhouettes, markers: Option<&Markers>) {
        let num = self.confidence.len();
        self.silhouette = (num > 1).then(|| silhouettes.mean(&self.labels, num));
        self.by_markers = markers.map(|markers| markers.score(&self.labels, num));
    }

    /// The candidate as reported.
    pub fn candidate(&self, chosen: bool) -> Candidate {
        Candidate {
            method: self.method,
            resolution: self.resolution,
            num_clusters: self.confidence.len(),
            silhouette: self.silhouette,
            reproducibility: self.reproducibility(),
            markers: self.by_markers,
            score: self.score(),
            chosen,
        }
    }

    fn reproducibility(&self) -> f64 {
        self.confidence.iter().map(|&of| f64::from(of)).sum::<f64>() / self.confidence.len().max(1) as f64
    }

    fn score(&self) -> Option<f64> {
        if let Some(score) = self.by_markers {
            return (score > 0.0).then_some(score);
        }
        let reproducibility = self.reproducibility();
        let silhouette = self.silhouette.filter(|&silhouette| silhouette > 0.0)?;
        (reproducibility >= LEAST_REPRODUCIBILITY).then_some(silhouette * reproducibility)
    }
}

/// The one with the largest score, the first of equal ones; `None` if none has separated, reproducible clusters.
pub(crate) fn best(outcomes: &[Outcome]) -> Option<usize> {
    let scores = outcomes.iter().enumerate().filter_map(|(at, outcome)| Some((at, outcome.score()?)));
    scores.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0))).map(|(at, _)| at)
}

/// How reproducible each cluster of `labels` is in parts of the rows: the largest Jaccard similarity with a cluster of
/// a part, averaged over the parts that contain some of it; 0 if no part does. A part consists of row indices and their
/// clusters. There are `num` clusters, some of which may have no rows. Without `weights` all rows weigh the same.
pub(crate) fn confidence<'a>(
    labels: &[i32],
    num: usize,
    weights: Option<&[f64]>,
    parts: impl Iterator<Item = (&'a [u32], &'a [i32])>,
) -> Vec<f32> {
    let (mut sums, mut times) = (vec![0.0; num], vec![0u32; num]);
    for (rows, found) in parts {
        let here: Vec<i32> = rows.iter().map(|&row| labels[row as usize]).collect();
        let weight = |at: usize| weights.map_or(1.0, |weights| weights[rows[at] as usize]);
        for (cluster, similarity) in best_similarities(&here, found, weight) {
            sums[cluster as usize] += similarity;
            times[cluster as usize] += 1;
        }
    }
    let mean = |(sum, times): (f64, u32)| if times > 0 { (sum / f64::from(times)) as f32 } else { 0.0 };
    sums.into_iter().zip(times).map(mean).collect()
}

/// For each cluster of `labels` the largest Jaccard similarity with a cluster of `others`.
fn best_similarities(labels: &[i32], others: &[i32], weight: impl Fn(usize) -> f64) -> Vec<(i32, f64)> {
    let (mut sizes, mut other_sizes, mut both) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (at, (&label, &other)) in labels.iter().zip(others).enumerate() {
        *sizes.entry(label).or_insert(0.0) += weight(at);
        *other_sizes.entry(other).or_insert(0.0) += weight(at);
        *both.entry((label, other)).or_insert(0.0) += weight(at);
    }
    let mut best: HashMap<i32, f64> = HashMap::new();
    for ((label, other), number) in both {
        let similarity = number / (sizes[&label] + other_sizes[&other] - number);
        let best = best.entry(label).or_insert(0.0);
        *best = best.max(similarity);
    }
    best.into_iter().collect()
}

#[cfg(test)]
mod tests;
