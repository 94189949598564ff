//! Replaces an old dataset by a new one, and decides what may be deleted on the way.
//!
//! ```text
//! .NAME.partial   written until it is whole: its journal is there, and at the end its manifest
//! NAME <-> .NAME.partial      exchanged, in one step of the file system where it has one
//! .NAME.partial   the old dataset now: what no ingest wrote moves to NAME, the rest is deleted
//! NAME            its journal is deleted: done
//! ```
//! Without such an exchange the new one is renamed to `.NAME.moving`, the old one is deleted, and the new one moves to
//! NAME file by file, its manifest last. If nothing can be moved to NAME from next to it (because it is a mount point,
//! or its parent is not the user's), both directories are inside it: `NAME/.ingest.partial`. A kill leaves one of these
//! states, and [`recover`] continues from it.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::{Checkpoint, journal, remove_if_there};
use crate::{
    DatasetError, atomic,
    lock::Lock,
    manifest::{self, Manifest},
};

const PARTIAL: &str = ".ingest.partial";
const MOVING: &str = ".ingest.moving";

/// The paths that a replacement needs.
#[derive(Debug)]
pub(super) struct Place {
    /// The dataset directory, links resolved.
    target: PathBuf,
    /// Where the new dataset is written.
    pub beside: PathBuf,
    /// The name of that directory while its files move to the target.
    moving: PathBuf,
}

impl Place {
    /// Next to the target, which exists, and inside it.
    fn both(target: &Path) -> Result<[Self; 2], DatasetError> {
        let target = fs::canonicalize(target).map_err(DatasetError::io(target))?;
        let beside = atomic::partial_path(&target);
        let within = Self { target: target.clone(), beside: target.join(PARTIAL), moving: target.join(MOVING) };
        Ok([Self { moving: beside.with_extension("moving"), beside, target }, within])
    }

    /// Next to the target if a directory can be moved from there into it, else inside.
    pub fn choose(target: &Path) -> Result<Self, DatasetError> {
        let [beside, within] = Self::both(target)?;
        let is_beside = beside.beside.is_dir() || !within.beside.is_dir() && beside.can_move();
        Ok(if is_beside { beside } else { within })
    }

    fn can_move(&self) -> bool {
        let probe = self.target.join(MOVING);
        let moved = fs::create_dir(&self.beside).and_then(|()| fs::rename(&self.beside, &probe));
        // Whichever exists.
        let _ = fs::remove_dir(&self.beside);
        let _ = fs::remove_dir(&probe);
        moved.is_ok()
    }
}

/// Everything that an ingest wrote, or was about to write, in `directory`.
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
        owned.extend(manifest.files.into_iter().map(|other| other.file).chain(unlisted));
    }
    if let Some(found) = journal::read::<serde_json::Value>(directory)? {
        owned.extend(found.files);
    }
    Ok(owned)
}

/// Removes files inside `directory`, and any directories inside it that become empty.
pub(super) fn clear<'a>(directory: &Path, files: impl Iterator<Item = &'a String>) -> Result<(), DatasetError> {
    let mut parents = BTreeSet::new();
    for file in files.filter(|file| is_inside(file)) {
        let path = directory.join(file);
        remove_if_there(&path)?;
        remove_if_there(&atomic::partial_path(&path))?;
        parents.extend(Path::new(file).ancestors().skip(1).map(Path::to_path_buf));
    }
    for parent in parents.iter().rev().filter(|parent| !parent.as_os_str().is_empty()) {
        // Fails if something else is in it.
        let _ = fs::remove_dir(directory.join(parent));
    }
    Ok(())
}

/// Removes temporary files that a kill left next to these.
pub(super) fn clear_partials(directory: &Path, files: &BTreeSet<String>) -> Result<(), DatasetError> {
    let mut partials =
        files.iter().filter(|file| is_inside(file)).map(|file| atomic::partial_path(&directory.join(file)));
    partials.try_for_each(|partial| remove_if_there(&partial))
}

/// Removes everything that an ingest wrote in `directory`, and the list of it last.
pub(super) fn clear_all<C: Checkpoint>(directory: &Path) -> Result<(), DatasetError> {
    clear(directory, owned::<C>(directory)?.iter())?;
    remove_manifest(directory)?;
    let journal = directory.join(journal::FILE_NAME);
    remove_if_there(&atomic::partial_path(&journal))?;
    remove_if_there(&journal)
}

/// Removes the manifest, complete or half written.
pub(super) fn remove_manifest(directory: &Path) -> Result<(), DatasetError> {
    let manifest = directory.join(manifest::FILE_NAME);
    remove_if_there(&atomic::partial_path(&manifest))?;
    remove_if_there(&manifest)
}

/// Whether `directory` is empty.
pub(super) fn is_empty(directory: &Path) -> Result<bool, DatasetError> {
    Ok(fs::read_dir(directory).map_err(DatasetError::io(directory))?.next().is_none())
}

/// A list that was tampered with must not name files elsewhere.
fn is_inside(file: &str) -> bool {
    let mut components = Path::new(file).components();
    !file.is_empty() && components.all(|component| matches!(component, Component::Normal(_)))
}

/// What no ingest wrote in `old`, by paths inside it: whole directories as one entry, unless they contain something
/// `owned` or `new` has them too.
fn foreign(old: &Path, owned: &BTreeSet<String>, new: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let owned: BTreeSet<&Path> = owned.iter().map(Path::new).collect();
    let (mut foreign, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(directory) = open.pop() {
        let path = old.join(&directory);
        for entry in fs::read_dir(&path).map_err(DatasetError::io(&path))? {
            let entry = entry.map_err(DatasetError::io(&path))?;
            let file = directory.join(entry.file_name());
            let is_directory = entry.file_type().map_err(DatasetError::io(&path))?.is_dir();
            let names = [manifest::FILE_NAME, journal::FILE_NAME, PARTIAL, MOVING];
            let is_list = names.iter().any(|name| file == Path::new(name));
            let is_partial = || owned.iter().any(|owned| atomic::partial_path(owned) == file);
            if is_directory
                && !is_list
                && (owned.iter().any(|owned| owned.starts_with(&file)) || new.join(&file).is_dir())
            {
                open.push(file);
            } else if !is_list && !owned.contains(file.as_path()) && !is_partial() {
                foreign.push(file);
            }
        }
    }
    foreign.sort();
    Ok(foreign)
}

/// Puts the dataset written next to the old one in its place.
pub(super) fn swap<C: Checkpoint>(place: &Place, named: &Path) -> Result<(), DatasetError> {
    let Place { target, beside, .. } = place;
    let foreign = foreign(target, &owned::<C>(target)?, beside)?;
    if let Some(file) = foreign.iter().find(|file| beside.join(file).symlink_metadata().is_ok()) {
        let reason = format!("holds {}, which no ingest wrote: choose another directory", file.display());
        return Err(DatasetError::Exists { path: named.into(), reason });
    }
    let metadata = fs::metadata(target).map_err(DatasetError::io(target))?;
    fs::set_permissions(beside, metadata.permissions()).map_err(DatasetError::io(beside))?;
    if beside.parent() == target.parent() && exchange(target, beside).is_ok() {
        atomic::sync_parent(target).map_err(DatasetError::io(target))?;
        finish::<C>(place)
    } else {
        fs::rename(beside, &place.moving).map_err(DatasetError::io(beside))?;
        move_in::<C>(place)
    }
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

/// Deletes the old dataset, and moves the files of the new one to its place.
fn move_in<C: Checkpoint>(Place { target, moving, .. }: &Place) -> Result<(), DatasetError> {
    if Manifest::exists(moving) {
        // Without its manifest the old one is gone; from then on what is in the target is new.
        clear_all::<C>(target)?;
        let files = owned::<C>(moving)?;
        for file in files.iter().map(String::as_str).filter(|file| is_inside(file)).chain([manifest::FILE_NAME]) {
            let (from, to) = (moving.join(file), target.join(file));
            if from.symlink_metadata().is_ok() {
                let parent = to.parent().unwrap_or(target);
                fs::create_dir_all(parent).and_then(|()| fs::rename(&from, &to)).map_err(DatasetError::io(&from))?;
            }
        }
    }
    clear_all::<C>(moving)?;
    fs::remove_dir(moving).map_err(DatasetError::io(moving))
}

/// After the exchange: the old dataset is deleted, and everything else stays.
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
    // If something appeared in the meantime, it is not ours to delete.
    let _ = fs::remove_dir(beside);
    journal::remove(target)
}

/// Continues a replacement that was killed after the new dataset was complete. The target must be locked.
pub(super) fn recover<C: Checkpoint>(target: &Path) -> Result<(), DatasetError> {
    let places = Place::both(target)?;
    for place in places.iter().filter(|place| place.moving.is_dir()) {
        move_in::<C>(place)?;
    }
    if !(Manifest::exists(target) && journal::exists(target)) {
        return Ok(());
    }
    if places[0].beside.is_dir() { finish::<C>(&places[0]) } else { journal::remove(target) }
}

/// Removes what a killed ingest left next to an up-to-date dataset, unless another command is at work there or nothing
/// can be written.
pub(super) fn tidy<C: Checkpoint>(target: &Path) {
    let Ok(places) = Place::both(target) else { return };
    if !(journal::exists(target) || places.iter().any(|place| place.beside.is_dir() || place.moving.is_dir())) {
        return;
    }
    if let Some(_lock) = Lock::if_free(target)
        && recover::<C>(target).is_ok()
    {
        tidy_beside::<C>(target);
    }
}

/// Removes an abandoned replacement, unless another command is at work on it. The target must be locked.
pub(super) fn tidy_beside<C: Checkpoint>(target: &Path) {
    let Ok(places) = Place::both(target) else { return };
    for Place { beside, .. } in &places {
        if (journal::exists(beside) || Manifest::exists(beside))
            && let Some(_lock) = Lock::if_free(beside)
            && clear_all::<C>(beside).is_ok()
        {
            let _ = fs::remove_dir(beside);
        }
    }
}
