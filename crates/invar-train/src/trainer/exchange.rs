//! Weights and keys that leave a trainer, and others that come in.

use std::collections::HashMap;

use invar_loss::MemoryBank;
use tch::Tensor;

use super::Trainer;
use crate::{Error, Step, memory::guarded};

impl Trainer {
    /// Everything that training changes, by name: copies of [`Step::tensors`]. To average the weights of several
    /// trainers, take the mean of what starts with `trunk.`, `head.` and `ema.` and is a floating-point number, and
    /// leave to each its own optimizer, whose names start with `optimizer.`.
    pub fn tensors(&self) -> HashMap<String, Tensor> {
        copies(&*self.step)
    }

    /// Takes over what [`Trainer::tensors`] gave, of this trainer or another of the same networks; [`Trainer::run`]
    /// goes on with it. Steps done, alarms and the best validation stay as they are. Of many processes each takes over
    /// the same.
    ///
    /// The run directory does not know of it before the next checkpoint: whoever exchanges weights between two calls of
    /// [`Trainer::run`] does so again after a kill.
    ///
    /// # Errors
    /// [`Error::Tensors`], naming one that is missing or of another shape; everything is then as it was.
    pub fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<(), Error> {
        guarded(&self.recipe.train, "taking over weights", || {
            let before = copies(&*self.step);
            self.step.load(tensors).map_err(|found| match self.step.load(&before) {
                Ok(()) => Error::Tensors { found },
                Err(other) => Error::Tensors { found: format!("{found}; nor do its own any more: {other}") },
            })
        })
    }

    /// What the loss remembers of past batches: for clients that exchange keys.
    pub fn bank(&mut self) -> Option<&mut MemoryBank> {
        self.step.bank()
    }
}

fn copies(step: &dyn Step) -> HashMap<String, Tensor> {
    step.tensors().into_iter().map(|(name, tensor)| (name, tensor.detach().copy())).collect()
}
