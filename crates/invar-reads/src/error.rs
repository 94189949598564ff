use std::{fmt, io, path::PathBuf};

use invar_dataset::{DatasetError, Fault, FaultClass};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The location of a problem in an input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The input as named by the user; `-` for standard input.
    pub path: PathBuf,
    /// Record number, 1-based.
    pub record: Option<u64>,
    /// The record's name, as far as it could be read.
    pub name: Option<String>,
    /// Line number of a text format, 1-based.
    pub line: Option<u64>,
    /// Offset in bytes, 0-based, into the decompressed stream (BAM) or the stored file (BGZF blocks).
    pub offset: Option<u64>,
}

impl Place {
    /// A whole file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        let mut separator = ": ";
        if let Some(record) = self.record {
            write!(f, "{separator}record {record}")?;
            if let Some(name) = &self.name {
                write!(f, " {name:?}")?;
            }
            separator = ", ";
        }
        if let Some(line) = self.line {
            write!(f, "{separator}line {line}")?;
            separator = ", ";
        }
        if let Some(offset) = self.offset {
            write!(f, "{separator}byte {offset}")?;
        }
        Ok(())
    }
}

/// What is wrong with two records that should be first and second mate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MateProblem {
    /// Two first mates.
    BothFirst,
    /// Two second mates.
    BothSecond,
    /// A second mate, then a first one.
    Swapped,
}

impl fmt::Display for MateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BothFirst => "are both first mates (R1): was one file given twice?",
            Self::BothSecond => "are both second mates (R2): was one file given twice?",
            Self::Swapped => "are the second and the first mate: give R1 before R2",
        })
    }
}

/// The name of the encoding, if it is not the usual one.
fn of(encoding: &str, lowest: char) -> String {
    if lowest == '!' { String::new() } else { format!(" (as {encoding}; --quality-encoding chooses another)") }
}

fn by_order(is_first: bool) -> &'static str {
    if is_first { " (--mates-by-order takes records in the same place for mates, whatever their names)" } else { "" }
}

/// What can go wrong when reads are ingested.
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
    /// The first bytes do not match any format for reads.
    #[error("{}: expected FASTQ, FASTA, BAM or CRAM, found {found}", path.display())]
    NotAReadFile {
        /// The input.
        path: PathBuf,
        /// What it looks like, and how to repair it if possible.
        found: String,
    },
    /// The input contains no records.
    #[error("{}: expected at least one read, found {found}", path.display())]
    Empty {
        /// The input.
        path: PathBuf,
        /// "an empty file", or "a BAM header without records".
        found: String,
    },
    /// The input ends unexpectedly.
    #[error("{place}: the file is cut off: expected {expected}, found {found}")]
    Truncated {
        /// Where it ends.
        place: Box<Place>,
        /// What was expected next.
        expected: String,
        /// What was left.
        found: String,
    },
    /// A FASTQ record has more or fewer quality values than bases.
    #[error("{place}: {sequence} bases but {quality} quality values")]
    LengthMismatch {
        /// The record.
        place: Box<Place>,
        /// Number of bases.
        sequence: usize,
        /// Number of quality values.
        quality: usize,
    },
    /// A line does not begin with the character required by its format.
    #[error("{place}: expected a line that begins with {expected:?}, found {found:?}")]
    BadMarker {
        /// The line.
        place: Box<Place>,
        /// `@`, `+` or `>`.
        expected: char,
        /// The beginning of the line.
        found: String,
    },
    /// A byte of a sequence is not in the nucleotide alphabet.
    #[error("{place}: expected a nucleotide (IUPAC letter) at base {position}, found {found:?}")]
    BadBase {
        /// The record.
        place: Box<Place>,
        /// Position in the sequence, 1-based.
        position: usize,
        /// The character.
        found: char,
    },
    /// A byte of a quality string is not a quality in the encoding of the file.
    #[error("{place}: expected a quality from {lowest:?} to '~' at base {position}, found {found:?}{}", of(encoding, *lowest))]
    BadQuality {
        /// The record.
        place: Box<Place>,
        /// Position in the quality string, 1-based.
        position: usize,
        /// The character of the lowest quality.
        lowest: char,
        /// The encoding, given or recognised from the first records.
        encoding: &'static str,
        /// The character.
        found: char,
    },
    /// Two records that should be mates have different names.
    #[error("{place}: its mate in {} is named {mate:?}{}", mate_path.display(), by_order(*is_first))]
    MateMismatch {
        /// The first mate.
        place: Box<Place>,
        /// The file of the second.
        mate_path: PathBuf,
        /// The name of the second.
        mate: String,
        /// Whether they are the first pair, so that the naming is at fault rather than the order.
        is_first: bool,
    },
    /// Two records of one fragment are marked as something other than first and second mate.
    #[error("{place}: {head:?} and its mate {mate_head:?} in {} {problem}", mate_path.display())]
    MateMark {
        /// The first mate.
        place: Box<Place>,
        /// Its full head line.
        head: String,
        /// The file of the second.
        mate_path: PathBuf,
        /// The full head line of the second.
        mate_head: String,
        /// What is wrong.
        problem: MateProblem,
    },
    /// The files of first and second mates are the same, byte for byte.
    #[error("{}: expected other reads than in {}, found the same bytes", mate_path.display(), path.display())]
    EqualMateFiles {
        /// The file of the first mates.
        path: PathBuf,
        /// The file of the second.
        mate_path: PathBuf,
    },
    /// Two mate files, or the two halves of an interleaved one, differ in their number of records.
    #[error("{}: {count} first mates, but {mate_count} second mates in {}", path.display(), mate_path.display())]
    MateCountMismatch {
        /// The first file.
        path: PathBuf,
        /// Its first mates (at least this many, if the other file ended first).
        count: u64,
        /// The second file.
        mate_path: PathBuf,
        /// Its second mates (likewise).
        mate_count: u64,
    },
    /// A CRAM file needs a reference sequence that was not given.
    #[error("{place}: needs reference sequence {reference:?}, found {found}")]
    MissingReference {
        /// The CRAM file.
        place: Box<Place>,
        /// Name of the sequence in the CRAM header.
        reference: String,
        /// "no --reference", or the FASTA that lacks it.
        found: String,
    },
    /// Stored bytes that are invalid.
    #[error("{place}: {what}: expected {expected}, found {found}")]
    Corrupt {
        /// Where.
        place: Box<Place>,
        /// What was read.
        what: String,
        /// The expected value.
        expected: String,
        /// The actual value.
        found: String,
    },
    /// A record that is too large to hold in memory.
    #[error("{place}: expected a record of at most {limit_bytes} bytes, found more than that")]
    TooLong {
        /// The record.
        place: Box<Place>,
        /// The limit.
        limit_bytes: u64,
    },
    /// The output directory holds something else.
    #[error("{}: {reason}", path.display())]
    OutputExists {
        /// The directory.
        path: PathBuf,
        /// What is there, and what can be done.
        reason: String,
    },
    /// The parameters are inconsistent or do not fit the inputs.
    #[error("{what}: expected {expected}, found {found}")]
    Config {
        /// The parameter.
        what: String,
        /// What is allowed.
        expected: String,
        /// What was given.
        found: String,
    },
    /// The user asked to stop. Finished shards stay, and the next run resumes from them.
    #[error("{}: interrupted; run the same command again to continue", path.display())]
    Interrupted {
        /// The output directory.
        path: PathBuf,
    },
    /// The manifest or a stored shard.
    #[error(transparent)]
    Dataset(DatasetError),
}

/// The kinds of [`enum@Error`], by name, for tests and scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// [`Error::Io`].
    Io,
    /// [`Error::NotAReadFile`].
    NotAReadFile,
    /// [`Error::Empty`].
    Empty,
    /// [`Error::Truncated`].
    Truncated,
    /// [`Error::LengthMismatch`].
    LengthMismatch,
    /// [`Error::BadMarker`].
    BadMarker,
    /// [`Error::BadBase`].
    BadBase,
    /// [`Error::BadQuality`].
    BadQuality,
    /// [`Error::MateMismatch`].
    MateMismatch,
    /// [`Error::MateMark`].
    MateMark,
    /// [`Error::EqualMateFiles`].
    EqualMateFiles,
    /// [`Error::MateCountMismatch`].
    MateCountMismatch,
    /// [`Error::MissingReference`].
    MissingReference,
    /// [`Error::Corrupt`].
    Corrupt,
    /// [`Error::TooLong`].
    TooLong,
    /// [`Error::OutputExists`].
    OutputExists,
    /// [`Error::Config`].
    Config,
    /// [`Error::Interrupted`].
    Interrupted,
    /// [`Error::Dataset`].
    Dataset,
}

impl ErrorKind {
    /// The kebab-case name (`length-mismatch`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::NotAReadFile => "not-a-read-file",
            Self::Empty => "empty",
            Self::Truncated => "truncated",
            Self::LengthMismatch => "length-mismatch",
            Self::BadMarker => "bad-marker",
            Self::BadBase => "bad-base",
            Self::BadQuality => "bad-quality",
            Self::MateMismatch => "mate-mismatch",
            Self::MateMark => "mate-mark",
            Self::EqualMateFiles => "equal-mate-files",
            Self::MateCountMismatch => "mate-count-mismatch",
            Self::MissingReference => "missing-reference",
            Self::Corrupt => "corrupt",
            Self::TooLong => "too-long",
            Self::OutputExists => "output-exists",
            Self::Config => "config",
            Self::Interrupted => "interrupted",
            Self::Dataset => "dataset",
        }
    }
}

impl Error {
    /// Which kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } => ErrorKind::Io,
            Self::NotAReadFile { .. } => ErrorKind::NotAReadFile,
            Self::Empty { .. } => ErrorKind::Empty,
            Self::Truncated { .. } => ErrorKind::Truncated,
            Self::LengthMismatch { .. } => ErrorKind::LengthMismatch,
            Self::BadMarker { .. } => ErrorKind::BadMarker,
            Self::BadBase { .. } => ErrorKind::BadBase,
            Self::BadQuality { .. } => ErrorKind::BadQuality,
            Self::MateMismatch { .. } => ErrorKind::MateMismatch,
            Self::MateMark { .. } => ErrorKind::MateMark,
            Self::EqualMateFiles { .. } => ErrorKind::EqualMateFiles,
            Self::MateCountMismatch { .. } => ErrorKind::MateCountMismatch,
            Self::MissingReference { .. } => ErrorKind::MissingReference,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::TooLong { .. } => ErrorKind::TooLong,
            Self::OutputExists { .. } => ErrorKind::OutputExists,
            Self::Config { .. } => ErrorKind::Config,
            Self::Interrupted { .. } => ErrorKind::Interrupted,
            Self::Dataset(_) => ErrorKind::Dataset,
        }
    }

    /// Whether the input is at fault, rather than the machine or the caller: the command line then exits with 3.
    pub fn is_bad_input(&self) -> bool {
        self.class() == FaultClass::BadInput
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn corrupt(
        place: impl Into<Box<Place>>,
        what: impl Into<String>,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self::Corrupt {
            place: place.into(),
            what: what.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

impl Fault for Error {
    fn class(&self) -> FaultClass {
        match self {
            Self::Io { source, .. } => source.class(),
            Self::Dataset(error) => error.class(),
            Self::OutputExists { .. } | Self::Config { .. } => FaultClass::Usage,
            Self::Interrupted { .. } => FaultClass::Interrupted,
            _ => FaultClass::BadInput,
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
