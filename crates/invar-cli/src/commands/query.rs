//! `invar query`

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use invar_dataset::{atomic::AtomicFile, path};
use invar_embeddings::{EmbeddingsError, KEY, Provenance};
use serde_json::json;

use crate::{
    cli::{Common, Format, Query},
    output,
    ui::{Summary, Ui, counted},
};

/// `invar query`
pub fn run(args: &Query, common: &Common, _: &Ui) -> Result<Summary> {
    if let Some(out) = &args.out {
        let inputs: Vec<&Path> = args.clusters.iter().chain([&args.embeddings]).map(PathBuf::as_path).collect();
        output::check_file(out, common, &inputs)?;
    }
    // From here on nobody else writes it.
    let begin = |path: &PathBuf| AtomicFile::create(path).with_context(|| path.display().to_string());
    let file = args.out.as_ref().map(begin).transpose()?;
    let mut query = invar_embeddings::Query::new(&args.embeddings)?;
    if let Some(clusters) = &args.clusters {
        query = query.with_table("clusters", clusters)?;
    }
    let table = query.run(&args.sql).map_err(|error| with_hint(error, args))?;
    if let Some((out, file)) = args.out.as_ref().zip(file) {
        let mut provenance = Provenance::new(env!("CARGO_PKG_VERSION"), 0);
        provenance.extra.insert("query".into(), json!(args.sql));
        table.write_parquet_to(file, &provenance)?;
        let text = format!("{}: {}", out.display(), counted(table.num_rows() as u64, "row"));
        return Ok(Summary { text, json: json!({"out": path::text(out), "num_rows": table.num_rows()}) });
    }
    let text = match args.format {
        Format::Table => table.to_text(width()),
        Format::Csv => table.to_csv(),
        Format::Ndjson => table.to_ndjson(),
    };
    let rows: Vec<serde_json::Value> = table.to_ndjson().lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok(Summary { text, json: json!({"columns": table.column_names(), "rows": rows}) })
}

/// Says where a query is about keys and a file has none.
fn with_hint(error: EmbeddingsError, args: &Query) -> anyhow::Error {
    let lacks_keys = |path: &&PathBuf| {
        let info = invar_embeddings::info(path);
        info.is_ok_and(|info| info.columns.iter().all(|column| column.name != KEY))
    };
    let mut files = std::iter::once(&args.embeddings).chain(&args.clusters);
    let asks_for_keys = matches!(&error, EmbeddingsError::Sql { reason, .. } if reason.contains(KEY));
    match files.find(lacks_keys).filter(|_| asks_for_keys) {
        Some(path) => anyhow::Error::new(error).context(format!(
            "{}: no column `{KEY}`: an older version wrote it (embed and cluster again), or a query left it out",
            path.display()
        )),
        None => error.into(),
    }
}

/// Characters of a line: what the terminal has, and no limit into a pipe.
fn width() -> usize {
    if std::io::stdout().is_terminal() { usize::from(console::Term::stdout().size().1) } else { 0 }
}
