//! A single test in a file of its own, because it needs LibTorch's generator, of which a process has only one.

mod synthetic;

use std::{collections::HashMap, path::Path, sync::Arc};

use invar_dataset::{NoProgress, RunDir};
use invar_loss::{InfoNceConfig, LossConfig};
use invar_nn::{EncoderConfig, encoder::kmer_mlp::KmerMlpConfig};
use invar_train::{Steps, TrainConfig, Trainer, TrainingJob, checkpoint};
use synthetic::Clouds;
use tch::{Device, Tensor};

fn recipe() -> TrainingJob {
    let encoder = KmerMlpConfig { hidden: vec![32], dim: 16, dropout: 0.3, ..KmerMlpConfig::default() };
    let loss = InfoNceConfig { learn_temperature: true, projection: vec![16, 8], ..InfoNceConfig::default() };
    let train = TrainConfig { steps: Steps::Fixed(40), batch_size: 32, checkpoint_every: 10, ..TrainConfig::default() };
    TrainingJob {
        encoders: vec![EncoderConfig::KmerMlp(encoder)],
        loss: LossConfig::InfoNce(loss).into(),
        train,
        features: Default::default(),
        data: Default::default(),
    }
}

fn run_to(dir: &Path, until: u64) -> HashMap<String, Tensor> {
    let source = Arc::new(Clouds::default());
    let mut trainer = Trainer::new(&recipe(), source, Device::Cpu, dir, &NoProgress).unwrap();
    trainer.run(until, &NoProgress).unwrap();
    let (_, path) = RunDir::new(dir).list_checkpoints().unwrap().remove(0);
    let (tensors, _): (_, serde_json::Value) = checkpoint::read(&path).unwrap();
    tensors
}

#[test]
fn dropout_goes_on_where_it_stopped() {
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = run_to(whole.path(), 40);
    run_to(broken.path(), 13);
    // Something else draws from the generator between the two runs.
    tch::manual_seed(999);
    let found = run_to(broken.path(), 40);
    assert_eq!(found.len(), expected.len());
    for name in ["trunk.out.weight", "head.info_nce.logit_scale", "head.info_nce.projection1.bias"] {
        assert!(expected.contains_key(name), "{name}");
    }
    for (name, tensor) in &expected {
        assert!(found[name] == *tensor, "{name}");
    }
}
