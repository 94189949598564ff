//! A custom step, built from public parts: an encoder learns by contrast, and learns to hide from a critic what the
//! critic learns to predict (Ganin et al., *Domain-adversarial training of neural networks*, 2016). Two networks, two
//! optimizers.

mod synthetic;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    rc::Rc,
    sync::{Arc, Mutex},
};

use invar_dataset::{NoProgress, PairSource, Progress, seed::Stream};
use invar_loss::Context;
use invar_nn::{Batch, EncoderConfig, Mode, Relations, Views, encoder::kmer_mlp::KmerMlpConfig};
use invar_torch::ProcessGroup;
use invar_train::{
    Error, Model, Observer, Place, Step, StepMetrics, StepReport, Steps, TrainConfig, Trainer, TrainingJob,
    ValidationReport,
    parts::{Ema, Gradients, Network, Optimizer, copy_named, gradients_of, seeded},
};
use serde_json::{Value, json};
use synthetic::Clouds;
use tch::{Device, Kind, Tensor, nn};

/// Predicts from an embedding whether the first feature of its view is positive.
struct Critic {
    store: nn::VarStore,
    hidden: nn::Linear,
    out: nn::Linear,
}

impl Critic {
    fn new(dim: i64, weight_seed: u64) -> Self {
        seeded(weight_seed, || {
            let store = nn::VarStore::new(Device::Cpu);
            let layer = |name, from, to| nn::linear(store.root() / "critic" / name, from, to, Default::default());
            let (hidden, out) = (layer("hidden", dim, 32), layer("out", 32, 1));
            Self { store, hidden, out }
        })
    }

    fn named(&self) -> Vec<(String, Tensor)> {
        let mut named: Vec<_> = self.store.variables().into_iter().collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        named
    }

    /// Its loss: ln 2 by chance.
    fn loss(&self, embeddings: &Tensor, answers: &Tensor) -> Tensor {
        let logits = embeddings.apply(&self.hidden).relu().apply(&self.out).squeeze_dim(-1);
        logits.binary_cross_entropy_with_logits(answers, None::<Tensor>, None::<Tensor>, tch::Reduction::Mean)
    }
}

struct Adversarial {
    network: Network,
    ema: Ema,
    critic: Critic,
    /// Of the network, then of the critic.
    optimizers: [Optimizer; 2],
    gradients: [Gradients; 2],
    /// Weight of the critic relative to the contrast.
    weight: f64,
    group: Rc<ProcessGroup>,
    /// Contrast and critic loss of each batch since the last update.
    losses: Vec<[f64; 2]>,
}

impl Adversarial {
    fn new(recipe: &TrainingJob, weight: f64, source: &dyn PairSource, place: &Place) -> Result<Self, Error> {
        let (config, shapes) = (&recipe.train, source.view_shapes());
        let network = Network::new(recipe, &shapes, Stream::Weights.seed(config.seed), place.device)?;
        let critic = Critic::new(network.towers.dim() as i64, config.seed);
        let trainable = network.named().into_iter().filter(|(_, tensor)| tensor.requires_grad()).collect();
        let optimizers = [
            Optimizer::new("optimizer", config, trainable),
            Optimizer::new("critic_optimizer", config, critic.named()),
        ];
        let gradients = [0, 1].map(|of: usize| Gradients::new(&optimizers[of].params()));
        let ema = Ema::new(recipe, &shapes, &network)?;
        let group = Rc::clone(&place.group);
        Ok(Self { network, ema, critic, optimizers, gradients, weight, group, losses: vec![] })
    }

    fn contrast(&self, network: &Network, views: &Views, train: bool) -> Result<(Tensor, Tensor), Error> {
        let projected = network.forward(views, if train { Mode::TRAIN } else { Mode::EMBED })?;
        let relations = Relations::of_all(views.samples.clone());
        let context = Context::solo(&relations, &self.group, train);
        let output = network.loss.criterion(&projected.projections, &context)?;
        Ok((output.total().expect("a loss that compares"), Tensor::cat(&projected.embeddings, 0)))
    }
}

fn answers(views: &Views) -> Tensor {
    let [Batch::Dense { x }] = &views.stacks[..] else { panic!("clouds are dense") };
    x.select(1, 0).gt(0.0).to_kind(Kind::Float)
}

impl Step for Adversarial {
    fn accumulate(&mut self, _batch: u64, chunks: &[Views]) -> Result<(), Error> {
        for views in chunks {
            let (contrast, embeddings) = self.contrast(&self.network, views, true)?;
            let answers = answers(views);
            let told = self.critic.loss(&embeddings.detach(), &answers);
            self.losses.push([contrast.double_value(&[]), told.double_value(&[])]);
            let hidden = &contrast - self.critic.loss(&embeddings, &answers) * self.weight;
            for ((loss, optimizer), gradients) in [hidden, told].iter().zip(&self.optimizers).zip(&mut self.gradients) {
                gradients.sum(gradients_of(loss, &optimizer.params())?);
            }
        }
        Ok(())
    }

    fn update(&mut self, step: u64, learning_rate: f64) -> Result<StepReport, Error> {
        let part = 1.0 / self.losses.len() as f64;
        let mut norms = vec![];
        // The critic learns faster.
        for ((optimizer, gradients), factor) in self.optimizers.iter_mut().zip(&mut self.gradients).zip([1.0, 3.0]) {
            let mut gradients = gradients.take(&self.group, part)?;
            let norm = gradients.norm().double_value(&[]);
            gradients.clip(norm, 1.0);
            optimizer.step(gradients.as_slice(), learning_rate * factor)?;
            norms.push(norm);
        }
        self.ema.follow(step);
        let [contrast, told] = [0, 1].map(|of| self.losses.iter().map(|losses| losses[of] * part).sum::<f64>());
        self.losses.clear();
        let metrics = BTreeMap::from([("critic".to_owned(), told)]);
        Ok(StepReport { loss: contrast, grad_norm: norms[0], metrics, suspects: vec![] })
    }

    fn validate(&self, batches: &[Vec<Views>], _labels: Option<&[Option<u32>]>) -> Result<ValidationReport, Error> {
        let _no_grad = tch::no_grad_guard();
        let mut report = ValidationReport::default();
        for views in batches.iter().flatten() {
            report.loss += self.contrast(&self.ema.network, views, false)?.0.double_value(&[]);
        }
        Ok(report)
    }

    fn tensors(&self) -> Vec<(String, Tensor)> {
        let optimizers = self.optimizers.iter().flat_map(Optimizer::state);
        self.network
            .named()
            .into_iter()
            .chain(self.critic.named())
            .chain(optimizers)
            .chain(self.ema.tensors())
            .collect()
    }

    fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<(), String> {
        self.network.load(tensors)?;
        self.critic.named().iter().try_for_each(|(name, own)| copy_named(tensors, name, own))?;
        self.ema.load(tensors)?;
        self.optimizers.iter_mut().try_for_each(|optimizer| optimizer.load_state(tensors))
    }

    fn identity(&self) -> Value {
        json!({"type": "adversarial", "weight": self.weight})
    }

    fn device(&self) -> Device {
        self.network.device()
    }

    fn dim(&self) -> usize {
        self.network.towers.dim()
    }
}

fn recipe() -> TrainingJob {
    let encoder = KmerMlpConfig { hidden: vec![32], dim: 16, ..KmerMlpConfig::default() };
    let train = TrainConfig {
        steps: Steps::Fixed(120),
        batch_size: 64,
        accumulate: 2,
        learning_rate: 3e-3,
        warmup_steps: 5,
        ema_decay: 0.9,
        validation_fraction: 0.2,
        validate_every: 40,
        checkpoint_every: 20,
        threads: 1,
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

fn trainer(weight: f64, dir: &Path) -> Result<Trainer, Error> {
    let (recipe, source, place) = (recipe(), Arc::new(Clouds::default()), Place::from(Device::Cpu));
    let step = Adversarial::new(&recipe, weight, &*source, &place)?;
    Trainer::with_step(&recipe, Box::new(step), source, &place, dir, &NoProgress)
}

/// Contrast and critic loss of each step.
#[derive(Default)]
struct Seen(Mutex<Vec<[f64; 2]>>);

impl Progress for Seen {
    fn set_total(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
    fn is_cancelled(&self) -> bool {
        false
    }
}

impl Observer for Seen {
    fn step(&self, metrics: &StepMetrics) {
        self.0.lock().unwrap().push([metrics.loss, metrics.metrics["critic"]]);
    }
}

/// Over the last 20 steps.
fn means_at_the_end(weight: f64) -> [f64; 2] {
    let dir = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    trainer(weight, dir.path()).unwrap().run(u64::MAX, &seen).unwrap();
    let all = seen.0.into_inner().unwrap();
    [0, 1].map(|of| all[all.len() - 20..].iter().map(|losses| losses[of]).sum::<f64>() / 20.0)
}

#[test]
fn an_adversary_hides_what_it_must_and_the_rest_is_learned() {
    let [plain, adversarial] = [0.0, 1.0].map(means_at_the_end);
    // Chance is ln 64 = 4.16 and ln 2 = 0.69.
    assert!(plain[0] < 2.0 && adversarial[0] < 2.0, "contrast {plain:?} {adversarial:?}");
    assert!(plain[1] < 0.55 && adversarial[1] > 0.65, "critic {plain:?} {adversarial:?}");
}

#[test]
fn a_step_from_outside_is_resumed_to_the_same_bytes() {
    let [whole, broken] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut uninterrupted = trainer(1.0, whole.path()).unwrap();
    uninterrupted.run(60, &NoProgress).unwrap();
    trainer(1.0, broken.path()).unwrap().run(33, &NoProgress).unwrap();
    let mut resumed = trainer(1.0, broken.path()).unwrap();
    assert_eq!(resumed.steps_done(), 33);
    resumed.run(60, &NoProgress).unwrap();
    let (expected, found) = (uninterrupted.tensors(), resumed.tensors());
    assert_eq!(expected.len(), found.len());
    let away = |name: &String| (&expected[name] - &found[name]).abs().max().double_value(&[]);
    let different: BTreeMap<&String, f64> =
        expected.keys().filter(|&name| expected[name] != found[name]).map(|name| (name, away(name))).collect();
    assert!(different.is_empty(), "{} of {} differ, by: {different:?}", different.len(), expected.len());
    for beginning in ["trunk.", "critic.", "optimizer.exp_avg.trunk.", "critic_optimizer.exp_avg.critic.", "ema.trunk."]
    {
        let mut own = found.iter().filter(|(name, _)| name.starts_with(beginning));
        assert!(own.any(|(_, tensor)| tensor.abs().max().double_value(&[]) > 0.0), "{beginning}");
    }
    // The average of the encoder weights becomes the model.
    let model = Model::load(&resumed.finish().unwrap().model, Device::Cpu).unwrap();
    assert_eq!(model.dim(), 16);
    let error = trainer(0.5, broken.path()).err().unwrap().to_string();
    assert!(error.contains("was made with step.weight = 1.0, this recipe has 0.5"), "{error}");
}
