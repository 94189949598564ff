//! Views from two instruments, each seen by its own encoder, in one space: reads and pictures.

use std::{f32::consts::TAU, path::Path, sync::Arc};

use invar_dataset::{DatasetError, NoProgress, Pair, PairSource, RunDir, SampleId, View, ViewShape, ViewSource, seed};
use invar_loss::{InfoNceConfig, LossConfig, MaskedTokenConfig};
use invar_nn::{
    EncoderConfig,
    encoder::{
        conv::ConvConfig,
        kmer_mlp::KmerMlpConfig,
        resnet::{NormKind, ResNetConfig, Size},
    },
};
use invar_train::{EmbedConfig, Error, Model, Steps, TrainConfig, TrainingJob, embed, metrics::Event, train};
use rand::Rng as _;
use tch::Device;

const SAMPLES: usize = 160;
const SIDE: usize = 16;
/// Of bases in reads, and of steps between stripes in pictures.
const CLASSES: usize = 8;

/// Specimens each of which was sequenced and photographed: the class of a specimen shows in the share of A in a read,
/// and in the direction of the stripes in a picture.
struct Specimens;

/// The specimens as one of the two instruments sees them.
struct Instrument(usize);

fn class(index: usize) -> usize {
    index % CLASSES
}

fn read(index: usize, rng: &mut seed::Rng) -> View {
    let share = (1 + class(index)) as u64 * 1_000 / (CLASSES as u64 + 2);
    let base = |rng: &mut seed::Rng| match rng.next_u64() % 1_000 < share {
        true => 0,
        false => 1 + (rng.next_u64() % 2) as i32,
    };
    View::tokens((0..96).map(|_| base(rng)).collect())
}

fn picture(index: usize, rng: &mut seed::Rng) -> View {
    let (sin, cos) = (class(index) as f32 / CLASSES as f32 * TAU / 2.0).sin_cos();
    let phase = (rng.next_u64() % 1_000) as f32 / 1_000.0 * TAU;
    let value = |at: usize| ((at % SIDE) as f32 * cos + (at / SIDE) as f32 * sin + phase).sin();
    View::Dense { shape: vec![1, SIDE, SIDE], data: (0..SIDE * SIDE).map(value).collect() }
}

fn shapes() -> Vec<ViewShape> {
    vec![ViewShape::Tokens { vocabulary: 5 }, ViewShape::Dense(vec![1, SIDE, SIDE])]
}

impl PairSource for Specimens {
    fn len(&self) -> usize {
        SAMPLES
    }
    fn view_shapes(&self) -> Vec<ViewShape> {
        shapes()
    }
    fn pair(&self, index: usize, seed: u64) -> Result<Pair, DatasetError> {
        let mut rng = seed::rng(seed, index as u64);
        Ok(Pair::of(SampleId(index as u64), [read(index, &mut rng), picture(index, &mut rng)]))
    }
    fn split_key(&self, index: usize) -> SampleId {
        SampleId(index as u64)
    }
}

impl ViewSource for Instrument {
    fn len(&self) -> usize {
        SAMPLES
    }
    fn view_shape(&self) -> ViewShape {
        shapes()[self.0].clone()
    }
    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
        let mut rng = seed::rng(99, index as u64);
        Ok(vec![if self.0 == 0 { read(index, &mut rng) } else { picture(index, &mut rng) }])
    }
    fn symmetries(&self) -> Vec<String> {
        vec![]
    }
    fn transformed(&self, index: usize, _: usize) -> Result<Vec<View>, DatasetError> {
        self.views(index)
    }
}

fn of_reads(dim: usize) -> EncoderConfig {
    EncoderConfig::Conv(ConvConfig { channels: 16, depth: 1, kernel: 3, stem_kernel: 5, stride: 2, dim, dropout: 0.0 })
}

fn of_pictures() -> EncoderConfig {
    let config = ResNetConfig { size: Size::Nano, norm: NormKind::Group, dim: 16, ..ResNetConfig::default() };
    EncoderConfig::Resnet(config)
}

fn recipe(encoders: Vec<EncoderConfig>, loss: LossConfig, steps: u64, chunk_pairs: usize, views: usize) -> TrainingJob {
    let train = TrainConfig {
        steps: Steps::Fixed(steps),
        batch_size: 32,
        views,
        chunk_pairs,
        learning_rate: 3e-3,
        warmup_steps: 2,
        log_every: 1,
        checkpoint_every: 5,
        validate_every: steps,
        validation_fraction: 0.2,
        threads: 1,
        ..TrainConfig::default()
    };
    TrainingJob { encoders, loss: loss.into(), train, features: Default::default(), data: Default::default() }
}

fn info_nce() -> LossConfig {
    LossConfig::InfoNce(InfoNceConfig::default())
}

fn both() -> Vec<EncoderConfig> {
    vec![of_reads(16), of_pictures()]
}

fn run(recipe: &TrainingJob, dir: &Path) -> Result<(), Error> {
    train(recipe, Arc::new(Specimens), Device::Cpu, dir, &NoProgress).map(|_| ())
}

fn losses(dir: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let of_step = |line: &str| match serde_json::from_str(line).unwrap() {
        Event::Step(metrics) => Some(metrics.loss),
        _ => None,
    };
    text.lines().filter_map(of_step).collect()
}

/// The embeddings of all samples from one of the towers.
fn embedded(path: &Path, tower: usize) -> Vec<Vec<f32>> {
    let model = Model::load(path, Device::Cpu).unwrap().with_tower(tower).unwrap();
    assert_eq!(format!("{:?}", model.view_shape()), format!("{:?}", shapes()[tower]));
    let mut rows = vec![];
    let mut sink = |_: std::ops::Range<usize>, values: &[f32]| {
        rows.extend(values.chunks(16).map(<[f32]>::to_vec));
        Ok(())
    };
    embed(&model, &Instrument(tower), 0..SAMPLES, &EmbedConfig::default(), &mut sink, &NoProgress).unwrap();
    rows
}

#[test]
fn a_read_finds_pictures_of_its_class() {
    let dir = tempfile::tempdir().unwrap();
    run(&recipe(both(), info_nce(), 120, 0, 2), dir.path()).unwrap();
    let model = RunDir::new(dir.path()).model();
    let [reads, pictures] = [0, 1].map(|tower| embedded(&model, tower));
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let nearest = |read: &[f32]| {
        let by_cosine = |&a: &usize, &b: &usize| cosine(read, &pictures[a]).total_cmp(&cosine(read, &pictures[b]));
        (0..SAMPLES).max_by(by_cosine).unwrap()
    };
    let hits = (0..SAMPLES).filter(|&index| class(nearest(&reads[index])) == class(index)).count();
    // An eighth by chance.
    assert!(hits * 3 > SAMPLES, "{hits} of {SAMPLES}");
    let error = Model::load(&model, Device::Cpu).unwrap().with_tower(2).err().unwrap().to_string();
    assert_eq!(error, "tower must be below the model's number of encoders, 2, got 2");
}

#[test]
fn chunks_and_a_resumed_run_train_as_one_run_does() {
    let [whole, chunked, resumed] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    run(&recipe(both(), info_nce(), 10, 0, 2), whole.path()).unwrap();
    run(&recipe(both(), info_nce(), 10, 9, 2), chunked.path()).unwrap();
    for (a, b) in losses(whole.path()).into_iter().zip(losses(chunked.path())) {
        assert!((a - b).abs() < 1e-3 * a, "{a} {b}");
    }
    let recipe = recipe(both(), info_nce(), 10, 0, 2);
    let mut trainer =
        invar_train::Trainer::new(&recipe, Arc::new(Specimens), Device::Cpu, resumed.path(), &NoProgress).unwrap();
    trainer.run(5, &NoProgress).unwrap();
    drop(trainer);
    run(&recipe, resumed.path()).unwrap();
    let model = |dir: &Path| std::fs::read(RunDir::new(dir).model()).unwrap();
    assert!(model(whole.path()) == model(resumed.path()), "the resumed run has other weights");
}

#[test]
fn more_views_than_towers_are_seen_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let multi = LossConfig::MultiPositive(Default::default());
    run(&recipe(both(), multi, 4, 0, 4), dir.path()).unwrap();
    assert_eq!(losses(dir.path()).len(), 4);
}

#[test]
fn towers_that_do_not_fit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |encoders, loss| run(&recipe(encoders, loss, 2, 0, 2), dir.path()).unwrap_err().to_string();
    let one = refused(vec![of_reads(16)], info_nce());
    assert_eq!(one, "1 encoders, but the pairs have views of 2 kinds: each kind needs an encoder of its own");
    let dims = refused(vec![of_reads(8), of_pictures()], info_nce());
    assert_eq!(dims, "encoder.dim must be that of tower 0, 8, in tower 1, got 16");
    let exchanged = refused(vec![of_pictures(), of_reads(16)], info_nce());
    assert!(exchanged.contains("resnet") && exchanged.contains("tokens"), "{exchanged}");
    // The tokens of the two are not the same.
    let profile = EncoderConfig::KmerMlp(KmerMlpConfig { hidden: vec![8], dim: 16, ..KmerMlpConfig::default() });
    let masked = refused(both(), LossConfig::MaskedToken(MaskedTokenConfig::default()));
    assert!(masked.contains("loss masked-token needs"), "{masked}");
    assert!(refused(vec![of_reads(16), profile], info_nce()).contains("kmer-mlp"));
}
