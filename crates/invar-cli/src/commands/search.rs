//! `invar search`

mod base;
pub mod queries;
mod stored;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use invar_cluster::{
    Rows,
    neighbors::{Neighbors, Request},
};
use invar_dataset::{GroupFigures, Shortcuts, atomic::AtomicFile, path};
use invar_embeddings::{Answers, Facts, Form, Provenance};
use serde_json::{Value, json};

pub use self::stored::info;
use self::{
    base::{Base, Plan},
    queries::Queries,
};
use crate::{
    cli::{Common, Search},
    commands::{cluster::groups::GROUP_FIGURES, evaluate::SHORTCUTS, query},
    output, remote,
    ui::{Summary, Ui, Unit, counted, thousands},
};

/// Maximum number of queries used by `--recall`.
const JUDGED: usize = 1_000;

/// `invar search`, if every query is embedded.
pub fn run(args: &Search, common: &Common, ui: &Ui) -> Result<Summary> {
    check_output(args, common)?;
    search(args, &args.query, common, ui)
}

/// Checks, before the work, whether the answers may be written to the output.
///
/// # Errors
/// If a file exists there, or is an input.
pub fn check_output(args: &Search, common: &Common) -> Result<()> {
    let Some(out) = &args.out else { return Ok(()) };
    let inputs: Vec<&Path> = args.query.iter().chain([&args.embeddings]).map(PathBuf::as_path).collect();
    output::check_file(out, common, &inputs)
}

/// Searches for what `files`, all of them embeddings, and the rest of the command line name.
///
/// # Errors
/// If something is damaged or does not fit.
pub fn search(args: &Search, files: &[PathBuf], common: &Common, ui: &Ui) -> Result<Summary> {
    let form = query::form(args.format, args.out.as_deref())?;
    // From here on nobody else can write it.
    let begin = |path: &PathBuf| AtomicFile::create(path).with_context(|| path.display().to_string());
    let file = args.out.as_ref().map(begin).transpose()?;
    // If it is asked to stop while something is being read, the command ends after that, and leaves nothing behind.
    let _watched = ui.bar("read", Unit::Items);
    let queries = Queries::named(args, files)?;
    let plan = Plan { condition: args.condition.as_deref(), exact: args.exact, num_queries: queries.num() };
    // A wrong condition is reported before anything is read.
    let kept = plan.condition.map(|condition| invar_embeddings::rows_where(&args.embeddings, condition)).transpose()?;
    let base = Base::open(&args.embeddings, &args.vectors.to_reader(), &plan, ui)?;
    ui.check_cancelled()?;
    let asked = queries.read(&base, args.itself)?;
    let num_queries = asked.ids.len();
    ui.check_cancelled()?;
    let (base, own) = base.narrowed(kept, &asked.own, &plan, ui)?;
    let found = base.ask(&asked.values, &own, args.top as usize, args.exact, ui)?;
    let recall = args.recall.then(|| base.measured_recall(&asked.values, &own, &found, ui)).transpose()?;
    if let Some((recall, judged)) = recall {
        ui.note(&format!("recall@{} {recall:.4} against exact search, {}", found.k, queries_of(judged)));
    }
    let column = args.vectors.column();
    let answers = answers(asked.ids, asked.keys, &found, |row| base.number(row));
    let mut json = json!({
        "num_rows": base.index.len(), "num_queries": num_queries, "k": found.k, "recall_when_made": found.recall,
    });
    if let Some((recall, judged)) = recall {
        json["recall"] = json!({"share": recall, "num_queries": judged});
    }
    let made_by = provenance(args, &json)?;
    if let Some((out, file)) = args.out.as_ref().zip(file) {
        let table = answers.to_table(&args.embeddings, column, &Facts::None)?;
        table.write_to(file, form, &made_by)?;
        let answers = counted(table.num_rows() as u64, "answer");
        let text = format!("{}: {answers} to {}", out.display(), queries_of(num_queries));
        json["out"] = Value::from(path::text(out));
        json["num_answers"] = Value::from(table.num_rows());
        return Ok(Summary { text, json });
    }
    if common.json {
        let lines = answers.to_table(&args.embeddings, column, &Facts::All)?.to_ndjson();
        json["answers"] = Value::Array(lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?);
        return Ok(Summary { text: String::new(), json });
    }
    let is_for_reading = matches!(form, Form::Text { .. });
    let facts = if is_for_reading { telling(&args.embeddings)? } else { Facts::All };
    let table = answers.to_table(&args.embeddings, column, &facts)?;
    ui.data(|to| table.write(form, &made_by, to))?;
    Ok(Summary::nothing())
}

/// The search results, one answer per row.
fn answers(ids: Vec<String>, keys: Vec<Option<i64>>, found: &Neighbors, number: impl Fn(u32) -> u32) -> Answers {
    let k = found.k;
    let each = |at: usize| std::iter::repeat_n(at, k);
    Answers {
        queries: (0..ids.len()).flat_map(each).map(|query| ids[query].clone()).collect(),
        query_keys: (0..ids.len()).flat_map(each).map(|query| keys[query]).collect(),
        ranks: (0..ids.len()).flat_map(|_| 1..=k as u32).collect(),
        rows: found.indices.iter().map(|&row| number(row)).collect(),
        cosines: found.values.clone(),
    }
}

/// The provenance of a file of answers.
fn provenance(args: &Search, found: &Value) -> Result<Provenance> {
    let of_embeddings = invar_embeddings::info(&args.embeddings)?.provenance;
    let mut provenance = Provenance::new(env!("CARGO_PKG_VERSION"), 0);
    provenance.model_sha256 = of_embeddings.as_ref().and_then(|of| of.model_sha256.clone());
    provenance.inputs = of_embeddings.map(|of| of.inputs).unwrap_or_default();
    let named = |file: &PathBuf| remote::origin(file).unwrap_or_else(|| path::text(file));
    let asked = json!({
        "embeddings": named(&args.embeddings), "like": args.like, "key": args.key,
        "query": args.query.iter().map(named).collect::<Vec<_>>(),
        "where": args.condition, "top": args.top,
        "itself": args.itself, "column": args.vectors.column(), "drop_bad_rows": args.vectors.drop_bad_rows, "found": found,
    });
    provenance.extra.insert("search".into(), asked);
    Ok(provenance)
}

impl Base {
    /// The nearest rows of each query.
    fn ask(&self, values: &[f32], own: &[Option<u32>], k: usize, exact: bool, ui: &Ui) -> Result<Neighbors> {
        let bar = ui.bar("search", Unit::Items);
        Ok(self.index.search(Rows::new(values, self.index.dim())?, &Request { k, own, exact }, &bar)?)
    }

    /// The fraction of the answers that exact search finds too, over some of the queries, and how many queries were
    /// used.
    fn measured_recall(&self, values: &[f32], own: &[Option<u32>], found: &Neighbors, ui: &Ui) -> Result<(f64, usize)> {
        let dim = self.index.dim();
        let num = values.len() / dim;
        let judged: Vec<usize> = (0..num).step_by(num.div_ceil(JUDGED).max(1)).collect();
        let asked: Vec<f32> = judged.iter().flat_map(|&query| values[query * dim..][..dim].iter().copied()).collect();
        let their_own: Vec<Option<u32>> = judged.iter().map(|&query| own[query]).collect();
        let exact = self.ask(&asked, &their_own, found.k, true, ui)?;
        let lists = judged.iter().zip(exact.indices.chunks(exact.k.max(1)));
        let hits: usize = lists
            .map(|(&query, exact)| {
                found.indices[query * found.k..][..found.k].iter().filter(|row| exact.contains(row)).count()
            })
            .sum();
        let all = judged.len() * found.k;
        Ok((if all == 0 { 1.0 } else { hits as f64 / all as f64 }, judged.len()))
    }
}

fn queries_of(num: usize) -> String {
    if num == 1 { "1 query".into() } else { format!("{} queries", thousands(num as u64)) }
}

/// Columns of EMB that are informative to a person: those used for figures of groups, and those that describe how the
/// sample was taken. All of them if EMB does not define any.
fn telling(embeddings: &Path) -> Result<Facts> {
    let info = invar_embeddings::info(embeddings)?;
    let extra = |name: &str| info.provenance.as_ref().and_then(|provenance| provenance.extra.get(name).cloned());
    let figures: Option<GroupFigures> = extra(GROUP_FIGURES).and_then(|said| serde_json::from_value(said).ok());
    let shortcuts: Option<Shortcuts> = extra(SHORTCUTS).and_then(|said| serde_json::from_value(said).ok());
    let (Some(figures), Some(shortcuts)) = (figures, shortcuts) else { return Ok(Facts::Telling(None)) };
    let of_figures = figures.figures.iter().flat_map(|figure| figure.columns()).map(str::to_owned);
    Ok(Facts::Telling(Some(of_figures.chain(shortcuts.suspects).collect())))
}

/// How many rows are searched, as text.
fn rows(num: usize) -> String {
    format!("{} rows", thousands(num as u64))
}
