//! Whole training runs on a small synthetic source.

mod synthetic;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use invar_dataset::{Moved, NoProgress, Progress, RunDir};
use invar_nn::{EncoderConfig, Features, encoder::kmer_mlp::KmerMlpConfig};
use invar_train::{
    EmbedConfig, Epochs, Error, Model, Moves, Observer, Outcome, StepMetrics, Steps, TrainConfig, Trainer, TrainingJob,
    checkpoint, embed, orbits, pair_quality, train,
};
use synthetic::Clouds;
use tch::{Device, Tensor};

fn recipe() -> TrainingJob {
    let encoder = KmerMlpConfig { hidden: vec![32], dim: 16, ..KmerMlpConfig::default() };
    TrainingJob {
        encoders: vec![EncoderConfig::KmerMlp(encoder)],
        loss: Default::default(),
        train: TrainConfig {
            steps: Steps::Fixed(60),
            batch_size: 32,
            learning_rate: 3e-3,
            warmup_steps: 5,
            validation_fraction: 0.2,
            validate_every: 20,
            checkpoint_every: 20,
            log_every: 5,
            threads: 1,
            ..TrainConfig::default()
        },
        features: Default::default(),
        data: "clouds".into(),
    }
}

fn run(recipe: &TrainingJob, dir: &Path, observer: &dyn Observer) -> Result<invar_train::TrainSummary, Error> {
    train(recipe, Arc::new(Clouds::default()), Device::Cpu, dir, observer)
}

/// Weights and optimizer state of the newest checkpoint.
fn newest(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let (_, path) = RunDir::new(dir).list_checkpoints().unwrap().remove(0);
    let (tensors, _): (HashMap<String, Tensor>, serde_json::Value) = checkpoint::read(&path).unwrap();
    tensors.into_iter().map(|(name, tensor)| (name, bytes(&tensor))).collect()
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// The lines of `metrics.jsonl` without the times.
fn metrics(dir: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let strip = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().remove("timing");
        value
    };
    text.lines().map(strip).collect()
}

/// Cancels after a number of steps and remembers what it saw.
#[derive(Default)]
struct Watcher {
    stop_after: Option<u64>,
    steps: AtomicU64,
    warnings: Mutex<Vec<String>>,
    losses: Mutex<Vec<f64>>,
}

impl Progress for Watcher {
    fn set_total(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
    fn is_cancelled(&self) -> bool {
        self.stop_after.is_some_and(|stop| self.steps.load(Ordering::Relaxed) >= stop)
    }
}

impl Observer for Watcher {
    fn step(&self, metrics: &StepMetrics) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.losses.lock().unwrap().push(metrics.loss);
    }
    fn warning(&self, text: &str) {
        self.warnings.lock().unwrap().push(text.into());
    }
}

#[test]
fn training_learns_what_makes_views_alike() {
    let dir = tempfile::tempdir().unwrap();
    let watcher = Watcher::default();
    let summary = run(&recipe(), dir.path(), &watcher).unwrap();
    assert_eq!((summary.outcome, summary.steps, summary.resumed_from), (Outcome::Finished, 60, None));
    let losses = watcher.losses.lock().unwrap();
    assert_eq!(losses.len(), 60);
    // 32 pairs: an encoder that knows nothing has a loss of ln 32 = 3.47.
    assert!(losses[59] < 0.5 * losses[0], "{} -> {}", losses[0], losses[59]);
    assert!(summary.best_validation_loss.unwrap() < losses[0]);
}

#[test]
fn an_interrupted_run_ends_with_the_same_bytes_as_an_uninterrupted_one() {
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let summary = run(&recipe(), whole.path(), &NoProgress).unwrap();
    // Two interruptions, one of them between two checkpoints, and changes of other settings that must not matter.
    let mut other = recipe();
    other.train.view_workers = 3;
    for (stop_after, from) in [(Some(17), None), (Some(20), Some(17)), (None, Some(37))] {
        let watcher = Watcher { stop_after, ..Watcher::default() };
        match run(&other, broken.path(), &watcher) {
            Err(Error::Interrupted) => assert!(stop_after.is_some()),
            Ok(resumed) => assert_eq!((resumed.resumed_from, &resumed.model_sha256), (from, &summary.model_sha256)),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(newest(whole.path()) == newest(broken.path()), "the tensors differ");
    assert_eq!(metrics(whole.path()), metrics(broken.path()));
}

#[test]
fn a_run_as_long_as_its_data_ask_for_is_resumed_to_the_same_bytes() {
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut recipe = recipe();
    recipe.train.validation_fraction = 0.0;
    recipe.train.steps = Steps::Epochs(Epochs { epochs: 2.0, least: 1, most: 100 });
    let summary = run(&recipe, whole.path(), &NoProgress).unwrap();
    // By hand: 500 samples twice, in batches of 32, are 31.25.
    assert_eq!(summary.steps, 32);
    let watcher = Watcher { stop_after: Some(13), ..Watcher::default() };
    assert!(matches!(run(&recipe, broken.path(), &watcher), Err(Error::Interrupted)));
    let resumed = run(&recipe, broken.path(), &NoProgress).unwrap();
    assert_eq!((resumed.resumed_from, &resumed.model_sha256), (Some(13), &summary.model_sha256));
    // The same number, given as such, is the same learning rate at every step.
    let fixed = tempfile::tempdir().unwrap();
    recipe.train.steps = Steps::Fixed(32);
    assert_eq!(run(&recipe, fixed.path(), &NoProgress).unwrap().model_sha256, summary.model_sha256);
}

#[test]
fn a_model_knows_what_of_it_is_embedded() {
    let dir = tempfile::tempdir().unwrap();
    let both = TrainingJob { features: Features::Both, ..recipe() };
    let summary = run(&both, dir.path(), &NoProgress).unwrap();
    let load = || Model::load(&summary.model, Device::Cpu).unwrap();
    // One hidden layer of 32, projected to 16.
    let dims = [Features::Projected, Features::Pooled].map(|features| load().with_features(features).dim());
    assert_eq!((load().features(), load().dim(), dims), (Features::Both, 48, [16, 32]));
    let source = Clouds::default();
    let embedded = |model: Model| {
        let mut all = vec![];
        let mut keep = |_: std::ops::Range<usize>, rows: &[f32]| {
            all.extend_from_slice(rows);
            Ok(())
        };
        embed(&model, &source, 0..20, &EmbedConfig::default(), &mut keep, &NoProgress).unwrap();
        all
    };
    let projected = embedded(load().with_features(Features::Projected));
    for (both, projected) in embedded(load()).chunks(48).zip(projected.chunks(16)) {
        let length = both[32..].iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!(both[32..].iter().zip(projected).all(|(a, b)| (a / length - b).abs() < 1e-5));
    }
    // Training is the same whichever features are embedded: only the header differs.
    let dir = tempfile::tempdir().unwrap();
    let plain = run(&recipe(), dir.path(), &NoProgress).unwrap();
    assert_ne!(plain.model_sha256, summary.model_sha256);
    assert_eq!(embedded(Model::load(&plain.model, Device::Cpu).unwrap()), projected);
}

#[test]
fn a_killed_run_goes_back_to_its_checkpoint_and_repeats() {
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(&recipe(), whole.path(), &NoProgress).unwrap();
    run(&recipe(), killed.path(), &NoProgress).unwrap();
    // As after kill -9 at step 47: no checkpoint after 40, metrics already further, a torn line.
    fs::remove_file(RunDir::new(killed.path()).checkpoint(60)).unwrap();
    fs::remove_file(killed.path().join("model.safetensors")).unwrap();
    let log = killed.path().join("metrics.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, &text[..text.find("\"step\":50").unwrap()]).unwrap();
    let summary = run(&recipe(), killed.path(), &NoProgress).unwrap();
    assert_eq!(summary.resumed_from, Some(40));
    assert!(newest(whole.path()) == newest(killed.path()), "the tensors differ");
    assert_eq!(metrics(whole.path()), metrics(killed.path()));
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    run(&recipe(), dir.path(), &NoProgress).unwrap();
    let expected = newest(dir.path());
    let path = RunDir::new(dir.path()).checkpoint(60);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let watcher = Watcher::default();
    let summary = run(&recipe(), dir.path(), &watcher).unwrap();
    assert_eq!(summary.resumed_from, Some(40));
    assert!(watcher.warnings.lock().unwrap()[0].starts_with("skipped a damaged checkpoint: "));
    assert!(newest(dir.path()) == expected, "the tensors differ");
}

#[test]
fn another_recipe_is_refused_naming_the_setting() {
    let dir = tempfile::tempdir().unwrap();
    run(&recipe(), dir.path(), &NoProgress).unwrap();
    let mut other = recipe();
    other.train.learning_rate = 0.5;
    let error = run(&other, dir.path(), &NoProgress).unwrap_err().to_string();
    assert!(error.contains("train.learning_rate = 0.003, this recipe has 0.5"), "{error}");
    let mut other = recipe();
    other.data = "others".into();
    assert!(matches!(run(&other, dir.path(), &NoProgress), Err(Error::OtherRecipe { key, .. }) if key == "data"));
}

#[test]
fn the_loop_can_be_entered_again() {
    let (once, twice) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(&recipe(), once.path(), &NoProgress).unwrap();
    let source = Arc::new(Clouds::default());
    let mut trainer = Trainer::new(&recipe(), source, Device::Cpu, twice.path(), &NoProgress).unwrap();
    for until in [10, 33, 60] {
        trainer.run(until, &NoProgress).unwrap();
        assert_eq!(trainer.steps_done(), until);
    }
    trainer.finish().unwrap();
    assert!(newest(once.path()) == newest(twice.path()), "the tensors differ");
}

#[test]
fn a_loss_that_is_no_number_stops_before_the_weights_change() {
    let dir = tempfile::tempdir().unwrap();
    let source = Arc::new(Clouds { poisoned_from: 490, ..Clouds::default() });
    let mut often = recipe();
    often.train.checkpoint_every = 1;
    often.train.accumulate = 3;
    often.train.batch_size = 8;
    let error = train(&often, source, Device::Cpu, dir.path(), &NoProgress).unwrap_err();
    let message = error.to_string();
    let Error::NonFinite { step, what: "loss", value, samples, checkpoint } = error else { panic!("{error}") };
    assert!(value.is_nan());
    // Only poisoned samples are named, and the checkpoint to go back to.
    let poisoned = |name: &String| name.strip_prefix("cloud ").unwrap().parse::<usize>().unwrap() >= 490;
    assert!(!samples.is_empty() && samples.iter().all(poisoned), "{samples:?}");
    let expected = (step > 1).then(|| RunDir::new(dir.path()).checkpoint(step - 1));
    assert_eq!(checkpoint, expected);
    assert!(message.contains(&samples[0]), "{message}");
    // What is on the disk is healthy.
    let (tensors, state): (HashMap<String, Tensor>, serde_json::Value) =
        checkpoint::read(&RunDir::new(dir.path()).list_checkpoints().unwrap()[0].1).unwrap();
    assert_eq!(state["step"], step - 1);
    assert!(
        tensors
            .iter()
            .filter(|(name, _)| name.starts_with("trunk."))
            .all(|(_, t)| { t.isfinite().all().int64_value(&[]) == 1 })
    );
}

#[test]
fn training_stops_early_when_nothing_is_gained() {
    let dir = tempfile::tempdir().unwrap();
    let mut stuck = recipe();
    stuck.train.learning_rate = 0.0;
    stuck.train.min_learning_rate = 0.0;
    stuck.train.early_stop_patience = 2;
    stuck.train.validate_every = 5;
    let summary = run(&stuck, dir.path(), &NoProgress).unwrap();
    assert_eq!((summary.outcome, summary.steps, summary.model_step), (Outcome::EarlyStopped, 15, 5));
    // And it stays stopped.
    let again = run(&stuck, dir.path(), &NoProgress).unwrap();
    assert_eq!((again.steps, again.resumed_from, again.model_sha256), (15, Some(15), summary.model_sha256));
}

#[test]
fn a_loss_near_ln_n_is_told_loudly() {
    let dir = tempfile::tempdir().unwrap();
    let mut stuck = recipe();
    stuck.train = TrainConfig { steps: Steps::Fixed(100), learning_rate: 0.0, min_learning_rate: 0.0, ..stuck.train };
    let watcher = Watcher::default();
    let source = Arc::new(Clouds { all_alike: true, ..Clouds::default() });
    train(&stuck, source, Device::Cpu, dir.path(), &watcher).unwrap();
    let warnings = watcher.warnings.lock().unwrap();
    assert!(warnings.iter().any(|w| w.contains("of ln N")) && warnings.iter().any(|w| w.contains("collapsed")));
}

#[test]
fn too_few_samples_are_an_error_and_no_held_out_ones_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let few = |num_samples| Arc::new(Clouds { num_samples, ..Clouds::default() });
    for num_samples in [0, 1] {
        let error = train(&recipe(), few(num_samples), Device::Cpu, dir.path(), &NoProgress).unwrap_err();
        assert!(error.is_bad_input(), "{error}");
    }
    let watcher = Watcher::default();
    let summary = train(&recipe(), few(3), Device::Cpu, dir.path(), &watcher).unwrap();
    assert_eq!(summary.best_validation_loss, None);
    let warnings = watcher.warnings.lock().unwrap();
    assert!(warnings[0].contains("train.batch_size is 32, but there are 3 training samples"), "{warnings:?}");
    assert!(warnings[1].starts_with("no validation: "), "{warnings:?}");
}

#[test]
fn embedding_is_the_same_at_any_number_of_workers_and_when_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let summary = run(&recipe(), dir.path(), &NoProgress).unwrap();
    let model = Model::load(&summary.model, Device::Cpu).unwrap();
    assert_eq!((model.sha256(), model.dim()), (summary.model_sha256.as_str(), 16));
    let source = Clouds::default();
    let collect = |range: std::ops::Range<usize>, view_workers| {
        let config = EmbedConfig { block_samples: 64, batch_views: 50, view_workers, ..EmbedConfig::default() };
        let mut all = vec![];
        let mut next = range.start;
        let mut sink = |range: std::ops::Range<usize>, rows: &[f32]| {
            assert_eq!((range.start, rows.len()), (next, range.len() * 16));
            next = range.end;
            all.extend_from_slice(rows);
            Ok(())
        };
        embed(&model, &source, range, &config, &mut sink, &NoProgress).unwrap();
        all
    };
    let whole = collect(0..500, 1);
    assert_eq!(whole.len(), 500 * 16);
    assert_eq!(whole, collect(0..500, 3));
    assert_eq!(whole[128 * 16..], collect(128..500, 2));
    // Also from the middle of a block.
    assert_eq!(whole[77 * 16..333 * 16], collect(77..333, 2));
    let norms = whole.chunks_exact(16).map(|row| row.iter().map(|x| x * x).sum::<f32>());
    assert!(norms.into_iter().all(|n| (n - 1.0).abs() < 1e-5));
}

#[test]
fn the_quality_of_a_model_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let source = Clouds::default();
    let summary = run(&recipe(), dir.path(), &NoProgress).unwrap();
    let model = Model::load(&summary.model, Device::Cpu).unwrap();
    let indices: Vec<usize> = (0..100).collect();
    let config = EmbedConfig::default();
    let orbits = |moves: Moves| orbits(&model, &source, &indices, moves, &config, &NoProgress).unwrap();
    let (every, drawn) = (orbits(Moves::All), orbits(Moves::Two { seed: 3 }));
    let report = every.invariance();
    assert_eq!(report.symmetries.len(), 2);
    // The first symmetry scales all features, which the input norm removes; the second really changes the sample.
    assert!(report.symmetries[0].max < 1e-6, "{report:?}");
    assert!(report.symmetries[1].mean > 1e-3, "{report:?}");
    let mean = (report.symmetries[0].mean + report.symmetries[1].mean) / 2.0;
    assert!((mean - report.gap_mean).abs() < 1e-12 && report.cosine_p1 < 1.0 - report.gap_mean, "{report:?}");
    // Two symmetries are all there are.
    assert_eq!(drawn, every);
    // Embedding the moved samples is the same as embedding the samples and moving them afterwards.
    let moved = Moved::new(&source, 3).unwrap();
    let mut embedded = vec![];
    let mut sink = |_: std::ops::Range<usize>, rows: &[f32]| {
        embedded.extend_from_slice(rows);
        Ok(())
    };
    embed(&model, &moved, 0..100, &config, &mut sink, &NoProgress).unwrap();
    let expected = every.one_at_random(3).unwrap();
    assert!(embedded.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5));
    assert!(embedded.iter().zip(&every.upright).any(|(a, b)| (a - b).abs() > 1e-2));
    let quality = pair_quality(&model, &source, &indices, 7, &config, &NoProgress).unwrap();
    assert!(quality.alignment < 0.5 && quality.uniformity < -1.0, "{quality:?}");
}
