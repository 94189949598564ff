mod asked;
mod contrastive;
mod relations;

use std::collections::{BTreeMap, HashMap};

use invar_loss::MemoryBank;
use invar_nn::Views;
use serde_json::Value;
use tch::{Device, Tensor};

use crate::{Error, HeldOut};

pub use contrastive::ContrastiveStep;
pub(crate) use contrastive::host_rows;

/// One optimizer step and all that it changes: towers, loss, optimizer. The loop around it knows none of them.
///
/// A batch is that of all processes together; each is given its own rows of it, in chunks of pairs. What a step can be
/// made of is in [`parts`](crate::parts).
pub trait Step {
    /// Adds the gradient of a batch. `batch` numbers the batches of a run; it and the seed fix all that is random.
    ///
    /// # Errors
    /// When the batch does not fit, LibTorch refuses, or a peer died.
    fn accumulate(&mut self, batch: u64, chunks: &[Views]) -> Result<(), Error>;

    /// Optimizer step number `step`, 1-based, along the mean gradient of the batches accumulated since the last one.
    ///
    /// # Errors
    /// When LibTorch refuses, or a peer died. A loss that is not finite is no error here: it is in the report, and the
    /// weights are as they were.
    fn update(&mut self, step: u64, learning_rate: f64) -> Result<StepReport, Error>;

    /// Looks at whole batches, each given in chunks of pairs, without learning from them and without the other
    /// processes. `labels` numbers the labels of all pairs in order, where there are any.
    ///
    /// # Errors
    /// As [`Step::accumulate`].
    fn validate(&self, batches: &[Vec<Views>], labels: Option<&[Option<u32>]>) -> Result<ValidationReport, Error>;

    /// Everything that training changes, by name: weights (`trunk.*`, `head.*`), their moving average (`ema.*`) and
    /// optimizer state (`optimizer.*`).
    fn tensors(&self) -> Vec<(String, Tensor)>;

    /// Takes over what [`Step::tensors`] gave.
    ///
    /// # Errors
    /// The name of a tensor that is missing or of another shape; some of the others may be taken over then.
    fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<(), String>;

    /// What fixes the weights beside the recipe: a table of its own settings, say. A run whose checkpoints say otherwise
    /// is not gone on with. Null where there is nothing.
    fn identity(&self) -> Value {
        Value::Null
    }

    /// What its loss remembers of past batches.
    fn bank(&mut self) -> Option<&mut MemoryBank> {
        None
    }

    /// Where the weights are.
    fn device(&self) -> Device;

    /// Embedding dimensions, `D`.
    fn dim(&self) -> usize;

    /// Chunks of a batch that are best given to it, as it takes so many at the same time.
    fn side_by_side(&self) -> usize {
        1
    }
}

/// What a training step found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepReport {
    /// The loss that was minimised, mean over the step's batches.
    pub loss: f64,
    /// L2 norm of the gradient, before clipping.
    pub grad_norm: f64,
    /// What the loss reports of itself, and `embedding_std`.
    pub metrics: BTreeMap<String, f64>,
    /// Where loss or gradient are not finite: this process's rows whose projections are not, numbered through the
    /// step's batches.
    pub suspects: Vec<usize>,
}

/// What a validation found, means over its batches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValidationReport {
    /// The loss.
    pub loss: f64,
    /// What the embeddings of all pairs say together.
    pub held_out: HeldOut,
    /// What the loss reports of itself.
    pub metrics: BTreeMap<String, f64>,
}
