//! A new dataset in the place of an old one, and what may be deleted on the way.
//!
//! ```text
//! .NAME.partial   written until it is whole: its journal is there, and at the end its manifest
//! NAME <-> .NAME.partial      exchanged, in one step of the file system where it has one
//! .NAME.partial   the old dataset now: what no ingest wrote moves to NAME, the rest is deleted
//! NAME            its journal is deleted: done
//! ```
//! A kill leaves one of these states, and [`recover`] goes on from it. Without such a step the old dataset is called
//! `.NAME.replaced` for a moment.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::{Checkpoint, journal, remove_if_there};
use crate::{
    DatasetError, atomic,
    lock::Lock,
    manifest::{self, Manifest},
};

/// The names that a replacement needs.
#[derive(Debug)]
pub(super) struct Place {
    /// The dataset directory, links resolved.
    target: PathBuf,
    /// Where the new dataset is written, and the old one is deleted.
    pub beside: PathBuf,
    /// Where the old one is for a moment on a file system that cannot exchange two names.
    replaced: PathBuf,
}

impl Place {
    /// Of a directory that exists.
    pub fn of(target: &Path) -> Result<Self, DatasetError> {
        let target = fs::canonicalize(target).map_err(DatasetError::io(target))?;
        let mut name = OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(".replaced");
        Ok(Self { beside: atomic::partial_path(&target), replaced: target.with_file_name(name), target })
    }
}

/// Everything that an ingest wrote, or was about to, in `directory`.
pub(super) fn owned<C: Checkpoint>(directory: &Path) -> Result<BTreeSet<String>, DatasetError> {
    let mut owned = BTreeSet::new();
    if Manifest::exists(directory) {
        let manifest = Manifest::read(directory)?;
        let unlisted = if manifest.domain == C::DOMAIN && manifest.files.is_empty() {
            C::unlisted_files(&manifest)
        } else {
            Vec::new()
        };
        owned.extend(manifest.shards.into_iter().map(|shard| shard.file));
        owned.extend(manifest.files.into_iter().chain(unlisted));
    }
    if let Some(found) = journal::read::<serde_json::Value>(directory)? {
        owned.extend(found.files);
    }
    Ok(owned)
}

/// Removes files inside `directory`, and the directories inside it that this leaves empty.
pub(super) fn clear<'a>(directory: &Path, files: impl Iterator<Item = &'a String>) -> Result<(), DatasetError> {
    let mut parents = BTreeSet::new();
    for file in files.filter(|file| is_inside(file)) {
        let path = directory.join(file);
        remove_if_there(&path)?;
        remove_if_there(&atomic::partial_path(&path))?;
        parents.extend(Path::new(file).ancestors().skip(1).map(Path::to_path_buf));
    }
    for parent in parents.iter().rev().filter(|parent| !parent.as_os_str().is_empty()) {
        // Refused where something else is in it.
        let _ = fs::remove_dir(directory.join(parent));
    }
    Ok(())
}

/// Removes what a kill left of files that are whole.
pub(super) fn clear_partials(directory: &Path, files: &BTreeSet<String>) -> Result<(), DatasetError> {
    let mut partials =
        files.iter().filter(|file| is_inside(file)).map(|file| atomic::partial_path(&directory.join(file)));
    partials.try_for_each(|partial| remove_if_there(&partial))
}

/// Removes everything that an ingest wrote in `directory`; the list of it last.
pub(super) fn clear_all<C: Checkpoint>(directory: &Path) -> Result<(), DatasetError> {
    clear(directory, owned::<C>(directory)?.iter())?;
    remove_manifest(directory)?;
    let journal = directory.join(journal::FILE_NAME);
    remove_if_there(&atomic::partial_path(&journal))?;
    remove_if_there(&journal)
}

/// Removes the manifest, whole or half written.
pub(super) fn remove_manifest(directory: &Path) -> Result<(), DatasetError> {
    let manifest = directory.join(manifest::FILE_NAME);
    remove_if_there(&atomic::partial_path(&manifest))?;
    remove_if_there(&manifest)
}

/// Whether nothing is in `directory`.
pub(super) fn is_empty(directory: &Path) -> Result<bool, DatasetError> {
    Ok(fs::read_dir(directory).map_err(DatasetError::io(directory))?.next().is_none())
}

/// A list that was tampered with names no file elsewhere.
fn is_inside(file: &str) -> bool {
    let mut components = Path::new(file).components();
    !file.is_empty() && components.all(|component| matches!(component, Component::Normal(_)))
}

/// What no ingest wrote in `old`, by paths inside it: whole directories as one, unless something that is `owned` is in them
/// or `new` has them too.
fn foreign(old: &Path, owned: &BTreeSet<String>, new: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let owned: BTreeSet<&Path> = owned.iter().map(Path::new).collect();
    let (mut foreign, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(directory) = open.pop() {
        let path = old.join(&directory);
        for entry in fs::read_dir(&path).map_err(DatasetError::io(&path))? {
            let entry = entry.map_err(DatasetError::io(&path))?;
            let file = directory.join(entry.file_name());
            let is_directory = entry.file_type().map_err(DatasetError::io(&path))?.is_dir();
            let is_list = [manifest::FILE_NAME, journal::FILE_NAME].iter().any(|name| file == Path::new(name));
            let is_partial = || owned.iter().any(|owned| atomic::partial_path(owned) == file);
            if is_directory && (owned.iter().any(|owned| owned.starts_with(&file)) || new.join(&file).is_dir()) {
                open.push(file);
            } else if !is_list && !owned.contains(file.as_path()) && !is_partial() {
                foreign.push(file);
            }
        }
    }
    foreign.sort();
    Ok(foreign)
}

/// Puts the dataset beside in the place of the old one.
pub(super) fn swap<C: Checkpoint>(place: &Place, named: &Path) -> Result<(), DatasetError> {
    let Place { target, beside, .. } = place;
    let foreign = foreign(target, &owned::<C>(target)?, beside)?;
    if let Some(file) = foreign.iter().find(|file| beside.join(file).symlink_metadata().is_ok()) {
        let reason = format!("holds {}, which no ingest wrote: choose another directory", file.display());
        return Err(DatasetError::Exists { path: named.into(), reason });
    }
    let metadata = fs::metadata(target).map_err(DatasetError::io(target))?;
    fs::set_permissions(beside, metadata.permissions()).map_err(DatasetError::io(beside))?;
    let exchanged = exchange(target, beside).or_else(|_| exchange_in_steps(place));
    exchanged.and_then(|()| atomic::sync_parent(target)).map_err(DatasetError::io(beside))?;
    finish::<C>(place)
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn exchange_in_steps(Place { target, beside, replaced }: &Place) -> io::Result<()> {
    fs::rename(target, replaced)?;
    if let Err(error) = fs::rename(beside, target) {
        fs::rename(replaced, target)?;
        return Err(error);
    }
    fs::rename(replaced, beside)
}

/// After the exchange: the old dataset goes, and what is not of it stays.
fn finish<C: Checkpoint>(Place { target, beside, .. }: &Place) -> Result<(), DatasetError> {
    for file in foreign(beside, &owned::<C>(beside)?, target)? {
        let (from, to) = (beside.join(&file), target.join(&file));
        if to.symlink_metadata().is_ok() {
            continue;
        }
        let parent = to.parent().unwrap_or(target);
        fs::create_dir_all(parent).and_then(|()| fs::rename(&from, &to)).map_err(DatasetError::io(&from))?;
    }
    clear_all::<C>(beside)?;
    // Something that appeared meanwhile is nobody's to delete.
    let _ = fs::remove_dir(beside);
    journal::remove(target)
}

/// Goes on with a replacement that was killed after the new dataset was whole. The target must be locked; where it is not in
/// place afterwards, the lock is on what it was before.
pub(super) fn recover<C: Checkpoint>(place: &Place) -> Result<(), DatasetError> {
    let Place { target, beside, replaced } = place;
    if replaced.is_dir() {
        if !Manifest::exists(target) && Manifest::exists(beside) {
            fs::rename(beside, target).map_err(DatasetError::io(target))?;
        }
        if !beside.exists() {
            fs::rename(replaced, beside).map_err(DatasetError::io(replaced))?;
        }
    }
    if Manifest::exists(target) && journal::exists(target) {
        if beside.is_dir() { finish::<C>(place) } else { journal::remove(target) }
    } else {
        Ok(())
    }
}

/// Removes what a killed ingest left beside a dataset that is as it was asked for, unless somebody is at work there or nothing
/// can be written.
pub(super) fn tidy<C: Checkpoint>(target: &Path) {
    let Ok(place) = Place::of(target) else { return };
    if !(journal::exists(target) || place.beside.is_dir() || place.replaced.is_dir()) {
        return;
    }
    if let Some(_lock) = Lock::if_free(target)
        && recover::<C>(&place).is_ok()
    {
        tidy_beside::<C>(&place);
    }
}

/// Removes a replacement that was given up, unless somebody is at work on it. The target must be locked.
pub(super) fn tidy_beside<C: Checkpoint>(place: &Place) {
    if (journal::exists(&place.beside) || Manifest::exists(&place.beside))
        && let Some(_lock) = Lock::if_free(&place.beside)
        && clear_all::<C>(&place.beside).is_ok()
    {
        let _ = fs::remove_dir(&place.beside);
    }
}
