//! Chooses the number of clusters, on a sample of the rows.
//!
//! ```text
//! sample -> each number of clusters, each resolution -> clusters of all of it, silhouette --\
//!        \-> two random halvings ---------------------> clusters of four halves ------------- product: the largest is taken
//! ```

use invar_dataset::{Progress, seed};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    Candidate, ClusterConfig, ClusterError, Clustering, KMeansConfig, LeidenConfig, Method, NumClusters, Resolution,
    Rows, Ties,
    candidates::{self, Outcome},
    kmeans, leiden, sample,
    silhouette::{self, Silhouettes},
};

/// Maximum number of rows that clusterings are tried on.
pub(crate) const MOST_ROWS: usize = 6_000;
/// The same, of rows with single-copy markers.
const MOST_MARKED_ROWS: usize = 50_000;
/// Names the random streams of the sampled rows, and of those used for the silhouette.
const STREAM: u64 = 0x6368_6f69_6365;

/// Clusterings to try.
pub(crate) enum Tried<'a> {
    /// k-means with 2 to `k_max` clusters.
    KMeans(&'a KMeansConfig),
    /// Leiden at each resolution.
    Leiden(&'a LeidenConfig),
}

/// What was tried, and which was chosen; `None` if none has separated, reproducible clusters.
pub(crate) fn choose(
    data: Rows<'_>,
    ties: Option<&Ties>,
    tried: &[Tried<'_>],
    seed: u64,
    progress: &dyn Progress,
) -> Result<(Vec<Candidate>, Option<Candidate>), ClusterError> {
    progress.message("choosing the number of clusters");
    // Markers are to be found in all of a cluster.
    let most = if ties.is_some_and(|ties| ties.markers().is_some()) { MOST_MARKED_ROWS } else { MOST_ROWS };
    let chosen = sample::subset(&mut seed::rng(seed, STREAM), data.len(), most);
    let ties = ties.map(|ties| ties.of(&chosen));
    let mut values = data.gather(&chosen);
    // The silhouettes of both methods are compared: if one uses angles, all must.
    let by_angle = tried.iter().any(|tried| match tried {
        Tried::KMeans(config) => config.spherical,
        Tried::Leiden(_) => true,
    });
    if by_angle {
        values = Rows::new(&values, data.dim())?.normalized();
    }
    let rows = Rows::new(&values, data.dim())?;
    let mut outcomes: Vec<Outcome> = vec![];
    for tried in tried {
        outcomes.extend(match tried {
            Tried::KMeans(config) => kmeans::outcomes(rows, config, progress)?,
            Tried::Leiden(config) => leiden::outcomes(rows, ties.as_ref(), config, progress)?,
        });
    }
    let measured = sample::subset(&mut seed::rng(seed, STREAM + 1), rows.len(), silhouette::MOST_ROWS);
    let weights = ties.as_ref().and_then(Ties::weights).map(|weights| weights.of_rows.as_slice());
    let silhouettes = Silhouettes::new(rows, measured).weighing(weights);
    let markers = ties.as_ref().and_then(Ties::markers);
    outcomes.par_iter_mut().for_each(|outcome| outcome.measure(&silhouettes, markers));
    let best = candidates::best(&outcomes);
    let candidates: Vec<Candidate> =
        outcomes.iter().enumerate().map(|(at, outcome)| outcome.candidate(Some(at) == best)).collect();
    let taken = best.map(|at| candidates[at]);
    Ok((candidates, taken))
}

/// k-means or Leiden, whichever has the best separated and most reproducible clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoConfig {
    /// The number of clusters, if it is known: then k-means is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<NumClusters>,
    /// Largest number of clusters that k-means tries.
    pub k_max: usize,
    /// As [`LeidenConfig::together`]. k-means, which cannot honour it, is then not tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub together: Option<String>,
    /// As [`LeidenConfig::apart`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apart: Option<String>,
    /// As [`LeidenConfig::neighbors`].
    pub neighbors: usize,
    /// As [`LeidenConfig::sample`].
    pub sample: usize,
    /// Determines every random choice. Not a key of this table: a recipe has one seed for everything.
    #[serde(skip)]
    pub seed: u64,
}

impl Default for AutoConfig {
    fn default() -> Self {
        let (kmeans, leiden) = (KMeansConfig::default(), LeidenConfig::default());
        Self {
            k: None,
            k_max: kmeans.k_max,
            together: None,
            apart: None,
            neighbors: leiden.neighbors,
            sample: leiden.sample,
            seed: 0,
        }
    }
}

/// Clusters `data` by the cosine of its rows. A single cluster, if no clustering is separated and reproducible.
///
/// # Errors
/// As [`kmeans()`] and [`leiden()`], and if the number of clusters is given for rows that must stay together.
pub fn auto(
    data: Rows<'_>,
    ties: Option<&Ties>,
    config: &AutoConfig,
    progress: &dyn Progress,
) -> Result<Clustering, ClusterError> {
    let AutoConfig { k_max, neighbors, sample, seed, .. } = *config;
    let kmeans = KMeansConfig { k_max, seed, spherical: true, ..KMeansConfig::default() };
    let leiden = LeidenConfig { neighbors, sample, seed, ..LeidenConfig::default() };
    kmeans.validate()?;
    leiden.validate()?;
    ties.map_or(Ok(()), |ties| ties.check(data.len()))?;
    match config.k {
        Some(k) if ties.is_some() => {
            let must = "left out where rows must stay together";
            return Err(ClusterError::Parameter { parameter: "k", value: k.to_string(), must });
        }
        Some(k) => return ClusterConfig::KMeans(KMeansConfig { k, ..kmeans }).run(data, None, progress),
        None => {}
    }
    let mut tried = vec![Tried::Leiden(&leiden)];
    if ties.is_none() {
        tried.push(Tried::KMeans(&kmeans));
    }
    let (candidates, taken) = choose(data, ties, &tried, seed, progress)?;
    let found = match taken {
        Some(Candidate { resolution: Some(resolution), .. }) => {
            let leiden = LeidenConfig { resolution: Resolution::Fixed(resolution), ..leiden };
            ClusterConfig::Leiden(leiden).run(data, ties, progress)?
        }
        Some(Candidate { num_clusters, .. }) => {
            let kmeans = KMeansConfig { k: NumClusters::Fixed(num_clusters), ..kmeans };
            ClusterConfig::KMeans(kmeans).run(data, None, progress)?
        }
        None => Clustering::one(Method::Leiden, data.len()),
    };
    Ok(Clustering { candidates, ..found })
}

#[cfg(test)]
mod tests;
