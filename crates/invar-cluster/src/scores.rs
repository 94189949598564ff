//! Agreement of two labellings of the same items: the external clustering scores, as scikit-learn defines them.
//!
//! All are invariant to the names of the labels. A noise label (-1) is a label like any other: remove noise beforehand
//! if it should not count.

mod bins;

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

use pathfinding::{kuhn_munkres::kuhn_munkres, matrix::Matrix};
use serde::{Deserialize, Serialize};

pub use self::bins::BinScores;
use crate::ClusterError;

/// Distinct labels above which [`Scores::hungarian_accuracy`] is not computed: its cost grows with their cube.
pub const HUNGARIAN_MAX_LABELS: usize = 1000;

/// Every score of a clustering against the truth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Number of items.
    pub num_items: usize,
    /// Number of distinct true labels.
    pub num_classes: usize,
    /// Number of distinct clusters.
    pub num_clusters: usize,
    /// Adjusted Rand index (Hubert and Arabie 1985): 1 for the same partition, about 0 by chance.
    pub adjusted_rand_index: f64,
    /// Mutual information over the arithmetic mean of the entropies, `[0, 1]`.
    pub normalized_mutual_info: f64,
    /// 1 if each cluster contains one class only (Rosenberg and Hirschberg 2007).
    pub homogeneity: f64,
    /// 1 if each class lies in one cluster only.
    pub completeness: f64,
    /// Harmonic mean of homogeneity and completeness.
    pub v_measure: f64,
    /// Fraction of the items whose class is the most common one of their cluster.
    pub purity: f64,
    /// Fraction of the items that are correct under the best one-to-one assignment of clusters to classes (Kuhn 1955);
    /// `None` above [`HUNGARIAN_MAX_LABELS`].
    pub hungarian_accuracy: Option<f64>,
}

impl Scores {
    /// Scores `clusters` against `classes`, item by item. With no items, all scores are 1, except purity and accuracy,
    /// which are 0.
    ///
    /// # Errors
    /// If the lists differ in length.
    pub fn new<A: Eq + Hash, B: Eq + Hash>(classes: &[A], clusters: &[B]) -> Result<Self, ClusterError> {
        if classes.len() != clusters.len() {
            let (expected, found) = (classes.len(), clusters.len());
            return Err(ClusterError::Length { what: "number of cluster labels", expected, found });
        }
        let table = Contingency::new(classes, clusters);
        let (homogeneity, completeness) = (table.homogeneity(), table.transposed().homogeneity());
        let sum = homogeneity + completeness;
        Ok(Self {
            num_items: classes.len(),
            num_classes: table.classes.len(),
            num_clusters: table.clusters.len(),
            adjusted_rand_index: table.adjusted_rand_index(),
            normalized_mutual_info: table.normalized_mutual_info(),
            homogeneity,
            completeness,
            v_measure: if sum > 0.0 { 2.0 * homogeneity * completeness / sum } else { 0.0 },
            purity: table.purity(),
            hungarian_accuracy: table.hungarian_accuracy(),
        })
    }
}

/// How many items have each pair of labels. Labels are numbered by first appearance, so that every sum has a fixed
/// order.
struct Contingency {
    num_items: u64,
    /// Items of each class, and of each cluster.
    classes: Vec<u64>,
    clusters: Vec<u64>,
    /// `(class, cluster, items)`, items > 0, by first appearance.
    cells: Vec<(usize, usize, u64)>,
}

impl Contingency {
    fn new<A: Eq + Hash, B: Eq + Hash>(classes: &[A], clusters: &[B]) -> Self {
        let (classes, class_counts) = numbered(classes);
        let (clusters, cluster_counts) = numbered(clusters);
        let pairs: Vec<(usize, usize)> = classes.into_iter().zip(clusters).collect();
        let (cell_numbers, cell_counts) = numbered(&pairs);
        let mut cells: Vec<(usize, usize, u64)> = Vec::with_capacity(cell_counts.len());
        for (&(class, cluster), cell) in pairs.iter().zip(cell_numbers) {
            if cell == cells.len() {
                cells.push((class, cluster, cell_counts[cell]));
            }
        }
        Self { num_items: pairs.len() as u64, classes: class_counts, clusters: cluster_counts, cells }
    }

    /// Of items that are there as often as they weigh, by cluster and class.
    fn of_weights<A: Ord + Copy>(weights: &BTreeMap<(i32, A), u64>) -> Self {
        let (mut classes, mut clusters) = (BTreeMap::new(), BTreeMap::new());
        for (&(cluster, class), &weight) in weights {
            *classes.entry(class).or_insert(0) += weight;
            *clusters.entry(cluster).or_insert(0) += weight;
        }
        let number = |of: &BTreeMap<A, u64>, class| of.range(..class).count();
        let cells = weights
            .iter()
            .map(|(&(cluster, class), &weight)| (number(&classes, class), clusters.range(..cluster).count(), weight));
        let cells = cells.collect();
        let num_items = classes.values().sum();
        Self { num_items, classes: classes.into_values().collect(), clusters: clusters.into_values().collect(), cells }
    }

    fn transposed(&self) -> Self {
        Self {
            num_items: self.num_items,
            classes: self.clusters.clone(),
            clusters: self.classes.clone(),
            cells: self.cells.iter().map(|&(class, cluster, count)| (cluster, class, count)).collect(),
        }
    }

    /// In pair counts, as scikit-learn >= 0.24: `2 (tp tn - fn fp) / ((tp + fn)(fn + tn) + (tp + fp)(fp + tn))`.
    fn adjusted_rand_index(&self) -> f64 {
        // Ordered pairs; 128 bits hold the square of any number of items.
        let squares = |counts: &mut dyn Iterator<Item = u64>| counts.map(|c| u128::from(c).pow(2)).sum::<u128>();
        let n = u128::from(self.num_items);
        let together = squares(&mut self.cells.iter().map(|cell| cell.2));
        let same_class = squares(&mut self.classes.iter().copied());
        let same_cluster = squares(&mut self.clusters.iter().copied());
        let tp = (together - n) as f64;
        let (missed, wrong) = ((same_class - together) as f64, (same_cluster - together) as f64);
        let tn = (n * n + together - same_class - same_cluster) as f64;
        if missed == 0.0 && wrong == 0.0 {
            return 1.0;
        }
        2.0 * (tp * tn - missed * wrong) / ((tp + missed) * (missed + tn) + (tp + wrong) * (wrong + tn))
    }

    fn mutual_information(&self) -> f64 {
        let n = self.num_items as f64;
        let term = |&(class, cluster, count): &(usize, usize, u64)| {
            let expected = self.classes[class] as f64 * self.clusters[cluster] as f64;
            count as f64 / n * (count as f64 * n / expected).ln()
        };
        self.cells.iter().map(term).sum::<f64>().max(0.0)
    }

    fn normalized_mutual_info(&self) -> f64 {
        if self.classes.len() <= 1 && self.clusters.len() <= 1 {
            return 1.0;
        }
        let mean = (entropy(&self.classes) + entropy(&self.clusters)) / 2.0;
        (self.mutual_information() / mean).min(1.0)
    }

    /// `1 - H(class | cluster) / H(class)`.
    fn homogeneity(&self) -> f64 {
        let entropy = entropy(&self.classes);
        if entropy == 0.0 { 1.0 } else { (self.mutual_information() / entropy).min(1.0) }
    }

    fn purity(&self) -> f64 {
        let mut largest = vec![0; self.clusters.len()];
        self.cells.iter().for_each(|&(_, cluster, count)| largest[cluster] = count.max(largest[cluster]));
        share(largest.iter().sum(), self.num_items)
    }

    fn hungarian_accuracy(&self) -> Option<f64> {
        let (rows, columns) =
            (self.classes.len().min(self.clusters.len()), self.classes.len().max(self.clusters.len()));
        if columns > HUNGARIAN_MAX_LABELS {
            return None;
        }
        if rows == 0 {
            return Some(0.0);
        }
        let mut weights = Matrix::new(rows, columns, 0i64);
        for &(class, cluster, count) in &self.cells {
            let at = if self.classes.len() == rows { (class, cluster) } else { (cluster, class) };
            weights[at] = count as i64;
        }
        Some(share(kuhn_munkres(&weights).0 as u64, self.num_items))
    }
}

/// The labels as numbers by first appearance, and how often each appears.
fn numbered<L: Eq + Hash>(labels: &[L]) -> (Vec<usize>, Vec<u64>) {
    let mut numbers = HashMap::new();
    let mut counts = Vec::new();
    let numbered = labels
        .iter()
        .map(|label| {
            let number = *numbers.entry(label).or_insert(counts.len());
            if number == counts.len() {
                counts.push(0);
            }
            counts[number] += 1;
            number
        })
        .collect();
    (numbered, counts)
}

/// In nats.
fn entropy(counts: &[u64]) -> f64 {
    let n = counts.iter().sum::<u64>() as f64;
    if counts.len() < 2 {
        return 0.0;
    }
    counts.iter().map(|&count| count as f64 / n).map(|share| -share * share.ln()).sum()
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests;
