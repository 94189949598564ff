//! The compiled part of the Python module `invar`: commands of the command line, run in the caller's process, and what
//! takes and gives arrays and tables in memory. The functions that people call are in `python/invar/`.

mod analysis;
mod arrays;
mod commands;
mod errors;
mod tables;
mod watch;

use pyo3::pymodule;

#[pymodule]
mod _invar {
    #[pymodule_export]
    use crate::{
        analysis::{neighbors, project},
        arrays::{Array, Vectors},
        commands::{call, colour, copied, is_for_learn, is_url, main},
        tables::{Stream, column, info, stream, write_stream, write_vectors},
    };
}
