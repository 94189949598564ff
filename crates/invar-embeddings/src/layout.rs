//! Where the parts of an EMB are, and whether they are complete.

mod foreign;
mod part_name;
mod shards;

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use invar_dataset::{Replacement, RunDir, atomic, manifest::Manifest};
use serde::{Deserialize, Serialize};

pub use part_name::has_parts;
pub(crate) use part_name::{PartName, names, refuse_other_division};
pub(crate) use shards::same_rows;

use crate::{EmbeddingsError, Provenance, Shard, parquet::Footer};

/// A part file, as listed in the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub file: String,
    pub num_rows: u64,
    pub size_bytes: u64,
}

/// A complete EMB.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub is_directory: bool,
    /// Footers of the parts in order, at least one.
    pub parts: Vec<Footer>,
    pub provenance: Option<Provenance>,
}

/// The first part of undivided embeddings.
const FIRST: PartName = PartName { shard: None, index: 0 };

/// Whether `path` names a single file.
pub(crate) fn is_single_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// Where the parts of a single file are collected.
pub(crate) fn hidden_parts(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".parts");
    path.with_file_name(name)
}

/// The finished parts in `dir`, of a shard or of undivided embeddings, up to the first that is missing.
pub(crate) fn finished_parts(dir: &Path, shard: Option<Shard>) -> Vec<PathBuf> {
    let path = |index| dir.join(PartName { shard, index }.to_string());
    (0..).map(path).take_while(|path| path.is_file()).collect()
}

impl Whole {
    /// Opens the EMB at `path`, a single Parquet file, or a directory of Parquet files from another program.
    ///
    /// # Errors
    /// If a part is missing or damaged, or those of another program do not fit together.
    pub fn open(path: &Path) -> Result<Self, EmbeddingsError> {
        if !path.is_dir() {
            let footer = Footer::read(path)?;
            return Ok(Self { is_directory: false, provenance: footer.provenance.clone(), parts: vec![footer] });
        }
        let names = names(path)?;
        let Some(&last) = names.last() else { return Self::of_foreign(path) };
        let parts = match part_name::division(path, &names)? {
            Some(count) => shards::parts(path, &names, count)?,
            None => match ended_by(path, last)? {
                Some(parts) => parts,
                None if Footer::read(&path.join(last.to_string()))?.kind.is_none() => return Self::of_foreign(path),
                None => {
                    let num_parts = finished_parts(path, None).len();
                    return Err(EmbeddingsError::Incomplete { path: path.into(), num_parts });
                }
            },
        };
        // What is only known at the end is stored only in the last part.
        let provenance = parts.last().and_then(|last| last.provenance.clone());
        Ok(Self { is_directory: true, parts, provenance })
    }

    /// The parts written by another program.
    fn of_foreign(path: &Path) -> Result<Self, EmbeddingsError> {
        let is_ours = Manifest::exists(path) || RunDir::new(path).is_run();
        let parts = if is_ours { None } else { foreign::parts(path)? };
        let parts = parts.ok_or_else(|| not_embeddings(path))?;
        Ok(Self { is_directory: true, parts, provenance: None })
    }

    /// Whether the EMB at `path` is complete, judging by the last part, or that of each shard.
    ///
    /// # Errors
    /// If a last part is damaged.
    pub fn is_at(path: &Path) -> Result<bool, EmbeddingsError> {
        if is_single_file(path) || !path.is_dir() {
            return Ok(path.exists());
        }
        let names = names(path)?;
        match part_name::division(path, &names)? {
            Some(count) => {
                for number in 1..=count {
                    let last = Shard::new(number, count).and_then(|shard| shards::last(&names, shard));
                    if last.map(|last| ends(path, last)).transpose()? != Some(true) {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            None => names.last().map_or(Ok(false), |&last| ends(path, last)),
        }
    }

    pub fn num_rows(&self) -> usize {
        self.parts.iter().map(|part| part.num_rows).sum()
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(|part| part.path.as_path())
    }
}

/// The parts of `shard` if it is complete.
///
/// # Errors
/// If a part is missing or damaged.
pub(crate) fn shard_parts(dir: &Path, shard: Shard) -> Result<Option<Vec<Footer>>, EmbeddingsError> {
    Ok(shards::last(&names(dir)?, shard).map(|last| ended_by(dir, last)).transpose()?.flatten())
}

/// The parts that `last` lists as its predecessors, and itself; `None` if it is not a last part.
///
/// # Errors
/// If a part is missing or damaged.
fn ended_by(dir: &Path, last: PartName) -> Result<Option<Vec<Footer>>, EmbeddingsError> {
    let footer = Footer::read(&dir.join(last.to_string()))?;
    let Some(earlier) = &footer.earlier_parts else { return Ok(None) };
    if earlier.len() != last.index {
        return Err(EmbeddingsError::Corrupt {
            path: footer.path,
            what: "parts before the last".into(),
            expected: earlier.len().to_string(),
            found: last.index.to_string(),
        });
    }
    let mut parts = earlier.iter().map(|part| part.open(dir, &footer)).collect::<Result<Vec<_>, _>>()?;
    parts.push(footer);
    Ok(Some(parts))
}

/// Whether a part is marked as the last.
fn ends(dir: &Path, part: PartName) -> Result<bool, EmbeddingsError> {
    Ok(Footer::read(&dir.join(part.to_string()))?.earlier_parts.is_some())
}

/// For a directory without any part: what it is instead, judging by its files.
fn not_embeddings(path: &Path) -> EmbeddingsError {
    let found = if Manifest::exists(path) {
        "a dataset directory (`invar embed` makes embeddings of it)"
    } else if RunDir::new(path).is_run() {
        "a run directory (`invar embed --model` makes embeddings with it)"
    } else {
        "a directory without part files"
    };
    EmbeddingsError::Corrupt {
        path: path.into(),
        what: "embeddings".into(),
        expected: FIRST.to_string(),
        found: found.into(),
    }
}

impl Part {
    /// Opens it in `dir`, where `last` is the part that lists it.
    fn open(&self, dir: &Path, last: &Footer) -> Result<Footer, EmbeddingsError> {
        let path = dir.join(&self.file);
        let corrupt = |what: &str, expected: u64, found: u64| EmbeddingsError::Corrupt {
            path: path.clone(),
            what: what.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        };
        let size = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            // The last part lists it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(corrupt("size in bytes", self.size_bytes, 0));
            }
            Err(error) => return Err(EmbeddingsError::io(&path)(error)),
        };
        let footer = Footer::read(&path);
        // A part of other embeddings has this name, whatever its size.
        if let Ok(footer) = &footer {
            same_maker(footer, last)?;
        }
        if size != self.size_bytes {
            return Err(corrupt("size in bytes", self.size_bytes, size));
        }
        let footer = footer?;
        if footer.num_rows as u64 != self.num_rows {
            return Err(corrupt("number of rows", self.num_rows, footer.num_rows as u64));
        }
        Ok(footer)
    }
}

/// Checks that two parts of a directory have the same model and dimension.
fn same_maker(part: &Footer, last: &Footer) -> Result<(), EmbeddingsError> {
    let (Some(found), Some(expected)) = (&part.provenance, &last.provenance) else { return Ok(()) };
    let model = |of: &Provenance| of.model_sha256.clone().unwrap_or_else(|| "none".into());
    let dim = |of: &Provenance| of.dim.to_string();
    for (what, of) in [("SHA-256 of the model", &model as &dyn Fn(&Provenance) -> String), ("dimension", &dim)] {
        if of(found) != of(expected) {
            return Err(EmbeddingsError::Corrupt {
                path: part.path.clone(),
                what: what.into(),
                expected: format!("{}, as in {}", of(expected), last.path.display()),
                found: of(found),
            });
        }
    }
    Ok(())
}

/// The parts in `dir`, complete or half written, by name, last first.
///
/// # Errors
/// If it cannot be listed; a directory that does not exist has none.
pub(crate) fn files(dir: &Path) -> Result<Vec<PathBuf>, EmbeddingsError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(EmbeddingsError::io(dir)(error)),
    };
    let mut files = vec![];
    for entry in entries {
        let name = entry.map_err(EmbeddingsError::io(dir))?.file_name();
        if let Some(part) = part_of(&name) {
            files.push((part, PathBuf::from(name)));
        }
    }
    files.sort_by(|a, b| b.cmp(a));
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

/// The part that a file is, complete or half written.
fn part_of(name: &OsStr) -> Option<PartName> {
    PartName::of(atomic::whole_name(&name.to_string_lossy()))
}

/// Refuses a directory that contains something, but no embeddings.
///
/// # Errors
/// [`EmbeddingsError::Foreign`].
pub(crate) fn refuse_foreign(dir: &Path) -> Result<(), EmbeddingsError> {
    // Listed once: the tasks of other shards write there at the same time.
    let entries = Replacement::of(dir).entries().map_err(EmbeddingsError::io(dir))?;
    let mut names = entries.iter().filter_map(|path| path.file_name());
    match names.next() {
        Some(first) if part_of(first).or_else(|| names.find_map(part_of)).is_none() => {
            Err(EmbeddingsError::Foreign { path: dir.into(), found: first.to_string_lossy().into_owned() })
        }
        _ => Ok(()),
    }
}

/// Where new parts are written that will replace the whole EMB in `dir`.
pub(crate) fn next_parts(dir: &Path) -> PathBuf {
    Replacement::of(dir).path().to_owned()
}

/// Continues a replacement that was killed halfway.
///
/// # Errors
/// If the system fails.
pub(crate) fn recover(dir: &Path) -> Result<(), EmbeddingsError> {
    let replacement = Replacement::of(dir);
    replacement.recover(&end_marker(replacement.path())?).map_err(EmbeddingsError::io(dir))
}

/// Replaces the parts in `dir` by the new parts.
///
/// # Errors
/// If the system fails.
pub(crate) fn replace(dir: &Path) -> Result<(), EmbeddingsError> {
    let replacement = Replacement::of(dir);
    let marker = end_marker(replacement.path())?;
    replacement.commit(&files(dir)?, &marker).map_err(EmbeddingsError::io(dir))
}

/// The last part of `dir`, which marks the others as complete.
fn end_marker(dir: &Path) -> Result<PathBuf, EmbeddingsError> {
    Ok(files(dir)?.into_iter().next().unwrap_or_else(|| FIRST.to_string().into()))
}

/// Removes the parts in `dir`, and the directory itself if that leaves it empty. The last part goes first, so that what
/// remains is never taken to be complete.
///
/// # Errors
/// If something there cannot be removed.
pub(crate) fn remove_parts(dir: &Path) -> Result<(), EmbeddingsError> {
    clear_parts(dir)?;
    match fs::remove_dir(dir) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {
            Err(EmbeddingsError::io(dir)(error))
        }
        _ => Ok(()),
    }
}

/// As [`remove_parts`], but keeps the directory.
///
/// # Errors
/// If something there cannot be removed.
pub(crate) fn clear_parts(dir: &Path) -> Result<(), EmbeddingsError> {
    files(dir)?.iter().try_for_each(|file| remove_file(&dir.join(file)))
}

fn remove_file(path: &Path) -> Result<(), EmbeddingsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(EmbeddingsError::io(path)(error)),
        _ => Ok(()),
    }
}
