//! View workers: threads that draw and collate batches ahead of the trainer.
//!
//! A batch is made in chunks of pairs. Worker `w` of `W` makes the chunks whose number is `w` modulo `W`, and sends
//! them through a bounded channel of its own; the trainer takes from the channels in turn. So chunks arrive in order,
//! memory is bounded by `W * (depth + 1)` chunks plus the batch in training, and the content of a batch depends only on
//! its number. With several processes, each makes its own rows of every batch.

use std::{
    iter::StepBy,
    ops::Range,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use invar_dataset::{Pair, PairSource, View, order::BatchOrder, seed};
use invar_nn::{Batch, SampleIds, Views};
use tch::Device;

use crate::Error;

/// Chunks queued for the trainer, per worker.
pub(crate) const DEPTH: usize = 2;

/// Which batches a [`Feed`] makes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The samples of each batch.
    pub order: BatchOrder,
    /// Batch `s` draws its pairs under `mix(seed, s)`.
    pub seed: u64,
    /// The numbers of the batches to make.
    pub batches: Range<u64>,
    /// The rows of each batch to make here.
    pub rows: Range<usize>,
    /// Pairs per chunk; the last chunk of a batch may have fewer.
    pub chunk_pairs: usize,
    /// Threads.
    pub workers: usize,
    /// The device the batches are meant for: for CUDA they are put into page-locked memory.
    pub device: Device,
}

impl Plan {
    /// All rows of each batch, in one chunk.
    pub fn whole(order: BatchOrder, seed: u64, batches: Range<u64>, workers: usize, device: Device) -> Self {
        let rows = 0..order.batch_size();
        Self { chunk_pairs: rows.len(), order, seed, batches, rows, workers, device }
    }

    /// Chunks per batch in this process.
    fn num_chunks(&self) -> u64 {
        self.rows.len().div_ceil(self.chunk_pairs) as u64
    }

    fn draw(&self, source: &dyn PairSource, chunk: u64) -> Result<Views, Error> {
        let (batch, part) = (chunk / self.num_chunks(), (chunk % self.num_chunks()) as usize);
        let first = self.rows.start + part * self.chunk_pairs;
        let end = self.rows.end.min(first + self.chunk_pairs);
        let views = draw(source, &self.order.batch(batch)[first..end], seed::mix(self.seed, batch))?;
        Ok(Views { stacks: views.stacks.into_iter().map(|stack| stack.pin(self.device)).collect(), ..views })
    }
}

/// Batches in order, made ahead of time.
pub struct Feed {
    receivers: Vec<Receiver<Result<Views, Error>>>,
    workers: Vec<JoinHandle<()>>,
    batches: Range<u64>,
    num_chunks: u64,
    /// Number of chunks delivered.
    given: usize,
}

impl Feed {
    /// Starts the workers.
    pub fn start(source: &Arc<dyn PairSource>, plan: &Plan) -> Self {
        let (batches, num_chunks) = (plan.batches.clone(), plan.num_chunks());
        let mut feed = Self { receivers: vec![], workers: vec![], batches, num_chunks, given: 0 };
        for worker in 0..plan.workers {
            let (sender, receiver) = bounded(DEPTH);
            let (source, plan) = (Arc::clone(source), plan.clone());
            feed.receivers.push(receiver);
            feed.workers.push(std::thread::spawn(move || work(&*source, &plan, worker, &sender)));
        }
        feed
    }

    fn receive(&mut self) -> Result<Views, Error> {
        let receiver = &self.receivers[self.given % self.receivers.len()];
        self.given += 1;
        receiver.recv().unwrap_or(Err(Error::Worker))
    }
}

/// Yields the chunks of each batch and how long the caller had to wait for them, or an error if a pair of the batch
/// cannot be drawn or collated.
impl Iterator for Feed {
    type Item = Result<(Vec<Views>, Duration), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()?;
        let start = Instant::now();
        let chunks: Result<Vec<Views>, Error> = (0..self.num_chunks).map(|_| self.receive()).collect();
        Some(chunks.map(|chunks| (chunks, start.elapsed())))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // A worker waiting for room in its channel sees it close, and ends.
        self.receivers.clear();
        for worker in self.workers.drain(..) {
            // It has already reported what went wrong, if anything did.
            let _ = worker.join();
        }
    }
}

fn work(source: &dyn PairSource, plan: &Plan, worker: usize, sender: &Sender<Result<Views, Error>>) {
    lower_priority();
    let chunks = plan.batches.start * plan.num_chunks()..plan.batches.end * plan.num_chunks();
    for chunk in chunks.skip(worker).step_by(plan.workers) {
        // A panic in the source, or in LibTorch when memory is short, is reported by the trainer.
        let drawn = invar_torch::caught(|| plan.draw(source, chunk)).unwrap_or_else(|panic| Err(panic.into()));
        let is_last = drawn.is_err();
        if sender.send(drawn).is_err() || is_last {
            return;
        }
    }
}

/// Lets the network's threads run first when cores are scarce: if one of them is delayed, all the others wait for it at
/// the end of each operation. Measured on two cores, a niceness of 8 gives a quarter to a third more pairs per second
/// than none; from 10 on the trainer waits for data more than a twentieth of the time.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    {
        const NICENESS: libc::c_int = 8;
        // SAFETY: no pointers. On Linux this affects the calling thread alone, and a refusal changes nothing.
        unsafe { libc::nice(NICENESS) };
    }
}

/// Draws the pairs of samples `indices` and stacks their views.
///
/// # Errors
/// If a pair cannot be drawn, or the pairs are not alike.
pub fn draw(source: &dyn PairSource, indices: &[usize], pair_seed: u64) -> Result<Views, Error> {
    let pairs = indices.iter().map(|&index| source.pair(index, pair_seed)).collect::<Result<Vec<_>, _>>()?;
    let num_views = pairs.first().map_or(0, |pair| pair.views.len());
    let num_towers = source.view_shapes().len();
    let num_columns = pairs.first().map_or(0, |pair| pair.classes.len());
    for pair in &pairs {
        check_pair(pair, num_views, num_towers, num_columns)?;
    }
    let of_views = |views: StepBy<Range<usize>>| views.flat_map(|view| pairs.iter().map(move |pair| &pair.views[view]));
    let ids = of_views((0..num_views).step_by(1)).map(|(id, _)| *id).collect();
    let stack = |tower: usize| {
        let views: Vec<&View> = of_views((tower..num_views).step_by(num_towers)).map(|(_, view)| view).collect();
        Batch::collate(&views)
    };
    let stacks = (0..num_towers).map(stack).collect::<Result<_, _>>()?;
    let groups = pairs.iter().map(|pair| pair.group).collect();
    let related = pairs.iter().map(|pair| pair.related.clone()).collect();
    let has_classes = pairs.iter().any(|pair| !pair.classes.is_empty());
    let classes = pairs.iter().filter(|_| has_classes).map(|pair| pair.classes.clone()).collect();
    let has_links = pairs.iter().any(|pair| pair.links.is_some());
    let links = pairs.into_iter().filter(|_| has_links).map(|pair| pair.links.unwrap_or_default()).collect();
    let samples = SampleIds::new(num_views, ids).with_groups(groups).with_related(related);
    Ok(Views { stacks, samples, links, classes })
}

fn check_pair(pair: &Pair, num_views: usize, num_towers: usize, num_columns: usize) -> Result<(), Error> {
    let sample = pair.views.first().map_or_else(|| "without a view".into(), |(id, _)| id.to_string());
    let complain = |reason| Err(Error::Pair { sample, reason });
    if pair.views.len() != num_views {
        return complain(format!("{} views, the first pair of the batch has {num_views}", pair.views.len()));
    }
    if pair.classes.len() != num_columns {
        return complain(format!("{} classes, the first pair of the batch has {num_columns}", pair.classes.len()));
    }
    if num_views < num_towers {
        return complain(format!("{num_views} views, which are said to be of {num_towers} shapes"));
    }
    if let Some(wrong) = pair.related.iter().find(|related| !(related.weight.is_finite() && related.weight >= 0.0)) {
        let (other, weight) = (wrong.sample, wrong.weight);
        return complain(format!("it is related to sample {other} with weight {weight}, expected one of at least 0"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use invar_dataset::{Related, SampleId};

    use super::*;

    #[test]
    fn a_pair_that_cannot_be_is_named_with_both_values() {
        let view = || View::features(vec![0.0]);
        let pair = |weight| Pair {
            related: vec![Related { sample: SampleId(9), weight }],
            ..Pair::of(SampleId(7), [view(), view()])
        };
        check_pair(&pair(0.0), 2, 2, 0).unwrap();
        for weight in [f32::NAN, -0.5, f32::INFINITY] {
            let error = check_pair(&pair(weight), 2, 1, 0).unwrap_err().to_string();
            let expected = format!("related to sample {} with weight {weight}", SampleId(9));
            assert!(error.contains(&SampleId(7).to_string()) && error.contains(&expected), "{error}");
        }
        let error = check_pair(&pair(1.0), 2, 3, 0).unwrap_err().to_string();
        assert!(error.contains("2 views") && error.contains("3 shapes"), "{error}");
        let error = check_pair(&pair(1.0), 4, 1, 0).unwrap_err().to_string();
        assert!(error.contains("2 views") && error.contains('4'), "{error}");
        let error = check_pair(&pair(1.0), 2, 1, 3).unwrap_err().to_string();
        assert!(error.contains("0 classes") && error.contains('3'), "{error}");
    }
}
