//! The names of the rows of a file.

use std::path::Path;

use polars::prelude as pl;

use crate::{
    EmbeddingsError,
    layout::Whole,
    parquet,
    reader::{is_emb, missing, null, wrong_type},
};

/// The name of each row of the EMB (or any Parquet file) at `path`, as in [`crate::Embeddings::read_as`].
///
/// # Errors
/// If the file is damaged, or one of its rows has no name.
pub fn names(path: &Path) -> Result<Vec<String>, EmbeddingsError> {
    let whole = Whole::open(path)?;
    let has_ids = check_ids(&whole)?;
    let mut ids = Vec::with_capacity(whole.num_rows());
    for part in whole.paths().filter(|_| has_ids) {
        let frame = parquet::read(part, Some(&["id"]))?;
        push_ids(frame.column("id").map_err(EmbeddingsError::parquet(part))?, part, &mut ids)?;
    }
    if !has_ids {
        ids.extend((0..whole.num_rows()).map(|row| row.to_string()));
    }
    Ok(ids)
}

/// Whether the parts have names of rows.
///
/// # Errors
/// If that column has another type, or is missing in a file of Invar's.
pub(crate) fn check_ids(whole: &Whole) -> Result<bool, EmbeddingsError> {
    let is_ours = is_emb(whole);
    for part in &whole.parts {
        match part.column("id") {
            Some(pl::DataType::String) => {}
            Some(dtype) if !is_ours && dtype.is_integer() => {}
            Some(other) => return Err(wrong_type(part, "id", "str", other)),
            None if is_ours => {
                let names: Vec<&str> = part.columns.iter().map(|(name, _)| name.as_str()).collect();
                return Err(missing(&part.path, "id", &names));
            }
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Appends the names in a column of text or integers.
pub(crate) fn push_ids(column: &pl::Column, path: &Path, ids: &mut Vec<String>) -> Result<(), EmbeddingsError> {
    let column = column.cast(&pl::DataType::String).map_err(EmbeddingsError::parquet(path))?;
    let text = column.str().map_err(EmbeddingsError::parquet(path))?;
    for (row, id) in text.iter().enumerate() {
        let Some(id) = id else { return Err(null(path, "id", row)) };
        ids.push(id.to_owned());
    }
    Ok(())
}
