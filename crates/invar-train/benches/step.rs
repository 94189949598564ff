//! Training and embedding with views that cost nothing to draw: what the network, the loss and the trainer take.
//! `benches/peers/resnet_torch.py` and `transformer_torch.py` do the same in PyTorch; run the two in turns. Where other
//! programs share the cores, compare `cpu_ms`, the CPU time of a step, on one thread.
//!
//! `cargo bench -p invar-train --bench step -- [SIZE] [SIDE] [BATCH] [STEPS] [THREADS] [bf16] [c4|c8] [group]`;
//! default `tiny 64 64 40 2`. With `transformer`, SIDE is the number of bases.
#![allow(clippy::print_stdout)]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use invar_dataset::{DatasetError, NoProgress, Pair, PairSource, SampleId, View, ViewShape, ViewSource, seed};
use invar_nn::{
    EncoderConfig,
    encoder::{
        resnet::{NormKind, ResNetConfig, Size},
        transformer::TransformerConfig,
    },
    layers::Precision,
};
use invar_train::{EmbedConfig, Model, StepMetrics, TrainConfig, TrainingJob, embed, train};
use rand::Rng as _;
use tch::Device;

const NUM_STORED: usize = 64;
const NUM_EMBEDDED: usize = 2000;
/// Steps left out of the figure: LibTorch chooses and compiles its kernels.
const WARM_UP: u64 = 5;

/// Stored views, each served over and over.
struct Stored {
    shape: ViewShape,
    views: Vec<View>,
}

impl Stored {
    fn images(side: usize) -> Self {
        let mut rng = seed::rng(1, 2);
        let mut image = || (0..side * side).map(|_| (rng.next_u64() >> 40) as f32 / (1 << 24) as f32).collect();
        let views = (0..NUM_STORED).map(|_| View::Dense { shape: vec![1, side, side], data: image() }).collect();
        Self { shape: ViewShape::Dense(vec![1, side, side]), views }
    }

    fn sequences(length: usize) -> Self {
        let mut rng = seed::rng(1, 2);
        let mut bases = || (0..length).map(|_| (rng.next_u64() >> 62) as i32).collect();
        Self {
            shape: ViewShape::Tokens { vocabulary: 5 },
            views: (0..NUM_STORED).map(|_| View::tokens(bases())).collect(),
        }
    }

    fn view(&self, index: usize) -> View {
        self.views[index % NUM_STORED].clone()
    }
}

impl PairSource for Stored {
    fn len(&self) -> usize {
        NUM_EMBEDDED
    }
    fn view_shapes(&self) -> Vec<ViewShape> {
        vec![self.shape.clone()]
    }
    fn pair(&self, index: usize, _: u64) -> Result<Pair, DatasetError> {
        let views = vec![self.view(index), self.view(index + 1)];
        Ok(Pair::of(SampleId(index as u64), views))
    }
    fn split_key(&self, index: usize) -> SampleId {
        SampleId(index as u64)
    }
}

impl ViewSource for Stored {
    fn len(&self) -> usize {
        NUM_EMBEDDED
    }
    fn view_shape(&self) -> ViewShape {
        self.shape.clone()
    }
    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
        Ok(vec![self.view(index)])
    }
    fn symmetries(&self) -> Vec<String> {
        vec![]
    }
    fn transformed(&self, index: usize, _: usize) -> Result<Vec<View>, DatasetError> {
        self.views(index)
    }
}

/// Notes when each step ended, and the CPU time until then.
#[derive(Default)]
struct Laps(std::sync::Mutex<Vec<(Instant, Duration)>>);

impl invar_dataset::Progress for Laps {
    fn set_total(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
}

impl invar_train::Observer for Laps {
    fn step(&self, _: &StepMetrics) {
        self.0.lock().expect("no panic").push((Instant::now(), cpu_time()));
    }
}

/// CPU time of all threads of this process.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours to write.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let has = |word: &str| args.iter().any(|arg| arg == word);
    let numbers: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let number = |place: usize, default: usize| numbers.get(place).copied().unwrap_or(default);
    let (side, batch_size, steps) = (number(0, 64), number(1, 64), number(2, 40) as u64 + WARM_UP);
    let sizes = [("nano", Size::Nano), ("small", Size::Small), ("resnet18", Size::Resnet18)];
    let config = ResNetConfig {
        size: sizes.into_iter().find(|(name, _)| has(name)).map_or(Size::Tiny, |(_, size)| size),
        norm: if has("group") { NormKind::Group } else { NormKind::Batch },
        precision: if has("bf16") { Precision::Bf16 } else { Precision::F32 },
        ..ResNetConfig::default()
    };
    let encoder = match (has("c4"), has("c8")) {
        _ if has("transformer") => EncoderConfig::Transformer(TransformerConfig::default()),
        (true, _) => EncoderConfig::ResnetC4(config),
        (_, true) => EncoderConfig::ResnetC8(config),
        _ => EncoderConfig::Resnet(config),
    };
    let train_config = TrainConfig {
        steps: steps.into(),
        batch_size,
        threads: number(3, 2),
        validation_fraction: 0.0,
        checkpoint_every: steps,
        ..TrainConfig::default()
    };
    let recipe = TrainingJob {
        encoders: vec![encoder],
        loss: Default::default(),
        train: train_config,
        features: Default::default(),
        data: Default::default(),
    };
    let dir = std::env::temp_dir().join(format!("invar-bench-{}", std::process::id()));
    let source = Arc::new(if has("transformer") { Stored::sequences(side) } else { Stored::images(side) });
    let laps = Laps::default();
    let summary = train(&recipe, source.clone(), Device::Cpu, &dir, &laps).expect("trains");
    let laps: Vec<(Instant, Duration)> = laps.0.into_inner().expect("no panic").split_off(WARM_UP as usize - 1);
    let mut seconds: Vec<f64> = laps.windows(2).map(|lap| (lap[1].0 - lap[0].0).as_secs_f64()).collect();
    let cpu = (laps[laps.len() - 1].1 - laps[0].1).as_secs_f64() / seconds.len() as f64;
    let views = 2.0 * batch_size as f64;
    let mean = views * seconds.len() as f64 / seconds.iter().sum::<f64>();
    seconds.sort_by(f64::total_cmp);
    let model = Model::load(&summary.model, Device::Cpu).expect("loads");
    let start = Instant::now();
    let mut sink = |_: std::ops::Range<usize>, rows: &[f32]| {
        black_box(rows);
        Ok(())
    };
    embed(&model, &*source, 0..NUM_EMBEDDED, &EmbedConfig::default(), &mut sink, &NoProgress).expect("embeds");
    let embedded = NUM_EMBEDDED as f64 / start.elapsed().as_secs_f64();
    println!(
        "{{\"views_per_s\": {mean:.1}, \"best_views_per_s\": {:.1}, \"median_ms\": {:.1}, \"cpu_ms\": {:.1}, \"waited\": {:.3}, \
         \"embed_views_per_s\": {embedded:.1}}}",
        views / seconds[0],
        1e3 * seconds[seconds.len() / 2],
        1e3 * cpu,
        summary.wait_s / summary.elapsed_s,
    );
    std::fs::remove_dir_all(&dir).expect("the directory is ours");
}
