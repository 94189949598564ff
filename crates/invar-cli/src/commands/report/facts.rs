//! The columns of a report: those of the clusters, and the metadata of the embeddings.

use std::{io::Write, path::PathBuf};

use anyhow::Result;
use invar_dataset::{Column, ColumnData};
use invar_embeddings::{ClusterTable, EMBEDDING, KEY};
use invar_report::ReportWriter;

use crate::{commands::same_rows, result_dir::ResultDir};

/// Bytes of text in one column, other than the names, above which it is omitted: descriptions of a million reads would
/// be most of the page.
const MOST_TEXT: usize = 8_000_000;

/// Writes the names, the clusters, and every column of the embeddings whose values differ between samples. Reports what
/// is left out.
pub fn write<W: Write>(
    writer: &mut ReportWriter<W>,
    results: &ResultDir,
    table: &ClusterTable,
    rows: &[usize],
) -> Result<Vec<String>> {
    let ids = rows.iter().map(|&row| Some(table.ids[row].clone())).collect();
    writer.column(&Column { name: "id".into(), data: ColumnData::Str(ids) })?;
    let clusters = rows.iter().map(|&row| Some(i64::from(table.clusters[row]))).collect();
    writer.column(&Column { name: "cluster".into(), data: ColumnData::I64(clusters) })?;
    for (name, values) in [("probability", &table.probability), ("distance", &table.distance)] {
        let data = ColumnData::F32(rows.iter().map(|&row| Some(values[row])).collect());
        writer.column(&Column { name: name.into(), data })?;
    }
    let notes = match embeddings(results) {
        Some(embeddings) => of_embeddings(writer, &embeddings, table, rows)?,
        None => vec!["There are no embeddings beside the clusters, and so no facts about the samples.".into()],
    };
    if let Some(keys) = &table.keys {
        let keys = rows.iter().map(|&row| Some(keys[row])).collect();
        writer.column(&Column { name: KEY.into(), data: ColumnData::I64(keys) })?;
    }
    Ok(notes)
}

fn embeddings(results: &ResultDir) -> Option<PathBuf> {
    let path = results.embeddings();
    path.exists().then_some(path)
}

fn of_embeddings<W: Write>(
    writer: &mut ReportWriter<W>,
    path: &std::path::Path,
    table: &ClusterTable,
    rows: &[usize],
) -> Result<Vec<String>> {
    let names: Vec<String> = invar_embeddings::info(path)?.columns.into_iter().map(|column| column.name).collect();
    same_rows::check(path, table)?;
    let own = ["id", KEY, EMBEDDING, "cluster", "probability", "distance", "x", "y"];
    let (mut empty, mut constant, mut long) = (vec![], vec![], vec![]);
    for name in names.iter().filter(|name| !own.contains(&name.as_str())) {
        // Other types (a list) are not shown.
        let Ok(column) = invar_embeddings::column(path, name) else { continue };
        let data = picked(&column.data, rows);
        match the_only(&data) {
            Only::Nothing => empty.push(name.clone()),
            Only::Value(value) if rows.len() > 1 => constant.push(format!("{name} {value}")),
            _ if text_bytes(&data) > MOST_TEXT => long.push(name.clone()),
            _ => writer.column(&Column { name: name.clone(), data })?,
        }
    }
    let mut notes = vec![];
    let mut note = |words: &str, names: Vec<String>| {
        if !names.is_empty() {
            notes.push(format!("{words}: {}.", names.join(", ")));
        }
    };
    note("The same of all samples", constant);
    note("Not known of any", empty);
    note("Left out because they are long texts (invar query has them)", long);
    Ok(notes)
}

fn picked(data: &ColumnData, rows: &[usize]) -> ColumnData {
    fn of<T: Clone>(values: &[Option<T>], rows: &[usize]) -> Vec<Option<T>> {
        rows.iter().map(|&row| values[row].clone()).collect()
    }
    match data {
        ColumnData::Str(values) => ColumnData::Str(of(values, rows)),
        ColumnData::Bool(values) => ColumnData::Bool(of(values, rows)),
        ColumnData::U8(values) => ColumnData::U8(of(values, rows)),
        ColumnData::U32(values) => ColumnData::U32(of(values, rows)),
        ColumnData::I64(values) => ColumnData::I64(of(values, rows)),
        ColumnData::F32(values) => ColumnData::F32(of(values, rows)),
        ColumnData::F64(values) => ColumnData::F64(of(values, rows)),
    }
}

fn text_bytes(data: &ColumnData) -> usize {
    match data {
        ColumnData::Str(values) => values.iter().flatten().map(String::len).sum(),
        _ => 0,
    }
}

/// Whether all samples have the same value.
enum Only {
    Nothing,
    Value(String),
    Several,
}

fn the_only(data: &ColumnData) -> Only {
    fn of<T: PartialEq + ToString>(values: &[Option<T>]) -> Only {
        match values.first() {
            Some(first) if values.iter().any(|value| value != first) => Only::Several,
            Some(Some(value)) => Only::Value(value.to_string()),
            _ => Only::Nothing,
        }
    }
    match data {
        ColumnData::Str(values) => of(values),
        ColumnData::Bool(values) => of(values),
        ColumnData::U8(values) => of(values),
        ColumnData::U32(values) => of(values),
        ColumnData::I64(values) => of(values),
        ColumnData::F32(values) => of(values),
        ColumnData::F64(values) => of(values),
    }
}
