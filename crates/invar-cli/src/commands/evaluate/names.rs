//! The samples of embeddings, as named in a table of labels.

use std::path::Path;

use anyhow::Result;
use invar_dataset::{ColumnData, keys};
use invar_embeddings::Embeddings;

use crate::commands::labels::Named;

/// What embeddings know of each sample besides its vector.
pub struct Names<'a> {
    embeddings: &'a Embeddings,
    sources: Option<Vec<Option<String>>>,
    mates: Option<Vec<Option<u32>>>,
    /// Numbers of the input files, ascending.
    source_numbers: Vec<u64>,
}

impl<'a> Names<'a> {
    /// Reads the columns `source` and `mate` of the embeddings at `path`, if they exist.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn of(embeddings: &'a Embeddings, path: &Path) -> Result<Self> {
        let there = invar_embeddings::info(path)?.columns;
        let column = |name: &str| match there.iter().any(|column| column.name == name) {
            true => embeddings.column(name).map(|column| Some(column.data)),
            false => Ok(None),
        };
        let sources = column("source")?.and_then(|data| if let ColumnData::Str(v) = data { Some(v) } else { None });
        let mates = column("mate")?.and_then(|data| if let ColumnData::U32(v) = data { Some(v) } else { None });
        let inputs = embeddings.provenance.iter().flat_map(|provenance| &provenance.inputs);
        let mut source_numbers: Vec<u64> = inputs.filter_map(|input| keys::source_number(&input.sha256)).collect();
        source_numbers.sort_unstable();
        Ok(Self { embeddings, sources, mates, source_numbers })
    }

    /// One per row.
    pub fn named(&self) -> Vec<Named<'_>> {
        let keys = self.embeddings.keys.as_ref();
        let named = |(row, id): (usize, &'a String)| {
            let key = keys.and_then(|keys| u64::try_from(keys[row]).ok());
            Named {
                id,
                source: self.sources.as_ref().and_then(|sources| sources[row].as_deref()),
                // The last one that starts at or before the key.
                source_number: key.and_then(|key| {
                    let after = self.source_numbers.partition_point(|&number| number <= key);
                    self.source_numbers.get(after.checked_sub(1)?).copied()
                }),
                key,
                first_mate: self.first_mate(row),
            }
        };
        self.embeddings.ids.iter().enumerate().map(named).collect()
    }

    /// Mates are neighbours, first mate first.
    fn first_mate(&self, row: usize) -> Option<usize> {
        let (mates, first) = (self.mates.as_ref()?, row.checked_sub(1)?);
        (mates[row] == Some(2) && mates[first] == Some(1)).then_some(first)
    }
}
