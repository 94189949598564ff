//! Weights and keys that leave a trainer or enter it.

use std::collections::HashMap;

use invar_loss::MemoryBank;
use tch::Tensor;

use super::Trainer;
use crate::{Error, Step, memory::guarded};

impl Trainer {
    /// Everything that training changes, by name: copies of [`Step::tensors`]. To average the weights of several
    /// trainers, take the mean of the floating-point tensors whose names start with `trunk.`, `head.` or `ema.`, and
    /// leave each trainer its own optimizer, whose names start with `optimizer.`.
    pub fn tensors(&self) -> HashMap<String, Tensor> {
        copies(&*self.step)
    }

    /// Loads what [`Trainer::tensors`] returned, from this trainer or another of the same networks; [`Trainer::run`]
    /// continues from it. Steps done, alarms and the best validation are unchanged. With several processes, each must
    /// load the same.
    ///
    /// The run directory does not record this until the next checkpoint: if you exchange weights between two calls of
    /// [`Trainer::run`], do so again after a kill.
    ///
    /// # Errors
    /// [`Error::Tensors`], naming one that is missing or of another shape; everything is then unchanged.
    pub fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<(), Error> {
        guarded(&self.recipe.train, "taking over weights", || {
            let before = copies(&*self.step);
            self.step.load(tensors).map_err(|found| match self.step.load(&before) {
                Ok(()) => Error::Tensors { found },
                Err(other) => Error::Tensors { found: format!("{found}; nor do its own any more: {other}") },
            })
        })
    }

    /// The loss's memory of past batches, for clients that exchange keys.
    pub fn bank(&mut self) -> Option<&mut MemoryBank> {
        self.step.bank()
    }
}

fn copies(step: &dyn Step) -> HashMap<String, Tensor> {
    step.tensors().into_iter().map(|(name, tensor)| (name, tensor.detach().copy())).collect()
}
