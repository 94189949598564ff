//! Warnings about a training run, in words: what was measured, the threshold, and what to do.
//!
//! [`Alarms`] sees only the metrics, never the time, so it reports the same in every run of a recipe. Its state belongs
//! in the checkpoint. Whether the trainer is starved of data depends on time; that is [`Starving`]'s job.

mod running;

use std::collections::BTreeMap;

use running::{Mean, Median};
use serde::{Deserialize, Serialize};

use crate::{StepMetrics, ValidationMetrics};

/// Steps before the same alarm is repeated.
const SAY_EVERY: u64 = 100;

/// Steps at the start without alarms (except for gradients), unless the warm-up is longer.
const SETTLE_STEPS: u64 = 100;

/// Fraction of ln N above which the loss is that of an encoder that has learned nothing.
const LN_N: f64 = 0.97;

/// Steps over which the loss and its fraction of ln N are averaged.
const MEAN_OVER: u64 = 20;

/// Spread of the embeddings, relative to random directions, below which they count as collapsed.
const COLLAPSE: f64 = 0.1;

/// Fraction of the dimensions below which the effective rank is low, and the rank that is low in any case.
const LOW_RANK: (f64, f64) = (0.05, 2.0);

/// The bounds of a learned temperature (CLIP's), and how near a bound counts as being at it.
const TEMPERATURE_BOUNDS: [f64; 2] = [0.01, 1.0];
const AT_BOUND: f64 = 0.01;

/// Consecutive steps the temperature must spend at its bound.
const STEPS_AT_BOUND: u64 = 20;

/// Gradients in the median, how many are needed for one, and the multiple of it that is an explosion.
const MEDIAN_OVER: usize = 101;
const MEDIAN_FROM: usize = 50;
const EXPLOSION: f64 = 20.0;

/// Consecutive validations without a better loss, and how much worse than the best the last must be.
const OVERFIT_VALIDATIONS: u64 = 5;
const OVERFIT_RISE: f64 = 0.02;

/// Fraction of the time above which the trainer waits too long for data, and for how many consecutive logged steps.
const STARVING: f64 = 0.2;
const STARVING_FOR: u64 = 2;

/// Watches the metrics of a run. Each alarm is raised when it begins, and at most once per 100 steps while it lasts (or
/// comes and goes).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarms {
    settle_steps: u64,
    dim: usize,
    /// The step at which each alarm was last raised.
    said: BTreeMap<Alarm, u64>,
    loss: Mean,
    ln_n: Mean,
    grad_norms: Median,
    /// The median once the first [`MEDIAN_FROM`] gradients are in.
    first_grad_norm: Option<f64>,
    temperature: Option<Temperature>,
    best: Option<Best>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Alarm {
    StuckAtLnN,
    Collapse,
    LowRank,
    TemperatureAtBound,
    ExplodingGradient,
    Overfitting,
}

/// A temperature that has changed is a learned one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Temperature {
    first: f64,
    is_learned: bool,
    steps_at_bound: u64,
}

/// The best validation, the mean training loss at that point, and the validations since.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Best {
    step: u64,
    validation_loss: f64,
    training_loss: f64,
    validations_since: u64,
}

impl Alarms {
    /// For embeddings of `dim` dimensions. During the first `warmup_steps`, or the first 100 if that is more, only
    /// gradients are watched.
    pub fn new(warmup_steps: u64, dim: usize) -> Self {
        Self {
            settle_steps: warmup_steps.max(SETTLE_STEPS),
            dim,
            said: BTreeMap::new(),
            loss: Mean::over(MEAN_OVER),
            ln_n: Mean::over(MEAN_OVER),
            grad_norms: Median::over(MEDIAN_OVER),
            first_grad_norm: None,
            temperature: None,
            best: None,
        }
    }

    /// Observes a step: call it for every step, in order. Returns the warnings to report.
    pub fn observe_step(&mut self, metrics: &StepMetrics) -> Vec<String> {
        let step = metrics.step;
        let value = |name: &str| metrics.metrics.get(name).copied().filter(|value| value.is_finite());
        self.loss.add(metrics.loss);
        let exploding = self.exploding(metrics.grad_norm);
        value("loss_over_ln_n").into_iter().for_each(|ratio| self.ln_n.add(ratio));
        let at_bound = value("temperature").and_then(|temperature| self.at_bound(temperature));
        let mut found = vec![(Alarm::ExplodingGradient, exploding)];
        if step >= self.settle_steps {
            found.push((Alarm::StuckAtLnN, value("loss_over_ln_n").and_then(|_| self.stuck())));
            found.push((Alarm::Collapse, value("embedding_std").and_then(|std| collapsed("", std))));
            found.push((Alarm::TemperatureAtBound, at_bound));
        }
        self.say(step, found)
    }

    /// Observes a validation: call it for every validation, after its step. Returns the warnings to report.
    pub fn observe_validation(&mut self, metrics: &ValidationMetrics) -> Vec<String> {
        let (step, held_out) = (metrics.step, &metrics.held_out);
        let overfitting = self.overfitting(step, metrics.validation_loss);
        if step < self.settle_steps || held_out.num_pairs < 2 {
            return vec![];
        }
        let low_rank = self.low_rank(held_out.effective_rank, held_out.num_pairs);
        let collapsed = collapsed("held-out ", held_out.embedding_std);
        self.say(
            step,
            vec![(Alarm::Collapse, collapsed), (Alarm::LowRank, low_rank), (Alarm::Overfitting, overfitting)],
        )
    }

    /// Drops alarms that were raised recently.
    fn say(&mut self, step: u64, found: Vec<(Alarm, Option<String>)>) -> Vec<String> {
        let mut due = |alarm| {
            let is_due = self.said.get(&alarm).is_none_or(|&said| step >= said + SAY_EVERY);
            if is_due {
                self.said.insert(alarm, step);
            }
            is_due
        };
        found.into_iter().filter_map(|(alarm, text)| text.filter(|_| due(alarm))).collect()
    }

    fn stuck(&self) -> Option<String> {
        let mean = self.ln_n.value().filter(|&mean| mean > LN_N)?;
        Some(format!(
            "the loss is {mean:.3} of ln N, mean of the last steps (alarm above {LN_N}): the encoder hardly tells the \
             pairs of a batch apart. Lower loss.temperature, raise train.learning_rate (lower it where the loss fell \
             before), or augment the views less"
        ))
    }

    fn low_rank(&self, rank: f64, num_pairs: usize) -> Option<String> {
        let highest = self.dim.min(num_pairs) as f64;
        // Two dimensions out of a handful are not few.
        let threshold = (LOW_RANK.0 * highest).max(LOW_RANK.1.min(highest / 4.0));
        (rank < threshold).then(|| {
            format!(
                "the held-out embeddings use {rank:.1} of {highest} dimensions (effective rank; alarm below \
                 {threshold:.1}): dimensional collapse. Give the loss a head (loss.projection), augment the views more, \
                 or lower train.learning_rate"
            )
        })
    }

    fn at_bound(&mut self, temperature: f64) -> Option<String> {
        let near = |bound: &f64| (temperature / bound - 1.0).abs() < AT_BOUND;
        let bound = TEMPERATURE_BOUNDS.into_iter().find(near);
        let fresh = Temperature { first: temperature, is_learned: false, steps_at_bound: 0 };
        let state = self.temperature.get_or_insert(fresh);
        state.is_learned |= temperature != state.first;
        state.steps_at_bound = if bound.is_some() { state.steps_at_bound + 1 } else { 0 };
        let bound = bound.filter(|_| state.is_learned && state.steps_at_bound >= STEPS_AT_BOUND)?;
        let advice = if bound < 0.1 {
            "The pairs are too easy: augment the views more, take a larger train.batch_size"
        } else {
            "The pairs are hardly told apart: augment the views less, raise train.learning_rate"
        };
        Some(format!(
            "the learned temperature has been at its bound of {bound} for {} steps (alarm from {STEPS_AT_BOUND}). \
             {advice}, or fix it (loss.learn_temperature = false)",
            state.steps_at_bound
        ))
    }

    fn exploding(&mut self, norm: f64) -> Option<String> {
        let median = self.grad_norms.value(MEDIAN_FROM);
        self.first_grad_norm = self.first_grad_norm.or(median);
        self.grad_norms.add(norm);
        let (median, first) = (median?, self.first_grad_norm?);
        // Once the gradient has all but vanished, many times nothing is still nothing.
        (norm > EXPLOSION * median && norm > first).then(|| {
            format!(
                "the gradient norm is {norm:.3e}, {:.0} times its median of {median:.3e} over the last steps (alarm \
                 above {EXPLOSION}). Lower train.learning_rate or train.grad_clip, lengthen train.warmup_steps, or look \
                 for damaged samples",
                norm / median
            )
        })
    }

    fn overfitting(&mut self, step: u64, validation_loss: f64) -> Option<String> {
        let training_loss = self.loss.value().filter(|_| validation_loss.is_finite())?;
        let fresh = Best { step, validation_loss, training_loss, validations_since: 0 };
        let Some(best) = self.best.as_mut().filter(|best| validation_loss >= best.validation_loss) else {
            self.best = Some(fresh);
            return None;
        };
        best.validations_since += 1;
        let rise = validation_loss - best.validation_loss;
        let is_long = best.validations_since >= OVERFIT_VALIDATIONS;
        let overfits =
            is_long && rise > OVERFIT_RISE * best.validation_loss.abs() && training_loss < best.training_loss;
        overfits.then(|| {
            format!(
                "overfitting: the validation loss is {validation_loss:.4} after {:.4} at step {}, {} validations ago \
                 (alarm from {OVERFIT_VALIDATIONS}, {:.0} % higher), while the training loss fell from {:.4} to \
                 {training_loss:.4}. Stop here (the best weights are kept; train.early_stop_patience does it by \
                 itself), augment the views more, take more data or a smaller encoder",
                best.validation_loss,
                best.step,
                best.validations_since,
                100.0 * OVERFIT_RISE,
                best.training_loss
            )
        })
    }
}

fn collapsed(which: &str, std: f64) -> Option<String> {
    (std < COLLAPSE).then(|| {
        format!(
            "the {which}embeddings have collapsed: their spread is {std:.4} of that of random directions (alarm below \
             {COLLAPSE}). Look whether the views of different samples differ; lower train.learning_rate, lengthen \
             train.warmup_steps"
        )
    })
}

/// Watches whether the trainer waits for data. Its alarms are only displayed: what depends on time belongs neither in
/// the metrics nor in the checkpoint.
#[derive(Clone, Debug)]
pub struct Starving {
    view_workers: usize,
    said: Option<u64>,
    logged_in_a_row: u64,
}

impl Starving {
    /// For a run with `view_workers` view workers.
    pub fn new(view_workers: usize) -> Self {
        Self { view_workers, said: None, logged_in_a_row: 0 }
    }

    /// Observes a logged step: call it for these alone, because the times count from one to the next. Returns the
    /// warning to report.
    pub fn observe(&mut self, metrics: &StepMetrics) -> Option<String> {
        let share = metrics.timing.wait_fraction;
        self.logged_in_a_row = if share > STARVING { self.logged_in_a_row + 1 } else { 0 };
        let is_due = self.said.is_none_or(|said| metrics.step >= said + SAY_EVERY);
        if self.logged_in_a_row < STARVING_FOR || !is_due {
            return None;
        }
        self.said = Some(metrics.step);
        Some(format!(
            "the trainer waited for data {:.0} % of the time since the last logged step (alarm above {:.0} %). Raise \
             train.view_workers (now {}) where cores are idle, or make the views cheaper",
            100.0 * share,
            100.0 * STARVING,
            self.view_workers
        ))
    }
}

#[cfg(test)]
mod tests;
