//! From `invar` to `invar-learn`, the same program with LibTorch, which is installed next to it.

use std::{
    convert::Infallible,
    env, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// The program that has LibTorch.
const LEARN: &str = "invar-learn";

/// Becomes `invar-learn` with the same arguments, in the same process: signals and exit code are its own.
///
/// # Errors
/// If it is not there, or cannot be started. (On success, this does not return.)
pub fn to_learn() -> Result<Infallible> {
    let own = env::current_exe().context("finding this program")?;
    let learn = beside(&own);
    let mut arguments = env::args_os();
    let called = arguments.next().unwrap_or_else(|| "invar".into());
    let error = Command::new(&learn).arg0(called).args(arguments).exec();
    if error.kind() == io::ErrorKind::NotFound {
        bail!(
            "{}: not there; training and embedding need it, and it belongs beside {} (`cargo build --package invar` makes \
             both; builds without the feature `torch` have none)",
            learn.display(),
            own.display()
        );
    }
    Err(error).with_context(|| learn.display().to_string())
}

fn beside(own: &Path) -> PathBuf {
    own.with_file_name(LEARN)
}
