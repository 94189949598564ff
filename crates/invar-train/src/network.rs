//! What is trained: towers and the heads of the losses, with their parameters in one store.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use invar_dataset::ViewShape;
use invar_loss::{ADDED_LATER, Local, Objective};
use invar_nn::{Mode, Towers, Views};
use tch::{Device, Tensor, nn};

use crate::{Error, Model, TrainingJob, checkpoint, optimizer::copy_named};

/// Prefix of the encoder's parameters, which are what a model keeps.
pub(crate) const TRUNK: &str = "trunk";
/// Prefix of the loss's parameters.
const HEAD: &str = "head";

/// LibTorch has one generator per process: whoever seeds it and draws from it holds this lock.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Keeps other networks from drawing in the meantime.
pub(crate) fn hold_generator() -> MutexGuard<'static, ()> {
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs something that draws from LibTorch's generator (initial weights, dropout) from a given seed, while nothing else
/// draws from it. Calls must not be nested, and [`Network::new`] makes one.
pub fn seeded<T>(seed: u64, draw: impl FnOnce() -> T) -> T {
    let _guard = hold_generator();
    tch::manual_seed(seed as i64);
    draw()
}

/// Towers and losses, whose parameters are named `trunk.*` and `head.<loss>.*`.
pub struct Network {
    store: nn::VarStore,
    /// The encoders.
    pub towers: Towers,
    /// The losses with their heads.
    pub loss: Objective,
}

/// The outputs of a network for a batch.
pub struct Projected {
    /// Embeddings `[B, D]`, one tensor per view.
    pub embeddings: Vec<Tensor>,
    /// The heads' projections `[B, P]`: that of loss `l` and view `v` is at `l * num_views + v`.
    pub projections: Vec<Tensor>,
    /// The outputs of the losses over single views, one per loss that found targets.
    pub local: Vec<Local>,
}

impl Projected {
    /// Shares the same data and graphs, without copying.
    pub fn shallow_clone(&self) -> Self {
        let clone = |tensors: &[Tensor]| tensors.iter().map(Tensor::shallow_clone).collect();
        let local = self.local.iter().map(Local::shallow_clone).collect();
        Self { embeddings: clone(&self.embeddings), projections: clone(&self.projections), local }
    }
}

impl Network {
    /// Draws the weights on the CPU, from LibTorch's generator seeded with `weight_seed`, so that they are the same for
    /// every device.
    ///
    /// # Errors
    /// If the encoders do not fit the shapes of the views, or a loss does not fit the encoders.
    pub fn new(recipe: &TrainingJob, shapes: &[ViewShape], weight_seed: u64, device: Device) -> Result<Self, Error> {
        seeded(weight_seed, || {
            let mut store = nn::VarStore::new(Device::Cpu);
            let towers = Towers::new(&(store.root() / TRUNK), &recipe.encoders, shapes)?;
            let loss = recipe.loss.init(&(store.root() / HEAD), towers.outputs())?;
            store.set_device(device);
            Ok(Self { store, towers, loss })
        })
    }

    /// The device of the weights.
    pub fn device(&self) -> Device {
        self.store.device()
    }

    /// Parameters and buffers, ordered by name.
    pub fn named(&self) -> Vec<(String, Tensor)> {
        let mut variables: Vec<(String, Tensor)> = self.store.variables().into_iter().collect();
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        variables
    }

    /// Loads what [`Network::named`] returned. If tensors of an earlier version lack one of
    /// [`invar_loss::ADDED_LATER`], it is set to zeros.
    ///
    /// # Errors
    /// The name of a tensor that is missing or of another shape.
    pub fn load(&self, tensors: &HashMap<String, Tensor>) -> Result<(), String> {
        let of_head = |name: &str| name.strip_prefix(HEAD)?.strip_prefix('.').map(str::to_owned);
        for (name, mut own) in self.named() {
            let was_added = || of_head(&name).is_some_and(|name| ADDED_LATER.contains(&name.as_str()));
            if !tensors.contains_key(&name) && was_added() {
                let _ = tch::no_grad(|| own.zero_());
            } else {
                copy_named(tensors, &name, &own)?;
            }
        }
        Ok(())
    }

    /// Encodes and projects views that may still be on the host.
    ///
    /// # Errors
    /// If the views do not have the network's shape, or LibTorch fails.
    pub fn forward(&self, views: &Views, mode: Mode) -> Result<Projected, Error> {
        let views = views.to_device(self.device());
        let encoded = self.towers.encode(&views, self.loss.wants(mode))?;
        let of_views: Vec<Vec<Tensor>> = encoded.iter().map(|view| self.loss.project(view)).collect();
        let num_losses = of_views.first().map_or(0, Vec::len);
        let projections = (0..num_losses).flat_map(|loss| of_views.iter().map(move |view| view[loss].shallow_clone()));
        let projections = projections.collect();
        let local = self.loss.local(&encoded, &views.asked())?;
        Ok(Projected { embeddings: encoded.into_iter().map(|view| view.embedding).collect(), projections, local })
    }

    /// Takes the encoder's weights from a trained model: a run directory, or its model file. The head keeps its initial
    /// weights.
    ///
    /// # Errors
    /// If there is no model, it is damaged, or its encoder's tensors differ from this one's; the first difference is
    /// named.
    pub fn warm_start(&self, path: &Path) -> Result<(), Error> {
        let path = Model::path_of(path);
        let (tensors, _): (HashMap<String, Tensor>, serde_json::Value) = checkpoint::read(&path)?;
        for (name, own) in self.named().into_iter().filter(|(name, _)| name.starts_with(TRUNK)) {
            copy_named(&tensors, &name, &own).map_err(|found| Error::WarmStart { path: path.clone(), found })?;
        }
        Ok(())
    }

    /// Excludes from training the parameters that `patterns` name: a full name, or a prefix up to a dot.
    ///
    /// # Errors
    /// If a pattern matches nothing, or everything is matched.
    pub fn freeze(&self, patterns: &[String]) -> Result<(), Error> {
        let named = self.named();
        for pattern in patterns {
            let fits =
                |name: &str| name.strip_prefix(pattern.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('.'));
            let frozen: Vec<&Tensor> = named.iter().filter(|(name, _)| fits(name)).map(|(_, tensor)| tensor).collect();
            if frozen.is_empty() {
                return Err(Error::Config {
                    key: "train.freeze",
                    expected: format!("prefixes of parameter names, such as {}", examples(&named)),
                    found: format!("{pattern:?}"),
                });
            }
            for tensor in frozen {
                let _ = tensor.set_requires_grad(false);
            }
        }
        if named.iter().any(|(_, tensor)| tensor.requires_grad()) {
            return Ok(());
        }
        let expected = "some parameters left to train".into();
        Err(Error::Config { key: "train.freeze", expected, found: format!("{patterns:?}") })
    }
}

/// Name prefixes up to the second dot, each once.
fn examples(named: &[(String, Tensor)]) -> String {
    let beginning = |name: &str| name.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let mut beginnings: Vec<String> = named.iter().map(|(name, _)| beginning(name)).collect();
    beginnings.dedup();
    beginnings.join(", ")
}
