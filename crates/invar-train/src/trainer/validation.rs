//! The pairs held out for validation, drawn once.

use std::sync::Arc;

use invar_dataset::{PairSource, order::BatchOrder, seed::Stream};
use invar_nn::Views;

use super::chunk_pairs;
use crate::{
    Error, Observer, Place, TrainingJob,
    feed::{Feed, Plan},
    held_out::numbered_labels,
};

/// Held-out batches in chunks of pairs, and the label numbers of all pairs if there are any.
#[derive(Default)]
pub(super) struct Validation {
    pub(super) batches: Vec<Vec<Views>>,
    pub(super) labels: Option<Vec<Option<u32>>>,
}

impl Validation {
    /// Draws the validation batches, the same for the whole run.
    pub(super) fn draw(
        recipe: &TrainingJob,
        held_out: Arc<dyn PairSource>,
        place: &Place,
        side_by_side: usize,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let config = &recipe.train;
        if config.validation_batches == 0 || config.validation_fraction == 0.0 {
            return Ok(Self::default());
        }
        let validation_seed = Stream::Validation.seed(config.seed);
        let Ok(order) = BatchOrder::new(held_out.len(), config.batch_size, validation_seed) else {
            observer.warning(&format!(
                "no validation: {} samples are held out, a contrastive batch needs 2",
                held_out.len()
            ));
            return Ok(Self::default());
        };
        let num_batches = order.batches_per_epoch().min(config.validation_batches) as u64;
        let chunk_pairs = chunk_pairs(config, order.batch_size(), side_by_side);
        let indices: Vec<usize> = (0..num_batches).flat_map(|batch| order.batch(batch)).collect();
        let labels = numbered_labels(&*held_out, &indices);
        let whole = Plan::whole(order, validation_seed, 0..num_batches, config.view_workers, place.device);
        let feed = Feed::start(&held_out, &Plan { chunk_pairs, ..whole });
        Ok(Self { batches: feed.map(|next| Ok(next?.0)).collect::<Result<_, Error>>()?, labels })
    }
}
