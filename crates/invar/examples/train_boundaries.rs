//! Trains the boundary network of micrographs on synthetic pictures, and writes its weights:
//!
//! ```text
//! cargo run --release --locked -p invar --example train_boundaries -- OUT [--steps N] [--seed S] [--threads N]
//! ```
//!
//! OUT is a file of weights, as read by `invar_micrographs::learned::BoundaryNetwork`; it is also written every 250 steps,
//! so that a run that is ended early keeps what it has. The same seed and number of threads give the same weights on the same machine.
#![allow(clippy::print_stdout)]

use std::{path::PathBuf, time::Instant};

use invar_dataset::seed::{self, Rng, Stream};
use invar_micrographs::{
    learned::{BoundaryNetwork, Layer, NUM_INPUTS, inputs},
    synthetic::{SyntheticMicrograph, training_micrograph},
};
use invar_nn::{layers::Precision, unet::UNet};
use tch::{
    Device, Kind, Reduction, Tensor,
    nn::{self, OptimizerConfig},
};

/// Channels of the levels, finest first.
const CHANNELS: [i64; 5] = [8, 16, 32, 48, 64];
/// Side of a synthetic picture, and of the part of it that is trained on at a time, in pixels.
const SIDE: usize = 192;
const CROP: usize = 128;
const BATCH: usize = 6;
/// Number of pictures in the pool; each step replaces some.
const POOL: usize = 240;
const FRESH: usize = 1;
const LEARNING_RATE: f64 = 3e-3;
const WARM_UP: usize = 50;
/// Decay of the running mean of the weights, which is what is saved.
const MEAN_DECAY: f64 = 0.995;
const NUM_HELD_OUT: u64 = 60;

struct Arguments {
    out: PathBuf,
    steps: usize,
    seed: u64,
    threads: i32,
}

fn arguments() -> Result<Arguments, Box<dyn std::error::Error>> {
    let (mut out, mut steps, mut seed, mut threads) = (None, 2500, 1, 1);
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--steps" => steps = value()?.parse()?,
            "--seed" => seed = value()?.parse()?,
            "--threads" => threads = value()?.parse()?,
            _ => out = Some(PathBuf::from(argument)),
        }
    }
    let out = out.ok_or("usage: train_boundaries OUT [--steps N] [--seed S] [--threads N]")?;
    Ok(Arguments { out, steps, seed, threads })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { out, steps, seed, threads } = arguments()?;
    tch::set_num_threads(threads);
    invar_torch::keep_memory();
    tch::manual_seed(Stream::Weights.seed(seed) as i64);
    let mut rng = seed::rng(Stream::Pairs.seed(seed), 0);
    let (store, mean_store) = (nn::VarStore::new(Device::Cpu), nn::VarStore::new(Device::Cpu));
    let network = UNet::new(&store.root(), NUM_INPUTS as i64, &CHANNELS);
    let mean = UNet::new(&mean_store.root(), NUM_INPUTS as i64, &CHANNELS);
    let mut optimizer = nn::adamw(0.9, 0.999, 1e-4).build(&store, LEARNING_RATE)?;
    let picture = |index: u64| Picture::new(training_micrograph(SIDE, seed, index));
    let mut next = NUM_HELD_OUT;
    let held_out: Vec<Picture> = (0..NUM_HELD_OUT).map(picture).collect();
    let mut pool: Vec<Picture> = (0..POOL)
        .map(|_| {
            next += 1;
            picture(next - 1)
        })
        .collect();
    let start = Instant::now();
    let mut running = f64::NAN;
    for step in 0..steps {
        for i in 0..FRESH {
            pool[(step * FRESH + i) % POOL] = picture(next);
            next += 1;
        }
        optimizer.set_lr(learning_rate(step, steps));
        let [x, target, weight] = batch(&pool, &mut rng);
        let loss = loss(&network.forward(&x, Precision::F32, true).squeeze_dim(1), &target, &weight);
        optimizer.backward_step(&loss);
        follow(&store, &mean_store, step);
        let value = loss.double_value(&[]);
        running = if running.is_nan() { value } else { 0.98 * running + 0.02 * value };
        if (step + 1) % 50 == 0 {
            println!("step {} of {steps}, {:.0} s, loss {running:.4}", step + 1, start.elapsed().as_secs_f64());
        }
        if (step + 1) % 250 == 0 || step + 1 == steps {
            std::fs::write(&out, exported(&mean)?.to_bytes())?;
        }
        if (step + 1) % 500 == 0 || step + 1 == steps {
            println!("{}", quality(&mean, &held_out));
        }
    }
    Ok(())
}

/// Rises to the learning rate in the first steps, then falls to 2 % of it along half a cosine.
fn learning_rate(step: usize, steps: usize) -> f64 {
    let done = step as f64 / steps.max(1) as f64;
    let warm = ((step + 1) as f64 / WARM_UP as f64).min(1.0);
    LEARNING_RATE * warm * (0.02 + 0.98 * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()))
}

/// Lets the mean follow the weights and the running means of the norms; quickly at first.
fn follow(store: &nn::VarStore, mean: &nn::VarStore, step: usize) {
    let decay = MEAN_DECAY.min((1.0 + step as f64) / (10.0 + step as f64));
    let mut means = mean.variables();
    tch::no_grad(|| {
        for (name, now) in store.variables() {
            if let Some(mean) = means.get_mut(&name) {
                let moved = &*mean * decay + now * (1.0 - decay);
                mean.copy_(&moved);
            }
        }
    });
}

fn exported(network: &UNet) -> Result<BoundaryNetwork, Box<dyn std::error::Error>> {
    let layers = network.folded().into_iter();
    let layers = layers.map(|c| Layer { extents: c.extents, kernel: c.kernel, bias: c.bias }).collect();
    Ok(BoundaryNetwork::new(CHANNELS.iter().map(|&channels| channels as usize).collect(), layers)?)
}

/// A picture as tensors.
struct Picture {
    /// `[2, side, side]`.
    inputs: Tensor,
    /// `[2, side, side]`: 1 on boundaries; the weight of each pixel.
    truth: Tensor,
}

impl Picture {
    fn new(picture: SyntheticMicrograph) -> Self {
        let grey = stretched(&picture.grey);
        let side = picture.side_px;
        let size = [2, side as i64, side as i64];
        let target = picture.is_boundary.iter().map(|&boundary| f32::from(u8::from(boundary)));
        // Where there is neither a line nor a step, there is nothing to learn; a gap in a line should be bridged.
        let weight = picture.plainness.iter().map(|plain| 0.1 + 0.9 * plain);
        let truth: Vec<f32> = target.chain(weight).collect();
        Self {
            inputs: Tensor::from_slice(&inputs(&grey, side, side)).view(size),
            truth: Tensor::from_slice(&truth).view(size),
        }
    }
}

/// Grey values as fractions of the levels, which are the 1st and the 99th percentile, as when pictures are ingested.
fn stretched(grey: &[f32]) -> Vec<f32> {
    let mut sorted = grey.to_vec();
    sorted.sort_by(f32::total_cmp);
    let at = |share: f64| sorted[(share * (sorted.len() - 1) as f64) as usize];
    let (low, high) = (at(0.01), at(0.99));
    let scale = 1.0 / (high - low).max(1.0 / 255.0);
    grey.iter().map(|value| (value - low) * scale).collect()
}

/// Inputs `[B, 2, crop, crop]`, targets and weights `[B, crop, crop]`: parts of pictures, rotated and mirrored.
fn batch(pool: &[Picture], rng: &mut Rng) -> [Tensor; 3] {
    let (mut xs, mut truths) = (Vec::new(), Vec::new());
    for _ in 0..BATCH {
        let picture = &pool[seed::below(pool.len(), rng)];
        let [row, column] = [0; 2].map(|_: i64| seed::below(SIDE - CROP + 1, rng) as i64);
        let (turns, mirror) = (seed::below(4, rng) as i64, seed::coin(rng));
        let part = |t: &Tensor| {
            let part = t.narrow(1, row, CROP as i64).narrow(2, column, CROP as i64).rot90(turns, [1, 2]);
            if mirror { part.flip([2]) } else { part }
        };
        xs.push(part(&picture.inputs));
        truths.push(part(&picture.truth));
    }
    let truth = Tensor::stack(&truths, 0);
    [Tensor::stack(&xs, 0), truth.select(1, 0), truth.select(1, 1)]
}

/// Cross-entropy plus half of the Dice loss (Milletari, Navab and Ahmadi 2016), from logits `[B, H, W]`.
fn loss(logits: &Tensor, target: &Tensor, weight: &Tensor) -> Tensor {
    let entropy = logits.binary_cross_entropy_with_logits(target, Some(weight), None, Reduction::Mean);
    let probability = logits.sigmoid() * weight;
    let sum = |t: &Tensor| t.sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Float);
    let overlap = sum(&(&probability * target)) * 2.0 + 1.0;
    let dice: Tensor = 1.0 - overlap / (sum(&probability) + sum(&(target * weight)) + 1.0);
    entropy + dice.mean(Kind::Float) * 0.5
}

/// Precision and recall of pixels above one half on pictures that were not trained on, weighted as in the loss.
fn quality(network: &UNet, pictures: &[Picture]) -> String {
    let mut sums = [0.0; 3];
    let _guard = tch::no_grad_guard();
    for picture in pictures {
        let logits =
            network.forward(&picture.inputs.unsqueeze(0), Precision::F32, false).view([SIDE as i64, SIDE as i64]);
        let (target, weight) = (picture.truth.get(0), picture.truth.get(1));
        let hit = logits.gt(0.0).to_kind(Kind::Float);
        for (sum, values) in sums.iter_mut().zip([&hit * &target, hit, target]) {
            *sum += (values * &weight).sum(Kind::Float).double_value(&[]);
        }
    }
    format!("held out: precision {:.4}, recall {:.4}", sums[0] / sums[1], sums[0] / sums[2])
}
