use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{DatasetError, GroupFigures};

/// One column of metadata of samples, ready to become a Parquet column. `None` is null: unknown values are never
/// guessed.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Column name, with its unit as suffix (`length_bp`).
    pub name: String,
    /// Values, one per sample.
    pub data: ColumnData,
}

/// The values of a [`Column`].
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnData {
    /// UTF-8 text.
    Str(Vec<Option<String>>),
    /// True or false.
    Bool(Vec<Option<bool>>),
    /// Small unsigned integers.
    U8(Vec<Option<u8>>),
    /// Unsigned integers.
    U32(Vec<Option<u32>>),
    /// Signed 64-bit integers.
    I64(Vec<Option<i64>>),
    /// Single precision.
    F32(Vec<Option<f32>>),
    /// Double precision.
    F64(Vec<Option<f64>>),
}

impl ColumnData {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Str(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::U8(v) => v.len(),
            Self::U32(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The metadata that a domain has for its samples, besides their embedding.
pub trait SampleTable: Send + Sync {
    /// The columns of samples `range`: `id`, `source` and `key` first, then the domain's own, always the same ones in
    /// the same order.
    ///
    /// # Errors
    /// If the stored bytes are damaged.
    fn columns(&self, range: Range<usize>) -> Result<Vec<Column>, DatasetError>;

    /// What an embedding must not reveal, and which column groups the samples.
    fn shortcuts(&self) -> Shortcuts;

    /// The figures to report for a group of samples.
    fn group_figures(&self) -> GroupFigures;
}

/// Columns used to judge whether an embedding has learnt how a sample was taken instead of what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortcuts {
    /// Names of the columns that describe how a sample was taken: its file, the settings of the instrument, what a
    /// person wrote in a sample sheet. All other columns are facts that an embedding may know.
    pub suspects: Vec<String>,
    /// Name of the column whose groups are held out whole when predicting such a column from the embedding.
    pub group: String,
}
