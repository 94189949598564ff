//! Keeps two commands from writing to one output at the same time.
//!
//! The locks are the system's own (`flock`), on the output itself: they end with the process that holds them, however
//! it ends, and leave nothing behind. They are tried and never waited for, so that a server that lost them stops nobody.
//!
//! NFS locks what is open for writing, which a directory never is: there a file beside it, `.NAME.lock`, is locked
//! instead. On a file system without any locks there are none.

use std::{
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long another command may take to let go: one that was killed holds on until its last write has ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps other commands out of an output directory while it lives.
///
/// A directory that was created for the lock, and is still empty when the lock ends, is removed with it: a command that
/// failed before it wrote anything leaves nothing.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// The file beside it that is locked instead, where directories cannot be.
    beside: Option<(PathBuf, File)>,
    /// Directories that were created for it, innermost first.
    made: Vec<PathBuf>,
}

impl Lock {
    /// Locks the directory `path`, creating it and its parents if necessary.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] if another command has held it for five seconds; any system error if the
    /// directory cannot be created or opened.
    pub fn directory(path: &Path) -> io::Result<Self> {
        Self::made(path, File::try_lock)
    }

    /// The same for commands that write separate files there at the same time: only keeps out those that want the whole
    /// directory.
    ///
    /// # Errors
    /// As [`Lock::directory`].
    pub fn shared_directory(path: &Path) -> io::Result<Self> {
        Self::made(path, File::try_lock_shared)
    }

    fn made(path: &Path, lock: TryLock) -> io::Result<Self> {
        let mut made = Vec::new();
        let (file, is_locked) = acquire(path, PATIENCE, lock, || {
            loop {
                made.extend(make(path)?);
                match File::open(path) {
                    // Another command made it, and has removed it since.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    opened => return opened,
                }
            }
        })?;
        made.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        made.dedup();
        let mut held = Self { file, beside: None, made };
        if !is_locked && let Some(beside) = lock_path(path) {
            match acquire(&beside, PATIENCE, lock, || open_or_create(&beside)) {
                Ok((file, true)) => held.beside = Some((beside, file)),
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Err(error),
                // There are no locks, or nothing can be written there.
                Ok((_, false)) => drop(fs::remove_file(beside)),
                Err(_) => {}
            }
        }
        Ok(held)
    }

    /// Whether what is locked is still at `path`: a directory that was removed and made again in the meantime may be
    /// somebody else's.
    pub fn is_at(&self, path: &Path) -> bool {
        is_at(&self.file, path)
    }

    /// Locks the directory `path` if it exists and nobody holds it; does not wait.
    pub fn if_free(path: &Path) -> Option<Self> {
        let (file, is_locked) = acquire(path, Duration::ZERO, File::try_lock, || File::open(path)).ok()?;
        let beside = lock_path(path).filter(|beside| !is_locked && beside.exists());
        let beside = match beside {
            Some(beside) => {
                let (file, _) = acquire(&beside, Duration::ZERO, File::try_lock, || open_or_create(&beside)).ok()?;
                Some((beside, file))
            }
            None => None,
        };
        Some(Self { file, beside, made: Vec::new() })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.beside {
            // Who waits for it sees that it is another file than the one of that name, and opens that.
            let _ = fs::remove_file(path);
        }
        for path in &self.made {
            // Fails if it is not empty.
            let _ = fs::remove_dir(path);
        }
    }
}

/// Opens the file `path` for writing, or creates it, and locks it: whether it is locked, because the file system has
/// locks, comes with it. Its content stays.
pub(crate) fn file(path: &Path) -> io::Result<(File, bool)> {
    acquire(path, PATIENCE, File::try_lock, || open_or_create(path))
}

fn open_or_create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// What is locked in place of a directory; `None` for one without a name.
fn lock_path(directory: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(directory.file_name()?);
    name.push(".lock");
    Some(directory.with_file_name(name))
}

/// An exclusive or a shared lock.
type TryLock = fn(&File) -> Result<(), TryLockError>;

fn acquire(
    path: &Path,
    patience: Duration,
    lock: TryLock,
    mut open: impl FnMut() -> io::Result<File>,
) -> io::Result<(File, bool)> {
    let start = Instant::now();
    loop {
        let file = open()?;
        let tried = lock(&file);
        match tried {
            // A lock on something renamed or removed in the meantime keeps nobody out.
            Ok(()) | Err(TryLockError::Error(_)) if is_at(&file, path) || start.elapsed() > PATIENCE => {
                return Ok((file, tried.is_ok()));
            }
            Ok(()) | Err(TryLockError::Error(_)) => {}
            Err(TryLockError::WouldBlock) if start.elapsed() < patience => thread::sleep(PATIENCE / 100),
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another command is writing there"));
            }
        }
    }
}

/// Creates a directory and its parents; returns those that did not exist.
fn make(path: &Path) -> io::Result<Vec<PathBuf>> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing: Vec<PathBuf> = path.ancestors().take_while(is_missing).map(Path::to_path_buf).collect();
    if !missing.is_empty() {
        fs::create_dir_all(path)?;
    }
    match fs::metadata(path) {
        Ok(there) if !there.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
        _ => Ok(missing),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(locked), Ok(there)) => is_same(&locked, &there),
        _ => false,
    }
}

#[cfg(unix)]
fn is_same(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_directory_is_locked_once_and_what_was_made_for_nothing_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let lock = Lock::directory(&path).unwrap();
        assert!(Lock::if_free(&path).is_none());
        drop(lock);
        assert!(!dir.path().join("a").exists());
        assert!(Lock::if_free(&path).is_none(), "what is not there is not made");
    }

    #[test]
    fn a_shared_lock_keeps_out_those_only_that_want_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let locks = [0, 1].map(|_| Lock::shared_directory(&path).unwrap());
        assert!(Lock::if_free(&path).is_none());
        drop(locks);
        let lock = Lock::directory(&path).unwrap();
        assert_eq!(Lock::shared_directory(&path).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(lock);
        assert!(!path.exists());
    }

    /// As NFS does: it locks files that are open for writing.
    fn on_nfs(file: &File) -> Result<(), TryLockError> {
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(TryLockError::Error(io::ErrorKind::Unsupported.into()));
        }
        file.try_lock()
    }

    #[test]
    fn where_directories_cannot_be_locked_a_file_beside_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let lock = Lock::made(&path, on_nfs).unwrap();
        assert!(dir.path().join(".a.lock").exists());
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "what is in it counts as somebody's");
        assert_eq!(Lock::made(&path, on_nfs).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(lock);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        // Without any locks nobody is kept out, and nothing hangs or is left.
        let none = |_: &File| Err(TryLockError::Error(io::ErrorKind::Unsupported.into()));
        let locks = [0, 1].map(|_| Lock::made(&path, none).unwrap());
        drop(locks);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_was_there_or_is_used_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        drop(Lock::directory(dir.path()).unwrap());
        let lock = Lock::directory(&path).unwrap();
        fs::write(path.join("file"), "").unwrap();
        drop(lock);
        assert!(path.join("file").exists());
        fs::remove_file(path.join("file")).unwrap();
        drop(Lock::directory(&path).unwrap());
        assert!(path.exists(), "this lock did not make it");
    }

    #[test]
    fn a_lock_on_a_directory_that_was_replaced_is_no_lock_on_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let [path, aside] = ["a", "b"].map(|name| dir.path().join(name));
        let lock = Lock::directory(&path).unwrap();
        fs::rename(&path, &aside).unwrap();
        let new = Lock::directory(&path).unwrap();
        assert!(Lock::if_free(&path).is_none() && Lock::if_free(&aside).is_none());
        assert!(!lock.is_at(&path) && lock.is_at(&aside) && new.is_at(&path));
        drop((lock, new));
        assert!(Lock::if_free(&aside).is_some());
    }

    #[test]
    fn threads_take_turns_also_while_the_file_is_renamed_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("partial");
        let inside = AtomicUsize::new(0);
        let turn = || {
            let (held, is_locked) = file(&path).unwrap();
            assert!(is_locked);
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
            thread::yield_now();
            inside.fetch_sub(1, Ordering::SeqCst);
            fs::rename(&path, dir.path().join("whole")).unwrap();
            drop(held);
        };
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| (0..5).for_each(|_| turn())))));
        assert!(!path.exists());
    }
}
