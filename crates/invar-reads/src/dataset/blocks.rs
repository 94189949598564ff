//! The input of each row, and the row's number in it: what keys are made from.

use std::path::Path;

use invar_dataset::{
    DatasetError,
    keys::{self, KeyRange, Opened},
    manifest::{self, Manifest},
};

use super::corrupt;
use crate::Pairing;

/// The inputs of all directories in the order of their rows.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    blocks: Vec<Block>,
    /// Rows in blocks `0..=b`.
    ends: Vec<u64>,
}

/// Rows of one file, or of two files of mates, whose rows alternate.
#[derive(Debug)]
struct Block {
    /// Index of the (first) file in its manifest.
    input: u32,
    keys: [KeyRange; 2],
    is_paired: bool,
}

/// Where a row comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// Index of the input in the manifest of its directory.
    pub input: u32,
    pub source_number: u64,
    pub key: u64,
    /// Index of the block: reads with the same name in one block are of one molecule.
    pub block: usize,
}

impl Blocks {
    /// The blocks of the directories in the order of their rows.
    ///
    /// # Errors
    /// If the counts of a manifest do not match its shards, or as [`keys::key_ranges`].
    pub fn new(directories: &[(&Path, &Manifest)]) -> Result<Self, DatasetError> {
        let open = |&(path, manifest)| Ok(Opened { path, manifest, num_samples: rows_of_inputs(path, manifest)? });
        let opened: Vec<Opened> = directories.iter().map(open).collect::<Result<_, DatasetError>>()?;
        let ranges = keys::key_ranges(&opened)?;
        let mut blocks = Self::default();
        let mut end = 0;
        for (directory, keys) in opened.iter().zip(&ranges) {
            let is_paired = is_paired(directory.manifest);
            for (number, keys) in keys.chunks(if is_paired { 2 } else { 1 }).enumerate() {
                let first = number * if is_paired { 2 } else { 1 };
                end += directory.num_samples[first..first + keys.len()].iter().sum::<u64>();
                blocks.ends.push(end);
                let keys = [keys[0], keys[keys.len() - 1]];
                blocks.blocks.push(Block { input: first as u32, keys, is_paired });
            }
        }
        Ok(blocks)
    }

    /// Where row `row` comes from.
    ///
    /// # Panics
    /// If there are fewer rows.
    pub fn origin(&self, row: u64) -> Origin {
        let (number, row) = manifest::locate(&self.ends, row);
        let block = &self.blocks[number];
        let (mate, ordinal) = if block.is_paired { ((row % 2) as usize, row / 2) } else { (0, row) };
        let keys = block.keys[mate];
        Origin {
            input: block.input + mate as u32,
            source_number: keys.source_number(),
            key: keys.key(ordinal),
            block: number,
        }
    }
}

fn is_paired(manifest: &Manifest) -> bool {
    manifest.parameters["pairing"] == serde_json::json!(Pairing::Files)
}

/// The number of rows of each input from the manifest, checked.
fn rows_of_inputs(path: &Path, manifest: &Manifest) -> Result<Vec<u64>, DatasetError> {
    let rows: Vec<u64> = manifest.inputs.iter().map(|input| input.counts.get("kept").copied().unwrap_or(0)).collect();
    let manifest_path = manifest::path(path);
    let total: u64 = rows.iter().fold(0, |sum, rows| sum.saturating_add(*rows));
    if total != manifest.num_rows() {
        return Err(corrupt(&manifest_path, "reads of all inputs", manifest.num_rows(), total));
    }
    if is_paired(manifest) {
        for (two, inputs) in rows.chunks(2).zip(manifest.inputs.chunks(2)) {
            if two.len() < 2 || two[0] != two[1] {
                let what = format!("mates of {:?}", inputs[0].path);
                return Err(corrupt(&manifest_path, &what, two[0], two.get(1).copied().unwrap_or(0)));
            }
        }
    }
    Ok(rows)
}
