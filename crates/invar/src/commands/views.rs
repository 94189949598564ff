//! `invar views`

use std::{fs, path::Path};

use anyhow::{Context, Result};
use invar_dataset::{Pair, ViewShape, atomic, order::Permutation, seed};
use serde_json::json;

use crate::{
    cli::{Common, Views},
    exit::Usage,
    recipe::Recipe,
    sheet,
    ui::{Summary, Ui, thousands},
};

/// `invar views`
pub fn run(args: &Views, common: &Common, ui: &Ui) -> Result<Summary> {
    let recipe = Recipe::load(&args.recipe, &args.set, common.seed)?;
    let pairs = recipe.source.pairs(&args.data)?;
    let picture = match pairs.view_shape() {
        ViewShape::Dense(shape) => <[usize; 3]>::try_from(shape).ok(),
        _ => None,
    };
    if let Some(out) = &args.out {
        let is_png = out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
        if is_png != picture.is_some() {
            let needed = if picture.is_some() { "pictures and go to a .png file" } else { "text, not a .png file" };
            return Err(Usage(format!("{}: the views of this recipe are {needed}", out.display())).into());
        }
        if out.exists() && !common.force {
            return Err(Usage(format!("{}: exists (--force replaces it)", out.display())).into());
        }
    }
    // Any samples, but the same ones whenever the seed is the same.
    let order = Permutation::new(pairs.len() as u64, recipe.seed);
    let chosen = |number: u64| (order.get(number % pairs.len() as u64) as usize, seed::mix(recipe.seed, number));
    let chosen: Vec<(usize, u64)> = (0..u64::from(args.number)).map(chosen).collect();
    let words = chosen.iter().map(|&(index, seed)| pairs.describe(index, seed)).collect::<Result<Vec<_>, _>>()?;
    let json = json!({"out": args.out, "recipe": recipe.name, "num_samples": pairs.len(), "pairs": words});
    let text = match (picture, &args.out) {
        (Some(shape), Some(out)) => {
            let drawn =
                chosen.iter().map(|&(index, seed)| pairs.pair(index, seed)).collect::<Result<Vec<Pair>, _>>()?;
            write(out, &sheet::png(&drawn, shape)?)?;
            words.iter().for_each(|words| ui.detail(words.trim_end()));
            let total = thousands(pairs.len() as u64);
            format!("{}: {} pairs of {total} samples, two views side by side", out.display(), drawn.len())
        }
        (Some(_), None) => return Err(Usage("the views of this recipe are pictures: --out FILE.png".into()).into()),
        (None, None) => words.concat(),
        (None, Some(out)) => {
            write(out, words.concat().as_bytes())?;
            format!("{}: {} pairs of {} samples", out.display(), words.len(), thousands(pairs.len() as u64))
        }
    };
    Ok(Summary { text, json })
}

fn write(out: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = out.parent() {
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    }
    atomic::write(out, bytes).with_context(|| out.display().to_string())
}
