//! A trainer as one of several sites, which exchange weights and keys between rounds of steps.

use std::sync::Arc;

use invar_dataset::{PairSource, order::BatchOrder};

use super::{Trainer, chunk_pairs};
use crate::{
    Error, Others,
    feed::{Feed, Plan},
    memory::guarded,
    step::host_rows,
};

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
            let order = BatchOrder::new(self.training.len(), number.max(2), seed)?;
            let whole = Plan::whole(order, seed, 0..1, config.view_workers, self.step.device());
            let chunk_pairs = chunk_pairs(config, whole.rows.len().min(config.batch_size), self.step.side_by_side());
            let training: Arc<dyn PairSource> = Arc::clone(&self.training);
            let mut feed = Feed::start(&training, &Plan { chunk_pairs, ..whole });
            let (chunks, _) = feed.next().unwrap_or(Err(Error::Worker))?;
            let views = self.step.keys(&chunks)?;
            let width = views.first().map_or(0, |view| view.size()[1] as usize);
            let mut keys = views.iter().map(host_rows).collect::<Result<Vec<_>, _>>()?;
            keys.iter_mut().for_each(|view| view.truncate(number * width));
            Ok((keys, width))
        })
    }
}
