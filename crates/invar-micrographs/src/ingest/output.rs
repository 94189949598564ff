//! The dataset directory: what is in it before an ingest, and what is left of it after one.

use std::{
    collections::HashSet,
    fs::{self, File, Metadata, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use invar_dataset::manifest::{self, Manifest};

use super::{LABELS, TABLES, inputs::Source};
use crate::{
    Error, IngestConfig, Inputs,
    dataset::DOMAIN,
    journal::{self, Checkpoint, InputIdentity, Journal, Key},
};

const SHARD_PREFIX: &str = "micrographs-";
const SHARD_SUFFIX: &str = ".shard";
const MANIFEST: &str = "manifest.json";

/// What was found at the output.
pub(super) enum State {
    /// The dataset that would be written.
    Done(Box<Manifest>),
    /// Room for it, perhaps with a part of it.
    Open(Box<Output>),
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
    let inputs = images.chain(masks).chain(sheet).map(identity).collect::<Result<_, _>>()?;
    Ok(Key { tool_version: env!("CARGO_PKG_VERSION").into(), parameters, inputs })
}

fn identity(path: &Path) -> Result<InputIdentity, Error> {
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    if metadata.is_dir() {
        return Err(Error::io(path)(io::ErrorKind::IsADirectory.into()));
    }
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_ns = modified.map_or(0, |modified| modified.as_nanos());
    Ok(InputIdentity { path: path.into(), size_bytes: metadata.len(), modified_ns })
}

impl Output {
    /// Looks at `directory` and makes room there.
    ///
    /// # Errors
    /// [`Error::OutputExists`] when something else is there and `force` is not set.
    pub fn prepare(directory: &Path, key: Key, force: bool) -> Result<State, Error> {
        fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let lock = lock(directory)?;
        let exists = |reason: String| Err(Error::OutputExists { path: directory.into(), reason });
        let replaceable = |reason: String| exists(format!("{reason} (use --force to replace it)"));
        if Manifest::exists(directory) && !force {
            let manifest = Manifest::read(directory)?;
            return match difference(directory, &manifest, &key)? {
                None => {
                    journal::remove(directory)?;
                    Ok(State::Done(Box::new(manifest)))
                }
                Some(difference) => replaceable(format!("holds another dataset: {difference}")),
            };
        }
        let mut checkpoints = Vec::new();
        match journal::read(directory)? {
            Some((old, finished)) if old == key => {
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
        let is_ours = Manifest::exists(directory) || journal::read(directory)?.is_some();
        if let Some(foreign) = TABLES.iter().chain([&LABELS]).find(|name| !is_ours && directory.join(name).exists()) {
            return exists(format!("holds {foreign}, which no ingest wrote: choose another directory"));
        }
        let journal = Journal::create(directory, &key, &checkpoints)?;
        remove_if_there(&directory.join(MANIFEST))?;
        for table in TABLES {
            remove_if_there(&directory.join(table))?;
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
    journal::remove(directory)
}

/// Takes away what an ingest wrote that cannot be finished; the directory too, when nothing else is in it.
pub(super) fn discard(directory: &Path) {
    for path in shard_files(directory).unwrap_or_default() {
        let _ = fs::remove_file(path);
    }
    for table in TABLES {
        let _ = remove_if_there(&directory.join(table));
    }
    let _ = remove_labels(directory);
    let _ = journal::remove(directory);
    let _ = fs::remove_dir(directory);
}

/// How long another ingest may take to let go: one that was killed holds on until its last write has ended.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

fn lock(directory: &Path) -> Result<File, Error> {
    let file = File::open(directory).map_err(Error::io(directory))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_PATIENCE / 100),
            Err(TryLockError::WouldBlock) => {
                let busy = io::Error::new(io::ErrorKind::ResourceBusy, "another ingest is writing to this directory");
                return Err(Error::io(directory)(busy));
            }
            // A file system without locks.
            Err(TryLockError::Error(_)) => return Ok(file),
        }
    }
}

/// The checkpoints whose files are whole.
fn whole(directory: &Path, mut checkpoints: Vec<Checkpoint>) -> Result<Vec<Checkpoint>, Error> {
    let is_whole = |checkpoint: &Checkpoint| {
        let Some(shard) = &checkpoint.shard else { return true };
        let digest = manifest::file_digest(&directory.join(&shard.file)).ok();
        shard.file == shard_file(checkpoint.number)
            && digest.is_some_and(|digest| digest == (shard.size_bytes, shard.sha256.clone()))
            && checkpoint.labels.as_ref().is_none_or(|labels| directory.join(labels).is_file())
    };
    checkpoints.retain(is_whole);
    checkpoints.sort_by_key(|checkpoint| checkpoint.number);
    checkpoints.dedup_by_key(|checkpoint| checkpoint.number);
    Ok(checkpoints)
}

/// In what a finished dataset differs from the one that is asked for.
fn difference(directory: &Path, manifest: &Manifest, key: &Key) -> Result<Option<String>, Error> {
    if manifest.domain != DOMAIN {
        return Ok(Some(format!("of {} instead of {DOMAIN}", manifest.domain)));
    }
    if manifest.parameters != key.parameters {
        return Ok(Some(format!("its parameters are {} instead of {}", manifest.parameters, key.parameters)));
    }
    let paths = |paths: Vec<&str>| paths.join(" ");
    let old = paths(manifest.inputs.iter().map(|input| input.path.as_str()).collect());
    let new: Vec<_> = key.inputs.iter().map(|input| input.path.to_string_lossy()).collect();
    let new = paths(new.iter().map(|path| &**path).collect());
    if old != new {
        return Ok(Some(format!("its inputs are {old} instead of {new}")));
    }
    let written = fs::metadata(directory.join(MANIFEST)).map_err(Error::io(directory))?;
    for (old, new) in manifest.inputs.iter().zip(&key.inputs) {
        let is_same = new.size_bytes == old.size_bytes
            && (is_older(&new.path, &written)? || manifest::file_digest(&new.path)?.1 == old.sha256);
        if !is_same {
            return Ok(Some(format!("{} has changed since", old.path)));
        }
    }
    for shard in &manifest.shards {
        let size = fs::metadata(directory.join(&shard.file)).map(|metadata| metadata.len()).unwrap_or(0);
        if size != shard.size_bytes {
            return Ok(Some(format!("{} has {size} bytes instead of {}", shard.file, shard.size_bytes)));
        }
    }
    Ok(None)
}

/// Whether the file was neither changed nor renamed since `written`.
fn is_older(path: &Path, written: &Metadata) -> Result<bool, Error> {
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    let then = written.modified().unwrap_or(UNIX_EPOCH);
    Ok(last_change(&metadata) < then)
}

#[cfg(unix)]
fn last_change(metadata: &Metadata) -> SystemTime {
    use std::os::unix::fs::MetadataExt;
    let changed = UNIX_EPOCH + Duration::from_secs(metadata.ctime().max(0).cast_unsigned());
    metadata.modified().map_or(changed, |modified| modified.max(changed))
}

#[cfg(not(unix))]
fn last_change(_: &Metadata) -> SystemTime {
    // Unknown: the checksum decides.
    SystemTime::now()
}

fn shard_files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let entry = entry.map_err(Error::io(directory))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_partial = name.starts_with(&format!(".{SHARD_PREFIX}")) && name.ends_with(".partial");
        if is_partial || (name.starts_with(SHARD_PREFIX) && name.ends_with(SHARD_SUFFIX)) {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

/// Removes the label maps.
fn remove_labels(directory: &Path) -> Result<(), Error> {
    let path = directory.join(LABELS);
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(&path)(error)),
        _ => Ok(()),
    }
}

fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}
