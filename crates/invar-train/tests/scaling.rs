//! Batches larger than memory, accumulated gradients, frozen layers, moving averages, weights of other runs.

mod synthetic;

use std::{collections::HashMap, path::Path, sync::Arc};

use invar_dataset::{NoProgress, RunDir};
use invar_loss::{InfoNceConfig, LossConfig, MomentumConfig};
use invar_nn::{EncoderConfig, encoder::kmer_mlp::KmerMlpConfig};
use invar_train::{Error, Model, Steps, TrainConfig, Trainer, TrainingJob, checkpoint, metrics::Event, train};
use synthetic::Clouds;
use tch::{Device, Kind, Tensor};

fn recipe(train: TrainConfig) -> TrainingJob {
    let encoder = KmerMlpConfig { hidden: vec![32], dim: 16, ..KmerMlpConfig::default() };
    let loss = InfoNceConfig { learn_temperature: true, projection: vec![16, 8], ..InfoNceConfig::default() };
    let train =
        TrainConfig { steps: Steps::Fixed(12), batch_size: 48, warmup_steps: 2, log_every: 1, threads: 1, ..train };
    TrainingJob {
        encoders: vec![EncoderConfig::KmerMlp(encoder)],
        loss: LossConfig::InfoNce(loss).into(),
        train,
        features: Default::default(),
        data: Default::default(),
    }
}

fn run(recipe: &TrainingJob, dir: &Path) -> Result<HashMap<String, Tensor>, Error> {
    train(recipe, Arc::new(Clouds::default()), Device::Cpu, dir, &NoProgress)?;
    let (_, path) = RunDir::new(dir).list_checkpoints().unwrap().remove(0);
    Ok(checkpoint::read::<serde_json::Value>(&path)?.0)
}

fn losses(dir: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let loss = |line: &str| match serde_json::from_str(line).unwrap() {
        Event::Step(metrics) => Some(metrics.loss),
        _ => None,
    };
    text.lines().filter_map(loss).collect()
}

fn largest_difference(a: &HashMap<String, Tensor>, b: &HashMap<String, Tensor>) -> f64 {
    assert_eq!(a.len(), b.len());
    let differ = |(name, tensor): (&String, &Tensor)| {
        let gap = tensor.to_kind(Kind::Double) - b[name].to_kind(Kind::Double);
        gap.abs().max().double_value(&[])
    };
    a.iter().map(differ).fold(0.0, f64::max)
}

#[test]
fn a_batch_in_chunks_has_the_gradient_of_the_whole() {
    let whole_dir = tempfile::tempdir().unwrap();
    let whole = run(&recipe(TrainConfig::default()), whole_dir.path()).unwrap();
    // 48 = 4 * 11 + 4.
    for chunk_pairs in [1, 11, 24] {
        let dir = tempfile::tempdir().unwrap();
        let chunked = run(&recipe(TrainConfig { chunk_pairs, ..TrainConfig::default() }), dir.path()).unwrap();
        for (a, b) in losses(whole_dir.path()).into_iter().zip(losses(dir.path())) {
            assert!((a - b).abs() < 1e-5 * a, "chunks of {chunk_pairs}: {a} {b}");
        }
        let gap = largest_difference(&whole, &chunked);
        assert!(gap < 1e-3, "chunks of {chunk_pairs}: {gap}");
    }
}

#[test]
fn accumulated_batches_are_averaged() {
    // The loss of a step of two batches is the mean of theirs: for the first step it can be computed from two runs of
    // one batch.
    let (dir, single) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(&recipe(TrainConfig { accumulate: 2, ..TrainConfig::default() }), dir.path()).unwrap();
    let still = TrainConfig { learning_rate: 0.0, min_learning_rate: 0.0, ..TrainConfig::default() };
    run(&recipe(still), single.path()).unwrap();
    let (both, each) = (losses(dir.path())[0], losses(single.path()));
    assert!((both - (each[0] + each[1]) / 2.0).abs() < 1e-5, "{both} {each:?}");
}

#[test]
fn frozen_parameters_stay_and_slips_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let frozen = |freeze: &[&str]| {
        recipe(TrainConfig { freeze: freeze.iter().map(ToString::to_string).collect(), ..TrainConfig::default() })
    };
    let start = run(
        &recipe(TrainConfig {
            steps: Steps::Fixed(12),
            learning_rate: 0.0,
            min_learning_rate: 0.0,
            ..TrainConfig::default()
        }),
        dir.path(),
    );
    let (start, dir) = (start.unwrap(), tempfile::tempdir().unwrap());
    let end = run(&frozen(&["trunk.out", "head.info_nce.projection0.bias"]), dir.path()).unwrap();
    let moved = |name: &str| end[name] != start[name];
    for name in ["trunk.out.weight", "trunk.out.bias", "head.info_nce.projection0.bias"] {
        assert!(!moved(name), "{name}");
        assert!(!end.contains_key(&format!("optimizer.exp_avg.{name}")), "{name} has optimizer state");
    }
    assert!(moved("head.info_nce.projection0.weight") && moved("head.info_nce.projection1.bias"));
    let dir = tempfile::tempdir().unwrap();
    let error = run(&frozen(&["trunk.outer"]), dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("train.freeze") && error.contains("trunk.out") && error.contains("\"trunk.outer\""),
        "{error}"
    );
    let error = run(&frozen(&["trunk", "head"]), dir.path()).unwrap_err().to_string();
    assert!(error.contains("some parameters left to train"), "{error}");
}

#[test]
fn a_moving_average_follows_and_is_what_embeds() {
    let decay = 0.5;
    let dirs: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let averaged = |steps| {
        let config =
            TrainConfig { ema_decay: decay, validation_fraction: 0.0, checkpoint_every: 1, ..TrainConfig::default() };
        let mut recipe = recipe(TrainConfig { keep_checkpoints: 100, ..config });
        recipe.train.steps = Steps::Fixed(steps);
        recipe
    };
    run(&averaged(3), dirs[0].path()).unwrap();
    let stored = |step| {
        let path = RunDir::new(dirs[0].path()).checkpoint(step);
        checkpoint::read::<serde_json::Value>(&path).unwrap().0
    };
    let name = "trunk.out.weight";
    let (mut expected, mut before) = (None::<Tensor>, None::<Tensor>);
    for step in 1..=3 {
        let tensors = stored(step);
        let weights = &tensors[name];
        // The definition: decay, or (1 + step) / (10 + step) where that is less.
        let decay = decay.min((1 + step) as f64 / (10 + step) as f64);
        let start = before.take().unwrap_or_else(|| {
            // Solved using the first step, because no checkpoint holds the initial weights.
            (&tensors[&format!("ema.{name}")] - weights * (1.0 - decay)) / decay
        });
        let average = expected.take().map_or_else(|| start * decay, |e: Tensor| e * decay) + weights * (1.0 - decay);
        let gap = (&average - &tensors[&format!("ema.{name}")]).abs().max().double_value(&[]);
        assert!(gap < 1e-6, "step {step}: {gap}");
        before = Some(average.shallow_clone());
        expected = Some(average);
    }
    let model: (HashMap<String, Tensor>, serde_json::Value) =
        checkpoint::read(&Model::path_of(dirs[0].path())).unwrap();
    assert!(model.0[name] == stored(3)[&format!("ema.{name}")]);
    assert!(model.0[name] != stored(3)[name]);
}

#[test]
fn training_starts_from_another_runs_encoder() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(&recipe(TrainConfig::default()), first.path()).unwrap();
    let warm = TrainConfig { warm_start: Some(first.path().into()), ..TrainConfig::default() };
    // Another head, and a step that changes nothing.
    let mut other = recipe(TrainConfig { learning_rate: 0.0, min_learning_rate: 0.0, ..warm.clone() });
    other.loss = LossConfig::InfoNce(InfoNceConfig::default()).into();
    let tensors = run(&other, second.path()).unwrap();
    let model: (HashMap<String, Tensor>, serde_json::Value) = checkpoint::read(&Model::path_of(first.path())).unwrap();
    assert!(!model.0.is_empty() && model.0.iter().all(|(name, tensor)| tensors[name] == *tensor));
    // An encoder of another size is refused, with the tensor and both shapes.
    let mut wide = recipe(warm);
    wide.encoders =
        vec![EncoderConfig::KmerMlp(KmerMlpConfig { hidden: vec![32], dim: 20, ..KmerMlpConfig::default() })];
    let error = run(&wide, tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.contains("[16") && error.contains("[20") && error.contains("train.warm_start"), "{error}");
    // The model is one of the things that must not change during a run.
    std::fs::write(Model::path_of(first.path()), b"changed").unwrap();
    assert!(run(&other, second.path()).is_err());
}

#[test]
fn more_than_two_views_are_for_the_losses_that_take_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut many = recipe(TrainConfig { views: 4, ..TrainConfig::default() });
    let error = run(&many, dir.path()).unwrap_err().to_string();
    assert_eq!(error, "loss info-nce compares 2 views of a pair, got 4");
    many.loss = LossConfig::MultiPositive(Default::default()).into();
    run(&many, dir.path()).unwrap();
    let losses = losses(dir.path());
    assert!(losses[11] < losses[0], "{losses:?}");
}

#[test]
fn a_run_with_a_bank_and_an_average_goes_on_to_the_bit() {
    let config = TrainConfig { ema_decay: 0.9, accumulate: 2, chunk_pairs: 20, ..TrainConfig::default() };
    let mut recipe = recipe(config);
    recipe.loss = LossConfig::Momentum(MomentumConfig { queue: 130, ..MomentumConfig::default() }).into();
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = run(&recipe, whole.path()).unwrap();
    let source = Arc::new(Clouds::default());
    Trainer::new(&recipe, source, Device::Cpu, broken.path(), &NoProgress).unwrap().run(5, &NoProgress).unwrap();
    let found = run(&recipe, broken.path()).unwrap();
    for name in ["head.momentum.bank", "head.momentum.ids", "head.momentum.position", "ema.trunk.out.weight"] {
        assert!(expected.contains_key(name), "{name}");
    }
    assert_eq!(largest_difference(&expected, &found), 0.0);
    assert_eq!(losses(whole.path()), losses(broken.path()));
    // Both batches of every step were put into the bank, both views of each: 12 steps of 192 keys.
    assert_eq!(found["head.momentum.position"].int64_value(&[]), 12 * 192 % 130);
    // Without an average there are no slow keys.
    recipe.train.ema_decay = 0.0;
    let error = run(&recipe, tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.starts_with("train.ema_decay must be above 0"), "{error}");
}
