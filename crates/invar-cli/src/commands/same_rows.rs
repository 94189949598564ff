//! Checks that a table of clusters belongs to some embeddings.

use std::path::Path;

use anyhow::Result;
use invar_dataset::ColumnData;
use invar_embeddings::{ClusterTable, Embeddings, KEY};

use crate::exit::BadInput;

/// Checks that the clusters belong to the embeddings at `path`, row by row.
///
/// # Errors
/// If they belong to others, or the embeddings cannot be read.
pub fn check(path: &Path, table: &ClusterTable) -> Result<()> {
    let bad = |reason: String| BadInput(format!("{}: {reason}", path.display()));
    let has_keys = invar_embeddings::info(path)?.columns.iter().any(|column| column.name == KEY);
    let compared = match &table.keys {
        Some(keys) if has_keys => {
            let ColumnData::I64(found) = invar_embeddings::column(path, KEY)?.data else {
                return Err(bad("column \"key\": expected 64-bit integers, found another type".into()).into());
            };
            differing(keys, &found, |a, b| Some(*a) == *b)
        }
        _ => {
            let ColumnData::Str(found) = invar_embeddings::column(path, "id")?.data else {
                return Err(bad("column \"id\": expected text, found another type".into()).into());
            };
            differing(&table.ids, &found, |a, b| Some(a) == b.as_ref())
        }
    };
    said(compared, path, table)
}

/// The same, for embeddings that were read from `path`.
///
/// # Errors
/// If the clusters belong to others.
pub fn check_read(embeddings: &Embeddings, path: &Path, table: &ClusterTable) -> Result<()> {
    let compared = match (&table.keys, &embeddings.keys) {
        (Some(keys), Some(found)) => differing(keys, found, |a, b| a == b),
        _ => differing(&table.ids, &embeddings.ids, |a, b| a == b),
    };
    said(compared, path, table)
}

fn said(compared: Option<Differing>, path: &Path, table: &ClusterTable) -> Result<()> {
    let bad = |reason: String| BadInput(format!("{}: {reason}", path.display()));
    match compared {
        None => Ok(()),
        Some(Differing::Length { expected, found }) => {
            Err(bad(format!("expected the {expected} samples of the clusters, found {found}: cluster again")).into())
        }
        Some(Differing::Row(row)) => {
            let reason = format!("row {row} is not sample {:?} of the clusters: cluster again", table.ids[row]);
            Err(bad(reason).into())
        }
    }
}

enum Differing {
    Length { expected: usize, found: usize },
    Row(usize),
}

fn differing<A, B>(expected: &[A], found: &[B], same: impl Fn(&A, &B) -> bool) -> Option<Differing> {
    if expected.len() != found.len() {
        return Some(Differing::Length { expected: expected.len(), found: found.len() });
    }
    expected.iter().zip(found).position(|(a, b)| !same(a, b)).map(Differing::Row)
}
