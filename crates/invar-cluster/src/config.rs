use invar_dataset::Progress;
use serde::{Deserialize, Serialize};

use crate::{
    AutoConfig, Candidate, ClusterError, HdbscanConfig, KMeansConfig, LeidenConfig, Method, Rows, Ties, WeightConfig,
    auto, hdbscan, kmeans, leiden, neighbors::Neighbors,
};

/// How to cluster: the `[cluster]` table of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method")]
pub enum ClusterConfig {
    /// `method = "auto"`.
    #[serde(rename = "auto")]
    Auto(AutoConfig),
    /// `method = "kmeans"`.
    #[serde(rename = "kmeans")]
    KMeans(KMeansConfig),
    /// `method = "hdbscan"`.
    #[serde(rename = "hdbscan")]
    Hdbscan(HdbscanConfig),
    /// `method = "leiden"`.
    #[serde(rename = "leiden")]
    Leiden(LeidenConfig),
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self::Auto(AutoConfig::default())
    }
}

/// A cluster for every row, from any method.
#[derive(Clone, Debug, PartialEq)]
pub struct Clustering {
    /// The method used.
    pub method: Method,
    /// Cluster of each row, `0..num_clusters`; -1 is noise.
    pub labels: Vec<i32>,
    /// How confident the assignment is, `[0, 1]`, by the method's own measure; 0 for noise.
    pub probability: Vec<f32>,
    /// Number of clusters with members.
    pub num_clusters: usize,
    /// How reproducible each cluster is in random halves of the rows, for methods that measure it: the mean Jaccard
    /// similarity with the most similar cluster of the half (Hennig 2007). Otherwise empty.
    pub confidence: Vec<f32>,
    /// What was tried, for methods that try several things; otherwise empty.
    pub candidates: Vec<Candidate>,
    /// The nearest neighbours of every row by cosine, if the method searched for them, so that others need not.
    pub near: Option<Neighbors>,
}

impl ClusterConfig {
    /// Name of the method in a recipe.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Auto(_) => "auto",
            Self::KMeans(_) => Method::KMeans.name(),
            Self::Hdbscan(_) => Method::Hdbscan.name(),
            Self::Leiden(_) => Method::Leiden.name(),
        }
    }

    /// The same configuration with another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        match &mut self {
            Self::Auto(config) => config.seed = seed,
            Self::KMeans(config) => config.seed = seed,
            Self::Hdbscan(_) => {}
            Self::Leiden(config) => config.seed = seed,
        }
        self
    }

    /// The seed, which is not part of the serialised form.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Auto(config) => config.seed,
            Self::KMeans(config) => config.seed,
            Self::Hdbscan(_) => 0,
            Self::Leiden(config) => config.seed,
        }
    }

    /// The columns whose values determine which rows must stay together, and which of these values must stay apart.
    pub fn ties(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::Auto(config) => (config.together.as_deref(), config.apart.as_deref()),
            Self::Leiden(config) => (config.together.as_deref(), config.apart.as_deref()),
            Self::KMeans(_) | Self::Hdbscan(_) => (None, None),
        }
    }

    /// How much rows weigh, if not all the same.
    pub fn weight(&self) -> Option<&WeightConfig> {
        match self {
            Self::Leiden(config) => config.weight.as_ref(),
            Self::Auto(_) | Self::KMeans(_) | Self::Hdbscan(_) => None,
        }
    }

    /// The column of single-copy markers that the number of clusters follows.
    pub fn markers(&self) -> Option<&str> {
        match self {
            Self::Leiden(config) => config.markers.as_deref(),
            Self::Auto(_) | Self::KMeans(_) | Self::Hdbscan(_) => None,
        }
    }

    /// Clusters `data`. Clusters are numbered by decreasing size, equal sizes by their first member, so that the
    /// largest is cluster 0. `ties` come from the columns that [`ClusterConfig::ties`] names.
    ///
    /// # Errors
    /// As [`kmeans()`], [`hdbscan()`] and [`leiden()`].
    pub fn run(
        &self,
        data: Rows<'_>,
        ties: Option<&Ties>,
        progress: &dyn Progress,
    ) -> Result<Clustering, ClusterError> {
        match self {
            Self::Auto(config) => auto(data, ties, config, progress),
            Self::KMeans(config) => {
                let found = kmeans(data, config, progress)?;
                let confidence = found.confidence(data, config)?;
                Ok(Clustering {
                    candidates: found.candidates,
                    ..Clustering::new(Method::KMeans, found.labels, found.probability, &confidence)
                })
            }
            Self::Hdbscan(config) => hdbscan(data, config, progress),
            Self::Leiden(config) => leiden(data, ties, config, progress),
        }
    }
}

impl Clustering {
    /// All rows in one cluster, for when nothing separates them.
    pub(crate) fn one(method: Method, rows: usize) -> Self {
        Self::new(method, vec![0; rows], vec![1.0; rows], &[1.0])
    }

    /// Numbers the clusters by decreasing size, equal sizes by their first member; -1 stays. The confidence of each
    /// cluster follows the numbering of `labels`, or is empty.
    pub(crate) fn new(method: Method, labels: Vec<i32>, probability: Vec<f32>, confidence: &[f32]) -> Self {
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
        let confidence = order.iter().filter_map(|&label| confidence.get(label).copied()).collect();
        Self { method, labels, probability, num_clusters: order.len(), confidence, candidates: vec![], near: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NumClusters;

    #[test]
    fn clusters_are_numbered_by_size() {
        let clustering = Clustering::new(Method::Hdbscan, vec![3, -1, 1, 1, 0, 3, 3], vec![1.0; 7], &[]);
        assert_eq!(clustering.labels, [0, -1, 1, 1, 2, 0, 0]);
        assert_eq!(clustering.num_clusters, 3);
        let clustering = Clustering::new(Method::Leiden, vec![1, 0, 1], vec![1.0; 3], &[0.25, 0.75]);
        assert_eq!(clustering.confidence, [0.75, 0.25]);
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
        assert!(
            error.contains("unknown variant `dbscan`, expected one of `auto`, `kmeans`, `hdbscan`, `leiden`"),
            "{error}"
        );
    }

    #[test]
    fn defaults_round_trip() {
        let leiden = LeidenConfig { together: Some("component".into()), ..LeidenConfig::default() };
        let all = [
            ClusterConfig::default(),
            ClusterConfig::KMeans(KMeansConfig::default()),
            ClusterConfig::Hdbscan(HdbscanConfig::default()),
            ClusterConfig::Leiden(LeidenConfig::default()),
            ClusterConfig::Leiden(leiden),
        ];
        for config in all {
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<ClusterConfig>(&text).unwrap(), config, "{text}");
        }
    }
}
