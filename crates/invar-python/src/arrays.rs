//! Arrays that numpy takes without a copy, and vectors from files and from numpy.

use std::{path::PathBuf, sync::Arc};

use invar_embeddings::Embeddings;
use pyo3::{prelude::*, types::PyDict};

use crate::{errors, watch::watched};

/// The values of an array.
enum Values {
    F32(Vec<f32>),
    U32(Vec<u32>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

/// An array that numpy takes by its array interface: `numpy.asarray(array)`, without a copy and not to be written to.
#[pyclass(frozen, module = "invar._invar")]
pub struct Array {
    values: Values,
    shape: Vec<usize>,
}

impl Array {
    /// Of single precision.
    pub fn of_f32(values: Vec<f32>, shape: Vec<usize>) -> Self {
        Self { values: Values::F32(values), shape }
    }

    /// Of row numbers.
    pub fn of_u32(values: Vec<u32>, shape: Vec<usize>) -> Self {
        Self { values: Values::U32(values), shape }
    }

    /// Of integers, in one dimension.
    pub fn of_i64(values: Vec<i64>) -> Self {
        Self { shape: vec![values.len()], values: Values::I64(values) }
    }

    /// Of double precision, in one dimension.
    pub fn of_f64(values: Vec<f64>) -> Self {
        Self { shape: vec![values.len()], values: Values::F64(values) }
    }
}

#[pymethods]
impl Array {
    /// As described in numpy's manual, version 3.
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match &self.values {
            Values::F32(values) => interface(py, values, "f4", &self.shape),
            Values::U32(values) => interface(py, values, "u4", &self.shape),
            Values::I64(values) => interface(py, values, "i8", &self.shape),
            Values::F64(values) => interface(py, values, "f8", &self.shape),
        }
    }
}

/// The description of an array that must not be written to: other threads may be reading it.
fn interface<'py, T>(py: Python<'py>, values: &[T], kind: &str, shape: &[usize]) -> PyResult<Bound<'py, PyDict>> {
    let order = if cfg!(target_endian = "big") { '>' } else { '<' };
    let described = PyDict::new(py);
    described.set_item("version", 3)?;
    described.set_item("typestr", format!("{order}{kind}"))?;
    described.set_item("shape", pyo3::types::PyTuple::new(py, shape)?)?;
    described.set_item("data", (values.as_ptr().addr(), true))?;
    Ok(described)
}

/// Vectors `[n, dim]` in memory, with the names of their rows if they come from a file. numpy takes them as it takes an
/// [`Array`].
#[pyclass(frozen, module = "invar._invar")]
pub struct Vectors {
    /// Shared with work that goes on without the interpreter's lock.
    pub rows: Arc<Held>,
}

/// What [`Vectors`] hold.
pub struct Held {
    /// `[n, dim]`.
    pub values: Vec<f32>,
    pub dim: usize,
    ids: Option<Vec<String>>,
    keys: Option<Vec<i64>>,
    dropped: Vec<usize>,
}

impl Vectors {
    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.rows.values.len() / self.rows.dim.max(1)
    }
}

#[pymethods]
impl Vectors {
    /// Those of the EMB, or the column `column` of any Parquet file, at `path`.
    #[staticmethod]
    #[pyo3(signature = (path, column=None, drop_bad_rows=false))]
    fn read(py: Python<'_>, path: PathBuf, column: Option<String>, drop_bad_rows: bool) -> PyResult<Self> {
        let vectors = invar_embeddings::Vectors { column, drop_bad_rows };
        let read = watched(py, None, |_, _| Embeddings::read_as(&path, &vectors))?;
        let Embeddings { ids, keys, dim, values, dropped, .. } = read.map_err(|error| errors::of_fault(py, &error))?;
        Ok(Self { rows: Arc::new(Held { values, dim, ids: Some(ids), keys, dropped }) })
    }

    /// A copy of a numpy array of single precision and two dimensions, row after row in memory.
    #[staticmethod]
    fn of_array(array: &Bound<'_, PyAny>) -> PyResult<Self> {
        let described = array.getattr("__array_interface__")?.cast_into::<PyDict>()?;
        let field = |name: &str| -> PyResult<Bound<'_, PyAny>> {
            let missing = || errors::of_machine(format!("the array interface has no {name}"));
            described.get_item(name)?.ok_or_else(missing)
        };
        let (kind, shape): (String, Vec<usize>) = (field("typestr")?.extract()?, field("shape")?.extract()?);
        let strides = described.get_item("strides")?;
        let is_whole = strides.is_none_or(|strides| strides.is_none());
        let &[num_rows, dim] = shape.as_slice() else { return Err(errors::of_machine("not of two dimensions")) };
        let native = if cfg!(target_endian = "big") { ">f4" } else { "<f4" };
        if kind != native || !is_whole {
            return Err(errors::of_machine(format!("expected {native}, row after row, found {kind}")));
        }
        let (address, _): (usize, bool) = field("data")?.extract()?;
        if !address.is_multiple_of(align_of::<f32>()) {
            return Err(errors::of_machine("expected values at multiples of their size in memory"));
        }
        let len = num_rows.checked_mul(dim).ok_or_else(|| errors::of_machine("more values than memory"))?;
        let mut values = Vec::with_capacity(len);
        if len > 0 {
            // SAFETY: the array is alive and its owner says that so many values of this type lie there, one after the
            // other; they are aligned; nobody writes to them, because this thread holds the interpreter's lock.
            values.extend_from_slice(unsafe { std::slice::from_raw_parts(address as *const f32, len) });
        }
        Ok(Self { rows: Arc::new(Held { values, dim, ids: None, keys: None, dropped: vec![] }) })
    }

    /// Number of dimensions.
    #[getter]
    fn dim(&self) -> usize {
        self.rows.dim
    }

    /// Name of each row, if it has one.
    #[getter]
    fn ids(&self) -> Option<&[String]> {
        self.rows.ids.as_deref()
    }

    /// Key of each row, if it has one.
    #[getter]
    fn keys(&self) -> Option<Array> {
        self.rows.keys.clone().map(Array::of_i64)
    }

    /// Rows of the file that were left out because they hold no vector.
    #[getter]
    fn dropped(&self) -> &[usize] {
        &self.rows.dropped
    }

    fn __len__(&self) -> usize {
        self.num_rows()
    }

    /// As [`Array`].
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        interface(py, &self.rows.values, "f4", &[self.num_rows(), self.rows.dim])
    }
}
