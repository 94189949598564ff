//! The values of the losses over single positions: sums over the rows of chunks and processes, divided by the number of
//! places the whole batch asks about.

use invar_loss::{Local, Objective};
use invar_nn::Views;
use invar_torch::ProcessGroup;
use tch::Tensor;

use crate::Error;

/// How many places each local loss asks about in the batch of all processes: its divisor.
pub(super) struct Asked(Vec<(&'static str, f64)>);

impl Asked {
    /// Counts the places in this process's chunks of a batch.
    ///
    /// # Errors
    /// If a loss finds nothing to ask about, no loss uses the links that there are, or a peer died.
    pub fn of(loss: &Objective, chunks: &[Views], group: &ProcessGroup) -> Result<Self, Error> {
        if !loss.reads_links() && chunks.iter().any(|chunk| !chunk.links.is_empty()) {
            return Err(Error::UnreadLinks);
        }
        let mut sums = vec![0.0; loss.local_names().len()];
        if sums.is_empty() {
            return Ok(Self(vec![]));
        }
        // A batch may have no targets in one process, but not in all.
        let mut unasked = None;
        for chunk in chunks {
            let of_chunk = chunk.asked();
            unasked = unasked.or(loss.unasked(&of_chunk));
            sums.iter_mut().zip(loss.num_asked(&of_chunk)).for_each(|(sum, asked)| *sum += asked);
        }
        let mut all = Tensor::from_slice(&sums);
        group.all_reduce(&mut all)?;
        let all = Vec::<f64>::try_from(all)?;
        if let Some(loss) = unasked.filter(|_| all.contains(&0.0)) {
            return Err(Error::NothingAsked { loss });
        }
        // A small batch may hide nothing by chance: its sum is 0, whatever it is divided by.
        let divisors = all.into_iter().map(|asked| if asked > 0.0 { asked } else { 1.0 });
        Ok(Self(loss.local_names().into_iter().zip(divisors).collect()))
    }

    /// This process's part of the mean of a local loss, with its weight.
    pub fn mean(&self, local: &Local) -> Tensor {
        &local.sum / self.divisor(local)
    }

    /// This process's parts of the metrics.
    pub fn metrics(&self, local: &Local) -> Vec<(String, Tensor)> {
        let divisor = self.divisor(local);
        local.metrics.iter().map(|(name, sum)| ((*name).to_owned(), sum / divisor)).collect()
    }

    fn divisor(&self, local: &Local) -> f64 {
        let found = self.0.iter().find(|(name, _)| *name == local.name);
        found.expect("a loss that was asked how much it asks").1
    }
}
