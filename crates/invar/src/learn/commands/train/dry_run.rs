//! `invar train --dry-run`

use std::path::PathBuf;

use anyhow::Result;
use invar_cli::{
    cli::Common,
    exit::Usage,
    ui::{Summary, Ui, thousands},
};
use invar_nn::DeviceChoice;
use invar_train::Survey;
use serde_json::json;

use super::processes;
use crate::{recipe::Recipe, source::Datasets};

/// Reports what training would do, and writes nothing.
pub fn dry_run(recipe: &Recipe, data: &[PathBuf], common: &Common, ui: &Ui) -> Result<Summary> {
    let choice: DeviceChoice =
        common.device.parse().map_err(|error| Usage(format!("--device {}: {error}", common.device)))?;
    let device = choice.resolve().map_err(|error| Usage(error.to_string()))?;
    let settings = invar_train::TrainingJob {
        encoders: vec![recipe.encoder.clone()],
        loss: recipe.loss.clone(),
        train: recipe.train.clone(),
        features: recipe.embed.features,
        data: Default::default(),
    };
    let processes = processes::launched()?.map_or(1, |rendezvous| rendezvous.size);
    let survey =
        invar_train::survey(&settings, Datasets::new(&recipe.source, data, ui).pairs()?, processes, device.device)?;
    let mut json = serde_json::to_value(&survey)?;
    json["device"] = json!(device.sentence);
    json["encoder"] = json!(recipe.encoder.name());
    Ok(Summary { text: describe(recipe, &survey, &device.sentence), json })
}

fn describe(recipe: &Recipe, survey: &Survey, device: &str) -> String {
    let widest = survey.tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0);
    let mut text = format!(
        "{}: encoder {}, {} numbers trained, {} fixed, embeddings of {} dimensions\n",
        recipe.name,
        recipe.encoder.name(),
        thousands(survey.num_trained as u64),
        thousands(survey.num_fixed as u64),
        survey.dim
    );
    for tensor in &survey.tensors {
        let fixed = if tensor.is_trained { "" } else { "  fixed" };
        text += &format!("  {:<widest$}  {:?}{fixed}\n", tensor.name, tensor.shape);
    }
    let config = &recipe.train;
    let chunks = if survey.chunk_pairs < survey.batch_size {
        format!(" in chunks of {}", thousands(survey.chunk_pairs as u64))
    } else {
        String::new()
    };
    let accumulated = if config.accumulate > 1 { format!(", {} per step", config.accumulate) } else { String::new() };
    text += &format!(
        "{device}\ndata: {} samples to train on, {} held out; {} steps, batches of {} pairs{chunks}{accumulated}\n",
        thousands(survey.num_training as u64),
        thousands(survey.num_held_out as u64),
        thousands(survey.steps),
        thousands(survey.batch_size as u64),
    );
    text += &format!(
        "data path alone: {} pairs/s with {} workers\n",
        thousands(survey.pairs_per_s as u64),
        config.view_workers
    );
    let megabytes = |bytes: usize| format!("{} MB", thousands((bytes as u64).div_ceil(1_000_000)));
    let memory = &survey.memory;
    text += &format!(
        "memory, estimated: {} (weights, gradients, optimizer {}; activations {}; views {})",
        megabytes(memory.total()),
        megabytes(memory.weights),
        memory.activations.map_or_else(|| "unknown".into(), megabytes),
        megabytes(memory.views)
    );
    text
}
