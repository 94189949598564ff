use std::path::Path;

use invar_dataset::{Column, ColumnData, atomic::AtomicFile};
use polars::prelude as pl;

use crate::{
    EmbeddingsError, Provenance, frame,
    parquet::{self, Footer, FrameWriter},
    reader::vectors_of,
};

const KIND: &str = "bank";
/// The column of the keys.
const KEYS: &str = "key";
const COLUMNS: [&str; 4] = ["key_id", "site", "round", KEYS];

/// BANK: keys of samples of several sites, oldest first. Parquet columns `key_id` (i64, random), `site`, `round` (u32) and
/// `key` (fixed-size list of f32). There is nothing by which a sample could be named.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bank {
    /// A random number for each key.
    pub key_ids: Vec<i64>,
    /// The site that each key is from.
    pub sites: Vec<String>,
    /// The round that each key was made in.
    pub rounds: Vec<u32>,
    /// Length of a key, `P`.
    pub width: usize,
    /// The keys `[n, P]`, row-major; all finite.
    pub keys: Vec<f32>,
}

impl Bank {
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.key_ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.key_ids.is_empty()
    }

    /// Key `index`, `[P]`.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn key(&self, index: usize) -> &[f32] {
        &self.keys[index * self.width..][..self.width]
    }

    /// Adds a key.
    ///
    /// # Panics
    /// If it has another width than those that are there.
    pub fn push(&mut self, key_id: i64, site: &str, round: u32, key: &[f32]) {
        if self.is_empty() {
            self.width = key.len();
        }
        assert_eq!(key.len(), self.width, "the width of a key");
        self.key_ids.push(key_id);
        self.sites.push(site.into());
        self.rounds.push(round);
        self.keys.extend_from_slice(key);
    }

    /// Writes it to `path`, atomically.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn write(&self, path: &Path, tool_version: &str) -> Result<u64, EmbeddingsError> {
        let file = AtomicFile::create(path).map_err(EmbeddingsError::io(path))?;
        let column = |name: &str, data| Column { name: name.into(), data };
        let columns = [
            column(COLUMNS[0], ColumnData::I64(self.key_ids.iter().copied().map(Some).collect())),
            column(COLUMNS[1], ColumnData::Str(self.sites.iter().cloned().map(Some).collect())),
            column(COLUMNS[2], ColumnData::U32(self.rounds.iter().copied().map(Some).collect())),
        ];
        let frame = frame::with_vectors(&columns, KEYS, self.keys.clone(), self.width.max(1));
        let frame = frame.map_err(EmbeddingsError::parquet(path))?;
        let provenance = Provenance::new(tool_version, self.width.max(1));
        let mut writer = FrameWriter::over(file, frame.schema(), KIND, &provenance)?;
        writer.write(&frame)?;
        writer.finish()
    }

    /// Reads it.
    ///
    /// # Errors
    /// If the file is damaged or no bank, or a key is not finite; the row is named.
    pub fn read(path: &Path) -> Result<Self, EmbeddingsError> {
        let footer = Footer::read(path)?;
        let corrupt = |what: String, expected: &str, found: String| EmbeddingsError::Corrupt {
            path: path.into(),
            what,
            expected: expected.into(),
            found,
        };
        if footer.kind.as_deref() != Some(KIND) {
            return Err(corrupt("kind of file".into(), KIND, footer.kind.unwrap_or("none".into())));
        }
        let frame = parquet::read(path, Some(&COLUMNS))?;
        let column = |name: &str| frame.column(name).map_err(EmbeddingsError::parquet(path));
        let null = |name: &str| corrupt(format!("column {name:?}"), "a value in every row", "null".into());
        let of_type = EmbeddingsError::parquet(path);
        let key_ids = column(COLUMNS[0])?.i64().map_err(of_type)?.iter().collect::<Option<Vec<i64>>>();
        let sites = column(COLUMNS[1])?.str().map_err(EmbeddingsError::parquet(path))?;
        let sites = sites.iter().map(|site| site.map(str::to_owned)).collect::<Option<Vec<String>>>();
        let rounds: &pl::UInt32Chunked = column(COLUMNS[2])?.u32().map_err(EmbeddingsError::parquet(path))?;
        let rounds = rounds.iter().collect::<Option<Vec<u32>>>();
        let (width, keys) = vectors_of(column(KEYS)?, path, KEYS)?;
        Ok(Self {
            key_ids: key_ids.ok_or_else(|| null(COLUMNS[0]))?,
            sites: sites.ok_or_else(|| null(COLUMNS[1]))?,
            rounds: rounds.ok_or_else(|| null(COLUMNS[2]))?,
            width: if frame.height() == 0 { 0 } else { width },
            keys,
        })
    }
}
