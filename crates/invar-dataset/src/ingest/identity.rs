//! By what a change of an input is noticed.

use std::{
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::DatasetError;

/// How long a file must have been left alone for its times to tell a later change: file systems count in steps, of two
/// seconds at most (FAT). Within one, what is written twice has one time.
const SETTLED_NS: i64 = 2_000_000_000;

/// An input as the file system knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputIdentity {
    /// As the user gave it; `-` for standard input.
    #[serde(with = "crate::path")]
    pub path: PathBuf,
    /// `None` for pipes, which cannot be read again.
    pub file: Option<FileIdentity>,
}

/// A file as it was when it was read. A file that still looks like this holds the same bytes; of one that does not, the
/// checksum decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The device that it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Size, as stored.
    pub size_bytes: u64,
    /// When its contents were last changed, nanoseconds since 1970. Programs set it as they like.
    pub modified_ns: i64,
    /// When anything of it was last changed, likewise. The system alone sets it.
    pub changed_ns: i64,
    /// When it was looked at, likewise.
    pub seen_ns: i64,
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
        let file = metadata.is_file().then(|| FileIdentity::of(&metadata));
        Ok(Self { path: path.into(), file })
    }

    /// Whether the file still looks like this; a pipe does not.
    pub fn is_unchanged(&self) -> bool {
        let now = Self::of(&self.path).ok().and_then(|now| now.file);
        self.file.as_ref().zip(now.as_ref()).is_some_and(|(then, now)| then.looks_like(now))
    }
}

impl FileIdentity {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let ns = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.len(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
            seen_ns: now_ns(),
        }
    }

    /// Never settled: the checksum decides.
    #[cfg(not(unix))]
    fn of(metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified_ns = modified.map_or(0, |time| time.as_nanos() as i64);
        let (device, inode, seen_ns) = (0, 0, now_ns());
        Self { device, inode, size_bytes: metadata.len(), modified_ns, changed_ns: seen_ns, seen_ns }
    }

    /// Whether it is the same file, last changed at the same time.
    pub fn looks_like(&self, other: &Self) -> bool {
        let without = |identity: &Self| Self { seen_ns: 0, ..identity.clone() };
        without(self) == without(other)
    }

    /// Whether a file that looks like this `now` holds what it held when this was written down. False is no proof that it
    /// does not.
    pub fn holds_the_same(&self, now: &Self) -> bool {
        self.looks_like(now) && self.changed_ns.saturating_add(SETTLED_NS) <= self.seen_ns
    }
}

fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_no_input_and_an_absent_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(InputIdentity::of(dir.path()).is_err());
        let absent = dir.path().join("absent");
        assert!(InputIdentity::of(&absent).unwrap_err().to_string().contains("absent"));
    }

    #[cfg(unix)]
    #[test]
    fn another_file_behind_the_same_path_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two, link] = ["one", "two", "link"].map(|name| dir.path().join(name));
        fs::write(&one, "abc").unwrap();
        fs::write(&two, "abd").unwrap();
        std::os::unix::fs::symlink(&one, &link).unwrap();
        let first = InputIdentity::of(&link).unwrap();
        assert!(first.is_unchanged());
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&two, &link).unwrap();
        assert!(!first.is_unchanged());
        fs::remove_file(&two).unwrap();
        assert!(!first.is_unchanged());
    }

    #[test]
    fn what_was_changed_just_before_may_have_been_changed_again() {
        let seen_ns = 10_000_000_000;
        let at = |changed_ns| FileIdentity { device: 1, inode: 2, size_bytes: 3, modified_ns: 4, changed_ns, seen_ns };
        assert!(at(8_000_000_000).holds_the_same(&at(8_000_000_000)));
        assert!(!at(8_000_000_001).holds_the_same(&at(8_000_000_001)));
        // A file of the future is of another clock.
        assert!(!at(i64::MAX).holds_the_same(&at(i64::MAX)));
        assert!(!at(8_000_000_000).holds_the_same(&at(7_000_000_000)));
        let later = FileIdentity { seen_ns: i64::MAX, ..at(5) };
        assert!(at(5).looks_like(&later) && at(5).holds_the_same(&later));
    }
}
