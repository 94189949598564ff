use std::path::{Path, PathBuf};

use invar_dataset::{Column, ColumnData};
use polars::prelude as pl;

use crate::{EMBEDDING, EmbeddingsError, KEY, Provenance, frame, layout::Whole, parquet};

/// All embeddings of an EMB, in memory: `4 D` bytes a row, the ids and the keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// Name of each row; names may repeat, as those of mates do.
    pub ids: Vec<String>,
    /// Key of each row, which no other has; `None` in a file without that column (of an older version, or not of Invar).
    pub keys: Option<Vec<i64>>,
    /// Dimension.
    pub dim: usize,
    /// `[n, D]`, row-major, as they are stored, finite or not.
    pub values: Vec<f32>,
    /// Who made it; `None` in a file that Invar did not write.
    pub provenance: Option<Provenance>,
    path: PathBuf,
}

impl Embeddings {
    /// Reads the EMB at `path`, file or directory.
    ///
    /// # Errors
    /// When it is incomplete or damaged, or lacks the columns `id` (text) and `embedding` (fixed-size list of f32),
    /// or these hold nulls.
    pub fn read(path: &Path) -> Result<Self, EmbeddingsError> {
        let whole = Whole::open(path)?;
        let dim = dimension(&whole)?;
        let mut ids = Vec::with_capacity(whole.num_rows());
        let has_keys = whole.parts.iter().all(|part| part.column(KEY) == Some(&pl::DataType::Int64));
        let mut keys = has_keys.then(|| Vec::with_capacity(whole.num_rows()));
        let columns: &[&str] = if has_keys { &["id", KEY, EMBEDDING] } else { &["id", EMBEDDING] };
        let mut all = Vec::with_capacity(whole.num_rows() * dim);
        for part in whole.paths() {
            let frame = parquet::read(part, Some(columns))?;
            let column = |name| frame.column(name).map_err(EmbeddingsError::parquet(part));
            push_ids(column("id")?, part, &mut ids)?;
            if let Some(keys) = &mut keys {
                push_keys(column(KEY)?, part, keys)?;
            }
            all.append(&mut values(column(EMBEDDING)?, dim, part)?);
        }
        Ok(Self { ids, keys, dim, values: all, provenance: whole.provenance, path: path.into() })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Row `index`, `[D]`.
    ///
    /// # Panics
    /// When `index >= len()`.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dim..][..self.dim]
    }

    /// Names of all columns.
    ///
    /// # Errors
    /// When the file is not what it was any more.
    pub fn column_names(&self) -> Result<Vec<String>, EmbeddingsError> {
        let whole = Whole::open(&self.path)?;
        let of_first = whole.parts.first().map(|part| part.columns.iter().map(|(name, _)| name.clone()).collect());
        Ok(of_first.unwrap_or_default())
    }

    /// Reads another column from the file, one value a row.
    ///
    /// # Errors
    /// When there is no such column, or it is no text, boolean, integer or float.
    pub fn column(&self, name: &str) -> Result<Column, EmbeddingsError> {
        column(&self.path, name)
    }
}

/// Reads one column of the EMB at `path` and nothing else, one value a row.
///
/// # Errors
/// When there is no such column, or it is no text, boolean, integer or float.
pub fn column(path: &Path, name: &str) -> Result<Column, EmbeddingsError> {
    let whole = Whole::open(path)?;
    let mut all: Option<Column> = None;
    for part in &whole.parts {
        if part.column(name).is_none() {
            let names: Vec<&str> = part.columns.iter().map(|(name, _)| name.as_str()).collect();
            return Err(missing(&part.path, name, &names));
        }
        let frame = parquet::read(&part.path, Some(&[name]))?;
        let column = frame::from_polars(frame.column(name).map_err(EmbeddingsError::parquet(&part.path))?)?;
        match &mut all {
            Some(all) => frame::append(&mut all.data, &column.data),
            None => all = Some(column),
        }
    }
    Ok(all.unwrap_or(Column { name: name.into(), data: ColumnData::Str(vec![]) }))
}

/// The dimension that all parts agree on.
fn dimension(whole: &Whole) -> Result<usize, EmbeddingsError> {
    let mut agreed = None;
    for part in &whole.parts {
        let names: Vec<&str> = part.columns.iter().map(|(name, _)| name.as_str()).collect();
        let corrupt = |what: &str, expected: String, found: String| EmbeddingsError::Corrupt {
            path: part.path.clone(),
            what: what.into(),
            expected,
            found,
        };
        for (name, wanted) in [("id", "str"), (EMBEDDING, "a fixed-size list of f32")] {
            let Some(dtype) = part.column(name) else { return Err(missing(&part.path, name, &names)) };
            let dim = match dtype {
                pl::DataType::String if name == "id" => continue,
                pl::DataType::Array(inner, dim) if **inner == pl::DataType::Float32 && *dim > 0 => *dim,
                other => return Err(corrupt(&format!("type of column {name:?}"), wanted.into(), other.to_string())),
            };
            if *agreed.get_or_insert(dim) != dim {
                let expected = agreed.unwrap_or_default().to_string();
                return Err(corrupt("dimension of the embedding", expected, dim.to_string()));
            }
        }
        if let Some(provenance) = &whole.provenance
            && agreed != Some(provenance.dim)
        {
            let found = agreed.unwrap_or_default().to_string();
            return Err(corrupt("dimension of the embedding", provenance.dim.to_string(), found));
        }
    }
    Ok(agreed.unwrap_or(1))
}

fn push_ids(column: &pl::Column, path: &Path, ids: &mut Vec<String>) -> Result<(), EmbeddingsError> {
    let text = column.str().map_err(EmbeddingsError::parquet(path))?;
    for (row, id) in text.iter().enumerate() {
        let Some(id) = id else { return Err(null(path, "id", row)) };
        ids.push(id.to_owned());
    }
    Ok(())
}

/// Appends the keys of a column of 64-bit integers.
pub(crate) fn push_keys(column: &pl::Column, path: &Path, keys: &mut Vec<i64>) -> Result<(), EmbeddingsError> {
    let numbers = column.i64().map_err(EmbeddingsError::parquet(path))?;
    for (row, key) in numbers.iter().enumerate() {
        keys.push(key.ok_or_else(|| null(path, KEY, row))?);
    }
    Ok(())
}

/// The values of an embedding column, `[rows, dim]`.
pub(crate) fn values(column: &pl::Column, dim: usize, path: &Path) -> Result<Vec<f32>, EmbeddingsError> {
    let series = column.as_materialized_series();
    let lists = series.array().map_err(EmbeddingsError::parquet(path))?;
    if lists.null_count() > 0 {
        let row = series.is_null().iter().position(|null| null == Some(true)).unwrap_or_default();
        return Err(null(path, EMBEDDING, row));
    }
    if lists.width() != dim {
        return Err(EmbeddingsError::Corrupt {
            path: path.into(),
            what: "dimension of the embedding".into(),
            expected: dim.to_string(),
            found: lists.width().to_string(),
        });
    }
    let inner = lists.get_inner();
    let inner = inner.f32().map_err(EmbeddingsError::parquet(path))?;
    if inner.null_count() > 0 {
        let at = inner.iter().position(|value| value.is_none()).unwrap_or_default();
        return Err(null(path, EMBEDDING, at / dim));
    }
    Ok(inner.into_no_null_iter().collect())
}

fn missing(path: &Path, name: &str, names: &[&str]) -> EmbeddingsError {
    EmbeddingsError::Corrupt {
        path: path.into(),
        what: "columns".into(),
        expected: format!("one named {name:?}"),
        found: names.join(", "),
    }
}

fn null(path: &Path, name: &str, row: usize) -> EmbeddingsError {
    EmbeddingsError::Corrupt {
        path: path.into(),
        what: format!("column {name:?}, row {row}"),
        expected: "a value".into(),
        found: "null".into(),
    }
}
