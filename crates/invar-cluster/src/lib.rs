//! Clustering, projection and scores over embeddings.
//!
//! Everything here is a pure function of row-major `f32` values, wrapped in [`Rows`]: nothing prints, nothing reads
//! files, and the same seed gives byte-identical results with any number of rayon threads.
//!
//! ```text
//! Rows [n, D] --+-- ClusterConfig::run ---> Clustering { labels, probability }   k-means, HDBSCAN, Leiden, or what fits
//!               +-- assign ---------------> clusters that were found before, or none of them
//!               +-- ProjectionConfig ----> x, y                                  UMAP or PCA, for the eye
//!               +-- neighbors ------------> recall@k, k-NN accuracy, retrieval   with known labels
//!               +-- probe ----------------> can a column be predicted from it?   with columns
//!               +-- logistic -------------> a classifier, calibrated         with some labels
//!               +-- geometry -------------> alignment, uniformity, rank          without labels
//! labels x labels ----- scores -----------> ARI, NMI, V-measure, purity, ...
//! ```
//!
//! ```
//! use invar_cluster::{KMeansConfig, NumClusters, Rows, kmeans};
//! use invar_dataset::NoProgress;
//!
//! let values = [0.0, 0.0, 0.1, 0.0, 9.0, 9.0, 9.0, 9.1];
//! let rows = Rows::new(&values, 2).unwrap();
//! let config = KMeansConfig { k: NumClusters::Fixed(2), ..Default::default() };
//! let found = kmeans(rows, &config, &NoProgress).unwrap();
//! assert_eq!(found.labels[0], found.labels[1]);
//! assert_ne!(found.labels[1], found.labels[2]);
//! ```

pub mod calibration;
pub mod geometry;
pub mod groups;
pub mod logistic;
pub mod markers;
pub mod neighbors;
pub mod pca;
pub mod probe;
pub mod projection;
pub mod scores;

mod assign;
mod candidates;
mod choice;
mod config;
mod error;
mod gemm;
mod graph;
mod hdbscan;
mod kmeans;
mod leiden;
mod memory;
mod rows;
mod sample;
mod silhouette;
#[cfg(test)]
mod specimen;
mod ties;

pub use assign::{AssignConfig, Assigned, Clustered, assign};
pub use candidates::{Candidate, Method};
pub use choice::{AutoConfig, auto};
pub use config::{ClusterConfig, Clustering};
pub use error::ClusterError;
pub use hdbscan::{HdbscanConfig, hdbscan};
pub use kmeans::{KMeans, KMeansConfig, NumClusters, kmeans};
pub use leiden::{LeidenConfig, Quality, Resolution, WeightConfig, leiden};
#[cfg(feature = "fuzzing")]
pub use neighbors::fuzzing;
pub use projection::{ProjectionConfig, UmapConfig};
pub use rows::Rows;
pub use ties::Ties;
