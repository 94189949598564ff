use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{DatasetError, GroupFigures};

/// One column of facts about samples, ready to become a Parquet column. `None` is null: unknown is never guessed.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Column name, with its unit as suffix (`length_bp`).
    pub name: String,
    /// Values, one a sample.
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

/// The facts that a domain knows of its samples, beside their embedding.
pub trait SampleTable: Send + Sync {
    /// The columns of samples `range`: `id`, `source` and `key` first, then the domain's own, always the same ones in
    /// the same order.
    ///
    /// # Errors
    /// When the stored bytes are damaged.
    fn columns(&self, range: Range<usize>) -> Result<Vec<Column>, DatasetError>;

    /// What an embedding may not give away, and by what samples belong together.
    fn shortcuts(&self) -> Shortcuts;

    /// What is worth knowing of a group of samples.
    fn group_figures(&self) -> GroupFigures;
}

/// Columns by which it is judged whether an embedding has learnt how a sample was taken instead of what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortcuts {
    /// Names of the columns that say how a sample was taken: its file, the settings of the instrument, what a person wrote in
    /// a sample sheet. Whatever is not among them is a fact that an embedding may know.
    pub suspects: Vec<String>,
    /// Name of the column whose values are held out whole when such a column is told from the embedding.
    pub group: String,
}
