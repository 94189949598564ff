//! Neighbours and places in the plane, of vectors in memory.

use invar_cli::{ui::Bar, with_threads};
use invar_cluster::{
    ClusterError, ProjectionConfig, Rows, UmapConfig,
    neighbors::{Metric, nearest, of_all},
};
use invar_dataset::Progress;
use pyo3::{prelude::*, types::PyAny};

use crate::{
    arrays::{Array, Vectors},
    errors,
    watch::watched,
};

/// The `k` nearest other rows of every row by cosine: row numbers `[n, k]`, cosines `[n, k]`, and the fraction of the
/// true neighbours that were found.
#[pyfunction]
#[pyo3(signature = (vectors, k, exact=false, threads=None, on_event=None))]
pub fn neighbors(
    py: Python<'_>,
    vectors: &Vectors,
    k: usize,
    exact: bool,
    threads: Option<usize>,
    on_event: Option<&Bound<'_, PyAny>>,
) -> PyResult<(Array, Array, f64)> {
    let found = worked(py, vectors, "neighbors", threads, on_event, |rows, progress| {
        if exact {
            let all: Vec<usize> = (0..rows.len()).collect();
            return nearest(rows, &all, k, Metric::Cosine);
        }
        of_all(rows, k, Metric::Cosine, progress)
    })?;
    let shape = vec![vectors.num_rows(), found.k];
    Ok((Array::of_u32(found.indices, shape.clone()), Array::of_f32(found.values, shape), found.recall))
}

/// The place of every row in the plane, `[n, 2]`.
#[pyfunction]
#[pyo3(signature = (vectors, method, seed=0, neighbors=None, epochs=None, threads=None, on_event=None))]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub fn project(
    py: Python<'_>,
    vectors: &Vectors,
    method: &str,
    seed: u64,
    neighbors: Option<usize>,
    epochs: Option<usize>,
    threads: Option<usize>,
    on_event: Option<&Bound<'_, PyAny>>,
) -> PyResult<Array> {
    let defaults = UmapConfig::default();
    let config = match method {
        "umap" => {
            let neighbors = neighbors.unwrap_or(defaults.neighbors);
            ProjectionConfig::Umap(UmapConfig { neighbors, epochs, seed })
        }
        "pca" => ProjectionConfig::Pca {},
        other => {
            let text = format!("method: expected 'umap' or 'pca', found {other:?}");
            return Err(errors::exception(py, "Usage", &text));
        }
    };
    let places = worked(py, vectors, "project", threads, on_event, |rows, progress| {
        let (x, y) = config.project(rows, None, progress)?;
        Ok(x.into_iter().zip(y).flat_map(|(x, y)| [x, y]).collect::<Vec<f32>>())
    })?;
    let shape = vec![places.len() / 2, 2];
    Ok(Array::of_f32(places, shape))
}

/// Runs `work` on the rows, watched.
fn worked<T: Send>(
    py: Python<'_>,
    vectors: &Vectors,
    stage: &str,
    threads: Option<usize>,
    on_event: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(Rows<'_>, &dyn Progress) -> Result<T, ClusterError> + Send,
) -> PyResult<T> {
    let held = vectors.rows.clone();
    let done = watched(py, on_event, |listener, stop| {
        let bar = Bar::of_caller(stage, listener, stop);
        with_threads(threads, || work(Rows::new(&held.values, held.dim)?, &bar))
    })?;
    done.map_err(errors::of_machine)?.map_err(|error| errors::of_fault(py, &error))
}
