//! Linear probes: what a ridge regression can predict from an embedding (Alain and Bengio, *Understanding intermediate
//! layers using linear classifier probes*, 2016). Whatever should not be predictable, such as the source image, but is,
//! is a shortcut.
//!
//! Predictions are cross-validated: folds are drawn by class, or by group if groups are given, so that the rows of one
//! image are never on both sides. Everything is solved from the folds' second moments in double precision, at a cost of
//! `n D^2`.

mod ridge;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

use invar_dataset::seed;
use serde::{Deserialize, Serialize};

use self::ridge::{Design, Target};
use crate::{ClusterError, Rows, sample};

/// How a column is probed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeConfig {
    /// Number of folds of the cross-validation.
    pub folds: usize,
    /// Penalty on the squared weights of the standardised embedding.
    pub ridge: f64,
    /// Maximum number of rows used, drawn at random if there are more.
    pub max_rows: usize,
    /// Minimum number of rows per class; smaller classes are left out.
    pub min_class_rows: usize,
    /// Number of shuffles of the column used to estimate the chance level.
    pub permutations: usize,
    /// Determines the draws.
    pub seed: u64,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { folds: 5, ridge: 10.0, max_rows: 10_000, min_class_rows: 5, permutations: 3, seed: 0 }
    }
}

/// Maximum number of classes of a probed column.
pub const PROBE_MAX_CLASSES: usize = 500;

/// How well a column was predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeScore {
    /// What the score is.
    pub measure: Measure,
    /// Number of rows predicted.
    pub num_rows: usize,
    /// Number of distinct classes; `None` for numbers.
    pub num_classes: Option<usize>,
    /// Whether whole groups were held out.
    pub grouped: bool,
    /// Score of the held-out predictions, pooled.
    pub score: f64,
    /// The score without any knowledge of the embedding: the fraction of the most common class, or the mean score of
    /// shuffled columns if that is larger. For numbers at least 0.
    pub chance: f64,
}

/// How a probe is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Fraction of the rows whose class is predicted correctly.
    Accuracy,
    /// Fraction of the variance that is predicted; below 0 if the mean would do better.
    R2,
}

impl ProbeScore {
    /// How far the probe gets from chance to certainty; at most 1, about 0 by chance.
    pub fn above_chance(&self) -> f64 {
        if self.chance < 1.0 { (self.score - self.chance) / (1.0 - self.chance) } else { 0.0 }
    }

    /// Whether the column can be predicted from the embedding: more than a fifth of the way, and by more than four
    /// standard errors of a proportion.
    pub fn is_telling(&self) -> bool {
        let error = (self.chance * (1.0 - self.chance) / self.num_rows.max(1) as f64).sqrt();
        self.above_chance() > 0.2 && self.score > self.chance + 4.0 * error
    }
}

/// Predicts a class. Rows without one are left out, and so are classes of fewer than `min_class_rows`. `None` if fewer
/// than two classes remain, or more than [`PROBE_MAX_CLASSES`], or less than half of the rows that had a class: nothing
/// to predict, or a name for every row.
///
/// `groups` are held out whole if each class occurs in at least two of them; a class confined to one group cannot be
/// distinguished from it, and the folds are then drawn by class.
///
/// # Errors
/// If the lists differ in length from the rows, or the configuration is out of range.
pub fn probe_classes<L: Eq + Hash>(
    rows: Rows<'_>,
    classes: &[Option<L>],
    groups: Option<&[u32]>,
    config: &ProbeConfig,
) -> Result<Option<ProbeScore>, ClusterError> {
    check(rows, classes.len(), groups, config)?;
    let with_class: Vec<usize> = (0..classes.len()).filter(|&row| classes[row].is_some()).collect();
    let mut counts: HashMap<&L, usize> = HashMap::new();
    classes.iter().flatten().for_each(|class| *counts.entry(class).or_default() += 1);
    let is_large = |&row: &usize| classes[row].as_ref().is_some_and(|class| counts[class] >= config.min_class_rows);
    let kept: Vec<usize> = with_class.iter().copied().filter(is_large).collect();
    if 2 * kept.len() < with_class.len() {
        return Ok(None);
    }
    let chosen = thinned(&kept, config);
    let mut numbers: HashMap<&L, u32> = HashMap::new();
    let mut targets = Vec::with_capacity(chosen.len());
    for class in chosen.iter().filter_map(|&row| classes[row].as_ref()) {
        let next = numbers.len() as u32;
        targets.push(*numbers.entry(class).or_insert(next));
    }
    let num_classes = numbers.len();
    if !(2..=PROBE_MAX_CLASSES).contains(&num_classes) {
        return Ok(None);
    }
    let own_groups: Option<Vec<u32>> = groups.map(|groups| chosen.iter().map(|&row| groups[row]).collect());
    let grouped = own_groups.filter(|groups| each_class_in_two_groups(&targets, groups));
    let folds = match &grouped {
        Some(groups) => folds_by_group(groups, config),
        None => folds_by_class(&targets, config),
    };
    let values = rows.gather(&chosen);
    let design = Design { values: &values, dim: rows.dim(), folds: &folds, num_folds: config.folds };
    let accuracy = |targets: &[u32]| {
        let predicted = design.predict(&Target::Classes(targets, num_classes), config.ridge);
        share(predicted.iter().zip(targets).filter(|(p, t)| **p == f64::from(**t)).count(), targets.len())
    };
    let mut sizes = vec![0; num_classes];
    targets.iter().for_each(|&class| sizes[class as usize] += 1);
    let majority = share(sizes.into_iter().max().unwrap_or(0), targets.len());
    let shuffled = mean_over(config.permutations, |round| accuracy(&shuffled(&targets, config, round)));
    Ok(Some(ProbeScore {
        measure: Measure::Accuracy,
        num_rows: targets.len(),
        num_classes: Some(num_classes),
        grouped: grouped.is_some(),
        score: accuracy(&targets),
        chance: majority.max(shuffled),
    }))
}

/// Predicts a number. Rows without a finite one are left out. `None` if all are the same, or there are fewer than two
/// rows per fold.
///
/// `groups` are held out whole if there are at least as many as folds.
///
/// # Errors
/// As [`probe_classes`].
pub fn probe_numbers(
    rows: Rows<'_>,
    numbers: &[Option<f64>],
    groups: Option<&[u32]>,
    config: &ProbeConfig,
) -> Result<Option<ProbeScore>, ClusterError> {
    check(rows, numbers.len(), groups, config)?;
    let known: Vec<usize> = (0..numbers.len()).filter(|&row| numbers[row].is_some_and(f64::is_finite)).collect();
    let chosen = thinned(&known, config);
    let targets: Vec<f64> = chosen.iter().filter_map(|&row| numbers[row]).collect();
    let mean = targets.iter().sum::<f64>() / targets.len().max(1) as f64;
    let total: f64 = targets.iter().map(|target| (target - mean).powi(2)).sum();
    if targets.len() < 2 * config.folds || targets.iter().all(|target| *target == targets[0]) || total == 0.0 {
        return Ok(None);
    }
    let own_groups: Option<Vec<u32>> = groups.map(|groups| chosen.iter().map(|&row| groups[row]).collect());
    let num_distinct = |groups: &[u32]| groups.iter().collect::<std::collections::HashSet<_>>().len();
    let grouped = own_groups.filter(|groups| num_distinct(groups) >= config.folds);
    let folds = match &grouped {
        Some(groups) => folds_by_group(groups, config),
        None => folds_by_class(&vec![0; targets.len()], config),
    };
    let values = rows.gather(&chosen);
    let design = Design { values: &values, dim: rows.dim(), folds: &folds, num_folds: config.folds };
    let r2 = |targets: &[f64]| {
        let predicted = design.predict(&Target::Numbers(targets), config.ridge);
        1.0 - predicted.iter().zip(targets).map(|(p, t)| (p - t).powi(2)).sum::<f64>() / total
    };
    let shuffled = mean_over(config.permutations, |round| r2(&shuffled(&targets, config, round)));
    Ok(Some(ProbeScore {
        measure: Measure::R2,
        num_rows: targets.len(),
        num_classes: None,
        grouped: grouped.is_some(),
        score: r2(&targets),
        chance: shuffled.max(0.0),
    }))
}

fn check(rows: Rows<'_>, found: usize, groups: Option<&[u32]>, config: &ProbeConfig) -> Result<(), ClusterError> {
    let expected = rows.len();
    if found != expected {
        return Err(ClusterError::Length { what: "values of the probed column", expected, found });
    }
    if let Some(groups) = groups.filter(|groups| groups.len() != expected) {
        return Err(ClusterError::Length { what: "groups", expected, found: groups.len() });
    }
    if config.folds < 2 {
        return Err(ClusterError::Parameter {
            parameter: "folds",
            value: config.folds.to_string(),
            must: "at least 2",
        });
    }
    if !(config.ridge > 0.0 && config.ridge.is_finite()) {
        return Err(ClusterError::Parameter { parameter: "ridge", value: config.ridge.to_string(), must: "above 0" });
    }
    Ok(())
}

fn thinned(rows: &[usize], config: &ProbeConfig) -> Vec<usize> {
    let chosen = sample::subset(&mut seed::rng(config.seed, 0), rows.len(), config.max_rows);
    chosen.into_iter().map(|at| rows[at]).collect()
}

/// The values in a separate random order for each round.
fn shuffled<T: Copy>(values: &[T], config: &ProbeConfig, round: usize) -> Vec<T> {
    let key = seed::mix(config.seed, 1 + round as u64);
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|&at| (seed::mix(key, at as u64), at));
    order.into_iter().map(|at| values[at]).collect()
}

fn each_class_in_two_groups(classes: &[u32], groups: &[u32]) -> bool {
    let mut first: HashMap<u32, (u32, bool)> = HashMap::new();
    for (&class, &group) in classes.iter().zip(groups) {
        let entry = first.entry(class).or_insert((group, false));
        entry.1 |= entry.0 != group;
    }
    first.values().all(|&(_, two)| two)
}

/// Deals the rows of each class to the folds in turn, in random order.
fn folds_by_class(classes: &[u32], config: &ProbeConfig) -> Vec<usize> {
    let key = seed::mix(config.seed, u64::MAX);
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order.sort_by_key(|&row| (classes[row], seed::mix(key, row as u64), row));
    let mut folds = vec![0; classes.len()];
    order.into_iter().enumerate().for_each(|(turn, row)| folds[row] = turn % config.folds);
    folds
}

/// Deals whole groups, largest first, each to the fold with the fewest rows.
fn folds_by_group(groups: &[u32], config: &ProbeConfig) -> Vec<usize> {
    let key = seed::mix(config.seed, u64::MAX);
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    groups.iter().for_each(|&group| *sizes.entry(group).or_default() += 1);
    let mut order: Vec<(u32, usize)> = sizes.into_iter().collect();
    order.sort_by_key(|&(group, size)| (Reverse(size), seed::mix(key, u64::from(group)), group));
    let mut filled = vec![0; config.folds];
    let mut fold_of: HashMap<u32, usize> = HashMap::new();
    for (group, size) in order {
        let emptiest = (0..config.folds).min_by_key(|&fold| (filled[fold], fold)).unwrap_or(0);
        filled[emptiest] += size;
        fold_of.insert(group, emptiest);
    }
    groups.iter().map(|group| fold_of[group]).collect()
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn mean_over(rounds: usize, of: impl Fn(usize) -> f64) -> f64 {
    if rounds == 0 { f64::NEG_INFINITY } else { (0..rounds).map(of).sum::<f64>() / rounds as f64 }
}

#[cfg(test)]
mod tests;
