//! Trainers whose weights and memory banks are taken out, mixed, and put in again.

mod synthetic;

use std::{collections::HashMap, path::Path, sync::Arc};

use invar_dataset::{NoProgress, RunDir};
use invar_loss::{ADDED_LATER, LossConfig, MemoryBank, MomentumConfig};
use invar_nn::{EncoderConfig, encoder::kmer_mlp::KmerMlpConfig};
use invar_train::{
    Error, Steps, TrainConfig, Trainer, TrainingJob,
    checkpoint::{self, Checkpoints},
};
use synthetic::Clouds;
use tch::{Device, Tensor};

type Tensors = HashMap<String, Tensor>;

fn recipe(seed: u64) -> TrainingJob {
    let encoder = KmerMlpConfig { hidden: vec![32], dim: 16, ..KmerMlpConfig::default() };
    let train = TrainConfig {
        steps: Steps::Fixed(40),
        batch_size: 16,
        learning_rate: 3e-3,
        warmup_steps: 5,
        ema_decay: 0.9,
        validation_fraction: 0.2,
        checkpoint_every: 10,
        threads: 1,
        seed,
        ..TrainConfig::default()
    };
    TrainingJob {
        encoders: vec![EncoderConfig::KmerMlp(encoder)],
        loss: LossConfig::Momentum(MomentumConfig { queue: 100, ..MomentumConfig::default() }).into(),
        train,
        features: Default::default(),
        data: "clouds".into(),
    }
}

fn trainer(seed: u64, dir: &Path) -> Trainer {
    Trainer::new(&recipe(seed), Arc::new(Clouds::default()), Device::Cpu, dir, &NoProgress).unwrap()
}

fn is_weight(name: &str) -> bool {
    ["trunk.", "ema."].iter().any(|beginning| name.starts_with(beginning))
}

fn assert_same(found: &Tensors, expected: &Tensors) {
    assert_eq!(found.len(), expected.len());
    for (name, tensor) in expected {
        assert_eq!(&found[name], tensor, "{name}");
    }
}

fn newest(dir: &Path) -> (std::path::PathBuf, Tensors, serde_json::Value) {
    let (_, path) = RunDir::new(dir).list_checkpoints().unwrap().remove(0);
    let (tensors, state) = checkpoint::read(&path).unwrap();
    (path, tensors, state)
}

#[test]
fn what_is_taken_out_is_all_that_training_goes_on_from() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [mut one, mut two] = dirs.each_ref().map(|dir| trainer(5, dir.path()));
    one.run(15, &NoProgress).unwrap();
    two.run(15, &NoProgress).unwrap();
    let taken = one.tensors();
    one.run(30, &NoProgress).unwrap();
    // Everything in the other is overwritten, then restored.
    let zeros: Tensors = taken.iter().map(|(name, tensor)| (name.clone(), tensor.zeros_like())).collect();
    two.load(&zeros).unwrap();
    assert_same(&two.tensors(), &zeros);
    two.load(&taken).unwrap();
    two.run(30, &NoProgress).unwrap();
    assert_same(&two.tensors(), &one.tensors());
}

#[test]
fn two_clients_average_their_weights_and_share_their_keys() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut clients: Vec<Trainer> = [5, 6].iter().zip(&dirs).map(|(&seed, dir)| trainer(seed, dir.path())).collect();
    for (client, origin) in clients.iter_mut().zip(1..) {
        client.bank().unwrap().set_origin(origin);
    }
    for round in 1..=3 {
        clients.iter_mut().for_each(|client| client.run(round * 10, &NoProgress).unwrap());
        let taken: Vec<Tensors> = clients.iter().map(Trainer::tensors).collect();
        let apart = |name: &str| (&taken[0][name] - &taken[1][name]).abs().max().double_value(&[]);
        assert!(taken[0].keys().filter(|name| is_weight(name)).any(|name| apart(name) > 1e-3), "round {round}");
        for (client, own) in clients.iter_mut().zip(&taken) {
            let mixed: Tensors = own
                .iter()
                .map(|(name, tensor)| match is_weight(name) {
                    true => (name.clone(), (&taken[0][name] + &taken[1][name]) / 2.0),
                    false => (name.clone(), tensor.shallow_clone()),
                })
                .collect();
            client.load(&mixed).unwrap();
            assert_same(&client.tensors(), &mixed);
        }
        let sent: Vec<Tensors> = clients.iter_mut().map(|client| client.bank().unwrap().export().unwrap()).collect();
        for (client, received) in clients.iter_mut().zip(sent.iter().rev()) {
            let bank = client.bank().unwrap();
            bank.merge(&MemoryBank::import(received).unwrap()).unwrap();
            let origins = bank.origins().unwrap();
            assert_eq!(origins.len(), 100);
            assert!([1, 2].iter().all(|origin| origins.iter().filter(|&o| o == origin).count() >= 20), "{origins:?}");
            assert_eq!(bank.steps().unwrap().last(), Some(&(round * 10)));
        }
        let [mut one, mut two] = [0, 1].map(|client: usize| clients[client].bank().unwrap().export().unwrap());
        assert_ne!(one.remove("origin"), two.remove("origin"));
        assert_same(&one, &two);
    }
    // They continue from the average, each in its own way, and what a kill leaves behind is read with the keys of both.
    clients.iter_mut().for_each(|client| client.run(40, &NoProgress).unwrap());
    drop(clients);
    let mut resumed = trainer(5, dirs[0].path());
    assert_eq!(resumed.steps_done(), 40);
    let bank = resumed.bank().unwrap();
    assert_eq!(bank.origin().unwrap(), 1);
    assert!(bank.origins().unwrap().contains(&1));
}

#[test]
fn tensors_of_another_network_are_refused_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = trainer(5, dir.path());
    trainer.run(3, &NoProgress).unwrap();
    let before = trainer.tensors();
    let last = before.keys().filter(|name| name.starts_with("trunk.")).max().unwrap().clone();
    let mut wrong: Tensors = before.iter().map(|(name, tensor)| (name.clone(), tensor.zeros_like())).collect();
    wrong.insert(last.clone(), Tensor::zeros([3, 3], (tch::Kind::Float, Device::Cpu)));
    let error = trainer.load(&wrong).unwrap_err();
    assert!(matches!(error, Error::Tensors { .. }));
    let expected = format!("these are not tensors of this trainer: tensor {last} is Float [3, 3], not Float ");
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_same(&trainer.tensors(), &before);
    wrong.remove(&last);
    let error = trainer.load(&wrong).unwrap_err().to_string();
    assert_eq!(error, format!("these are not tensors of this trainer: tensor {last} is missing"));
    assert_same(&trainer.tensors(), &before);
}

#[test]
fn a_checkpoint_from_before_origins_and_steps_is_resumed() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [mut whole, mut old] = dirs.each_ref().map(|dir| trainer(5, dir.path()));
    whole.run(20, &NoProgress).unwrap();
    old.run(10, &NoProgress).unwrap();
    drop(old);
    let (path, mut tensors, state) = newest(dirs[1].path());
    for name in ADDED_LATER {
        assert!(tensors.remove(&format!("head.{name}")).is_some(), "{name}");
    }
    std::fs::remove_file(path).unwrap();
    let tensors: Vec<(String, Tensor)> = tensors.into_iter().collect();
    Checkpoints::of(&RunDir::new(dirs[1].path()), 2).save(10, 0, &tensors, &state).unwrap();
    let mut resumed = trainer(5, dirs[1].path());
    assert_eq!(resumed.steps_done(), 10);
    resumed.run(20, &NoProgress).unwrap();
    let mut expected = whole.tensors();
    let mut found = resumed.tensors();
    let [was, is] = [&mut expected, &mut found].map(|tensors| tensors.remove("head.momentum.steps").unwrap());
    assert_same(&found, &expected);
    // 32 keys were added per step, so none of the 100 is from before.
    assert_eq!(was, is);
}
