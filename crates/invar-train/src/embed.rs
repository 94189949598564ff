//! From samples to embeddings, with a trained model. On a CPU each worker draws the views of a batch and passes them
//! through the network in its own thread, so that no core ever waits for another; for a GPU the workers draw and
//! collate while it computes.
//!
//! Samples are processed in *blocks* aligned to multiples of `block_samples`, and the batches of a block depend on that
//! block alone: a block that a range only partly covers is still embedded whole. So a sample's embedding is the same,
//! bit for bit, in every run: with any number of workers, and wherever an interrupted run resumes.

use std::ops::Range;

use crossbeam_channel::{Sender, bounded};
use invar_dataset::{DatasetError, Progress, View, ViewShape, ViewSource};
use invar_nn::Batch;
use invar_torch::Threads;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::{Error, Model, memory::explained};

/// LibTorch's threads while embedding. The workers provide the parallelism: what a thread computes alone is the same
/// however many others there are.
pub const TORCH_THREADS: usize = 1;

/// Batches queued for the network, per worker.
const DEPTH: usize = 2;

/// Batches whose embeddings are queued for the sink, per worker: enough that no worker stalls while the sink writes a
/// part.
const DEPTH_OF_ROWS: usize = 16;

/// Sequences are sorted by length within this many batches' worth of tokens, to keep padding small.
const SORTED_BATCHES: usize = 8;

/// How much is embedded at a time. Affects results in the last bit at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbedConfig {
    /// Maximum number of samples per block: the sink receives a block at a time. A block also has no more samples than
    /// a batch has dense views, so that even a small set of images is spread over all workers.
    pub block_samples: usize,
    /// Maximum number of dense views per batch.
    pub batch_views: usize,
    /// Maximum number of values in the dense views of a batch. This bounds the memory for images, whose feature maps
    /// are many times as large. A larger view gets a batch of its own.
    pub batch_values: usize,
    /// Maximum number of tokens per batch, padding included; a longer view gets a batch of its own.
    pub batch_tokens: usize,
    /// Threads that draw views and, on a CPU, pass them through the network. They do not affect any result.
    pub view_workers: usize,
}

impl Default for EmbedConfig {
    fn default() -> Self {
        Self { block_samples: 1024, batch_views: 1024, batch_values: 1 << 21, batch_tokens: 262_144, view_workers: 2 }
    }
}

impl EmbedConfig {
    /// Maximum number of dense views per batch, each of `values` values.
    fn most_dense(&self, values: usize) -> usize {
        (self.batch_values / values.max(1)).clamp(1, self.batch_views)
    }
}

/// Samples per block of `source`: a range that begins and ends at multiples of it wastes no work.
pub fn block_samples(source: &dyn ViewSource, config: &EmbedConfig) -> usize {
    let most_views = match source.view_shape() {
        ViewShape::Dense(extents) => config.most_dense(extents.iter().product()),
        _ => usize::MAX,
    };
    config.block_samples.min(most_views)
}

/// Receives the embeddings of samples `range`: `[range.len(), D]`, row-major.
pub type Sink<'a> = dyn FnMut(Range<usize>, &[f32]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + 'a;

/// Embeds samples `range` of a source, in order. A sample's embedding is the mean of its views' embeddings, scaled to
/// unit length. Memory is bounded, per worker, by a few batches, the embeddings of some more and the views of one
/// sample.
///
/// Progress is reported in samples.
///
/// # Errors
/// If a sample cannot be read, the views are not those of the model, the sink or LibTorch fails, or the user cancels.
///
/// # Panics
/// If `range` extends past the end of the source.
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
    // A GPU does one thing after another: there the model stays with the reading thread.
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

/// Samples per block when only some samples are measured: few, so that all view workers get some.
const BLOCK_SAMPLES: usize = 16;

/// Views made from those of a source, one sample at a time: the transformation is already fixed.
pub(crate) struct Made<F> {
    pub(crate) len: usize,
    pub(crate) shape: ViewShape,
    /// Makes the views of one sample.
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

/// Embeds all samples of a small source, `[N, D]`.
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
    /// A batch for the network, and the sample of the block each row belongs to.
    Batch(Batch, Vec<u32>),
    /// The output of the network for a batch, `[B, D]`.
    Rows(Vec<f32>, Vec<u32>),
    BlockEnd,
    Failed(Error),
}

/// Why a worker stops before finishing its blocks.
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

/// The work of one worker.
#[derive(Clone, Copy)]
struct Produce<'a> {
    source: &'a dyn ViewSource,
    config: &'a EmbedConfig,
    device: Device,
    /// The model, if the worker itself encodes.
    encoder: Option<&'a Model>,
}

impl Produce<'_> {
    fn blocks(&self, blocks: &[Range<usize>], sender: &Sender<Message>) {
        // The number of threads is a per-thread setting.
        let _threads = Threads::set(TORCH_THREADS);
        for block in blocks {
            // A panic in a source, or in LibTorch while views are collated, is reported by the waiting thread.
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

    /// A graph cannot be split: one larger than the limit of a batch would take any amount of memory.
    fn check_size(&self, index: usize, view: &View) -> Result<(), Stop> {
        let most = self.config.batch_tokens;
        match view {
            View::Graph { .. } | View::Node(_) if view.cost() > most => {
                Err(Stop::Failed(Error::Graph { sample: index, found: view.cost(), most }))
            }
            _ => Ok(()),
        }
    }

    /// A collated batch, processed as far as a worker does.
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
        // Longest first; views of equal length keep their order.
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

/// Tokens, or nodes plus edges; 0 for dense views, which all have the same size.
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

    /// Unit vectors. Views that cancel out exactly leave a zero vector.
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
