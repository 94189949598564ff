//! A site: its samples, and its steps of a round.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::{Result, anyhow};
use invar_cli::{
    exit::{BadInput, Usage},
    ui::Ui,
};
use invar_dataset::{
    PairSource, Progress,
    manifest::Manifest,
    seed::{self, Stream},
    split,
};
use invar_embeddings::Bank;
use invar_federation::{
    BatchNorms, FederationConfig, Global, GlobalFacts, PrivacySpent, Tensors, Update, UpdateFacts, VERSION, Weights,
    digest, for_site, privacy,
};
use invar_train::{
    Model, Observer, Others, Place, StepMetrics, Steps, TrainConfig, Trainer, TrainingJob, ValidationMetrics,
};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::{super::train::Watch, state::State};
use crate::{recipe::Recipe, source::Datasets};

/// A site, with its samples or without.
pub struct Site<S = ()> {
    /// Unlike that of any other.
    pub name: String,
    recipe: Recipe,
    federation: FederationConfig,
    job: TrainingJob,
    source: S,
}

/// Samples in pairs.
pub type Source = Arc<dyn PairSource>;

impl Site {
    /// A site whose data are not opened.
    ///
    /// # Errors
    /// If the recipe cannot be trained at several sites, or the data are not there.
    pub fn named(recipe: &Recipe, data: &[PathBuf], name: Option<&str>) -> Result<Self> {
        let federation = recipe.federation.clone().unwrap_or_default();
        federation.check()?;
        let job = job(recipe, &federation)?;
        let name = match name {
            Some(name) => checked_name(name)?.to_owned(),
            None => name_of(data)?,
        };
        Ok(Self { name, recipe: recipe.clone(), federation, job, source: () })
    }

    /// Opens its data; of the samples, a share is used.
    ///
    /// # Errors
    /// If they cannot be opened.
    pub fn with_data(self, data: &[PathBuf], share: f64, ui: &Ui) -> Result<Site<Source>> {
        let mut source: Source = Datasets::new(&self.recipe.source, data, ui).pairs()?;
        if share < 1.0 {
            source = Arc::new(split::split(source, 1.0 - share, Stream::Keys.seed(self.recipe.seed))?.0);
        }
        let Self { name, recipe, federation, job, .. } = self;
        Ok(Site { name, recipe, federation, job, source })
    }
}

impl<S> Site<S> {
    /// Checks that a global model is of this recipe, and waits for another round.
    ///
    /// # Errors
    /// Both hashes, or the rounds that are done.
    pub fn check(&self, global: &Global) -> Result<()> {
        let (own, other) = (self.recipe_hash()?, &global.facts.recipe);
        if own != *other {
            let what = "the global model was made with another recipe";
            return Err(
                BadInput(format!("{what}: {other}, this one is {own} (invar info GLOBAL shows its own)")).into()
            );
        }
        match global.facts.round < self.federation.rounds {
            true => Ok(()),
            false => Err(Usage(format!(
                "round {} of {} is done: federation.rounds of the recipe says how many there are",
                global.facts.round, self.federation.rounds
            ))
            .into()),
        }
    }

    /// A digest of everything in the recipe that weights and keys depend on. How many threads a site has is its own matter.
    ///
    /// # Errors
    /// If the model that training starts from cannot be read.
    pub fn recipe_hash(&self) -> Result<String> {
        let mut fixed = self.job.fixes_weights()?;
        if let Some(train) = fixed["train"].as_object_mut() {
            // The weights that training starts from are those of the global model.
            for own in ["threads", "chunk_pairs", "warm_start"] {
                train.remove(own);
            }
        }
        let all = json!({"fixed": fixed, "source": self.recipe.source.drawing(), "federation": self.federation});
        Ok(digest(&serde_json::to_vec(&all)?))
    }
}

impl Site<Source> {
    /// As [`Site::named`], with its data.
    ///
    /// # Errors
    /// As [`Site::named`] and [`Site::with_data`].
    pub fn open(recipe: &Recipe, data: &[PathBuf], name: Option<&str>, share: f64, ui: &Ui) -> Result<Self> {
        Site::named(recipe, data, name)?.with_data(data, share, ui)
    }

    /// The global model of round 0: weights drawn from the recipe's seed, or those of its `train.warm_start`.
    ///
    /// # Errors
    /// If the recipe does not fit the data, or cannot be trained at several sites.
    pub fn begin(&self, place: &Place, ui: &Ui) -> Result<Global> {
        let scratch = tempfile::tempdir()?;
        let watch = Watch::new(ui);
        let trainer = Trainer::new(&self.job, Arc::clone(&self.source), place.clone(), scratch.path(), &watch)?;
        let tensors = trainer.tensors();
        self.check_norms(&tensors)?;
        if self.federation.keys > 0 && trainer.keys(2, 0)?.0.is_empty() {
            let losses: Vec<&str> = self.job.loss.losses.iter().map(|loss| loss.loss.name()).collect();
            let reason = "federation.keys must be 0 for a loss that compares with no keys of others; info-nce does";
            return Err(Usage(format!("{reason}, got {} and {}", self.federation.keys, losses.join(" and "))).into());
        }
        let path = scratch.path().join(Global::MODEL);
        let named: Vec<(String, Tensor)> =
            tensors.iter().map(|(name, of)| (name.clone(), of.shallow_clone())).collect();
        let (encoders, shapes) = (&self.job.encoders, self.source.view_shapes());
        Model::save(&path, encoders, self.job.features, &shapes, self.job.train.threads, 0, &named)?;
        let header = Weights::read(&path)?.0.header;
        let facts = GlobalFacts {
            version: VERSION,
            tool_version: env!("CARGO_PKG_VERSION").into(),
            round: 0,
            recipe: self.recipe_hash()?,
            federation: self.federation.clone(),
            recipe_sha256: String::new(),
            model_sha256: String::new(),
            bank_sha256: None,
            velocity_sha256: None,
            merged: vec![],
            refused: vec![],
        };
        let model = Weights { tensors: shared(&tensors)?, header };
        Ok(Global { facts, recipe: self.recipe.to_toml(), model, bank: Bank::default(), velocity: None })
    }

    /// The steps of the round after the global model's.
    ///
    /// # Errors
    /// If the global model is of another recipe, or the training fails.
    pub fn step(&self, global: &Global, bank: &Bank, state: Option<&State>, place: &Place, ui: &Ui) -> Result<Update> {
        self.check(global)?;
        let (federation, round) = (&self.federation, global.facts.round + 1);
        if federation.privacy.is_some() && state.is_none() {
            let reason =
                "federation.privacy counts the updates of a site over all rounds: give --state, where it keeps them";
            return Err(Usage(reason.into()).into());
        }
        let scratch = tempfile::tempdir()?;
        let watch = Losses { inner: Watch::new(ui), sum: Mutex::default() };
        let mut trainer = self.trainer_of(&global.model, state, round, place, scratch.path(), &watch)?;
        let others = for_site(bank, &self.name, round, federation.max_age);
        let others = Others { keys: tensor_of(&others)?, proximal: federation.proximal };
        trainer.meet(others).map_err(|error| BadInput(error.to_string()))?;
        trainer.run(federation.steps_before(round) + federation.local_steps, &watch)?;
        let tensors = trainer.tensors();
        let local = self.kept(&tensors);
        let header = with_steps(&global.model.header, federation.steps_before(round + 1))?;
        let mut weights = Weights { tensors: shared(&tensors)?, header };
        // What stays here leaves as it came: it is no part of the change, and has no noise.
        let withhold = |weights: &mut Weights| {
            for name in &local {
                if let (Some(own), Some(of_all)) = (weights.tensors.get_mut(name), global.model.tensors.get(name)) {
                    own.clone_from(of_all);
                }
            }
        };
        withhold(&mut weights);
        let (steps, loss) = watch.mean();
        let spent = match (&federation.privacy, state) {
            (Some(config), Some(state)) => {
                weights = privacy::privatize(config, &global.model, &weights)?;
                withhold(&mut weights);
                let ledger = state.made(round, config.noise_multiplier)?;
                let epsilon = ledger.epsilon(config.delta);
                Some(PrivacySpent {
                    clip: config.clip,
                    noise_multiplier: config.noise_multiplier,
                    updates: ledger.updates.len() as u32,
                    delta: config.delta,
                    epsilon: epsilon.is_finite().then_some(epsilon),
                    sends_keys: federation.keys > 0,
                })
            }
            _ => None,
        };
        let keys = self.fresh_keys(&trainer, round)?;
        if let Some(state) = state {
            let shared = |name: &str| is_shared(name) && !local.iter().any(|local| local == name);
            let kept: Vec<(String, Tensor)> = tensors.into_iter().filter(|(name, _)| !shared(name)).collect();
            state.save(round, kept)?;
        }
        let facts = UpdateFacts {
            version: VERSION,
            tool_version: env!("CARGO_PKG_VERSION").into(),
            site: self.name.clone(),
            round,
            recipe: global.facts.recipe.clone(),
            global: global.facts.model_sha256.clone(),
            rows: trainer.num_samples() as u64,
            steps,
            loss,
            norm: weights.distance(&global.model),
            keys: keys.len() as u64,
            weights_sha256: String::new(),
            keys_sha256: None,
            privacy: spent,
        };
        Ok(Update { facts, weights, keys })
    }

    /// A trainer with the weights of a model and what the site kept, before the steps of a round.
    ///
    /// # Errors
    /// If they do not fit the recipe.
    pub fn trainer_of(
        &self,
        model: &Weights,
        state: Option<&State>,
        round: u32,
        place: &Place,
        scratch: &Path,
        observer: &dyn Observer,
    ) -> Result<Trainer> {
        let source = Arc::clone(&self.source);
        let mut trainer = Trainer::new(&self.job, source, place.clone(), scratch, observer)?;
        let mut tensors = trainer.tensors();
        self.check_norms(&tensors)?;
        let own = Weights { tensors: shared(&tensors)?, header: String::new() };
        if let Some((expected, found)) = model.first_misfit(&own) {
            return Err(BadInput(format!("the global model holds {found}, expected {expected} for these data")).into());
        }
        for (name, (shape, values)) in &model.tensors {
            let size: Vec<i64> = shape.iter().map(|&extent| extent as i64).collect();
            tensors.insert(name.clone(), Tensor::f_from_slice(values)?.f_reshape(&size)?.f_to_device(place.device)?);
        }
        for (name, tensor) in state.map(|state| state.before(round)).transpose()?.unwrap_or_default() {
            tensors.insert(name, tensor.f_to_device(place.device)?);
        }
        trainer.load(&tensors)?;
        trainer.begin_at(self.federation.steps_before(round));
        Ok(trainer)
    }

    /// Fresh keys of the site's samples. What names them is drawn anew and says nothing of the samples.
    fn fresh_keys(&self, trainer: &Trainer, round: u32) -> Result<Bank> {
        let of_round = seed::mix(Stream::Keys.seed(self.recipe.seed), u64::from(round));
        let seed = self.name.bytes().fold(of_round, |seed, byte| seed::mix(seed, u64::from(byte)));
        let (views, width) = trainer.keys(self.federation.keys, seed)?;
        let mut bank = Bank::default();
        for (number, key) in views.first().map_or(&[][..], Vec::as_slice).chunks_exact(width.max(1)).enumerate() {
            bank.push(seed::mix(seed, number as u64) as i64, &self.name, round, key);
        }
        Ok(bank)
    }

    /// Tensors of norms over a batch that stay at the site.
    fn kept(&self, tensors: &HashMap<String, Tensor>) -> Vec<String> {
        match self.federation.batch_norms {
            BatchNorms::Refuse => vec![],
            BatchNorms::Local => batch_norms(tensors).into_values().flatten().collect(),
        }
    }

    fn check_norms(&self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        let norms = batch_norms(tensors);
        match (norms.keys().next(), self.federation.batch_norms) {
            (Some(first), BatchNorms::Refuse) => Err(Usage(format!(
                "{first} and {} more are batch norms: their statistics are those of one site's samples, and an average of them is \
                 that of none. Use an encoder with another norm (encoder.norm = \"group\"), or let them stay at each site: \
                 federation.batch_norms = \"local\"",
                norms.len() - 1
            ))
            .into()),
            _ => Ok(()),
        }
    }
}

/// The training of a site: as many steps as all rounds have, without validation.
fn job(recipe: &Recipe, federation: &FederationConfig) -> Result<TrainingJob> {
    if recipe.train.ema_decay > 0.0 {
        let reason = "train.ema_decay must be 0 in federated training: the average over the sites takes its place";
        return Err(Usage(format!("{reason}, got {}", recipe.train.ema_decay)).into());
    }
    let train = TrainConfig {
        steps: Steps::Fixed(federation.steps()),
        validation_batches: 0,
        early_stop_patience: 0,
        checkpoint_every: u64::MAX,
        ..recipe.train.clone()
    };
    Ok(TrainingJob {
        encoders: vec![recipe.encoder.clone()],
        loss: recipe.loss.clone(),
        train,
        features: recipe.embed.features,
        data: Value::Null,
    })
}

/// A name that can be that of a file.
fn checked_name(name: &str) -> Result<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !name.is_empty() && name.len() <= 64 && name.chars().all(is_plain) && !name.starts_with('.') {
        true => Ok(name),
        false => Err(Usage(format!(
            "--site must be 1 to 64 letters, digits, '-', '_' and '.', not first a '.', got {name:?}"
        ))
        .into()),
    }
}

/// The name of a site that has none: by its data.
fn name_of(data: &[PathBuf]) -> Result<String> {
    let mut digests = String::new();
    for directory in data {
        Manifest::read(directory)?.shards.iter().for_each(|shard| digests += &shard.sha256);
    }
    Ok(format!("site-{}", &digest(digests.as_bytes())[..8]))
}

/// Whether a tensor is of the model, not of its training.
fn is_shared(name: &str) -> bool {
    name.starts_with("trunk.") || name.starts_with("head.")
}

/// The tensors of the model.
fn shared(tensors: &HashMap<String, Tensor>) -> Result<Tensors> {
    let mut all = Tensors::new();
    for (name, tensor) in tensors.iter().filter(|(name, _)| is_shared(name)) {
        if tensor.kind() != Kind::Float {
            let found = tensor.kind();
            return Err(anyhow!("{name} is {found:?}: in federated training a model has tensors of f32 alone"));
        }
        let host = tensor.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut values = vec![0f32; host.numel()];
        host.f_copy_data(&mut values, host.numel())?;
        all.insert(name.clone(), (host.size().iter().map(|&extent| extent as usize).collect(), values));
    }
    Ok(all)
}

/// The names of the tensors of each batch norm.
fn batch_norms(tensors: &HashMap<String, Tensor>) -> BTreeMap<String, Vec<String>> {
    let of_norm = |norm: &str, name: &str| name.rsplit_once('.').is_some_and(|(of, _)| of == norm);
    let norms = tensors.keys().filter(|name| is_shared(name)).filter_map(|name| name.strip_suffix(".running_mean"));
    let with_tensors =
        |norm: &str| (norm.to_owned(), tensors.keys().filter(|name| of_norm(norm, name)).cloned().collect());
    norms.map(with_tensors).collect()
}

/// The keys of a bank `[N, P]`.
fn tensor_of(bank: &Bank) -> Result<Option<Tensor>> {
    let size = [bank.len() as i64, bank.width as i64];
    Ok((!bank.is_empty()).then(|| Tensor::f_from_slice(&bank.keys)?.f_reshape(size)).transpose()?)
}

/// What a model file says of itself, after so many steps.
fn with_steps(header: &str, steps: u64) -> Result<String> {
    let mut header: Value = serde_json::from_str(header)?;
    header["trained_steps"] = steps.into();
    Ok(serde_json::to_string(&header)?)
}

/// Shows a training, and adds up its losses.
struct Losses<'a> {
    inner: Watch<'a>,
    sum: Mutex<(u64, f64)>,
}

impl Losses<'_> {
    /// Number of steps, and their mean loss.
    fn mean(&self) -> (u64, f64) {
        let (steps, sum) = *self.sum.lock().expect("no thread panics while it holds this");
        (steps, sum / steps.max(1) as f64)
    }
}

impl Progress for Losses<'_> {
    fn set_total(&self, total: u64) {
        self.inner.set_total(total);
    }

    fn advance(&self, amount: u64) {
        self.inner.advance(amount);
    }

    fn message(&self, text: &str) {
        self.inner.message(text);
    }

    fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }
}

impl Observer for Losses<'_> {
    fn step(&self, metrics: &StepMetrics) {
        let mut sum = self.sum.lock().expect("no thread panics while it holds this");
        *sum = (sum.0 + 1, sum.1 + metrics.loss);
        drop(sum);
        self.inner.step(metrics);
    }

    fn validation(&self, metrics: &ValidationMetrics) {
        self.inner.validation(metrics);
    }

    fn warning(&self, text: &str) {
        self.inner.warning(text);
    }
}
