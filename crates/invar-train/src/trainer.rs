mod clock;
mod exchange;
mod federated;
mod state;
mod validation;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use clock::Clock;
use invar_dataset::{ManyViews, PairSource, RunDir, SampleName, order::BatchOrder, seed::Stream, split};
use invar_nn::Views;
use invar_torch::{ProcessGroup, Threads};
use serde::{Deserialize, Serialize};
use state::State;
pub(crate) use state::identity_of;
use tch::Device;
use validation::Validation;

use crate::{
    Alarms, ContrastiveStep, Error, Memory, Model, Observer, Place, Starving, Step, StepMetrics, TrainConfig,
    TrainingJob, ValidationMetrics,
    checkpoint::Checkpoints,
    ema,
    error::last_good,
    feed::{Feed, Plan},
    memory::{check_host, explained, guarded, what_to_lower},
    metrics::{Event, MetricsLog},
    schedule,
    step::ValidationReport,
};

/// How a training run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// The validation loss stopped improving.
    EarlyStopped,
}

/// The result of a training run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainSummary {
    /// How it ended.
    pub outcome: Outcome,
    /// Steps done.
    pub steps: u64,
    /// The step of the checkpoint it was resumed from.
    pub resumed_from: Option<u64>,
    /// The step whose weights are in the model: that of the best validation, or the last.
    pub model_step: u64,
    /// Lowest validation loss, if there was a validation.
    pub best_validation_loss: Option<f64>,
    /// The model.
    pub model: PathBuf,
    /// SHA-256 of the model, in hexadecimal.
    pub model_sha256: String,
    /// Pairs trained on, in this process.
    pub pairs: u64,
    /// Seconds of training, in this process.
    pub elapsed_s: f64,
    /// Seconds the trainer waited for data.
    pub wait_s: f64,
}

/// Trains a recipe in a run directory, or continues if that directory holds a checkpoint of the same recipe.
///
/// With several processes, each calls this; only the first reads and writes the run directory.
///
/// # Errors
/// If the recipe does not fit the data or the directory, the data are damaged, the loss becomes non-finite, LibTorch
/// fails (above all for lack of memory: see [`Error::OutOfMemory`]), a peer died, or the user cancels (after a
/// checkpoint; call again to continue).
pub fn train(
    recipe: &TrainingJob,
    source: Arc<dyn PairSource>,
    place: impl Into<Place>,
    run_dir: &Path,
    observer: &dyn Observer,
) -> Result<TrainSummary, Error> {
    let mut trainer = Trainer::new(recipe, source, place, run_dir, observer)?;
    trainer.run(u64::MAX, observer)?;
    trainer.finish()
}

/// The loop: data, schedule, validation, metrics, checkpoints and resume around one [`Step`].
pub struct Trainer {
    recipe: TrainingJob,
    /// Total number, for these data.
    steps: u64,
    step: Box<dyn Step>,
    training: Arc<dyn PairSource>,
    order: BatchOrder,
    /// The held-out pairs, in the first process.
    validation: Validation,
    /// Whether there are any; known to all processes.
    validates: bool,
    run_dir: RunDir,
    group: Rc<ProcessGroup>,
    /// The files that the first process writes.
    output: Option<Output>,
    state: State,
    resumed_from: Option<u64>,
    /// Steps already reported to the observer.
    announced: u64,
    clock: Clock,
}

struct Output {
    checkpoints: Checkpoints,
    log: MetricsLog,
    starving: Starving,
}

impl Trainer {
    /// Splits the source, builds the networks, and resumes from the newest intact checkpoint of the run directory. A
    /// damaged checkpoint is skipped with a warning.
    ///
    /// # Errors
    /// If the recipe does not fit the data or the directory, or the weights do not fit into memory.
    pub fn new(
        recipe: &TrainingJob,
        source: Arc<dyn PairSource>,
        place: impl Into<Place>,
        run_dir: &Path,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let config = &recipe.train;
        config.validate()?;
        let place = place.into();
        let step = guarded(config, "building the network", || {
            let _threads = Threads::set(config.threads);
            let step = ContrastiveStep::new(recipe, &source.view_shapes(), &place)?;
            if place.device == Device::Cpu {
                let num = |trained: bool| {
                    step.parameters().iter().filter(|(_, t)| t.requires_grad() == trained).map(|(_, t)| t.numel()).sum()
                };
                check_host(Memory::of_weights(num(true), num(false), recipe.loss.losses.len(), config), config)?;
            }
            Ok(step)
        })?;
        Self::with_step(recipe, Box::new(step), source, &place, run_dir, observer)
    }

    /// As [`Trainer::new`], with a step of the caller's.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn with_step(
        recipe: &TrainingJob,
        step: Box<dyn Step>,
        source: Arc<dyn PairSource>,
        place: &Place,
        run_dir: &Path,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        guarded(&recipe.train, "preparing to train", || {
            let _threads = Threads::set(recipe.train.threads);
            Self::prepare(recipe, step, source, place, run_dir, observer)
        })
    }

    fn prepare(
        recipe: &TrainingJob,
        mut step: Box<dyn Step>,
        source: Arc<dyn PairSource>,
        place: &Place,
        run_dir: &Path,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let config = &recipe.train;
        let group = Rc::clone(&place.group);
        let identity = recipe.identity(&source.view_shapes(), source.len(), step.identity())?;
        let (training, held_out) =
            split::split(with_views(config, source), config.validation_fraction, Stream::Split.seed(config.seed))?;
        let order = BatchOrder::new(training.len(), config.batch_size, Stream::Order.seed(config.seed))?;
        let steps = config.steps.on(training.len(), order.batch_size() * config.accumulate);
        if order.batch_size() < config.batch_size {
            observer.warning(&format!(
                "train.batch_size is {}, but there are {} training samples: every batch is all of them",
                config.batch_size,
                order.batch_size()
            ));
        }
        if !order.batch_size().is_multiple_of(group.size()) {
            return Err(Error::Share { batch_size: order.batch_size(), processes: group.size() });
        }
        let seen_together = chunk_pairs(config, order.batch_size() / group.size(), step.side_by_side());
        let has_batch_norm = step.tensors().iter().any(|(name, _)| name.ends_with("running_mean"));
        if has_batch_norm && seen_together < order.batch_size() {
            observer.warning(&format!(
                "batch norms take their means over the {seen_together} pairs that a process encodes at a time, not over the \
                 {} of the batch: other chunks or processes give (slightly) other weights",
                order.batch_size()
            ));
        }
        let run_dir = RunDir::new(run_dir);
        let checkpoints = group.is_first().then(|| Checkpoints::of(&run_dir, config.keep_checkpoints));
        let resumed = State::resume(checkpoints.as_ref(), &identity, &mut *step, &group, observer)?;
        let resumed_from = resumed.as_ref().map(|state| state.step);
        let state = resumed.unwrap_or_else(|| State::new(identity, Alarms::new(config.warmup_steps, step.dim())));
        let mut validation = Validation::default();
        let mut output = None;
        if let Some(checkpoints) = checkpoints {
            validation = Validation::draw(recipe, Arc::new(held_out), place, step.side_by_side(), observer)?;
            let (log, starving) = (MetricsLog::new(&run_dir, state.step), Starving::new(config.view_workers));
            output = Some(Output { checkpoints, log, starving });
        }
        let validates = group.broadcast_from_first(f64::from(!validation.batches.is_empty()))? > 0.0;
        Ok(Self {
            recipe: recipe.clone(),
            steps,
            step,
            training: Arc::new(training),
            order,
            validates,
            validation,
            run_dir,
            group,
            output,
            state,
            resumed_from,
            announced: 0,
            clock: Clock::default(),
        })
    }

    /// Total number of steps.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.state.step
    }

    /// Trains until `until` steps or the recipe's steps are done, or the validation loss no longer improves. May be
    /// called again.
    ///
    /// # Errors
    /// As [`train`]. [`Error::Interrupted`] is returned after a checkpoint; after any other error the trainer is
    /// unusable, and a new one continues from the last checkpoint.
    pub fn run(&mut self, until: u64, observer: &dyn Observer) -> Result<(), Error> {
        let result = invar_torch::caught(|| self.run_steps(until, observer)).unwrap_or_else(|panic| Err(panic.into()));
        result.map_err(|error| {
            explained(error, &format!("step {}", self.state.step + 1), || {
                format!("{}; {}", what_to_lower(&self.recipe.train), last_good(self.newest_checkpoint().as_ref()))
            })
        })
    }

    fn run_steps(&mut self, until: u64, observer: &dyn Observer) -> Result<(), Error> {
        let config = self.recipe.train.clone();
        let _threads = Threads::set(config.threads);
        if self.step.side_by_side() == 1 {
            // Threads that meet in every operation; those that seldom meet do better to spin.
            invar_torch::share_cores(config.view_workers)?;
        }
        invar_torch::keep_memory();
        let until = until.min(self.steps);
        observer.set_total(self.steps);
        observer.advance(self.state.step - std::mem::replace(&mut self.announced, self.state.step));
        if let Some(Output { log, .. }) = &mut self.output {
            log.begin()?;
        }
        let accumulate = config.accumulate as u64;
        let mut feed = Feed::start(&self.training, &self.plan(self.state.step..until.max(self.state.step)));
        let mut lap = Instant::now();
        while self.state.step < until && !self.state.early_stopped {
            if self.group.any(observer.is_cancelled())? {
                self.save_checkpoint()?;
                return Err(Error::Interrupted);
            }
            let step = self.state.step + 1;
            let (mut waited, mut pairs) = (Duration::ZERO, 0);
            for batch in self.state.step * accumulate..step * accumulate {
                let (chunks, wait) = feed.next().unwrap_or(Err(Error::Worker))?;
                self.step.accumulate(batch, &chunks)?;
                waited += wait;
                pairs += chunks.iter().map(Views::num_pairs).sum::<usize>() * self.group.size();
            }
            let learning_rate = schedule::learning_rate(&config, self.steps, self.state.step);
            let report = self.step.update(step, learning_rate)?;
            for (what, value) in [("loss", report.loss), ("gradient norm", report.grad_norm)] {
                if !value.is_finite() {
                    return Err(self.non_finite(what, value, &report.suspects));
                }
            }
            self.state.step = step;
            self.clock.lap(&mut lap, waited, pairs);
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

    /// Writes the model: the weights of the best validation, or the last if nothing was validated; their moving average
    /// if there is one.
    ///
    /// # Errors
    /// If writing fails, or the best checkpoint is damaged.
    pub fn finish(&self) -> Result<TrainSummary, Error> {
        guarded(&self.recipe.train, "writing the model", || self.write_model())
    }

    fn write_model(&self) -> Result<TrainSummary, Error> {
        let (tensors, model_step) = match &self.output {
            Some(output) if self.state.best_loss.is_some() => {
                let (tensors, state) = output.checkpoints.best::<State>(self.state.best_step)?;
                (ema::averaged(tensors.into_iter().collect()), state.step)
            }
            _ => (ema::averaged(self.step.tensors()), self.state.step),
        };
        let model = self.run_dir.model();
        let (encoders, views) = (&self.recipe.encoders, self.training.view_shapes());
        let threads = self.recipe.train.threads;
        let model_sha256 = match self.output {
            Some(_) => Model::save(&model, encoders, self.recipe.features, &views, threads, model_step, &tensors)?,
            None => String::new(),
        };
        self.group.barrier()?;
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
        let is_last = step == self.steps;
        let (validate, save) =
            (step.is_multiple_of(config.validate_every), step.is_multiple_of(config.checkpoint_every));
        observer.step(&metrics);
        observer.advance(1);
        self.announced = step;
        if let Some(Output { log, starving, .. }) = &mut self.output {
            let warnings = self.state.alarms.observe_step(&metrics);
            if step.is_multiple_of(config.log_every) || is_last {
                if let Some(message) = starving.observe(&metrics) {
                    observer.warning(&message);
                }
                log.write(&Event::Step(metrics))?;
                self.clock.logged();
            }
            warn(step, warnings, log, observer)?;
        }
        if (validate || is_last) && self.validates {
            self.validate(observer)?;
        }
        if save { self.save_checkpoint() } else { Ok(()) }
    }

    /// The first process evaluates the held-out samples; all receive the loss.
    fn validate(&mut self, observer: &dyn Observer) -> Result<(), Error> {
        let report = match self.output {
            Some(_) => self.step.validate(&self.validation.batches, self.validation.labels.as_deref())?,
            None => ValidationReport::default(),
        };
        let loss = self.group.broadcast_from_first(report.loss)?;
        let is_best = self.state.best_loss.is_none_or(|best| loss < best);
        if is_best {
            self.state.best_loss = Some(loss);
            self.state.best_step = self.state.step;
            self.state.validations_without_gain = 0;
        } else {
            self.state.validations_without_gain += 1;
        }
        let patience = self.recipe.train.early_stop_patience;
        self.state.early_stopped = patience > 0 && self.state.validations_without_gain >= patience;
        let Some(Output { checkpoints, log, .. }) = &mut self.output else { return Ok(()) };
        let metrics = ValidationMetrics {
            step: self.state.step,
            validation_loss: loss,
            held_out: report.held_out,
            is_best,
            metrics: report.metrics,
        };
        let warnings = self.state.alarms.observe_validation(&metrics);
        if is_best {
            checkpoints.save_best(self.state.step, &self.step.tensors(), &self.state)?;
        }
        observer.validation(&metrics);
        log.write(&Event::Validation(metrics))?;
        warn(self.state.step, warnings, log, observer)
    }

    fn save_checkpoint(&self) -> Result<(), Error> {
        let Some(Output { checkpoints, .. }) = &self.output else { return Ok(()) };
        checkpoints.save(self.state.step, self.state.best_step, &self.step.tensors(), &self.state)
    }

    /// Names the samples and the checkpoint to return to.
    fn non_finite(&self, what: &'static str, value: f64, suspects: &[usize]) -> Error {
        let (accumulate, rows) = (self.recipe.train.accumulate, self.rows());
        let name = |&suspect: &usize| {
            let batch = self.state.step * accumulate as u64 + (suspect / rows.len()) as u64;
            let index = self.order.batch(batch)[rows.start + suspect % rows.len()];
            self.training.sample_name(index).unwrap_or_else(|_| SampleName::number(index)).id
        };
        let samples = suspects.iter().map(name).collect();
        let checkpoint = self.newest_checkpoint();
        Error::NonFinite { step: self.state.step + 1, what, value, samples, checkpoint }
    }

    fn newest_checkpoint(&self) -> Option<PathBuf> {
        self.output.as_ref()?.checkpoints.newest_path()
    }

    /// The rows of each batch that this process trains on.
    fn rows(&self) -> Range<usize> {
        let share = self.order.batch_size() / self.group.size();
        self.group.rank() * share..(self.group.rank() + 1) * share
    }

    fn plan(&self, steps: Range<u64>) -> Plan {
        let config = &self.recipe.train;
        let accumulate = config.accumulate as u64;
        let rows = self.rows();
        Plan {
            order: self.order.clone(),
            seed: Stream::Pairs.seed(config.seed),
            batches: steps.start * accumulate..steps.end * accumulate,
            chunk_pairs: chunk_pairs(config, rows.len(), self.step.side_by_side()),
            rows,
            workers: config.view_workers,
            device: self.step.device(),
        }
    }
}

/// The source with as many views of each sample as the recipe asks for.
pub(crate) fn with_views(config: &TrainConfig, source: Arc<dyn PairSource>) -> Arc<dyn PairSource> {
    if config.views == 2 { source } else { Arc::new(ManyViews::new(source, config.views)) }
}

/// Pairs per chunk of `num_rows` rows: as the recipe says, or an equal part for each chunk processed side by side.
pub(crate) fn chunk_pairs(config: &TrainConfig, num_rows: usize, side_by_side: usize) -> usize {
    if config.chunk_pairs == 0 { num_rows.div_ceil(side_by_side) } else { config.chunk_pairs.min(num_rows) }
}

/// Reports warnings to the user and in the log.
fn warn(step: u64, warnings: Vec<String>, log: &mut MetricsLog, observer: &dyn Observer) -> Result<(), Error> {
    for message in warnings {
        observer.warning(&message);
        log.write(&Event::Warning { step, message })?;
    }
    Ok(())
}
