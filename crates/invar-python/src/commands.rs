//! Commands of the command line, in the caller's process.

use std::{ffi::OsString, path::PathBuf};

use invar_dataset::object;
use pyo3::{prelude::*, types::PyAny};

use crate::{errors, watch::watched};

/// Runs `invar ARGUMENTS` and returns its summary, as `--json` prints it; `on_event` is called with each event, as JSON.
#[pyfunction]
#[pyo3(signature = (arguments, on_event=None))]
pub fn call(py: Python<'_>, arguments: Vec<OsString>, on_event: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
    let done = watched(py, on_event, |listener, stop| invar_cli::call(command_line(arguments), listener, stop))?;
    match done {
        Ok(summary) => Ok(summary.json.to_string()),
        Err(failure) => Err(errors::of_class(py, failure.class, &failure.text)),
    }
}

/// A copy in `directory` of what a URL names: of all objects below it, if it ends with a slash.
#[pyfunction]
pub fn copied(py: Python<'_>, url: PathBuf, directory: PathBuf) -> PyResult<PathBuf> {
    let done = watched(py, None, |_, _| invar_cli::copied(&url, &directory))?;
    done.map_err(|failure| errors::of_class(py, failure.class, &failure.text))
}

/// Whether this is the URL of an object, not a path.
#[pyfunction]
pub fn is_url(path: PathBuf) -> bool {
    object::is_url(&path)
}

/// Whether `invar ARGUMENTS` is a command of the program `invar-learn`.
#[pyfunction]
pub fn is_for_learn(arguments: Vec<OsString>) -> bool {
    invar_cli::is_for_learn(command_line(arguments))
}

/// The program `invar` itself, which prints and handles signals; returns its exit code.
#[pyfunction]
pub fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| invar_cli::execute(command_line(arguments), invar_cli::commands::run, &[]))
}

/// The colour `#rrggbb` of a cluster in all pictures; -1, noise, is grey.
#[pyfunction]
pub fn colour(cluster: i32) -> String {
    let [red, green, blue] = invar_cli::palette::colour(cluster);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn command_line(arguments: Vec<OsString>) -> impl Iterator<Item = OsString> {
    std::iter::once("invar".into()).chain(arguments)
}
