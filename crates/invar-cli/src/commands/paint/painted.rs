//! The directory of pictures, and which of its files are Invar's: those that its list, `painted.json`, names.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result};
use invar_dataset::{Replacement, atomic};
use serde::{Deserialize, Serialize};

use crate::{
    cli::Common,
    exit::{BadInput, Usage},
};

/// The list of the files; written last.
const LIST: &str = "painted.json";

#[derive(Serialize, Deserialize)]
struct List {
    tool_version: String,
    files: Vec<String>,
}

/// Whether pictures may be painted into `out`, and what they then replace: paths inside it.
///
/// # Errors
/// [`Usage`] where there are pictures already, unless they are to be replaced, or anything that Invar did not paint.
pub fn replaceable(out: &Path, common: &Common) -> Result<Vec<PathBuf>> {
    let refuse = |reason: String| Err(Usage(format!("{}: {reason}", out.display())).into());
    if out.exists() && !out.is_dir() {
        return refuse("exists already and is no directory".into());
    }
    let at = || out.display().to_string();
    let replacement = Replacement::of(out);
    replacement.recover(Path::new(LIST)).with_context(at)?;
    let Some(first) = replacement.first_entry().with_context(at)? else { return Ok(vec![]) };
    let path = out.join(LIST);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = first.file_name().unwrap_or_default().display();
            return refuse(format!(
                "exists already and holds {name}, which `invar paint` did not write: choose another"
            ));
        }
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    if !common.force {
        return refuse("exists already (--force replaces it)".into());
    }
    let list: List = serde_json::from_slice(&text).map_err(|error| BadInput(format!("{}: {error}", path.display())))?;
    // Only what lies in the directory itself was painted.
    let is_name = |file: &PathBuf| matches!(file.components().collect::<Vec<_>>()[..], [Component::Normal(_)]);
    let mut files: Vec<PathBuf> = list.files.into_iter().map(PathBuf::from).filter(is_name).collect();
    files.push(LIST.into());
    Ok(files)
}

/// Lists what was painted, and puts it in the place of the `old` files.
///
/// # Errors
/// When the system refuses, or a picture has the name of a file that is not Invar's.
pub fn finish(replacement: &Replacement, old: &[PathBuf]) -> io::Result<()> {
    let mut files = vec![];
    for entry in fs::read_dir(replacement.path())? {
        files.push(entry?.file_name().to_string_lossy().into_owned());
    }
    files.sort();
    let list = List { tool_version: env!("CARGO_PKG_VERSION").into(), files };
    let json = serde_json::to_vec_pretty(&list).expect("a list of names");
    atomic::write(replacement.path().join(LIST), &json)?;
    replacement.commit(old, Path::new(LIST))
}
