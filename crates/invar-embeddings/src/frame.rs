//! Converts between the vocabulary's columns and polars.

use invar_dataset::{Column, ColumnData};
use polars::{
    datatypes::ReshapeDimension,
    prelude::{self as pl, SchemaExt},
};
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema};

use crate::{EMBEDDING, EmbeddingsError, Precision, half};

/// Name and type of a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColumnType {
    pub name: String,
    pub dtype: pl::DataType,
}

impl ColumnType {
    pub fn of(column: &Column) -> Self {
        let dtype = match &column.data {
            ColumnData::Str(_) => pl::DataType::String,
            ColumnData::Bool(_) => pl::DataType::Boolean,
            // Parquet has no integer under 32 bits either.
            ColumnData::U8(_) | ColumnData::U32(_) => pl::DataType::UInt32,
            ColumnData::I64(_) => pl::DataType::Int64,
            ColumnData::F32(_) => pl::DataType::Float32,
            ColumnData::F64(_) => pl::DataType::Float64,
        };
        Self { name: column.name.clone(), dtype }
    }

    /// An empty column of this type.
    pub fn empty(&self) -> Column {
        let data = match self.dtype {
            pl::DataType::Boolean => ColumnData::Bool(vec![]),
            pl::DataType::UInt32 => ColumnData::U32(vec![]),
            pl::DataType::Int64 => ColumnData::I64(vec![]),
            pl::DataType::Float32 => ColumnData::F32(vec![]),
            pl::DataType::Float64 => ColumnData::F64(vec![]),
            _ => ColumnData::Str(vec![]),
        };
        Column { name: self.name.clone(), data }
    }
}

/// Appends `more` to `column`; both are of one [`ColumnType`].
pub(crate) fn append(column: &mut ColumnData, more: &ColumnData) {
    match (column, more) {
        (ColumnData::Str(all), ColumnData::Str(more)) => all.extend_from_slice(more),
        (ColumnData::Bool(all), ColumnData::Bool(more)) => all.extend_from_slice(more),
        (ColumnData::U32(all), ColumnData::U32(more)) => all.extend_from_slice(more),
        (ColumnData::U32(all), ColumnData::U8(more)) => all.extend(more.iter().map(|value| value.map(u32::from))),
        (ColumnData::I64(all), ColumnData::I64(more)) => all.extend_from_slice(more),
        (ColumnData::F32(all), ColumnData::F32(more)) => all.extend_from_slice(more),
        (ColumnData::F64(all), ColumnData::F64(more)) => all.extend_from_slice(more),
        (column, more) => unreachable!("columns of one type: {column:?} {more:?}"),
    }
}

/// Takes the first `rows` values out of `column`.
pub(crate) fn split_off_front(column: &mut ColumnData, rows: usize) -> ColumnData {
    fn front<T>(values: &mut Vec<T>, rows: usize) -> Vec<T> {
        let rest = values.split_off(rows);
        std::mem::replace(values, rest)
    }
    match column {
        ColumnData::Str(values) => ColumnData::Str(front(values, rows)),
        ColumnData::Bool(values) => ColumnData::Bool(front(values, rows)),
        ColumnData::U8(values) => ColumnData::U8(front(values, rows)),
        ColumnData::U32(values) => ColumnData::U32(front(values, rows)),
        ColumnData::I64(values) => ColumnData::I64(front(values, rows)),
        ColumnData::F32(values) => ColumnData::F32(front(values, rows)),
        ColumnData::F64(values) => ColumnData::F64(front(values, rows)),
    }
}

/// A frame of the columns and, last, the embedding `[rows, dim]`.
pub(crate) fn with_embedding(
    columns: &[Column],
    embeddings: Vec<f32>,
    dim: usize,
    precision: Precision,
) -> pl::PolarsResult<pl::DataFrame> {
    if precision == Precision::Half {
        let mut series: Vec<pl::Column> = columns.iter().map(to_polars).collect();
        series.push(half::column(&embeddings, dim));
        return pl::DataFrame::new(embeddings.len() / dim, series);
    }
    with_vectors(columns, EMBEDDING, embeddings, dim)
}

/// A frame of the columns and, last, vectors `[rows, dim]` in a column `name`.
pub(crate) fn with_vectors(
    columns: &[Column],
    name: &str,
    vectors: Vec<f32>,
    dim: usize,
) -> pl::PolarsResult<pl::DataFrame> {
    let rows = vectors.len() / dim;
    let mut series: Vec<pl::Column> = columns.iter().map(to_polars).collect();
    let shape = [ReshapeDimension::Infer, ReshapeDimension::new_dimension(dim as u64)];
    let values = <pl::Series as pl::NamedFromOwned<_>>::from_vec(name.into(), vectors);
    series.push(values.reshape_array(&shape)?.into());
    pl::DataFrame::new(rows, series)
}

/// One column.
pub(crate) fn to_polars(column: &Column) -> pl::Column {
    use pl::NamedFrom;
    let name: pl::PlSmallStr = column.name.as_str().into();
    let series = match &column.data {
        ColumnData::Str(values) => {
            let values: pl::StringChunked = values.iter().map(Option::as_deref).collect();
            return pl::IntoSeries::into_series(values.with_name(name)).into();
        }
        ColumnData::Bool(values) => pl::Series::new(name, values.as_slice()),
        ColumnData::U8(values) => {
            let wide: Vec<Option<u32>> = values.iter().map(|value| value.map(u32::from)).collect();
            pl::Series::new(name, wide.as_slice())
        }
        ColumnData::U32(values) => pl::Series::new(name, values.as_slice()),
        ColumnData::I64(values) => pl::Series::new(name, values.as_slice()),
        ColumnData::F32(values) => pl::Series::new(name, values.as_slice()),
        ColumnData::F64(values) => pl::Series::new(name, values.as_slice()),
    };
    series.into()
}

/// A column of the vocabulary, from any type that has an equivalent; the embedding has none.
///
/// # Errors
/// If the type has no equivalent.
pub(crate) fn from_polars(column: &pl::Column) -> Result<Column, EmbeddingsError> {
    let series = column.as_materialized_series();
    let cast = |dtype: pl::DataType| series.cast(&dtype).map_err(|_| misfit(column));
    let data = match series.dtype() {
        pl::DataType::String => ColumnData::Str(series.str().map_err(|_| misfit(column))?.iter().map(owned).collect()),
        pl::DataType::Boolean => ColumnData::Bool(series.bool().map_err(|_| misfit(column))?.iter().collect()),
        pl::DataType::UInt8 | pl::DataType::UInt16 | pl::DataType::UInt32 => {
            ColumnData::U32(cast(pl::DataType::UInt32)?.u32().map_err(|_| misfit(column))?.iter().collect())
        }
        pl::DataType::Int8 | pl::DataType::Int16 | pl::DataType::Int32 | pl::DataType::Int64 => {
            ColumnData::I64(cast(pl::DataType::Int64)?.i64().map_err(|_| misfit(column))?.iter().collect())
        }
        pl::DataType::Float32 => ColumnData::F32(series.f32().map_err(|_| misfit(column))?.iter().collect()),
        pl::DataType::Float64 => ColumnData::F64(series.f64().map_err(|_| misfit(column))?.iter().collect()),
        _ => return Err(misfit(column)),
    };
    Ok(Column { name: column.name().to_string(), data })
}

/// Columns in Arrow's types, with the given type for text: these differ in how programs hold it in memory, not in what
/// is stored.
pub(crate) fn arrow_schema(schema: &pl::Schema, text: ArrowDataType) -> ArrowSchema {
    let fields = schema.iter_fields().map(|field| {
        let mut arrow = field.to_arrow(pl::CompatLevel::oldest());
        if arrow.dtype == ArrowDataType::LargeUtf8 {
            arrow.dtype = text.clone();
        }
        (field.name().clone(), arrow)
    });
    fields.collect()
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

fn misfit(column: &pl::Column) -> EmbeddingsError {
    EmbeddingsError::Rows {
        what: format!("type of column {:?}", column.name().as_str()),
        expected: "text, boolean, integer or float".into(),
        found: column.dtype().to_string(),
    }
}
