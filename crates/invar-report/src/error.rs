use std::io;

use invar_dataset::{Fault, FaultClass};
use thiserror::Error;

/// Why a report was not written.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The file could not be written.
    #[error("writing the report")]
    Io(#[from] io::Error),
    /// A column does not have one value per sample.
    #[error("column {column:?}: expected {expected} values, found {found}")]
    Rows {
        /// Its name.
        column: String,
        /// Number of samples in the report.
        expected: usize,
        /// Number of values in the column.
        found: usize,
    },
    /// A sample has no place in the plane.
    #[error("row {row}: expected a place in the plane, found ({x}, {y})")]
    NotFinite {
        /// The sample.
        row: usize,
        /// First coordinate.
        x: f32,
        /// Second coordinate.
        y: f32,
    },
    /// More samples than a browser can be expected to show.
    #[error("expected at most {most} samples, found {found}")]
    TooMany {
        /// [`MAX_POINTS`](crate::MAX_POINTS).
        most: usize,
        /// Number of samples.
        found: usize,
    },
}

impl Fault for ReportError {
    fn class(&self) -> FaultClass {
        match self {
            Self::Io(_) => FaultClass::Failed,
            Self::Rows { .. } | Self::NotFinite { .. } | Self::TooMany { .. } => FaultClass::BadInput,
        }
    }
}
