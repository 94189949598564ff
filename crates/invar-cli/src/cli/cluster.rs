//! `invar cluster`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Vectors, path_or_url};

/// How to cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// k-means or Leiden, whichever has the best separated and most reproducible clusters
    Auto,
    /// k-means++ with restarts
    Kmeans,
    /// Density-based; finds the number of clusters and leaves noise out
    Hdbscan,
    /// Communities of the graph of nearest neighbours, by modularity or the constant Potts model
    Leiden,
}

/// The quality function that Leiden maximises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Quality {
    /// Edges within clusters beyond those expected by chance
    Modularity,
    /// Edges within clusters beyond a fixed density: the constant Potts model
    Cpm,
}

/// How to map samples to the plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Projection {
    /// Similar samples are close together; distances between groups mean little
    Umap,
    /// The two directions in which the embeddings differ most
    Pca,
}

/// `invar cluster`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar cluster embeddings --out clusters.parquet
  invar cluster embeddings --out clusters.parquet --k 12
  invar cluster embeddings --out clusters.parquet --method hdbscan --min-cluster-size 50
  invar cluster embeddings --out clusters.parquet --method leiden --together component --apart homologs
  invar cluster embeddings --out clusters.parquet --min-bin-bp 200000 --markers markers
  invar cluster embeddings --out clusters.parquet --plot clusters.svg
  invar cluster new_embeddings --assign clusters.parquet --out assigned.parquet
With --assign each sample gets the cluster of most of its nearest samples among the old ones, where it lies as near to them as
the members do; else -1, none of these. x and y are its place in the old map.")]
pub struct Cluster {
    /// Embeddings: a Parquet file or a directory of part files
    #[arg(value_name = "EMB", value_parser = path_or_url())]
    pub embeddings: PathBuf,
    /// Which column they are in.
    #[command(flatten)]
    pub vectors: Vectors,
    /// The Parquet file to write: id, key, cluster (-1 is noise), probability, distance, x, y
    #[arg(long, value_name = "CLUSTERS", value_parser = path_or_url())]
    pub out: PathBuf,
    /// Do not search for clusters: assign each sample to one of these, which `invar cluster` found for other samples
    /// with the same model, or to none (-1)
    #[arg(long, value_name = "CLUSTERS", conflicts_with_all = ["method", "k", "restarts", "min_cluster_size", "min_samples",
        "resolution", "quality", "together", "apart", "min_bin_bp", "markers", "sample", "projection"],
        value_parser = path_or_url())]
    pub assign: Option<PathBuf>,
    /// The embeddings that the clusters of --assign belong to [default: where they were when they were clustered]
    #[arg(long, value_name = "EMB", requires = "assign", value_parser = path_or_url())]
    pub of: Option<PathBuf>,
    /// Fraction of a cluster's own members that --assign would accept; a sample farther away than those belongs to none
    #[arg(long, value_name = "SHARE", default_value_t = 0.95, requires = "assign")]
    pub gate: f64,
    /// Clustering method [default: the one the other options belong to, else auto]
    #[arg(long, value_enum)]
    pub method: Option<Method>,
    /// Number of clusters for k-means, or `auto` [default: auto]
    #[arg(long, value_name = "K")]
    pub k: Option<String>,
    /// Restarts of k-means; the best is kept [default: 10]
    #[arg(long, value_name = "N")]
    pub restarts: Option<usize>,
    /// Smallest group that HDBSCAN calls a cluster
    #[arg(long, value_name = "N")]
    pub min_cluster_size: Option<usize>,
    /// Number of neighbours that determine the density for HDBSCAN [default: the smallest cluster]
    #[arg(long, value_name = "N")]
    pub min_samples: Option<usize>,
    /// How finely Leiden divides (1 and above: many clusters; 0.05: few), or `auto`: the one of twenty whose clusters
    /// are best separated and most reproducible in halves of the rows [default: auto]
    #[arg(long, value_name = "R")]
    pub resolution: Option<String>,
    /// What Leiden maximises: modularity, or the constant Potts model, which finds small clusters even in large graphs
    /// [default: modularity]
    #[arg(long, value_enum)]
    pub quality: Option<Quality>,
    /// Neighbours of a row in the graph that Leiden divides; a cluster has more rows than that. With --assign, the
    /// number of neighbours that vote [default: 15]
    #[arg(long, value_name = "N")]
    pub neighbors: Option<usize>,
    /// Column of integers in EMB: Leiden never separates rows with the same value in it
    #[arg(long, value_name = "COLUMN")]
    pub together: Option<String>,
    /// Column of text in EMB: values of the --together column, separated by spaces, that are similar to the row's own
    /// but distinct from it (sister species); Leiden never joins them directly
    #[arg(long, value_name = "COLUMN", requires = "together")]
    pub apart: Option<String>,
    /// Clusters are bins of contigs: each contig weighs as much as it has bases (column `length_bp`), and a bin has at least
    /// this many. Leiden then takes as neighbours of a contig the nearest that have so many bases
    #[arg(long, value_name = "BP")]
    pub min_bin_bp: Option<u64>,
    /// Column of text in EMB: single-copy marker genes of a contig, separated by spaces (`markers`, of `invar ingest contigs
    /// --markers`). The resolution is chosen by them: each bin is to have each marker, and once
    #[arg(long, value_name = "COLUMN")]
    pub markers: Option<String>,
    /// Number of rows that Leiden clusters, drawn at random; the others join the nearest [default: 200,000]
    #[arg(long, value_name = "N")]
    pub sample: Option<usize>,
    /// The table of clusters to write: members, confidence, nearest other cluster and more, tab-separated [default:
    /// CLUSTERS with the extension .tsv]
    #[arg(long, value_name = "TSV", value_parser = path_or_url())]
    pub groups: Option<PathBuf>,
    /// The projection for the columns x and y, and for the plot
    #[arg(long, value_enum, default_value = "umap")]
    pub projection: Projection,
    /// Also draw the 2-D projection, coloured by cluster
    #[arg(long, value_name = "SVG", value_parser = path_or_url())]
    pub plot: Option<PathBuf>,
}
