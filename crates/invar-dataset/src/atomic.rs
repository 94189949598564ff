//! Outputs that are either complete or absent: written to a temporary file next to them, flushed to disk, renamed.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process,
};

use crate::lock;

/// The end of the name of a file that is not whole.
const PARTIAL: &str = ".partial";

/// A file that appears under its name only when it is complete. If dropped before [`AtomicFile::commit`], it leaves
/// nothing behind; after a kill it leaves `.NAME.partial`, which the next writer overwrites.
///
/// While this lives, nobody else can write the same file: a command holds it from start to end, so that a second
/// command fails at once and not after an hour's work. On a file system without locks each writer has a temporary file
/// of its own, and the last to end wins.
#[derive(Debug)]
pub struct AtomicFile {
    /// The file is locked, and stays open until the rename.
    writer: BufWriter<File>,
    partial: PathBuf,
    path: PathBuf,
    is_committed: bool,
}

impl AtomicFile {
    /// Starts the file that will become `path`. Its directory must exist.
    ///
    /// # Errors
    /// If the file cannot be created, another command is writing it, or `path` exists and is not a file.
    pub fn create(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        // A rename would replace a device or a pipe by a file.
        match fs::metadata(&path) {
            Ok(there) if there.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(there) if !there.is_file() => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "expected a file, found a device or a pipe"));
            }
            _ => {}
        }
        let partial = partial_path(&path);
        let (file, is_locked) = lock::file(&partial)?;
        let (file, partial) = if is_locked { (file, partial) } else { own_partial(&path, &partial)? };
        file.set_len(0)?;
        Ok(Self { writer: BufWriter::with_capacity(1 << 20, file), partial, path, is_committed: false })
    }

    /// The final path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the bytes until the commit: for libraries that write by path.
    pub fn partial_path(&self) -> &Path {
        &self.partial
    }

    /// Writes the last bytes, and [commits](Self::commit).
    ///
    /// # Errors
    /// As `commit`.
    pub fn finish_with(mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.commit()
    }

    /// Flushes to disk and renames the file into place.
    ///
    /// # Errors
    /// If the disk is full or the rename fails; nothing is left behind.
    pub fn commit(mut self) -> io::Result<()> {
        self.writer.flush()?;
        self.writer.get_ref().sync_all()?;
        fs::rename(&self.partial, &self.path)?;
        self.is_committed = true;
        sync_parent(&self.path)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.writer.seek(position)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // After the rename the temporary name may be another writer's.
        if !self.is_committed {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Writes a whole file at once, atomically.
///
/// # Errors
/// As [`AtomicFile`].
pub fn write(path: impl Into<PathBuf>, bytes: &[u8]) -> io::Result<()> {
    AtomicFile::create(path)?.finish_with(bytes)
}

/// Where `path` is written until it is complete.
pub(crate) fn partial_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(PARTIAL);
    path.with_file_name(name)
}

/// The name that a file has when it is whole, given that name or the one that it has until then.
pub fn whole_name(name: &str) -> &str {
    let Some(partial) = name.strip_prefix('.').and_then(|name| name.strip_suffix(PARTIAL)) else { return name };
    match partial.rsplit_once('.') {
        Some((whole, own)) if is_own(own) => whole,
        _ => partial,
    }
}

/// Whether it is what [`own_partial`] adds.
fn is_own(word: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    word.split_once('-').is_some_and(|(process, number)| is_number(process) && is_number(number))
}

/// A temporary file that no other process writes, here or on another node. The one that all would share is removed.
fn own_partial(path: &Path, shared: &Path) -> io::Result<(File, PathBuf)> {
    let _ = fs::remove_file(shared);
    for number in 0_u32.. {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}-{number}{PARTIAL}", process::id()));
        let own = path.with_file_name(name);
        match File::options().read(true).write(true).create_new(true).open(&own) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return Ok((opened?, own)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Makes a rename survive a power cut.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_file_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_committed_file_replaces_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        write(&path, b"old").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_writers_of_one_path_each_write_it_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let texts = ["a", "b", "c", "d"].map(|letter| letter.repeat(100_000));
        std::thread::scope(|scope| {
            for text in &texts {
                scope.spawn(|| (0..5).for_each(|_| write(&path, text.as_bytes()).unwrap()));
            }
        });
        let found = fs::read_to_string(&path).unwrap();
        assert!(texts.contains(&found), "{} bytes of several", found.len());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_was_committed_does_not_take_away_what_another_writes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let first = AtomicFile::create(&path).unwrap();
        let other = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| AtomicFile::create(&path).unwrap());
            first.commit().unwrap();
            waiting.join().unwrap()
        });
        assert!(other.partial_path().exists());
        other.commit().unwrap();
    }

    #[test]
    fn without_locks_each_writer_has_a_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let shared = partial_path(&path);
        fs::write(&shared, "").unwrap();
        let (_, one) = own_partial(&path, &shared).unwrap();
        let (_, other) = own_partial(&path, &shared).unwrap();
        assert!(one != other && !shared.exists());
        assert!([&one, &other].iter().all(|partial| partial.parent() == path.parent()));
        for name in [&path, &shared, &one, &other].map(|path| path.file_name().unwrap().to_str().unwrap()) {
            assert_eq!(whole_name(name), "out", "{name}");
        }
        assert_eq!(whole_name(".out.5-x.partial"), "out.5-x");
    }

    #[test]
    fn what_a_kill_left_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(dir.path().join(".out.partial"), "longer than what comes").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_directory_or_a_device_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(write(dir.path(), b"").unwrap_err().kind(), io::ErrorKind::IsADirectory);
        let device = Path::new("/dev/null");
        if device.exists() {
            assert_eq!(write(device, b"").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_of_any_bytes_have_partials_of_their_own() {
        use std::os::unix::ffi::OsStringExt;
        let of = |byte| partial_path(&PathBuf::from(OsString::from_vec(vec![b'a', byte])));
        assert_ne!(of(0xff), of(0xfe));
    }
}
