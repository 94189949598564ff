//! Vectors of half precision: polars supports them only with a feature that would compile all of it for one more type,
//! but its Parquet pages do support them. They are written from Arrow arrays, and read as single precision.

use std::{
    fs::File,
    io::{Cursor, Read, Seek, SeekFrom},
};

use ::half::f16;
use polars::prelude::{self as pl, IntoColumn, pf16};
use polars_arrow::{
    array::{Array, FixedSizeListArray, ListArray, PrimitiveArray},
    datatypes::{ArrowDataType, Field},
};
use polars_buffer::Buffer;
use polars_parquet::{
    parquet::read::PageReader,
    read::{BasicDecompressor, FileMetadata, column_iter_to_arrays},
};

use crate::EMBEDDING;

/// The column of the embeddings `[rows, dim]` in half precision, rounded to nearest. It can only be written.
pub(crate) fn column(embeddings: &[f32], dim: usize) -> pl::Column {
    let values: Vec<pf16> = embeddings.iter().map(|&value| pf16(f16::from_f32(value))).collect();
    let values = PrimitiveArray::new(ArrowDataType::Float16, values.into(), None);
    let dtype = FixedSizeListArray::default_datatype(ArrowDataType::Float16, dim);
    let lists = FixedSizeListArray::new(dtype, embeddings.len() / dim, values.boxed(), None);
    let dtype = pl::DataType::Array(Box::new(pl::DataType::Float16), dim);
    // SAFETY: the array is of this type.
    unsafe { pl::Series::from_chunks_and_dtype_unchecked(EMBEDDING.into(), vec![lists.boxed()], &dtype) }.into_column()
}

/// The polars type of a file's column that holds vectors of half precision.
pub(crate) fn data_type(field: &Field) -> Option<pl::DataType> {
    let is_half = |inner: &Field| inner.dtype == ArrowDataType::Float16;
    match &field.dtype {
        ArrowDataType::FixedSizeList(inner, dim) if is_half(inner) => {
            Some(pl::DataType::Array(Box::new(pl::DataType::Float16), *dim))
        }
        ArrowDataType::List(inner) | ArrowDataType::LargeList(inner) if is_half(inner) => {
            Some(pl::DataType::List(Box::new(pl::DataType::Float16)))
        }
        _ => None,
    }
}

/// The type as which a column is read: half precision as single.
pub(crate) fn as_read(dtype: &pl::DataType) -> pl::DataType {
    let single = || Box::new(pl::DataType::Float32);
    match dtype {
        pl::DataType::Array(inner, dim) if **inner == pl::DataType::Float16 => pl::DataType::Array(single(), *dim),
        pl::DataType::List(inner) if **inner == pl::DataType::Float16 => pl::DataType::List(single()),
        other => other.clone(),
    }
}

/// Reads rows of a column for which [`data_type`] has a type, in single precision.
///
/// # Errors
/// If its pages are damaged.
pub(crate) fn read(
    file: &mut File,
    metadata: &FileMetadata,
    field: &Field,
    first: usize,
    num_rows: usize,
) -> pl::PolarsResult<pl::Column> {
    let mut chunks: Vec<Box<dyn Array>> = vec![];
    let (mut start, end) = (0, first.saturating_add(num_rows));
    for group in &metadata.row_groups {
        let rows = group.num_rows();
        let wanted = start.max(first)..(start + rows).min(end);
        if !wanted.is_empty() {
            let (mut pages, mut types) = (vec![], vec![]);
            for column in group.columns_under_root_iter(&field.name).into_iter().flatten() {
                let range = column.byte_range();
                let mut bytes = vec![0; (range.end - range.start) as usize];
                file.seek(SeekFrom::Start(range.start))?;
                file.read_exact(&mut bytes)?;
                let reader = PageReader::new(Cursor::new(Buffer::from(bytes)), column, vec![], usize::MAX);
                pages.push(BasicDecompressor::new(reader, vec![]));
                types.push(&column.descriptor().descriptor.primitive_type);
            }
            let (arrays, _) = column_iter_to_arrays(pages, types, field.clone(), None)?;
            let mut at = start;
            for array in arrays {
                let (from, to) = (wanted.start.max(at), wanted.end.min(at + array.len()));
                if from < to {
                    chunks.push(single(array.sliced(from - at, to - from)));
                }
                at += array.len();
            }
        }
        start += rows;
    }
    if chunks.is_empty() {
        let dtype = data_type(field).as_ref().map_or(pl::DataType::Null, as_read);
        return Ok(pl::Column::new_empty(field.name.clone(), &dtype));
    }
    Ok(pl::Series::try_from((field.name.clone(), chunks))?.into_column())
}

/// Converts lists of half precision to lists of single precision.
fn single(array: Box<dyn Array>) -> Box<dyn Array> {
    let widened = |values: &dyn Array| {
        let halves = values.as_any().downcast_ref::<PrimitiveArray<pf16>>().expect("values of half precision");
        let singles: Vec<f32> = halves.values().iter().map(|value| value.0.to_f32()).collect();
        PrimitiveArray::new(ArrowDataType::Float32, singles.into(), halves.validity().cloned()).boxed()
    };
    if let Some(lists) = array.as_any().downcast_ref::<FixedSizeListArray>() {
        let dtype = FixedSizeListArray::default_datatype(ArrowDataType::Float32, lists.size());
        let values = widened(lists.values().as_ref());
        return FixedSizeListArray::new(dtype, lists.len(), values, lists.validity().cloned()).boxed();
    }
    let lists = array.as_any().downcast_ref::<ListArray<i64>>().expect("lists");
    let dtype = ListArray::<i64>::default_datatype(ArrowDataType::Float32);
    ListArray::new(dtype, lists.offsets().clone(), widened(lists.values().as_ref()), lists.validity().cloned()).boxed()
}
