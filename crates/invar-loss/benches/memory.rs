//! Time and memory of the symmetric InfoNCE, without groups and with, against the loss by autograd through all logits and
//! against its matrix products alone, as ratios of one run.
//!
//! `cargo bench -p invar-loss`; `-- 16384` sets the pairs of the large batch (default 65,536).
#![allow(clippy::print_stdout)]

use std::{hint::black_box, process::Command, time::Instant};

use invar_dataset::{GroupId, SampleId};
use invar_loss::{Context, InfoNceConfig, Loss as _};
use invar_nn::{Relations, SampleIds};
use invar_torch::ProcessGroup;
use tch::{Device, Kind, Tensor, nn};

const F32: (Kind, Device) = (Kind::Float, Device::Cpu);
const WIDTH: i64 = 128;
/// Pairs of the batches that the dense loss is possible for; the first is that of the built-in recipes.
const PAIRS: [i64; 2] = [512, 8192];
const LARGE: i64 = 65_536;
const THREADS: i32 = 2;
const ROUNDS: usize = 5;
/// Rows of the products that stand for all.
const TILE_ROWS: i64 = 512;
/// The first argument of the process that measures its own memory.
const CHILD: &str = "child";

fn main() {
    tch::set_num_threads(THREADS);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let num_pairs = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(LARGE);
    if arguments.first().is_some_and(|argument| argument == CHILD) {
        return large(num_pairs);
    }
    PAIRS.into_iter().for_each(against_dense);
    let program = std::env::current_exe().expect("a program has a path");
    let status = Command::new(program).args([CHILD, &num_pairs.to_string()]).status().expect("starts itself");
    assert!(status.success(), "the large batch failed");
}

/// Alternating, the best of several rounds of each.
fn against_dense(num_pairs: i64) {
    let [q, k] = views(num_pairs);
    let mut best = [f64::INFINITY; 4];
    // Small batches are measured as often as makes up for their size.
    for round in 0..=ROUNDS * (PAIRS[1] / num_pairs) as usize {
        let times = [
            seconds(|| dense(&q, &k)),
            seconds(|| tiled(&q, &k, false)),
            seconds(|| tiled(&q, &k, true)),
            seconds(|| products(num_pairs, num_pairs)),
        ];
        if round > 0 {
            best = std::array::from_fn(|which| best[which].min(times[which]));
        }
    }
    let [dense, tiled, grouped, products] = best;
    println!("forward and backward           / dense    / products");
    println!("{num_pairs:6} x {WIDTH} dense            {:9.2} {:11.2}", 1.0, dense / products);
    println!("{num_pairs:6} x {WIDTH} tiled            {:9.2} {:11.2}", tiled / dense, tiled / products);
    println!("{num_pairs:6} x {WIDTH} tiled, in groups {:9.2} {:11.2}", grouped / dense, grouped / products);
}

/// One pass; the products before and after it, over a part of the rows.
fn large(num_pairs: i64) {
    const PART: i64 = 16;
    let [q, k] = views(num_pairs);
    tiled(&q.narrow(0, 0, 64), &k.narrow(0, 0, 64), false);
    let before = memory_kib("VmRSS");
    let tiled = seconds(|| tiled(&q, &k, true));
    let peak = memory_kib("VmHWM").zip(before).map(|(peak, before)| (peak.saturating_sub(before)) as f64 / 1024.0);
    let products = PART as f64 * seconds(|| products(num_pairs, num_pairs / PART));
    println!("{num_pairs:6} x {WIDTH} tiled, in groups {:>9} {:11.2}", "", tiled / products);
    match peak {
        Some(mib) => {
            println!("  peak above the inputs {mib:.0} MiB; the logits alone are {} MiB", (num_pairs * num_pairs) >> 18)
        }
        None => println!("  peak memory is not known on this system"),
    }
}

/// Unit vectors and neighbours of theirs, `[n, P]`.
fn views(num_pairs: i64) -> [Tensor; 2] {
    let draw = || Tensor::randn([num_pairs, WIDTH], F32);
    let x = draw();
    let y = &x + draw() * 0.5;
    [x, y].map(|x| (&x / x.norm_scalaropt_dim(2.0, [1i64], true)).set_requires_grad(true))
}

/// In groups: half of the pairs are of one, the others of groups of eight or of none.
fn tiled(q: &Tensor, k: &Tensor, has_groups: bool) {
    let store = nn::VarStore::new(Device::Cpu);
    let loss = InfoNceConfig::default().init(&store.root(), WIDTH as usize).expect("the defaults are in range");
    let samples: Vec<SampleId> = (0..q.size()[0] as u64).map(SampleId).collect();
    let group_of = |id: &SampleId| match id.0 % 4 {
        0 | 2 => Some(GroupId(0)),
        1 => Some(GroupId(1 + id.0 / 32)),
        _ => None,
    };
    let groups = if has_groups { samples.iter().map(group_of).collect() } else { vec![] };
    let relations = Relations::of_all(SampleIds::of_pairs(2, &samples).with_groups(groups));
    let group = ProcessGroup::solo();
    let views = [q.shallow_clone(), k.shallow_clone()];
    let output = loss.criterion(&views, &Context::solo(&relations, &group, true)).expect("two views of one size");
    let _ = black_box(Tensor::run_backward(&[output.total().expect("a loss that compares")], &[q, k], false, false));
}

fn dense(q: &Tensor, k: &Tensor) {
    let logits = (q * 10.0).matmul(&k.tr()); // [B, B]
    let sums = logits.logsumexp([1i64], false) + logits.logsumexp([0i64], false);
    let loss = (sums * 0.5 - logits.diagonal(0, 0, 1)).mean(None::<Kind>);
    let _ = black_box(Tensor::run_backward(&[loss], &[q, k], false, false));
}

/// The three products that no way round is known for, over `num_rows` rows: logits, and from them to both views.
fn products(num_pairs: i64, num_rows: i64) {
    let (rows, all) = (Tensor::ones([TILE_ROWS, WIDTH], F32), Tensor::ones([num_pairs, WIDTH], F32));
    let tile = Tensor::zeros([TILE_ROWS, num_pairs], F32);
    let (out, mut sum) = (Tensor::zeros([TILE_ROWS, WIDTH], F32), Tensor::zeros([num_pairs, WIDTH], F32));
    for _ in 0..(num_rows / TILE_ROWS).max(1) {
        let _ = black_box(rows.mm_out(&tile, &all.tr()));
        let _ = black_box(tile.mm_out(&out, &all));
        let _ = black_box(sum.addmm_(&tile.tr(), &rows));
    }
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// A number of `/proc/self/status`, where there is one.
fn memory_kib(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
