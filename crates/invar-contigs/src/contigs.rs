//! Contigs as a list with random access, wherever they are stored.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use invar_bases::PackedSlice;
use invar_dataset::{
    DatasetError,
    manifest::{self, Shard},
};

use crate::shard::ShardFile;

/// The contigs of some shards.
#[derive(Debug, Default)]
pub(crate) struct Contigs {
    shards: Vec<ShardFile>,
    /// Contigs in shards `0..=s`.
    ends: Vec<u64>,
}

impl Contigs {
    /// Appends the shards of a directory.
    pub fn open(&mut self, directory: &Path, shards: &[Shard]) -> Result<(), DatasetError> {
        for shard in shards {
            self.shards.push(ShardFile::open(directory, shard)?);
            self.ends.push(self.len() as u64 + shard.num_rows);
        }
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.ends.last().map_or(0, |&end| end as usize)
    }

    pub fn length_bp(&self, index: usize) -> u32 {
        let (shard, row) = self.locate(index);
        shard.length_bp(row)
    }

    pub fn gc(&self, index: usize) -> f32 {
        let (shard, row) = self.locate(index);
        shard.gc(row)
    }

    pub fn name(&self, index: usize) -> Result<&str, DatasetError> {
        let (shard, row) = self.locate(index);
        shard.name(row)
    }

    pub fn description(&self, index: usize) -> Result<&str, DatasetError> {
        let (shard, row) = self.locate(index);
        shard.description(row)
    }

    pub fn sequence(&self, index: usize) -> Result<PackedSlice<'_>, DatasetError> {
        let (shard, row) = self.locate(index);
        shard.sequence(row)
    }

    fn locate(&self, index: usize) -> (&ShardFile, usize) {
        let (shard, row) = manifest::locate(&self.ends, index as u64);
        (&self.shards[shard], row as usize)
    }
}

/// The contigs of a FASTA file by name, with those that were too short to be kept.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The FASTA file.
    pub path: PathBuf,
    by_name: HashMap<String, Known>,
    num_kept: u32,
    name_bytes: usize,
}

/// A contig of the FASTA file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub length_bp: u32,
    /// Line of its header, 1-based.
    pub line: u64,
    /// Its row in the dataset; `None` if it was too short.
    pub row: Option<u32>,
}

impl Names {
    pub fn new(path: PathBuf) -> Self {
        Self { path, ..Self::default() }
    }

    /// Adds a contig; the one that has its name already, if there is one.
    pub fn add(&mut self, name: &str, line: u64, length_bp: u32, is_kept: bool) -> Option<Known> {
        let row = is_kept.then_some(self.num_kept);
        if let Some(known) = self.by_name.get(name) {
            return Some(*known);
        }
        self.num_kept += u32::from(is_kept);
        self.name_bytes += name.len();
        self.by_name.insert(name.into(), Known { length_bp, line, row });
        None
    }

    pub fn get(&self, name: &str) -> Option<Known> {
        self.by_name.get(name).copied()
    }

    /// Length and row of each contig.
    pub fn rows(&self) -> HashMap<String, (u32, Option<u32>)> {
        self.by_name.iter().map(|(name, known)| (name.clone(), (known.length_bp, known.row))).collect()
    }

    /// Number of all contigs.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Bytes of all names.
    pub fn name_bytes(&self) -> usize {
        self.name_bytes
    }

    /// Length of the longest contig; 0 without any.
    pub fn longest_bp(&self) -> u32 {
        self.by_name.values().map(|known| known.length_bp).max().unwrap_or(0)
    }

    /// Number of those that are kept.
    pub fn num_kept(&self) -> usize {
        self.num_kept as usize
    }

    /// Names of the kept contigs of which `is_there` is false, in their order.
    pub fn missing(&self, is_there: &[bool]) -> Vec<String> {
        let missing = |known: &Known| known.row.filter(|&row| !is_there[row as usize]);
        let mut rows: Vec<(u32, &String)> =
            self.by_name.iter().filter_map(|(name, known)| Some((missing(known)?, name))).collect();
        rows.sort_unstable();
        rows.into_iter().map(|(_, name)| name.clone()).collect()
    }
}
