//! Directories of Parquet files written by another program, such as polars, DuckDB or Spark: one table, in the order of
//! names, without an end marker.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{EmbeddingsError, parquet::Footer};

/// The parts of such a directory; `None` if it has no Parquet file.
///
/// Files whose names begin with `.` or `_` are skipped, as in other readers: they are checksums and markers of the
/// writer.
///
/// # Errors
/// If there is anything else, a part is damaged, Invar wrote one, or the columns of two differ.
pub(super) fn parts(dir: &Path) -> Result<Option<Vec<Footer>>, EmbeddingsError> {
    let (paths, other) = listed(dir)?;
    if paths.is_empty() {
        return Ok(None);
    }
    let corrupt = |path: &Path, what: &str, expected: String, found: String| EmbeddingsError::Corrupt {
        path: path.into(),
        what: what.into(),
        expected,
        found,
    };
    if let Some(other) = other {
        return Err(corrupt(dir, "files", "Parquet files of one table and nothing else".into(), format!("{other:?}")));
    }
    let parts = paths.iter().map(|path| Footer::read(path)).collect::<Result<Vec<_>, _>>()?;
    if let Some(ours) = parts.iter().find(|part| part.kind.is_some()) {
        let expected = "a part of embeddings with its end marker, or a file of another program".into();
        return Err(corrupt(&ours.path, "kind of the file", expected, format!("a file of Invar ({})", kind(ours))));
    }
    let first = &parts[0];
    if let Some(part) = parts.iter().find(|part| part.columns != first.columns) {
        let expected = format!("{}, as in {}", columns(first), first.path.display());
        return Err(corrupt(&part.path, "columns", expected, columns(part)));
    }
    Ok(Some(parts))
}

/// The Parquet files of a directory by name, and anything else that is there.
fn listed(dir: &Path) -> Result<(Vec<PathBuf>, Option<String>), EmbeddingsError> {
    let (mut paths, mut others) = (vec![], vec![]);
    for entry in fs::read_dir(dir).map_err(EmbeddingsError::io(dir))? {
        let path = entry.map_err(EmbeddingsError::io(dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(['.', '_']) {
            continue;
        }
        if super::is_single_file(&path) && path.is_file() { paths.push(path) } else { others.push(name) }
    }
    paths.sort_unstable();
    Ok((paths, others.into_iter().min()))
}

fn kind(part: &Footer) -> &str {
    part.kind.as_deref().unwrap_or_default()
}

fn columns(part: &Footer) -> String {
    part.columns.iter().map(|(name, dtype)| format!("{name} {dtype}")).collect::<Vec<_>>().join(", ")
}
