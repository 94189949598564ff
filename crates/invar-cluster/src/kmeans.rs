//! k-means: greedy k-means++ (Arthur and Vassilvitskii 2007), then Lloyd's iteration with Hamerly's bounds (2010),
//! which skip the points that cannot have changed their centre. Exact: the bounds only save time.
//!
//! Shapes: n rows, D dimensions, k centres. Sums run over chunks of fixed size and are added up in chunk order, or over
//! the members of a centre in row order, so labels and centres are byte-identical with any number of threads. A row's
//! *own* centre is the one it is assigned to.

mod halves;
mod init;
mod lloyd;
mod nearest;

use std::{borrow::Cow, fmt, str::FromStr};

use invar_dataset::{Progress, seed};
use rayon::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    Candidate, ClusterError, Rows,
    choice::{self, Tried},
    rows,
};

pub(crate) use self::halves::outcomes;

/// How many clusters to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumClusters {
    /// This many; with fewer rows, as many as there are rows.
    Fixed(usize),
    /// The number, up to `k_max`, whose clusters are best separated and most reproducible in halves of the rows: the
    /// largest product of the silhouette and the mean Jaccard similarity, on a random sample of at most 6,000 rows. 1
    /// if there is none.
    Auto,
}

/// k-means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KMeansConfig {
    /// Number of clusters: a number, or `"auto"`.
    pub k: NumClusters,
    /// Largest number of clusters that `"auto"` tries.
    pub k_max: usize,
    /// Independent starts; the one with the lowest inertia wins (scikit-learn's `n_init`).
    pub restarts: usize,
    /// Maximum number of iterations per start.
    pub max_iterations: usize,
    /// A start ends when the centres' squared movement is at most this fraction of the mean variance of a dimension.
    pub tolerance: f64,
    /// Determines every random choice. Not a key of this table: a recipe has one seed for everything.
    #[serde(skip)]
    pub seed: u64,
    /// Spherical k-means (Dhillon and Modha 2001): rows and centres are scaled to unit length, so that clusters are
    /// cones. Inertia and centres are those of the scaled rows.
    pub spherical: bool,
}

impl Default for KMeansConfig {
    fn default() -> Self {
        Self {
            k: NumClusters::Auto,
            k_max: 50,
            restarts: 10,
            max_iterations: 300,
            tolerance: 1e-4,
            seed: 0,
            spherical: false,
        }
    }
}

/// The result of k-means.
#[derive(Clone, Debug, PartialEq)]
pub struct KMeans {
    /// Cluster of each row, `0..k`.
    pub labels: Vec<i32>,
    /// Centres, `[k, D]`. With fewer distinct rows than `k`, some coincide and have no members.
    pub centers: Vec<f32>,
    /// Number of centres: as requested, but at most the number of rows.
    pub k: usize,
    /// Sum of squared distances of the rows to their centres.
    pub inertia: f64,
    /// How clearly a row belongs to its cluster, `[0, 1]`: `1 - d1 / d2` for the distances to the nearest and the
    /// second nearest centre. 0 half-way between the two, 1 at the centre; 1 everywhere if `k` is 1.
    pub probability: Vec<f32>,
    /// Iterations of the winning start.
    pub iterations: usize,
    /// Whether the winning start ended before `max_iterations`.
    pub converged: bool,
    /// What was tried to find `k`; empty if it was given.
    pub candidates: Vec<Candidate>,
}

/// Clusters `data`. No rows give no labels and no centres.
///
/// # Errors
/// If a parameter is out of range, or the user cancels.
pub fn kmeans(data: Rows<'_>, config: &KMeansConfig, progress: &dyn Progress) -> Result<KMeans, ClusterError> {
    config.validate()?;
    let k = match config.k {
        NumClusters::Fixed(k) => k.min(data.len()),
        NumClusters::Auto => {
            let tried = [Tried::KMeans(config)];
            let (candidates, taken) = choice::choose(data, None, &tried, config.seed, progress)?;
            let k = taken.map_or(data.len().min(1), |taken| taken.num_clusters);
            return Ok(KMeans { candidates, ..of_k(data, config, k, progress)? });
        }
    };
    of_k(data, config, k, progress)
}

fn of_k(data: Rows<'_>, config: &KMeansConfig, k: usize, progress: &dyn Progress) -> Result<KMeans, ClusterError> {
    if data.len() > u32::MAX as usize {
        return Err(ClusterError::TooManyRows {
            method: "k-means",
            rows: data.len(),
            max_rows: u32::MAX as usize,
            hint: "cluster a part",
        });
    }
    if k == 0 {
        return Ok(KMeans::empty());
    }
    progress.set_total(config.restarts as u64);
    let prepared = Prepared::new(data, config.spherical);
    let tolerance = config.tolerance * prepared.variance / data.dim() as f64;
    let mut best: Option<lloyd::Run> = None;
    for restart in 0..config.restarts {
        let mut rng = seed::rng(config.seed, restart as u64);
        let centers = init::greedy_plus_plus(&prepared, k, &mut rng);
        let run = lloyd::run(&prepared, centers, config.max_iterations, tolerance, progress)?;
        if best.as_ref().is_none_or(|best| run.inertia < best.inertia) {
            best = Some(run);
        }
        progress.advance(1);
    }
    Ok(prepared.finish(best.expect("at least one start")))
}

impl KMeansConfig {
    pub(crate) fn validate(&self) -> Result<(), ClusterError> {
        let refuse = |parameter, value: String, must| Err(ClusterError::Parameter { parameter, value, must });
        match self {
            Self { k: NumClusters::Fixed(0), .. } => refuse("k", "0".into(), "at least 1, or \"auto\""),
            Self { k_max: 0 | 1, .. } => refuse("k_max", self.k_max.to_string(), "at least 2"),
            Self { restarts: 0, .. } => refuse("restarts", "0".into(), "at least 1"),
            Self { max_iterations: 0, .. } => refuse("max_iterations", "0".into(), "at least 1"),
            // Written so that NaN is rejected too.
            Self { tolerance, .. } if !(*tolerance >= 0.0 && tolerance.is_finite()) => {
                refuse("tolerance", tolerance.to_string(), "0 or a positive number")
            }
            _ => Ok(()),
        }
    }
}

impl KMeans {
    /// How reproducible each cluster of `data` is in random halves of at most 6,000 of its rows: the mean Jaccard
    /// similarity with the most similar cluster there (Hennig 2007).
    ///
    /// # Errors
    /// None beyond those of k-means itself.
    pub fn confidence(&self, data: Rows<'_>, config: &KMeansConfig) -> Result<Vec<f32>, ClusterError> {
        if self.k < 2 {
            return Ok(vec![1.0; self.k]);
        }
        halves::confidence(data, &self.labels, config, self.k)
    }

    fn empty() -> Self {
        Self {
            labels: vec![],
            centers: vec![],
            k: 0,
            inertia: 0.0,
            probability: vec![],
            iterations: 0,
            converged: true,
            candidates: vec![],
        }
    }
}

/// The rows in the form that the iteration needs.
struct Prepared<'a> {
    /// `[n, D]`: of unit length if spherical; minus `offset` if the mean is so far from the origin that `|x|^2 - 2 x.c
    /// + |c|^2` would lose its digits.
    values: Cow<'a, [f32]>,
    dim: usize,
    /// Subtracted from every row, `[D]`.
    offset: Option<Vec<f64>>,
    /// Squared norm of each row.
    squared_norms: Vec<f32>,
    /// Sum of the variances of the dimensions.
    variance: f64,
    spherical: bool,
}

/// Rows per chunk: the unit of parallel work, and of the order of sums.
const CHUNK: usize = 4096;

impl<'a> Prepared<'a> {
    fn new(data: Rows<'a>, spherical: bool) -> Self {
        let dim = data.dim();
        let mut values = if spherical { Cow::Owned(data.normalized()) } else { Cow::Borrowed(data.values()) };
        let (mean, variance) = moments(&values, dim);
        let squared_mean: f64 = mean.iter().map(|m| m * m).sum();
        let far = !spherical && squared_mean > 16.0 * variance;
        if far {
            values.to_mut().par_chunks_mut(dim).for_each(|row| {
                row.iter_mut().zip(&mean).for_each(|(value, mean)| *value = (f64::from(*value) - mean) as f32);
            });
        }
        let squared_norms = values.par_chunks(dim).map(|row| rows::squared_norm(row) as f32).collect();
        Self { values, dim, offset: far.then_some(mean), squared_norms, variance, spherical }
    }

    fn len(&self) -> usize {
        self.squared_norms.len()
    }

    fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dim..][..self.dim]
    }

    fn finish(&self, run: lloyd::Run) -> KMeans {
        let k = run.centers.len() / self.dim;
        let two = nearest::all(self, &run.centers);
        let mut centers = run.centers;
        if let Some(offset) = &self.offset {
            for center in centers.chunks_mut(self.dim) {
                center.iter_mut().zip(offset).for_each(|(value, mean)| *value = (f64::from(*value) + mean) as f32);
            }
        }
        KMeans {
            labels: two.iter().map(|two| two.first as i32).collect(),
            centers,
            k,
            inertia: run.inertia,
            probability: two.iter().map(|two| margin(two.first_squared, two.second_squared)).collect(),
            iterations: run.iterations,
            converged: run.converged,
            candidates: vec![],
        }
    }
}

/// `1 - d1 / d2`, from squared distances; `second` is infinite if there is one centre.
fn margin(first_squared: f32, second_squared: f32) -> f32 {
    if second_squared == 0.0 { 0.0 } else { 1.0 - (first_squared / second_squared).sqrt() }
}

/// Mean of each dimension, and the sum of the dimensions' variances.
fn moments(values: &[f32], dim: usize) -> (Vec<f64>, f64) {
    let n = (values.len() / dim) as f64;
    let sums = |add: &(dyn Fn(&mut [f64], &[f32]) + Sync)| {
        let chunks: Vec<Vec<f64>> = values
            .par_chunks(CHUNK * 16 * dim)
            .map(|chunk| {
                let mut sum = vec![0.0; dim];
                chunk.chunks(dim).for_each(|row| add(&mut sum, row));
                sum
            })
            .collect();
        chunks.iter().fold(vec![0.0; dim], |mut total: Vec<f64>, chunk| {
            total.iter_mut().zip(chunk).for_each(|(total, sum)| *total += sum);
            total
        })
    };
    let mut mean = sums(&|sum, row| sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x)));
    mean.iter_mut().for_each(|sum| *sum /= n);
    let squares = sums(&|sum, row| {
        for ((sum, &x), mean) in sum.iter_mut().zip(row).zip(&mean) {
            *sum += (f64::from(x) - mean).powi(2);
        }
    });
    (mean, squares.iter().sum::<f64>() / n)
}

impl fmt::Display for NumClusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(k) => write!(f, "{k}"),
            Self::Auto => f.write_str("auto"),
        }
    }
}

impl FromStr for NumClusters {
    type Err = ClusterError;

    fn from_str(text: &str) -> Result<Self, ClusterError> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(k)) if k > 0 => Ok(Self::Fixed(k)),
            _ => Err(ClusterError::Parameter {
                parameter: "k",
                value: text.into(),
                must: "a number of at least 1, or \"auto\"",
            }),
        }
    }
}

impl Serialize for NumClusters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(k) => serializer.serialize_u64(*k as u64),
            Self::Auto => serializer.serialize_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for NumClusters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = NumClusters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of clusters of at least 1, or \"auto\"")
            }

            fn visit_u64<E: de::Error>(self, k: u64) -> Result<NumClusters, E> {
                match usize::try_from(k) {
                    Ok(k) if k > 0 => Ok(NumClusters::Fixed(k)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(k), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, k: i64) -> Result<NumClusters, E> {
                match u64::try_from(k) {
                    Ok(k) => self.visit_u64(k),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(k), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<NumClusters, E> {
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests;
