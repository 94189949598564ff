//! Tables: out of files and into them, by Arrow's C stream interface in capsules
//! (<https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>).

use std::{path::PathBuf, ptr::NonNull, sync::Mutex};

use invar_dataset::ColumnData;
use invar_embeddings::{ArrowArrayStream, EmbeddingsError, Provenance, Table};
use pyo3::{
    IntoPyObjectExt,
    prelude::*,
    types::{PyAny, PyCapsule},
};

use crate::{
    arrays::{Array, Vectors},
    errors,
    watch::watched,
};

/// The name that the interface gives its capsules.
const STREAM: &std::ffi::CStr = c"arrow_array_stream";

/// Rows of a file, to be taken once by whoever asks for `__arrow_c_stream__`.
#[pyclass(frozen, module = "invar._invar")]
pub struct Stream {
    stream: Mutex<Option<ArrowArrayStream>>,
}

#[pymethods]
impl Stream {
    /// A capsule of an `ArrowArrayStream`. Types are not negotiated, as the interface allows.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let stream = self.stream.lock().map_err(errors::of_machine)?.take();
        let stream = stream.ok_or_else(|| errors::exception(py, "Usage", "the stream was taken before"))?;
        // When nobody took the stream out of the capsule, dropping it releases it.
        PyCapsule::new_with_value(py, stream, STREAM)
    }
}

/// The rows of the EMB, or any Parquet file, at `path`, which `kept` keeps there.
#[pyfunction]
pub fn stream(py: Python<'_>, path: PathBuf, kept: Py<PyAny>) -> PyResult<Stream> {
    let stream = watched(py, None, |_, _| invar_embeddings::stream(&path, kept))?;
    let stream = stream.map_err(|error| errors::of_fault(py, &error))?;
    Ok(Stream { stream: Mutex::new(Some(stream)) })
}

/// Writes the rows of a capsule to `path`, as Parquet; they are said to be of the model of the EMB at `like`, if given.
#[pyfunction]
#[pyo3(signature = (capsule, path, like=None))]
pub fn write_stream(
    py: Python<'_>,
    capsule: &Bound<'_, PyCapsule>,
    path: PathBuf,
    like: Option<PathBuf>,
) -> PyResult<()> {
    let pointer: NonNull<ArrowArrayStream> = capsule.pointer_checked(Some(STREAM))?.cast();
    // SAFETY: a capsule of this name holds such a stream. What is left there is empty and has no release: the stream
    // moves, as the interface asks of a consumer.
    let stream = unsafe { std::mem::replace(&mut *pointer.as_ptr(), ArrowArrayStream::empty()) };
    written(py, path, like, move || {
        // SAFETY: the producer says that it keeps to the interface. It may need the interpreter's lock, and takes it.
        unsafe { Table::from_stream(stream) }
    })
}

/// The same for vectors.
#[pyfunction]
#[pyo3(signature = (vectors, path, like=None))]
pub fn write_vectors(py: Python<'_>, vectors: &Vectors, path: PathBuf, like: Option<PathBuf>) -> PyResult<()> {
    let held = vectors.rows.clone();
    written(py, path, like, move || Table::of_vectors(held.values.clone(), held.dim))
}

fn written(
    py: Python<'_>,
    path: PathBuf,
    like: Option<PathBuf>,
    table: impl FnOnce() -> Result<Table, EmbeddingsError> + Send,
) -> PyResult<()> {
    let write = move || -> Result<(), EmbeddingsError> {
        let of = like.map(|like| invar_embeddings::info(&like)).transpose()?.and_then(|info| info.provenance);
        // The dimension is that of the rows, if there are any.
        let provenance = of.unwrap_or_else(|| Provenance::new(env!("CARGO_PKG_VERSION"), 1));
        table()?.write_parquet(&path, &provenance).map(|_| ())
    };
    watched(py, None, |_, _| write())?.map_err(|error| errors::of_fault(py, &error))
}

/// A column of the EMB, or any Parquet file, at `path`: an [`Array`] of numbers, or a list where it has text, truth
/// values or nulls.
#[pyfunction]
pub fn column(py: Python<'_>, path: PathBuf, name: &str) -> PyResult<Py<PyAny>> {
    let column = watched(py, None, |_, _| invar_embeddings::column(&path, name))?;
    match column.map_err(|error| errors::of_fault(py, &error))?.data {
        ColumnData::Str(values) => values.into_py_any(py),
        ColumnData::Bool(values) => values.into_py_any(py),
        ColumnData::U8(values) => {
            numbers(py, values, |values: Vec<u8>| Array::of_i64(values.into_iter().map(i64::from).collect()))
        }
        ColumnData::U32(values) => numbers(py, values, |values: Vec<u32>| {
            let len = values.len();
            Array::of_u32(values, vec![len])
        }),
        ColumnData::I64(values) => numbers(py, values, Array::of_i64),
        ColumnData::F32(values) => numbers(py, values, |values: Vec<f32>| {
            let len = values.len();
            Array::of_f32(values, vec![len])
        }),
        ColumnData::F64(values) => numbers(py, values, Array::of_f64),
    }
}

fn numbers<'py, T>(py: Python<'py>, values: Vec<Option<T>>, array: impl Fn(Vec<T>) -> Array) -> PyResult<Py<PyAny>>
where
    T: Copy + IntoPyObject<'py>,
{
    match values.iter().copied().collect::<Option<Vec<T>>>() {
        Some(whole) => array(whole).into_py_any(py),
        None => values.into_py_any(py),
    }
}

/// What the EMB, or any Parquet file, at `path` is: JSON with `num_rows`, `dim`, `columns`, `provenance`.
#[pyfunction]
pub fn info(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    let info = invar_embeddings::info(&path).map_err(|error| errors::of_fault(py, &error))?;
    serde_json::to_string(&info).map_err(errors::of_machine)
}
