//! Where the parts of an EMB are, and whether they are all there.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use invar_dataset::atomic;
use serde::{Deserialize, Serialize};

use crate::{EmbeddingsError, Provenance, SCHEMA_VERSION, parquet::Footer};

/// `invar.json`: the end marker of a directory of parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EndMarker {
    /// With the figures that were known at the end only.
    pub provenance: Provenance,
    pub num_rows: u64,
    pub parts: Vec<Part>,
}

/// A part file.
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

const MARKER: &str = "invar.json";

/// Name of part `index`.
pub(crate) fn part_name(index: usize) -> String {
    format!("part-{index:05}.parquet")
}

/// Whether `path` names a single file.
pub(crate) fn is_single_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// Where the parts of a single file are collected.
pub(crate) fn hidden_parts(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.parts", path.file_name().unwrap_or_default().to_string_lossy()))
}

/// The finished parts in `dir` up to the first that is missing.
pub(crate) fn finished_parts(dir: &Path) -> Vec<PathBuf> {
    (0..).map(|index| dir.join(part_name(index))).take_while(|path| path.is_file()).collect()
}

impl EndMarker {
    pub fn write(&self, dir: &Path) -> Result<(), EmbeddingsError> {
        let mut json = serde_json::to_vec_pretty(self).expect("a marker has string keys only");
        json.push(b'\n');
        atomic::write(dir.join(MARKER), &json).map_err(EmbeddingsError::io(dir.join(MARKER)))
    }

    /// The marker of `dir`; `Ok(None)` where there is none.
    pub fn read(dir: &Path) -> Result<Option<Self>, EmbeddingsError> {
        let path = dir.join(MARKER);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(EmbeddingsError::io(path)(error)),
        };
        let corrupt = |what: &str, expected: String, found: String| EmbeddingsError::Corrupt {
            path: path.clone(),
            what: what.into(),
            expected,
            found,
        };
        let marker: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|e| corrupt("end marker", "JSON".into(), e.to_string()))?;
        let version = &marker["provenance"]["schema_version"];
        if version.as_u64() != Some(u64::from(SCHEMA_VERSION)) {
            return Err(corrupt("schema version", SCHEMA_VERSION.to_string(), version.to_string()));
        }
        let fields = "the fields of schema version 1";
        serde_json::from_value(marker).map(Some).map_err(|e| corrupt("end marker", fields.into(), e.to_string()))
    }
}

impl Whole {
    /// Opens the EMB or single Parquet file at `path`.
    ///
    /// # Errors
    /// When a part is missing or damaged, or the end marker is.
    pub fn open(path: &Path) -> Result<Self, EmbeddingsError> {
        if !path.is_dir() {
            let footer = Footer::read(path)?;
            return Ok(Self { is_directory: false, provenance: footer.provenance.clone(), parts: vec![footer] });
        }
        let Some(marker) = EndMarker::read(path)? else {
            let num_parts = finished_parts(path).len();
            if num_parts == 0 {
                return Err(not_embeddings(path));
            }
            return Err(EmbeddingsError::Incomplete { path: path.into(), num_parts });
        };
        let parts = marker.parts.iter().map(|part| part.open(path)).collect::<Result<Vec<_>, _>>()?;
        let num_rows: u64 = marker.parts.iter().map(|part| part.num_rows).sum();
        if parts.is_empty() || num_rows != marker.num_rows {
            return Err(EmbeddingsError::Corrupt {
                path: path.join(MARKER),
                what: "number of rows of all parts".into(),
                expected: marker.num_rows.to_string(),
                found: num_rows.to_string(),
            });
        }
        Ok(Self { is_directory: true, parts, provenance: Some(marker.provenance) })
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
    let found = if invar_dataset::manifest::Manifest::exists(path) {
        "a dataset directory (`invar embed` makes embeddings of it)"
    } else if path.join("recipe.toml").is_file() {
        "a run directory (`invar embed --model` makes embeddings with it)"
    } else {
        "a directory without part files"
    };
    EmbeddingsError::Corrupt {
        path: path.into(),
        what: "embeddings".into(),
        expected: format!("{} and {MARKER}", part_name(0)),
        found: found.into(),
    }
}

impl Part {
    fn open(&self, dir: &Path) -> Result<Footer, EmbeddingsError> {
        let path = dir.join(&self.file);
        let corrupt = |what: &str, expected: u64, found: u64| EmbeddingsError::Corrupt {
            path: path.clone(),
            what: what.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        };
        let size = fs::metadata(&path).map_err(EmbeddingsError::io(&path))?.len();
        if size != self.size_bytes {
            return Err(corrupt("size in bytes", self.size_bytes, size));
        }
        let footer = Footer::read(&path)?;
        if footer.num_rows as u64 != self.num_rows {
            return Err(corrupt("number of rows", self.num_rows, footer.num_rows as u64));
        }
        Ok(footer)
    }
}

/// Removes the EMB at `path`, whole or half-written, and nothing else: of a directory the parts and the marker, and
/// the directory itself where that leaves it empty.
///
/// # Errors
/// When something there cannot be removed.
pub fn remove(path: &Path) -> Result<(), EmbeddingsError> {
    if is_single_file(path) && !path.is_dir() {
        remove_file(path)?;
        return remove_parts(&hidden_parts(path));
    }
    remove_parts(path)
}

/// Removes the marker first, so that what is left is never taken for whole.
pub(crate) fn remove_parts(dir: &Path) -> Result<(), EmbeddingsError> {
    if !dir.is_dir() {
        return Ok(());
    }
    remove_file(&dir.join(MARKER))?;
    for entry in fs::read_dir(dir).map_err(EmbeddingsError::io(dir))? {
        let entry = entry.map_err(EmbeddingsError::io(dir))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let name = name.strip_prefix('.').and_then(|name| name.strip_suffix(".partial")).unwrap_or(&name);
        if name == MARKER || (name.starts_with("part-") && name.ends_with(".parquet")) {
            remove_file(&entry.path())?;
        }
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(EmbeddingsError::io(dir)(error)),
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<(), EmbeddingsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(EmbeddingsError::io(path)(error)),
        _ => Ok(()),
    }
}
