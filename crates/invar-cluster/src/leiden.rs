//! Leiden communities (Traag, Waltman, van Eck 2019) of the graph of nearest neighbours, by modularity with a resolution.
//! Nodes are moved by the crate `leiden-rs`; here are the graph, rows that must stay together, and the choice of the
//! resolution.
//!
//! ```text
//! rows -> 2k nearest of each, once -> graph of the k nearest            -> contracted -> Leiden -> communities
//!                                 \-> the same of a half of the rows, 4x -> contracted -> Leiden -> found again?
//! ```
//! Modularity compares shares of the weight, so that a resolution means the same for all rows and for half of them.

mod candidates;
mod part;
mod resolution;
mod spread;

use invar_dataset::{Progress, seed};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::{candidates::Outcome, part::Part};
use crate::{
    ClusterError, Clustering, Rows, Ties,
    neighbors::{self, Metric},
    sample,
};

pub use self::{candidates::Candidate, resolution::Resolution};

/// Times that the rows are halved; both halves are clustered.
const SPLITS: u64 = 2;
/// Names the random streams of the sample, the halves, and the order in which nodes are moved.
const STREAM: u64 = 0x6c65_6964_656e;

/// Leiden.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeidenConfig {
    /// How finely to divide, or `"auto"`: the larger, the more clusters.
    pub resolution: Resolution,
    /// Name of a column of integers: rows that have one value in it are never parted. Whoever has the columns looks it up,
    /// and hands its values to [`leiden`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub together: Option<String>,
    /// Name of a column of text: values of `together`, a blank between them, that the row's own is alike but not one with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apart: Option<String>,
    /// Neighbours of a row in the graph. A cluster has more rows than that: what few rows there are else join the cluster that
    /// most of what is near them is in.
    pub neighbors: usize,
    /// Rows that the graph is built on, drawn at random where there are more: the search for neighbours grows with the
    /// square of their number. Every other row gets the cluster of most of its nearest ones of them, or that of the rows
    /// that it must stay with.
    pub sample: usize,
    /// Fixes every random choice. Not a key of its own in a recipe, which has one seed for everything.
    #[serde(skip)]
    pub seed: u64,
}

impl Default for LeidenConfig {
    fn default() -> Self {
        Self { resolution: Resolution::Auto, together: None, apart: None, neighbors: 15, sample: 100_000, seed: 0 }
    }
}

/// Clusters `data` by the cosine neighbours of its rows. Rows that `ties` have together are one node of the graph, with the
/// edges of all of them, and so are never parted; those that they keep apart have no edge with each other.
///
/// Every cluster hangs together in the graph. `probability` is the share of the weight of the row's edges (of those of all
/// rows that it must stay with) that lead to its own cluster: below a half, more leads elsewhere.
///
/// # Errors
/// When a parameter is out of range, the ties are not of one value a row, or the user cancels.
pub fn leiden(
    data: Rows<'_>,
    ties: Option<&Ties>,
    config: &LeidenConfig,
    progress: &dyn Progress,
) -> Result<Clustering, ClusterError> {
    config.validate()?;
    ties.map_or(Ok(()), |ties| ties.check(data.len()))?;
    if data.is_empty() {
        return Ok(Clustering::by_size(vec![], vec![]));
    }
    let chosen = sample::subset(&mut seed::rng(config.seed, STREAM), data.len(), config.sample);
    let is_part = chosen.len() < data.len();
    let gathered = if is_part { data.gather(&chosen) } else { vec![] };
    let rows = if is_part { Rows::new(&gathered, data.dim())? } else { data };
    let ties_of_rows = ties.map_or_else(|| Ties::new(vec![None; rows.len()]), |ties| ties.of(&chosen));

    progress.message("looking for neighbours");
    // Half of the rows have about as many as are needed among themselves.
    let near = neighbors::of_all(rows, 2 * config.neighbors, Metric::Cosine, progress)?;
    progress.message("clustering");
    let whole = Part::whole(&near, config.neighbors, &ties_of_rows);
    let halves: Vec<Part> = (0..SPLITS)
        .flat_map(|split| Part::halves(&near, config.neighbors, &ties_of_rows, config.seed, split))
        .collect();
    let tried: Vec<f64> = config.resolution.candidates().to_vec();
    let parts: Vec<&Part> = std::iter::once(&whole).chain(&halves).collect();
    // The parts are what is large, and are looked at by all resolutions.
    let graphs = parts.par_iter().map(|part| part.prepared()).collect::<Result<Vec<_>, _>>()?;
    let runs: Vec<(usize, usize)> = (0..tried.len()).flat_map(|at| (0..parts.len()).map(move |of| (at, of))).collect();
    progress.set_total(runs.len() as u64);
    let run = |&(at, of): &(usize, usize)| {
        if progress.is_cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let labels = parts[of].communities(&graphs[of], tried[at], config.seed)?;
        progress.advance(1);
        Ok(labels)
    };
    let mut found = runs.par_iter().map(run).collect::<Result<Vec<_>, _>>()?.into_iter();
    drop(graphs);
    let mut outcomes: Vec<Outcome> = tried
        .iter()
        .map(|&resolution| {
            let whole = found.next().expect("a clustering of all rows");
            let halved: Vec<Vec<i32>> = found.by_ref().take(halves.len()).collect();
            Outcome::new(resolution, whole, &halves, &halved)
        })
        .collect();
    let choice = match config.resolution {
        Resolution::Fixed(_) => Some(0),
        Resolution::Auto => {
            candidates::measure_separation(rows, &mut outcomes);
            candidates::best(&outcomes)
        }
    };
    let candidates = outcomes.iter().enumerate().map(|(at, of)| of.candidate(Some(at) == choice)).collect();
    let (labels, confidence) = match choice {
        Some(at) => {
            let chosen = outcomes.swap_remove(at);
            (chosen.labels, chosen.confidence)
        }
        None => (vec![0; rows.len()], vec![1.0]),
    };
    let probability = whole.shares_within(&labels);
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
    Ok(Clustering { candidates, ..Clustering::by_size_with(labels, probability, &confidence) })
}

impl LeidenConfig {
    fn validate(&self) -> Result<(), ClusterError> {
        let refuse = |parameter, value: String, must| Err(ClusterError::Parameter { parameter, value, must });
        match self {
            Self { resolution: Resolution::Fixed(value), .. } if !(*value > 0.0 && value.is_finite()) => {
                refuse("resolution", value.to_string(), "a positive number, or \"auto\"")
            }
            Self { neighbors: 0 | 1_001.., .. } => refuse("neighbors", self.neighbors.to_string(), "1 to 1,000"),
            Self { sample: 0, .. } => refuse("sample", "0".into(), "at least 1"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
