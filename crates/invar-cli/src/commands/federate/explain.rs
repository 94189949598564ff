//! What an update holds, byte by byte.

use std::path::Path;

use anyhow::Result;
use invar_federation::Update;
use serde_json::Value;

use crate::ui::{counted, thousands};

/// Each file of an update, with what is in it and what is not.
///
/// # Errors
/// If its weights have no file.
pub fn explained(update: &Update) -> Result<String> {
    let mut text = "\nThis is all that the update holds:".to_owned();
    let facts = serde_json::to_value(&update.facts)?;
    text += &format!("\n  {}, what it says of itself:", Update::FACTS);
    for (name, value) in facts.as_object().into_iter().flatten() {
        text += &format!("\n    {name} = {value}");
    }
    let bytes = update.weights.to_bytes(Path::new(Update::WEIGHTS))?.len();
    let of_values: usize = update.weights.tensors.values().map(|(_, values)| 4 * values.len()).sum();
    text += &format!(
        "\n  {}, {} bytes: the weights after the steps, {} bytes of 32-bit numbers in {}, and {} bytes of names and shapes with \
         what a model file says of itself:",
        Update::WEIGHTS,
        thousands(bytes as u64),
        thousands(of_values as u64),
        counted(update.weights.tensors.len() as u64, "tensor"),
        thousands((bytes - of_values) as u64)
    );
    for (name, (shape, values)) in &update.weights.tensors {
        text += &format!("\n    {name} {shape:?}, {} bytes", thousands(4 * values.len() as u64));
    }
    let header: Value = serde_json::from_str(&update.weights.header)?;
    text += &format!("\n    model: {header}");
    if update.keys.is_empty() {
        text += "\n  no keys of samples";
    } else {
        text += &format!(
            "\n  {}, {}, each with a random number, the name of the site, the round, and {} numbers of 32 bits: a projection of one \
             sample",
            Update::KEYS,
            counted(update.keys.len() as u64, "key"),
            update.keys.width
        );
    }
    text += "\nNo name of a sample or file, no position and no label is in it. But weights and keys are made from the samples: \
             who has them and the model can tell more often than by chance whether a sample was trained on (`invar federate \
             membership` measures how often), and can partly reconstruct samples from keys.";
    Ok(text)
}
