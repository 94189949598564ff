//! What a dataset of reads consists of: its shards, and what it is made from.

use std::path::Path;

use invar_dataset::{
    ingest::{self, InputIdentity, Key},
    manifest::{self, Input, Shard},
    path,
};
use serde::{Deserialize, Serialize};

use super::{DOMAIN, SHEET_COLUMNS};
use crate::{Error, IngestConfig, Inputs};

/// A finished shard, and the state of the ingest when it was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub shard: Shard,
    /// Number of files (or pairs of files) read to their end before.
    pub finished_units: usize,
    /// Number of rows of the next file in this shard and those before.
    pub rows_of_unit: u64,
    /// The files that were finished.
    pub inputs: Vec<Input>,
    /// Bad records of the files that were finished.
    pub skipped: Vec<String>,
    /// What looked wrong with these files.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A directory that is being written.
pub(super) type Output = ingest::Output<Checkpoint>;

impl ingest::Checkpoint for Checkpoint {
    const DOMAIN: &'static str = DOMAIN;

    fn shard(&self) -> Option<&Shard> {
        Some(&self.shard)
    }

    /// Those up to the first whose shard is not intact: each builds on the ones before.
    fn kept(finished: Vec<Self>, is_whole: &dyn Fn(&Self) -> bool) -> Vec<Self> {
        let is_next = |(number, checkpoint): &(usize, Self)| checkpoint.shard.file == shard_file(*number);
        let in_order = finished.into_iter().enumerate().take_while(is_next).map(|(_, checkpoint)| checkpoint);
        in_order.take_while(|checkpoint| is_whole(checkpoint)).collect()
    }
}

/// Name of shard `number`.
pub(super) fn shard_file(number: usize) -> String {
    format!("reads-{number:05}.shard")
}

/// What the dataset is made from: the files of reads, then the reference.
pub(super) fn key(inputs: &Inputs, config: &IngestConfig) -> Result<Key, Error> {
    let mut parameters = serde_json::to_value(config).expect("the configuration is plain data");
    parameters["pairing"] = serde_json::to_value(inputs.pairing).expect("a name");
    parameters["reference"] = inputs.reference.as_deref().map(path::text).into();
    if !inputs.columns.is_empty() {
        parameters[SHEET_COLUMNS] = serde_json::to_value(&inputs.columns).expect("text and numbers by name");
    }
    let paths = inputs.files.iter().chain(&inputs.reference);
    let inputs = paths.map(|path| InputIdentity::of(path)).collect::<Result<_, _>>()?;
    Ok(Key { tool_version: env!("CARGO_PKG_VERSION").into(), parameters, inputs })
}

/// The reference as listed in the manifest. One that came through a pipe cannot be read again.
pub(super) fn reference(path: &Path) -> Result<Input, Error> {
    let (size_bytes, sha256) = match InputIdentity::of(path)?.file {
        Some(_) => manifest::file_digest(path)?,
        None => (0, String::new()),
    };
    Ok(Input::new(path, size_bytes, sha256))
}
