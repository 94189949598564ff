//! Assigns new rows to old clusters, or to none of them.
//!
//! ```text
//! old rows -> some of each cluster -> their own neighbours -> how far the members of a cluster lie from what is next to them
//! new rows -> nearest of these -----> the cluster of most ---> none where they lie farther than its members do
//! ```

use invar_dataset::{Progress, seed};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    ClusterError, Rows, geometry,
    neighbors::{self, Metric, Neighbors},
    projection, sample,
};

/// Rows looked up at a time.
const BLOCK: usize = 4_096;
/// Names the random stream that selects the reference rows.
const STREAM: u64 = 0x6173_7369_676e;
/// Minimum number of reference rows per cluster, if it has that many members.
const LEAST_ASKED: usize = 50;

/// How new rows are assigned to old clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AssignConfig {
    /// Number of nearest old rows that vote, by cosine.
    pub neighbors: usize,
    /// Fraction of a cluster's own members that would be accepted into it: a new row belongs to no cluster if its mean
    /// cosine distance to the voters exceeds that of this fraction of the members. 1 is as far as the farthest member.
    pub gate: f64,
    /// Number of old rows used as reference, drawn at random if there are more, but at least 50 per cluster.
    pub asked: usize,
}

impl Default for AssignConfig {
    fn default() -> Self {
        Self { neighbors: 15, gate: 0.95, asked: 50_000 }
    }
}

/// Old rows, their clusters, and their places in the plane.
#[derive(Clone, Copy, Debug)]
pub struct Clustered<'a> {
    /// The rows, `[n, D]`.
    pub rows: Rows<'a>,
    /// Cluster of each; -1 is noise.
    pub labels: &'a [i32],
    /// First coordinate of each.
    pub x: &'a [f32],
    /// Second coordinate of each.
    pub y: &'a [f32],
}

/// The assignment of new rows among old ones; one value per new row, except for the gates.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// Cluster; -1 is none of them.
    pub labels: Vec<i32>,
    /// Fraction of the votes for the cluster, `[0, 1]`; 0 for none.
    pub probability: Vec<f32>,
    /// Euclidean distance to the mean of the old members of the cluster; for none, to the nearest mean.
    pub distance: Vec<f32>,
    /// Place in the plane of the old rows.
    pub x: Vec<f32>,
    /// Place in the plane of the old rows.
    pub y: Vec<f32>,
    /// For each old cluster, the largest mean cosine distance that is accepted.
    pub gates: Vec<f32>,
}

/// Assigns each of the `new` rows to the majority cluster of its nearest old rows (ties go to the nearest), if it lies
/// as near to them as the members of that cluster do (the criterion of Sun et al. 2022 for outliers); otherwise to
/// none. Byte-identical with any number of threads.
///
/// # Errors
/// If the dimensions differ, a list that should have one value per row does not, a parameter is out of range, or the
/// user cancels.
pub fn assign(
    old: Clustered<'_>,
    new: Rows<'_>,
    config: &AssignConfig,
    progress: &dyn Progress,
) -> Result<Assigned, ClusterError> {
    config.validate()?;
    old.check(new.dim())?;
    let asked = old.asked(config.asked);
    let gathered = old.rows.gather(&asked);
    let rows = Rows::new(&gathered, new.dim())?;
    let labels: Vec<i32> = asked.iter().map(|&row| old.labels[row]).collect();
    let of_asked = |values: &[f32]| asked.iter().map(|&row| values[row]).collect::<Vec<f32>>();
    let (x, y) = (of_asked(old.x), of_asked(old.y));
    progress.message("measuring the old clusters");
    progress.set_total((asked.len() + new.len()) as u64);
    let gates = gates(rows, &labels, config, progress)?;
    let means = geometry::means(old.rows, old.labels);
    progress.message("looking for neighbours");
    let mut found = Assigned { labels: vec![], probability: vec![], distance: vec![], x: vec![], y: vec![], gates };
    for block in new.values().chunks(BLOCK * new.dim()) {
        if progress.is_cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let block = Rows::new(block, new.dim())?;
        let normalized = block.normalized();
        let near = neighbors::nearest_to(rows, Rows::new(&normalized, new.dim())?, config.neighbors, Metric::Cosine);
        let (of_x, of_y) = projection::places_of(&near, &x, &y, block.len());
        found.x.extend(of_x);
        found.y.extend(of_y);
        for row in 0..block.len() {
            let (label, share) = found.vote(&near, row, &labels);
            found.labels.push(label);
            found.probability.push(share);
        }
        let first = found.distance.len();
        let labels = &found.labels[first..];
        let distances = geometry::distances_from(block, labels, &means);
        found.distance.extend(distances);
        progress.advance(block.len() as u64);
    }
    Ok(found)
}

impl Assigned {
    /// The cluster of a row, and the fraction of the votes for it.
    fn vote(&self, near: &Neighbors, row: usize, labels: &[i32]) -> (i32, f32) {
        let Some((indices, cosines)) = near.of(row) else { return (-1, 0.0) };
        let (label, share) = neighbors::vote(indices, labels);
        let is_let_in = |label: usize| mean_distance(cosines) <= self.gates[label];
        match usize::try_from(label) {
            Ok(cluster) if is_let_in(cluster) => (label, share),
            _ => (-1, 0.0),
        }
    }
}

impl Clustered<'_> {
    fn check(&self, dim: usize) -> Result<(), ClusterError> {
        let n = self.rows.len();
        let lengths = [
            ("dimension of the new rows", self.rows.dim(), dim),
            ("cluster labels", n, self.labels.len()),
            ("places of the old rows, x", n, self.x.len()),
            ("places of the old rows, y", n, self.y.len()),
        ];
        match lengths.into_iter().find(|(_, expected, found)| expected != found) {
            Some((what, expected, found)) => Err(ClusterError::Length { what, expected, found }),
            None => Ok(()),
        }
    }

    /// The reference rows, ascending: all, or about `most` of them, the same fraction of each cluster that is not
    /// small.
    fn asked(&self, most: usize) -> Vec<usize> {
        let n = self.rows.len();
        if n <= most {
            return (0..n).collect();
        }
        let num_groups = self.labels.iter().max().map_or(1, |&most| (most + 2).max(1) as usize);
        let mut members: Vec<Vec<usize>> = vec![vec![]; num_groups];
        self.labels.iter().enumerate().for_each(|(row, &label)| members[(label + 1) as usize].push(row));
        let mut asked = vec![];
        for (group, members) in members.iter().enumerate() {
            let share = (members.len() as u128 * most as u128).div_ceil(n as u128) as usize;
            let drawn = sample::subset(&mut seed::rng(STREAM, group as u64), members.len(), share.max(LEAST_ASKED));
            asked.extend(drawn.into_iter().map(|at| members[at]));
        }
        asked.sort_unstable();
        asked
    }
}

/// How far members of each cluster may lie from their nearest rows.
fn gates(
    rows: Rows<'_>,
    labels: &[i32],
    config: &AssignConfig,
    progress: &dyn Progress,
) -> Result<Vec<f32>, ClusterError> {
    let num_clusters = labels.iter().max().map_or(0, |&most| (most + 1).max(0) as usize);
    let mut distances: Vec<Vec<f32>> = vec![vec![]; num_clusters];
    let all: Vec<usize> = (0..rows.len()).collect();
    for block in all.chunks(BLOCK) {
        if progress.is_cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let near = neighbors::nearest(rows, block, config.neighbors, Metric::Cosine)?;
        for (at, &row) in block.iter().enumerate() {
            if let (Ok(cluster), Some((_, cosines))) = (usize::try_from(labels[row]), near.of(at)) {
                distances[cluster].push(mean_distance(cosines));
            }
        }
        progress.advance(block.len() as u64);
    }
    let gate = |mut distances: Vec<f32>| {
        distances.sort_unstable_by(f32::total_cmp);
        let at = (config.gate * distances.len() as f64).ceil() as usize;
        distances.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
    };
    Ok(distances.into_par_iter().map(gate).collect())
}

fn mean_distance(cosines: &[f32]) -> f32 {
    cosines.iter().map(|cosine| 1.0 - cosine).sum::<f32>() / cosines.len() as f32
}

impl AssignConfig {
    fn validate(&self) -> Result<(), ClusterError> {
        let refuse = |parameter, value: String, must| Err(ClusterError::Parameter { parameter, value, must });
        match self {
            Self { neighbors: 0 | 1_001.., .. } => refuse("neighbors", self.neighbors.to_string(), "1 to 1,000"),
            Self { gate, .. } if !(*gate > 0.0 && *gate <= 1.0) => {
                refuse("gate", gate.to_string(), "greater than 0 and at most 1")
            }
            Self { asked: 0, .. } => refuse("asked", "0".into(), "at least 1"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
