//! What the ingests of all domains share: the journal that an unfinished one leaves, the lock on its directory, and the
//! comparison of a finished one with what is asked for.
//!
//! The journal is one JSON line that says which inputs and parameters the ingest had, then one line for each finished piece
//! (a *checkpoint*, of the domain's own making). A line that was cut off by a kill is ignored.

use std::{
    borrow::Cow,
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    DatasetError, atomic,
    manifest::{self, Manifest, Shard},
};

const JOURNAL: &str = ".ingest.journal";

/// What must be the same for finished pieces to be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Version of the program.
    pub tool_version: String,
    /// Every parameter, defaults written out.
    pub parameters: serde_json::Value,
    /// The files, in order.
    pub inputs: Vec<InputIdentity>,
}

/// An input as the file system knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputIdentity {
    /// As the user gave it; `-` for standard input.
    pub path: PathBuf,
    /// `None` for pipes, which cannot be read again.
    pub file: Option<FileIdentity>,
}

/// By what a change of a file is noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Size, as stored.
    pub size_bytes: u64,
    /// When it was last changed, nanoseconds since 1970.
    pub modified_ns: u128,
}

impl Key {
    /// Whether no input is a pipe, so that an interrupted ingest can go on.
    pub fn can_be_read_again(&self) -> bool {
        self.inputs.iter().all(|input| input.file.is_some())
    }
}

impl InputIdentity {
    /// Looks at a file.
    ///
    /// # Errors
    /// When it cannot be looked at, or is a directory.
    pub fn of(path: &Path) -> Result<Self, DatasetError> {
        if path == Path::new("-") {
            return Ok(Self { path: path.into(), file: None });
        }
        let metadata = fs::metadata(path).map_err(DatasetError::io(path))?;
        if metadata.is_dir() {
            return Err(DatasetError::io(path)(io::ErrorKind::IsADirectory.into()));
        }
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let file = modified
            .filter(|_| metadata.is_file())
            .map(|modified| FileIdentity { size_bytes: metadata.len(), modified_ns: modified.as_nanos() });
        Ok(Self { path: path.into(), file })
    }
}

/// The journal, open for the next line.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Begins one in `directory` that holds these checkpoints.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(directory: &Path, key: &Key, checkpoints: &[impl Serialize]) -> Result<Self, DatasetError> {
        let path = directory.join(JOURNAL);
        let mut text = line(key);
        text.extend(checkpoints.iter().flat_map(line));
        atomic::write(&path, &text).map_err(DatasetError::io(&path))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(DatasetError::io(&path))?;
        Ok(Self { file, path })
    }

    /// Writes a line that is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn push(&mut self, checkpoint: &impl Serialize) -> Result<(), DatasetError> {
        let written = self.file.write_all(&line(checkpoint)).and_then(|()| self.file.sync_data());
        written.map_err(DatasetError::io(&self.path))
    }
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("all maps have string keys");
    line.push(b'\n');
    line
}

/// Reads the journal of `directory`; `None` where there is none that can be read.
///
/// # Errors
/// When the system refuses.
pub fn read_journal<C: DeserializeOwned>(directory: &Path) -> Result<Option<(Key, Vec<C>)>, DatasetError> {
    let path = directory.join(JOURNAL);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DatasetError::io(&path)(error)),
    };
    let mut lines = text.split(|&byte| byte == b'\n');
    let Some(key) = lines.next().and_then(|line| serde_json::from_slice(line).ok()) else { return Ok(None) };
    let checkpoints = lines.map_while(|line| serde_json::from_slice(line).ok()).collect();
    Ok(Some((key, checkpoints)))
}

/// Removes the journal, if there is one.
///
/// # Errors
/// When the system refuses.
pub fn remove_journal(directory: &Path) -> Result<(), DatasetError> {
    remove_if_there(&directory.join(JOURNAL))
}

/// Removes a file, if there is one.
///
/// # Errors
/// When the system refuses.
pub fn remove_if_there(path: &Path) -> Result<(), DatasetError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DatasetError::io(path)(error)),
        _ => Ok(()),
    }
}

/// How long another ingest may take to let go: one that was killed holds on until its last write has ended.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Keeps other ingests out of `directory` while the result is open.
///
/// # Errors
/// When another one is writing there.
pub fn lock(directory: &Path) -> Result<File, DatasetError> {
    let file = File::open(directory).map_err(DatasetError::io(directory))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_PATIENCE / 100),
            Err(TryLockError::WouldBlock) => {
                let busy = io::Error::new(io::ErrorKind::ResourceBusy, "another ingest is writing to this directory");
                return Err(DatasetError::io(directory)(busy));
            }
            // A file system without locks.
            Err(TryLockError::Error(_)) => return Ok(file),
        }
    }
}

/// Whether a shard is there, byte for byte.
///
/// # Errors
/// When it cannot be read.
pub fn is_whole(directory: &Path, shard: &Shard) -> Result<bool, DatasetError> {
    let path = directory.join(&shard.file);
    Ok(path.is_file() && manifest::file_digest(&path)? == (shard.size_bytes, shard.sha256.clone()))
}

/// The shards in `directory` whose names begin and end so, finished or not.
///
/// # Errors
/// When the directory cannot be read.
pub fn shard_files(directory: &Path, prefix: &str, suffix: &str) -> Result<Vec<PathBuf>, DatasetError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(DatasetError::io(directory))? {
        let entry = entry.map_err(DatasetError::io(directory))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_partial = name.starts_with(&format!(".{prefix}")) && name.ends_with(".partial");
        if is_partial || (name.starts_with(prefix) && name.ends_with(suffix)) {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

/// In what a finished dataset differs from the one of `domain` that is asked for, in words.
///
/// # Errors
/// When a file of either cannot be read.
pub fn difference(
    directory: &Path,
    manifest: &Manifest,
    domain: &str,
    key: &Key,
) -> Result<Option<String>, DatasetError> {
    if manifest.domain != domain {
        return Ok(Some(format!("of {} instead of {domain}", manifest.domain)));
    }
    if manifest.parameters != key.parameters {
        return Ok(Some(format!("its parameters are {} instead of {}", manifest.parameters, key.parameters)));
    }
    let old: Vec<_> = manifest.inputs.iter().map(|input| input.path.as_str().into()).collect();
    let new: Vec<_> = key.inputs.iter().map(|input| input.path.to_string_lossy()).collect();
    if let Some(difference) = difference_of_inputs(&old, &new) {
        return Ok(Some(difference));
    }
    let path = manifest::path(directory);
    let written = fs::metadata(&path).map_err(DatasetError::io(&path))?;
    for (old, new) in manifest.inputs.iter().zip(&key.inputs) {
        let Some(file) = &new.file else {
            return Ok(Some(format!("made from {}, which cannot be read again to compare", old.path)));
        };
        let is_same = file.size_bytes == old.size_bytes
            && (is_older(&new.path, &written)? || manifest::file_digest(&new.path)?.1 == old.sha256);
        if !is_same {
            return Ok(Some(format!("{} has changed since", old.path)));
        }
    }
    for shard in &manifest.shards {
        let size = fs::metadata(directory.join(&shard.file)).map(|metadata| metadata.len()).unwrap_or(0);
        if size != shard.size_bytes {
            return Ok(Some(format!("{} has {size} bytes instead of {}", shard.file, shard.size_bytes)));
        }
    }
    Ok(None)
}

/// In what two lists of paths differ, in words: all of them where they are few, else the first that differs.
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

/// Whether the file was neither changed nor renamed since `written`.
fn is_older(path: &Path, written: &Metadata) -> Result<bool, DatasetError> {
    let metadata = fs::metadata(path).map_err(DatasetError::io(path))?;
    let then = written.modified().unwrap_or(UNIX_EPOCH);
    Ok(last_change(&metadata) < then)
}

#[cfg(unix)]
fn last_change(metadata: &Metadata) -> SystemTime {
    use std::os::unix::fs::MetadataExt;
    let changed = UNIX_EPOCH + Duration::from_secs(metadata.ctime().max(0).cast_unsigned());
    metadata.modified().map_or(changed, |modified| modified.max(changed))
}

#[cfg(not(unix))]
fn last_change(_: &Metadata) -> SystemTime {
    // Unknown: the checksum decides.
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_gives_back_what_was_finished_and_ignores_a_cut_line() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_journal::<u32>(dir.path()).unwrap().is_none());
        let input = dir.path().join("input");
        fs::write(&input, "abc").unwrap();
        let key = Key {
            tool_version: "1".into(),
            parameters: serde_json::json!({"a": 1}),
            inputs: vec![InputIdentity::of(&input).unwrap(), InputIdentity::of(Path::new("-")).unwrap()],
        };
        assert_eq!(key.inputs[0].file.as_ref().unwrap().size_bytes, 3);
        assert!(!key.can_be_read_again());
        let mut journal = Journal::create(dir.path(), &key, &[7u32]).unwrap();
        journal.push(&8u32).unwrap();
        assert_eq!(read_journal::<u32>(dir.path()).unwrap(), Some((key.clone(), vec![7, 8])));
        let path = dir.path().join(JOURNAL);
        let mut text = fs::read(&path).unwrap();
        text.extend(b"{\"cut");
        fs::write(&path, text).unwrap();
        assert_eq!(read_journal::<u32>(dir.path()).unwrap(), Some((key, vec![7, 8])));
        remove_journal(dir.path()).unwrap();
        assert!(read_journal::<u32>(dir.path()).unwrap().is_none());
    }

    #[test]
    fn inputs_that_differ_are_named_and_hundreds_of_them_are_not() {
        let paths = |range: std::ops::Range<usize>| range.map(|i| format!("{i}.png").into()).collect::<Vec<_>>();
        assert_eq!(difference_of_inputs(&paths(0..300), &paths(0..300)), None);
        let few = difference_of_inputs(&paths(0..2), &paths(1..2)).unwrap();
        assert_eq!(few, "its inputs are 0.png 1.png instead of 1.png");
        let many = difference_of_inputs(&paths(0..300), &paths(0..299)).unwrap();
        assert_eq!(many, "its inputs are 300 files instead of 299; number 300 is 299.png instead of nothing");
    }

    #[test]
    fn a_directory_is_no_input_and_an_absent_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(InputIdentity::of(dir.path()).is_err());
        let absent = dir.path().join("absent");
        assert!(InputIdentity::of(&absent).unwrap_err().to_string().contains("absent"));
        remove_if_there(&absent).unwrap();
    }
}
