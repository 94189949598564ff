//! `invar views`

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use invar_cli::{
    cli::{Common, Views},
    exit::Usage,
    output,
    ui::{Summary, Ui, thousands},
};
use invar_dataset::{Pair, ViewShape, atomic, order::Permutation, path, seed};
use serde_json::json;

use crate::{contact_sheet, recipe::Recipe, source::Datasets};

/// `invar views`
pub fn run(args: &Views, common: &Common, ui: &Ui) -> Result<Summary> {
    let recipe = Recipe::load(&args.recipe, &args.set, common.seed)?;
    if let Some(out) = &args.out {
        output::check_free(out, common, &[])?;
    }
    show(&recipe, &args.data, args.out.as_deref(), args.number, ui)
}

/// Draws `number` pairs of `recipe` into a file that may exist.
///
/// # Errors
/// If no pairs can be drawn from the data, or the file cannot be written.
pub fn draw(recipe: &Recipe, data: &[PathBuf], out: &Path, number: u32, ui: &Ui) -> Result<Summary> {
    show(recipe, data, Some(out), number, ui)
}

fn show(recipe: &Recipe, data: &[PathBuf], out: Option<&Path>, number: u32, ui: &Ui) -> Result<Summary> {
    let pairs = Datasets::new(&recipe.source, data, ui).pairs()?;
    let picture = match &pairs.view_shapes()[..] {
        [ViewShape::Dense(shape)] => <[usize; 3]>::try_from(&shape[..]).ok(),
        _ => None,
    };
    check_extension(out, picture.is_some())?;
    // Any samples, but the same ones for the same seed.
    let order = Permutation::new(pairs.len() as u64, recipe.seed);
    let choose = |number: u64| (order.get(number % pairs.len() as u64) as usize, seed::mix(recipe.seed, number));
    let chosen: Vec<(usize, u64)> = (0..u64::from(number)).map(choose).collect();
    let words = chosen.iter().map(|&(index, seed)| pairs.describe(index, seed)).collect::<Result<Vec<_>, _>>()?;
    let json = json!({"out": out.map(path::text), "recipe": recipe.name, "num_samples": pairs.len(), "pairs": words});
    let Some(out) = out else { return Ok(Summary { text: words.concat(), json }) };
    match picture {
        Some(shape) => {
            let drawn =
                chosen.iter().map(|&(index, seed)| pairs.pair(index, seed)).collect::<Result<Vec<Pair>, _>>()?;
            write(out, &contact_sheet::png(&drawn, shape)?)?;
            words.iter().for_each(|words| ui.detail(words.trim_end()));
        }
        None => write(out, words.concat().as_bytes())?,
    }
    let total = thousands(pairs.len() as u64);
    Ok(Summary { text: format!("{}: {} pairs of {total} samples", out.display(), words.len()), json })
}

fn check_extension(out: Option<&Path>, are_pictures: bool) -> Result<()> {
    let Some(out) = out else {
        let reason = "the views of this recipe are pictures: --out FILE.png";
        return if are_pictures { Err(Usage(reason.into()).into()) } else { Ok(()) };
    };
    let is_png = out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    if is_png == are_pictures {
        return Ok(());
    }
    let needed = if are_pictures { "pictures and go to a .png file" } else { "text, not a .png file" };
    Err(Usage(format!("{}: the views of this recipe are {needed}", out.display())).into())
}

fn write(out: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = out.parent() {
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    }
    atomic::write(out, bytes).with_context(|| out.display().to_string())
}
