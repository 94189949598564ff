//! The dataset directory: what is in it before an ingest, and what is left of it after one.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use invar_dataset::{
    ingest::{self, InputIdentity, Journal, Key},
    manifest::{self, Input, Manifest, Shard},
};
use serde::{Deserialize, Serialize};

use super::{LABELS, TABLES, inputs::Source};
use crate::{Error, ImageFacts, IngestConfig, Inputs, facts::DOMAIN};

const SHARD_PREFIX: &str = "micrographs-";
const SHARD_SUFFIX: &str = ".shard";

/// What was found at the output.
pub(super) enum State {
    /// The dataset that would be written.
    Done(Box<Manifest>),
    /// Room for it, perhaps with a part of it.
    Open(Box<Output>),
}

/// A finished page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// Its number among the pages of all files.
    pub number: usize,
    /// `None` where it was left out on request.
    pub shard: Option<Shard>,
    /// Why it was left out.
    pub skipped: Option<String>,
    /// Image and mask, with the first page of a file.
    pub inputs: Vec<Input>,
    /// What the manifest says of the image; `None` where it was left out.
    pub facts: Option<ImageFacts>,
    /// The label map beside the shard.
    pub labels: Option<String>,
}

/// A directory that is being written.
pub(super) struct Output {
    pub directory: PathBuf,
    pub key: Key,
    pub journal: Journal,
    /// Pages that are finished.
    pub checkpoints: Vec<Checkpoint>,
    /// Keeps other ingests out while it is open.
    pub _lock: File,
}

/// Name of the shard of page `number`.
pub(super) fn shard_file(number: usize) -> String {
    format!("{SHARD_PREFIX}{number:06}{SHARD_SUFFIX}")
}

/// What the dataset is made from: the images, then masks, then the sheet.
pub(super) fn key(inputs: &Inputs, sources: &[Source], config: &IngestConfig) -> Result<Key, Error> {
    let parameters = serde_json::to_value(config).expect("the configuration is plain data");
    let images = sources.iter().map(|source| source.path.as_path());
    let masks = sources.iter().flat_map(|source| [&source.mask, &source.classes]).filter_map(|map| map.as_deref());
    let sheet = inputs.sheet.as_deref();
    let inputs = images.chain(masks).chain(sheet).map(InputIdentity::of).collect::<Result<_, _>>()?;
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
        let replaceable = |reason: String| exists(format!("{reason} (use --force to replace it)"));
        if Manifest::exists(directory) && !force {
            let manifest = Manifest::read(directory)?;
            return match ingest::difference(directory, &manifest, DOMAIN, &key)? {
                None => {
                    ingest::remove_journal(directory)?;
                    Ok(State::Done(Box::new(manifest)))
                }
                Some(difference) => replaceable(format!("holds another dataset: {difference}")),
            };
        }
        let mut checkpoints = Vec::new();
        match ingest::read_journal(directory)? {
            Some((old, finished)) if old == key && key.can_be_read_again() => {
                checkpoints = whole(directory, finished)?;
            }
            Some((old, _)) if !force && old != key => {
                return replaceable("holds an unfinished ingest of other inputs or parameters".into());
            }
            None if !force && !shard_files(directory)?.is_empty() => {
                return replaceable("holds shards without a manifest".into());
            }
            _ => {}
        }
        // What an ingest wrote may be replaced; what a user put there may not.
        let is_ours = Manifest::exists(directory) || ingest::read_journal::<Checkpoint>(directory)?.is_some();
        if let Some(foreign) = TABLES.iter().chain([&LABELS]).find(|name| !is_ours && directory.join(name).exists()) {
            return exists(format!("holds {foreign}, which no ingest wrote: choose another directory"));
        }
        let journal = Journal::create(directory, &key, &checkpoints)?;
        ingest::remove_if_there(&manifest::path(directory))?;
        for table in TABLES {
            ingest::remove_if_there(&directory.join(table))?;
        }
        let kept: HashSet<PathBuf> =
            checkpoints.iter().filter_map(|c| Some(directory.join(&c.shard.as_ref()?.file))).collect();
        for path in shard_files(directory)?.iter().filter(|path| !kept.contains(*path)) {
            fs::remove_file(path).map_err(Error::io(path))?;
        }
        if checkpoints.is_empty() {
            remove_labels(directory)?;
        }
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
    for table in TABLES {
        let _ = ingest::remove_if_there(&directory.join(table));
    }
    let _ = remove_labels(directory);
    let _ = ingest::remove_journal(directory);
    let _ = fs::remove_dir(directory);
}

/// The checkpoints whose files are whole.
fn whole(directory: &Path, mut checkpoints: Vec<Checkpoint>) -> Result<Vec<Checkpoint>, Error> {
    let is_whole = |checkpoint: &Checkpoint| {
        let Some(shard) = &checkpoint.shard else { return true };
        shard.file == shard_file(checkpoint.number)
            && ingest::is_whole(directory, shard).unwrap_or(false)
            && checkpoint.labels.as_ref().is_none_or(|labels| directory.join(labels).is_file())
    };
    checkpoints.retain(is_whole);
    checkpoints.sort_by_key(|checkpoint| checkpoint.number);
    checkpoints.dedup_by_key(|checkpoint| checkpoint.number);
    Ok(checkpoints)
}

fn shard_files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(ingest::shard_files(directory, SHARD_PREFIX, SHARD_SUFFIX)?)
}

/// Removes the label maps.
fn remove_labels(directory: &Path) -> Result<(), Error> {
    let path = directory.join(LABELS);
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(&path)(error)),
        _ => Ok(()),
    }
}
