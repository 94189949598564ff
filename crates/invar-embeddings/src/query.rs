use std::path::Path;

use polars::{prelude as pl, sql::SQLContext};

use crate::{EmbeddingsError, Table, parquet::unpanicked, scan};

/// SQL over an EMB, and over the clusters found in it.
///
/// The tables are `embeddings` (also `emb` and `self`) and, where given, `clusters`. Files are read when the query
/// needs them, and only the columns it names. In SQL the embedding is a list: `embedding[1]` is its first value,
/// `ARRAY_SUM(embedding)` and the like work.
pub struct Query {
    context: SQLContext,
}

impl Query {
    /// Opens the EMB (or any Parquet file) at `path`.
    ///
    /// # Errors
    /// When it is incomplete or damaged.
    pub fn new(path: &Path) -> Result<Self, EmbeddingsError> {
        let query = Self { context: SQLContext::new() };
        let frame = scan::open(path)?;
        for name in ["embeddings", "emb", "self"] {
            query.context.register(name, frame.clone());
        }
        Ok(query)
    }

    /// Adds the file at `path` as table `name`, as `clusters`.
    ///
    /// # Errors
    /// When it is incomplete or damaged.
    pub fn with_table(self, name: &str, path: &Path) -> Result<Self, EmbeddingsError> {
        self.context.register(name, scan::open(path)?);
        Ok(self)
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// When the SQL is wrong, or names what is not there.
    pub fn run(&mut self, sql: &str) -> Result<Table, EmbeddingsError> {
        let error = |error: pl::PolarsError| EmbeddingsError::Sql { reason: reason(&error), sql: sql.into() };
        unpanicked(|| self.context.execute(sql)?.collect()).map(Table::new).map_err(error)
    }
}

/// The first line of what polars says: the rest is its query plan.
fn reason(error: &pl::PolarsError) -> String {
    error.to_string().lines().next().unwrap_or_default().trim_end_matches(':').to_owned()
}
