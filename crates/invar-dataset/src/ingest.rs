//! What the ingests of all domains share: the output directory from its first file to its last, and the comparison of
//! what exists with what is requested.
//!
//! [`Output`] owns the directory. A domain only says which files it writes ([`Checkpoint`]), announces them, and hands
//! over each piece when it is finished; what is kept after a kill, what may be replaced and what is deleted is decided
//! here.

use std::{borrow::Cow, collections::BTreeSet, fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    DatasetError,
    manifest::{Change, Manifest, OtherFile},
    path,
};

mod identity;
mod journal;
mod output;
mod replace;

pub use identity::{FileIdentity, Identity, InputIdentity};
pub use output::{Checkpoint, Output, State, Written};

/// What must be unchanged for finished pieces to be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Version of the program.
    pub tool_version: String,
    /// Every parameter, including defaults.
    pub parameters: serde_json::Value,
    /// Everything that is read, in the order of the manifest's inputs.
    pub inputs: Vec<InputIdentity>,
}

impl Key {
    /// Whether no input is a pipe, so that an interrupted ingest can be resumed.
    pub fn can_be_read_again(&self) -> bool {
        self.inputs.iter().all(|input| input.file.is_some())
    }

    /// How an ingest that began with `self` differs from one with `new`, in words.
    fn difference(&self, new: &Self) -> Option<String> {
        if self.tool_version != new.tool_version {
            return Some(format!("it was made by invar {} instead of {}", self.tool_version, new.tool_version));
        }
        difference_of_parameters(&self.parameters, &new.parameters)
            .or_else(|| {
                let paths =
                    |key: &Self| key.inputs.iter().map(|input| path::text(&input.path).into()).collect::<Vec<_>>();
                difference_of_inputs(&paths(self), &paths(new))
            })
            .or_else(|| {
                let changed = self.inputs.iter().zip(&new.inputs).find(|(old, new)| old.file != new.file);
                changed.map(|(old, _)| format!("{} has changed since", old.path.display()))
            })
    }
}

/// Whether an unfinished ingest is in `directory`.
pub fn is_unfinished(directory: &Path) -> bool {
    directory.join(journal::FILE_NAME).is_file()
}

/// Removes a file, if there is one.
fn remove_if_there(path: &Path) -> Result<(), DatasetError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DatasetError::io(path)(error)),
        _ => Ok(()),
    }
}

/// Has the listed files that are missing written by `write`, which is given the directory, and puts their digests into the
/// manifest, on disk too. It is not written again if none was missing.
///
/// # Errors
/// Those of `write`; system errors.
pub fn complete<E: From<DatasetError>>(
    directory: &Path,
    manifest: &mut Manifest,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let is_missing = |other: &&OtherFile| !directory.join(&other.file).is_file();
    let missing: BTreeSet<String> = manifest.files.iter().filter(is_missing).map(|other| other.file.clone()).collect();
    write(directory)?;
    let is_new = |other: &&mut OtherFile| missing.contains(&other.file) && directory.join(&other.file).is_file();
    let mut is_changed = false;
    for other in manifest.files.iter_mut().filter(is_new) {
        *other = OtherFile::of(directory, other.file.clone())?;
        is_changed = true;
    }
    if is_changed {
        manifest.write(directory)?;
    }
    Ok(())
}

/// Whether a file exists and is intact, byte for byte, or, without a digest, exists.
fn is_whole(directory: &Path, other: &OtherFile) -> bool {
    let path = directory.join(&other.file);
    path.is_file() && other.digest.as_ref().is_none_or(|digest| digest.verify(&path).is_ok())
}

/// How a finished dataset differs from the requested one, in words.
///
/// # Errors
/// If a file of either cannot be read.
fn difference<C: Checkpoint>(directory: &Path, manifest: &Manifest, key: &Key) -> Result<Option<String>, DatasetError> {
    if manifest.domain != C::DOMAIN {
        return Ok(Some(format!("of {} instead of {}", manifest.domain, C::DOMAIN)));
    }
    let old: Vec<_> = manifest.inputs.iter().map(|input| input.path.as_str().into()).collect();
    let new: Vec<_> = key.inputs.iter().map(|input| path::text(&input.path).into()).collect();
    let difference = difference_of_parameters(&manifest.parameters, &key.parameters);
    if let Some(difference) = difference.or_else(|| difference_of_inputs(&old, &new)) {
        return Ok(Some(difference));
    }
    for (old, new) in manifest.inputs.iter().zip(&key.inputs) {
        match old.change(new)? {
            Change::None => {}
            Change::Pipe => {
                return Ok(Some(format!("made from {}, which cannot be read again to compare", old.path)));
            }
            Change::Size { .. } | Change::Bytes { .. } => {
                return Ok(Some(format!("{} has changed since", old.path)));
            }
        }
    }
    let shards = manifest.shards.iter().cloned().map(OtherFile::from);
    for OtherFile { file, digest } in shards.chain(manifest.files.iter().cloned()) {
        match fs::metadata(directory.join(&file)).map(|metadata| metadata.len()) {
            Err(_) if C::is_made_again(&file) => {}
            Err(_) => return Ok(Some(format!("{file} is missing"))),
            Ok(size) => {
                if let Some(digest) = digest.filter(|digest| digest.size_bytes != size) {
                    return Ok(Some(format!("{file} has {size} bytes instead of {}", digest.size_bytes)));
                }
            }
        }
    }
    Ok(None)
}

fn difference_of_parameters(old: &serde_json::Value, new: &serde_json::Value) -> Option<String> {
    (old != new).then(|| format!("its parameters are {old} instead of {new}"))
}

/// How two lists of paths differ, in words: all of them if they are few, else the first difference.
fn difference_of_inputs(old: &[Cow<'_, str>], new: &[Cow<'_, str>]) -> Option<String> {
    const FEW: usize = 4;
    if old == new {
        return None;
    }
    if old.len().max(new.len()) <= FEW {
        return Some(format!("its inputs are {} instead of {}", old.join(" "), new.join(" ")));
    }
    let first = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let name = |list: &[Cow<'_, str>]| list.get(first).map_or_else(|| "nothing".into(), |path| path.to_string());
    let (num_old, num_new) = (old.len(), new.len());
    let (old, new) = (name(old), name(new));
    Some(format!("its inputs are {num_old} files instead of {num_new}; number {} is {old} instead of {new}", first + 1))
}

#[cfg(test)]
mod tests;
