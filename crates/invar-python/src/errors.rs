//! Errors as the exceptions of `invar._errors`.

use invar_dataset::{Fault, FaultClass};
use pyo3::{
    exceptions::{PyKeyboardInterrupt, PyRuntimeError},
    prelude::*,
};

/// An exception of one of the module's classes.
pub fn exception(py: Python<'_>, class: &str, text: &str) -> PyErr {
    let made = py.import("invar._errors").and_then(|errors| errors.getattr(class)?.call1((text,)));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// The exception of a class of errors.
pub fn of_class(py: Python<'_>, class: FaultClass, text: &str) -> PyErr {
    match class {
        FaultClass::Failed => exception(py, "Failed", text),
        FaultClass::Usage => exception(py, "Usage", text),
        FaultClass::BadInput => exception(py, "BadInput", text),
        FaultClass::Interrupted => PyKeyboardInterrupt::new_err(text.to_owned()),
    }
}

/// The exception of an error of a library.
pub fn of_fault(py: Python<'_>, error: &impl Fault) -> PyErr {
    of_class(py, error.class(), &error.to_string())
}

/// The machine refused something that needs no class of its own.
pub fn of_machine(error: impl ToString) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}
