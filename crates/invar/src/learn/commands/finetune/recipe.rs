//! The recipe of a fine-tuning: that of the model, with what a short recipe changes in it.

use std::path::Path;

use anyhow::Result;
use invar_cli::{builtin::FINETUNE, exit::Usage};
use invar_loss::{LabelColumn, LossConfig, WeightedLoss};
use invar_train::{Steps, TrainConfig};
use serde::Deserialize;
use toml_edit::{DocumentMut, Item};

use crate::recipe::{LabelSettings, Recipe, checked, override_keys, parse, read};

/// A recipe file of `invar finetune`; everything else is the model's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read to be checked: what is merged is the text")]
struct Changes {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    labels: LabelSettings,
    #[serde(default)]
    train: TrainConfig,
}

/// The recipe of the model, changed by that at `name_or_path`, or a built-in one of that name, and by `key=value`
/// overrides. Training starts from the model at `model`.
///
/// # Errors
/// If there is no such recipe, or a key or a value is wrong; the message names the line.
pub fn load(
    of_model: &Recipe,
    name_or_path: &str,
    overrides: &[String],
    seed: Option<u64>,
    model: &Path,
) -> Result<Recipe> {
    let text = match FINETUNE.iter().find(|builtin| builtin.name == name_or_path) {
        Some(builtin) => builtin.text.to_owned(),
        None => read(name_or_path, FINETUNE)?,
    };
    let changes: DocumentMut = checked::<Changes>(name_or_path, &text)?;
    let mut document: DocumentMut = of_model.to_toml().parse()?;
    let own = document.as_table_mut();
    for forgotten in ["expected", "labels"] {
        own.remove(forgotten);
    }
    for key in ["name", "description", "labels"] {
        if let Some(item) = changes.get(key) {
            own.insert(key, item.clone());
        }
    }
    let of_train = own.entry("train").or_insert_with(toml_edit::table);
    // They are for the run that made the model.
    let of_train = of_train.as_table_like_mut().ok_or_else(|| Usage("the model's recipe: train is no table".into()))?;
    for forgotten in ["freeze", "warm_start", "early_stop_patience", "harmony"] {
        of_train.remove(forgotten);
    }
    for (key, item) in changes.get("train").and_then(Item::as_table_like).into_iter().flat_map(|table| table.iter()) {
        of_train.insert(key, item.clone());
    }
    of_train.insert("warm_start", toml_edit::value(model.display().to_string()));
    override_keys(&mut document, overrides)?;
    let mut recipe = parse(name_or_path, &document.to_string(), &[])?;
    recipe.reseed(seed);
    recipe.labels.get_or_insert_default();
    // A model that was fine-tuned before has the weights of its losses scaled.
    if let Some(before) = of_model.labels.as_ref().filter(|before| before.contrastive > 0.0) {
        recipe.loss.losses.iter_mut().for_each(|loss| loss.weight /= before.contrastive);
    }
    Ok(recipe)
}

/// Adds the loss of the labels to those of the recipe.
///
/// # Errors
/// If nothing is left to be minimised.
pub fn add_labels(recipe: &mut Recipe, columns: Vec<LabelColumn>) -> Result<()> {
    let settings = recipe.labels.clone().unwrap_or_default();
    settings.check()?;
    let losses = &mut recipe.loss.losses;
    losses.retain(|loss| settings.contrastive > 0.0 && !matches!(loss.loss, LossConfig::Classification(_)));
    losses.iter_mut().for_each(|loss| loss.weight *= settings.contrastive);
    if recipe.train.steps == Steps::Fixed(0) && !settings.hidden.is_empty() {
        let text = "labels.hidden: a head with hidden layers has to be trained, and train.steps is 0";
        return Err(Usage(text.into()).into());
    }
    let loss = LossConfig::of_labels(columns, recipe.embed.features, settings.hidden, settings.balance);
    losses.push(WeightedLoss { weight: settings.weight, loss });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quickstart() -> Recipe {
        Recipe::load("reads/quickstart", &[], None).unwrap()
    }

    fn columns() -> Vec<LabelColumn> {
        vec![LabelColumn { name: "species".into(), classes: vec!["a".into(), "b".into()], counts: vec![2, 3] }]
    }

    #[test]
    fn builtin_recipes_change_what_they_name_and_nothing_else() {
        let base = quickstart();
        for builtin in FINETUNE {
            let mut recipe = load(&base, builtin.name, &[], None, Path::new("run")).unwrap();
            assert!(!recipe.description.is_empty());
            assert_eq!((&recipe.source, &recipe.encoder, recipe.seed), (&base.source, &base.encoder, base.seed));
            assert_eq!(recipe.train.batch_size, base.train.batch_size);
            assert_eq!(recipe.train.warm_start.as_deref(), Some(Path::new("run")));
            add_labels(&mut recipe, columns()).unwrap();
            let names: Vec<&str> = recipe.loss.losses.iter().map(|loss| loss.loss.name()).collect();
            assert_eq!(names.last(), Some(&"classification"));
            assert_eq!(names.len(), if builtin.name == "finetune/full" { 2 } else { 1 });
            // What is stored is read again.
            assert_eq!(parse("stored", &recipe.to_toml(), &[]).unwrap(), recipe);
        }
    }

    #[test]
    fn fine_tuning_again_does_not_scale_the_losses_again() {
        let tune = |base: &Recipe| {
            let mut recipe = load(base, "finetune/full", &[], None, Path::new("run")).unwrap();
            add_labels(&mut recipe, columns()).unwrap();
            recipe
        };
        let once = tune(&quickstart());
        assert_eq!(once.loss.losses[0].weight, 0.03);
        assert!((tune(&once).loss.losses[0].weight - 0.03).abs() < 1e-12);
        assert_eq!(tune(&once).loss.losses.len(), 2);
    }

    #[test]
    fn a_slip_is_named_with_its_line_and_other_tables_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.toml");
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            load(&quickstart(), path.to_str().unwrap(), &[], None, Path::new("run")).unwrap_err().to_string()
        };
        let error = refused("name = \"mine\"\n\n[labels]\nwieght = 1.0\n");
        assert!(error.contains("mine.toml:4: unknown key `wieght`; did you mean `weight`?"), "{error}");
        let error = refused("name = \"mine\"\n\n[encoder]\ntype = \"conv\"\n");
        assert!(error.contains("mine.toml:3: unknown key `encoder`"), "{error}");
        let error = load(&quickstart(), "finetune/fully", &[], None, Path::new("run")).unwrap_err().to_string();
        assert!(error.contains("finetune/full, finetune/head, finetune/probe"), "{error}");
    }

    #[test]
    fn overrides_reach_the_labels_and_the_models_own_keys() {
        let set = ["labels.weight=2.5".to_owned(), "train.batch_size=64".into(), "labels.hidden=[8]".into()];
        let mut recipe = load(&quickstart(), "finetune/full", &set, Some(9), Path::new("run")).unwrap();
        assert_eq!((recipe.train.batch_size, recipe.seed, recipe.train.seed), (64, 9, 9));
        add_labels(&mut recipe, columns()).unwrap();
        assert_eq!(recipe.loss.losses.last().unwrap().weight, 2.5);
        let mut probe = load(&quickstart(), "finetune/probe", &set[2..], None, Path::new("run")).unwrap();
        assert!(add_labels(&mut probe, columns()).unwrap_err().to_string().contains("train.steps is 0"));
    }
}
