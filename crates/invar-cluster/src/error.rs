use invar_dataset::{DatasetError, Fault, FaultClass};
use thiserror::Error;

/// What can be wrong with the values or the request.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// The number of values is not a multiple of the dimension.
    #[error("{len} values are not a whole number of rows of dimension {dim}")]
    Shape {
        /// Number of values.
        len: usize,
        /// Dimension of a row.
        dim: usize,
    },
    /// Two lists that must correspond differ in length.
    #[error("{what}: expected {expected}, found {found}")]
    Length {
        /// The list.
        what: &'static str,
        /// The length of the other list.
        expected: usize,
        /// Its own length.
        found: usize,
    },
    /// A value is NaN or infinite.
    #[error("row {row}, dimension {dimension}: {value} is not a finite number")]
    NonFinite {
        /// Row, 0-based.
        row: usize,
        /// Dimension, 0-based.
        dimension: usize,
        /// The value.
        value: f32,
    },
    /// More rows than can be numbered.
    #[error("{rows} rows are more than can be numbered: {} is the most", u32::MAX)]
    Unnumbered {
        /// Number of rows.
        rows: usize,
    },
    /// More rows than the method can handle.
    #[error("{method} of {rows} rows is too slow: its cost grows with their square (at most {max_rows}); {hint}")]
    TooManyRows {
        /// The method.
        method: &'static str,
        /// Number of rows.
        rows: usize,
        /// Maximum number of rows.
        max_rows: usize,
        /// What to do instead.
        hint: &'static str,
    },
    /// A parameter is out of its range.
    #[error("{parameter} = {value}: must be {must}")]
    Parameter {
        /// Name of the parameter, as in a recipe.
        parameter: &'static str,
        /// The value given.
        value: String,
        /// What it must be.
        must: &'static str,
    },
    /// The Leiden library failed.
    #[error("leiden: {0}")]
    Leiden(#[from] leiden_rs::LeidenError),
    /// There is not enough memory.
    #[error(transparent)]
    Memory(#[from] DatasetError),
    /// The user asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl ClusterError {
    /// Whether the data are at fault, rather than the parameters: the command line then exits with 3.
    pub fn is_bad_input(&self) -> bool {
        self.class() == FaultClass::BadInput
    }
}

impl Fault for ClusterError {
    fn class(&self) -> FaultClass {
        match self {
            Self::Shape { .. } | Self::Length { .. } | Self::NonFinite { .. } | Self::Unnumbered { .. } => {
                FaultClass::BadInput
            }
            Self::TooManyRows { .. } | Self::Parameter { .. } => FaultClass::Usage,
            Self::Leiden(_) => FaultClass::Failed,
            Self::Memory(error) => error.class(),
            Self::Cancelled => FaultClass::Interrupted,
        }
    }
}
