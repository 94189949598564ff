mod asked;
mod contrastive;
mod figures;
mod others;
mod relations;

use std::collections::{BTreeMap, HashMap};

use invar_loss::MemoryBank;
use invar_nn::Views;
use serde_json::Value;
use tch::{Device, Tensor};

use crate::{Error, HeldOut};

pub use contrastive::ContrastiveStep;
pub(crate) use figures::host_rows;
pub use others::Others;

/// One optimizer step and everything it changes: towers, loss, optimizer. The loop around it knows none of them.
///
/// A batch spans all processes; each is given its own rows of it, in chunks of pairs. Building blocks for a step are in
/// [`parts`](crate::parts).
pub trait Step {
    /// Adds the gradient of a batch. `batch` is its number within the run; with the seed, it determines everything
    /// random.
    ///
    /// # Errors
    /// If the batch does not fit, LibTorch fails, or a peer died.
    fn accumulate(&mut self, batch: u64, chunks: &[Views]) -> Result<(), Error>;

    /// Optimizer step number `step`, 1-based, along the mean gradient of the batches accumulated since the last one.
    ///
    /// # Errors
    /// If LibTorch fails, or a peer died. A non-finite loss is not an error here: it is in the report, and the weights
    /// are unchanged.
    fn update(&mut self, step: u64, learning_rate: f64) -> Result<StepReport, Error>;

    /// Evaluates whole batches, each given in chunks of pairs, without learning from them and without the other
    /// processes. `labels` numbers the labels of all pairs in order, if there are any.
    ///
    /// # Errors
    /// As [`Step::accumulate`].
    fn validate(&self, batches: &[Vec<Views>], labels: Option<&[Option<u32>]>) -> Result<ValidationReport, Error>;

    /// Everything that training changes, by name: weights (`trunk.*`, `head.*`), their moving average (`ema.*`) and
    /// optimizer state (`optimizer.*`).
    fn tensors(&self) -> Vec<(String, Tensor)>;

    /// Loads what [`Step::tensors`] returned.
    ///
    /// # Errors
    /// The name of a tensor that is missing or of another shape; some of the others may have been loaded by then.
    fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<(), String>;

    /// What determines the weights besides the recipe, for example a table of settings of its own. A run is not
    /// continued if this differs in its checkpoints. Null if there is nothing.
    fn identity(&self) -> Value {
        Value::Null
    }

    /// The loss's memory of past batches.
    fn bank(&mut self) -> Option<&mut MemoryBank> {
        None
    }

    /// Takes into account what other sites contribute, from the next batch on, instead of what they did before.
    ///
    /// # Errors
    /// If it cannot.
    fn meet(&mut self, _others: Others) -> Result<(), Error> {
        let expected = "a step that can be trained at several sites".into();
        Err(Error::Config { key: "federation", expected, found: "another".into() })
    }

    /// What other sites would compare with of some chunks of pairs: the projections of each view `[b, P]`, without
    /// gradient. Empty if they would compare with nothing.
    ///
    /// # Errors
    /// As [`Step::accumulate`].
    fn keys(&self, _chunks: &[Views]) -> Result<Vec<Tensor>, Error> {
        Ok(vec![])
    }

    /// The device of the weights.
    fn device(&self) -> Device;

    /// Embedding dimensions, `D`.
    fn dim(&self) -> usize;

    /// The preferred number of chunks per batch: how many it processes at the same time.
    fn side_by_side(&self) -> usize {
        1
    }
}

/// The result of a training step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepReport {
    /// The loss that was minimised, mean over the step's batches.
    pub loss: f64,
    /// L2 norm of the gradient, before clipping.
    pub grad_norm: f64,
    /// The loss's own metrics, and `embedding_std`.
    pub metrics: BTreeMap<String, f64>,
    /// If the loss or the gradient is not finite: those rows of this process with non-finite projections, numbered
    /// through the step's batches.
    pub suspects: Vec<usize>,
}

/// The result of a validation, averaged over its batches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValidationReport {
    /// The loss.
    pub loss: f64,
    /// What the embeddings of all pairs show together.
    pub held_out: HeldOut,
    /// The loss's own metrics.
    pub metrics: BTreeMap<String, f64>,
}
