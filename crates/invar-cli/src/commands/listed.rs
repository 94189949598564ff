//! A directory of files that a command writes, with a list of those that are Invar's.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result};
use invar_dataset::{Replacement, atomic, lock::Lock};
use serde::{Deserialize, Serialize};

use crate::{
    cli::Common,
    exit::{BadInput, Usage},
};

/// The directories of one command.
#[derive(Clone, Copy)]
pub struct Listed {
    /// The command, as typed.
    pub command: &'static str,
    /// Name of the file that lists the others; written last.
    pub list: &'static str,
}

/// A directory held by one of these commands, from its start to its end.
pub struct Held<'a> {
    listed: Listed,
    out: &'a Path,
    /// What will be replaced: paths inside it.
    old: Vec<PathBuf>,
    /// `None` if a file is in its place.
    _lock: Option<Lock>,
}

#[derive(Serialize, Deserialize)]
struct List {
    tool_version: String,
    files: Vec<String>,
}

impl Listed {
    /// Holds `out`, for writing files into it.
    ///
    /// # Errors
    /// [`Usage`] if the command has already written there, unless that is to be replaced, or there is anything that it
    /// did not write; if another command holds it.
    pub fn hold<'a>(self, out: &'a Path, common: &Common) -> Result<Held<'a>> {
        let lock = || Lock::directory(out).with_context(|| out.display().to_string());
        let lock = (out.is_dir() || !out.exists()).then(lock).transpose()?;
        Ok(Held { listed: self, out, old: self.replaceable(out, common)?, _lock: lock })
    }

    fn replaceable(self, out: &Path, common: &Common) -> Result<Vec<PathBuf>> {
        let refuse = |reason: String| Err(Usage(format!("{}: {reason}", out.display())).into());
        if out.exists() && !out.is_dir() {
            return refuse("exists already and is no directory".into());
        }
        let at = || out.display().to_string();
        let replacement = Replacement::of(out);
        replacement.recover(Path::new(self.list)).with_context(at)?;
        let Some(first) = replacement.entries().with_context(at)?.into_iter().next() else { return Ok(vec![]) };
        let path = out.join(self.list);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (name, command) = (first.file_name().unwrap_or_default().display(), self.command);
                return refuse(format!(
                    "exists already and holds {name}, which `{command}` did not write: choose another"
                ));
            }
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        if !common.force {
            return refuse("exists already (--force replaces it)".into());
        }
        let list: List =
            serde_json::from_slice(&text).map_err(|error| BadInput(format!("{}: {error}", path.display())))?;
        // Only files directly in the directory can be ours.
        let is_name = |file: &PathBuf| matches!(file.components().collect::<Vec<_>>()[..], [Component::Normal(_)]);
        let mut files: Vec<PathBuf> = list.files.into_iter().map(PathBuf::from).filter(is_name).collect();
        files.push(self.list.into());
        Ok(files)
    }
}

impl Held<'_> {
    /// Lets `fill` write into a temporary directory, lists the files, and replaces the old files by them. If that
    /// fails, everything begun is removed.
    ///
    /// # Errors
    /// As `fill`; if the system fails, or a new file has the name of one that is not Invar's.
    pub fn write<T>(self, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let replacement = Replacement::of(self.out);
        let written =
            replacement.begin().with_context(|| replacement.path().display().to_string()).and_then(fill).and_then(
                |made| {
                    self.finish(&replacement).with_context(|| self.out.display().to_string())?;
                    Ok(made)
                },
            );
        written.inspect_err(|_| {
            // What cannot be removed now will be when the command is repeated.
            let _ = replacement.discard();
        })
    }

    fn finish(&self, replacement: &Replacement) -> io::Result<()> {
        let mut files = vec![];
        for entry in fs::read_dir(replacement.path())? {
            files.push(entry?.file_name().to_string_lossy().into_owned());
        }
        files.sort();
        let list = List { tool_version: env!("CARGO_PKG_VERSION").into(), files };
        let json = serde_json::to_vec_pretty(&list).expect("a list of names");
        atomic::write(replacement.path().join(self.listed.list), &json)?;
        replacement.commit(&self.old, Path::new(self.listed.list))
    }
}
