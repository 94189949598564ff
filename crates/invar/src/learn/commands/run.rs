//! `invar run`

use std::path::PathBuf;

use anyhow::{Context, Result};
use invar_cli::{
    cli::{Common, Embed, Run},
    commands::{
        cluster::{self, Output},
        evaluate::{self, LabelSource, Questions},
        labels::Labels,
        report,
    },
    exit::Usage,
    result_dir::ResultDir,
    stage_log::{Ended, StageLog, Traffic},
    ui::{DONE_BEFORE, Summary, Ui, thousands},
};
use invar_dataset::{atomic, lock::Lock, path};
use invar_embeddings::{ClusterTable, Vectors};
use serde_json::{Value, json};

use super::{embed, pictures, train};
use crate::{recipe::Recipe, source::Datasets};

/// Number of k-means runs against the labels.
const KMEANS_RUNS: usize = 5;

/// `invar run`
pub fn run(args: &Run, common: &Common, ui: &Ui) -> Result<Summary> {
    if let Some(rendezvous) = train::processes::launched()? {
        return Err(Usage(format!(
            "`invar run` is for a process on its own, this is one of {}: start `invar train` so",
            rendezvous.size
        ))
        .into());
    }
    let mut recipe = Recipe::load(&args.recipe, &args.set, common.seed)?;
    if let Some(sheet) = &args.sample_sheet {
        recipe.source.set_sample_sheet(sheet)?;
    }
    // Training scores held-out samples with the same table.
    let table = args.labels.as_ref().map(|path| Labels::read(path, args.label_column.as_deref())).transpose()?;
    let labels = match (&table, &args.label_column) {
        (Some(table), _) => Some(LabelSource::Table(table.clone())),
        (None, Some(column)) => Some(LabelSource::Column(column.clone())),
        (None, None) => None,
    };
    let results = ResultDir::new(&args.out);
    results.check()?;
    let (data, model, embeddings) = (results.data(), results.run(), results.embeddings());
    let log = common.log.as_deref().map(StageLog::open).transpose()?;
    let mut stages = Stages { ui, log, json: serde_json::Map::new() };
    // If it was created for this run and nothing is written, it is removed again.
    let _lock = Lock::directory(results.path()).with_context(|| results.path().display().to_string())?;
    stages.add(
        "ingest",
        &Traffic::new(&args.input, &data),
        recipe.source.ingest(&args.input, &data, common.force, ui)?,
    )?;
    let options = train::Options { labels: table, ..train::Options::default() };
    let request = Embed {
        model,
        data: vec![data.clone()],
        out: embeddings.clone(),
        probe: args.probe,
        moved: false,
        features: None,
        shard: None,
        dtype: None,
    };
    // Both stages draw pairs from data that are opened and indexed once.
    let datasets = Datasets::new(&recipe.source, &request.data, ui);
    stages.add(
        "train",
        &Traffic::new([&data], &request.model),
        train::train(&recipe, &datasets, &request.model, options, common, ui)?,
    )?;
    stages.add(
        "embed",
        &Traffic::new([&data], &embeddings),
        embed::embed(&recipe, &datasets, &request, common, ui)?,
    )?;
    let output = Output { clusters: results.clusters(), groups: results.groups(), plot: Some(results.plot()) };
    let clustered = match done_before(&recipe, &output, &embeddings, common) {
        Some(summary) => summary,
        None => cluster::cluster(&embeddings, &Vectors::default(), &output, &recipe.cluster, &recipe.projection, ui)?,
    };
    stages.add("cluster", &Traffic::new([&embeddings], &results.clusters()), clustered)?;
    let mut made = vec![
        ("embeddings", embeddings.clone()),
        ("clusters", results.clusters()),
        ("groups", results.groups()),
        ("picture", results.plot()),
    ];
    if recipe.source.has_pictures() {
        made.extend(pictures::draw(&recipe, &results, common, ui)?);
        ui.check_cancelled()?;
    }
    let questions = Questions {
        labels,
        clusters: Some(output.clusters.clone()),
        kmeans_runs: KMEANS_RUNS,
        seed: recipe.seed,
        ..Questions::default()
    };
    let evaluated = evaluate::evaluate(&embeddings, &questions)?;
    let figures = serde_json::to_string_pretty(&evaluated.json).expect("a JSON value has string keys");
    atomic::write(results.evaluation(), figures.as_bytes())
        .with_context(|| results.evaluation().display().to_string())?;
    ui.check_cancelled()?;
    let reported = report::write(&results, &results.report(), None, ui)?;
    made.push(("report", results.report()));
    let mut text = format!("{}\n", evaluated.text.trim_end());
    for (what, path) in &made {
        text += &format!("\n{what:<12}{}", path.display());
    }
    stages.json.insert("report".into(), reported.json);
    let (groups, found) = cluster::groups::read(&embeddings, &output.clusters)?;
    text += &format!("\n\n{}", recipe.source.in_words(&groups, &found, &evaluated.json, &results)?);
    stages.json.insert("evaluate".into(), evaluated.json);
    stages.json.insert("groups".into(), json!(groups));
    Ok(Summary { text, json: json!({"out": path::text(&args.out), "recipe": recipe.name, "stages": stages.json}) })
}

struct Stages<'a> {
    ui: &'a Ui,
    log: Option<StageLog>,
    json: serde_json::Map<String, Value>,
}

impl Stages<'_> {
    /// Reports a stage that is done, and stops there if the user asked for it.
    fn add(&mut self, name: &str, traffic: &Traffic, summary: Summary) -> Result<()> {
        if let Some(log) = &mut self.log {
            log.end(name, traffic, Ended::from(&summary))?;
            log.begin();
        }
        self.ui.note(&summary.text);
        self.json.insert(name.into(), summary.json);
        self.ui.check_cancelled()
    }
}

/// The existing clustering, if it is of these embeddings and by this method.
fn done_before(recipe: &Recipe, output: &Output, embeddings: &std::path::Path, common: &Common) -> Option<Summary> {
    let is_file = |path: &PathBuf| path.is_file();
    if common.force || !is_file(&output.groups) || !output.plot.as_ref().is_some_and(is_file) {
        return None;
    }
    let table = ClusterTable::read(&output.clusters).ok()?;
    let of_embeddings = invar_embeddings::info(embeddings).ok()?.provenance?;
    let same_embeddings = table.provenance.model_sha256 == of_embeddings.model_sha256
        && table.provenance.inputs == of_embeddings.inputs
        && table.provenance.recipe == of_embeddings.recipe;
    if !same_embeddings || table.parameters != cluster::parameters(&recipe.cluster, &recipe.projection) {
        return None;
    }
    let num_clusters = table.clusters.iter().max().map_or(0, |&most| most + 1);
    let rows = table.ids.len();
    let text = format!(
        "{}: {num_clusters} clusters of {} samples, {DONE_BEFORE}",
        output.clusters.display(),
        thousands(rows as u64)
    );
    Some(Summary {
        text,
        json: json!({"out": path::text(&output.clusters), "num_rows": rows, "num_clusters": num_clusters, "done_before": true}),
    })
}
