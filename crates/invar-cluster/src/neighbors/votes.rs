use std::{collections::HashMap, hash::Hash};

use invar_dataset::seed;
use serde::{Deserialize, Serialize};

use super::{Metric, nearest};
use crate::{ClusterError, Rows, sample};

/// How neighbours are scored against labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KnnConfig {
    /// Number of neighbours for the k-NN majority and recall@k.
    pub k: usize,
    /// Rows whose neighbours are searched for, drawn at random if there are more. The search is always among all rows.
    pub max_queries: usize,
    /// Determines the draw.
    pub seed: u64,
}

impl Default for KnnConfig {
    fn default() -> Self {
        Self { k: 10, max_queries: 10_000, seed: 0 }
    }
}

/// How well the neighbours of a row predict its label; fractions of the queries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnnScores {
    /// Number of queries.
    pub num_queries: usize,
    /// Number of neighbours used.
    pub k: usize,
    /// The nearest neighbour has the query's label: recall@1 of metric learning, leave-one-out 1-NN accuracy.
    pub recall_at_1: f64,
    /// The most frequent label of the `k` nearest is the query's; ties go to the label whose nearest member is nearest.
    pub accuracy_knn: f64,
    /// At least one of the `k` nearest has the query's label (recall@k of metric learning).
    pub recall_at_k: f64,
}

/// Scores the cosine neighbours against `labels`, one per row. Rows whose label is `None` are left out altogether.
///
/// # Errors
/// If the numbers of labels and rows differ.
pub fn knn_scores<L: Eq + Hash + Sync>(
    data: Rows<'_>,
    labels: &[Option<L>],
    config: &KnnConfig,
) -> Result<KnnScores, ClusterError> {
    if labels.len() != data.len() {
        return Err(ClusterError::Length { what: "labels", expected: data.len(), found: labels.len() });
    }
    let labelled: Vec<usize> = (0..labels.len()).filter(|&row| labels[row].is_some()).collect();
    let values = data.gather(&labelled);
    let data = Rows::new(&values, data.dim())?;
    let labels: Vec<&L> = labels.iter().flatten().collect();
    let queries = sample::subset(&mut seed::rng(config.seed, 0), labels.len(), config.max_queries);
    let found = nearest(data, &queries, config.k.max(1), Metric::Cosine)?;
    let mut hits = [0usize; 3];
    if found.k > 0 {
        for (&query, neighbors) in queries.iter().zip(found.indices.chunks(found.k)) {
            let own = labels[query];
            hits[0] += usize::from(labels[neighbors[0] as usize] == own);
            hits[1] += usize::from(majority(neighbors.iter().map(|&row| labels[row as usize])) == Some(own));
            hits[2] += usize::from(neighbors.iter().any(|&row| labels[row as usize] == own));
        }
    }
    let share = |hits: usize| if queries.is_empty() { 0.0 } else { hits as f64 / queries.len() as f64 };
    Ok(KnnScores {
        num_queries: queries.len(),
        k: found.k,
        recall_at_1: share(hits[0]),
        accuracy_knn: share(hits[1]),
        recall_at_k: share(hits[2]),
    })
}

/// The most frequent label; the first one met among equally frequent ones.
pub(super) fn majority<'a, L: Eq + Hash>(labels: impl Iterator<Item = &'a L>) -> Option<&'a L> {
    let mut counts: HashMap<&L, (usize, usize)> = HashMap::new();
    for (position, label) in labels.enumerate() {
        counts.entry(label).or_insert((0, position)).0 += 1;
    }
    counts.into_iter().max_by_key(|&(_, (count, first))| (count, usize::MAX - first)).map(|(label, _)| label)
}
