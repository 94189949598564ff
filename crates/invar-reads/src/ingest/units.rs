//! Which inputs are read together, and whether they are different files.

use std::{collections::HashMap, fs, path::Path};

use invar_dataset::object;

use crate::{Error, Inputs, Pairing};

/// Inputs that are read together, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    One(u32),
    /// Files of first and second mates.
    Two(u32, u32),
}

impl Unit {
    /// The indices of its inputs.
    pub fn inputs(self) -> Vec<u32> {
        match self {
            Self::One(input) => vec![input],
            Self::Two(first, second) => vec![first, second],
        }
    }
}

/// Which inputs are read together.
///
/// # Errors
/// [`Error::Config`] if there are none, an odd number of mate files, or one file twice.
pub(super) fn units(inputs: &Inputs) -> Result<Vec<Unit>, Error> {
    let num_files = inputs.files.len() as u32;
    if num_files == 0 {
        return refuse("inputs", "at least one file", "none");
    }
    if inputs.files.iter().filter(|path| *path == Path::new("-")).count() > 1 {
        return refuse("inputs", "standard input (-) once", "it more than once");
    }
    refuse_one_file_twice(inputs)?;
    if inputs.pairing != Pairing::Files {
        return Ok((0..num_files).map(Unit::One).collect());
    }
    if num_files % 2 == 1 {
        return refuse("mates", "an even number of files (R1 R2 ...)", &num_files.to_string());
    }
    Ok((0..num_files).step_by(2).map(|first| Unit::Two(first, first + 1)).collect())
}

/// Paths differ if a file has several names; device and inode do not. Copies differ in both: see their checksums.
fn refuse_one_file_twice(inputs: &Inputs) -> Result<(), Error> {
    let (mut files, mut objects) = (HashMap::new(), HashMap::new());
    for path in inputs.files.iter().chain(&inputs.reference) {
        let before = match identity(path) {
            _ if object::is_url(path) => objects.insert(path, path),
            Some(identity) => files.insert(identity, path),
            None => None,
        };
        if let Some(before) = before {
            let found = format!("one file twice: {} and {}", before.display(), path.display());
            return refuse("inputs", "different files", &found);
        }
    }
    Ok(())
}

/// Device and inode of a file or pipe; `None` for devices (`/dev/null` may be given twice), and for what cannot be
/// inspected, which is reported when it is opened.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let metadata = fs::metadata(if path == Path::new("-") { Path::new("/dev/stdin") } else { path }).ok()?;
    let kind = metadata.file_type();
    (kind.is_file() || kind.is_fifo()).then(|| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<std::path::PathBuf> {
    fs::canonicalize(path).ok()
}

fn refuse<T>(what: &str, expected: &str, found: &str) -> Result<T, Error> {
    Err(Error::Config { what: what.into(), expected: expected.into(), found: found.into() })
}
