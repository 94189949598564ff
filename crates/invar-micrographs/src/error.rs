use std::{fmt, io, path::PathBuf};

use invar_dataset::{DatasetError, Fault, FaultClass, sheet::SheetError};
use thiserror::Error;

/// Where in an input something is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The input as the user named it.
    pub path: PathBuf,
    /// Page of the file, 1-based.
    pub page: Option<u32>,
    /// `(row, column)` of a pixel, 0-based.
    pub pixel: Option<(u32, u32)>,
    /// Offset in bytes into the stored file, 0-based.
    pub offset: Option<u64>,
}

impl Place {
    /// The whole of a file.
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

/// What went wrong while micrographs were taken in.
#[derive(Debug, Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The first bytes are of no image format that is read.
    #[error("{}: expected TIFF, PNG, JPEG, MRC, DM3 or DM4, found {found}", path.display())]
    NotAnImage {
        /// The input.
        path: PathBuf,
        /// What it looks like.
        found: String,
    },
    /// The file ends in the middle of something.
    #[error("{place}: the file is cut off: expected {expected}, found {found}")]
    Truncated {
        /// Where.
        place: Box<Place>,
        /// What should have come.
        expected: String,
        /// What was there.
        found: String,
    },
    /// The file contradicts itself or its format.
    #[error("{place}: {what}: expected {expected}, found {found}")]
    Corrupt {
        /// Where.
        place: Box<Place>,
        /// What was read.
        what: String,
        /// What may stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A well-formed file uses a feature of its format that is not read.
    #[error("{place}: {feature} is not supported{}", and(.remedy))]
    Unsupported {
        /// Where.
        place: Box<Place>,
        /// The feature, as its specification calls it.
        feature: String,
        /// What a user can do; empty where there is nothing.
        remedy: String,
    },
    /// Pixels that are no number.
    #[error("{place}: expected finite pixel values, found {found} ({count} of {total} pixels are not finite)")]
    NotFinite {
        /// The first of them.
        place: Box<Place>,
        /// Its value.
        found: f64,
        /// How many there are.
        count: u64,
        /// Of how many.
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
        /// The sample sheet, or where masks were looked for.
        path: PathBuf,
        /// Which row or image.
        what: String,
        /// What is needed.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The output is there already, made otherwise.
    #[error("{}: {reason}", path.display())]
    OutputExists {
        /// The dataset directory.
        path: PathBuf,
        /// In what it differs.
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
    #[error("{}: interrupted; the same command goes on from here", path.display())]
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

    /// The kind of the error, by the name of the variant.
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

    /// Whether the data is to blame: the command line then exits with 3.
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
