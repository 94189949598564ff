//! Views per second, one table row per case: `cargo bench -p invar-micrographs --bench views [-- THREADS]`.
//!
//! The same views as in `benches/peers/views_torchvision.py`: from 200 x 200 pictures of 8 bits the whole disc, from
//! 2048 x 2048 ones of 16 bits a disc of 256 pixels anywhere; both at any angle, jittered, with the default
//! augmentation. Best of several rounds; on Linux also the processor time per view, which a busy machine affects less.
#![allow(clippy::print_stdout)]

use std::{hint::black_box, sync::Arc, time::Instant};

use invar_dataset::{PairSource as _, seed};
use invar_micrographs::{
    GrainDataset, GrainPairs, GrainPairsConfig, MemoryImage, Pixels, ViewConfig,
    pairs::{AugmentConfig, CropsConfig, PairKindConfig},
    resample::{Extent, Interpolation, Placement, resample},
    views::{Field, Masking},
};
use rand::Rng as _;
use rayon::prelude::*;

fn main() {
    let threads = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(2);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("the pool is built once");
    println!("{:<58} {:>12} {:>12}", format!("what ({threads} threads)"), "views/s", "CPU us/view");
    let small = Arc::new(GrainDataset::from_images((0..64).map(|i| picture(i, 200, false)).collect()));
    let large = Arc::new(GrainDataset::from_images((0..4).map(|i| picture(i, 2048, true)).collect()));
    for size_px in [64, 128] {
        let whole = ViewConfig { size_px, field: Field::Grain(1.0), ..ViewConfig::default() };
        let place = ViewConfig { size_px, field: Field::Px(256.0), ..ViewConfig::default() };
        for (name, augment) in [("augmented", AugmentConfig::default()), ("plain", AugmentConfig::none())] {
            let config = GrainPairsConfig { augment: augment.clone(), ..GrainPairsConfig::default() };
            pairs(&format!("{size_px} px of 200 x 200, u8, {name}"), small.clone(), &config, &whole);
            let kinds = vec![PairKindConfig::Crops(CropsConfig::default())];
            let config = GrainPairsConfig { augment, kinds, ..GrainPairsConfig::default() };
            pairs(&format!("{size_px} px of 256 in 2048 x 2048, u16, {name}"), large.clone(), &config, &place);
        }
    }
    let all = ViewConfig { field: Field::Grain(1.0), mask: Masking::None, ..ViewConfig::default() };
    pairs("64 px of all of 2048 x 2048, u16, augmented", large.clone(), &GrainPairsConfig::default(), &all);
    sampling(&large);
}

fn pairs(name: &str, grains: Arc<GrainDataset>, config: &GrainPairsConfig, view: &ViewConfig) {
    let pairs = GrainPairs::new(grains, config, view).expect("the settings can be");
    let num = 1_000;
    let draw = |i: usize| black_box(pairs.pair(i % pairs.len(), i as u64).expect("the pair is drawn")).views.len();
    row(name, best(|| (0..num).into_par_iter().map(draw).sum()));
}

/// The resampling alone, by step.
fn sampling(grains: &GrainDataset) {
    let image = grains.image(0);
    for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
        for step in [1.0, 1.5, 2.5, 6.0] {
            let view = |i: usize| {
                let placement = Placement {
                    center_px: [1024.0, 1000.0 + i as f64 / 7.0],
                    angle_deg: i as f64,
                    step_px: [step; 2],
                    mirror: false,
                };
                let extent = Extent::Disc { margin_px: 0.0 };
                resample(image.pixels(), image.levels, 64, &placement, interpolation, extent).len() / 64 / 64
            };
            let name = format!("  64 px at {step} source pixels a pixel, {interpolation:?}");
            row(&name, best(|| (0..1_000usize).into_par_iter().map(view).sum()));
        }
    }
}

/// Seconds of wall-clock and of processor time per view, each the best of several rounds.
fn best(mut work: impl FnMut() -> usize) -> [f64; 2] {
    let round = |work: &mut dyn FnMut() -> usize| {
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let num = work() as f64;
        [start.elapsed().as_secs_f64() / num, (cpu_seconds() - cpu) / num]
    };
    (0..5).map(|_| round(&mut work)).fold([f64::INFINITY; 2], |best, now| [best[0].min(now[0]), best[1].min(now[1])])
}

/// Processor time of this process; 0 where it is unknown.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15 of the line, of which the second may hold spaces, in hundredths of a second.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn row(name: &str, [wall, cpu]: [f64; 2]) {
    println!("{name:<58} {:>12.0} {:>12.1}", 1.0 / wall, cpu * 1e6);
}

/// Noise, which costs as much as any picture.
fn picture(index: u64, side: usize, deep: bool) -> MemoryImage {
    let mut rng = seed::rng(1, index);
    let num = side * side;
    let pixels = if deep {
        Pixels::U16((0..num).map(|_| rng.next_u32() as u16).collect())
    } else {
        Pixels::U8((0..num).map(|_| rng.next_u32() as u8).collect())
    };
    MemoryImage { name: format!("picture{index}"), size: [1, side, side], pixels, labels: None, pixel_size: None }
}
