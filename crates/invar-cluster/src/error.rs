use invar_dataset::{DatasetError, Fault, FaultClass};
use thiserror::Error;

/// What can be wrong with the values, or with what is asked of them.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// The number of values is no multiple of the dimension.
    #[error("{len} values are no whole number of rows of dimension {dim}")]
    Shape {
        /// Number of values.
        len: usize,
        /// Dimension of a row.
        dim: usize,
    },
    /// Two lists that must run in parallel do not.
    #[error("{what}: expected {expected}, found {found}")]
    Length {
        /// The list.
        what: &'static str,
        /// Its length by the other list.
        expected: usize,
        /// Its length.
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
    /// There are more rows than can be numbered.
    #[error("{rows} rows are more than can be numbered: {} is the most", u32::MAX)]
    Unnumbered {
        /// Rows there are.
        rows: usize,
    },
    /// There are more rows than the method can do.
    #[error("{method} of {rows} rows is too slow: its cost grows with their square, {max_rows} is the most; {hint}")]
    TooManyRows {
        /// The method.
        method: &'static str,
        /// Rows there are.
        rows: usize,
        /// Most rows it takes.
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
    /// The Leiden library refused.
    #[error("leiden: {0}")]
    Leiden(#[from] leiden_rs::LeidenError),
    /// It does not fit into memory.
    #[error(transparent)]
    Memory(#[from] DatasetError),
    /// The user asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl ClusterError {
    /// Whether the data is to blame, rather than the parameters: the command line then exits with 3.
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
