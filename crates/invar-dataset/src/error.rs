use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{Fault, FaultClass, sheet::SheetError};

/// What can go wrong with a stored dataset, or when drawing from it.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// The operating system reported an error.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A stored file does not match its own description.
    #[error("{path}: {what}: expected {expected}, found {found}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was checked ("checksum", "number of rows").
        what: String,
        /// The value in the manifest or the header.
        expected: String,
        /// The actual value.
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
    /// A dataset directory was given twice.
    #[error("{path}: given twice, the first time as {first}: every sample would be there twice")]
    GivenTwice {
        /// The directory, as given the second time.
        path: PathBuf,
        /// As given the first time.
        first: PathBuf,
    },
    /// Two dataset directories that are opened together were made from one file.
    #[error(
        "input {input:?} of {directory} is the same file as input {other_input:?} of {other_directory}: its samples would \
         be included twice; open one of the two"
    )]
    SameInput {
        /// The directory given later.
        directory: PathBuf,
        /// The file, as given by the user.
        input: String,
        /// The directory given first.
        other_directory: PathBuf,
        /// The file there.
        other_input: String,
    },
    /// Two different inputs share keys, by chance.
    #[error(
        "input {input:?} of {directory} and input {other_input:?} of {other_directory} differ, but by chance some of their \
         samples have the same keys: they cannot be opened together"
    )]
    KeysOverlap {
        /// The first directory.
        directory: PathBuf,
        /// Its input.
        input: String,
        /// The other directory.
        other_directory: PathBuf,
        /// Its input.
        other_input: String,
    },
    /// A sample sheet is invalid.
    #[error(transparent)]
    Sheet(#[from] SheetError),
    /// Too few samples for the operation.
    #[error("{what} needs at least {needed} samples, the dataset has {found}")]
    TooFew {
        /// The operation.
        what: String,
        /// Samples it needs.
        needed: usize,
        /// Samples available.
        found: usize,
    },
    /// More samples than can be numbered.
    #[error("{what} takes at most {most} samples, the dataset has {found}")]
    TooMany {
        /// The operation.
        what: String,
        /// Maximum number of samples.
        most: usize,
        /// Actual number of samples.
        found: usize,
    },
    /// An operation needs more memory than there is.
    #[error(
        "{what} takes about {} MB of memory, this machine has {} MB; {remedy}",
        needed.div_ceil(1_000_000), available.div_ceil(1_000_000)
    )]
    TooLarge {
        /// The operation.
        what: String,
        /// Bytes it needs.
        needed: usize,
        /// Bytes available.
        available: usize,
        /// What the user can do.
        remedy: String,
    },
    /// An error of a domain about a sample.
    #[error("sample {id:?}: {reason}")]
    Sample {
        /// The sample's name.
        id: String,
        /// What is wrong with it, with both values.
        reason: String,
    },
}

impl DatasetError {
    /// Wraps an I/O error with the path it happened on.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// A stored file that does not match its own description, or that of the manifest.
    pub fn corrupt(
        path: impl Into<PathBuf>,
        what: impl Into<String>,
        expected: impl ToString,
        found: impl ToString,
    ) -> Self {
        Self::Corrupt { path: path.into(), what: what.into(), expected: expected.to_string(), found: found.to_string() }
    }

    /// Wraps an I/O error on a file that a dataset lists: if it is missing, that is damage, not a mistyped path.
    pub fn stored(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Self::corrupt(path, "file of the dataset", "it to be there", "none"),
            _ => Self::Io { path, source },
        }
    }

    /// Whether the request is at fault: the command line then exits with 2.
    pub fn is_usage(&self) -> bool {
        self.class() == FaultClass::Usage
    }

    /// Whether the data are at fault, rather than the machine or the command: the command line then exits with 3.
    pub fn is_bad_input(&self) -> bool {
        self.class() == FaultClass::BadInput
    }
}

impl Fault for DatasetError {
    fn class(&self) -> FaultClass {
        match self {
            Self::Io { source, .. } => source.class(),
            Self::Exists { .. } | Self::GivenTwice { .. } => FaultClass::Usage,
            Self::TooLarge { .. } => FaultClass::Failed,
            Self::Corrupt { .. }
            | Self::SameInput { .. }
            | Self::KeysOverlap { .. }
            | Self::Sheet(_)
            | Self::TooFew { .. }
            | Self::TooMany { .. }
            | Self::Sample { .. } => FaultClass::BadInput,
        }
    }
}
