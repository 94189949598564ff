//! Training and embedding on a GPU. Run with `--features cuda-tests` where there is one.
#![cfg(feature = "cuda-tests")]

mod synthetic;

use std::{collections::HashMap, path::Path, sync::Arc};

use invar_dataset::{NoProgress, RunDir};
use invar_nn::{EncoderConfig, encoder::kmer_mlp::KmerMlpConfig};
use invar_train::{
    EmbedConfig, Model, Steps, TrainConfig, Trainer, TrainingJob, checkpoint, embed, quality::cosine_gap,
};
use synthetic::Clouds;
use tch::{Device, Tensor};

const GPU: Device = Device::Cuda(0);

fn recipe() -> TrainingJob {
    let encoder = KmerMlpConfig { hidden: vec![32], dim: 16, dropout: 0.3, ..KmerMlpConfig::default() };
    let train = TrainConfig { steps: Steps::Fixed(40), batch_size: 32, checkpoint_every: 10, ..TrainConfig::default() };
    TrainingJob {
        encoders: vec![EncoderConfig::KmerMlp(encoder)],
        loss: Default::default(),
        train,
        features: Default::default(),
        data: Default::default(),
    }
}

fn run_to(dir: &Path, device: Device, until: u64) -> (Trainer, HashMap<String, Tensor>) {
    let mut trainer = Trainer::new(&recipe(), Arc::new(Clouds::default()), device, dir, &NoProgress).unwrap();
    trainer.run(until, &NoProgress).unwrap();
    let (_, path) = RunDir::new(dir).list_checkpoints().unwrap().remove(0);
    let (tensors, _): (_, serde_json::Value) = checkpoint::read(&path).unwrap();
    (trainer, tensors)
}

/// One test, because the random generators belong to the process.
#[test]
fn a_gpu_resumes_to_the_bit_and_a_cpu_agrees_with_its_model() {
    // SAFETY: this is the only thread of the test program that does anything; the other waits for it.
    unsafe { invar_torch::set_environment() };
    assert_eq!(invar_nn::device::why_not_cuda(0), None);
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (trainer, expected) = run_to(whole.path(), GPU, 40);
    run_to(broken.path(), GPU, 13);
    tch::Cuda::manual_seed_all(999);
    let (_, found) = run_to(broken.path(), GPU, 40);
    for (name, tensor) in &expected {
        assert!(found[name] == *tensor, "{name}");
    }
    let model = trainer.finish().unwrap().model;
    let rows = [GPU, Device::Cpu].map(|device| {
        let model = Model::load(&model, device).unwrap();
        let mut all = vec![];
        let mut sink = |_: std::ops::Range<usize>, rows: &[f32]| {
            all.extend_from_slice(rows);
            Ok(())
        };
        embed(&model, &Clouds::default(), 0..500, &EmbedConfig::default(), &mut sink, &NoProgress).unwrap();
        all
    });
    let gaps = rows[0].chunks_exact(16).zip(rows[1].chunks_exact(16)).map(|(a, b)| cosine_gap(a, b));
    assert!(gaps.fold(0.0, f64::max) < 1e-5);
}
