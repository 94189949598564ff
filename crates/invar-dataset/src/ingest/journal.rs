//! What an unfinished ingest leaves behind: one JSON line with its inputs and parameters, then a line for each list of
//! files it was about to write, and for each finished piece. A line that was cut off by a kill is ignored.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Key;
use crate::{DatasetError, atomic};

pub(super) const FILE_NAME: &str = ".ingest.journal";

/// The content of a journal.
#[derive(Debug, PartialEq)]
pub(super) struct Found<C> {
    pub key: Key,
    /// Files that the ingest wrote, or was about to.
    pub files: Vec<String>,
    pub pieces: Vec<C>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<C> {
    Files(Vec<String>),
    Piece(C),
}

/// A journal, open for appending.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Creates a journal in `directory`.
    pub fn create(
        directory: &Path,
        key: &Key,
        files: &[String],
        pieces: &[impl Serialize],
    ) -> Result<Self, DatasetError> {
        let path = directory.join(FILE_NAME);
        let mut text = line(key);
        if !files.is_empty() {
            text.extend(line(&Line::<()>::Files(files.to_vec())));
        }
        text.extend(pieces.iter().flat_map(|piece| line(&Line::Piece(piece))));
        atomic::write(&path, &text).map_err(DatasetError::io(&path))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(DatasetError::io(&path))?;
        Ok(Self { file, path })
    }

    /// Records which files come next. This may be lost in a power cut, but not in a kill.
    pub fn announce(&mut self, files: &[String]) -> Result<(), DatasetError> {
        let written = self.file.write_all(&line(&Line::<()>::Files(files.to_vec())));
        written.map_err(DatasetError::io(&self.path))
    }

    /// Records a finished piece; the line is on disk when this returns.
    pub fn push(&mut self, piece: &impl Serialize) -> Result<(), DatasetError> {
        let written = self.file.write_all(&line(&Line::Piece(piece))).and_then(|()| self.file.sync_data());
        written.map_err(DatasetError::io(&self.path))
    }
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("names are text, and all maps have string keys");
    line.push(b'\n');
    line
}

/// Whether there is a journal in `directory`.
pub(super) fn exists(directory: &Path) -> bool {
    directory.join(FILE_NAME).is_file()
}

/// Reads the journal of `directory`; `None` if there is none that can be read.
pub(super) fn read<C: DeserializeOwned>(directory: &Path) -> Result<Option<Found<C>>, DatasetError> {
    let path = directory.join(FILE_NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DatasetError::io(&path)(error)),
    };
    let mut lines = text.split(|&byte| byte == b'\n');
    let Some(key) = lines.next().and_then(|line| serde_json::from_slice(line).ok()) else { return Ok(None) };
    let (mut files, mut pieces) = (Vec::new(), Vec::new());
    for line in lines.map_while(|line| serde_json::from_slice::<Line<C>>(line).ok()) {
        match line {
            Line::Files(more) => files.extend(more),
            Line::Piece(piece) => pieces.push(piece),
        }
    }
    Ok(Some(Found { key, files, pieces }))
}

/// Removes the journal, if there is one.
pub(super) fn remove(directory: &Path) -> Result<(), DatasetError> {
    super::remove_if_there(&directory.join(FILE_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::InputIdentity;

    #[test]
    fn a_journal_gives_back_what_was_finished_and_ignores_a_cut_line() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read::<u32>(dir.path()).unwrap().is_none());
        let input = dir.path().join("input");
        fs::write(&input, "abc").unwrap();
        let key = Key {
            tool_version: "1".into(),
            parameters: serde_json::json!({"a": 1}),
            inputs: vec![InputIdentity::of(&input).unwrap(), InputIdentity::of(Path::new("-")).unwrap()],
        };
        assert_eq!(key.inputs[0].file.as_ref().unwrap().size_bytes(), 3);
        assert!(!key.can_be_read_again());
        let mut journal = Journal::create(dir.path(), &key, &["a".into()], &[7u32]).unwrap();
        journal.announce(&["b".into(), "c".into()]).unwrap();
        journal.push(&8u32).unwrap();
        let found = Found { key, files: ["a", "b", "c"].map(String::from).to_vec(), pieces: vec![7, 8] };
        assert_eq!(read(dir.path()).unwrap().as_ref(), Some(&found));
        let path = dir.path().join(FILE_NAME);
        let mut text = fs::read(&path).unwrap();
        text.extend(b"{\"cut");
        fs::write(&path, text).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(found));
        remove(dir.path()).unwrap();
        assert!(!exists(dir.path()) && read::<u32>(dir.path()).unwrap().is_none());
    }
}
