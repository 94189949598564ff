//! A trainer as one of several sites, which exchange weights and keys between rounds of steps.

use invar_dataset::order::BatchOrder;

use super::{Trainer, chunk_pairs};
use crate::{Error, Others, feed::draw, memory::guarded, step::host_rows};

impl Trainer {
    /// Number of samples it trains on: those not held out.
    pub fn num_samples(&self) -> usize {
        self.training.len()
    }

    /// Goes on as if `step` steps were done: order of the samples, views and learning rate are those of the steps after it.
    /// The weights are as they are, see [`Trainer::load`].
    pub fn begin_at(&mut self, step: u64) {
        self.state.step = step.min(self.steps);
        self.announced = self.state.step;
    }

    /// Takes into account what other sites contribute, in all steps from now on, instead of what they did before.
    ///
    /// # Errors
    /// If their keys have another width, or the loss compares with none.
    pub fn meet(&mut self, others: Others) -> Result<(), Error> {
        guarded(&self.recipe.train, "taking over keys", || self.step.meet(others))
    }

    /// Keys of its own samples: projections of unit length by the loss that compares with those of other sites, of each
    /// view `[n, P]`, row-major; and `P`. They are of `number` samples, or as many as there are, in random order. `seed`
    /// determines which, and how each is viewed. Empty if no loss compares with keys.
    ///
    /// # Errors
    /// If a sample cannot be read, or LibTorch fails.
    pub fn keys(&self, number: usize, seed: u64) -> Result<(Vec<Vec<f32>>, usize), Error> {
        if number == 0 || self.training.is_empty() {
            return Ok((vec![], 0));
        }
        guarded(&self.recipe.train, "making keys", || {
            let config = &self.recipe.train;
            let chosen = BatchOrder::new(self.training.len(), number.max(2), seed)?.batch(0);
            let chosen = &chosen[..number.min(chosen.len())];
            let (mut views, mut width): (Vec<Vec<f32>>, _) = (vec![], 0);
            // As many in memory as in training.
            for some in chosen.chunks(config.batch_size) {
                let chunks = some.chunks(chunk_pairs(config, some.len(), self.step.side_by_side()).max(1));
                let chunks = chunks.map(|chunk| draw(&*self.training, chunk, seed)).collect::<Result<Vec<_>, _>>()?;
                let keys = self.step.keys(&chunks)?;
                views.resize_with(keys.len(), Vec::new);
                for (view, keys) in views.iter_mut().zip(&keys) {
                    width = keys.size()[1] as usize;
                    view.extend(host_rows(keys)?);
                }
            }
            Ok((views, width))
        })
    }
}
