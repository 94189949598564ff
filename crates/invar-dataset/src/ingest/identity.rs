//! How a change of an input is detected.

use std::{
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    DatasetError,
    object::{self, ObjectIdentity},
};

/// File times have a resolution, within which two writes get the same time: some milliseconds of the kernel's clock,
/// and up to two seconds on file systems without fractions of a second (FAT).
const STEP_NS: i64 = 20_000_000;
const COARSE_STEP_NS: i64 = 2_000_000_000;

/// An input as its file system or its store knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputIdentity {
    /// As given by the user; `-` for standard input.
    #[serde(with = "crate::path")]
    pub path: PathBuf,
    /// `None` for pipes, which cannot be read again.
    pub file: Option<Identity>,
}

/// The state of an input when it was read. One that still looks like this holds the same bytes; otherwise the checksum
/// decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Identity {
    /// A file.
    File(FileIdentity),
    /// An object, by URL.
    Object(ObjectIdentity),
}

impl Identity {
    /// Size, as stored.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::File(file) => file.size_bytes,
            Self::Object(object) => object.size_bytes,
        }
    }
}

/// What a file system says of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The device it is on.
    pub device: u64,
    /// Its inode number there.
    pub inode: u64,
    /// Size, as stored.
    pub size_bytes: u64,
    /// When its contents were last changed, nanoseconds since 1970. Programs can set it at will.
    pub modified_ns: i64,
    /// When anything about it was last changed, likewise. Only the system sets it.
    pub changed_ns: i64,
}

impl InputIdentity {
    /// Inspects a file that is about to be read, so that any change from now on can be detected: if it was changed
    /// within the last step of its clock, waits for the next step (20 ms, or 2 s on file systems that keep whole
    /// seconds).
    ///
    /// # Errors
    /// If it cannot be inspected, or is a directory.
    pub fn of(path: &Path) -> Result<Self, DatasetError> {
        let looked = Self::now(path)?;
        let wait = match &looked.file {
            Some(Identity::File(file)) => wait_ns(file.changed_ns, now_ns()),
            _ => None,
        };
        match wait {
            None => Ok(looked),
            Some(wait) => {
                thread::sleep(wait);
                Self::now(path)
            }
        }
    }

    fn now(path: &Path) -> Result<Self, DatasetError> {
        if path == Path::new("-") {
            return Ok(Self { path: path.into(), file: None });
        }
        if object::is_url(path) {
            let object = object::look(path).map_err(DatasetError::io(path))?;
            return Ok(Self { path: path.into(), file: Some(Identity::Object(object)) });
        }
        let metadata = fs::metadata(path).map_err(DatasetError::io(path))?;
        if metadata.is_dir() {
            return Err(DatasetError::io(path)(io::ErrorKind::IsADirectory.into()));
        }
        let file = metadata.is_file().then(|| Identity::File(FileIdentity::of(&metadata)));
        Ok(Self { path: path.into(), file })
    }

    /// Whether the file still looks like this; never true for a pipe.
    pub fn is_unchanged(&self) -> bool {
        self.file.is_some() && Self::now(&self.path).is_ok_and(|now| now.file == self.file)
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
        }
    }

    /// Without a number that identifies files, no two inspections are the same: the checksum decides.
    #[cfg(not(unix))]
    fn of(metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified_ns = modified.map_or(0, |time| time.as_nanos() as i64);
        Self { device: 0, inode: 0, size_bytes: metadata.len(), modified_ns, changed_ns: now_ns() }
    }
}

/// How long until another change would get another time. Clocks that disagree cause no wait.
fn wait_ns(changed_ns: i64, now_ns: i64) -> Option<Duration> {
    let step = if changed_ns % 1_000_000_000 == 0 { COARSE_STEP_NS } else { STEP_NS };
    let wait = changed_ns.saturating_add(step).saturating_sub(now_ns);
    (1..=step).contains(&wait).then(|| Duration::from_nanos(wait.unsigned_abs()))
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
    fn what_was_changed_just_before_is_looked_at_when_another_change_would_show() {
        const SECOND: i64 = 1_000_000_000;
        let changed = 100 * SECOND + 5;
        assert_eq!(wait_ns(changed, changed + STEP_NS), None);
        assert_eq!(wait_ns(changed, changed + STEP_NS - 3), Some(Duration::from_nanos(3)));
        assert_eq!(wait_ns(100 * SECOND, 101 * SECOND), Some(Duration::from_secs(1)));
        // A file from the future has another clock.
        assert_eq!(wait_ns(i64::MAX, changed), None);
        assert_eq!(wait_ns(changed + 1, changed), None);
    }

    #[test]
    fn a_change_after_the_look_shows_however_soon_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("input");
        for number in 0..5u8 {
            fs::write(&path, [number]).unwrap();
            let looked = InputIdentity::of(&path).unwrap();
            assert!(looked.is_unchanged());
            fs::write(&path, [number + 1]).unwrap();
            assert!(!looked.is_unchanged());
        }
    }
}
