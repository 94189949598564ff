use std::{
    io,
    path::{Path, PathBuf},
};

use invar_dataset::{DatasetError, Fault, FaultClass, neighborhood::OutOfRange};
use thiserror::Error;

/// What can go wrong with a graph.
#[derive(Debug, Error)]
pub enum Error {
    /// The operating system reported an error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A table that cannot be used.
    #[error("{}: {place}: expected {expected}, found {found}", path.display())]
    Table {
        /// The table.
        path: PathBuf,
        /// The line (1-based) and the column.
        place: String,
        /// What is required.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The output already exists, made with other settings.
    #[error("{}: {reason}", path.display())]
    OutputExists {
        /// The dataset directory.
        path: PathBuf,
        /// How it differs.
        reason: String,
    },
    /// A setting is out of range.
    #[error("{what}: expected {expected}, found {found}")]
    Config {
        /// The setting.
        what: String,
        /// What is allowed.
        expected: String,
        /// What was given.
        found: String,
    },
    /// The user asked to stop.
    #[error("{}: interrupted", path.display())]
    Interrupted {
        /// The dataset directory.
        path: PathBuf,
    },
    /// The dataset directory could not be read or written.
    #[error(transparent)]
    Dataset(DatasetError),
}

impl Error {
    /// Wraps an I/O error with the path it happened on.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn table(path: &Path, place: String, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Table { path: path.into(), place, expected: expected.into(), found: found.into() }
    }

    pub(crate) fn config(what: &str, expected: &str, found: impl ToString) -> Self {
        Self::Config { what: what.into(), expected: expected.into(), found: found.to_string() }
    }

    /// Says which table of the recipe a setting is in.
    pub(crate) fn out_of_range(table: &'static str) -> impl Fn(OutOfRange) -> Self {
        move |OutOfRange { key, expected, found }| Self::config(&format!("{table}.{key}"), expected, found)
    }

    /// The kind of the error: the name of the variant.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Io { .. } => "Io",
            Self::Table { .. } => "Table",
            Self::OutputExists { .. } => "OutputExists",
            Self::Config { .. } => "Config",
            Self::Interrupted { .. } => "Interrupted",
            Self::Dataset(_) => "Dataset",
        }
    }
}

impl Fault for Error {
    fn class(&self) -> FaultClass {
        match self {
            Self::Table { .. } => FaultClass::BadInput,
            Self::Io { source, .. } => source.class(),
            Self::Dataset(error) => error.class(),
            Self::OutputExists { .. } | Self::Config { .. } => FaultClass::Usage,
            Self::Interrupted { .. } => FaultClass::Interrupted,
        }
    }
}

impl From<DatasetError> for Error {
    fn from(error: DatasetError) -> Self {
        match error {
            DatasetError::Io { path, source } => Self::Io { path, source },
            DatasetError::Exists { path, reason } => Self::OutputExists { path, reason },
            error => Self::Dataset(error),
        }
    }
}
