//! `invar train`

mod dry_run;
mod output;
pub mod processes;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use invar_cli::{
    cli::{Common, Train},
    commands::labels::{Labels, Named},
    exit::Usage,
    ui::{Bar, DONE_BEFORE, Summary, Ui, Unit, thousands},
};
use invar_dataset::{Classified, Labelled, PairSource, Progress, RunDir, lock::Lock, manifest::Manifest, path};
use invar_nn::DeviceChoice;
use invar_torch::ProcessGroup;
use invar_train::{Event, Observer, Place, StepMetrics, TrainSummary, Trainer, ValidationMetrics, checkpoint};
use serde_json::{Value, json};
use tch::Tensor;

use self::output::{Output, Stored};
use super::finetune;
use crate::{recipe::Recipe, source::Datasets};

/// Options of `invar train` besides recipe, data and place.
pub struct Options<'a> {
    /// True labels by sample id, used to score held-out samples.
    pub labels: Option<Labels>,
    /// Labels that are learned.
    pub learned: Option<Learned<'a>>,
    /// How long a process waits for another.
    pub peer_timeout: Duration,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { labels: None, learned: None, peer_timeout: Duration::from_secs(1800) }
    }
}

/// Labels that are learned: the recipe has a loss for them.
pub struct Learned<'a> {
    /// The class of each sample in each column.
    pub classes: Vec<Vec<Option<u32>>>,
    /// What they are: a run is not continued with others.
    pub digest: String,
    /// Least share of samples with a class among all, and how often one is repeated for that at most.
    pub share: f64,
    /// See `share`.
    pub most: usize,
    /// Tensors that training starts with instead of its own, by name.
    pub start: HashMap<String, Tensor>,
    /// Completes the run directory, given the tensors of the model that was written there.
    pub finish: Box<Finish<'a>>,
}

/// See [`Learned::finish`].
pub type Finish<'a> = dyn Fn(&HashMap<String, Tensor>, &RunDir, tch::Device, &Ui) -> Result<()> + 'a;

/// `invar train`
pub fn run(args: &Train, common: &Common, ui: &Ui) -> Result<Summary> {
    let recipe = Recipe::load(&args.recipe, &args.set, common.seed)?;
    if args.dry_run {
        return dry_run::dry_run(&recipe, &args.data, common, ui);
    }
    let labels = args.labels.as_ref().map(|path| Labels::read(path, args.label_column.as_deref())).transpose()?;
    let options = Options { labels, peer_timeout: Duration::from_secs(args.peer_timeout), ..Options::default() };
    let out = args.out.as_ref().expect("clap asks for it unless it is a dry run");
    train(&recipe, &Datasets::new(&recipe.source, &args.data, ui), out, options, common, ui)
}

/// Trains into `out`, or continues there. With several processes, only the first reads and writes `out` and prints.
pub fn train(
    recipe: &Recipe,
    data: &Datasets,
    out: &Path,
    options: Options<'_>,
    common: &Common,
    ui: &Ui,
) -> Result<Summary> {
    let launched = processes::launched()?;
    let (device, group) = match &launched {
        Some(rendezvous) => {
            let (device, group) = processes::join(rendezvous, options.peer_timeout, common, ui)?;
            (Some(device), group)
        }
        None => (None, ProcessGroup::solo()),
    };
    let muted = ui.muted();
    let ui = if group.is_first() { ui } else { &muted };
    let settings = invar_train::TrainingJob {
        encoders: vec![recipe.encoder.clone()],
        loss: recipe.loss.clone(),
        train: recipe.train.clone(),
        features: recipe.embed.features,
        data: data_identity(recipe, data.dirs(), options.learned.as_ref())?,
    };
    let output = Output::new(out, common.force);
    // Nobody else can train there in the meantime.
    let lock = group.is_first().then(|| Lock::directory(out).with_context(|| out.display().to_string())).transpose()?;
    // Not every file system can tell.
    let was_there = lock.as_ref().is_some_and(|lock| lock.is_at(out));
    let done = if group.is_first() { output.prepare(&settings)? } else { None };
    // Only the first one knows: in the others `done` is `None`.
    if group.any(done.is_some())? {
        return Ok(done.map_or_else(Summary::nothing, |done| done_before(out, &done)));
    }
    let device = match device {
        Some(device) => device,
        None => self::device(common, ui)?,
    };
    let shown = data.pairs()?;
    let kinds = shown.kinds().map_or_else(String::new, |kinds| format!(" (pairs: {kinds})"));
    let mut pairs: Arc<dyn PairSource> = shown;
    if let Some(labels) = options.labels {
        let names = (0..pairs.len()).map(|index| pairs.sample_name(index)).collect::<Result<Vec<_>, _>>()?;
        let found = labels.of(&names.iter().map(Named::from).collect::<Vec<_>>())?;
        let found = found.into_iter().map(|label| label.map(str::to_owned)).collect();
        pairs = Arc::new(Labelled::new(pairs, found));
    }
    ui.note(&format!("training {} on {} samples{kinds}", recipe.name, thousands(pairs.len() as u64)));
    if let Some(learned) = &options.learned {
        pairs = Arc::new(Classified::new(pairs, learned.classes.clone(), learned.share, learned.most));
    }
    let watch = Watch::new(ui);
    let is_first = group.is_first();
    let place = Place { device, group: Rc::new(group) };
    // Checks everything and writes nothing.
    let mut trainer = Trainer::new(&settings, pairs, place, output.path(), &watch)?;
    if let Some(learned) = options.learned.as_ref().filter(|_| trainer.steps_done() == 0) {
        begin_with(&mut trainer, &learned.start)?;
    }
    if is_first {
        output.begin(recipe)?;
        if trainer.steps_done() > 0 {
            ui.note(&format!("going on from step {}", thousands(trainer.steps_done())));
        }
    }
    let trained = trainer.run(u64::MAX, &watch).and_then(|()| trainer.finish());
    drop(watch);
    if !is_first {
        trained?;
        return Ok(Summary::nothing());
    }
    // Where somebody removed the directory, what is there now is not this training's.
    let is_ours = || !was_there || lock.as_ref().is_some_and(|lock| lock.is_at(out));
    let summary = trained.inspect_err(|error| {
        if is_ours() {
            output.tidy(error);
        }
    })?;
    if !is_ours() {
        return Err(anyhow!("{}: was removed while the training was writing there", out.display()));
    }
    if let Some(learned) = &options.learned {
        let run = RunDir::new(output.path());
        let tensors = match summary.model_step == trainer.steps_done() {
            true => trainer.tensors(),
            false => checkpoint::read::<Value>(&run.best_checkpoint(summary.model_step))?.0,
        };
        (learned.finish)(&tensors, &run, device, ui)?;
    }
    let stored = Stored::of(&summary, settings.fixes_weights()?);
    output.finish(&stored)?;
    drop(lock);
    Ok(describe_summary(out, &stored, Some(&summary)))
}

/// Replaces some tensors of a trainer, and their moving averages, if there are any.
fn begin_with(trainer: &mut Trainer, start: &HashMap<String, Tensor>) -> Result<()> {
    if start.is_empty() {
        return Ok(());
    }
    let mut tensors = trainer.tensors();
    for (name, tensor) in &mut tensors {
        if let Some(own) = start.get(name.strip_prefix("ema.").unwrap_or(name)) {
            *tensor = own.to_device(tensor.device());
        }
    }
    Ok(trainer.load(&tensors)?)
}

/// `invar info RUN`
pub fn describe(path: &Path) -> Result<Summary> {
    let run = RunDir::new(path);
    let recipe = Recipe::of_run(&run)?;
    let state = match Stored::read(&run)? {
        Some(done) => describe_summary(path, &done, None),
        None => Summary {
            text: format!(
                "{}: a run of {}, not finished (the same `invar {}` continues it)",
                path.display(),
                recipe.name,
                if recipe.labels.is_some() { "finetune" } else { "train" }
            ),
            json: json!({"finished": false}),
        },
    };
    let mut json = state.json;
    json["kind"] = Value::from("run");
    json["recipe"] = serde_json::to_value(&recipe)?;
    let mut text =
        format!("{}\n  recipe {}, encoder {}, seed {}", state.text, recipe.name, recipe.encoder.name(), recipe.seed);
    if let Some(from) = &recipe.train.warm_start {
        text += &format!("\n  began with the weights of {}", from.display());
        if let Some(sha256) = json["fixed_by"]["train"]["warm_start"].as_str() {
            text += &format!(", model {}...", sha256.get(..12).unwrap_or(sha256));
        }
    }
    let mut summary = Summary { text, json };
    if run.classifier().is_file() {
        finetune::describe(&run, &mut summary)?;
    }
    Ok(summary)
}

/// The device that the user asked for; prints which it is.
pub fn device(common: &Common, ui: &Ui) -> Result<tch::Device> {
    let choice: DeviceChoice =
        common.device.parse().map_err(|error| Usage(format!("--device {}: {error}", common.device)))?;
    let chosen = choice.resolve().map_err(|error| Usage(error.to_string()))?;
    ui.note(&chosen.sentence);
    Ok(chosen.device)
}

/// The samples and how pairs are drawn from them: a run is not resumed if this has changed.
fn data_identity(recipe: &Recipe, data: &[PathBuf], learned: Option<&Learned>) -> Result<Value> {
    let digests = |dir: &PathBuf| -> Result<Vec<String>> {
        Ok(Manifest::read(dir)?.shards.into_iter().map(|shard| shard.sha256).collect())
    };
    let shards = data.iter().map(digests).collect::<Result<Vec<_>>>()?.concat();
    let mut identity = json!({"shards": shards, "source": recipe.source.drawing()});
    if let Some(learned) = learned {
        identity["labels"] = learned.digest.as_str().into();
    }
    Ok(identity)
}

/// The summary of a run that had already finished.
fn done_before(out: &Path, done: &Stored) -> Summary {
    let mut summary = describe_summary(out, done, None);
    summary.text += &format!(", {DONE_BEFORE}");
    summary.json["done_before"] = Value::from(true);
    summary
}

fn describe_summary(out: &Path, stored: &Stored, fresh: Option<&TrainSummary>) -> Summary {
    let (steps, model_step) = (thousands(stored.steps), stored.model_step);
    let mut text = format!("{}: trained {steps} steps, model of step {model_step}", out.display());
    if let Some(loss) = stored.best_validation_loss {
        text += &format!(", validation loss {loss:.4}");
    }
    let mut json = serde_json::to_value(stored).expect("a summary has string keys");
    json["out"] = path::text(out).into();
    json["finished"] = Value::from(true);
    if let Some(fresh) = fresh.filter(|fresh| fresh.elapsed_s > 0.0) {
        let waited = 100.0 * fresh.wait_s / fresh.elapsed_s;
        let rate = fresh.pairs as f64 / fresh.elapsed_s;
        text += &format!("\n  {:.1} s, {rate:.0} pairs/s, {waited:.1} % of the time waiting for data", fresh.elapsed_s);
        json["timing"] = json!({"elapsed_s": fresh.elapsed_s, "wait_s": fresh.wait_s, "pairs_per_s": rate});
    }
    Summary { text, json }
}

/// Draws the bar, or prints a line now and then if there is no terminal.
pub struct Watch<'a> {
    bar: Bar,
    ui: &'a Ui,
    said: Mutex<Instant>,
    /// Total number.
    steps: AtomicU64,
}

impl<'a> Watch<'a> {
    /// Of a training that begins.
    pub fn new(ui: &'a Ui) -> Self {
        Self { bar: ui.bar("train", Unit::Items), ui, said: Mutex::new(Instant::now()), steps: AtomicU64::new(0) }
    }
}

/// Interval between two lines without a terminal.
const SAY_EVERY: Duration = Duration::from_secs(10);

impl Progress for Watch<'_> {
    fn set_total(&self, total: u64) {
        self.steps.store(total, Ordering::Relaxed);
        self.bar.set_total(total);
    }

    fn advance(&self, amount: u64) {
        self.bar.advance(amount);
    }

    fn message(&self, text: &str) {
        self.bar.message(text);
    }

    fn is_cancelled(&self) -> bool {
        self.bar.is_cancelled()
    }
}

impl Observer for Watch<'_> {
    fn step(&self, metrics: &StepMetrics) {
        // Of several losses each has its own.
        let accuracy = metrics.metrics.get("accuracy").map(|accuracy| format!(", in-batch accuracy {accuracy:.3}"));
        let text = format!("loss {:.3}{}", metrics.loss, accuracy.unwrap_or_default());
        self.bar.message(&text);
        self.ui.event(|| json!(Event::Step(metrics.clone())));
        let mut said = self.said.lock().expect("no thread panics while it holds this");
        if self.bar.is_hidden() && said.elapsed() > SAY_EVERY {
            *said = Instant::now();
            self.ui.note(&format!("step {}/{}: {text}", metrics.step, self.steps.load(Ordering::Relaxed)));
        }
    }

    fn validation(&self, metrics: &ValidationMetrics) {
        self.ui.event(|| json!(Event::Validation(metrics.clone())));
        let text = format!(
            "step {}: validation loss {:.4}, alignment {:.3}, uniformity {:.3}",
            metrics.step, metrics.validation_loss, metrics.held_out.alignment, metrics.held_out.uniformity
        );
        self.bar.suspend(|| self.ui.detail(&text));
    }

    fn warning(&self, text: &str) {
        self.bar.suspend(|| self.ui.warn(text));
    }
}
