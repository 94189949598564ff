use std::{fs::File, path::Path};

use polars::{
    prelude::{self as pl, PlRefPath},
    sql::SQLContext,
};

use crate::{EMBEDDING, EmbeddingsError, Table, layout::Whole, parquet::unpanicked};

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
        let frame = scan(path)?;
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
        self.context.register(name, scan(path)?);
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

fn scan(path: &Path) -> Result<pl::LazyFrame, EmbeddingsError> {
    let whole = Whole::open(path)?;
    let mut arguments = pl::ScanArgsParquet { glob: false, ..Default::default() };
    // A directory called `a=b` is not a column.
    arguments.hive_options.enabled = Some(false);
    let frame =
        pl::LazyFrame::scan_parquet_sources(sources(&whole)?, arguments).map_err(EmbeddingsError::parquet(path))?;
    match whole.parts[0].column(EMBEDDING) {
        // The functions of SQL are for lists, not for arrays of fixed size.
        Some(pl::DataType::Array(inner, _)) => {
            Ok(frame.with_columns([pl::col(EMBEDDING).cast(pl::DataType::List(inner.clone()))]))
        }
        _ => Ok(frame),
    }
}

/// The files by their names, or opened where one has a name that polars, whose paths are text, cannot write.
fn sources(whole: &Whole) -> Result<pl::ScanSources, EmbeddingsError> {
    match whole.paths().map(PlRefPath::try_from_path).collect::<Result<Vec<_>, _>>() {
        Ok(paths) => Ok(pl::ScanSources::Paths(paths.into())),
        Err(_) => {
            let open = |path: &Path| File::open(path).map_err(EmbeddingsError::io(path));
            Ok(pl::ScanSources::Files(whole.paths().map(open).collect::<Result<_, _>>()?))
        }
    }
}

/// The first line of what polars says: the rest is its query plan.
fn reason(error: &pl::PolarsError) -> String {
    error.to_string().lines().next().unwrap_or_default().trim_end_matches(':').to_owned()
}
