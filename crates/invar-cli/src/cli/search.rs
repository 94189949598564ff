use std::path::PathBuf;

use clap::{ArgGroup, Args};
use invar_dataset::{manifest::Manifest, object};

use super::{Format, Vectors, path_or_url};

/// `invar search`
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("asked").args(["like", "key", "query"]).required(true).multiple(true))]
#[command(after_help = "Examples:
  invar search result/embeddings --like read_0042
  invar search result/embeddings --like read_0042 --where \"length_bp > 5000 AND gc < 0.4\" --top 20
  invar search result/embeddings --query new.fastq.gz --out hits.parquet
  invar search result/embeddings --query micrograph.tif --format csv
  invar search embeddings --query other.parquet --out hits.parquet --recall
  invar search theirs.parquet --column vector --query asked.parquet --out hits.parquet
Files of an instrument are read and embedded first, as EMB was: by the model in `run` beside EMB, or that of --model.
Embeddings of the same model, and datasets of `invar ingest`, may be given too. Each row of them is a query.
Up to 100,000 rows are compared with every query. Of more an index is made by the first search and kept as EMB.index
beside EMB: from then on a query looks at the likely rows alone, and finds the share that `invar info EMB.index` tells
(98 % and more). It is made anew where EMB has changed.")]
pub struct Search {
    /// Embeddings to search: a Parquet file or a directory of part files
    #[arg(value_name = "EMB", value_parser = path_or_url())]
    pub embeddings: PathBuf,
    /// Find what is similar to these samples of EMB, by name. If several share a name, as mates do, all are queries
    #[arg(long, num_args = 1.., value_name = "ID")]
    pub like: Vec<String>,
    /// The same by `key`, which is unique; with --like: only those of the samples so named
    #[arg(long, num_args = 1.., value_name = "N")]
    pub key: Vec<i64>,
    /// Find what is similar to the samples in these files
    #[arg(long, num_args = 1.., value_name = "FILE", value_parser = path_or_url())]
    pub query: Vec<PathBuf>,
    /// The vectors of EMB and of files of embeddings in --query
    #[command(flatten)]
    pub vectors: Vectors,
    /// Only samples of EMB that satisfy an SQL condition on its columns
    #[arg(long = "where", value_name = "CONDITION")]
    pub condition: Option<String>,
    /// Number of answers per query
    #[arg(short = 'k', long, default_value_t = 10, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub top: u32,
    /// Compare with every row, and neither use nor create an index
    #[arg(long)]
    pub exact: bool,
    /// Allow a sample of EMB to be its own answer
    #[arg(long)]
    pub itself: bool,
    /// Report what fraction of the nearest was found, by searching exactly for up to 1,000 of the queries
    #[arg(long)]
    pub recall: bool,
    /// Format of the answers [default: by the extension of --out, else table]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Write query, query_key, rank, id, key and cosine to a file instead: .parquet, .arrow, .csv, .json, .ndjson or .txt
    #[arg(long, value_name = "FILE", value_parser = path_or_url())]
    pub out: Option<PathBuf>,
    /// The run directory of the model that made EMB [default: `run` next to EMB]
    #[arg(long, value_name = "RUN", requires = "query")]
    pub model: Option<PathBuf>,
}

impl Search {
    /// The queries that are not embeddings yet.
    pub fn to_be_embedded(&self) -> Vec<PathBuf> {
        self.query.iter().filter(|path| !is_embeddings(path)).cloned().collect()
    }
}

/// Whether a path looks like embeddings, complete or not: a Parquet file, or a directory of such files that is not a
/// dataset. Of a URL the name decides.
fn is_embeddings(path: &PathBuf) -> bool {
    if object::is_url(path) {
        return path.extension() == Some("parquet".as_ref());
    }
    let has_parts = |path: &PathBuf| {
        let parts = std::fs::read_dir(path).into_iter().flatten().flatten();
        !Manifest::exists(path)
            && parts.map(|part| part.path()).any(|part| part.extension() == Some("parquet".as_ref()))
    };
    if path.is_dir() { has_parts(path) } else { crate::commands::info::is_parquet(path).unwrap_or(false) }
}
