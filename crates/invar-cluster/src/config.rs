use invar_dataset::Progress;
use serde::{Deserialize, Serialize};

use crate::{ClusterError, HdbscanConfig, KMeansConfig, Rows, hdbscan, kmeans};

/// How to cluster: the `[cluster]` table of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method")]
pub enum ClusterConfig {
    /// `method = "kmeans"`.
    #[serde(rename = "kmeans")]
    KMeans(KMeansConfig),
    /// `method = "hdbscan"`.
    #[serde(rename = "hdbscan")]
    Hdbscan(HdbscanConfig),
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self::KMeans(KMeansConfig::default())
    }
}

/// A cluster for every row, by any method.
#[derive(Clone, Debug, PartialEq)]
pub struct Clustering {
    /// Cluster of each row, `0..num_clusters`; -1 is noise.
    pub labels: Vec<i32>,
    /// How surely the row belongs to it, `[0, 1]`, by the method's own measure; 0 for noise.
    pub probability: Vec<f32>,
    /// Clusters that have members.
    pub num_clusters: usize,
}

impl ClusterConfig {
    /// Name of the method, as in a recipe.
    pub fn method(&self) -> &'static str {
        match self {
            Self::KMeans(_) => "kmeans",
            Self::Hdbscan(_) => "hdbscan",
        }
    }

    /// The same configuration under another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        match &mut self {
            Self::KMeans(config) => config.seed = seed,
            Self::Hdbscan(config) => config.seed = seed,
        }
        self
    }

    /// The seed, which is not part of the serialised form.
    pub fn seed(&self) -> u64 {
        match self {
            Self::KMeans(config) => config.seed,
            Self::Hdbscan(config) => config.seed,
        }
    }

    /// Clusters `data`. Clusters are numbered by falling size, of equal sizes by their first member, so that the
    /// largest is cluster 0.
    ///
    /// # Errors
    /// As [`kmeans`] and [`hdbscan`].
    pub fn run(&self, data: Rows<'_>, progress: &dyn Progress) -> Result<Clustering, ClusterError> {
        match self {
            Self::KMeans(config) => {
                kmeans(data, config, progress).map(|found| Clustering::by_size(found.labels, found.probability))
            }
            Self::Hdbscan(config) => hdbscan(data, config, progress),
        }
    }
}

impl Clustering {
    /// Renumbers the clusters by falling size, of equal sizes by their first member; -1 stays.
    pub(crate) fn by_size(labels: Vec<i32>, probability: Vec<f32>) -> Self {
        let k = labels.iter().max().map_or(0, |&most| (most + 1).max(0) as usize);
        let (mut sizes, mut firsts) = (vec![0usize; k], vec![usize::MAX; k]);
        for (row, &label) in labels.iter().enumerate().filter(|&(_, &label)| label >= 0) {
            sizes[label as usize] += 1;
            firsts[label as usize] = firsts[label as usize].min(row);
        }
        let mut order: Vec<usize> = (0..k).filter(|&label| sizes[label] > 0).collect();
        order.sort_by_key(|&label| (usize::MAX - sizes[label], firsts[label]));
        let mut numbers = vec![-1; k];
        order.iter().enumerate().for_each(|(number, &label)| numbers[label] = number as i32);
        let labels = labels.into_iter().map(|label| if label < 0 { -1 } else { numbers[label as usize] }).collect();
        Self { labels, probability, num_clusters: order.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NumClusters;

    #[test]
    fn clusters_are_numbered_by_size() {
        let clustering = Clustering::by_size(vec![3, -1, 1, 1, 0, 3, 3], vec![1.0; 7]);
        assert_eq!(clustering.labels, [0, -1, 1, 1, 2, 0, 0]);
        assert_eq!(clustering.num_clusters, 3);
    }

    #[test]
    fn recipes_are_read_and_unknown_keys_refused() {
        let read = |json: &str| serde_json::from_str::<ClusterConfig>(json);
        let ClusterConfig::KMeans(config) = read(r#"{"method": "kmeans", "k": 26, "restarts": 3}"#).unwrap() else {
            panic!("not k-means")
        };
        assert_eq!((config.k, config.restarts, config.max_iterations), (NumClusters::Fixed(26), 3, 300));
        let ClusterConfig::KMeans(config) = read(r#"{"method": "kmeans", "k": "auto"}"#).unwrap() else {
            panic!("not k-means")
        };
        assert_eq!(config.k, NumClusters::Auto);
        let error = read(r#"{"method": "kmeans", "clusters": 3}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `clusters`"), "{error}");
        let error = read(r#"{"method": "kmeans", "k": 0}"#).unwrap_err().to_string();
        assert!(error.contains("invalid value: integer `0`, expected a number of clusters of at least 1"), "{error}");
        let error = read(r#"{"method": "dbscan"}"#).unwrap_err().to_string();
        assert!(error.contains("unknown variant `dbscan`, expected `kmeans` or `hdbscan`"), "{error}");
    }

    #[test]
    fn defaults_round_trip() {
        for config in [ClusterConfig::default(), ClusterConfig::Hdbscan(HdbscanConfig::default())] {
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<ClusterConfig>(&text).unwrap(), config, "{text}");
        }
    }
}
