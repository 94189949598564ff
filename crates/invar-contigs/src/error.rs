use std::{fmt, io, path::PathBuf};

use invar_dataset::{DatasetError, Fault, FaultClass};
use thiserror::Error;

/// Names that an error lists.
const LISTED: usize = 5;

/// The location of a problem in an input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The input as named by the user.
    pub path: PathBuf,
    /// Line of a text, 1-based.
    pub line: Option<u64>,
    /// Number of an alignment record, 1-based.
    pub record: Option<u64>,
    /// The name of the contig, segment, sample or read concerned.
    pub name: Option<String>,
}

impl Place {
    /// A whole file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// A line, 1-based.
    pub fn line(path: impl Into<PathBuf>, line: u64) -> Self {
        Self { line: Some(line), ..Self::file(path) }
    }

    /// The same place, with the name of what it is about.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(record) = self.record {
            write!(f, ", record {record}")?;
        }
        match &self.name {
            Some(name) => write!(f, ": {name:?}"),
            None => Ok(()),
        }
    }
}

/// What can go wrong when contigs are ingested.
#[derive(Debug, Error)]
pub enum Error {
    /// The operating system reported an error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The output, or a stored dataset.
    #[error(transparent)]
    Dataset(DatasetError),
    /// A value of an input is not what it must be.
    #[error("{place}: {what}: expected {expected}, found {found}")]
    Bad {
        /// Where.
        place: Box<Place>,
        /// What was checked.
        what: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Two inputs do not name the same contigs.
    #[error("{}: {} of its {of} {what} {} not in {}: {}; {remedy}", path.display(), .names.len(),
        if .names.len() == 1 { "is" } else { "are" }, other.display(), listed(.names))]
    Unmatched {
        /// The file that has them.
        path: PathBuf,
        /// The file that lacks them.
        other: PathBuf,
        /// What they are, in the plural.
        what: &'static str,
        /// Their names.
        names: Vec<String>,
        /// How many the file has in all.
        of: usize,
        /// What can be done.
        remedy: &'static str,
    },
    /// The user asked to stop.
    #[error("{}: stopped; what is finished is kept", path.display())]
    Interrupted {
        /// The output.
        path: PathBuf,
    },
}

/// The first of some names, as text.
pub(crate) fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(LISTED).map(|name| format!("{name:?}")).collect();
    let more = names.len().saturating_sub(LISTED);
    shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

impl Error {
    /// Wraps an I/O error with the path it happened on.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Wraps an error of reading: bytes that a decoder refuses are the file's fault, all else is the machine's.
    pub(crate) fn reading(place: Place) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                Self::bad(place, "contents", "whole and intact", source)
            }
            _ => Self::Io { path: place.path, source },
        }
    }

    pub(crate) fn bad(place: Place, what: impl Into<String>, expected: impl ToString, found: impl ToString) -> Self {
        let (expected, found) = (expected.to_string(), found.to_string());
        Self::Bad { place: place.into(), what: what.into(), expected, found }
    }

    /// Whether the data are at fault, rather than the machine or the command.
    pub fn is_bad_input(&self) -> bool {
        self.class() == FaultClass::BadInput
    }
}

impl Fault for Error {
    fn class(&self) -> FaultClass {
        match self {
            Self::Io { source, .. } => source.class(),
            Self::Dataset(error) => error.class(),
            Self::Bad { .. } | Self::Unmatched { .. } => FaultClass::BadInput,
            Self::Interrupted { .. } => FaultClass::Interrupted,
        }
    }
}

impl From<DatasetError> for Error {
    fn from(error: DatasetError) -> Self {
        match error {
            DatasetError::Io { path, source } => Self::Io { path, source },
            error => Self::Dataset(error),
        }
    }
}
