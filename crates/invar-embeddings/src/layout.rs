//! Where the parts of an EMB are, and whether they are all there.

mod foreign;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use invar_dataset::{Replacement, RunDir, manifest::Manifest};
use serde::{Deserialize, Serialize};

use crate::{EmbeddingsError, Provenance, parquet::Footer};

/// A part file, as the last one tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub file: String,
    pub num_rows: u64,
    pub size_bytes: u64,
}

/// An EMB that is whole.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub is_directory: bool,
    /// Footers of the parts in order, at least one.
    pub parts: Vec<Footer>,
    pub provenance: Option<Provenance>,
}

/// Name of part `index`.
pub(crate) fn part_name(index: usize) -> String {
    format!("part-{index:05}.parquet")
}

/// The number of the part called `name`.
fn part_index(name: &str) -> Option<usize> {
    let index = name.strip_prefix("part-")?.strip_suffix(".parquet")?.parse().ok()?;
    (part_name(index) == name).then_some(index)
}

/// The part of `dir` with the highest number.
fn last_part(dir: &Path) -> Result<Option<usize>, EmbeddingsError> {
    let mut last = None;
    for entry in fs::read_dir(dir).map_err(EmbeddingsError::io(dir))? {
        let entry = entry.map_err(EmbeddingsError::io(dir))?;
        last = last.max(part_index(&entry.file_name().to_string_lossy()));
    }
    Ok(last)
}

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

/// The finished parts in `dir` up to the first that is missing.
pub(crate) fn finished_parts(dir: &Path) -> Vec<PathBuf> {
    (0..).map(|index| dir.join(part_name(index))).take_while(|path| path.is_file()).collect()
}

impl Whole {
    /// Opens the EMB at `path`, a single Parquet file, or a directory of Parquet files of another program.
    ///
    /// # Errors
    /// When a part is missing or damaged, or those of another program do not fit together.
    pub fn open(path: &Path) -> Result<Self, EmbeddingsError> {
        if !path.is_dir() {
            let footer = Footer::read(path)?;
            return Ok(Self { is_directory: false, provenance: footer.provenance.clone(), parts: vec![footer] });
        }
        let Some(index) = last_part(path)? else { return Self::of_foreign(path) };
        let last = Footer::read(&path.join(part_name(index)))?;
        let Some(earlier) = &last.earlier_parts else {
            if last.kind.is_none() {
                return Self::of_foreign(path);
            }
            return Err(EmbeddingsError::Incomplete { path: path.into(), num_parts: finished_parts(path).len() });
        };
        if earlier.len() != index {
            return Err(EmbeddingsError::Corrupt {
                path: last.path,
                what: "parts before the last".into(),
                expected: earlier.len().to_string(),
                found: index.to_string(),
            });
        }
        let mut parts = earlier.iter().map(|part| part.open(path, &last)).collect::<Result<Vec<_>, _>>()?;
        let provenance = last.provenance.clone();
        parts.push(last);
        Ok(Self { is_directory: true, parts, provenance })
    }

    /// The parts that another program wrote.
    fn of_foreign(path: &Path) -> Result<Self, EmbeddingsError> {
        let is_ours = Manifest::exists(path) || RunDir::new(path).is_run();
        let parts = if is_ours { None } else { foreign::parts(path)? };
        let parts = parts.ok_or_else(|| not_embeddings(path))?;
        Ok(Self { is_directory: true, parts, provenance: None })
    }

    /// Whether the EMB at `path` is there to its end, as far as the last part says.
    ///
    /// # Errors
    /// When the last part is damaged.
    pub fn is_at(path: &Path) -> Result<bool, EmbeddingsError> {
        if is_single_file(path) || !path.is_dir() {
            return Ok(path.exists());
        }
        let Some(index) = last_part(path)? else { return Ok(false) };
        Ok(Footer::read(&path.join(part_name(index)))?.earlier_parts.is_some())
    }

    pub fn num_rows(&self) -> usize {
        self.parts.iter().map(|part| part.num_rows).sum()
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(|part| part.path.as_path())
    }
}

/// For a directory without a single part: what it is instead, as far as its files tell.
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
        expected: part_name(0),
        found: found.into(),
    }
}

impl Part {
    /// Opens it in `dir`, where `last` is the part that tells of it.
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
        // A part of other embeddings is called that, whatever its size is.
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

/// Whether two parts of a directory are of one model and one dimension.
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

/// The parts in `dir`, whole or half-written, by name, the last first.
///
/// # Errors
/// When it cannot be listed; a directory that is not there has none.
pub(crate) fn files(dir: &Path) -> Result<Vec<PathBuf>, EmbeddingsError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(EmbeddingsError::io(dir)(error)),
    };
    let mut files = vec![];
    for entry in entries {
        let name = entry.map_err(EmbeddingsError::io(dir))?.file_name();
        let text = name.to_string_lossy();
        let whole = text.strip_prefix('.').and_then(|name| name.strip_suffix(".partial")).unwrap_or(&text);
        if let Some(index) = part_index(whole) {
            files.push((index, PathBuf::from(name)));
        }
    }
    files.sort_by(|a, b| b.cmp(a));
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

/// Refuses a directory that holds no embeddings but something else.
///
/// # Errors
/// [`EmbeddingsError::Foreign`].
pub(crate) fn refuse_foreign(dir: &Path) -> Result<(), EmbeddingsError> {
    if !files(dir)?.is_empty() {
        return Ok(());
    }
    match Replacement::of(dir).first_entry().map_err(EmbeddingsError::io(dir))? {
        None => Ok(()),
        Some(other) => {
            let found = other.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Err(EmbeddingsError::Foreign { path: dir.into(), found })
        }
    }
}

/// Where new parts are made that will replace the whole EMB in `dir`.
pub(crate) fn next_parts(dir: &Path) -> PathBuf {
    Replacement::of(dir).path().to_owned()
}

/// Goes on with a replacement that was killed on its way.
///
/// # Errors
/// When the system refuses.
pub(crate) fn recover(dir: &Path) -> Result<(), EmbeddingsError> {
    let replacement = Replacement::of(dir);
    replacement.recover(&end_marker(replacement.path())?).map_err(EmbeddingsError::io(dir))
}

/// Puts the new parts in the place of those in `dir`.
///
/// # Errors
/// When the system refuses.
pub(crate) fn replace(dir: &Path) -> Result<(), EmbeddingsError> {
    let replacement = Replacement::of(dir);
    let marker = end_marker(replacement.path())?;
    replacement.commit(&files(dir)?, &marker).map_err(EmbeddingsError::io(dir))
}

/// The last part of `dir`, which says that the others are whole.
fn end_marker(dir: &Path) -> Result<PathBuf, EmbeddingsError> {
    Ok(files(dir)?.into_iter().next().unwrap_or_else(|| part_name(0).into()))
}

/// Removes the parts in `dir`, and the directory itself where that leaves it empty. The last part goes first, so that what is
/// left is never taken for whole.
///
/// # Errors
/// When something there cannot be removed.
pub(crate) fn remove_parts(dir: &Path) -> Result<(), EmbeddingsError> {
    clear_parts(dir)?;
    match fs::remove_dir(dir) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {
            Err(EmbeddingsError::io(dir)(error))
        }
        _ => Ok(()),
    }
}

/// As [`remove_parts`], but the directory stays.
///
/// # Errors
/// When something there cannot be removed.
pub(crate) fn clear_parts(dir: &Path) -> Result<(), EmbeddingsError> {
    files(dir)?.iter().try_for_each(|file| remove_file(&dir.join(file)))
}

fn remove_file(path: &Path) -> Result<(), EmbeddingsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(EmbeddingsError::io(path)(error)),
        _ => Ok(()),
    }
}
