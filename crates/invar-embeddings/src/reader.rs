use std::path::{Path, PathBuf};

use invar_dataset::{Column, ColumnData};
use polars::prelude as pl;
use polars_arrow::array::{Array, PrimitiveArray};
use polars_buffer::Buffer;

use crate::{
    EMBEDDING, EmbeddingsError, KEY, Provenance, frame,
    layout::Whole,
    names::{check_ids, push_ids},
    parquet::{self, Footer},
};

/// All embeddings of an EMB, in memory: `4 D` bytes per row, plus the ids and the keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// Name of each row; names may repeat, for example those of mates.
    pub ids: Vec<String>,
    /// Unique key of each row; `None` in a file without that column (from an older version, or not Invar's).
    pub keys: Option<Vec<i64>>,
    /// Dimension.
    pub dim: usize,
    /// `[n, D]`, row-major, as stored; all finite.
    pub values: Vec<f32>,
    /// Who made it; `None` in a file that Invar did not write.
    pub provenance: Option<Provenance>,
    /// Rows of the file that are omitted, because they hold no vector; only with [`Vectors::drop_bad_rows`].
    pub dropped: Vec<usize>,
    path: PathBuf,
}

/// Which column holds the vectors, and what to do with rows that hold none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vectors {
    /// Name of the column: lists, of fixed size or not, of single, double or half precision, all of one length.
    /// [`EMBEDDING`] by default.
    pub column: Option<String>,
    /// Leave out rows whose vector is null, or contains a null, NaN or infinite value, instead of rejecting the file.
    pub drop_bad_rows: bool,
}

impl Embeddings {
    /// Reads the EMB at `path`, file or directory.
    ///
    /// # Errors
    /// As [`Embeddings::read_as`].
    pub fn read(path: &Path) -> Result<Self, EmbeddingsError> {
        Self::read_as(path, &Vectors::default())
    }

    /// Reads the vectors of an EMB, or of any Parquet file. If it is not Invar's, rows without a column `id` are named
    /// by their number, and numeric names become text.
    ///
    /// # Errors
    /// If it is incomplete or damaged, or lacks the column or `id`, or a value is not a vector or a name; the row is
    /// named.
    pub fn read_as(path: &Path, vectors: &Vectors) -> Result<Self, EmbeddingsError> {
        let whole = Whole::open(path)?;
        let name = vectors.column.as_deref().unwrap_or(EMBEDDING);
        let has_ids = check_columns(&whole, name)?;
        let has_keys = whole.parts.iter().all(|part| part.column(KEY) == Some(&pl::DataType::Int64));
        let columns: Vec<&str> = [(has_ids, "id"), (has_keys, KEY), (true, name)]
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, name)| name)
            .collect();
        let num_rows = whole.num_rows();
        let (mut ids, mut keys) = (Vec::with_capacity(num_rows), has_keys.then(|| Vec::with_capacity(num_rows)));
        let mut rows = VectorRows { name, dim: None, values: vec![], bad: vec![] };
        for part in whole.paths() {
            let frame = parquet::read(part, Some(&columns))?;
            let column = |name| frame.column(name).map_err(EmbeddingsError::parquet(part));
            if has_ids {
                push_ids(column("id")?, part, &mut ids)?;
            } else {
                ids.extend((ids.len()..ids.len() + frame.height()).map(|row| row.to_string()));
            }
            if let Some(keys) = &mut keys {
                push_keys(column(KEY)?, part, keys)?;
            }
            let known = rows.bad.len();
            rows.push(column(name)?, part, num_rows)?;
            if let Some(BadRow { row, reason }) = rows.bad.get(known).filter(|_| !vectors.drop_bad_rows) {
                return Err(EmbeddingsError::Corrupt {
                    path: part.into(),
                    what: format!("column {name:?}, row {row} (id {:?})", ids[*row]),
                    expected: "finite numbers".into(),
                    found: reason.clone(),
                });
            }
        }
        let dropped: Vec<usize> = rows.bad.iter().map(|bad| bad.row).collect();
        leave_out(&mut ids, &dropped);
        if let Some(keys) = &mut keys {
            leave_out(keys, &dropped);
        }
        let dim = rows.dim.or(whole.provenance.as_ref().map(|provenance| provenance.dim)).unwrap_or(1);
        let is_ours = is_emb(&whole);
        let provenance = whole.provenance.filter(|of| name == EMBEDDING && (is_ours || of.dim == dim));
        if let Some(of) = provenance.as_ref().filter(|of| of.dim != dim) {
            return Err(EmbeddingsError::Corrupt {
                path: path.into(),
                what: "dimension of the embedding".into(),
                expected: of.dim.to_string(),
                found: dim.to_string(),
            });
        }
        Ok(Self { ids, keys, dim, values: rows.values, provenance, dropped, path: path.into() })
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
    /// If `index >= len()`.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dim..][..self.dim]
    }

    /// Names of all columns.
    ///
    /// # Errors
    /// If the file has changed in the meantime.
    pub fn column_names(&self) -> Result<Vec<String>, EmbeddingsError> {
        let whole = Whole::open(&self.path)?;
        let of_first = whole.parts.first().map(|part| part.columns.iter().map(|(name, _)| name.clone()).collect());
        Ok(of_first.unwrap_or_default())
    }

    /// Reads another column from the file, one value per row.
    ///
    /// # Errors
    /// If there is no such column, or it is not text, boolean, integer or float.
    pub fn column(&self, name: &str) -> Result<Column, EmbeddingsError> {
        let mut column = column(&self.path, name)?;
        if !self.dropped.is_empty() {
            match &mut column.data {
                ColumnData::Str(values) => leave_out(values, &self.dropped),
                ColumnData::Bool(values) => leave_out(values, &self.dropped),
                ColumnData::U8(values) => leave_out(values, &self.dropped),
                ColumnData::U32(values) => leave_out(values, &self.dropped),
                ColumnData::I64(values) => leave_out(values, &self.dropped),
                ColumnData::F32(values) => leave_out(values, &self.dropped),
                ColumnData::F64(values) => leave_out(values, &self.dropped),
            }
        }
        Ok(column)
    }
}

/// Reads a single column of the EMB at `path`, one value per row.
///
/// # Errors
/// If there is no such column, or it is not text, boolean, integer or float.
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

pub(crate) fn wrong_type(part: &Footer, name: &str, expected: &str, found: &pl::DataType) -> EmbeddingsError {
    EmbeddingsError::Corrupt {
        path: part.path.clone(),
        what: format!("type of column {name:?}"),
        expected: expected.into(),
        found: found.to_string(),
    }
}

/// Whether the parts hold vectors in column `name`, and names of rows.
///
/// # Errors
/// If a column is missing, or has another type.
fn check_columns(whole: &Whole, name: &str) -> Result<bool, EmbeddingsError> {
    let has_ids = check_ids(whole)?;
    for part in &whole.parts {
        match part.column(name) {
            Some(dtype) if is_vector(dtype) => {}
            Some(other) => return Err(wrong_type(part, name, "lists of numbers", other)),
            None => {
                let vectors = part.columns.iter().filter(|(_, dtype)| is_vector(dtype));
                let others: Vec<String> = vectors.map(|(name, _)| format!("--column {name}")).collect();
                let names: Vec<&str> = part.columns.iter().map(|(name, _)| name.as_str()).collect();
                let hint = if others.is_empty() { String::new() } else { format!(" ({})", others.join(" or ")) };
                return Err(EmbeddingsError::Corrupt {
                    path: part.path.clone(),
                    what: "columns".into(),
                    expected: format!("one named {name:?}"),
                    found: format!("{}{hint}", names.join(", ")),
                });
            }
        }
    }
    Ok(has_ids)
}

/// Whether Invar wrote it as embeddings; the answer to a query may hold anything.
pub(crate) fn is_emb(whole: &Whole) -> bool {
    whole.parts[0].kind.as_deref() == Some(crate::writer::KIND)
}

fn is_vector(dtype: &pl::DataType) -> bool {
    matches!(dtype, pl::DataType::Array(inner, _) | pl::DataType::List(inner) if inner.is_float())
}

/// The vectors of the parts read so far, without rows that hold none.
struct VectorRows<'a> {
    name: &'a str,
    dim: Option<usize>,
    values: Vec<f32>,
    bad: Vec<BadRow>,
}

/// A row that holds no vector.
struct BadRow {
    row: usize,
    reason: String,
}

impl VectorRows<'_> {
    /// Adds those of a part, of `num_rows` in total.
    fn push(&mut self, column: &pl::Column, path: &Path, num_rows: usize) -> Result<(), EmbeddingsError> {
        let first = self.values.len() / self.dim.unwrap_or(1) + self.bad.len();
        let lists = Lists::of(column).map_err(EmbeddingsError::parquet(path))?;
        for row in 0..lists.len() {
            let mut bad = |reason: String| self.bad.push(BadRow { row: first + row, reason });
            let Some((start, end)) = lists.range(row) else {
                bad("null".into());
                continue;
            };
            let dim = *self.dim.get_or_insert(end - start);
            if self.values.is_empty() {
                self.values.reserve_exact(num_rows.saturating_mul(dim));
            }
            if end - start != dim || dim == 0 {
                return Err(EmbeddingsError::Corrupt {
                    path: path.into(),
                    what: format!("column {:?}, row {}", self.name, first + row),
                    expected: if dim == 0 { "numbers".into() } else { format!("{dim} numbers, as in the rows before") },
                    found: (end - start).to_string(),
                });
            }
            match lists.first_bad(start, end) {
                Some((place, value)) => bad(format!("{value} in place {place}")),
                None => self.values.extend_from_slice(&lists.values[start..end]),
            }
        }
        Ok(())
    }
}

/// The vectors `[rows, P]` of a column that holds one in each row, and `P`.
///
/// # Errors
/// If a row holds none, or one of another length, or with a value that is not finite; the row is named.
pub(crate) fn vectors_of(column: &pl::Column, path: &Path, name: &str) -> Result<(usize, Vec<f32>), EmbeddingsError> {
    let mut rows = VectorRows { name, dim: None, values: vec![], bad: vec![] };
    rows.push(column, path, column.len())?;
    match rows.bad.pop() {
        None => Ok((rows.dim.unwrap_or(0), rows.values)),
        Some(BadRow { row, reason }) => Err(EmbeddingsError::Corrupt {
            path: path.into(),
            what: format!("column {name:?}, row {row}"),
            expected: "finite numbers".into(),
            found: reason,
        }),
    }
}

/// A column of lists of numbers, as single precision.
struct Lists {
    lists: pl::ListChunked,
    values: Buffer<f32>,
}

impl Lists {
    fn of(column: &pl::Column) -> pl::PolarsResult<Self> {
        let singles = pl::DataType::List(Box::new(pl::DataType::Float32));
        let series = column.as_materialized_series().cast(&singles)?.rechunk();
        let lists = series.list()?.clone();
        let values = match lists.downcast_as_array().values().as_any().downcast_ref::<PrimitiveArray<f32>>() {
            Some(values) => values.values().clone(),
            None => Buffer::default(),
        };
        Ok(Self { lists, values })
    }

    fn len(&self) -> usize {
        self.lists.len()
    }

    fn range(&self, row: usize) -> Option<(usize, usize)> {
        let lists = self.lists.downcast_as_array();
        (!lists.is_null(row)).then(|| lists.offsets().start_end(row))
    }

    /// The first of these values that is not a finite number, with its offset.
    fn first_bad(&self, start: usize, end: usize) -> Option<(usize, String)> {
        let values = self.lists.downcast_as_array().values();
        let is_null = |at| values.null_count() > 0 && values.is_null(at);
        let at = (start..end).find(|&at| is_null(at) || !self.values[at].is_finite())?;
        Some((at - start, if is_null(at) { "null".into() } else { self.values[at].to_string() }))
    }
}

/// Removes the values of some rows, given in ascending order.
fn leave_out<T>(values: &mut Vec<T>, rows: &[usize]) {
    let (mut row, mut left) = (0, rows.iter().peekable());
    values.retain(|_| {
        let is_out = left.next_if_eq(&&row).is_some();
        row += 1;
        !is_out
    });
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

pub(crate) fn missing(path: &Path, name: &str, names: &[&str]) -> EmbeddingsError {
    EmbeddingsError::Corrupt {
        path: path.into(),
        what: "columns".into(),
        expected: format!("one named {name:?}"),
        found: names.join(", "),
    }
}

pub(crate) fn null(path: &Path, name: &str, row: usize) -> EmbeddingsError {
    EmbeddingsError::Corrupt {
        path: path.into(),
        what: format!("column {name:?}, row {row}"),
        expected: "a value".into(),
        found: "null".into(),
    }
}
