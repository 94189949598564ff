//! What identifies the samples of a table, for tables of labels.

use invar_cli::commands::labels::Named;
use invar_dataset::{Column, ColumnData, DatasetError, SampleTable};

/// The columns that identify a sample.
pub const COLUMNS: [&str; 3] = ["id", "source", "key"];

/// Names of samples, in order.
#[derive(Default)]
pub struct Names {
    /// Human-readable.
    pub ids: Vec<String>,
    sources: Vec<Option<String>>,
    /// Unique over everything opened together.
    pub keys: Vec<u64>,
}

/// Rows of a table in memory at a time.
pub const BLOCK_ROWS: usize = 65_536;

impl Names {
    /// Those of all samples of a table.
    ///
    /// # Errors
    /// If the stored bytes are damaged.
    pub fn read(table: &dyn SampleTable, num_samples: usize) -> Result<Self, DatasetError> {
        let mut names = Self::default();
        for first in (0..num_samples).step_by(BLOCK_ROWS) {
            names.add(&table.columns(first..num_samples.min(first + BLOCK_ROWS))?);
        }
        Ok(names)
    }

    /// Adds the next samples, given their columns, of which others than [`COLUMNS`] are passed over.
    pub fn add(&mut self, columns: &[Column]) {
        for column in columns {
            match (column.name.as_str(), &column.data) {
                ("id", ColumnData::Str(ids)) => self.ids.extend(ids.iter().cloned().map(Option::unwrap_or_default)),
                ("source", ColumnData::Str(sources)) => self.sources.extend(sources.iter().cloned()),
                ("key", ColumnData::I64(keys)) => {
                    self.keys.extend(keys.iter().map(|key| key.unwrap_or_default() as u64));
                }
                _ => {}
            }
        }
    }

    /// The samples, as labels are looked up by.
    pub fn named(&self) -> Vec<Named<'_>> {
        let of = |row: usize| Named {
            id: &self.ids[row],
            source: self.sources.get(row).and_then(Option::as_deref),
            source_number: None,
            key: self.keys.get(row).copied(),
            first_mate: None,
        };
        (0..self.ids.len()).map(of).collect()
    }
}
