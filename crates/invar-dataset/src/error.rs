use std::{io, path::PathBuf};

use thiserror::Error;

/// What can be wrong with a stored dataset, or with drawing from it.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A stored file does not hold what it says it holds.
    #[error("{path}: {what}: expected {expected}, found {found}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was checked ("checksum", "number of rows").
        what: String,
        /// The value written in the manifest or the header.
        expected: String,
        /// The value met.
        found: String,
    },
    /// An output holds something that may not be replaced, or only on request.
    #[error("{path}: {reason}")]
    Exists {
        /// The output.
        path: PathBuf,
        /// What is there, and what can be done.
        reason: String,
    },
    /// There are too few samples for what was asked.
    #[error("{what} needs at least {needed} samples, the dataset has {found}")]
    TooFew {
        /// The operation.
        what: String,
        /// Samples it needs.
        needed: usize,
        /// Samples there are.
        found: usize,
    },
    /// There are more samples than can be numbered.
    #[error("{what} takes at most {most} samples, the dataset has {found}")]
    TooMany {
        /// The operation.
        what: String,
        /// Samples it takes.
        most: usize,
        /// Samples there are.
        found: usize,
    },
    /// A domain's own complaint about a sample.
    #[error("sample {id:?}: {reason}")]
    Sample {
        /// The sample's name.
        id: String,
        /// What is wrong with it, both values named.
        reason: String,
    },
}

impl DatasetError {
    /// Wraps an I/O error with the path it happened on.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Whether the data is to blame, rather than the machine: the command line then exits with 3.
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::Exists { .. })
    }
}
