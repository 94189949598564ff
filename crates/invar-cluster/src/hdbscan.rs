//! HDBSCAN (Campello, Moulavi, Sander 2013): clusters of any shape and density, and noise. The tree is built and cut
//! by the crate `hdbscan`; here is what it needs around it.

use hdbscan::{Hdbscan, HdbscanHyperParams};
use invar_dataset::{Progress, seed};
use serde::{Deserialize, Serialize};

use crate::{
    ClusterError, Clustering, Rows,
    neighbors::{self, Metric},
    pca::Pca,
    sample,
};

/// Rows above which the quadratic cost is refused: minutes on one core.
const MAX_ROWS: usize = 30_000;

/// HDBSCAN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HdbscanConfig {
    /// Least rows of a cluster, at least 2.
    pub min_cluster_size: usize,
    /// Neighbours, the row itself counted, that fix the density at a row: more make the clustering more
    /// conservative. `min_cluster_size` where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_samples: Option<usize>,
    /// The rows are projected to so many principal components first where they have more dimensions: density
    /// loses its meaning, and trees their speed, in many. 0 leaves the rows as they are.
    pub max_dimensions: usize,
    /// Whether everything may be one cluster.
    pub allow_single_cluster: bool,
    /// Clusters nearer to each other than this are not split (Malzer and Baum 2020).
    pub epsilon: f64,
    /// Builds the tree on so many random rows, at most 30,000, and gives every other row the cluster of the nearest
    /// of them; noise where that one is noise, or where the row is farther from it than the sparsest member of the
    /// cluster is from its own neighbours. 0 takes all rows, and refuses more than 30,000.
    pub sample: usize,
    /// Fixes the sample. Not a key of its own in a recipe, which has one seed for everything.
    #[serde(skip)]
    pub seed: u64,
}

impl Default for HdbscanConfig {
    fn default() -> Self {
        Self {
            min_cluster_size: 20,
            min_samples: None,
            max_dimensions: 16,
            allow_single_cluster: false,
            epsilon: 0.0,
            sample: 0,
            seed: 0,
        }
    }
}

/// Clusters `data`; fewer rows than `min_cluster_size` are all noise.
///
/// `probability` is the core distance of the densest member of the cluster over that of the row (for a row outside
/// the sample, over its distance to the sampled row where that is larger): 1 in the densest part, falling outwards.
/// It stands in for the membership of McInnes's implementation, which takes the distance at which the row leaves
/// the tree in place of the core distance.
///
/// # Errors
/// When there are too many rows, or a parameter is out of range.
pub fn hdbscan(data: Rows<'_>, config: &HdbscanConfig, progress: &dyn Progress) -> Result<Clustering, ClusterError> {
    config.validate(data.len())?;
    let min_samples = config.min_samples.unwrap_or(config.min_cluster_size);
    let size = if config.sample == 0 { data.len() } else { config.sample.min(data.len()) };
    if size < config.min_cluster_size.max(min_samples) {
        return Ok(Clustering::by_size(vec![-1; data.len()], vec![0.0; data.len()]));
    }
    progress.set_total(3);
    let projected = project(data, config.max_dimensions)?;
    let data = projected.as_ref().map_or(Ok(data), |(values, dim)| Rows::new(values, *dim))?;
    let chosen = sample::subset(&mut seed::rng(config.seed, 0), data.len(), size);
    let values = data.gather(&chosen);
    let core = Core::new(Rows::new(&values, data.dim())?, min_samples)?;
    progress.advance(1);
    if progress.is_cancelled() {
        return Err(ClusterError::Cancelled);
    }
    let labels = config.tree_labels(core.rows, min_samples)?;
    progress.advance(1);
    let (labels, probability) = if size == data.len() {
        let probability = core.probability(&labels);
        (labels, probability)
    } else {
        core.spread(&labels, data)
    };
    progress.advance(1);
    Ok(Clustering::by_size(labels, probability))
}

impl HdbscanConfig {
    fn validate(&self, num_rows: usize) -> Result<(), ClusterError> {
        let refuse = |parameter, value: String, must| Err(ClusterError::Parameter { parameter, value, must });
        match self {
            Self { min_cluster_size: 0 | 1, .. } => {
                refuse("min_cluster_size", self.min_cluster_size.to_string(), "at least 2")
            }
            Self { min_samples: Some(0), .. } => refuse("min_samples", "0".into(), "at least 1"),
            Self { epsilon, .. } if !(*epsilon >= 0.0 && epsilon.is_finite()) => {
                refuse("epsilon", epsilon.to_string(), "0 or a positive number")
            }
            Self { sample, .. } if *sample > MAX_ROWS => refuse("sample", sample.to_string(), "at most 30000"),
            Self { sample: 0, .. } if num_rows > MAX_ROWS => Err(ClusterError::TooManyRows {
                method: "hdbscan",
                rows: num_rows,
                max_rows: MAX_ROWS,
                hint: "set sample = 30000 to cluster a random part and give the rest the cluster of the nearest row",
            }),
            _ => Ok(()),
        }
    }

    fn tree_labels(&self, data: Rows<'_>, min_samples: usize) -> Result<Vec<i32>, ClusterError> {
        let points: Vec<Vec<f32>> = data.values().chunks(data.dim()).map(<[f32]>::to_vec).collect();
        let parameters = HdbscanHyperParams::builder()
            .min_cluster_size(self.min_cluster_size)
            .min_samples(min_samples)
            .allow_single_cluster(self.allow_single_cluster)
            .epsilon(self.epsilon)
            .build();
        Ok(Hdbscan::new(&points, parameters).cluster()?)
    }
}

/// The rows along their principal components, with their new dimension, where they have too many.
fn project(data: Rows<'_>, max_dimensions: usize) -> Result<Option<(Vec<f32>, usize)>, ClusterError> {
    if max_dimensions == 0 || data.dim() <= max_dimensions {
        return Ok(None);
    }
    Ok(Some((Pca::fit(data, max_dimensions).transform(data)?, max_dimensions)))
}

/// The rows that the tree is built on, with their core distances.
struct Core<'a> {
    rows: Rows<'a>,
    /// Distance to the `min_samples`-th nearest row, the row itself counted.
    distances: Vec<f32>,
}

impl<'a> Core<'a> {
    fn new(rows: Rows<'a>, min_samples: usize) -> Result<Self, ClusterError> {
        let all: Vec<usize> = (0..rows.len()).collect();
        let found = neighbors::nearest(rows, &all, min_samples - 1, Metric::Euclidean)?;
        let distances = match found.k {
            0 => vec![0.0; rows.len()],
            k => found.values.chunks(k).map(|distances| distances[k - 1]).collect(),
        };
        Ok(Self { rows, distances })
    }

    /// Least and largest core distance of the members of each cluster.
    fn extent(&self, labels: &[i32]) -> Vec<(f32, f32)> {
        let k = labels.iter().max().map_or(0, |&most| (most + 1) as usize);
        let mut extent = vec![(f32::INFINITY, 0f32); k];
        for (&label, &distance) in labels.iter().zip(&self.distances).filter(|&(&label, _)| label >= 0) {
            let (least, most) = &mut extent[label as usize];
            (*least, *most) = (least.min(distance), most.max(distance));
        }
        extent
    }

    fn probability(&self, labels: &[i32]) -> Vec<f32> {
        let extent = self.extent(labels);
        let of_row = |(&label, &distance): (&i32, &f32)| match label {
            -1 => 0.0,
            _ => ratio(extent[label as usize].0, distance),
        };
        labels.iter().zip(&self.distances).map(of_row).collect()
    }

    /// Labels and probabilities of all rows, by the nearest row of the sample.
    fn spread(&self, labels: &[i32], data: Rows<'_>) -> (Vec<i32>, Vec<f32>) {
        let extent = self.extent(labels);
        let nearest = neighbors::nearest_to(self.rows, data, 1, Metric::Euclidean);
        let spread = |(&row, &gap): (&u32, &f32)| {
            let label = labels[row as usize];
            let distance = self.distances[row as usize].max(gap);
            match label {
                -1 => (-1, 0.0),
                _ if distance > extent[label as usize].1 => (-1, 0.0),
                _ => (label, ratio(extent[label as usize].0, distance)),
            }
        };
        nearest.indices.iter().zip(&nearest.values).map(spread).unzip()
    }
}

/// `least / distance`, 1 where both are nothing.
fn ratio(least: f32, distance: f32) -> f32 {
    if distance > 0.0 { least / distance } else { 1.0 }
}

#[cfg(test)]
mod tests;
