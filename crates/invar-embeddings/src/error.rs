use std::{io, ops::Range, path::PathBuf};

use invar_dataset::{Fault, FaultClass};
use polars::prelude::PolarsError;
use thiserror::Error;

/// What can go wrong with a file of embeddings or clusters, or with a request for it.
#[derive(Debug, Error)]
pub enum EmbeddingsError {
    /// The operating system reported an error.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file does not begin and end like a Parquet file.
    #[error("{path}: not a whole Parquet file: {reason}")]
    NotParquet {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The Parquet library rejected the file.
    #[error("{path}: {source}")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Its message.
        source: PolarsError,
    },
    /// The Parquet library could not write a file, though the system accepted every byte.
    #[error("{path}: could not be written: {source}")]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// Its message.
        source: PolarsError,
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
    /// A directory of parts that was never finished.
    #[error("{path}: incomplete: {num_parts} parts, no end marker (run the same command again to finish it)")]
    Incomplete {
        /// The directory.
        path: PathBuf,
        /// Number of finished parts in it.
        num_parts: usize,
    },
    /// A directory of shards, some of which are unfinished.
    #[error("{path}: incomplete: {} of {count} shards are whole, not {} (`invar embed --shard` of each finishes it)",
        .count - .missing.len(), numbers(.missing))]
    MissingShards {
        /// The directory.
        path: PathBuf,
        /// Number of shards.
        count: usize,
        /// The missing ones, 1-based.
        missing: Vec<usize>,
    },
    /// The existing files are divided in another way.
    #[error("{path}: holds {found}, expected {expected}: remove it, or choose another directory")]
    OtherDivision {
        /// The directory.
        path: PathBuf,
        /// The division to be written.
        expected: String,
        /// The existing division, with one of its files.
        found: String,
    },
    /// The output already exists.
    #[error("{path}: exists already (--force replaces it)")]
    Exists {
        /// The file or directory.
        path: PathBuf,
    },
    /// The directory contains something other than parts of embeddings.
    #[error("{path}: holds {found}, which is not a part of embeddings: choose a separate directory")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// The first of the other files.
        found: String,
    },
    /// The existing parts were made with other settings.
    #[error("{path}: cannot be continued: {field} was {found}, is now {expected}")]
    OtherProvenance {
        /// The file or directory.
        path: PathBuf,
        /// The first field that differs.
        field: String,
        /// Its value in this run.
        expected: String,
        /// Its value in the file.
        found: String,
    },
    /// The rows given to a writer do not fit.
    #[error("{what}: expected {expected}, found {found}")]
    Rows {
        /// What does not fit.
        what: String,
        /// The expected value.
        expected: String,
        /// The actual value.
        found: String,
    },
    /// The SQL is wrong, or refers to something that does not exist.
    #[error("{reason}{}", shown(.sql, .word.as_ref()))]
    Sql {
        /// What is wrong.
        reason: String,
        /// The query.
        sql: String,
        /// The byte range of the offending word, if known.
        word: Option<Range<usize>>,
    },
}

impl EmbeddingsError {
    /// Wraps an I/O error with the path it happened on.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Wraps an error of the Parquet library with the file it happened on.
    pub(crate) fn parquet(path: impl Into<PathBuf>) -> impl FnOnce(PolarsError) -> Self {
        let path = path.into();
        move |source| Self::Parquet { path, source }
    }

    /// Whether the data are at fault, rather than the machine or the command: the command line then exits with 3.
    pub fn is_bad_input(&self) -> bool {
        self.class() == FaultClass::BadInput
    }
}

impl Fault for EmbeddingsError {
    fn class(&self) -> FaultClass {
        match self {
            Self::Io { source, .. } => source.class(),
            // An error code of the system: the read itself failed, whatever the bytes are.
            Self::Parquet { source: PolarsError::IO { error, .. }, .. } if error.raw_os_error().is_some() => {
                error.class()
            }
            Self::NotParquet { .. }
            | Self::Parquet { .. }
            | Self::Corrupt { .. }
            | Self::Incomplete { .. }
            | Self::MissingShards { .. } => FaultClass::BadInput,
            Self::Exists { .. }
            | Self::Foreign { .. }
            | Self::OtherDivision { .. }
            | Self::OtherProvenance { .. }
            | Self::Sql { .. } => FaultClass::Usage,
            Self::NotWritten { .. } | Self::Rows { .. } => FaultClass::Failed,
        }
    }
}

/// Maximum number of numbers listed.
const LISTED: usize = 12;

/// `3, 7 and 12`, or the first of many.
fn numbers(all: &[usize]) -> String {
    let words: Vec<String> = all.iter().take(LISTED).map(usize::to_string).collect();
    match (words.as_slice(), all.len() - words.len()) {
        ([rest @ .., last], 0) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        (words, 0) => words.join(", "),
        (words, more) => format!("{} and {more} more", words.join(", ")),
    }
}

/// Characters of a query line shown around the offending word.
const SHOWN: usize = 100;

/// The query, with a mark under the offending word; for a long query, only its surroundings.
fn shown(sql: &str, word: Option<&Range<usize>>) -> String {
    let Some(word) = word.filter(|word| sql.get((*word).clone()).is_some()) else {
        return format!(" (in the query: {sql})");
    };
    let line_start = sql[..word.start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = sql[word.start..].find('\n').map_or(sql.len(), |at| word.start + at);
    let line: Vec<char> = sql[line_start..line_end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let at = sql[line_start..word.start].chars().count();
    let width = sql[word.start..word.end.min(line_end)].chars().count().max(1);
    let from = if line.len() <= SHOWN { 0 } else { at.saturating_sub(SHOWN / 2).min(line.len() - SHOWN) };
    let part: String = line.iter().skip(from).take(SHOWN.max(at + width - from)).collect();
    format!("\n  {}\n  {}{}", part.trim_end(), " ".repeat(at - from), "^".repeat(width))
}
