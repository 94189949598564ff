//! Tables in memory that other programs read and make: Arrow's C stream interface
//! (<https://arrow.apache.org/docs/format/CStreamInterface.html>).

use std::path::{Path, PathBuf};

use polars::prelude as pl;
pub use polars_arrow::ffi::ArrowArrayStream;
use polars_arrow::{
    array::{Array, DictionaryArray, DictionaryKey, PrimitiveArray, StructArray, Utf8Array, Utf8ViewArray},
    datatypes::{ArrowDataType, ArrowSchema, Field, IntegerType},
    ffi::{self, ArrowArrayStreamReader},
    types::NativeType,
};

use crate::{EmbeddingsError, Precision, Table, frame, layout::Whole, parquet};

/// Stands for the path in an error about a table that has none.
const NO_FILE: &str = "a table in memory";

/// All rows of the EMB (or any Parquet file) at `path`, a row group at a time, each read when it is asked for. Text is
/// `large_utf8`, embeddings are lists of fixed size, of single precision. `kept` is dropped when the stream is released: what
/// keeps the file there.
///
/// # Errors
/// If it is incomplete or damaged. What is found when rows are read is the stream's error.
pub fn stream(path: &Path, kept: impl Send + 'static) -> Result<ArrowArrayStream, EmbeddingsError> {
    let whole = Whole::open(path)?;
    let columns = whole.parts[0].columns.iter();
    let schema: pl::Schema = columns.map(|(name, dtype)| pl::Field::new(name.as_str().into(), dtype.clone())).collect();
    let schema = frame::arrow_schema(&schema, ArrowDataType::LargeUtf8);
    let dtype = ArrowDataType::Struct(schema.iter_values().cloned().collect());
    let groups = |(path, num_rows): (PathBuf, usize)| {
        (0..num_rows).step_by(parquet::ROW_GROUP).map(move |first| (path.clone(), first))
    };
    let parts: Vec<(PathBuf, usize)> = whole.parts.iter().map(|part| (part.path.clone(), part.num_rows)).collect();
    let arrays = parts.into_iter().flat_map(groups).flat_map(move |(path, first)| {
        let _ = &kept;
        let arrays = parquet::read_rows(&path, None, first, parquet::ROW_GROUP);
        let arrays = arrays.map(|frame| batches(frame, &schema));
        arrays.unwrap_or_else(|error| vec![Err(pl::PolarsError::ComputeError(error.to_string().into()))])
    });
    Ok(ffi::export_iterator(Box::new(arrays), Field::new("".into(), dtype, false)))
}

/// A column in a type that tables have, if it is in one of those that mean the same: small integers, texts by number.
fn plain(array: &dyn Array) -> Box<dyn Array> {
    let other = match array.dtype() {
        ArrowDataType::UInt8 => wide::<u8>(array),
        ArrowDataType::UInt16 => wide::<u16>(array),
        ArrowDataType::Dictionary(key, _, _) => match key {
            IntegerType::Int8 => texts::<i8>(array),
            IntegerType::Int16 => texts::<i16>(array),
            IntegerType::Int32 => texts::<i32>(array),
            IntegerType::Int64 => texts::<i64>(array),
            IntegerType::UInt8 => texts::<u8>(array),
            IntegerType::UInt16 => texts::<u16>(array),
            IntegerType::UInt32 => texts::<u32>(array),
            _ => None,
        },
        _ => None,
    };
    other.unwrap_or_else(|| array.to_boxed())
}

fn wide<T: NativeType + Into<u32>>(array: &dyn Array) -> Option<Box<dyn Array>> {
    let array = array.as_any().downcast_ref::<PrimitiveArray<T>>()?;
    Some(PrimitiveArray::<u32>::from_iter(array.iter().map(|value| value.map(|&value| value.into()))).boxed())
}

/// The texts that the numbers of a dictionary stand for.
fn texts<K: DictionaryKey>(array: &dyn Array) -> Option<Box<dyn Array>> {
    let array = array.as_any().downcast_ref::<DictionaryArray<K>>()?;
    let values = array.values().as_any();
    let values: Vec<Option<&str>> = if let Some(values) = values.downcast_ref::<Utf8Array<i32>>() {
        values.iter().collect()
    } else if let Some(values) = values.downcast_ref::<Utf8Array<i64>>() {
        values.iter().collect()
    } else {
        values.downcast_ref::<Utf8ViewArray>()?.iter().collect()
    };
    let text = |key: Option<usize>| values.get(key?).copied().flatten();
    Some(Utf8Array::<i64>::from_iter(array.keys_iter().map(text)).boxed())
}

/// The rows of a frame as arrays of structs.
fn batches(mut frame: pl::DataFrame, schema: &ArrowSchema) -> Vec<pl::PolarsResult<Box<dyn Array>>> {
    let dtype = ArrowDataType::Struct(schema.iter_values().cloned().collect());
    let chunks = frame.align_chunks_par().iter_chunks(pl::CompatLevel::oldest(), true);
    let array = |batch: polars_arrow::record_batch::RecordBatchT<Box<dyn Array>>| {
        let rows = batch.len();
        let array = StructArray::try_new(dtype.clone(), rows, batch.into_arrays(), None)?;
        Ok(Box::new(array) as Box<dyn Array>)
    };
    chunks.map(array).collect()
}

impl Table {
    /// The rows of a stream of another program.
    ///
    /// # Errors
    /// If it does not hold columns, or one of them is of a type that tables cannot have, or the other program fails.
    ///
    /// # Safety
    /// The stream must keep to Arrow's C stream interface.
    pub unsafe fn from_stream(stream: ArrowArrayStream) -> Result<Self, EmbeddingsError> {
        let failed = EmbeddingsError::parquet(NO_FILE);
        let read = || {
            // SAFETY: the caller says that the stream keeps to the interface.
            let mut reader = unsafe { ArrowArrayStreamReader::try_new(Box::new(stream))? };
            let field = reader.field().clone();
            let mut arrays = vec![];
            // SAFETY: as above.
            while let Some(array) = unsafe { reader.next() } {
                arrays.push(array?);
            }
            Ok((field, arrays))
        };
        let (field, arrays) = parquet::unpanicked(read).map_err(failed)?;
        let ArrowDataType::Struct(fields) = field.dtype() else {
            return Err(misfit("type", "columns", &format!("{:?}", field.dtype())));
        };
        let arrays: Vec<&StructArray> =
            arrays.iter().filter_map(|array| array.as_any().downcast_ref::<StructArray>()).collect();
        let num_rows = arrays.iter().map(|array| array.len()).sum();
        let mut columns = Vec::with_capacity(fields.len());
        for (at, field) in fields.iter().enumerate() {
            let chunks: Vec<Box<dyn Array>> = arrays.iter().map(|array| plain(array.values()[at].as_ref())).collect();
            let series = parquet::unpanicked(|| match chunks.first() {
                None => Ok(pl::Series::new_empty(field.name.clone(), &pl::DataType::from_arrow_field(field))),
                Some(first) => {
                    let field = Field::new(field.name.clone(), first.dtype().clone(), field.is_nullable);
                    pl::Series::try_from((&field, chunks))
                }
            });
            let what = format!("type of column {:?}", field.name.as_str());
            let expected = "text, boolean, integer or float, or lists of numbers";
            columns.push(series.map_err(|_| misfit(&what, expected, &format!("{:?}", field.dtype())))?.into());
        }
        let frame = pl::DataFrame::new(num_rows, columns).map_err(EmbeddingsError::parquet(NO_FILE))?;
        Ok(Self::of_frame(frame))
    }

    /// A table of nothing but vectors `[n, dim]`, in the column [`crate::EMBEDDING`].
    ///
    /// # Errors
    /// If the values are not a whole number of vectors.
    pub fn of_vectors(values: Vec<f32>, dim: usize) -> Result<Self, EmbeddingsError> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(misfit("number of values", &format!("a multiple of {dim}"), &values.len().to_string()));
        }
        let frame = frame::with_embedding(&[], values, dim, Precision::Single);
        Ok(Self::of_frame(frame.map_err(EmbeddingsError::parquet(NO_FILE))?))
    }
}

fn misfit(what: &str, expected: &str, found: &str) -> EmbeddingsError {
    let (path, what) = (NO_FILE.into(), what.into());
    EmbeddingsError::Corrupt { path, what, expected: expected.into(), found: found.into() }
}

#[cfg(test)]
mod tests {
    use invar_dataset::{Column, ColumnData};

    use super::*;
    use crate::{EmbeddingWriter, Provenance, Query};

    /// Rows with nulls, in a directory of two parts of two row groups.
    fn emb(dir: &Path) -> PathBuf {
        let path = dir.join("emb");
        let rows = parquet::ROW_GROUP + 7;
        let column = |name: &str, data| Column { name: name.into(), data };
        let columns = [
            column("id", ColumnData::Str((0..rows).map(|row| Some(format!("r{row}"))).collect())),
            column("gc", ColumnData::F32((0..rows).map(|row| (row % 3 != 0).then_some(row as f32)).collect())),
            column("mate", ColumnData::U8((0..rows).map(|row| Some((row % 2) as u8)).collect())),
            column("is_reverse", ColumnData::Bool((0..rows).map(|row| Some(row % 5 == 0)).collect())),
        ];
        let values: Vec<f32> = (0..2 * rows).map(|value| value as f32).collect();
        let mut writer = EmbeddingWriter::create(&path, Provenance::new("0.1.0", 2)).unwrap();
        writer.write(&columns, &values).unwrap();
        writer.finish(&Default::default()).unwrap();
        path
    }

    #[test]
    fn what_a_stream_gives_is_what_sql_gives() {
        let dir = tempfile::tempdir().unwrap();
        let path = emb(dir.path());
        // SAFETY: it was exported by the same library.
        let table = unsafe { Table::from_stream(stream(&path, ()).unwrap()) }.unwrap();
        let expected = Query::new(&path).unwrap().run("SELECT * FROM emb").unwrap();
        assert_eq!(table.num_rows(), parquet::ROW_GROUP + 7);
        assert_eq!(table.column_names(), expected.column_names());
        assert!(table.to_ndjson() == expected.to_ndjson());
    }

    #[test]
    fn a_part_that_is_damaged_after_the_stream_was_opened_is_its_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = emb(dir.path());
        let open = stream(&path, ()).unwrap();
        std::fs::write(path.join("part-00000.parquet"), "nothing").unwrap();
        // SAFETY: as above.
        let error = unsafe { Table::from_stream(open) }.unwrap_err().to_string();
        assert!(error.contains("part-00000.parquet"), "{error}");
    }

    #[test]
    fn vectors_alone_are_a_table() {
        let table = Table::of_vectors(vec![1.0, 2.0, 3.0, 4.0], 2).unwrap();
        assert_eq!(table.to_ndjson(), "{\"embedding\":[1.0,2.0]}\n{\"embedding\":[3.0,4.0]}\n");
        let error = Table::of_vectors(vec![1.0; 3], 2).unwrap_err().to_string();
        assert_eq!(error, "a table in memory: number of values: expected a multiple of 2, found 3");
    }
}
