//! What is trained: towers and the head of the loss, whose parameters share one store.

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

/// Parameters whose names start so are the encoder: what a model keeps.
pub(crate) const TRUNK: &str = "trunk";
/// Parameters whose names start so are the loss's.
const HEAD: &str = "head";

/// LibTorch's generator is one for the whole process: whoever seeds it and draws from it holds this.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Keeps other networks from drawing meanwhile.
pub(crate) fn hold_generator() -> MutexGuard<'static, ()> {
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something that draws from LibTorch's generator (initial weights, dropout), from a seed, while nothing else
/// draws from it. Calls must not be nested: [`Network::new`] is one.
pub fn seeded<T>(seed: u64, draw: impl FnOnce() -> T) -> T {
    let _guard = hold_generator();
    tch::manual_seed(seed as i64);
    draw()
}

/// Towers and loss, whose parameters are named `trunk.*` and `head.<loss>.*`.
pub struct Network {
    store: nn::VarStore,
    /// The encoders.
    pub towers: Towers,
    /// The losses with their heads.
    pub loss: Objective,
}

/// What a network makes of a batch.
pub struct Projected {
    /// Embeddings `[B, D]`, one a view.
    pub embeddings: Vec<Tensor>,
    /// What the heads make of them `[B, P]`: of loss `l` and view `v` at `l * num_views + v`.
    pub projections: Vec<Tensor>,
    /// What the losses that look at single views make of the views, one a loss that finds something asked.
    pub local: Vec<Local>,
}

impl Projected {
    /// The same numbers and graphs, not copied.
    pub fn shallow_clone(&self) -> Self {
        let clone = |tensors: &[Tensor]| tensors.iter().map(Tensor::shallow_clone).collect();
        let local = self.local.iter().map(Local::shallow_clone).collect();
        Self { embeddings: clone(&self.embeddings), projections: clone(&self.projections), local }
    }
}

impl Network {
    /// Draws the weights on the CPU, from LibTorch's generator under `weight_seed`, so that they are the same for every
    /// device.
    ///
    /// # Errors
    /// When the encoders do not fit the shapes of the views, or a loss the encoders.
    pub fn new(recipe: &TrainingJob, shapes: &[ViewShape], weight_seed: u64, device: Device) -> Result<Self, Error> {
        seeded(weight_seed, || {
            let mut store = nn::VarStore::new(Device::Cpu);
            let towers = Towers::new(&(store.root() / TRUNK), &recipe.encoders, shapes)?;
            let loss = recipe.loss.init(&(store.root() / HEAD), towers.dim(), towers.tokens())?;
            store.set_device(device);
            Ok(Self { store, towers, loss })
        })
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.store.device()
    }

    /// Parameters and buffers in the order of their names.
    pub fn named(&self) -> Vec<(String, Tensor)> {
        let mut variables: Vec<(String, Tensor)> = self.store.variables().into_iter().collect();
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        variables
    }

    /// Takes over what [`Network::named`] gave. Where tensors of earlier versions lack one of
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

    /// Encodes and projects views that may still lie on the host.
    ///
    /// # Errors
    /// When the views are not of the shape of the network, or LibTorch refuses.
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

    /// Takes the encoder's weights from a trained model: a run directory, or its model file. The head stays as drawn.
    ///
    /// # Errors
    /// When there is no model, it is damaged, or its encoder has other tensors than this one; the first is named.
    pub fn warm_start(&self, path: &Path) -> Result<(), Error> {
        let path = Model::path_of(path);
        let (tensors, _): (HashMap<String, Tensor>, serde_json::Value) = checkpoint::read(&path)?;
        for (name, own) in self.named().into_iter().filter(|(name, _)| name.starts_with(TRUNK)) {
            copy_named(&tensors, &name, &own).map_err(|found| Error::WarmStart { path: path.clone(), found })?;
        }
        Ok(())
    }

    /// Stops the learning of the parameters that `patterns` name: a whole name, or its beginning up to a dot.
    ///
    /// # Errors
    /// When a pattern names nothing, or everything is named.
    pub fn freeze(&self, patterns: &[String]) -> Result<(), Error> {
        let named = self.named();
        for pattern in patterns {
            let fits =
                |name: &str| name.strip_prefix(pattern.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('.'));
            let frozen: Vec<&Tensor> = named.iter().filter(|(name, _)| fits(name)).map(|(_, tensor)| tensor).collect();
            if frozen.is_empty() {
                return Err(Error::Config {
                    key: "train.freeze",
                    expected: format!("beginnings of parameter names, as {}", examples(&named)),
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

/// The beginnings of names, up to the second dot, each once.
fn examples(named: &[(String, Tensor)]) -> String {
    let beginning = |name: &str| name.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let mut beginnings: Vec<String> = named.iter().map(|(name, _)| beginning(name)).collect();
    beginnings.dedup();
    beginnings.join(", ")
}
