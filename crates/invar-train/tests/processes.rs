//! Several processes train as one: this test binary starts itself again, once per process, and they communicate over
//! Gloo.

mod synthetic;

use std::{
    env,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use invar_dataset::{NoProgress, RunDir};
use invar_loss::{
    DenseInfoNceConfig, InfoNceConfig, LossConfig, LossTables, MaskedTokenConfig, MomentumConfig, MultiPositiveConfig,
    WeightedLoss,
};
use invar_nn::{
    EncoderConfig,
    encoder::{conv::ConvConfig, kmer_mlp::KmerMlpConfig},
};
use invar_torch::{Backend, ProcessGroup, Rendezvous};
use invar_train::{
    Error, HarmonyConfig, HarmonyMethod, Place, Steps, TrainConfig, Trainer, TrainingJob, metrics::Event,
};
use synthetic::Clouds;
use tch::Device;

/// Set where processes of one machine should communicate through sockets anyway.
const SOCKETS: &str = "INVAR_TEST_SOCKETS";
const RUN_DIR: &str = "INVAR_TEST_RUN_DIR";
const UNTIL: &str = "INVAR_TEST_UNTIL";
const LOSS: &str = "INVAR_TEST_LOSS";

/// Losses on the two cores: with a bank, with more than two views, two at once, and of single positions.
const LOSSES: [&str; 6] = ["info-nce", "momentum", "multi-positive", "two", POSITIONS, TOWERS];
const POSITIONS: &str = "single positions";
/// InfoNCE between views of two kinds, with one encoder for each.
const TOWERS: &str = "towers";

fn recipe(loss: &str) -> TrainingJob {
    let encoder = KmerMlpConfig { hidden: vec![32], dim: 16, ..KmerMlpConfig::default() };
    let conv = ConvConfig { channels: 8, depth: 1, kernel: 3, stem_kernel: 3, stride: 2, dim: 16, dropout: 0.0 };
    let name = loss;
    let (learn_temperature, projection) = (true, vec![16, 8]);
    let (loss, views) = match loss {
        "info-nce" | TOWERS => {
            let config = InfoNceConfig { learn_temperature, projection, ..InfoNceConfig::default() };
            (LossConfig::InfoNce(config).into(), 2)
        }
        POSITIONS => {
            let losses = [
                LossConfig::InfoNce(InfoNceConfig { learn_temperature, projection, ..InfoNceConfig::default() }),
                LossConfig::MaskedToken(MaskedTokenConfig::default()),
                LossConfig::DenseInfoNce(DenseInfoNceConfig::default()),
            ];
            (LossTables { losses: losses.map(|loss| WeightedLoss { weight: 0.5, loss }).to_vec() }, 2)
        }
        "two" => {
            let first =
                LossConfig::InfoNce(InfoNceConfig { learn_temperature, projection, ..InfoNceConfig::default() });
            let second = LossConfig::Momentum(MomentumConfig { queue: 250, ..MomentumConfig::default() });
            let weighed = |weight, loss| WeightedLoss { weight, loss };
            (LossTables { losses: vec![weighed(1.0, first), weighed(0.5, second)] }, 2)
        }
        "momentum" => {
            let config = MomentumConfig { learn_temperature, projection, queue: 250, ..MomentumConfig::default() };
            (LossConfig::Momentum(config).into(), 2)
        }
        _ => {
            let config = MultiPositiveConfig { learn_temperature, projection, ..MultiPositiveConfig::default() };
            (LossConfig::MultiPositive(config).into(), 3)
        }
    };
    let encoders = match name {
        POSITIONS => vec![EncoderConfig::Conv(conv)],
        TOWERS => vec![EncoderConfig::KmerMlp(encoder), EncoderConfig::Conv(conv)],
        _ => vec![EncoderConfig::KmerMlp(encoder)],
    };
    let train = TrainConfig {
        views,
        steps: Steps::Fixed(30),
        batch_size: 48,
        accumulate: 2,
        chunk_pairs: 10,
        ema_decay: 0.9,
        validation_fraction: 0.2,
        validate_every: 10,
        checkpoint_every: 10,
        log_every: 1,
        threads: 1,
        ..TrainConfig::default()
    };
    let method = if name == POSITIONS { HarmonyMethod::PcGrad } else { HarmonyMethod::Sum };
    let harmony = HarmonyConfig { method, ..HarmonyConfig::default() };
    let train = TrainConfig { harmony, ..train };
    TrainingJob { encoders, loss, train, features: Default::default(), data: Default::default() }
}

fn train(loss: &str, place: Place, dir: &Path, until: u64) -> Result<(), Error> {
    // Some of the rows of one process are related to rows of another process, or are in a group with them.
    let (as_tokens, says, of_two_kinds) = (loss == POSITIONS, loss == "multi-positive", loss == TOWERS);
    let source = Clouds { in_twos: true, has_groups: true, says, as_tokens, of_two_kinds, ..Clouds::default() };
    let mut trainer = Trainer::new(&recipe(loss), Arc::new(source), place, dir, &NoProgress)?;
    trainer.run(until, &NoProgress)?;
    trainer.finish().map(|_| ())
}

/// What a started process does; nothing in the test run that starts them.
#[test]
fn member() {
    let (Ok(dir), Ok(until), Ok(loss)) = (env::var(RUN_DIR), env::var(UNTIL), env::var(LOSS)) else { return };
    let rendezvous = Rendezvous::from_env().unwrap().unwrap();
    let backend = if env::var(SOCKETS).is_ok() { Backend::Gloo } else { Backend::Host };
    let group = ProcessGroup::connect(backend, &rendezvous, Duration::from_secs(120)).unwrap();
    let place = Place { device: Device::Cpu, group: Rc::new(group) };
    train(&loss, place, Path::new(&dir), until.parse().unwrap()).unwrap();
}

/// Trains in `size` processes, which communicate by `backend`, until step `until`.
fn train_in(backend: Backend, size: usize, loss: &str, dir: &Path, until: u64) {
    if size == 1 {
        return train(loss, Device::Cpu.into(), dir, until).unwrap();
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = |rank: usize| {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "member", "--nocapture"])
            .envs((backend == Backend::Gloo).then_some((SOCKETS, "")))
            .env(RUN_DIR, dir)
            .env(UNTIL, until.to_string())
            .env(LOSS, loss)
            .env("RANK", rank.to_string())
            .env("WORLD_SIZE", size.to_string())
            .env("LOCAL_RANK", rank.to_string())
            .env("MASTER_ADDR", "127.0.0.1")
            .env("MASTER_PORT", port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let members: Vec<Child> = (0..size).map(start).collect();
    for (rank, member) in members.into_iter().enumerate() {
        let output = member.wait_with_output().unwrap();
        assert!(output.status.success(), "process {rank}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Losses, gradient norms and the loss's own figures of the steps, and the losses of the validations.
fn curve(dir: &Path) -> Vec<(String, f64)> {
    let text = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let figures = |line: &str| match serde_json::from_str(line).unwrap() {
        Event::Step(step) => {
            let own =
                [("loss", step.loss), ("grad_norm", step.grad_norm)].map(|(name, value)| (name.to_owned(), value));
            own.into_iter().chain(step.metrics).collect()
        }
        Event::Validation(validation) => {
            [("validation_loss", validation.validation_loss), ("retrieval_accuracy", validation.held_out.retrieval)]
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec()
        }
        Event::Warning { .. } => vec![],
    };
    text.lines().flat_map(figures).collect()
}

fn assert_alike(expected: &[(String, f64)], found: &[(String, f64)], what: &str) {
    assert_eq!(expected.len(), found.len(), "{what}");
    for (at, ((name, a), (_, b))) in expected.iter().zip(found).enumerate() {
        // Where two are equally near, rounding decides which is nearest: a few hits in a thousand.
        let bound = if name.ends_with("accuracy") { 5e-3 } else { 1e-5 * a.abs().max(1.0) };
        assert!((a - b).abs() <= bound, "{what}: figure {at}, {name}: {a} {b}");
    }
}

#[test]
fn one_two_and_three_processes_have_the_same_curve() {
    for loss in LOSSES {
        let one = tempfile::tempdir().unwrap();
        train_in(Backend::Host, 1, loss, one.path(), 30);
        let expected = curve(one.path());
        assert!(expected.len() > 30 * 5);
        for (backend, size) in [(Backend::Gloo, 2), (Backend::Gloo, 3), (Backend::Host, 2)] {
            let many = tempfile::tempdir().unwrap();
            train_in(backend, size, loss, many.path(), 30);
            assert_alike(&expected, &curve(many.path()), &format!("{loss}, {size} processes, {backend:?}"));
        }
    }
}

#[test]
fn a_run_goes_on_in_another_number_of_processes() {
    for loss in LOSSES {
        let (one, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        train_in(Backend::Host, 1, loss, one.path(), 30);
        for (size, until) in [(2, 12), (1, 20), (3, 30)] {
            train_in(Backend::Host, size, loss, many.path(), until);
            let (step, _) = RunDir::new(many.path()).list_checkpoints().unwrap().remove(0);
            assert_eq!(step, until);
        }
        assert_alike(&curve(one.path()), &curve(many.path()), &format!("{loss}, 2, 1, 3 processes"));
    }
}
