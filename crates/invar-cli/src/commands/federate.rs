//! `invar federate`: what needs no networks. The rest is among the commands of `invar-learn`.

mod explain;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use invar_dataset::path;
use invar_federation::{Error, Global, Merge, Update};
use serde_json::{Value, json};

use super::listed::Listed;
use crate::{
    cli::{Common, FederateMerge},
    exit::BadInput,
    ui::{Summary, Ui, counted, thousands},
};

/// Directories of global models.
pub const GLOBALS: Listed = Listed { command: "invar federate", list: "files.json" };

/// `invar federate merge`
pub fn merge(args: &FederateMerge, common: &Common, ui: &Ui) -> Result<Summary> {
    let out = GLOBALS.hold(&args.out, common)?;
    let global = Global::read(&args.global)?;
    let (mut updates, mut bytes, mut unread) = (vec![], vec![], vec![]);
    for path in &args.updates {
        match Update::read(path) {
            Ok(update) => {
                bytes.push(size_of(path, &update)?);
                updates.push((path.clone(), update));
            }
            Err(error) if args.skip_refused => unread.push(error),
            Err(error) => return Err(error.into()),
        }
    }
    let Merge { mut global, refused } = invar_federation::merge(&global, updates, &bytes, env!("CARGO_PKG_VERSION"))?;
    if !args.skip_refused && !refused.is_empty() {
        let reasons: Vec<String> = refused.iter().map(Error::to_string).collect();
        return Err(BadInput(format!("{} (--skip-refused goes on without)", reasons.join("; "))).into());
    }
    for error in unread.iter().chain(&refused) {
        ui.warn(&format!("left out: {error}"));
    }
    out.write(|directory| Ok(global.write(directory)?))?;
    let mut summary = described(&args.out, &global);
    summary.json["left_out"] = unread.iter().chain(&refused).map(|error| Value::from(error.to_string())).collect();
    Ok(summary)
}

/// The size of an update's files.
///
/// # Errors
/// If one is not there.
pub fn size_of(directory: &Path, update: &Update) -> Result<u64> {
    let size = |file: PathBuf| {
        let path = directory.join(file);
        fs::metadata(&path).map(|metadata| metadata.len()).with_context(|| path.display().to_string())
    };
    update.files().into_iter().map(size).sum()
}

/// `invar info UPDATE`, and what a step says; with `explain` all that is in it.
///
/// # Errors
/// If a file is not there.
pub fn described_update(directory: &Path, update: &Update, explain: bool) -> Result<Summary> {
    let facts = &update.facts;
    let bytes = size_of(directory, update)?;
    let mut text = format!(
        "{}: round {} at site {}: {} on {} rows, loss {:.4}, change of the weights {:.4}, {} of its samples; {} bytes",
        directory.display(),
        facts.round,
        facts.site,
        counted(facts.steps, "step"),
        thousands(facts.rows),
        facts.loss,
        facts.norm,
        counted(facts.keys, "key"),
        thousands(bytes)
    );
    if let Some(privacy) = &facts.privacy {
        text += &format!("\n  privacy: {}", privacy.in_words());
    }
    if explain {
        text += &explain::explained(update)?;
    }
    Ok(Summary { text, json: json!({"kind": "update", "out": path::text(directory), "update": facts, "bytes": bytes}) })
}

/// `invar info` of what federated training writes; `None` if it is something else.
///
/// # Errors
/// If it is damaged.
pub fn info(path: &Path) -> Result<Option<Summary>> {
    if Global::is_at(path) {
        return Ok(Some(described(path, &Global::read(path)?)));
    }
    if Update::is_at(path) {
        return Ok(Some(described_update(path, &Update::read(path)?, true)?));
    }
    Ok(None)
}

/// `invar info GLOBAL`, and what a merge says.
pub fn described(directory: &Path, global: &Global) -> Summary {
    let facts = &global.facts;
    let rounds = facts.federation.rounds;
    let mut text = format!("{}: global model after round {} of {rounds}", directory.display(), facts.round);
    if !global.bank.is_empty() {
        let age = invar_federation::mean_age(&global.bank, facts.round + 1).unwrap_or_default();
        text += &format!(
            ", {} in the bank, {age:.1} rounds old in the next round, on the mean",
            counted(global.bank.len() as u64, "key")
        );
    }
    text += &format!("\n  recipe {}", facts.recipe);
    for site in &facts.merged {
        text += &format!(
            "\n  {}: {} rows ({:.1} %), loss {:.4}, change {:.4}, {:.4} from the average, {} bytes",
            site.site,
            thousands(site.rows),
            100.0 * site.weight,
            site.loss,
            site.norm,
            site.divergence,
            thousands(site.bytes)
        );
        if let Some(privacy) = &site.privacy {
            text += &format!(", {}", privacy.in_words());
        }
    }
    for refusal in &facts.refused {
        text += &format!("\n  {}: left out: {}", refusal.site, refusal.reason);
    }
    let json = json!({
        "kind": "global", "out": path::text(directory), "round": facts.round, "rounds": rounds, "recipe": facts.recipe,
        "model_sha256": facts.model_sha256, "bank_keys": global.bank.len(), "merged": facts.merged,
        "refused": facts.refused,
    });
    Summary { text, json }
}
