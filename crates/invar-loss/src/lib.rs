//! Losses, one file each. To add a loss: a file here, a variant of [`LossConfig`], an arm of [`LossConfig::init`].
//!
//! A loss owns its criterion and its head (projection, temperature), whose parameters are named `head.<loss>.*` and
//! dropped at embedding time. It returns named terms, whose sum is minimised, and metrics.
//!
//! Shapes: `B` pairs, `D` embedding dimensions.

pub mod info_nce;

mod error;

use invar_nn::Encoded;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

pub use error::Error;
pub use info_nce::{InfoNce, InfoNceConfig};

/// What a loss makes of a batch.
#[derive(Debug)]
pub struct LossOutput {
    /// Named scalars; training minimises their sum.
    pub terms: Vec<(&'static str, Tensor)>,
    /// Named scalars to look at, detached, still on the device.
    pub metrics: Vec<(&'static str, Tensor)>,
}

impl LossOutput {
    /// The sum of the terms, a scalar.
    pub fn total(&self) -> Tensor {
        let terms: Vec<&Tensor> = self.terms.iter().map(|(_, term)| term).collect();
        Tensor::stack(&terms, 0).sum(None)
    }
}

/// Head and criterion.
pub trait Loss: Send {
    /// The loss of a batch of pairs: `views[v]` holds view `v` of each, `B` rows.
    ///
    /// # Errors
    /// When the number of views or their rows do not fit the loss.
    fn forward(&self, views: &[Encoded], train: bool) -> Result<LossOutput, Error>;

    /// Called after each optimizer step, to put parameters back into their range.
    fn after_step(&mut self) {}
}

/// The loss of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum LossConfig {
    /// Symmetric InfoNCE.
    InfoNce(InfoNceConfig),
}

impl Default for LossConfig {
    fn default() -> Self {
        Self::InfoNce(InfoNceConfig::default())
    }
}

impl LossConfig {
    /// Builds the loss over embeddings of `dim` dimensions, its parameters under `path` (by convention `head`) and
    /// its own name.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn init(&self, path: &nn::Path, dim: usize) -> Result<Box<dyn Loss>, Error> {
        match self {
            Self::InfoNce(config) => Ok(Box::new(config.init(&(path / "info_nce"), dim)?)),
        }
    }
}
