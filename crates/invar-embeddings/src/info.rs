use std::path::Path;

use polars::prelude as pl;
use serde::Serialize;

use crate::{EMBEDDING, EmbeddingsError, Provenance, layout::Whole, parquet};

/// A description of a Parquet file or directory of parts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Info {
    /// What it holds.
    pub kind: Kind,
    /// Whether it is a directory of parts.
    pub is_directory: bool,
    /// Number of part files; 1 for a single file.
    pub num_parts: usize,
    /// Total number of rows.
    pub num_rows: usize,
    /// Total size of all parts.
    pub size_bytes: u64,
    /// Dimension of the column `embedding`.
    pub dim: Option<usize>,
    /// Columns in order.
    pub columns: Vec<ColumnInfo>,
    /// Who made it; `None` if it was not Invar.
    pub provenance: Option<Provenance>,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An EMB.
    Embeddings,
    /// A table of clusters.
    Clusters,
    /// Any other Parquet file.
    Parquet,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// Its type, as named in SQL.
    pub data_type: String,
}

/// Inspects the file or directory at `path` and checks that it is complete: every part exists, with the size and the
/// rows that the end marker states.
///
/// # Errors
/// If it is not complete: [`EmbeddingsError::Incomplete`] if a run was interrupted.
pub fn info(path: &Path) -> Result<Info, EmbeddingsError> {
    let whole = Whole::open(path)?;
    let first = &whole.parts[0];
    let kind = match first.kind.as_deref() {
        Some("embeddings") => Kind::Embeddings,
        Some("clusters") => Kind::Clusters,
        _ => Kind::Parquet,
    };
    let dim = match first.column(EMBEDDING) {
        Some(pl::DataType::Array(_, dim)) => Some(*dim),
        _ => None,
    };
    let columns = first.columns.iter();
    Ok(Info {
        kind,
        is_directory: whole.is_directory,
        num_parts: whole.parts.len(),
        num_rows: whole.num_rows(),
        size_bytes: whole.parts.iter().map(|part| part.size_bytes).sum(),
        dim,
        columns: columns.map(|(name, dtype)| ColumnInfo { name: name.clone(), data_type: dtype.to_string() }).collect(),
        provenance: whole.provenance.clone(),
    })
}

/// Dimension of the vectors in column `name` of the EMB (or any Parquet file) at `path`, from its type, or from the
/// first row that has one; `None` if there is no such column or no vector in its first rows.
///
/// # Errors
/// If the file is damaged.
pub fn dimension(path: &Path, name: &str) -> Result<Option<usize>, EmbeddingsError> {
    let whole = Whole::open(path)?;
    let first = &whole.parts[0];
    match first.column(name) {
        Some(pl::DataType::Array(_, dim)) => return Ok(Some(*dim)),
        Some(pl::DataType::List(_)) => {}
        _ => return Ok(None),
    }
    let frame = parquet::read_rows(&first.path, Some(&[name]), 0, LOOKED_AT)?;
    let lists = frame.column(name).and_then(|column| column.list().cloned());
    let lists = lists.map_err(EmbeddingsError::parquet(&first.path))?;
    Ok((0..lists.len()).find_map(|row| lists.get_as_series(row)).map(|list| list.len()))
}

/// Rows inspected for the length of a list.
const LOOKED_AT: usize = 1_000;
