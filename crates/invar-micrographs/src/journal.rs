//! What an unfinished ingest leaves for the next one: one JSON line that says which inputs and parameters it had, then
//! one line for each finished page, in the order in which they were finished. A line that was cut off by a kill is
//! ignored.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use invar_dataset::manifest::{Input, Shard};
use serde::{Deserialize, Serialize};

use crate::Error;

const FILE_NAME: &str = ".ingest.journal";

/// What must be the same for finished pages to be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    pub tool_version: String,
    pub parameters: serde_json::Value,
    pub inputs: Vec<InputIdentity>,
}

/// An input as the file system knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InputIdentity {
    pub path: PathBuf,
    pub size_bytes: u64,
    pub modified_ns: u128,
}

/// A finished page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Its number among the pages of all files.
    pub number: usize,
    /// `None` where it was left out on request.
    pub shard: Option<Shard>,
    /// Why it was left out.
    pub skipped: Option<String>,
    /// Image and mask, with the first page of a file.
    pub inputs: Vec<Input>,
    /// What the manifest says of the image.
    pub facts: serde_json::Value,
    /// The label map beside the shard.
    pub labels: Option<String>,
}

/// The journal, open for the next line.
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Begins one that holds these checkpoints.
    pub fn create(directory: &Path, key: &Key, checkpoints: &[Checkpoint]) -> Result<Self, Error> {
        let path = directory.join(FILE_NAME);
        let mut text = line(key);
        text.extend(checkpoints.iter().flat_map(line));
        invar_dataset::atomic::write(&path, &text).map_err(Error::io(&path))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(Error::io(&path))?;
        Ok(Self { file, path })
    }

    /// Writes a line that is on the disk when this returns.
    pub fn push(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.file.write_all(&line(checkpoint)).and_then(|()| self.file.sync_data()).map_err(Error::io(&self.path))
    }
}

/// Reads the journal of `directory`; `None` where there is none that can be read.
pub(crate) fn read(directory: &Path) -> Result<Option<(Key, Vec<Checkpoint>)>, Error> {
    let path = directory.join(FILE_NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(&path)(error)),
    };
    let mut lines = text.split(|&byte| byte == b'\n');
    let Some(key) = lines.next().and_then(|line| serde_json::from_slice(line).ok()) else { return Ok(None) };
    let checkpoints = lines.map_while(|line| serde_json::from_slice(line).ok()).collect();
    Ok(Some((key, checkpoints)))
}

/// Removes the journal, if there is one.
pub(crate) fn remove(directory: &Path) -> Result<(), Error> {
    let path = directory.join(FILE_NAME);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(&path)(error)),
        _ => Ok(()),
    }
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("all maps have string keys");
    line.push(b'\n');
    line
}
