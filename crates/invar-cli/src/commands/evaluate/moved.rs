//! Two embeddings of the same samples, untransformed and transformed: does each sample find itself?

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result};
use invar_cluster::{Rows, neighbors};
use invar_dataset::order::Permutation;
use invar_embeddings::Embeddings;
use serde_json::{Value, json};

use super::{Questions, report::Report, truth::Truth};
use crate::{
    exit::BadInput,
    ui::{Significant, thousands},
};

/// Maximum number of queries, drawn at random if there are more. They are searched for among all samples.
const MAX_QUERIES: usize = 10_000;

/// Searches for the embeddings at `other` among `embeddings`, and vice versa; with labels, also whether the nearest
/// other sample has the same label.
pub fn compare(
    report: &mut Report,
    embeddings: &Embeddings,
    rows: Rows,
    other: &Path,
    truth: Option<&Truth>,
    questions: &Questions,
) -> Result<()> {
    let moved = Embeddings::read_as(other, &questions.vectors)?;
    if moved.dim != embeddings.dim {
        let reason =
            format!("{}: expected embeddings of {} dimensions, found {}", other.display(), embeddings.dim, moved.dim);
        return Err(BadInput(reason).into());
    }
    let moved_rows = Rows::new(&moved.values, moved.dim).with_context(|| other.display().to_string())?;
    let own = match (&moved.keys, &embeddings.keys) {
        (Some(keys), Some(all)) => rows_of_keys(keys, all, other)?,
        _ => own_rows(&moved.ids, &embeddings.ids, other)?,
    };
    let order = Permutation::new(own.len() as u64, questions.seed);
    let mut queries: Vec<usize> = (0..own.len().min(MAX_QUERIES) as u64).map(|at| order.get(at) as usize).collect();
    queries.sort_unstable();
    let own: Vec<usize> = queries.iter().map(|&query| own[query]).collect();
    let asked = gathered(moved_rows, &queries);
    let asked = Rows::new(&asked, rows.dim())?;
    report.heading(&format!("against {} ({} samples)", other.display(), thousands(queries.len() as u64)));
    let mut figures = serde_json::Map::new();
    let mut figure = |label: &str, key: &str, value: f64| {
        report.text += &format!("  {label:<24} {:>12}\n", Significant(value).to_string());
        figures.insert(key.into(), json!(value));
    };
    let mut cosines: Vec<f64> = own.iter().enumerate().map(|(at, &own)| cosine(asked.row(at), rows.row(own))).collect();
    cosines.sort_by(f64::total_cmp);
    figure("cosine to its own, mean", "cosine_mean", cosines.iter().sum::<f64>() / cosines.len().max(1) as f64);
    figure("cosine, 1st percentile", "cosine_p1", cosines.get(cosines.len() / 100).copied().unwrap_or(1.0));
    figure("retrieval top-1", "retrieval", neighbors::self_retrieval(rows, asked, &own)?);
    let upright = gathered(rows, &own);
    let back = neighbors::self_retrieval(moved_rows, Rows::new(&upright, rows.dim())?, &queries)?;
    figure("retrieval back", "retrieval_back", back);
    if let Some(truth) = truth {
        let found = neighbors::retrieve_other(rows, asked, &own)?;
        let known: Vec<(&str, Option<&str>)> = found
            .iter()
            .zip(&own)
            .filter_map(|(&found, &own)| Some((truth.labels[own]?, truth.labels[found as usize])))
            .collect();
        let hits = known.iter().filter(|(own, found)| Some(*own) == *found).count();
        figure("recall@1 of others", "recall_at_1", hits as f64 / known.len().max(1) as f64);
    }
    report.json.insert("against".into(), Value::Object(figures));
    Ok(())
}

/// The index of each of `keys` in `all`.
fn rows_of_keys(keys: &[i64], all: &[i64], path: &Path) -> Result<Vec<usize>> {
    let rows: HashMap<i64, usize> = all.iter().enumerate().map(|(row, &key)| (key, row)).collect();
    let find = |key: &i64| {
        let missing = || BadInput(format!("{}: the sample with key {key} is not among the embeddings", path.display()));
        rows.get(key).copied().ok_or_else(missing)
    };
    Ok(keys.iter().map(find).collect::<Result<_, _>>()?)
}

/// The index of each of `ids` in `all`, for embeddings without keys.
fn own_rows(ids: &[String], all: &[String], path: &Path) -> Result<Vec<usize>> {
    if ids == all {
        return Ok((0..ids.len()).collect());
    }
    let mut by_id = HashMap::with_capacity(all.len());
    for (row, id) in all.iter().enumerate() {
        if by_id.insert(id.as_str(), row).is_some() {
            let reason = format!(
                "{}: other samples, or in another order, and the name {id:?} is given twice: rows cannot be matched",
                path.display()
            );
            return Err(BadInput(reason).into());
        }
    }
    let find = |id: &String| {
        let missing = || BadInput(format!("{}: sample {id:?} is not among the embeddings", path.display()));
        by_id.get(id.as_str()).copied().ok_or_else(missing)
    };
    Ok(ids.iter().map(find).collect::<Result<_, _>>()?)
}

fn gathered(rows: Rows, indices: &[usize]) -> Vec<f32> {
    indices.iter().flat_map(|&row| rows.row(row)).copied().collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    product(a, b) / (product(a, a) * product(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn rows_are_matched_by_key() {
        let path = Path::new("b.parquet");
        assert_eq!(rows_of_keys(&[7, 5], &[5, 6, 7], path).unwrap(), [2, 0]);
        let error = rows_of_keys(&[8], &[5, 6, 7], path).unwrap_err().to_string();
        assert!(error.contains("the sample with key 8 is not among"), "{error}");
    }

    #[test]
    fn rows_are_matched_by_name() {
        let path = Path::new("b.parquet");
        assert_eq!(own_rows(&names("c a"), &names("a b c"), path).unwrap(), [2, 0]);
        // Mates share a name; in the same order they can be distinguished.
        assert_eq!(own_rows(&names("a a"), &names("a a"), path).unwrap(), [0, 1]);
        let error = own_rows(&names("a"), &names("a a"), path).unwrap_err().to_string();
        assert!(error.contains("\"a\" is given twice"), "{error}");
        let error = own_rows(&names("d"), &names("a b"), path).unwrap_err().to_string();
        assert!(error.contains("\"d\" is not among"), "{error}");
    }
}
