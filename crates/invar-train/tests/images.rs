//! Whole training runs on images, through a network with running means: what differs from a run on vectors.

use std::{collections::BTreeMap, collections::HashMap, path::Path, sync::Arc};

use invar_dataset::{DatasetError, NoProgress, Pair, PairSource, RunDir, SampleId, View, ViewShape, ViewSource, seed};
use invar_loss::{InfoNceConfig, LossConfig};
use invar_nn::{
    Batch, EncoderConfig, Mode,
    encoder::resnet::{NormKind, ResNetConfig, Size},
};
use invar_train::{EmbedConfig, Model, Moves, Steps, TrainConfig, Trainer, TrainingJob, checkpoint, embed, orbits};
use rand::Rng as _;
use tch::{Device, Kind, Tensor, nn};

const SIDE: usize = 12;

/// Stripes whose width and slope depend on the sample, with noise and a position that depend on the view.
struct Stripes;

impl Stripes {
    fn image(index: usize, view_seed: u64) -> View {
        let (mut own, mut noisy) = (seed::rng(3, index as u64), seed::rng(view_seed, index as u64));
        let mut uniform = |own_one: bool| {
            let rng = if own_one { &mut own } else { &mut noisy };
            (rng.next_u64() >> 40) as f32 / (1u64 << 24) as f32
        };
        let (along, across, phase) = (2.0 * uniform(true), 2.0 * uniform(true), 6.0 * uniform(false));
        let value = |i: usize| (along * (i / SIDE) as f32 + across * (i % SIDE) as f32 + phase).sin();
        let data = (0..SIDE * SIDE).map(|i| 0.5 + 0.4 * value(i) + 0.1 * uniform(false)).collect();
        View::Dense { shape: vec![1, SIDE, SIDE], data }
    }
}

impl PairSource for Stripes {
    fn len(&self) -> usize {
        120
    }
    fn view_shapes(&self) -> Vec<ViewShape> {
        vec![ViewShape::Dense(vec![1, SIDE, SIDE])]
    }
    fn pair(&self, index: usize, pair_seed: u64) -> Result<Pair, DatasetError> {
        let views = [1, 2].map(|view| Self::image(index, seed::mix(pair_seed, view))).to_vec();
        Ok(Pair::of(SampleId(index as u64), views))
    }
    fn split_key(&self, index: usize) -> SampleId {
        SampleId(index as u64)
    }
}

impl ViewSource for Stripes {
    fn len(&self) -> usize {
        120
    }
    fn view_shape(&self) -> ViewShape {
        ViewShape::Dense(vec![1, SIDE, SIDE])
    }
    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
        Ok(vec![Self::image(index, 0), Self::image(index, 1)])
    }
    fn symmetries(&self) -> Vec<String> {
        vec!["turned by 180 degrees".into()]
    }
    fn transformed(&self, index: usize, _: usize) -> Result<Vec<View>, DatasetError> {
        let mut views = self.views(index)?;
        for view in &mut views {
            let View::Dense { data, .. } = view else { unreachable!("all views are dense") };
            data.reverse();
        }
        Ok(views)
    }
}

/// The same, with views that do not depend on the seed.
struct Still;

impl Still {
    fn views(index: usize) -> [View; 2] {
        [1, 2].map(|seed| Stripes::image(index, seed))
    }
}

impl PairSource for Still {
    fn len(&self) -> usize {
        PairSource::len(&Stripes)
    }
    fn view_shapes(&self) -> Vec<ViewShape> {
        Stripes.view_shapes()
    }
    fn pair(&self, index: usize, _: u64) -> Result<Pair, DatasetError> {
        Ok(Pair::of(SampleId(index as u64), Self::views(index)))
    }
    fn split_key(&self, index: usize) -> SampleId {
        SampleId(index as u64)
    }
}

fn recipe() -> TrainingJob {
    let encoder = ResNetConfig { size: Size::Nano, dim: 16, norm: NormKind::Batch, ..ResNetConfig::default() };
    let loss = InfoNceConfig { projection: vec![16, 8], ..InfoNceConfig::default() };
    let train = TrainConfig {
        steps: Steps::Fixed(16),
        batch_size: 16,
        warmup_steps: 2,
        validation_fraction: 0.2,
        validate_every: 16,
        checkpoint_every: 4,
        threads: 1,
        ..TrainConfig::default()
    };
    TrainingJob {
        encoders: vec![EncoderConfig::ResnetC4(encoder)],
        loss: LossConfig::InfoNce(loss).into(),
        train,
        features: Default::default(),
        data: "stripes".into(),
    }
}

fn run_to(dir: &Path, until: u64) -> Trainer {
    let mut trainer = Trainer::new(&recipe(), Arc::new(Stripes), Device::Cpu, dir, &NoProgress).unwrap();
    trainer.run(until, &NoProgress).unwrap();
    trainer
}

fn newest(dir: &Path) -> BTreeMap<String, Tensor> {
    let (_, path) = RunDir::new(dir).list_checkpoints().unwrap().remove(0);
    let (tensors, _): (HashMap<String, Tensor>, serde_json::Value) = checkpoint::read(&path).unwrap();
    tensors.into_iter().collect()
}

/// The optimizer receives the gradient that autograd puts into each weight, in the weight's own memory layout.
#[test]
fn the_first_step_goes_along_the_gradient_of_the_loss() {
    let encoder = ResNetConfig { size: Size::Nano, dim: 16, ..ResNetConfig::default() };
    let loss = InfoNceConfig { temperature: 0.5, ..InfoNceConfig::default() };
    let num_pairs = PairSource::len(&Still);
    let train = TrainConfig {
        steps: Steps::Fixed(1),
        batch_size: num_pairs,
        // The weights stay where they were.
        learning_rate: 1e-12,
        warmup_steps: 0,
        grad_clip: 0.0,
        validation_fraction: 0.0,
        threads: 1,
        ..TrainConfig::default()
    };
    let beta = train.betas[0];
    let recipe = TrainingJob {
        encoders: vec![EncoderConfig::Resnet(encoder)],
        loss: LossConfig::InfoNce(loss).into(),
        train,
        features: Default::default(),
        data: Default::default(),
    };
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = Trainer::new(&recipe, Arc::new(Still), Device::Cpu, dir.path(), &NoProgress).unwrap();
    trainer.run(1, &NoProgress).unwrap();
    trainer.finish().unwrap();
    let stored = newest(dir.path());

    let store = nn::VarStore::new(Device::Cpu);
    let network = recipe.encoders[0].init(&(store.root() / "trunk"), &Still.view_shapes()[0]).unwrap();
    for (name, mut weight) in store.variables() {
        tch::no_grad(|| weight.copy_(&stored[&name]));
    }
    let views: Vec<[View; 2]> = (0..num_pairs).map(Still::views).collect();
    let stacked: Vec<&View> = [0, 1].iter().flat_map(|&v| views.iter().map(move |pair| &pair[v])).collect();
    let embeddings = network.encode(&Batch::collate(&stacked).unwrap(), Mode::TRAIN).unwrap().embedding;
    let [first, second] = [0, 1].map(|v| embeddings.narrow(0, v * num_pairs as i64, num_pairs as i64));
    let scores = first.matmul(&second.tr()) / 0.5;
    let same = Tensor::arange(num_pairs as i64, (Kind::Int64, Device::Cpu));
    (scores.cross_entropy_for_logits(&same) + scores.tr().cross_entropy_for_logits(&same)).backward();
    let mut kernels = 0;
    for (name, weight) in store.variables().iter().filter(|(_, weight)| weight.requires_grad()) {
        let expected = weight.grad() / 2.0;
        // The first running mean is the gradient times 1 - beta.
        let found = &stored[&format!("optimizer.exp_avg.{name}")] / (1.0 - beta);
        let error = ((&found - &expected).norm() / expected.norm()).double_value(&[]);
        // Norms remove the mean of the gradients, which leaves three digits of f32 at worst, depending on the
        // processor's products.
        assert!(error < 1e-2, "{name}: {error}");
        kernels += usize::from(name.ends_with("kernel"));
    }
    assert!(kernels > 8);
}

#[test]
fn running_means_are_kept_and_not_optimised() {
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run_to(whole.path(), 16);
    run_to(broken.path(), 7);
    run_to(broken.path(), 16);
    let (expected, found) = (newest(whole.path()), newest(broken.path()));
    assert!(expected.keys().eq(found.keys()));
    for (name, tensor) in &expected {
        assert!(*tensor == found[name], "{name}");
    }
    let running = "trunk.stage3.block0.second.norm.running_var";
    assert!(expected[running] != expected[running].ones_like(), "the running variance has moved");
    assert!(!expected.keys().any(|name| name.starts_with("optimizer.") && name.contains("running_")));
    assert!(expected.contains_key("head.info_nce.projection1.bias"));
}

#[test]
fn a_model_embeds_the_same_in_small_batches_and_blind_to_half_turns() {
    let dir = tempfile::tempdir().unwrap();
    let summary = run_to(dir.path(), 16).finish().unwrap();
    let model = Model::load(&summary.model, Device::Cpu).unwrap();
    assert_eq!(model.dim(), 16);
    let collect = |config: EmbedConfig| {
        let mut all: Vec<f32> = vec![];
        let mut sink = |_: std::ops::Range<usize>, rows: &[f32]| {
            all.extend_from_slice(rows);
            Ok(())
        };
        embed(&model, &Stripes, 0..120, &config, &mut sink, &NoProgress).unwrap();
        all
    };
    let whole = collect(EmbedConfig::default());
    assert_eq!(whole.len(), 120 * 16);
    // One view per batch, three views per batch, and a bound below one view.
    for batch_values in [SIDE * SIDE, 3 * SIDE * SIDE + 1, 1] {
        let small = collect(EmbedConfig { batch_values, ..EmbedConfig::default() });
        let largest = whole.iter().zip(&small).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest < 1e-5, "{batch_values} values a batch: {largest}");
    }
    let indices: Vec<usize> = (0..120).collect();
    let orbits = orbits(&model, &Stripes, &indices, Moves::All, &EmbedConfig::default(), &NoProgress).unwrap();
    let report = orbits.invariance();
    assert!(report.symmetries[0].max < 1e-7, "{report:?}");
}
