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
    /// Total number of optimizer steps.
    pub steps: Steps,
    /// Pairs per batch, over all processes: they are one another's negatives.
    pub batch_size: usize,
    /// Views per sample of a batch. Most losses compare two; `multi-positive` takes more.
    pub views: usize,
    /// Batches whose gradients are averaged for one optimizer step. Pairs of different batches are not negatives of
    /// each other.
    pub accumulate: usize,
    /// Pairs whose activations are in memory at a time; 0 for the whole batch. With fewer than the batch, each pair is
    /// encoded twice, and the gradient is still that of the whole batch. (Batch norms see a chunk, not the batch.)
    pub chunk_pairs: usize,
    /// Highest learning rate, reached after the warm-up.
    pub learning_rate: f64,
    /// Learning rate at the last step, approached along a cosine.
    pub min_learning_rate: f64,
    /// Steps over which the learning rate rises from 0.
    pub warmup_steps: u64,
    /// Shrinkage of weight matrices per step, times the learning rate; biases, norms and temperatures do not decay.
    pub weight_decay: f64,
    /// Decay of AdamW's running means of gradients and squared gradients.
    pub betas: [f64; 2],
    /// Upper bound of the gradient's L2 norm over all parameters; longer gradients are scaled down. 0 for no bound.
    pub grad_clip: f64,
    /// How the gradients of several losses are combined.
    #[serde(skip_serializing_if = "HarmonyConfig::is_default")]
    pub harmony: HarmonyConfig,
    /// Decay of a moving average of the weights, which is then what is validated and embeds; 0 for none. 0.99 to
    /// 0.9999.
    pub ema_decay: f64,
    /// Parameters that are not trained, by full name or prefix (`trunk.stem`); `invar train --dry-run` lists the names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// A run directory or model file whose encoder training starts from. Its head is not used and may be a different
    /// one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_start: Option<PathBuf>,
    /// Fraction of the samples (by group) that is held out for validation.
    pub validation_fraction: f64,
    /// Steps between validations.
    pub validate_every: u64,
    /// Maximum number of batches per validation. They are drawn once and kept in memory.
    pub validation_batches: usize,
    /// Validations without a better loss after which training stops; 0 for never.
    pub early_stop_patience: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints kept, besides the best.
    pub keep_checkpoints: usize,
    /// Steps between lines of `metrics.jsonl`.
    pub log_every: u64,
    /// LibTorch's threads. On a CPU each passes a part of the batch through the network if an embedding depends on its
    /// own view alone (no batch norm, no dropout); otherwise they share every operation. The number of threads changes
    /// the last bits of sums, so it is part of the recipe and does not follow the machine.
    pub threads: usize,
    /// Threads that draw views. They do not affect any result.
    pub view_workers: usize,
    /// Seed of the initial weights, the order of samples, the views and dropout. Not a key of this table: a recipe has
    /// one seed for everything.
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
    /// Checks that training can run with these settings.
    ///
    /// # Errors
    /// Names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let at_least = |key, value: u64, least: u64| {
            let error = || Error::Config { key, expected: format!("at least {least}"), found: value.to_string() };
            if value >= least { Ok(()) } else { Err(error()) }
        };
        // A model that is there already need not be trained further.
        self.steps.validate(self.warm_start.is_some())?;
        self.harmony.validate()?;
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

/// Everything that determines a training run, besides the samples themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingJob {
    /// The encoder, or one per shape of views: see [`invar_nn::Towers`].
    pub encoders: Vec<EncoderConfig>,
    /// The loss, or several.
    pub loss: LossTables,
    /// The training loop.
    pub train: TrainConfig,
    /// Which features of the encoder the model embeds with. They do not affect training: validation uses the output of
    /// the last layer, whose spread the alarms are calibrated for.
    pub features: Features,
    /// What identifies the samples, under the caller's keys (checksums, settings of the pairs): a run directory is not
    /// resumed if this has changed.
    pub data: Value,
}
