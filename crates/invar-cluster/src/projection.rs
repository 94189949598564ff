//! Embeddings in the plane, for display: principal components, or UMAP (McInnes, Healy and Melville 2018).
//!
//! ```text
//! rows -> k nearest of each -> fuzzy graph -> layout, from the principal components -> x, y
//! new rows -> k nearest old ones -> mean of their places -> x, y
//! ```

mod fuzzy;
mod layout;

use invar_dataset::Progress;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::fuzzy::{FuzzyGraph, Memberships};
use crate::{
    ClusterError, Rows,
    neighbors::{self, Metric, Neighbors},
    pca,
};

/// How to map rows to the plane: the `[projection]` table of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method")]
pub enum ProjectionConfig {
    /// `method = "umap"`.
    #[serde(rename = "umap")]
    Umap(UmapConfig),
    /// `method = "pca"`: the first two principal components.
    #[serde(rename = "pca")]
    Pca {},
}

/// UMAP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UmapConfig {
    /// Neighbours of a row, not counting itself, that attract it: more show the overall structure, fewer the detail.
    pub neighbors: usize,
    /// Number of epochs of the layout. By default 500 up to 10,000 rows and 200 above, as in umap-learn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Determines every random choice. Not a key of this table: a recipe has one seed for everything.
    #[serde(skip)]
    pub seed: u64,
}

impl Default for UmapConfig {
    fn default() -> Self {
        Self { neighbors: 15, epochs: None, seed: 0 }
    }
}

impl Default for ProjectionConfig {
    fn default() -> Self {
        Self::Umap(UmapConfig::default())
    }
}

impl ProjectionConfig {
    /// Name of the method in a recipe.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Umap(_) => "umap",
            Self::Pca {} => "pca",
        }
    }

    /// The same configuration with another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        if let Self::Umap(config) = &mut self {
            config.seed = seed;
        }
        self
    }

    /// A place for every row, `(x, y)`. `near` are the nearest neighbours of every row by cosine, if already known;
    /// otherwise, or if there are fewer than [`UmapConfig::neighbors`], they are searched for.
    ///
    /// # Errors
    /// If a parameter is out of range, `near` has another number of rows, there is not enough memory, or the user
    /// cancels.
    pub fn project(
        &self,
        data: Rows<'_>,
        near: Option<&Neighbors>,
        progress: &dyn Progress,
    ) -> Result<(Vec<f32>, Vec<f32>), ClusterError> {
        match self {
            Self::Umap(config) => umap(data, near, config, progress),
            Self::Pca {} => Ok(pca::project_2d(data)),
        }
    }
}

/// UMAP of rows by cosine, with a minimal distance of 0.1: what is near in all dimensions is near in the plane.
/// Distances between groups, and their density, mean little.
///
/// Starts from the principal components, which determine the overall arrangement where the neighbours leave it open.
/// Byte-identical with any number of threads. No rows give no places, a single row is at the origin.
fn umap(
    data: Rows<'_>,
    near: Option<&Neighbors>,
    config: &UmapConfig,
    progress: &dyn Progress,
) -> Result<(Vec<f32>, Vec<f32>), ClusterError> {
    config.validate()?;
    if data.len() < 2 {
        return Ok((vec![0.0; data.len()], vec![0.0; data.len()]));
    }
    let wanted = config.neighbors.min(data.len() - 1);
    let searched;
    let known = match near {
        Some(near) => {
            if near.indices.len() != data.len() * near.k {
                let (what, found) = ("neighbours of the rows to project", near.indices.len());
                return Err(ClusterError::Length { what, expected: data.len() * near.k, found });
            }
            Some(near).filter(|near| near.k >= wanted)
        }
        None => None,
    };
    config.check_memory(data.len(), data.dim(), known.map(|near| near.k))?;
    let near = match known {
        Some(near) => near,
        None => {
            progress.message("looking for neighbours");
            searched = neighbors::of_all(data, wanted, Metric::Cosine, progress)?;
            &searched
        }
    };
    let graph = FuzzyGraph::new(near, wanted);
    progress.message("drawing the map");
    let epochs = config.epochs.unwrap_or(if data.len() <= 10_000 { 500 } else { 200 });
    let start = layout::start(pca::project_2d(data), config.seed);
    let places = layout::run(&graph, start, epochs, config.seed, progress)?;
    Ok(places.into_iter().map(|[x, y]| (x, y)).unzip())
}

impl UmapConfig {
    fn validate(&self) -> Result<(), ClusterError> {
        let refuse = |parameter, value: String, must| Err(ClusterError::Parameter { parameter, value, must });
        match self {
            Self { neighbors: 0 | 1 | 1_001.., .. } => refuse("neighbors", self.neighbors.to_string(), "2 to 1,000"),
            Self { epochs: Some(0), .. } => refuse("epochs", "0".into(), "at least 1"),
            _ => Ok(()),
        }
    }
}

/// Places of `rows` new rows in an existing map `(x, y)`, which is not changed: for each the mean of the places of its
/// nearest old rows, `near` by cosine, weighted as in UMAP. The origin if there are none.
pub(crate) fn places_of(near: &Neighbors, x: &[f32], y: &[f32], rows: usize) -> (Vec<f32>, Vec<f32>) {
    let place = |row| {
        let Some((nearest, cosines)) = near.of(row) else { return (0.0, 0.0) };
        let weights = Memberships::of(cosines).weights;
        let total: f32 = weights.iter().sum();
        let mean = |of: &[f32]| {
            nearest.iter().zip(&weights).map(|(&row, weight)| of[row as usize] * weight).sum::<f32>() / total
        };
        (mean(x), mean(y))
    };
    (0..rows).into_par_iter().map(place).unzip()
}

#[cfg(test)]
mod tests;
