//! The output directory of an ingest.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Key, complete, difference,
    journal::{self, Found, Journal},
    replace::{self, Place},
};
use crate::{
    DatasetError,
    lock::Lock,
    manifest::{Manifest, OtherFile, Shard},
};

/// A finished piece of a domain's dataset, as recorded in the journal: work that an interrupted ingest need not repeat.
pub trait Checkpoint: Serialize + DeserializeOwned {
    /// Name of the domain in the manifest.
    const DOMAIN: &'static str;

    /// Files a dataset has besides its shards whose names a user might also use. If one of them exists before any
    /// ingest has run, the directory is not used.
    const NAMES: &'static [&'static str] = &[];

    /// Its shard, if it has one.
    fn shard(&self) -> Option<&Shard>;

    /// Its other files.
    fn files(&self) -> Vec<OtherFile> {
        Vec::new()
    }

    /// Whether a file of a finished dataset is made again from the others where it is missing: see [`complete`].
    fn is_made_again(file: &str) -> bool {
        let _ = file;
        false
    }

    /// The finished pieces of an interrupted ingest that the next one can build on. `is_whole` reads the files of a
    /// piece.
    fn kept(finished: Vec<Self>, is_whole: &dyn Fn(&Self) -> bool) -> Vec<Self>;

    /// The files besides the shards, for a dataset whose manifest was written before manifests listed them.
    fn unlisted_files(manifest: &Manifest) -> Vec<String> {
        let _ = manifest;
        Vec::new()
    }
}

/// What was found at the output.
#[derive(Debug)]
pub enum State<C> {
    /// The requested dataset exists. Nothing was touched.
    Done(Box<Manifest>),
    /// A place to write it, perhaps with a part of it.
    Open(Box<Output<C>>),
}

/// A dataset directory that is being written.
///
/// If a dataset already exists, the new one is written next to it (`.NAME.partial`) and replaces it when it is
/// complete. Nobody else can write there while this lives.
#[derive(Debug)]
pub struct Output<C> {
    target: PathBuf,
    directory: PathBuf,
    key: Key,
    checkpoints: Vec<C>,
    progress: Mutex<InProgress>,
    /// The place of the dataset that this one replaces.
    replaces: Option<Place>,
    /// On the target, then on the directory next to it.
    _locks: Vec<Lock>,
}

#[derive(Debug)]
struct InProgress {
    journal: Journal,
    num_pieces: usize,
    /// Files that this ingest may write.
    announced: BTreeSet<String>,
}

/// A dataset that is complete, but not yet in its final place.
#[derive(Debug)]
pub struct Written<C> {
    output: Output<C>,
    manifest: Manifest,
}

impl<C: Checkpoint> Output<C> {
    /// Inspects directory `target`, and prepares it for the dataset of `key`.
    ///
    /// An existing dataset of the same inputs and parameters is [`State::Done`]; this is determined without writing, so
    /// the dataset may be on a read-only file system. An interrupted ingest of the same is resumed.
    ///
    /// # Errors
    /// [`DatasetError::Exists`] if something else is there and `force` is not set, or something that no ingest wrote;
    /// system errors, also while another command writes there.
    pub fn prepare(target: &Path, key: Key, force: bool) -> Result<State<C>, DatasetError> {
        if !force
            && Manifest::exists(target)
            && let manifest = Manifest::read(target)?
            && difference::<C>(target, &manifest, &key)?.is_none()
        {
            replace::tidy::<C>(target);
            return Ok(State::Done(Box::new(manifest)));
        }
        let locked = Lock::directory(target).map_err(DatasetError::io(target))?;
        replace::recover::<C>(target)?;
        let exists = |reason: String| Err(DatasetError::Exists { path: target.into(), reason });
        let replaceable = |reason: String| exists(format!("{reason} (use --force to replace it)"));
        if Manifest::exists(target) && force {
            return Self::beside(target, key, locked);
        }
        if Manifest::exists(target) {
            // Another command may have written it while this one waited.
            let manifest = Manifest::read(target)?;
            return match difference::<C>(target, &manifest, &key)? {
                None => Ok(State::Done(Box::new(manifest))),
                Some(difference) => replaceable(format!("holds another dataset: {difference}")),
            };
        }
        match journal::read::<C>(target)? {
            Some(found) => match found.key.difference(&key) {
                None if key.can_be_read_again() => Self::resume(target, target.into(), key, found, None, vec![locked]),
                difference if difference.is_none() || found.pieces.is_empty() => {
                    replace::clear(target, found.files.iter())?;
                    Self::start(target, target.into(), key, None, vec![locked])
                }
                Some(difference) if !force => {
                    replaceable(format!("holds an unfinished ingest of other inputs or parameters: {difference}"))
                }
                _ => Self::beside(target, key, locked),
            },
            None => {
                if let Some(name) = C::NAMES.iter().find(|name| target.join(name).exists()) {
                    return exists(format!("holds {name}, which no ingest wrote: choose another directory"));
                }
                replace::tidy_beside::<C>(target);
                Self::start(target, target.into(), key, None, vec![locked])
            }
        }
    }

    /// Writes next to the existing dataset.
    fn beside(target: &Path, key: Key, locked: Lock) -> Result<State<C>, DatasetError> {
        let place = Place::choose(target)?;
        // What will be replaced must be known before hours of work, not after.
        replace::owned::<C>(target)?;
        let directory = place.beside.clone();
        let locks = vec![locked, Lock::directory(&directory).map_err(DatasetError::io(&directory))?];
        match journal::read::<C>(&directory)? {
            Some(found) if found.key.difference(&key).is_none() && key.can_be_read_again() => {
                Self::resume(target, directory, key, found, Some(place), locks)
            }
            Some(_) => {
                replace::clear_all::<C>(&directory)?;
                Self::start(target, directory, key, Some(place), locks)
            }
            None if replace::is_empty(&directory)? => Self::start(target, directory, key, Some(place), locks),
            None => {
                let reason =
                    "is where the new dataset would be written, and holds something that no ingest wrote".into();
                Err(DatasetError::Exists { path: directory, reason })
            }
        }
    }

    fn start(
        target: &Path,
        directory: PathBuf,
        key: Key,
        replaces: Option<Place>,
        locks: Vec<Lock>,
    ) -> Result<State<C>, DatasetError> {
        let found = Found { key: key.clone(), files: Vec::new(), pieces: Vec::new() };
        Self::resume(target, directory, key, found, replaces, locks)
    }

    fn resume(
        target: &Path,
        directory: PathBuf,
        key: Key,
        found: Found<C>,
        replaces: Option<Place>,
        locks: Vec<Lock>,
    ) -> Result<State<C>, DatasetError> {
        let is_whole = |piece: &C| of_piece(piece).all(|file| super::is_whole(&directory, &file));
        let checkpoints = C::kept(found.pieces, &is_whole);
        let kept: BTreeSet<String> = checkpoints.iter().flat_map(of_piece).map(|other| other.file).collect();
        // Whatever was half done, and a manifest that was written but not put in place.
        replace::remove_manifest(&directory)?;
        replace::clear(&directory, found.files.iter().filter(|file| !kept.contains(*file)))?;
        replace::clear_partials(&directory, &kept)?;
        let files: Vec<String> = kept.iter().cloned().collect();
        let journal = Journal::create(&directory, &key, &files, &checkpoints)?;
        let progress = Mutex::new(InProgress { journal, num_pieces: checkpoints.len(), announced: kept });
        Ok(State::Open(Box::new(Self {
            target: target.into(),
            directory,
            key,
            checkpoints,
            progress,
            replaces,
            _locks: locks,
        })))
    }

    /// The output as named by the user.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The directory the files are written to.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the dataset is made from.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The intact pieces of an interrupted ingest.
    pub fn checkpoints(&self) -> &[C] {
        &self.checkpoints
    }

    /// Announces which files will be written next, by their paths inside the directory; only announced files are ever
    /// deleted.
    ///
    /// # Errors
    /// [`DatasetError::Exists`] if one exists that this ingest did not write; system errors.
    pub fn announce(&self, files: impl IntoIterator<Item = String>) -> Result<(), DatasetError> {
        let mut progress = self.progress();
        let new: Vec<String> = files.into_iter().filter(|file| !progress.announced.contains(file)).collect();
        if let Some(file) = new.iter().find(|file| self.directory.join(file).symlink_metadata().is_ok()) {
            let reason = format!("holds {file}, which no ingest wrote: choose another directory");
            return Err(DatasetError::Exists { path: self.target.clone(), reason });
        }
        if !new.is_empty() {
            progress.journal.announce(&new)?;
            progress.announced.extend(new);
        }
        Ok(())
    }

    /// Records a finished piece; it survives a kill once this returns.
    ///
    /// # Errors
    /// System errors.
    pub fn push(&self, checkpoint: &C) -> Result<(), DatasetError> {
        let mut progress = self.progress();
        progress.journal.push(checkpoint)?;
        progress.num_pieces += 1;
        Ok(())
    }

    /// Writes the manifest, which makes the directory a dataset. Its inputs get the identities that they had when the
    /// ingest began, except those that have changed since.
    ///
    /// # Errors
    /// System errors.
    ///
    /// # Panics
    /// If the inputs are not those of the key, in order.
    pub fn write(self, mut manifest: Manifest) -> Result<Written<C>, DatasetError> {
        assert_eq!(manifest.inputs.len(), self.key.inputs.len(), "inputs of the manifest and of the key");
        for (input, known) in manifest.inputs.iter_mut().zip(&self.key.inputs) {
            assert_eq!(input.path, crate::path::text(&known.path), "inputs of the manifest and of the key");
            input.identity = known.file.clone().filter(|_| known.is_unchanged());
        }
        manifest.write(&self.directory)?;
        Ok(Written { output: self, manifest })
    }

    /// Ends an ingest that failed. Finished pieces stay if the same command could resume from them (`resumable`);
    /// otherwise everything written is removed, and so is the directory if it was created for this.
    pub fn give_up(self, resumable: bool) {
        if resumable && self.progress().num_pieces > 0 {
            return;
        }
        // What cannot be removed is found, and removed, by the next ingest.
        let is_clear = replace::clear_all::<C>(&self.directory).is_ok();
        if is_clear && self.replaces.is_some() {
            let _ = std::fs::remove_dir(&self.directory);
        }
    }

    fn progress(&self) -> MutexGuard<'_, InProgress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All files of a piece.
fn of_piece<C: Checkpoint>(piece: &C) -> impl Iterator<Item = OtherFile> {
    piece.shard().cloned().map(OtherFile::from).into_iter().chain(piece.files())
}

impl<C: Checkpoint> Written<C> {
    /// Writes the listed files that are still missing, by `write`, which is given the directory: those that are made from
    /// the dataset as a whole. After an error the output is to be [given up](Self::give_up).
    ///
    /// # Errors
    /// Those of `write`; system errors.
    pub fn complete<E: From<DatasetError>>(&mut self, write: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
        complete(&self.output.directory, &mut self.manifest, write)
    }

    /// Puts the dataset in place. What an earlier ingest wrote there is deleted, everything else stays.
    ///
    /// # Errors
    /// [`DatasetError::Exists`] if something that no ingest wrote has the name of a new file; system errors. The old
    /// dataset is then intact.
    pub fn publish(self) -> Result<Manifest, DatasetError> {
        let Self { output, manifest } = self;
        let Some(place) = &output.replaces else {
            journal::remove(&output.directory)?;
            return Ok(manifest);
        };
        let result = replace::swap::<C>(place, &output.target);
        if matches!(result, Err(DatasetError::Exists { .. })) {
            output.give_up(false);
        }
        result.map(|()| manifest)
    }

    /// Ends an ingest whose tables could not be written; see [`Output::give_up`]. A dataset that replaces none stays.
    pub fn give_up(self, resumable: bool) {
        if self.output.replaces.is_some() {
            self.output.give_up(resumable);
        }
    }
}
