use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::run_dir::remove_if_empty;

/// New files for a directory, written to a hidden directory inside it, that replace the old ones when they are
/// complete. Other files stay where they are.
///
/// ```text
/// DIRECTORY/.invar-next/...      the new files, while they are being made: a killed command finds them there
/// DIRECTORY/.invar-next/.moving  the old files are gone, the new ones are on their way
/// ```
/// Inside, because what is next to a directory can be on another file system, or closed to its owner.
#[derive(Clone, Debug)]
pub struct Replacement {
    directory: PathBuf,
    next: PathBuf,
}

const NEXT: &str = ".invar-next";
const MOVING: &str = ".moving";

impl Replacement {
    /// A replacement for a directory that need not exist.
    pub fn of(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self { next: directory.join(NEXT), directory }
    }

    /// Where the new files are made. It need not exist.
    pub fn path(&self) -> &Path {
        &self.next
    }

    /// Whether the directory does not exist, or holds nothing but new files in the making.
    ///
    /// # Errors
    /// If it cannot be listed, for example because it is a file.
    pub fn is_vacant(&self) -> io::Result<bool> {
        Ok(self.entries()?.is_empty())
    }

    /// The files and directories, by name, that are there besides new files in the making.
    ///
    /// # Errors
    /// As [`Replacement::is_vacant`].
    pub fn entries(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(error),
        };
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.retain(|path| *path != self.next);
        paths.sort();
        Ok(paths)
    }

    /// Creates an empty directory for the new files.
    ///
    /// # Errors
    /// If the system fails.
    pub fn begin(&self) -> io::Result<&Path> {
        self.discard()?;
        fs::create_dir_all(&self.next)?;
        Ok(&self.next)
    }

    /// Replaces `old`, paths inside the directory, by the new files. The file `marker`, which indicates that all are
    /// complete, is removed first and added last: at no time is it present with files other than its own.
    ///
    /// # Errors
    /// If a new file has the name of an existing one that is not in `old`: then nothing was done. If the system fails;
    /// another call continues.
    pub fn commit(&self, old: &[PathBuf], marker: &Path) -> io::Result<()> {
        let moving = self.next.join(MOVING);
        if !moving.exists() {
            for file in files_below(&self.next)? {
                let there = self.directory.join(&file);
                if !old.contains(&file) && there.symlink_metadata().is_ok() {
                    let reason = format!("{} is not Invar's and would be replaced", there.display());
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
                }
            }
            remove_file(&self.directory.join(marker))?;
            for file in old {
                remove_file(&self.directory.join(file))?;
                self.remove_emptied_parents(file)?;
            }
            fs::write(&moving, [])?;
        }
        let mut files = files_below(&self.next)?;
        files.sort_by_key(|file| file == marker);
        for file in files.iter().filter(|file| *file != Path::new(MOVING)) {
            let to = self.directory.join(file);
            fs::create_dir_all(to.parent().unwrap_or(&self.directory))?;
            fs::rename(self.next.join(file), to)?;
        }
        fs::remove_dir_all(&self.next)
    }

    /// Continues a [`Replacement::commit`] that was killed halfway, if there was one.
    ///
    /// # Errors
    /// If the system fails.
    pub fn recover(&self, marker: &Path) -> io::Result<()> {
        if self.next.join(MOVING).exists() { self.commit(&[], marker) } else { Ok(()) }
    }

    /// Removes the new files made so far, and the directory if that leaves it empty.
    ///
    /// # Errors
    /// If the system fails.
    pub fn discard(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        remove_if_empty(&self.directory)
    }

    fn remove_emptied_parents(&self, file: &Path) -> io::Result<()> {
        let parents = file.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
        parents.map(|parent| self.directory.join(parent)).try_for_each(|parent| remove_if_empty(&parent))
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Every file below a directory, by its path inside it.
fn files_below(root: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut open) = (vec![], vec![PathBuf::new()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            if entry.file_type()?.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[&str], text: &str) {
        for file in files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), text).unwrap();
        }
    }

    fn read(root: &Path) -> Vec<(String, String)> {
        let text = |file: &PathBuf| fs::read_to_string(root.join(file)).unwrap();
        files_below(root).unwrap().iter().map(|file| (file.display().to_string(), text(file))).collect()
    }

    fn expected(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|&(file, text)| (file.to_owned(), text.to_owned())).collect()
    }

    #[test]
    fn new_files_take_the_place_of_the_old_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &["end", "a/1", "a/2", "b/1"], "old");
        write(dir.path(), &["a/mine", "notes"], "mine");
        let replacement = Replacement::of(dir.path());
        write(replacement.path(), &["end", "a/1"], "new");
        replacement.commit(&["end", "a/1", "a/2", "b/1"].map(PathBuf::from), Path::new("end")).unwrap();
        assert_eq!(
            read(dir.path()),
            expected(&[("a/1", "new"), ("a/mine", "mine"), ("end", "new"), ("notes", "mine")])
        );
        assert!(!dir.path().join("b").exists() && !replacement.path().exists());
    }

    #[test]
    fn a_commit_that_was_killed_goes_on_and_removes_nothing_new() {
        let dir = tempfile::tempdir().unwrap();
        let replacement = Replacement::of(dir.path());
        // The old ones are gone, `1` was moved.
        write(dir.path(), &["1"], "new");
        write(replacement.path(), &["2", "end"], "new");
        replacement.recover(Path::new("end")).unwrap();
        assert!(replacement.path().join("2").exists(), "not on its way yet");
        write(replacement.path(), &[".moving"], "");
        replacement.commit(&["1".into(), "2".into()], Path::new("end")).unwrap();
        assert_eq!(read(dir.path()), expected(&[("1", "new"), ("2", "new"), ("end", "new")]));
        assert!(!replacement.path().exists());
    }

    #[test]
    fn a_file_of_somebody_else_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &["1"], "mine");
        write(dir.path(), &["2", "end"], "old");
        let replacement = Replacement::of(dir.path());
        write(replacement.begin().unwrap(), &["1", "end"], "new");
        let error = replacement.commit(&["2".into(), "end".into()], Path::new("end")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        replacement.discard().unwrap();
        assert_eq!(read(dir.path()), expected(&[("1", "mine"), ("2", "old"), ("end", "old")]));
        assert!(!replacement.is_vacant().unwrap());
    }

    #[test]
    fn what_is_discarded_leaves_the_old_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &["old/1", "old/.invar-next/1"], "x");
        write(dir.path(), &["fresh/.invar-next/1"], "x");
        Replacement::of(dir.path().join("old")).discard().unwrap();
        Replacement::of(dir.path().join("fresh")).discard().unwrap();
        assert_eq!(read(dir.path()), expected(&[("old/1", "x")]));
        assert!(!dir.path().join("fresh").exists());
    }
}
