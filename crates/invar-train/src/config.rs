use std::path::PathBuf;

use invar_loss::LossTables;
use invar_nn::{EncoderConfig, Features};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, HarmonyConfig, Steps};

/// Settings of the training loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Optimizer steps in all.
    pub steps: Steps,
    /// Pairs of a batch, over all processes: the negatives of one another.
    pub batch_size: usize,
    /// Views of each sample of a batch. Most losses compare two; `multi-positive` takes more.
    pub views: usize,
    /// Batches whose gradients are averaged to one optimizer step. Their pairs are no negatives of one another.
    pub accumulate: usize,
    /// Pairs whose activations are in memory at a time; 0 for the whole batch. With fewer than the batch, each is encoded
    /// twice, and the gradient is that of the whole batch all the same. (Batch norms see a chunk, not the batch.)
    pub chunk_pairs: usize,
    /// Highest learning rate, reached after the warm-up.
    pub learning_rate: f64,
    /// Learning rate at the last step, reached along a cosine.
    pub min_learning_rate: f64,
    /// Steps over which the learning rate rises from 0.
    pub warmup_steps: u64,
    /// Shrinkage of weight matrices a step, times the learning rate; biases, norms and temperatures are spared.
    pub weight_decay: f64,
    /// Decay of AdamW's running means of gradients and squared gradients.
    pub betas: [f64; 2],
    /// Longest gradient, as its L2 norm over all parameters; longer ones are scaled down. 0 for no bound.
    pub grad_clip: f64,
    /// What becomes of the gradients of several losses.
    #[serde(skip_serializing_if = "HarmonyConfig::is_default")]
    pub harmony: HarmonyConfig,
    /// Decay of a moving average of the weights, which is then what is validated and embedded; 0 for none. 0.99 to 0.9999.
    pub ema_decay: f64,
    /// Parameters that stay as they are, by whole names or their beginnings (`trunk.stem`); `invar train --dry-run`
    /// lists the names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// A run directory or model file whose encoder training starts from. Its head is not taken over and may be another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_start: Option<PathBuf>,
    /// Part of the samples (by group) that is held out for validation.
    pub validation_fraction: f64,
    /// Steps between validations.
    pub validate_every: u64,
    /// Most batches of one validation. They are drawn once and kept in memory.
    pub validation_batches: usize,
    /// Validations without a better loss after which training stops; 0 for never.
    pub early_stop_patience: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints kept, beside the best.
    pub keep_checkpoints: usize,
    /// Steps between lines of `metrics.jsonl`.
    pub log_every: u64,
    /// LibTorch's threads. On a CPU each takes a part of the batch through the network where an embedding depends on its
    /// own view alone (no batch norm, no dropout); else they share every operation. Sums depend on the number in the last
    /// bits, so it belongs to the recipe and does not follow the machine.
    pub threads: usize,
    /// Threads that draw views. Does not change any result.
    pub view_workers: usize,
    /// Seed of the initial weights, the order of samples, the views and dropout. Not a key of its own in a recipe,
    /// which has one seed for everything.
    #[serde(skip, default = "default_seed")]
    pub seed: u64,
}

fn default_seed() -> u64 {
    TrainConfig::default().seed
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: Steps::Fixed(600),
            batch_size: 512,
            views: 2,
            accumulate: 1,
            chunk_pairs: 0,
            learning_rate: 1e-3,
            min_learning_rate: 1e-5,
            warmup_steps: 50,
            weight_decay: 0.01,
            betas: [0.9, 0.99],
            grad_clip: 1.0,
            harmony: HarmonyConfig::default(),
            ema_decay: 0.0,
            freeze: vec![],
            warm_start: None,
            validation_fraction: 0.05,
            validate_every: 100,
            validation_batches: 2,
            early_stop_patience: 0,
            checkpoint_every: 100,
            keep_checkpoints: 2,
            log_every: 10,
            threads: 2,
            view_workers: 2,
            seed: 42,
        }
    }
}

impl TrainConfig {
    /// Refuses what cannot be run.
    ///
    /// # Errors
    /// Naming the first setting that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let at_least = |key, value: u64, least: u64| {
            let error = || Error::Config { key, expected: format!("at least {least}"), found: value.to_string() };
            if value >= least { Ok(()) } else { Err(error()) }
        };
        self.steps.validate()?;
        at_least("train.batch_size", self.batch_size as u64, 2)?;
        at_least("train.views", self.views as u64, 2)?;
        at_least("train.accumulate", self.accumulate as u64, 1)?;
        at_least("train.validate_every", self.validate_every, 1)?;
        at_least("train.checkpoint_every", self.checkpoint_every, 1)?;
        at_least("train.keep_checkpoints", self.keep_checkpoints as u64, 1)?;
        at_least("train.log_every", self.log_every, 1)?;
        at_least("train.threads", self.threads as u64, 1)?;
        at_least("train.view_workers", self.view_workers as u64, 1)?;
        let within = |key, value: f64, low: f64, high: f64| {
            let error = || Error::Config { key, expected: format!("in [{low}, {high})"), found: value.to_string() };
            if (low..high).contains(&value) { Ok(()) } else { Err(error()) }
        };
        within("train.learning_rate", self.learning_rate, 0.0, f64::INFINITY)?;
        within("train.min_learning_rate", self.min_learning_rate, 0.0, f64::INFINITY)?;
        within("train.weight_decay", self.weight_decay, 0.0, f64::INFINITY)?;
        within("train.grad_clip", self.grad_clip, 0.0, f64::INFINITY)?;
        within("train.ema_decay", self.ema_decay, 0.0, 1.0)?;
        within("train.validation_fraction", self.validation_fraction, 0.0, 1.0)?;
        self.betas.into_iter().try_for_each(|beta| within("train.betas", beta, 0.0, 1.0))
    }
}

/// Everything that fixes a training run, beside the samples themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingJob {
    /// The encoder, or one of each shape of views: see [`invar_nn::Towers`].
    pub encoders: Vec<EncoderConfig>,
    /// The loss, or several.
    pub loss: LossTables,
    /// The loop.
    pub train: TrainConfig,
    /// What of the encoder the model embeds by. Training does not depend on it: validation looks at what the last layer
    /// makes, whose spread the alarms know.
    pub features: Features,
    /// What the samples are, by the caller's keys (checksums, settings of the pairs): a run directory is not resumed
    /// when it changed.
    pub data: Value,
}
