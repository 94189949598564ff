//! `invar evaluate`

mod moved;
mod names;
mod report;
mod shortcuts;
mod truth;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use invar_cluster::{Rows, geometry};
use invar_embeddings::{Embeddings, Vectors};
use serde_json::{Value, json};

use self::{names::Names, report::Report, truth::Truth};
use super::labels::{Labels, as_labels};
use crate::{
    cli::{Common, Evaluate},
    exit::Usage,
    ui::{Summary, Ui},
};

pub use shortcuts::SHORTCUTS;

/// The provenance key for embeddings of samples that were transformed first: the names of their symmetries.
pub const MOVED: &str = "moved";
/// The figure for the number of samples on which the others were measured.
pub const NUM_PROBED: &str = "invariance_samples";
/// Prefix of the figures with one value per symmetry: the mean cosine of the samples transformed by it. They make a
/// curve, not a list to read.
pub const COSINE_OF: &str = "symmetry_cosine: ";

/// `invar evaluate`
pub fn run(args: &Evaluate, common: &Common, _: &Ui) -> Result<Summary> {
    let column = args.label_column.as_deref();
    let labels = match (&args.labels, column) {
        (Some(path), column) => Some(LabelSource::Table(Labels::read(path, column)?)),
        (None, Some(column)) => Some(LabelSource::Column(column.to_owned())),
        (None, None) => None,
    };
    let probes = match (args.no_probe, args.probe.as_slice()) {
        (true, _) => Probes::None,
        (false, []) => Probes::Usual,
        (false, named) => Probes::Named(named.to_vec()),
    };
    let questions = Questions {
        vectors: args.vectors.to_reader(),
        labels,
        clusters: args.clusters.clone(),
        weight: args.weight.clone(),
        against: args.against.clone(),
        probes,
        kmeans_runs: args.kmeans_runs,
        seed: common.seed.unwrap_or(0),
    };
    evaluate(&args.embeddings, &questions)
}

/// What to measure on the embeddings.
#[derive(Default)]
pub struct Questions {
    /// Which column they are in.
    pub vectors: Vectors,
    /// True labels.
    pub labels: Option<LabelSource>,
    /// A clustering to score against them.
    pub clusters: Option<PathBuf>,
    /// The column that the clustering is also scored by.
    pub weight: Option<String>,
    /// Other embeddings of the same samples.
    pub against: Option<PathBuf>,
    /// Columns to predict from the embedding.
    pub probes: Probes,
    /// Number of k-means runs against the labels.
    pub kmeans_runs: usize,
    /// Seed of everything random.
    pub seed: u64,
}

/// Where the true labels are.
pub enum LabelSource {
    /// In a table.
    Table(Labels),
    /// In a column of the embeddings.
    Column(String),
}

/// Which columns are probed.
#[derive(Default)]
pub enum Probes {
    /// Those that might be shortcuts.
    #[default]
    Usual,
    /// These.
    Named(Vec<String>),
    /// No column.
    None,
}

/// Measures the embeddings at `path`.
pub fn evaluate(path: &Path, questions: &Questions) -> Result<Summary> {
    let embeddings = Embeddings::read_as(path, &questions.vectors)?;
    let rows = Rows::new(&embeddings.values, embeddings.dim).with_context(|| path.display().to_string())?;
    let mut report = Report::default();
    report.number("samples", "num_rows", json!(rows.len()));
    report.number("dimensions", "dim", json!(rows.dim()));
    if !embeddings.dropped.is_empty() {
        report.number("rows left out", "num_dropped", json!(embeddings.dropped.len()));
    }
    let provenance = embeddings.provenance.as_ref();
    if provenance.is_some_and(|provenance| provenance.extra.contains_key(MOVED)) {
        report.text += "  every sample was moved by a random symmetry first\n";
        report.json.insert("moved".into(), json!(true));
    }
    let figures = provenance.map(|p| &p.invariance).into_iter().flatten();
    for (name, value) in figures.filter(|(name, _)| !name.starts_with(COSINE_OF)) {
        let value = if name == NUM_PROBED { json!(*value as u64) } else { json!(value) };
        report.number(&name.replace('_', " "), name, value);
    }
    if let Some(uniformity) = geometry::uniformity(rows, questions.seed) {
        report.number("uniformity", "uniformity", json!(uniformity));
    }
    if rows.len() > 1 {
        let healthy = geometry::embedding_std(rows) * (rows.dim() as f64).sqrt();
        report.number("std x sqrt(dim)", "scaled_std", json!(healthy));
        report.number("effective rank", "effective_rank", json!(geometry::effective_rank(rows)));
    }
    let own_column;
    let truth = match &questions.labels {
        None => None,
        Some(LabelSource::Table(table)) => {
            let names = Names::of(&embeddings, path)?;
            Some(Truth { column: &table.column, labels: table.of(&names.named())? })
        }
        Some(LabelSource::Column(name)) => {
            own_column = labels_in(&embeddings, path, name)?;
            Some(Truth { column: name, labels: own_column.iter().map(Option::as_deref).collect() })
        }
    };
    if let Some(truth) = &truth {
        truth::score(&mut report, truth, &embeddings, rows, questions)?;
    }
    if let Some(other) = &questions.against {
        moved::compare(&mut report, &embeddings, rows, other, truth.as_ref(), questions)?;
    }
    let label_column = truth.as_ref().map(|truth| truth.column);
    shortcuts::probe(&mut report, path, &embeddings, rows, label_column, questions)?;
    Ok(Summary { text: format!("{}\n{}", path.display(), report.text), json: Value::Object(report.json) })
}

/// The labels in a column of the embeddings.
fn labels_in(embeddings: &Embeddings, path: &Path, name: &str) -> Result<Vec<Option<String>>> {
    let columns = invar_embeddings::info(path)?.columns;
    if !columns.iter().any(|column| column.name == name) {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let reason = format!("{}: expected a column {name:?}, found {}", path.display(), names.join(", "));
        return Err(Usage(reason).into());
    }
    let labels = as_labels(&embeddings.column(name)?);
    if labels.iter().all(Option::is_none) {
        return Err(Usage(format!("{}: column {name:?} holds no label", path.display())).into());
    }
    Ok(labels)
}
