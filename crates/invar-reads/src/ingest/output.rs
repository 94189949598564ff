//! The dataset directory: what is in it before an ingest, and what is left of it after one.

use std::{
    collections::HashSet,
    fs::{self, File},
    path::{Path, PathBuf},
};

use invar_dataset::{
    ingest::{self, InputIdentity, Journal, Key},
    manifest::{self, Input, Manifest, Shard},
};
use serde::{Deserialize, Serialize};

use super::DOMAIN;
use crate::{Error, IngestConfig, Inputs};

const SHARD_PREFIX: &str = "reads-";
const SHARD_SUFFIX: &str = ".shard";

/// What was found at the output.
pub(super) enum State {
    /// The dataset that would be written.
    Done(Box<Manifest>),
    /// Room for it, perhaps with a part of it.
    Open(Box<Output>),
}

/// A finished shard, and where the ingest stood when it was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub shard: Shard,
    /// Files (or pairs of files) that were read to their end before.
    pub finished_units: usize,
    /// Rows of the next file in this shard and those before.
    pub rows_of_unit: u64,
    /// The files that were finished.
    pub inputs: Vec<Input>,
    /// Bad records of the files that were finished.
    pub skipped: Vec<String>,
}

/// A directory that is being written.
pub(super) struct Output {
    pub directory: PathBuf,
    pub key: Key,
    pub journal: Journal,
    /// Shards that are finished.
    pub checkpoints: Vec<Checkpoint>,
    /// Keeps other ingests out while it is open.
    _lock: File,
}

/// Name of shard `number`.
pub(super) fn shard_file(number: usize) -> String {
    format!("{SHARD_PREFIX}{number:05}{SHARD_SUFFIX}")
}

/// What the dataset is made from.
pub(super) fn key(inputs: &Inputs, config: &IngestConfig) -> Result<Key, Error> {
    let mut parameters = serde_json::to_value(config).expect("the configuration is plain data");
    parameters["pairing"] = serde_json::to_value(inputs.pairing).expect("a name");
    parameters["reference"] = inputs.reference.as_ref().map(|path| path.to_string_lossy().into_owned()).into();
    if let Some(reference) = &inputs.reference {
        fs::metadata(reference).map_err(Error::io(reference))?;
    }
    let inputs = inputs.files.iter().map(|path| InputIdentity::of(path)).collect::<Result<_, _>>()?;
    Ok(Key { tool_version: env!("CARGO_PKG_VERSION").into(), parameters, inputs })
}

impl Output {
    /// Looks at `directory` and makes room there.
    ///
    /// # Errors
    /// [`Error::OutputExists`] when something else is there and `force` is not set.
    pub fn prepare(directory: &Path, key: Key, force: bool) -> Result<State, Error> {
        fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let lock = ingest::lock(directory)?;
        let exists = |reason: String| Err(Error::OutputExists { path: directory.into(), reason });
        if Manifest::exists(directory) && !force {
            let manifest = Manifest::read(directory)?;
            return match ingest::difference(directory, &manifest, DOMAIN, &key)? {
                None => {
                    ingest::remove_journal(directory)?;
                    Ok(State::Done(Box::new(manifest)))
                }
                Some(difference) => exists(format!("holds another dataset: {difference}")),
            };
        }
        let mut checkpoints = Vec::new();
        match ingest::read_journal(directory)? {
            Some((old, finished)) if old == key && key.can_be_read_again() => {
                checkpoints = whole(directory, finished)?;
            }
            Some((old, _)) if !force && old != key => {
                return exists("holds an unfinished ingest of other inputs or parameters".into());
            }
            None if !force && !shard_files(directory)?.is_empty() => {
                return exists("holds shards without a manifest".into());
            }
            _ => {}
        }
        ingest::remove_if_there(&manifest::path(directory))?;
        let kept: HashSet<PathBuf> = checkpoints.iter().map(|c| directory.join(&c.shard.file)).collect();
        for path in shard_files(directory)?.iter().filter(|path| !kept.contains(*path)) {
            fs::remove_file(path).map_err(Error::io(path))?;
        }
        let journal = Journal::create(directory, &key, &checkpoints)?;
        Ok(State::Open(Box::new(Self { directory: directory.into(), key, journal, checkpoints, _lock: lock })))
    }
}

/// Writes the manifest, which makes the directory a dataset.
pub(super) fn finish(directory: &Path, manifest: &Manifest) -> Result<(), Error> {
    manifest.write(directory)?;
    Ok(ingest::remove_journal(directory)?)
}

/// Takes away what an ingest wrote that cannot be finished; the directory too, when nothing else is in it.
pub(super) fn discard(directory: &Path) {
    for path in shard_files(directory).unwrap_or_default() {
        let _ = fs::remove_file(path);
    }
    let _ = ingest::remove_journal(directory);
    let _ = fs::remove_dir(directory);
}

/// The checkpoints up to the first whose shard is not whole.
fn whole(directory: &Path, checkpoints: Vec<Checkpoint>) -> Result<Vec<Checkpoint>, Error> {
    let mut kept = Vec::new();
    for checkpoint in checkpoints {
        if checkpoint.shard.file != shard_file(kept.len()) || !ingest::is_whole(directory, &checkpoint.shard)? {
            break;
        }
        kept.push(checkpoint);
    }
    Ok(kept)
}

fn shard_files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(ingest::shard_files(directory, SHARD_PREFIX, SHARD_SUFFIX)?)
}
