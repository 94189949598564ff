//! How invariant embeddings are, measured on some samples alongside them.

use std::collections::BTreeMap;

use anyhow::Result;
use invar_cli::{
    commands::evaluate::{COSINE_OF, NUM_PROBED},
    ui::{Significant, Ui, Unit, thousands},
};
use invar_cluster::{Rows, neighbors};
use invar_dataset::{ViewSource, order::Permutation, seed::Stream};
use invar_train::{EmbedConfig, Model, Moves, Orbits, orbits, pair_quality};

use crate::source::Datasets;

/// Maximum number of samples unless more are requested.
const MOST: usize = 1000;

/// Measuring may add one part in this many to the work of embedding unless more is requested. Work is counted in
/// samples that pass through the network, so that figures do not depend on the machine.
const SHARE: usize = 4;

/// A pair of views takes no more work than the views of two samples.
const SAMPLES_PER_PAIR: usize = 2;

/// What to measure, and with what.
pub struct Probe<'a> {
    pub model: &'a Model,
    pub views: &'a dyn ViewSource,
    pub config: &'a EmbedConfig,
    /// Seed of the recipe.
    pub seed: u64,
    pub ui: &'a Ui,
}

impl Probe<'_> {
    /// Measures on some samples how far the symmetries of the instrument move their embeddings, and how close the two
    /// views of a pair are: on `asked` samples under every symmetry, or on as many, under two symmetries each, as take
    /// a quarter of the work of embedding them all.
    ///
    /// # Errors
    /// If a sample cannot be read, or the user cancels.
    pub fn measure(&self, asked: Option<usize>, data: &Datasets) -> Result<BTreeMap<String, f64>> {
        let mut figures = BTreeMap::new();
        let total = self.views.len();
        let (number, moves) = plan(total, asked, self.views.symmetries().len(), Stream::Moves.seed(self.seed));
        if number == 0 {
            if asked.is_none() {
                self.ui.note(&format!(
                    "invariance is not measured: a quarter of the work for {total} samples does not cover one \
                     (--probe N asks for more)"
                ));
            }
            return Ok(figures);
        }
        self.ui.note(&format!(
            "measuring invariance on {} of {} samples",
            thousands(number as u64),
            thousands(total as u64)
        ));
        figures.insert(NUM_PROBED.into(), number as f64);
        let chosen = some(total, number, self.seed);
        let bar = self.ui.bar("invariance", Unit::Items);
        figures.extend(of_orbits(&orbits(self.model, self.views, &chosen, moves, self.config, &bar)?, self.seed)?);
        drop(bar);
        // Data without the recipe's pairs (reads without mates, say) can be embedded, but have no alignment.
        match data.pairs() {
            Ok(pairs) => {
                let chosen = some(pairs.len(), number, self.seed);
                let bar = self.ui.bar("alignment", Unit::Items);
                let quality = pair_quality(self.model, pairs.as_ref(), &chosen, self.seed, self.config, &bar)?;
                figures.insert("alignment".into(), quality.alignment);
            }
            Err(error) => self.ui.detail(&format!("no alignment: {error}")),
        }
        Ok(figures)
    }
}

/// The figures as text, for `total` samples.
pub fn describe(figures: &BTreeMap<String, f64>, total: usize) -> String {
    let Some(number) = figures.get(NUM_PROBED) else { return String::new() };
    let mut text = format!("\n  measured on {} of {} samples:", thousands(*number as u64), thousands(total as u64));
    for (name, value) in figures.iter().filter(|(name, _)| *name != NUM_PROBED && !name.starts_with(COSINE_OF)) {
        text += &format!("\n  {:<24} {:>12}", name.replace('_', " "), Significant(*value).to_string());
    }
    text
}

/// How many of `total` samples are measured, and how each is transformed.
fn plan(total: usize, asked: Option<usize>, num_symmetries: usize, seed: u64) -> (usize, Moves) {
    match asked {
        Some(number) => (number.min(total), Moves::All),
        None => {
            let samples_each = 1 + num_symmetries.min(Moves::TWO) + SAMPLES_PER_PAIR;
            ((total / SHARE / samples_each).min(MOST), Moves::Two { seed })
        }
    }
}

/// How far the symmetries move the embeddings, and whether a transformed sample is still found among the others.
fn of_orbits(orbits: &Orbits, seed: u64) -> Result<BTreeMap<String, f64>> {
    let mut figures = BTreeMap::new();
    let Some(moved) = orbits.one_at_random(Stream::Moves.seed(seed)) else { return Ok(figures) };
    let report = orbits.invariance();
    figures.insert("symmetry_gap_mean".into(), report.gap_mean);
    figures.insert("symmetry_gap_max".into(), report.gap_max);
    figures.insert("symmetry_cosine_mean".into(), 1.0 - report.gap_mean);
    figures.insert("symmetry_cosine_p1".into(), report.cosine_p1);
    for gap in &report.symmetries {
        figures.insert(format!("{COSINE_OF}{}", gap.name), 1.0 - gap.mean);
    }
    let own: Vec<usize> = (0..report.num_samples).collect();
    let found = |gallery: &[f32], queries: &[f32]| {
        neighbors::self_retrieval(Rows::new(gallery, orbits.dim)?, Rows::new(queries, orbits.dim)?, &own)
    };
    figures.insert("retrieval_upright_moved".into(), found(&orbits.upright, &moved)?);
    if let Some((first, second)) = orbits.two_at_random(Stream::Moves.seed(seed)) {
        figures.insert("retrieval_moved_moved".into(), found(&first, &second)?);
    }
    Ok(figures)
}

/// At most `count` of `0..total`, drawn at random, in order.
fn some(total: usize, count: usize, seed: u64) -> Vec<usize> {
    let order = Permutation::new(total as u64, seed);
    let mut chosen: Vec<usize> = (0..count.min(total) as u64).map(|position| order.get(position) as usize).collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measuring_takes_a_quarter_of_the_work_at_most_unless_more_is_asked_for() {
        for total in [0, 1, 19, 20, 1_355, 10_000, 1_000_000] {
            for num_symmetries in [0, 1, 2, 24] {
                let (number, moves) = plan(total, None, num_symmetries, 7);
                let work = number * (1 + num_symmetries.min(2) + 2);
                assert!(work <= total / 4 && number <= 1000 && moves == Moves::Two { seed: 7 }, "{total} {number}");
                assert_eq!(plan(total, Some(300), num_symmetries, 7), (300.min(total), Moves::All));
            }
        }
        // Pictures with 24 angles, and reads with two strands.
        assert_eq!((plan(1_355, None, 24, 7).0, plan(4_000, None, 1, 7).0), (67, 250));
        assert_eq!(plan(1_000_000, None, 24, 7).0, 1000);
        assert_eq!(plan(5, Some(0), 24, 7).0, 0);
    }

    #[test]
    fn the_summary_says_on_how_many_samples() {
        let figures = BTreeMap::from([(NUM_PROBED.to_owned(), 67.0), ("symmetry_gap_max".to_owned(), 1.5e-7)]);
        let text = describe(&figures, 1355);
        assert!(text.starts_with("\n  measured on 67 of 1,355 samples:\n  symmetry gap max"), "{text}");
        assert_eq!(describe(&BTreeMap::new(), 1355), "");
    }
}
