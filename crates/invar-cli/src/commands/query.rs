//! `invar query`

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use invar_dataset::{atomic::AtomicFile, path};
use invar_embeddings::{EmbeddingsError, Form, KEY, Provenance, Table};
use serde_json::json;

use crate::{
    cli::{Common, Format, Query},
    exit::Usage,
    output,
    ui::{Summary, Ui, counted},
};

mod memory;
mod tables;

use self::tables::NamedFile;

/// `invar query`
pub fn run(args: &Query, common: &Common, ui: &Ui) -> Result<Summary> {
    let Some((sql, files)) = args.files_and_sql.split_last().filter(|(_, files)| !files.is_empty()) else {
        return Err(Usage("invar query needs FILE... and a SELECT, only one of them was given".into()).into());
    };
    let sql = sql.to_str().ok_or_else(|| Usage(format!("the query is not UTF-8: {}", sql.display())))?;
    let files = tables::named(files)?;
    let form = form(args.format, args.out.as_deref())?;
    if let Some(out) = &args.out {
        let inputs: Vec<&Path> = files.iter().map(|file| file.path.as_path()).collect();
        output::check_file(out, common, &inputs)?;
    }
    // From here on nobody else can write it.
    let begin = |path: &PathBuf| AtomicFile::create(path).with_context(|| path.display().to_string());
    let file = args.out.as_ref().map(begin).transpose()?;
    memory::limit(args.memory_bytes);
    let mut query = invar_embeddings::Query::default();
    for file in &files {
        query = query.with_table(&file.name, &file.path)?;
    }
    let table = query.run(sql).map_err(|error| with_hint(error, &files))?;
    let provenance = provenance(&table, sql);
    if let Some((out, file)) = args.out.as_ref().zip(file) {
        table.write_to(file, form, &provenance)?;
        let text = format!("{}: {}", out.display(), counted(table.num_rows() as u64, "row"));
        return Ok(Summary { text, json: json!({"out": path::text(out), "num_rows": table.num_rows()}) });
    }
    if common.json && args.format.is_none() {
        let rows: Vec<serde_json::Value> =
            table.to_ndjson().lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        return Ok(Summary { text: String::new(), json: json!({"columns": table.column_names(), "rows": rows}) });
    }
    ui.data(|to| table.write(form, &provenance, to))?;
    Ok(Summary::nothing())
}

/// If the answer contains embeddings, it is an EMB of the model that made them; otherwise a table made by a query.
fn provenance(table: &Table, sql: &str) -> Provenance {
    let mut provenance = table.provenance().unwrap_or_else(|| Provenance::new(env!("CARGO_PKG_VERSION"), 0));
    provenance.extra.insert("query".into(), json!(sql));
    provenance
}

/// The requested format, by name or by the extension of the output.
///
/// # Errors
/// If the extension is unknown, or a terminal cannot show the format.
pub(super) fn form(format: Option<Format>, out: Option<&Path>) -> Result<Form> {
    let format = match (format, out) {
        (Some(format), _) => format,
        (None, None) => Format::Table,
        (None, Some(out)) => by_ending(out).ok_or_else(|| {
            let endings = "parquet, .arrow, .csv, .json, .ndjson or .txt";
            Usage(format!("{}: ends in none of .{endings}, and there is no --format", out.display()))
        })?,
    };
    let is_binary = matches!(format, Format::Arrow | Format::Parquet);
    if is_binary && out.is_none() && std::io::stdout().is_terminal() {
        return Err(Usage("a terminal cannot show this --format: give --out, or a pipe".into()).into());
    }
    Ok(match format {
        Format::Table => Form::Text { width: if out.is_none() { width() } else { 0 } },
        Format::Csv => Form::Csv,
        Format::Json => Form::Json,
        Format::Ndjson => Form::Ndjson,
        Format::Arrow => Form::Arrow,
        Format::Parquet => Form::Parquet,
    })
}

fn by_ending(out: &Path) -> Option<Format> {
    Some(match out.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "parquet" => Format::Parquet,
        "arrow" | "feather" | "ipc" => Format::Arrow,
        "csv" => Format::Csv,
        "json" => Format::Json,
        "ndjson" | "jsonl" => Format::Ndjson,
        "txt" => Format::Table,
        _ => return None,
    })
}

/// Adds a hint if a query is about keys and a file has none.
fn with_hint(error: EmbeddingsError, files: &[NamedFile]) -> anyhow::Error {
    let lacks_keys = |file: &&NamedFile| {
        let info = invar_embeddings::info(&file.path);
        info.is_ok_and(|info| info.columns.iter().all(|column| column.name != KEY))
    };
    let asks_for_keys = matches!(&error, EmbeddingsError::Sql { reason, .. } if reason.contains("\"key\""));
    match files.iter().find(lacks_keys).filter(|_| asks_for_keys) {
        Some(file) => anyhow::Error::new(error).context(format!(
            "{}: no column `{KEY}`: an older version wrote it (embed and cluster again), or a query left it out",
            file.path.display()
        )),
        None => error.into(),
    }
}

/// Characters per line: those of the terminal, without limit into a pipe.
fn width() -> usize {
    if std::io::stdout().is_terminal() { usize::from(console::Term::stdout().size().1) } else { 0 }
}
