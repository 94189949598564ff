//! Leiden communities (Traag, Waltman, van Eck 2019) of the graph of nearest neighbours, by modularity or the constant
//! Potts model, with a resolution.
//! Nodes are moved by the crate `leiden-rs`; this module adds the graph, rows that must stay together, and the choice
//! of the resolution.
//!
//! ```text
//! rows -> 2k nearest of each, once -> graph of the k nearest            -> contracted -> Leiden -> communities
//!                                 \-> the same of a half of the rows, 4x -> contracted -> Leiden -> found again?
//! ```
//! Modularity compares fractions of the weight, and the resolution of the Potts model is in units of the mean density
//! of the graph, so it means the same for all rows and for half of them.

mod part;
mod resolution;
mod spread;

use invar_dataset::{Progress, seed};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::part::Part;
use crate::{
    ClusterError, Clustering, Method, Rows, Ties,
    candidates::{self, Outcome},
    choice::{self, Tried},
    neighbors::{self, Metric, Neighbors},
    sample,
};

pub use self::resolution::Resolution;

/// How often the rows are halved; both halves are clustered.
const SPLITS: u64 = 2;
/// Maximum number of clusters at a resolution that is tried.
const MOST_CLUSTERS: usize = 100;
/// Names the random streams of the sample, the halves, and the order in which nodes are moved.
const STREAM: u64 = 0x6c65_6964_656e;

/// The quality function to maximise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// Weight within clusters beyond that expected by chance, which is higher for rows with many and strong edges
    /// (Newman and Girvan 2004; with a resolution, Reichardt and Bornholdt 2006).
    #[default]
    Modularity,
    /// The constant Potts model: weight within clusters beyond that of a fixed density (Traag, Van Dooren and Nesterov
    /// 2011). It finds small clusters even in large graphs. The resolution is the density, in units of the graph's mean
    /// density: total weight of both directions over the square of the number of rows.
    Cpm,
}

/// Leiden.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeidenConfig {
    /// The quality function to maximise.
    pub quality: Quality,
    /// How finely to divide, or `"auto"`: larger values give more clusters.
    pub resolution: Resolution,
    /// Name of a column of integers: rows with the same value in it are never separated. The caller looks it up and
    /// passes its values to [`leiden`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub together: Option<String>,
    /// Name of a column of text: values of `together`, separated by spaces, that are similar to the row's own but
    /// distinct from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apart: Option<String>,
    /// Name of a column of text: the single-copy markers of a row, separated by spaces, one word for each copy. The
    /// resolution is then chosen by them: clusters are to have each marker, and once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub markers: Option<String>,
    /// How much rows weigh, if not all the same. The size of a cluster is then what its rows weigh, and the graph and the
    /// choice of the resolution follow the weights (see [`Ties::weighing`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<WeightConfig>,
    /// Neighbours of a row in the graph. A cluster has more rows than that: smaller ones are merged into the cluster
    /// that contains most of what is near them.
    pub neighbors: usize,
    /// Rows that the graph is built on, drawn at random if there are more: it is clustered five times. Every other row
    /// gets the majority cluster of its nearest sampled rows, or that of the rows that it must stay with.
    pub sample: usize,
    /// Determines every random choice. Not a key of this table: a recipe has one seed for everything.
    #[serde(skip)]
    pub seed: u64,
}

/// How much rows weigh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightConfig {
    /// Name of a column of numbers above 0, such as the bases of contigs.
    pub column: String,
    /// What a cluster weighs at least.
    pub least: f64,
}

impl Default for LeidenConfig {
    fn default() -> Self {
        let quality = Quality::default();
        Self {
            quality,
            resolution: Resolution::Auto,
            together: None,
            apart: None,
            markers: None,
            weight: None,
            neighbors: 15,
            sample: 200_000,
            seed: 0,
        }
    }
}

/// Clusters `data` by the cosine neighbours of its rows. Rows that `ties` keep together are one node of the graph, with
/// the edges of all of them, and so are never separated; those that they keep apart have no edge between them.
///
/// Every cluster is connected in the graph. `probability` is the fraction of the weight of the row's edges (of those of
/// all rows that it must stay with) that lead to its own cluster: below a half, more leads elsewhere.
///
/// # Errors
/// If a parameter is out of range, the ties do not have one value per row, there is not enough memory, or the user
/// cancels.
pub fn leiden(
    data: Rows<'_>,
    ties: Option<&Ties>,
    config: &LeidenConfig,
    progress: &dyn Progress,
) -> Result<Clustering, ClusterError> {
    config.validate()?;
    ties.map_or(Ok(()), |ties| ties.check(data.len()))?;
    if data.is_empty() {
        return Ok(Clustering::one(Method::Leiden, 0));
    }
    config.check_memory(data.len(), data.dim())?;
    let (mut candidates, mut resolution) = (vec![], config.resolution);
    if resolution == Resolution::Auto {
        let (tried, taken) = choice::choose(data, ties, &[Tried::Leiden(config)], config.seed, progress)?;
        let Some(taken) = taken.and_then(|taken| taken.resolution) else {
            return Ok(Clustering { candidates: tried, ..Clustering::one(Method::Leiden, data.len()) });
        };
        (candidates, resolution) = (tried, Resolution::Fixed(taken));
    }
    let chosen = sample::subset(&mut seed::rng(config.seed, STREAM), data.len(), config.sample);
    let is_part = chosen.len() < data.len();
    let gathered = if is_part { data.gather(&chosen) } else { vec![] };
    let rows = if is_part { Rows::new(&gathered, data.dim())? } else { data };
    let ties_of_rows = ties.map(|ties| ties.of(&chosen));
    let parts = Parts::new(rows, ties_of_rows.as_ref(), config, progress)?;
    let Outcome { labels, confidence, .. } = parts.outcomes(resolution.candidates(), config.seed, progress)?.remove(0);
    let probability = parts.whole().shares_within(&labels);
    let (labels, probability) = if is_part {
        let sampled = spread::Sampled {
            rows,
            chosen: &chosen,
            labels: &labels,
            probability: &probability,
            neighbors: config.neighbors,
        };
        sampled.spread(data, ties)
    } else {
        (labels, probability)
    };
    let near = (!is_part).then_some(parts.near);
    Ok(Clustering { candidates, near, ..Clustering::new(Method::Leiden, labels, probability, &confidence) })
}

/// The clusters of `rows` at each resolution that is tried.
pub(crate) fn outcomes(
    rows: Rows<'_>,
    ties: Option<&Ties>,
    config: &LeidenConfig,
    progress: &dyn Progress,
) -> Result<Vec<Outcome>, ClusterError> {
    if rows.is_empty() {
        return Ok(vec![]);
    }
    let parts = Parts::new(rows, ties, config, progress)?;
    let mut outcomes = parts.outcomes(&Resolution::CANDIDATES, config.seed, progress)?;
    // The score of anything finer would rest on a few rows per cluster.
    let most = ties.and_then(Ties::weights).map_or(MOST_CLUSTERS, |weights| weights.most_clusters().max(MOST_CLUSTERS));
    outcomes.retain(|outcome| outcome.confidence.len() <= most);
    Ok(outcomes)
}

/// Some rows and their halves, each as a graph, and the neighbours that all of them are built from.
struct Parts {
    parts: Vec<Part>,
    near: Neighbors,
    quality: Quality,
    weights: Option<Vec<f64>>,
}

impl Parts {
    fn new(
        rows: Rows<'_>,
        ties: Option<&Ties>,
        config: &LeidenConfig,
        progress: &dyn Progress,
    ) -> Result<Self, ClusterError> {
        progress.message("looking for neighbours");
        let none;
        let ties = match ties {
            Some(ties) => ties,
            None => {
                none = Ties::new(vec![None; rows.len()]);
                &none
            }
        };
        // Half of the rows have about enough of these among themselves.
        let near = neighbors::of_all(rows, 2 * config.neighbors, Metric::Cosine, progress)?;
        let whole = Part::whole(&near, config.neighbors, ties);
        let halves = (0..SPLITS).flat_map(|split| Part::halves(&near, config.neighbors, ties, config.seed, split));
        let parts = std::iter::once(whole).chain(halves).collect();
        let weights = ties.weights().map(|weights| weights.of_rows.clone());
        Ok(Self { parts, near, quality: config.quality, weights })
    }

    fn whole(&self) -> &Part {
        &self.parts[0]
    }

    /// The clusters of the whole at each resolution, and how reproducible each is in the halves.
    fn outcomes(&self, tried: &[f64], seed: u64, progress: &dyn Progress) -> Result<Vec<Outcome>, ClusterError> {
        let parts = &self.parts;
        progress.message("clustering");
        // The parts are large, and are used by all resolutions.
        let graphs = parts.par_iter().map(|part| part.prepared()).collect::<Result<Vec<_>, _>>()?;
        let runs: Vec<(usize, usize)> =
            (0..tried.len()).flat_map(|at| (0..parts.len()).map(move |of| (at, of))).collect();
        progress.set_total(runs.len() as u64);
        let run = |&(at, of): &(usize, usize)| {
            if progress.is_cancelled() {
                return Err(ClusterError::Cancelled);
            }
            let labels = parts[of].communities(&graphs[of], self.quality, tried[at], seed)?;
            progress.advance(1);
            Ok(labels)
        };
        let mut found = runs.par_iter().map(run).collect::<Result<Vec<_>, _>>()?.into_iter();
        let of_resolution = |&resolution: &f64| {
            let labels = found.next().expect("a clustering of all rows");
            let halved: Vec<Vec<i32>> = found.by_ref().take(parts.len() - 1).collect();
            let num_clusters = labels.iter().max().map_or(0, |&most| most as usize + 1);
            let halves = parts[1..].iter().zip(&halved).map(|(part, found)| (part.rows.as_slice(), found.as_slice()));
            let confidence = candidates::confidence(&labels, num_clusters, self.weights.as_deref(), halves);
            Outcome::new(Method::Leiden, Some(resolution), labels, confidence)
        };
        Ok(tried.iter().map(of_resolution).collect())
    }
}

impl LeidenConfig {
    pub(crate) fn validate(&self) -> Result<(), ClusterError> {
        let refuse = |parameter, value: String, must| Err(ClusterError::Parameter { parameter, value, must });
        match self {
            Self { resolution: Resolution::Fixed(value), .. } if !(*value > 0.0 && value.is_finite()) => {
                refuse("resolution", value.to_string(), "a positive number, or \"auto\"")
            }
            Self { neighbors: 0 | 1_001.., .. } => refuse("neighbors", self.neighbors.to_string(), "1 to 1,000"),
            Self { weight: Some(WeightConfig { least, .. }), .. } if !(*least >= 0.0 && least.is_finite()) => {
                refuse("weight.least", least.to_string(), "a number of at least 0")
            }
            Self { sample: 0, .. } => refuse("sample", "0".into(), "at least 1"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
