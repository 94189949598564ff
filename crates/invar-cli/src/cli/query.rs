//! The grammar of `invar query`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, ValueEnum};

use super::path_or_url;

/// The format of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people to read
    Table,
    /// Comma-separated values with a header
    Csv,
    /// An array of objects
    Json,
    /// One JSON object per line
    Ndjson,
    /// Arrow IPC file (Feather)
    Arrow,
    /// Parquet
    Parquet,
}

/// `invar query`
#[derive(Args, Debug)]
#[command(
    override_usage = "invar query [OPTIONS] <FILE>... <SQL>",
    after_help = "Examples:
  invar query result/embeddings \"SELECT source, COUNT(*) AS reads, AVG(gc) AS gc FROM embeddings GROUP BY source\"
  invar query result/embeddings result/clusters.parquet \\
    \"SELECT cluster, COUNT(*) AS n, AVG(length_bp) AS mean_bp FROM embeddings JOIN clusters USING (key) GROUP BY cluster ORDER BY n DESC\"
  invar query result/embeddings --out near.csv \\
    \"SELECT id, cosine(embedding, (SELECT embedding FROM self WHERE id = 'read7' LIMIT 1)) AS c FROM self ORDER BY c DESC LIMIT 10\"
  invar query new=monday/clusters.parquet old=friday/clusters.parquet \"SELECT new.cluster, old.cluster AS was, COUNT(*) AS n FROM new JOIN old USING (key) GROUP BY ALL\"
Names (`id`) may repeat, as those of mates do; `key` never does. Where two tables have a column: `embeddings.id`.
`cosine` takes columns, literals (`[0.1, 0.2]`) and a SELECT in parentheses that gives one value."
)]
pub struct Query {
    /// Parquet files or directories of parts, then one SELECT (polars SQL). Each file is a table named after it
    /// (`clusters` for clusters.parquet), or NAME=PATH; the first is also called `self`
    // One list, because options may stand between its elements.
    #[arg(required = true, value_name = "FILE... SQL")]
    pub files_and_sql: Vec<OsString>,
    /// Format of the answer [default: by the extension of --out, else table]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Write the answer to this file: .parquet, .arrow, .csv, .json, .ndjson or .txt
    #[arg(long, value_name = "FILE", value_parser = path_or_url())]
    pub out: Option<PathBuf>,
    /// Stop the query if it takes more memory than this [default: nine tenths of the machine's]
    #[arg(long, value_name = "BYTES")]
    pub memory_bytes: Option<usize>,
}
