mod clock;
mod identity;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use clock::Clock;
use identity::{first_difference, identity};
use invar_dataset::{PairSource, order::BatchOrder, seed, split};
use invar_nn::Views;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Device, Tensor};

use crate::{
    ContrastiveStep, Error, Model, Observer, Recipe, Step, StepMetrics, ValidationMetrics, checkpoint,
    feed::{Feed, Plan},
    metrics::{Event, MetricsLog},
    schedule,
};

/// Numbers of the random streams that are derived from the recipe's seed; 0 and 1 are the step's own.
const ORDER_STREAM: u64 = 2;
const PAIR_STREAM: u64 = 3;
const SPLIT_STREAM: u64 = 4;
const VALIDATION_STREAM: u64 = 5;

/// Steps between two warnings of one kind.
const WARN_EVERY: u64 = 100;

/// How a training run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// The validation loss did not improve any more.
    EarlyStopped,
}

/// What a training run left behind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainSummary {
    /// How it ended.
    pub outcome: Outcome,
    /// Steps done.
    pub steps: u64,
    /// The step of the checkpoint that it was resumed from.
    pub resumed_from: Option<u64>,
    /// The step whose weights are in the model: the best validation's, or the last.
    pub model_step: u64,
    /// Lowest validation loss, where there was a validation.
    pub best_validation_loss: Option<f64>,
    /// The model.
    pub model: PathBuf,
    /// SHA-256 of the model, in hexadecimal.
    pub model_sha256: String,
    /// Pairs trained on, in this process.
    pub pairs: u64,
    /// Seconds of training, in this process.
    pub elapsed_s: f64,
    /// Seconds in which the trainer waited for data.
    pub wait_s: f64,
}

/// Trains by a recipe into a run directory, or goes on where that directory holds a checkpoint of the same recipe.
///
/// # Errors
/// When the recipe does not fit the data or the directory, the data is damaged, the loss is no number any more, or
/// the user cancels (after a checkpoint; call again to go on).
pub fn train(
    recipe: &Recipe,
    source: Arc<dyn PairSource>,
    device: Device,
    run_dir: &Path,
    observer: &dyn Observer,
) -> Result<TrainSummary, Error> {
    let mut trainer = Trainer::new(recipe, source, device, run_dir, observer)?;
    trainer.run(recipe.train.steps, observer)?;
    trainer.finish()
}

/// The loop: data, schedule, validation, metrics, checkpoints and resume around one [`Step`].
pub struct Trainer {
    recipe: Recipe,
    step: Box<dyn Step>,
    training: Arc<dyn PairSource>,
    order: BatchOrder,
    validation: Vec<Views>,
    run_dir: PathBuf,
    log: MetricsLog,
    state: State,
    resumed_from: Option<u64>,
    /// Steps that the observer has heard of.
    announced: u64,
    clock: Clock,
}

/// What a checkpoint holds beside tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    step: u64,
    best_loss: Option<f64>,
    best_step: u64,
    validations_without_gain: u64,
    early_stopped: bool,
    identity: Value,
}

impl Trainer {
    /// Splits the source, builds the networks, and resumes from the newest whole checkpoint of the run directory. A
    /// damaged checkpoint is passed over with a warning.
    ///
    /// # Errors
    /// When the recipe does not fit the data or the directory.
    pub fn new(
        recipe: &Recipe,
        source: Arc<dyn PairSource>,
        device: Device,
        run_dir: &Path,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        recipe.train.validate()?;
        tch::set_num_threads(recipe.train.threads as i32);
        let step = ContrastiveStep::new(recipe, &source.view_shape(), device)?;
        Self::with_step(recipe, Box::new(step), source, run_dir, observer)
    }

    /// As [`Trainer::new`], around a step of the caller's.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn with_step(
        recipe: &Recipe,
        mut step: Box<dyn Step>,
        source: Arc<dyn PairSource>,
        run_dir: &Path,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let config = &recipe.train;
        let identity = identity(recipe, &source.view_shape(), source.len());
        let (training, held_out) =
            split::split(source, config.validation_fraction, seed::mix(config.seed, SPLIT_STREAM));
        let order = BatchOrder::new(training.len(), config.batch_size, seed::mix(config.seed, ORDER_STREAM))?;
        let checkpoints = run_dir.join("checkpoints");
        fs::create_dir_all(&checkpoints).map_err(Error::io(&checkpoints))?;
        let resumed = resume(&checkpoints, &identity, &mut *step, observer)?;
        let resumed_from = resumed.as_ref().map(|state| state.step);
        let state = resumed.unwrap_or_else(|| State::new(identity));
        let validation = draw_validation(recipe, Arc::new(held_out), step.device(), observer)?;
        let log = MetricsLog::open(run_dir, state.step)?;
        Ok(Self {
            recipe: recipe.clone(),
            step,
            training: Arc::new(training),
            order,
            validation,
            run_dir: run_dir.into(),
            log,
            state,
            resumed_from,
            announced: 0,
            clock: Clock::default(),
        })
    }

    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.state.step
    }

    /// Trains until `until` steps are done, the recipe's steps are, or the validation loss no longer improves. May be
    /// called again.
    ///
    /// # Errors
    /// As [`train`]. [`Error::Interrupted`] comes after a checkpoint.
    pub fn run(&mut self, until: u64, observer: &dyn Observer) -> Result<(), Error> {
        let config = self.recipe.train.clone();
        tch::set_num_threads(config.threads as i32);
        invar_torch::share_cores(config.view_workers)?;
        invar_torch::keep_memory();
        let until = until.min(config.steps);
        observer.set_total(config.steps);
        observer.advance(self.state.step - std::mem::replace(&mut self.announced, self.state.step));
        let mut feed = Feed::start(&self.training, &self.plan(self.state.step..until.max(self.state.step)));
        let mut lap = Instant::now();
        while self.state.step < until && !self.state.early_stopped {
            if observer.is_cancelled() {
                self.save_checkpoint()?;
                return Err(Error::Interrupted);
            }
            let Some(next) = feed.next() else { break };
            let (views, waited) = next?;
            let learning_rate = schedule::learning_rate(&config, self.state.step);
            let report = self.step.train(&views, learning_rate)?;
            let step = self.state.step + 1;
            for (what, value) in [("loss", report.loss), ("gradient norm", report.grad_norm)] {
                if !value.is_finite() {
                    return Err(Error::NonFinite { step, what, value });
                }
            }
            self.state.step = step;
            self.clock.lap(&mut lap, waited, views.num_pairs());
            let metrics = StepMetrics {
                step,
                loss: report.loss,
                grad_norm: report.grad_norm,
                learning_rate,
                metrics: report.metrics,
                timing: self.clock.timing(),
            };
            self.after_step(metrics, observer)?;
            lap = self.clock.resume(lap);
        }
        self.save_checkpoint()
    }

    /// Writes the model: the weights of the best validation, or the last where nothing was validated.
    ///
    /// # Errors
    /// When the disk refuses, or the best checkpoint is damaged.
    pub fn finish(&self) -> Result<TrainSummary, Error> {
        let best = self.best_path();
        let (tensors, model_step) = if self.state.best_loss.is_some() {
            let (tensors, state): (HashMap<String, Tensor>, State) = checkpoint::read(&best)?;
            (tensors.into_iter().collect(), state.step)
        } else {
            (self.step.tensors(), self.state.step)
        };
        let model = self.run_dir.join("model.safetensors");
        let (encoder, views) = (&self.recipe.encoder, self.training.view_shape());
        let model_sha256 = Model::save(&model, encoder, &views, self.recipe.train.threads, model_step, &tensors)?;
        Ok(TrainSummary {
            outcome: if self.state.early_stopped { Outcome::EarlyStopped } else { Outcome::Finished },
            steps: self.state.step,
            resumed_from: self.resumed_from,
            model_step,
            best_validation_loss: self.state.best_loss,
            model,
            model_sha256,
            pairs: self.clock.pairs,
            elapsed_s: self.clock.elapsed.as_secs_f64(),
            wait_s: self.clock.waited.as_secs_f64(),
        })
    }

    fn after_step(&mut self, metrics: StepMetrics, observer: &dyn Observer) -> Result<(), Error> {
        let config = &self.recipe.train;
        let step = metrics.step;
        let is_last = step == config.steps;
        let (validate, save) =
            (step.is_multiple_of(config.validate_every), step.is_multiple_of(config.checkpoint_every));
        observer.step(&metrics);
        observer.advance(1);
        self.announced = step;
        let warnings = warnings(&metrics);
        if step.is_multiple_of(config.log_every) || is_last {
            self.log.write(&Event::Step(metrics))?;
            self.clock.logged();
        }
        for message in warnings {
            observer.warning(&message);
            self.log.write(&Event::Warning { step, message })?;
        }
        if (validate || is_last) && !self.validation.is_empty() {
            self.validate(observer)?;
        }
        if save { self.save_checkpoint() } else { Ok(()) }
    }

    fn validate(&mut self, observer: &dyn Observer) -> Result<(), Error> {
        let report = self.step.validate(&self.validation)?;
        let is_best = self.state.best_loss.is_none_or(|best| report.loss < best);
        if is_best {
            self.state.best_loss = Some(report.loss);
            self.state.best_step = self.state.step;
            self.state.validations_without_gain = 0;
            checkpoint::write(&self.best_path(), &self.all_tensors()?, &self.state)?;
        } else {
            self.state.validations_without_gain += 1;
        }
        let patience = self.recipe.train.early_stop_patience;
        self.state.early_stopped = patience > 0 && self.state.validations_without_gain >= patience;
        let metrics = ValidationMetrics {
            step: self.state.step,
            validation_loss: report.loss,
            held_out: report.held_out,
            is_best,
            metrics: report.metrics,
        };
        observer.validation(&metrics);
        self.log.write(&Event::Validation(metrics))
    }

    fn save_checkpoint(&self) -> Result<(), Error> {
        let dir = self.run_dir.join("checkpoints");
        checkpoint::write(&checkpoint::path_of(&dir, self.state.step), &self.all_tensors()?, &self.state)?;
        checkpoint::prune(&dir, self.recipe.train.keep_checkpoints)
    }

    fn all_tensors(&self) -> Result<Vec<(String, Tensor)>, Error> {
        let mut tensors = self.step.tensors();
        for (name, device) in generators(self.step.device()) {
            tensors.push((name.into(), invar_torch::rng_state(device)?));
        }
        Ok(tensors)
    }

    fn best_path(&self) -> PathBuf {
        self.run_dir.join("checkpoints").join("best.safetensors")
    }

    fn plan(&self, steps: std::ops::Range<u64>) -> Plan {
        let config = &self.recipe.train;
        Plan {
            order: self.order.clone(),
            seed: seed::mix(config.seed, PAIR_STREAM),
            steps,
            workers: config.view_workers,
            device: self.step.device(),
        }
    }
}

impl State {
    fn new(identity: Value) -> Self {
        Self { step: 0, best_loss: None, best_step: 0, validations_without_gain: 0, early_stopped: false, identity }
    }
}

/// Loads the newest whole checkpoint into the step.
fn resume(dir: &Path, identity: &Value, step: &mut dyn Step, observer: &dyn Observer) -> Result<Option<State>, Error> {
    for (_, path) in checkpoint::list(dir)? {
        let (tensors, state): (HashMap<String, Tensor>, State) = match checkpoint::read(&path) {
            Ok(read) => read,
            Err(error @ Error::Corrupt { .. }) => {
                observer.warning(&format!("passed over a damaged checkpoint: {error}"));
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some((key, found, expected)) = first_difference(&state.identity, identity, String::new()) {
            return Err(Error::OtherRecipe { path, key, expected, found });
        }
        let corrupt = |found| Error::Corrupt {
            path: path.clone(),
            what: "tensors".into(),
            expected: "those of the recipe".into(),
            found,
        };
        step.load(&tensors).map_err(corrupt)?;
        for (name, device) in generators(step.device()) {
            // A run that moved to another device has no state for its generator, and starts it afresh.
            if let Some(state) = tensors.get(name) {
                invar_torch::set_rng_state(device, state)?;
            }
        }
        return Ok(Some(state));
    }
    Ok(None)
}

/// The generators that training on a device draws from, and the names of their states.
fn generators(device: Device) -> Vec<(&'static str, Device)> {
    let mut generators = vec![("generator.cpu", Device::Cpu)];
    if device.is_cuda() {
        generators.push(("generator.cuda", device));
    }
    generators
}

/// Draws the batches of the validation, the same for the whole run.
fn draw_validation(
    recipe: &Recipe,
    held_out: Arc<dyn PairSource>,
    device: Device,
    observer: &dyn Observer,
) -> Result<Vec<Views>, Error> {
    let config = &recipe.train;
    if config.validation_batches == 0 || config.validation_fraction == 0.0 {
        return Ok(vec![]);
    }
    let validation_seed = seed::mix(config.seed, VALIDATION_STREAM);
    let Ok(order) = BatchOrder::new(held_out.len(), config.batch_size, validation_seed) else {
        observer
            .warning(&format!("no validation: {} samples are held out, a contrastive batch needs 2", held_out.len()));
        return Ok(vec![]);
    };
    let num_batches = order.batches_per_epoch().min(config.validation_batches) as u64;
    let plan = Plan { order, seed: validation_seed, steps: 0..num_batches, workers: config.view_workers, device };
    Feed::start(&held_out, &plan).map(|next| Ok(next?.0)).collect()
}

/// What is alarming about a step, said at most once in [`WARN_EVERY`] steps.
fn warnings(metrics: &StepMetrics) -> Vec<String> {
    if !metrics.step.is_multiple_of(WARN_EVERY) {
        return vec![];
    }
    let mut warnings = vec![];
    let value = |name: &str| metrics.metrics.get(name).copied();
    if let Some(ratio) = value("loss_over_ln_n").filter(|&ratio| ratio > 0.97) {
        warnings.push(format!(
            "the loss is {ratio:.3} of ln N after {} steps: the encoder tells the pairs of a batch hardly apart",
            metrics.step
        ));
    }
    if let Some(std) = value("embedding_std").filter(|&std| std < 0.1) {
        warnings.push(format!("the embeddings have collapsed: their spread is {std:.4} of that of random directions"));
    }
    warnings
}
