//! What is read, by path or by URL: one way to open both.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::object;

/// Opens a file or an object to be read from front to back.
///
/// # Errors
/// If it is not there, access is denied, or the system or the store fails.
pub fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    if object::is_url(path) { object::open(path) } else { Ok(Box::new(File::open(path)?)) }
}

/// All bytes of a file or an object.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !object::is_url(path) {
        return fs::read(path);
    }
    let mut bytes = Vec::new();
    object::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Why a file or an object is missing; `None` if it is there.
///
/// # Errors
/// If it is not known, because the store of an object denies access or does not answer.
pub fn absence(path: &Path) -> io::Result<Option<String>> {
    if let Some(reason) = object::refusal(path) {
        return Ok(Some(format!("which is not taken ({reason})")));
    }
    if !object::is_url(path) {
        return Ok((!path.is_file()).then(|| "which is not there".to_owned()));
    }
    match object::look(path) {
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Some(format!("which is not there ({error})")))
        }
        Err(error) => Err(error),
    }
}

/// What two names of one file have in common: its path without links, or its URL.
pub fn place(path: &Path) -> PathBuf {
    if object::is_url(path) { path.into() } else { path.canonicalize().unwrap_or_else(|_| path.into()) }
}

/// What a cell of a sheet may be called in a message: as it was written, but for secrets in a URL.
pub fn shown(cell: &str, path: &Path) -> String {
    if cell.contains("://") { path.display().to_string() } else { cell.to_owned() }
}
