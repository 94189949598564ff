//! What a recipe would do, found without training: the network, its memory, the speed of the data.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use invar_dataset::{PairSource, SampleId, order::BatchOrder, seed::Stream, split};
use invar_nn::{SampleIds, Views};
use invar_torch::Threads;
use serde::Serialize;
use tch::Device;

use crate::{
    ContrastiveStep, Error, Memory, Place, Step, TrainingJob,
    feed::{self, DEPTH, Feed, Plan},
    memory::{check_host, guarded},
    trainer::{chunk_pairs, with_views},
};

/// How long views are drawn to measure their speed.
const DRAW_FOR: Duration = Duration::from_secs(3);

/// Bytes of views in the smaller of the two batches used to measure the memory of activations, and its minimum and
/// maximum number of pairs: large enough to stand out from what the allocator keeps, small enough for any machine.
const PROBE_BYTES: usize = 4 << 20;
const PROBE_PAIRS: [usize; 2] = [8, 256];

/// What a recipe would do.
#[derive(Clone, Debug, Serialize)]
pub struct Survey {
    /// Every parameter and buffer.
    pub tensors: Vec<Parameter>,
    /// Number of trained values.
    pub num_trained: usize,
    /// Number of values in frozen parameters and in buffers.
    pub num_fixed: usize,
    /// Embedding dimensions, D.
    pub dim: usize,
    /// Samples to train on.
    pub num_training: usize,
    /// Samples held out for validation.
    pub num_held_out: usize,
    /// Total number of optimizer steps.
    pub steps: u64,
    /// Pairs per batch, over all processes.
    pub batch_size: usize,
    /// Pairs whose activations are in memory at a time.
    pub chunk_pairs: usize,
    /// Memory of a training process besides the program itself.
    pub memory: Memory,
    /// Pairs per second that the view workers of this process draw, with nothing else running.
    pub pairs_per_s: f64,
}

/// A named tensor of the network.
#[derive(Clone, Debug, Serialize)]
pub struct Parameter {
    /// Its name, as used in `train.freeze`.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<i64>,
    /// Whether training changes it by gradients.
    pub is_trained: bool,
}

/// Surveys a recipe for a source in `processes` processes, each with its network on `device`. Runs two small batches
/// through the network on the CPU, and draws views for three seconds.
///
/// # Errors
/// If the recipe does not fit the data, or what would be in the host's memory does not fit there.
pub fn survey(
    recipe: &TrainingJob,
    source: Arc<dyn PairSource>,
    processes: usize,
    device: Device,
) -> Result<Survey, Error> {
    recipe.train.validate()?;
    guarded(&recipe.train, "dry run", || look(recipe, source, processes, device))
}

fn look(recipe: &TrainingJob, source: Arc<dyn PairSource>, processes: usize, device: Device) -> Result<Survey, Error> {
    let config = &recipe.train;
    let on_host = device == Device::Cpu;
    let _threads = Threads::set(config.threads);
    let mut step = ContrastiveStep::new(recipe, &source.view_shapes(), &Place::from(Device::Cpu))?;
    let named = step.parameters();
    let count =
        |trained: bool| named.iter().filter(|(_, t)| t.requires_grad() == trained).map(|(_, t)| t.numel()).sum();
    let (num_trained, num_fixed): (usize, usize) = (count(true), count(false));
    let weights = Memory::of_weights(num_trained, num_fixed, recipe.loss.losses.len(), config);
    if on_host {
        check_host(weights, config)?;
    }
    let (training, held_out) =
        split::split(with_views(config, source), config.validation_fraction, Stream::Split.seed(config.seed))?;
    let (num_training, num_held_out) = (training.len(), held_out.len());
    let order = BatchOrder::new(num_training, config.batch_size, 0)?;
    let batch_size = order.batch_size();
    let rows = (batch_size / processes.max(1)).max(1);
    let part = chunk_pairs(config, rows, step.side_by_side());
    let chunk_pairs = rows.min(part * step.side_by_side());
    let training: Arc<dyn PairSource> = Arc::new(training);
    let draw = |pairs| feed::draw(&*training, &BatchOrder::new(num_training, pairs, 0)?.batch(0), 0);
    let few = draw(PROBE_PAIRS[0])?;
    let view_bytes = few.num_bytes() / few.num_pairs();
    let probe = draw((PROBE_BYTES / view_bytes.max(1)).clamp(PROBE_PAIRS[0], PROBE_PAIRS[1]))?;
    let memory = Memory {
        weights,
        activations: activations_per_pair(&mut step, &probe)?.map(|bytes| bytes * chunk_pairs),
        views: view_bytes * (rows + part * config.view_workers * (DEPTH + 1)),
    };
    check_host(if on_host { memory.total() } else { memory.views }, config)?;
    let plan =
        Plan::whole(order, Stream::Pairs.seed(config.seed), 0..u64::from(u32::MAX), config.view_workers, Device::Cpu);
    let plan = Plan { rows: 0..rows, chunk_pairs: part, ..plan };
    let pairs_per_s = speed(&training, &plan)?;
    let tensors = named
        .iter()
        .map(|(name, t)| Parameter { name: name.clone(), shape: t.size(), is_trained: t.requires_grad() })
        .collect();
    let dim = step.dim();
    Ok(Survey {
        tensors,
        num_trained,
        num_fixed,
        dim,
        num_training,
        num_held_out,
        steps: config.steps.on(num_training, batch_size * config.accumulate),
        batch_size,
        chunk_pairs,
        memory,
        pairs_per_s,
    })
}

/// How much the process's peak memory grows from a batch to one of twice its size, per pair.
fn activations_per_pair(step: &mut ContrastiveStep, probe: &Views) -> Result<Option<usize>, Error> {
    let others = SampleIds::new(probe.samples.num_views(), probe.samples.iter().map(|id| SampleId(!id.0)).collect());
    // The same views twice; which sample they belong to costs no memory.
    let samples = SampleIds::concat([&probe.samples, &others.with_groups(probe.samples.groups().to_vec())].into_iter());
    let stacks = probe.stacks.iter().map(|stack| stack.repeated(2)).collect();
    let links = [&probe.links[..], &probe.links[..]].concat();
    let classes = [&probe.classes[..], &probe.classes[..]].concat();
    let double = Views { stacks, samples, links, classes };
    let mut peaks = [0; 2];
    // The first pass makes LibTorch allocate what it keeps.
    for (round, views) in [(0, &double), (0, probe), (1, &double)] {
        let Some(before) = reset_peak() else { return Ok(None) };
        step.accumulate(0, std::slice::from_ref(views))?;
        let Some(peak) = status_bytes("VmHWM:") else { return Ok(None) };
        peaks[round] = peak.saturating_sub(before);
    }
    Ok(Some(peaks[1].saturating_sub(peaks[0]) / probe.num_pairs()))
}

/// Resets the peak of the resident memory to its current value, and returns that.
fn reset_peak() -> Option<usize> {
    fs::write("/proc/self/clear_refs", "5").ok()?;
    status_bytes("VmRSS:")
}

fn status_bytes(key: &str) -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kilobytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn speed(source: &Arc<dyn PairSource>, plan: &Plan) -> Result<f64, Error> {
    let mut pairs = 0;
    let start = Instant::now();
    for next in Feed::start(source, plan) {
        pairs += next?.0.iter().map(Views::num_pairs).sum::<usize>();
        if start.elapsed() > DRAW_FOR {
            break;
        }
    }
    Ok(pairs as f64 / start.elapsed().as_secs_f64())
}
