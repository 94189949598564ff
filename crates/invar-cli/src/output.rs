//! Checks what may be written where, before the work.

use std::{fs, path::Path};

use anyhow::Result;

use crate::{cli::Common, exit::Usage};

/// Checks that a file may be written to `out`: its directory exists, and the file is allowed by [`check_free`].
///
/// # Errors
/// [`Usage`], naming the path.
pub fn check_file(out: &Path, common: &Common, inputs: &[&Path]) -> Result<()> {
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return Err(Usage(format!("{}: there is no directory {}", out.display(), parent.display())).into());
    }
    check_free(out, common, inputs)
}

/// Checks that a file may be called `out`: nothing is there, or with `--force` a file that is not one of the command's
/// `inputs`.
///
/// # Errors
/// [`Usage`], naming the path.
pub fn check_free(out: &Path, common: &Common, inputs: &[&Path]) -> Result<()> {
    let refuse = |reason: &str| Err(Usage(format!("{}: {reason}", out.display())).into());
    if out.is_dir() {
        return refuse("is a directory; a file is to be written");
    }
    let Ok(resolved) = fs::canonicalize(out) else { return Ok(()) };
    if inputs.iter().any(|input| fs::canonicalize(input).is_ok_and(|input| input == resolved)) {
        return refuse("is an input of this command");
    }
    if common.force { Ok(()) } else { refuse("exists already (--force replaces it)") }
}
