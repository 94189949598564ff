use std::{fmt, io, path::PathBuf};

use invar_dataset::{DatasetError, Fault, FaultClass, sheet::SheetError};
use thiserror::Error;

/// The location of a problem in an input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The input as named by the user.
    pub path: PathBuf,
    /// Page of the file, 1-based.
    pub page: Option<u32>,
    /// `(row, column)` of a pixel, 0-based.
    pub pixel: Option<(u32, u32)>,
    /// Offset in bytes into the stored file, 0-based.
    pub offset: Option<u64>,
}

impl Place {
    /// A whole file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// A page of a file, 1-based.
    pub fn page(path: impl Into<PathBuf>, page: u32) -> Self {
        Self { path: path.into(), page: Some(page), ..Self::default() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(page) = self.page {
            write!(f, ", page {page}")?;
        }
        if let Some((row, column)) = self.pixel {
            write!(f, ", pixel at row {row}, column {column}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, ", byte {offset}")?;
        }
        Ok(())
    }
}

/// What can go wrong when micrographs are ingested.
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
    /// The first bytes do not match any supported image format.
    #[error("{}: expected TIFF, PNG, JPEG, MRC, DM3 or DM4, found {found}", path.display())]
    NotAnImage {
        /// The input.
        path: PathBuf,
        /// What it looks like.
        found: String,
    },
    /// The file ends unexpectedly.
    #[error("{place}: the file is cut off: expected {expected}, found {found}")]
    Truncated {
        /// Where.
        place: Box<Place>,
        /// What was expected next.
        expected: String,
        /// What was there.
        found: String,
    },
    /// The file is inconsistent or violates its format.
    #[error("{place}: {what}: expected {expected}, found {found}")]
    Corrupt {
        /// Where.
        place: Box<Place>,
        /// What was read.
        what: String,
        /// The allowed values.
        expected: String,
        /// The actual value.
        found: String,
    },
    /// A valid file uses an unsupported feature of its format.
    #[error("{place}: {feature} is not supported{}", and(.remedy))]
    Unsupported {
        /// Where.
        place: Box<Place>,
        /// The feature, as named in its specification.
        feature: String,
        /// What the user can do; empty if nothing.
        remedy: String,
    },
    /// Pixels that are not finite.
    #[error("{place}: expected finite pixel values, found {found} ({count} of {total} pixels are not finite)")]
    NotFinite {
        /// The first of them.
        place: Box<Place>,
        /// Its value.
        found: f64,
        /// How many there are.
        count: u64,
        /// Total number of pixels.
        total: u64,
    },
    /// A label mask that does not fit its image.
    #[error("{}: a mask of {mask}, but the image {image} is {size} pixels", path.display())]
    MaskSize {
        /// The mask.
        path: PathBuf,
        /// Its size.
        mask: String,
        /// The image.
        image: String,
        /// The image's size.
        size: String,
    },
    /// A row of the sample sheet, or a mask, that cannot be used.
    #[error("{}: {what}: expected {expected}, found {found}", path.display())]
    Sheet {
        /// The sample sheet, or the place where masks were looked for.
        path: PathBuf,
        /// The row or image.
        what: String,
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
    #[error("{}: interrupted; the same command continues from here", path.display())]
    Interrupted {
        /// The dataset directory.
        path: PathBuf,
    },
    /// The dataset directory could not be read or written.
    #[error(transparent)]
    Dataset(DatasetError),
}

fn and(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("; {text}") }
}

impl Error {
    /// Wraps an I/O error with the path it happened on.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// The kind of the error: the name of the variant.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Io { .. } => "Io",
            Self::NotAnImage { .. } => "NotAnImage",
            Self::Truncated { .. } => "Truncated",
            Self::Corrupt { .. } => "Corrupt",
            Self::Unsupported { .. } => "Unsupported",
            Self::NotFinite { .. } => "NotFinite",
            Self::MaskSize { .. } => "MaskSize",
            Self::Sheet { .. } => "Sheet",
            Self::OutputExists { .. } => "OutputExists",
            Self::Config { .. } => "Config",
            Self::Interrupted { .. } => "Interrupted",
            Self::Dataset(_) => "Dataset",
        }
    }

    /// Whether the data are at fault: the command line then exits with 3.
    pub fn is_bad_input(&self) -> bool {
        self.class() == FaultClass::BadInput
    }
}

impl Fault for Error {
    fn class(&self) -> FaultClass {
        match self {
            Self::NotAnImage { .. }
            | Self::Truncated { .. }
            | Self::Corrupt { .. }
            | Self::Unsupported { .. }
            | Self::NotFinite { .. }
            | Self::MaskSize { .. }
            | Self::Sheet { .. } => FaultClass::BadInput,
            Self::Io { source, .. } => source.class(),
            Self::Dataset(error) => error.class(),
            Self::OutputExists { .. } | Self::Config { .. } => FaultClass::Usage,
            Self::Interrupted { .. } => FaultClass::Interrupted,
        }
    }
}

impl From<SheetError> for Error {
    fn from(error: SheetError) -> Self {
        DatasetError::from(error).into()
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
