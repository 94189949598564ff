//! HDBSCAN (Campello, Moulavi and Sander 2013): clusters of any shape and density, and noise.
//!
//! ```text
//! rows -> nearest of each -> spanning tree by mutual reachability -> clusters that last as density falls
//! ```
//! The tree is that of the graph of nearest neighbours, whose components are then joined by the shortest edges between
//! them: without spatial trees, which are of no use in many dimensions, and without all pairs.

mod condensed;
mod spanning;

use invar_dataset::Progress;
use serde::{Deserialize, Serialize};

use self::{condensed::CondensedTree, spanning::Reachability};
use crate::{
    ClusterError, Clustering, Method, Rows,
    neighbors::{self, Metric},
};

/// Minimum number of neighbours in the graph for the spanning tree.
const NEIGHBORS: usize = 15;

/// HDBSCAN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HdbscanConfig {
    /// Minimum number of rows per cluster, at least 2.
    pub min_cluster_size: usize,
    /// Neighbours, counting the row itself, that determine the density at a row: more make the clustering more
    /// conservative. Defaults to `min_cluster_size`. At most 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_samples: Option<usize>,
    /// Whether all rows may be one cluster.
    pub allow_single_cluster: bool,
    /// Clusters nearer to each other than this are not split (Malzer and Baum 2020).
    pub epsilon: f64,
}

impl Default for HdbscanConfig {
    fn default() -> Self {
        Self { min_cluster_size: 20, min_samples: None, allow_single_cluster: false, epsilon: 0.0 }
    }
}

/// Clusters `data` by Euclidean distance; fewer rows than `min_cluster_size` are all noise.
///
/// `probability` is the membership of McInnes's implementation: the density at which the row leaves its cluster over
/// the density up to which the cluster lasts. 1 in the densest part, decreasing outwards.
///
/// # Errors
/// If a parameter is out of range, there is not enough memory, or the user cancels.
pub fn hdbscan(data: Rows<'_>, config: &HdbscanConfig, progress: &dyn Progress) -> Result<Clustering, ClusterError> {
    config.validate()?;
    let min_samples = config.min_samples.unwrap_or(config.min_cluster_size.min(MOST_SAMPLES));
    if data.len() < config.min_cluster_size.max(min_samples) {
        return Ok(Clustering::new(Method::Hdbscan, vec![-1; data.len()], vec![0.0; data.len()], &[]));
    }
    let listed = NEIGHBORS.max(min_samples - 1);
    HdbscanConfig::check_memory(data.len(), data.dim(), listed)?;
    progress.message("looking for neighbours");
    let near = neighbors::of_all(data, listed, Metric::Euclidean, progress)?;
    progress.message("clustering");
    let edges = Reachability::new(data, &near, min_samples).spanning_tree(&near, progress)?;
    let (labels, probability) = CondensedTree::new(&edges, data.len(), config.min_cluster_size).clusters(config);
    Ok(Clustering::new(Method::Hdbscan, labels, probability, &[]))
}

/// Maximum number of neighbours that determine a density.
const MOST_SAMPLES: usize = 1_000;

impl HdbscanConfig {
    fn validate(&self) -> Result<(), ClusterError> {
        let refuse = |parameter, value: String, must| Err(ClusterError::Parameter { parameter, value, must });
        match self {
            Self { min_cluster_size: 0 | 1, .. } => {
                refuse("min_cluster_size", self.min_cluster_size.to_string(), "at least 2")
            }
            Self { min_samples: Some(samples), .. } if !(1..=MOST_SAMPLES).contains(samples) => {
                refuse("min_samples", samples.to_string(), "1 to 1,000")
            }
            Self { epsilon, .. } if !(*epsilon >= 0.0 && epsilon.is_finite()) => {
                refuse("epsilon", epsilon.to_string(), "0 or a positive number")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
