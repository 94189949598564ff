//! How close training and embedding come to what the network's matrix products alone would allow, as ratios within one
//! run.
//!
//! `cargo bench -p invar-train`; `-- 100` sets the microseconds that drawing a view takes (default 30, about what a
//! 6-mer profile of a few kilobases costs), `-- bf16` the products of the hidden layers.
#![allow(clippy::print_stdout)]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use invar_dataset::{DatasetError, NoProgress, Pair, PairSource, SampleId, View, ViewShape, ViewSource, seed};
use invar_nn::{EncoderConfig, encoder::kmer_mlp::KmerMlpConfig, layers::Precision};
use invar_train::{EmbedConfig, Model, Steps, TrainConfig, TrainingJob, embed, train};
use rand::Rng as _;
use tch::{Device, Kind, Tensor};

const NUM_FEATURES: usize = 2080;
const NUM_STORED: usize = 256;
const STEPS: u64 = 60;
const THREADS: usize = 2;

/// Stored profiles, each served after a given amount of work.
struct Profiles {
    stored: Vec<Vec<f32>>,
    cost: Duration,
}

impl Profiles {
    fn new(cost: Duration) -> Self {
        let mut rng = seed::rng(1, 2);
        let mut profile = || (0..NUM_FEATURES).map(|_| (rng.next_u64() >> 40) as f32 / (1 << 24) as f32).collect();
        Self { stored: (0..NUM_STORED).map(|_| profile()).collect(), cost }
    }

    fn view(&self, index: usize) -> View {
        let start = Instant::now();
        while start.elapsed() < self.cost {
            std::hint::spin_loop();
        }
        View::features(self.stored[index % NUM_STORED].clone())
    }
}

impl PairSource for Profiles {
    fn len(&self) -> usize {
        20_000
    }
    fn view_shapes(&self) -> Vec<ViewShape> {
        vec![ViewShape::Dense(vec![NUM_FEATURES])]
    }
    fn pair(&self, index: usize, _: u64) -> Result<Pair, DatasetError> {
        let views = vec![self.view(index), self.view(index + 1)];
        Ok(Pair::of(SampleId(index as u64), views))
    }
    fn split_key(&self, index: usize) -> SampleId {
        SampleId(index as u64)
    }
}

impl ViewSource for Profiles {
    fn len(&self) -> usize {
        20_000
    }
    fn view_shape(&self) -> ViewShape {
        ViewShape::Dense(vec![NUM_FEATURES])
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

fn main() {
    let precision = if std::env::args().any(|arg| arg == "bf16") { Precision::Bf16 } else { Precision::F32 };
    let given = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let cost = Duration::from_micros(given.unwrap_or(30));
    tch::set_num_threads(THREADS as i32);
    invar_torch::share_cores(THREADS).expect("threads can be started");
    let dir = std::env::temp_dir().join(format!("invar-bench-{}", std::process::id()));
    let products = matrix_products(precision);
    println!("matrix products alone          {products:9.0} views/s");
    let products_and_gradients = products_with_gradients(precision);
    println!("  and those of the gradients   {products_and_gradients:9.0} views/s");
    for (name, cost) in [("free views", Duration::ZERO), ("drawn views", cost)] {
        println!("{name} ({} us)", cost.as_micros());
        let model = bench_training(&dir, cost, precision, products_and_gradients);
        bench_embedding(&model, cost, products);
    }
    std::fs::remove_dir_all(&dir).expect("the directory is ours");
}

fn bench_training(dir: &std::path::Path, cost: Duration, precision: Precision, products: f64) -> Model {
    let config = TrainConfig {
        steps: Steps::Fixed(STEPS),
        threads: THREADS,
        validation_fraction: 0.0,
        checkpoint_every: STEPS,
        ..TrainConfig::default()
    };
    let encoder = EncoderConfig::KmerMlp(KmerMlpConfig { precision, ..KmerMlpConfig::default() });
    let recipe = TrainingJob {
        encoders: vec![encoder],
        loss: Default::default(),
        train: config,
        features: Default::default(),
        data: format!("{cost:?}").into(),
    };
    let run = dir.join(format!("{cost:?}"));
    let summary = train(&recipe, Arc::new(Profiles::new(cost)), Device::Cpu, &run, &NoProgress).expect("trains");
    let views_per_s = 2.0 * summary.pairs as f64 / summary.elapsed_s;
    // The shortest time in which the cores can do both the products and the drawing.
    let bound = 1.0 / (1.0 / products + cost.as_secs_f64() / THREADS as f64);
    println!(
        "  train {views_per_s:9.0} views/s, {:3.0} % of the products, {:3.0} % of products + drawing; waited {:4.1} %",
        100.0 * views_per_s / products,
        100.0 * views_per_s / bound,
        100.0 * summary.wait_s / summary.elapsed_s
    );
    Model::load(&summary.model, Device::Cpu).expect("loads")
}

fn bench_embedding(model: &Model, cost: Duration, products: f64) {
    let source = Profiles::new(cost);
    let num_samples = ViewSource::len(&source);
    let mut sink = |_: std::ops::Range<usize>, rows: &[f32]| {
        black_box(rows);
        Ok(())
    };
    let start = Instant::now();
    embed(model, &source, 0..num_samples, &EmbedConfig::default(), &mut sink, &NoProgress).expect("embeds");
    let views_per_s = num_samples as f64 / start.elapsed().as_secs_f64();
    let bound = 1.0 / (1.0 / products + cost.as_secs_f64() / THREADS as f64);
    println!(
        "  embed {views_per_s:9.0} views/s, {:3.0} % of the products, {:3.0} % of products + drawing",
        100.0 * views_per_s / products,
        100.0 * views_per_s / bound
    );
}

/// The layers of the default `kmer-mlp`: in, out.
const LAYERS: [(i64, i64); 3] = [(NUM_FEATURES as i64, 512), (512, 512), (512, 128)];

fn matrices(rows: i64, precision: Precision) -> Vec<(Tensor, Tensor, Tensor)> {
    let factors = |&(i, o): &(i64, i64)| {
        let is_hidden = o == 512;
        let kind = if precision == Precision::Bf16 && is_hidden { Kind::BFloat16 } else { Kind::Float };
        let random = |a, b| Tensor::rand([a, b], (Kind::Float, Device::Cpu)).to_kind(kind);
        (random(rows, i), random(i, o), random(rows, o))
    };
    LAYERS.iter().map(factors).collect()
}

fn matrix_products(precision: Precision) -> f64 {
    let layers = matrices(512, precision);
    rate(512, || {
        for (x, w, _) in &layers {
            let _ = black_box(x.matmul(w));
        }
    })
}

/// Forward pass, gradients of the weights, and gradients of the inputs except the first layer's.
fn products_with_gradients(precision: Precision) -> f64 {
    let layers = matrices(1024, precision);
    rate(1024, || {
        for (number, (x, w, y)) in layers.iter().enumerate() {
            let _ = black_box(x.matmul(w));
            let _ = black_box(x.tr().matmul(y));
            if number > 0 {
                let _ = black_box(y.matmul(&w.tr()));
            }
        }
    })
}

/// The best of five rounds, so that it is an upper bound.
fn rate(rows: usize, mut work: impl FnMut()) -> f64 {
    const REPEATS: usize = 10;
    work();
    let round = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..REPEATS).for_each(|_| work());
        start.elapsed().as_secs_f64()
    };
    let best = (0..5).map(|_| round(&mut work)).fold(f64::INFINITY, f64::min);
    (rows * REPEATS) as f64 / best
}
