//! Agreement of clusters with true labels where items weigh differently: contigs by their bases, as binning is judged
//! (Meyer et al. 2018, *AMBER*).

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

use serde::{Deserialize, Serialize};

use super::Contingency;
use crate::ClusterError;

/// Share of a class's weight in one cluster above which it counts as nearly complete there.
const NEARLY_COMPLETE: f64 = 0.9;
/// Share of other classes in a cluster below which it counts as pure.
const FOREIGN: f64 = 0.05;

/// The scores of clusters by weight.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BinScores {
    /// Weight of all labelled items.
    pub weight: u64,
    /// Share of it that is in clusters, and not noise.
    pub clustered: f64,
    /// Share of the clustered weight that is of the most common class of its cluster.
    pub purity: f64,
    /// Mean over the classes of the largest share of their weight in one cluster.
    pub completeness: f64,
    /// Adjusted Rand index of the clustered items, each as often as it weighs.
    pub adjusted_rand_index: f64,
    /// Number of classes.
    pub num_classes: usize,
    /// Clusters with more than 90 % of a class's weight and less than 5 % of others.
    pub num_near_complete: usize,
}

impl BinScores {
    /// Scores `clusters` (-1 is noise) against `classes`, each item with its weight.
    ///
    /// # Errors
    /// If the lists differ in length.
    pub fn new<A: Eq + Hash + Ord + Copy>(
        classes: &[A],
        clusters: &[i32],
        weights: &[u64],
    ) -> Result<Self, ClusterError> {
        for (what, found) in [("number of cluster labels", clusters.len()), ("number of weights", weights.len())] {
            if found != classes.len() {
                return Err(ClusterError::Length { what, expected: classes.len(), found });
            }
        }
        let mut of_class: BTreeMap<A, u64> = BTreeMap::new();
        let mut cells: BTreeMap<(i32, A), u64> = BTreeMap::new();
        for ((&class, &cluster), &weight) in classes.iter().zip(clusters).zip(weights) {
            *of_class.entry(class).or_default() += weight;
            if cluster >= 0 {
                *cells.entry((cluster, class)).or_default() += weight;
            }
        }
        let mut of_cluster: BTreeMap<i32, u64> = BTreeMap::new();
        let mut largest: HashMap<i32, u64> = HashMap::new();
        let mut complete: BTreeMap<A, f64> = BTreeMap::new();
        for (&(cluster, class), &weight) in &cells {
            *of_cluster.entry(cluster).or_default() += weight;
            let most = largest.entry(cluster).or_default();
            *most = (*most).max(weight);
            let share = share(weight, of_class[&class]);
            let best = complete.entry(class).or_default();
            *best = best.max(share);
        }
        let is_near_complete = |(&(cluster, class), &weight): (&(i32, A), &u64)| {
            share(weight, of_class[&class]) > NEARLY_COMPLETE && share(weight, of_cluster[&cluster]) > 1.0 - FOREIGN
        };
        let (all, clustered): (u64, u64) = (of_class.values().sum(), of_cluster.values().sum());
        Ok(Self {
            weight: all,
            clustered: share(clustered, all),
            purity: share(largest.values().sum(), clustered),
            completeness: complete.values().sum::<f64>() / of_class.len().max(1) as f64,
            adjusted_rand_index: Contingency::of_weights(&cells).adjusted_rand_index(),
            num_classes: of_class.len(),
            num_near_complete: cells.iter().filter(|&cell| is_near_complete(cell)).count(),
        })
    }
}

fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scores::Scores;

    #[test]
    fn scores_by_hand() {
        // Class a: 95 in cluster 0, 5 unbinned. Class b: 60 in cluster 1, 40 in cluster 2. Class c: 4 in cluster 0.
        let classes = ["a", "a", "b", "b", "c"];
        let scores = BinScores::new(&classes, &[0, -1, 1, 2, 0], &[95, 5, 60, 40, 4]).unwrap();
        assert_eq!((scores.weight, scores.num_classes), (204, 3));
        assert_eq!(scores.clustered, 199.0 / 204.0);
        assert_eq!(scores.purity, 195.0 / 199.0);
        assert!((scores.completeness - (0.95 + 0.6 + 1.0) / 3.0).abs() < 1e-12);
        // 4 of 99 are foreign, which is less than 5 %; with 6 of 101 it is not.
        assert_eq!(scores.num_near_complete, 1);
        assert_eq!(BinScores::new(&classes, &[0, -1, 1, 2, 0], &[95, 5, 60, 40, 6]).unwrap().num_near_complete, 0);
        let none = BinScores::new::<u8>(&[], &[], &[]).unwrap();
        assert_eq!((none.purity, none.completeness, none.num_near_complete), (0.0, 0.0, 0));
        assert!(BinScores::new(&["a"], &[0], &[]).is_err() && BinScores::new(&["a"], &[], &[1]).is_err());
    }

    proptest! {
        #[test]
        fn weights_are_items_that_occur_so_often(
            items in proptest::collection::vec((0u8..4, 0i32..4, 1u64..6), 1..30),
        ) {
            let (classes, clusters): (Vec<u8>, Vec<i32>) = items.iter().map(|item| (item.0, item.1)).unzip();
            let weights: Vec<u64> = items.iter().map(|item| item.2).collect();
            let weighted = BinScores::new(&classes, &clusters, &weights).unwrap();
            let repeated = items.iter().flat_map(|item| (0..item.2).map(move |_| (item.0, item.1)));
            let (classes, clusters): (Vec<u8>, Vec<i32>) = repeated.unzip();
            let plain = Scores::new(&classes, &clusters).unwrap();
            prop_assert!((weighted.adjusted_rand_index - plain.adjusted_rand_index).abs() < 1e-12);
            prop_assert!((weighted.purity - plain.purity).abs() < 1e-12);
        }
    }
}
