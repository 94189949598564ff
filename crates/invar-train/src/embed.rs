//! From samples to embeddings, with a trained model. On a CPU each worker draws the views of a batch and passes them
//! through the network in its own thread, so that no core ever waits for another; for a GPU the workers draw and
//! collate while it computes.
//!
//! Samples go through in *blocks* that lie at multiples of `block_samples`, and the batches of a block depend on the
//! block alone: one that a range begins or ends in is embedded whole all the same. So a sample's embedding is the same,
//! bit for bit, in every run: at any number of workers, and wherever a broken-off run goes on.

use std::ops::Range;

use crossbeam_channel::{Sender, bounded};
use invar_dataset::{DatasetError, Progress, View, ViewShape, ViewSource};
use invar_nn::Batch;
use invar_torch::Threads;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::{Error, Model, memory::explained};

/// LibTorch's threads while embedding. The workers are the parallelism: what a thread computes alone is the same however
/// many others there are.
pub const TORCH_THREADS: usize = 1;

/// Batches that wait for the network, a worker.
const DEPTH: usize = 2;

/// Batches whose embeddings wait for the sink, a worker: enough that nobody stands still while it writes a part.
const DEPTH_OF_ROWS: usize = 16;

/// Sequences are sorted by length among this many batches' worth of tokens, so that padding stays small.
const SORTED_BATCHES: usize = 8;

/// How much is embedded at a time. Changes results in the last bit at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbedConfig {
    /// Most samples of a block: the sink gets a block at a time. Nor has a block more samples than a batch has dense views,
    /// so that all workers have some of a small set of images.
    pub block_samples: usize,
    /// Most dense views of a batch.
    pub batch_views: usize,
    /// Most values of the dense views of a batch: what bounds the memory of images, whose feature maps are many times
    /// as large. A larger view makes a batch of its own.
    pub batch_values: usize,
    /// Most tokens of a batch, padding included; a longer view makes a batch of its own.
    pub batch_tokens: usize,
    /// Threads that draw views, and on a CPU pass them through the network. Does not change any result.
    pub view_workers: usize,
}

impl Default for EmbedConfig {
    fn default() -> Self {
        Self { block_samples: 1024, batch_views: 1024, batch_values: 1 << 21, batch_tokens: 262_144, view_workers: 2 }
    }
}

impl EmbedConfig {
    /// Most dense views of this many values in a batch.
    fn most_dense(&self, values: usize) -> usize {
        (self.batch_values / values.max(1)).clamp(1, self.batch_views)
    }
}

/// Samples of a block of `source`: a range that begins and ends at multiples of it embeds no sample in vain.
pub fn block_samples(source: &dyn ViewSource, config: &EmbedConfig) -> usize {
    let most_views = match source.view_shape() {
        ViewShape::Dense(extents) => config.most_dense(extents.iter().product()),
        _ => usize::MAX,
    };
    config.block_samples.min(most_views)
}

/// What takes the embeddings of samples `range`: `[range.len(), D]`, row-major.
pub type Sink<'a> = dyn FnMut(Range<usize>, &[f32]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + 'a;

/// Embeds samples `range` of a source, in order. A sample's embedding is the mean of its views', scaled to unit
/// length. Memory is bounded by a few batches, the embeddings of some more and the views of one sample, a worker.
///
/// Progress is told in samples.
///
/// # Errors
/// When a sample cannot be read, the views are not those of the model, the sink or LibTorch refuses, or the user cancels.
///
/// # Panics
/// When `range` reaches past the source.
pub fn embed(
    model: &Model,
    source: &dyn ViewSource,
    range: Range<usize>,
    config: &EmbedConfig,
    sink: &mut Sink,
    progress: &dyn Progress,
) -> Result<(), Error> {
    assert!(range.end <= source.len(), "samples {range:?} of {}", source.len());
    check(config)?;
    let _threads = Threads::set(TORCH_THREADS);
    invar_torch::keep_memory();
    progress.set_total(range.len() as u64);
    let blocks = blocks(&range, block_samples(source, config), source.len());
    let workers = config.view_workers.min(blocks.len()).max(1);
    // A GPU does one thing after another: there the model stays with the reader.
    let encoder = (model.device() == Device::Cpu).then_some(model);
    let depth = if encoder.is_some() { DEPTH_OF_ROWS } else { DEPTH };
    let produce = Produce { source, config, device: model.device(), encoder };
    let result = std::thread::scope(|scope| {
        let receivers: Vec<_> = (0..workers)
            .map(|worker| {
                let (sender, receiver) = bounded(depth);
                let own: Vec<Range<usize>> = blocks.iter().skip(worker).step_by(workers).cloned().collect();
                scope.spawn(move || produce.blocks(&own, &sender));
                receiver
            })
            .collect();
        for (number, block) in blocks.iter().enumerate() {
            let receiver = &receivers[number % workers];
            let mut means = Means::new(block.len(), model.dim());
            loop {
                if progress.is_cancelled() {
                    return Err(Error::Interrupted);
                }
                match receiver.recv().map_err(|_| Error::Worker)? {
                    Message::Batch(batch, samples) => means.add(&model.encode(&batch)?, &samples),
                    Message::Rows(rows, samples) => means.add(&rows, &samples),
                    Message::BlockEnd => break,
                    Message::Failed(error) => return Err(error),
                }
            }
            let wanted = block.start.max(range.start)..block.end.min(range.end);
            let rows = (wanted.start - block.start) * model.dim()..(wanted.end - block.start) * model.dim();
            let stored = sink(wanted.clone(), &means.finish()[rows]);
            stored.map_err(|source| Error::Sink { first: wanted.start, end: wanted.end, source })?;
            progress.advance(wanted.len() as u64);
        }
        Ok(())
    });
    result.map_err(|error| {
        explained(error, "embedding", || {
            format!(
                "lower embed.view_workers ({}), each of which holds a batch: --threads on the command line",
                config.view_workers
            )
        })
    })
}

/// Samples of a block where some samples are measured: few, so that all view workers have some.
const BLOCK_SAMPLES: usize = 16;

/// Views that are made of those of a source, a few: how they were moved is known already.
pub(crate) struct Made<F> {
    pub(crate) len: usize,
    pub(crate) shape: ViewShape,
    /// Of one of them.
    pub(crate) views: F,
}

impl<F: Fn(usize) -> Result<Vec<View>, DatasetError> + Send + Sync> ViewSource for Made<F> {
    fn len(&self) -> usize {
        self.len
    }

    fn view_shape(&self) -> ViewShape {
        self.shape.clone()
    }

    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
        (self.views)(index)
    }

    fn symmetries(&self) -> Vec<String> {
        vec![]
    }

    fn transformed(&self, _: usize, symmetry: usize) -> Result<Vec<View>, DatasetError> {
        panic!("symmetry {symmetry} of 0")
    }
}

/// Embeds all samples of a source of few, `[N, D]`.
pub(crate) fn embed_all(
    model: &Model,
    source: &dyn ViewSource,
    config: &EmbedConfig,
    progress: &dyn Progress,
) -> Result<Vec<f32>, Error> {
    let config = EmbedConfig { block_samples: BLOCK_SAMPLES, ..config.clone() };
    let mut all = Vec::with_capacity(source.len() * model.dim());
    let mut keep = |_: Range<usize>, rows: &[f32]| {
        all.extend_from_slice(rows);
        Ok(())
    };
    embed(model, source, 0..source.len(), &config, &mut keep, progress)?;
    Ok(all)
}

fn check(config: &EmbedConfig) -> Result<(), Error> {
    for (key, value) in [
        ("embed.block_samples", config.block_samples),
        ("embed.batch_views", config.batch_views),
        ("embed.batch_values", config.batch_values),
        ("embed.batch_tokens", config.batch_tokens),
        ("embed.view_workers", config.view_workers),
    ] {
        if value == 0 {
            return Err(Error::Config { key, expected: "at least 1".into(), found: "0".into() });
        }
    }
    Ok(())
}

/// The blocks of a source of `len` samples that a range touches.
fn blocks(range: &Range<usize>, size: usize, len: usize) -> Vec<Range<usize>> {
    if range.is_empty() {
        return vec![];
    }
    (range.start / size..range.end.div_ceil(size)).map(|block| block * size..((block + 1) * size).min(len)).collect()
}

enum Message {
    /// A batch for the network, and which sample of the block each row belongs to.
    Batch(Batch, Vec<u32>),
    /// What the network made of a batch, `[B, D]`.
    Rows(Vec<f32>, Vec<u32>),
    BlockEnd,
    Failed(Error),
}

/// Why a worker stops before its blocks are done.
enum Stop {
    Failed(Error),
    NobodyListens,
}

impl From<DatasetError> for Stop {
    fn from(error: DatasetError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<invar_nn::Error> for Stop {
    fn from(error: invar_nn::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// What a worker does.
#[derive(Clone, Copy)]
struct Produce<'a> {
    source: &'a dyn ViewSource,
    config: &'a EmbedConfig,
    device: Device,
    /// What encodes in the worker.
    encoder: Option<&'a Model>,
}

impl Produce<'_> {
    fn blocks(&self, blocks: &[Range<usize>], sender: &Sender<Message>) {
        // The number is a thread's own, too.
        let _threads = Threads::set(TORCH_THREADS);
        for block in blocks {
            // A panic of a source, or of LibTorch while views are collated, is told by the thread that waits.
            let done = invar_torch::caught(|| self.block(block.clone(), sender));
            match done.unwrap_or_else(|panic| Err(Stop::Failed(panic.into()))) {
                Ok(()) => {}
                Err(Stop::NobodyListens) => return,
                Err(Stop::Failed(error)) => {
                    let _ = sender.send(Message::Failed(error));
                    return;
                }
            }
        }
    }

    fn block(&self, block: Range<usize>, sender: &Sender<Message>) -> Result<(), Stop> {
        let mut pending = Pending { produce: self, sender, views: vec![], num_tokens: 0 };
        for (offset, index) in block.enumerate() {
            let views = self.source.views(index)?;
            if views.is_empty() {
                return Err(Stop::Failed(Error::NoView(index)));
            }
            for view in views {
                self.check_size(index, &view)?;
                pending.push(offset as u32, view)?;
            }
        }
        pending.flush()?;
        sender.send(Message::BlockEnd).map_err(|_| Stop::NobodyListens)
    }

    /// A graph cannot be cut: one that is larger than a batch may be would take any amount of memory.
    fn check_size(&self, index: usize, view: &View) -> Result<(), Stop> {
        let most = self.config.batch_tokens;
        match view {
            View::Graph { .. } if view.cost() > most => {
                Err(Stop::Failed(Error::Graph { sample: index, found: view.cost(), most }))
            }
            _ => Ok(()),
        }
    }

    /// A collated batch, as far as a worker takes it.
    fn message(&self, batch: Batch, samples: Vec<u32>) -> Result<Message, Error> {
        Ok(match self.encoder {
            Some(encoder) => Message::Rows(encoder.encode(&batch)?, samples),
            None => Message::Batch(batch.pin(self.device), samples),
        })
    }
}

/// Views that are not yet in a batch.
struct Pending<'a> {
    produce: &'a Produce<'a>,
    sender: &'a Sender<Message>,
    views: Vec<(u32, View)>,
    num_tokens: usize,
}

impl Pending<'_> {
    fn push(&mut self, sample: u32, view: View) -> Result<(), Stop> {
        self.num_tokens += num_tokens(&view);
        self.views.push((sample, view));
        let full = match self.num_tokens {
            0 => self.views.len() >= self.produce.config.most_dense(num_values(&self.views[0].1)),
            tokens => tokens >= SORTED_BATCHES * self.produce.config.batch_tokens,
        };
        if full { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let mut views = std::mem::take(&mut self.views);
        self.num_tokens = 0;
        // The longest first; views of equal length keep their order.
        views.sort_by_key(|(_, view)| std::cmp::Reverse(num_tokens(view)));
        let mut rest = views.as_slice();
        while let Some((_, longest)) = rest.first() {
            let most = match num_tokens(longest) {
                0 => self.produce.config.most_dense(num_values(longest)),
                tokens => (self.produce.config.batch_tokens / tokens).max(1),
            };
            let (batch, others) = rest.split_at(most.min(rest.len()));
            rest = others;
            let collated = Batch::collate(&batch.iter().map(|(_, view)| view).collect::<Vec<_>>())?;
            let samples = batch.iter().map(|(sample, _)| *sample).collect();
            let message = self.produce.message(collated, samples).map_err(Stop::Failed)?;
            self.sender.send(message).map_err(|_| Stop::NobodyListens)?;
        }
        Ok(())
    }
}

fn num_values(view: &View) -> usize {
    if matches!(view, View::Dense { .. }) { view.cost() } else { 0 }
}

/// Tokens, or nodes and edges; nothing of dense views, which are all of one size.
fn num_tokens(view: &View) -> usize {
    if matches!(view, View::Dense { .. }) { 0 } else { view.cost() }
}

/// Sums of the views' embeddings, in double precision.
struct Means {
    sums: Vec<f64>,
    dim: usize,
}

impl Means {
    fn new(num_samples: usize, dim: usize) -> Self {
        Self { sums: vec![0.0; num_samples * dim], dim }
    }

    fn add(&mut self, rows: &[f32], samples: &[u32]) {
        for (row, &sample) in rows.chunks_exact(self.dim).zip(samples) {
            let sums = &mut self.sums[sample as usize * self.dim..][..self.dim];
            sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
    }

    /// Unit vectors. Views that cancel out exactly leave a vector of zeros.
    fn finish(self) -> Vec<f32> {
        let mut unit = Vec::with_capacity(self.sums.len());
        for sums in self.sums.chunks_exact(self.dim) {
            let norm = sums.iter().map(|x| x * x).sum::<f64>().sqrt();
            let scale = if norm > 0.0 { norm.recip() } else { 0.0 };
            unit.extend(sums.iter().map(|x| (x * scale) as f32));
        }
        unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lie_on_a_grid() {
        assert_eq!(blocks(&(0..10), 4, 10), [0..4, 4..8, 8..10]);
        assert_eq!(blocks(&(3..9), 4, 20), [0..4, 4..8, 8..12]);
        assert_eq!(blocks(&(4..12), 4, 12), [4..8, 8..12]);
        assert!(blocks(&(5..5), 4, 9).is_empty());
    }

    #[test]
    fn means_are_of_unit_length() {
        let mut means = Means::new(3, 2);
        means.add(&[1.0, 0.0, 0.0, 1.0, 0.6, 0.8], &[0, 0, 1]);
        let half = std::f32::consts::FRAC_1_SQRT_2;
        assert_eq!(means.finish(), [half, half, 0.6, 0.8, 0.0, 0.0]);
    }
}
