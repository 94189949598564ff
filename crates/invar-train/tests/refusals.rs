//! Failures of LibTorch and panics in the middle of training and embedding: an error, and a run that can continue.

mod synthetic;

use std::{collections::HashMap, path::Path, sync::Arc};

use invar_dataset::{DatasetError, NoProgress, Pair, PairSource, SampleId, View, ViewShape, ViewSource};
use invar_nn::{EncoderConfig, Views, encoder::kmer_mlp::KmerMlpConfig};
use invar_train::{
    ContrastiveStep, EmbedConfig, Error, Model, Place, Step, StepReport, Steps, TrainConfig, Trainer, TrainingJob,
    ValidationReport, embed, train,
};
use synthetic::Clouds;
use tch::{Device, Kind, Tensor};

fn recipe() -> TrainingJob {
    let encoder = KmerMlpConfig { hidden: vec![32], dim: 16, ..KmerMlpConfig::default() };
    let train = TrainConfig {
        steps: Steps::Fixed(12),
        batch_size: 32,
        warmup_steps: 2,
        validation_fraction: 0.0,
        checkpoint_every: 4,
        threads: 2,
        ..TrainConfig::default()
    };
    TrainingJob {
        encoders: vec![EncoderConfig::KmerMlp(encoder)],
        loss: Default::default(),
        train,
        features: Default::default(),
        data: "clouds".into(),
    }
}

fn digest(dir: &Path) -> String {
    train(&recipe(), Arc::new(Clouds::default()), Device::Cpu, dir, &NoProgress).unwrap().model_sha256
}

/// A step that asks for more memory than any machine has, in one of its batches.
struct Greedy {
    step: ContrastiveStep,
    batch: u64,
}

impl Step for Greedy {
    fn accumulate(&mut self, batch: u64, chunks: &[Views]) -> Result<(), Error> {
        self.step.accumulate(batch, chunks)?;
        if batch == self.batch {
            let _ = Tensor::empty([1 << 54], (Kind::Float, Device::Cpu));
        }
        Ok(())
    }
    fn update(&mut self, step: u64, learning_rate: f64) -> Result<StepReport, Error> {
        self.step.update(step, learning_rate)
    }
    fn validate(&self, batches: &[Vec<Views>], labels: Option<&[Option<u32>]>) -> Result<ValidationReport, Error> {
        self.step.validate(batches, labels)
    }
    fn tensors(&self) -> Vec<(String, Tensor)> {
        self.step.tensors()
    }
    fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<(), String> {
        self.step.load(tensors)
    }
    fn device(&self) -> Device {
        self.step.device()
    }
    fn dim(&self) -> usize {
        self.step.dim()
    }
    fn side_by_side(&self) -> usize {
        self.step.side_by_side()
    }
}

#[test]
fn memory_that_ends_in_training_is_told_with_the_remedy_and_the_run_goes_on() {
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (recipe, place) = (recipe(), Place::from(Device::Cpu));
    let source: Arc<dyn PairSource> = Arc::new(Clouds::default());
    let step = Greedy { step: ContrastiveStep::new(&recipe, &source.view_shapes(), &place).unwrap(), batch: 6 };
    let mut trainer = Trainer::with_step(&recipe, Box::new(step), source, &place, broken.path(), &NoProgress).unwrap();
    let error = trainer.run(12, &NoProgress).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }) && error.is_out_of_memory() && !error.is_bad_input());
    let text = error.to_string();
    assert!(text.starts_with("step 7: LibTorch: ") && text.lines().count() == 1, "{text}");
    assert!(text.contains("set train.chunk_pairs (0: all 32 pairs of a batch at a time)"), "{text}");
    assert!(text.contains("last good checkpoint: ") && text.contains("step-00000004.safetensors"), "{text}");
    drop(trainer);
    assert_eq!(digest(broken.path()), digest(whole.path()));
}

/// Panics when it draws one of its samples.
struct Broken(Clouds);

const WORDS: &str = "the drawer of sample 7 is broken";

impl PairSource for Broken {
    fn len(&self) -> usize {
        PairSource::len(&self.0)
    }
    fn view_shapes(&self) -> Vec<ViewShape> {
        self.0.view_shapes()
    }
    fn pair(&self, index: usize, seed: u64) -> Result<Pair, DatasetError> {
        assert!(index != 7, "{WORDS}");
        self.0.pair(index, seed)
    }
    fn split_key(&self, index: usize) -> SampleId {
        self.0.split_key(index)
    }
}

impl ViewSource for Broken {
    fn len(&self) -> usize {
        ViewSource::len(&self.0)
    }
    fn view_shape(&self) -> ViewShape {
        ViewSource::view_shape(&self.0)
    }
    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
        assert!(index != 7, "{WORDS}");
        self.0.views(index)
    }
    fn symmetries(&self) -> Vec<String> {
        vec![]
    }
    fn transformed(&self, index: usize, _: usize) -> Result<Vec<View>, DatasetError> {
        self.views(index)
    }
}

#[test]
fn the_words_of_a_worker_that_panics_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let broken = || Broken(Clouds::default());
    let told = |error: &Error| {
        let text = error.to_string();
        assert!(text.contains(WORDS) && text.contains("refusals.rs:"), "{text}");
    };
    told(&train(&recipe(), Arc::new(broken()), Device::Cpu, dir.path(), &NoProgress).unwrap_err());
    let whole = tempfile::tempdir().unwrap();
    digest(whole.path());
    let model = Model::load(&whole.path().join("model.safetensors"), Device::Cpu).unwrap();
    let config = EmbedConfig { block_samples: 4, ..EmbedConfig::default() };
    let mut stored = 0;
    let mut sink = |_: std::ops::Range<usize>, rows: &[f32]| {
        stored += rows.len() / 16;
        Ok(())
    };
    told(&embed(&model, &broken(), 0..40, &config, &mut sink, &NoProgress).unwrap_err());
    // What came before it is stored.
    assert_eq!(stored, 4);
}
