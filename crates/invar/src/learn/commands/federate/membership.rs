//! `invar federate membership`: what an update gives away of who was trained on.

use std::{collections::HashMap, path::PathBuf};

use anyhow::Result;
use invar_cli::{
    cli::{Common, FederateMembership},
    exit::{BadInput, Usage},
    ui::{Summary, Ui},
};
use invar_dataset::seed::Stream;
use invar_federation::{Global, Update, Weights};
use invar_train::{Observer, Place, Trainer};
use serde_json::json;

use super::{
    super::train::Watch,
    site::{Site, Source},
};

/// `invar federate membership`
pub fn run(args: &FederateMembership, common: &Common, ui: &Ui) -> Result<Summary> {
    if args.samples < 2 {
        return Err(Usage(format!("--samples must be at least 2, got {}", args.samples)).into());
    }
    let recipe = super::recipe_of(&args.recipe, common)?;
    let (global, update) = (Global::read(&args.global)?, Update::read(&args.update)?);
    if update.facts.global != global.facts.model_sha256 {
        let (from, is) = (&update.facts.global, &global.facts.model_sha256);
        return Err(
            BadInput(format!("{}: began with model {from}, the global model is {is}", args.update.display())).into()
        );
    }
    let place = super::place(common, ui)?;
    let watch = Watch::new(ui);
    let scores = |data: &[PathBuf]| -> Result<Scores> {
        let site = Site::open(&recipe, data, Some(&update.facts.site), 1.0, ui)?;
        site.check(&global)?;
        Scores::of(&site, &global, &update, args.samples, &place, &watch)
    };
    let (members, others) = (scores(&args.members)?, scores(&args.others)?);
    let of_update = auc(&members.gains, &others.gains);
    let of_bank = auc(&members.nearest, &others.nearest);
    let mut text = format!(
        "{}: {} samples that were trained on, {} that were not\n  by the update: area under the ROC curve {of_update:.3}, {}",
        args.update.display(),
        members.gains.len(),
        others.gains.len(),
        in_words(of_update)
    );
    match of_bank.is_nan() {
        true => text += "\n  by its keys: it has none",
        false => text += &format!("\n  by its keys: area under the ROC curve {of_bank:.3}, {}", in_words(of_bank)),
    }
    let json = json!({
        "members": members.gains.len(), "others": others.gains.len(), "auc_update": of_update,
        "auc_bank": (!of_bank.is_nan()).then_some(of_bank),
    });
    Ok(Summary { text, json })
}

/// An area under the ROC curve, for people.
fn in_words(auc: f64) -> &'static str {
    match (auc - 0.5).abs() {
        below if below < 0.02 => "as good as chance",
        below if below < 0.1 => "a little better than chance",
        below if below < 0.25 => "clearly better than chance: something is given away",
        _ => "they are told apart: much is given away",
    }
}

/// Of some samples, how much each looks like one that was trained on.
struct Scores {
    /// How much more alike the two views of a pair are under the update's weights than under the global ones.
    gains: Vec<f64>,
    /// Cosine to the nearest of the update's keys; empty if it has none.
    nearest: Vec<f64>,
}

impl Scores {
    fn of(
        site: &Site<Source>,
        global: &Global,
        update: &Update,
        samples: usize,
        place: &Place,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let seed = Stream::Keys.seed(0);
        let projections = |weights: &Weights| -> Result<(Vec<Vec<f32>>, usize)> {
            let scratch = tempfile::tempdir()?;
            let trainer: Trainer = site.trainer_of(weights, None, 1, place, scratch.path(), observer)?;
            Ok(trainer.keys(samples, seed)?)
        };
        let ((before, width), (after, _)) = (projections(&global.model)?, projections(&update.weights)?);
        let ([first, second], [first_after, second_after]) = (&before[..], &after[..]) else {
            let reason = "the loss must compare two views with keys of others (info-nce): another cannot be asked";
            return Err(Usage(reason.into()).into());
        };
        let rows = |a: &[f32], b: &[f32]| -> Vec<f64> {
            a.chunks_exact(width).zip(b.chunks_exact(width)).map(|(a, b)| cosine(a, b)).collect()
        };
        let gains = rows(first_after, second_after).iter().zip(rows(first, second)).map(|(a, b)| a - b).collect();
        let keys = &update.keys;
        let nearest =
            |of: &[f32]| (0..keys.len()).map(|key| cosine(of, keys.key(key))).fold(f64::NEG_INFINITY, f64::max);
        let nearest = match keys.is_empty() {
            true => vec![],
            false => first_after.chunks_exact(width).map(nearest).collect(),
        };
        Ok(Self { gains, nearest })
    }
}

/// Of unit vectors.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// The area under the ROC curve: how often a positive is above a negative, ties counting one half (Hanley and McNeil, *The
/// meaning and use of the area under a receiver operating characteristic (ROC) curve*, 1982). NaN if there are none.
fn auc(positives: &[f64], negatives: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = positives.iter().map(|&score| (score, true)).collect();
    all.extend(negatives.iter().map(|&score| (score, false)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut below = HashMap::<u64, f64>::new();
    // The mean rank of equal scores.
    let mut first = 0;
    while first < all.len() {
        let last = first + all[first..].iter().take_while(|(score, _)| *score == all[first].0).count();
        below.insert(all[first].0.to_bits(), (first + last - 1) as f64 / 2.0);
        first = last;
    }
    let ranks: f64 = all.iter().filter(|(_, is_positive)| *is_positive).map(|(score, _)| below[&score.to_bits()]).sum();
    let (p, n) = (positives.len() as f64, negatives.len() as f64);
    (ranks - p * (p - 1.0) / 2.0) / (p * n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_how_often_a_positive_is_above_a_negative() {
        let (positives, negatives) = ([0.9, 0.4, 0.4, 0.1, -0.0], [0.4, 0.3, 0.0, -2.0]);
        let above = |a: f64, b: f64| {
            if a > b {
                1.0
            } else if a == b {
                0.5
            } else {
                0.0
            }
        };
        let pairs = positives.iter().flat_map(|&a| negatives.iter().map(move |&b| above(a, b)));
        let expected = pairs.sum::<f64>() / 20.0;
        assert!((auc(&positives, &negatives) - expected).abs() < 1e-12);
        assert_eq!(auc(&[2.0, 3.0], &[0.0, 1.0]), 1.0);
        assert_eq!(auc(&[1.0; 3], &[1.0; 2]), 0.5);
        assert!(auc(&[], &[]).is_nan());
    }
}
