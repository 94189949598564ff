use std::{
    io,
    path::{Path, PathBuf},
};

use invar_dataset::{Fault, FaultClass};
use invar_embeddings::EmbeddingsError;
use thiserror::Error;

/// What can go wrong in federated training, besides the training itself.
#[derive(Debug, Error)]
pub enum Error {
    /// The operating system reported an error.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A setting is out of range.
    #[error("federation.{key} must be {expected}, got {found}")]
    Config {
        /// The setting.
        key: &'static str,
        /// What it must be.
        expected: String,
        /// Its value.
        found: String,
    },
    /// The content of a file is not as it should be.
    #[error("{path}: {what}: expected {expected}, found {found}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was checked.
        what: String,
        /// The expected value.
        expected: String,
        /// The actual value.
        found: String,
    },
    /// An update cannot be merged.
    #[error("{path}: update of site {site}: {reason}")]
    Refused {
        /// The update.
        path: PathBuf,
        /// Its site.
        site: String,
        /// Why, with both values.
        reason: String,
    },
    /// There is nothing to merge.
    #[error("no update is left to merge: {refused} refused")]
    NothingLeft {
        /// Number of updates that were refused.
        refused: usize,
    },
    /// A bank cannot be read or written.
    #[error(transparent)]
    Bank(#[from] EmbeddingsError),
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
}

impl Error {
    /// Wraps the system's error about `path`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// A file is not as it should be.
    pub(crate) fn corrupt(path: &Path, what: &str, expected: impl ToString, found: impl ToString) -> Self {
        let (expected, found) = (expected.to_string(), found.to_string());
        Self::Corrupt { path: path.into(), what: what.into(), expected, found }
    }
}

impl Fault for Error {
    fn class(&self) -> FaultClass {
        match self {
            Self::Io { source, .. } => source.class(),
            Self::Config { .. } => FaultClass::Usage,
            Self::Corrupt { .. } | Self::Refused { .. } | Self::NothingLeft { .. } => FaultClass::BadInput,
            Self::Bank(error) => error.class(),
            Self::Random(_) => FaultClass::Failed,
        }
    }
}
