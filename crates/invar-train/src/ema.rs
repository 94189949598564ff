//! An exponential moving average of the weights (Polyak and Juditsky, *Acceleration of stochastic approximation by
//! averaging*, 1992): smoother weights for embedding, and the slow encoder of momentum contrast (He et al. 2020).

use std::collections::HashMap;

use invar_dataset::ViewShape;
use tch::Tensor;

use crate::{
    Error, TrainingJob,
    network::{Network, TRUNK},
    optimizer::copy_named,
};

/// Prefix of its tensors' names in a checkpoint.
const PREFIX: &str = "ema.";

/// The averages under the names of the tensors they average, if there are any; otherwise the tensors themselves.
pub(crate) fn averaged(tensors: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    let average = |(name, tensor): &(String, Tensor)| Some((name.strip_prefix(PREFIX)?.into(), tensor.shallow_clone()));
    let averages: Vec<(String, Tensor)> = tensors.iter().filter_map(average).collect();
    if averages.is_empty() { tensors } else { averages }
}

/// A second network that follows the one being trained.
pub struct Ema {
    /// The averages, as a network.
    pub network: Network,
    decay: f64,
    followed: Vec<Followed>,
}

struct Followed {
    name: String,
    own: Tensor,
    other: Tensor,
}

impl Ema {
    /// Starts at the weights of `network`, which was built from the same recipe for views of the same shapes; the decay
    /// is `train.ema_decay`.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn new(recipe: &TrainingJob, shapes: &[ViewShape], network: &Network) -> Result<Self, Error> {
        let own = Network::new(recipe, shapes, 0, network.device())?;
        let followed: Vec<Followed> = own
            .named()
            .into_iter()
            .zip(network.named())
            .map(|((name, own), (_, other))| Followed { name, own, other })
            // What a loss remembers of past batches is not a weight.
            .filter(|f| f.name.starts_with(TRUNK) || f.other.requires_grad())
            .collect();
        for Followed { own, other, .. } in &followed {
            let mut own = own.set_requires_grad(false);
            own.copy_(&other.detach());
        }
        Ok(Self { network: own, decay: recipe.train.ema_decay, followed })
    }

    /// `average = d average + (1 - d) weights`, after optimizer step `step`, 1-based. At the start, when an average
    /// over `1 / (1 - decay)` steps would still be that of untrained weights, `d = (1 + step) / (10 + step)`. What no
    /// gradient changes (running means, frozen layers) is copied.
    pub fn follow(&self, step: u64) {
        let decay = self.decay.min((1 + step) as f64 / (10 + step) as f64);
        tch::no_grad(|| {
            for Followed { own, other, .. } in &self.followed {
                let mut own = own.shallow_clone();
                if other.requires_grad() {
                    let _ = own.lerp_(other, 1.0 - decay);
                } else {
                    own.copy_(other);
                }
            }
        });
    }

    /// The averaged tensors, named `ema.*`.
    pub fn tensors(&self) -> impl Iterator<Item = (String, Tensor)> {
        self.followed.iter().map(|f| (format!("{PREFIX}{}", f.name), f.own.shallow_clone()))
    }

    /// Loads what [`Ema::tensors`] returned.
    ///
    /// # Errors
    /// The name of a tensor that is missing or of another shape.
    pub fn load(&self, tensors: &HashMap<String, Tensor>) -> Result<(), String> {
        self.tensors().try_for_each(|(name, own)| copy_named(tensors, &name, &own))
    }
}
