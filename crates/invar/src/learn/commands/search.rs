//! `invar search` for samples in instrument files: they are first embedded in the same way as those being searched.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use invar_cli::{
    cli::{Common, Dtype, Embed, Features, Search},
    commands::search,
    exit::{BadInput, Usage},
    result_dir::ResultDir,
    ui::{Summary, Ui},
};
use invar_dataset::{
    RunDir,
    manifest::{Manifest, file_digest},
};

use super::embed;
use crate::{recipe::Recipe, source::Datasets};

/// `invar search`, if some of the queries are not embeddings yet.
pub fn run(args: &Search, common: &Common, ui: &Ui) -> Result<Summary> {
    let to_be_embedded = args.to_be_embedded();
    search::check_output(args, common)?;
    if let Some(file) = to_be_embedded.iter().find(|file| !file.exists() && file.as_path() != Path::new("-")) {
        return Err(Usage(format!("{}: no such file", file.display())).into());
    }
    let (model, features) = model(args)?;
    let recipe = Recipe::of_run(&model)?;
    // Removed with everything in it, whatever the search returns.
    let directory = tempfile::Builder::new().prefix("invar-search-").tempdir().context("a temporary directory")?;
    let (mut data, files): (Vec<PathBuf>, Vec<PathBuf>) =
        to_be_embedded.iter().cloned().partition(|path| Manifest::exists(path));
    if !files.is_empty() {
        let read = directory.path().join("data");
        let said = recipe.source.of_other_files().ingest(&files, &read, false, ui).context(
            "reading the queries as the recipe of the model says; `invar ingest` reads them otherwise, and --query takes its \
             dataset",
        )?;
        ui.detail(&said.text);
        data.push(read);
    }
    let request = Embed {
        model: model.path().to_owned(),
        data,
        out: directory.path().join("embeddings"),
        probe: Some(0),
        moved: false,
        features,
        shard: None,
        dtype: Some(Dtype::Float32),
    };
    // The user's --force is meant for the answers.
    let own = Common { force: false, ..common.clone() };
    embed::embed(&recipe, &Datasets::new(&recipe.source, &request.data, ui), &request, &own, ui)?;
    let embedded = args.query.iter().filter(|path| !to_be_embedded.contains(path)).cloned();
    let files: Vec<PathBuf> = embedded.chain([request.out.clone()]).collect();
    search::search(args, &files, common, ui)
}

/// The run directory of the model that made the embeddings, and the features that were embedded.
fn model(args: &Search) -> Result<(RunDir, Option<Features>)> {
    let path = args.embeddings.display();
    let provenance = invar_embeddings::info(&args.embeddings)?.provenance;
    let Some((made, sha256)) = provenance.and_then(|made| made.model_sha256.clone().map(|sha256| (made, sha256)))
    else {
        return Err(BadInput(format!("{path}: it does not say which model made it: embed the queries yourself")).into());
    };
    let beside = || -> Result<RunDir> {
        let parent = args.embeddings.canonicalize()?.parent().map(PathBuf::from).unwrap_or_default();
        Ok(RunDir::new(ResultDir::new(parent).run()))
    };
    let run = args.model.as_ref().map_or_else(beside, |run| Ok(RunDir::new(run)))?;
    let file = run.model();
    if !file.is_file() {
        let reason = format!("{}: not there: --model names the run whose model made {path}", file.display());
        return Err(Usage(reason).into());
    }
    let (_, found) = file_digest(&file)?;
    if found != sha256 {
        let file = file.display();
        let reason =
            format!("{file}: SHA-256 of the model: {path} is of {sha256}, found {found}: --model names the right one");
        return Err(BadInput(reason).into());
    }
    let features = match made.extra.get("features").and_then(serde_json::Value::as_str) {
        Some("projected") => Some(Features::Projected),
        Some("pooled") => Some(Features::Pooled),
        Some("both") => Some(Features::Both),
        _ => None,
    };
    Ok((run, features))
}
