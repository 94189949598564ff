//! Directories that several tasks wrote together, each the parts of one shard.

use std::path::Path;

use super::part_name::PartName;
use crate::{EmbeddingsError, Provenance, Shard, parquet::Footer, shard::ShardRows};

/// The parts of all `count` shards in the order of the rows.
///
/// # Errors
/// [`EmbeddingsError::MissingShards`]; if a part is missing or damaged, or two shards do not fit together.
pub(super) fn parts(dir: &Path, names: &[PartName], count: usize) -> Result<Vec<Footer>, EmbeddingsError> {
    let (mut parts, mut missing) = (Vec::with_capacity(names.len()), vec![]);
    for number in 1..=count {
        let shard = Shard::new(number, count).expect("a number up to the count");
        match last(names, shard).map(|last| super::ended_by(dir, last)).transpose()?.flatten() {
            Some(of_shard) => parts.extend(of_shard),
            None => missing.push(number),
        }
    }
    if !missing.is_empty() {
        return Err(EmbeddingsError::MissingShards { path: dir.into(), count, missing });
    }
    fit_together(&parts)?;
    Ok(parts)
}

/// The last part of a shard.
pub(super) fn last(names: &[PartName], shard: Shard) -> Option<PartName> {
    names.iter().rfind(|name| name.shard == Some(shard)).copied()
}

/// Checks that the shards have the same maker, and that the rows of each follow those of the previous one.
fn fit_together(parts: &[Footer]) -> Result<(), EmbeddingsError> {
    let first = &parts[0];
    let corrupt = |part: &Footer, what: String, expected: String, found: String| {
        let expected = format!("{expected}, as in {}", first.path.display());
        EmbeddingsError::Corrupt { path: part.path.clone(), what, expected, found }
    };
    let total = first.shard.as_ref().map_or(0, |rows| rows.total_rows);
    // Rows so far: as stated by the shards, and as found.
    let (mut told, mut there) = (0, 0);
    for (at, part) in parts.iter().enumerate() {
        if let (Some(expected), Some(found)) = (&first.provenance, &part.provenance)
            && let Some((what, expected, found)) = Provenance::difference(expected, found)
        {
            return Err(corrupt(part, what, expected, found));
        }
        if part.columns != first.columns {
            return Err(corrupt(part, "columns".into(), format!("{:?}", first.columns), format!("{:?}", part.columns)));
        }
        let Some(rows) = &part.shard else {
            return Err(corrupt(part, "rows of the shard".into(), "those that it holds".into(), "none".into()));
        };
        let is_next = at == 0 || parts[at - 1].shard.as_ref().is_some_and(|before| before.shard != rows.shard);
        if is_next && (rows.first_row != told || rows.total_rows != total || told != there) {
            let expected = format!("from row {there} on, of {total}");
            return Err(corrupt(part, "rows of the shard".into(), expected, rows.to_string()));
        }
        told = rows.end_row;
        there += part.num_rows as u64;
    }
    if (told, there) != (total, total) {
        let end = parts.last().unwrap_or(first);
        return Err(corrupt(end, "rows of all shards".into(), total.to_string(), there.to_string()));
    }
    Ok(())
}

/// Checks that existing parts of a shard fit into the directory: they hold the same rows.
///
/// # Errors
/// If another command line divided other rows.
pub(crate) fn same_rows(part: &Footer, rows: Option<&ShardRows>) -> Result<(), EmbeddingsError> {
    if part.shard.as_ref() == rows {
        return Ok(());
    }
    let words = |rows: Option<&ShardRows>| rows.map_or("none".into(), ToString::to_string);
    Err(EmbeddingsError::OtherProvenance {
        path: part.path.clone(),
        field: "shard".into(),
        expected: words(rows),
        found: words(part.shard.as_ref()),
    })
}
