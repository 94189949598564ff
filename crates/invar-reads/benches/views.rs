//! Speed of everything between packed sequences and views, each compared with a plain implementation of the same:
//! `cargo bench -p invar-reads --bench views`.
//!
//! Times are the best of several rounds; the ratio is the plain implementation's time over ours.
#![allow(clippy::print_stdout)]

use std::{hint::black_box, sync::Arc, time::Instant};

use invar_dataset::{PairSource, ViewSource, seed};
use invar_reads::{
    EmbedConfig, MemoryReads, PackedSequence, Read, ReadPairs, ReadPairsConfig, ReadViews, Representation,
    error_model::{ErrorModel, ErrorModelConfig},
    kmer::{KmerConfig, KmerProfiler},
    packed::{pack_into, reverse_complement_codes},
    pairs::{PairKindConfig, WindowLength, WindowsConfig},
};
use rand::{Rng, RngExt};

const NUM_BASES: usize = 1_000_000;
const READ_BP: usize = 10_000;
const WINDOW_BP: usize = 2_000;
/// 5 % in all.
const ERRORS: ErrorModelConfig = ErrorModelConfig::Custom { substitution: 0.03, insertion: 0.01, deletion: 0.01 };

fn main() {
    let mut rng = seed::rng(1, 0);
    let codes: Vec<u8> = (0..NUM_BASES).map(|_| rng.random_range(0..4u8)).collect();
    let letters: Vec<u8> = codes.iter().map(|&code| b"ACGT"[usize::from(code)]).collect();
    println!("{:<52} {:>12} {:>12} {:>7}", "what (one core)", "ours", "plain", "ratio");
    pack(&letters, &codes);
    error_model(&codes);
    profiles(&codes);
    sources(&codes);
}

fn pack(letters: &[u8], codes: &[u8]) {
    let sequence = PackedSequence::from_ascii(letters).unwrap();
    let slice = sequence.as_slice();
    let (mut bytes, mut runs, mut output) = (Vec::new(), Vec::new(), Vec::new());
    let ours = best(|| {
        bytes.clear();
        pack_into(black_box(letters), &mut bytes, &mut runs).unwrap();
    });
    row_per_base("pack letters", ours, best(|| plain::pack(black_box(letters))), letters.len());
    let ours = best(|| slice.unpack_codes(0..letters.len(), black_box(&mut output)));
    row_per_base(
        "unpack to codes",
        ours,
        best(|| plain::unpack(black_box(slice.bytes()), letters.len())),
        letters.len(),
    );
    let mut ours_codes = codes.to_vec();
    let ours = best(|| reverse_complement_codes(black_box(&mut ours_codes)));
    let plain = best(|| bio::alphabets::dna::revcomp(black_box(letters)));
    row_per_base("reverse complement (plain: bio)", ours, plain, codes.len());
}

fn error_model(codes: &[u8]) {
    let model = ErrorModel::new(&ERRORS).unwrap();
    let mut output = Vec::new();
    let mut rng = seed::rng(2, 0);
    let ours = best(|| model.apply(black_box(codes), &mut rng, &mut output));
    let plain = best(|| plain::errors(black_box(codes), &mut rng));
    row_per_base("errors, 5 %", ours, plain, codes.len());
}

fn profiles(codes: &[u8]) {
    let sequence = PackedSequence::from_codes(codes).unwrap();
    let windows: Vec<_> = (0..NUM_BASES / WINDOW_BP).map(|i| i * WINDOW_BP..(i + 1) * WINDOW_BP).collect();
    for k in [4, 6, 8] {
        let profiler = KmerProfiler::new(&KmerConfig { ks: vec![k], ..KmerConfig::default() }).unwrap();
        let ours = best(|| windows.iter().map(|w| profiler.profile(sequence.as_slice(), w.clone())[0]).sum::<f32>());
        let plain = best(|| windows.iter().map(|w| plain::profile(&codes[w.clone()], k)[0]).sum::<f32>());
        row_per_base(&format!("{k}-mer profile of 2 kb, packed (plain: rolling)"), ours, plain, codes.len());
    }
    let profiler = KmerProfiler::new(&KmerConfig::default()).unwrap();
    let ours = best(|| windows.iter().map(|w| profiler.profile_codes(&codes[w.clone()])[0]).sum::<f32>());
    let plain = best(|| windows.iter().map(|w| plain::hashed_profile(&codes[w.clone()], 6)).sum::<usize>());
    row_per_base("6-mer profile of 2 kb, codes (plain: hash map)", ours, plain, codes.len());
}

fn sources(codes: &[u8]) {
    let reads: Vec<Read> = codes
        .chunks(READ_BP)
        .enumerate()
        .map(|(i, codes)| Read {
            name: format!("read{i}"),
            sequence: PackedSequence::from_codes(codes).unwrap(),
            ..Read::default()
        })
        .collect();
    let num_reads = reads.len();
    let reads = Arc::new(MemoryReads::new(reads));
    let config = EmbedConfig { window_bp: Some(WINDOW_BP as u32), ..EmbedConfig::default() };
    let views = ReadViews::new(reads.clone(), config, &Representation::default()).unwrap();
    let num_windows = num_reads * READ_BP / WINDOW_BP;
    let seconds = best(|| (0..num_reads).map(|read| views.views(read).unwrap().len()).sum::<usize>());
    println!("embed: {:.0} views of 2 kb a second", num_windows as f64 / seconds);
    for window_bp in [2_000, 5_000] {
        let windows = WindowsConfig { window_bp: WindowLength::fixed(window_bp), ..WindowsConfig::default() };
        let config = ReadPairsConfig {
            error_model: ERRORS,
            kinds: vec![PairKindConfig::Windows(windows)],
            ..ReadPairsConfig::default()
        };
        for (name, representation) in [("6-mers", Representation::default()), ("tokens", Representation::Tokens)] {
            let pairs = ReadPairs::new(reads.clone(), &config, &representation).unwrap();
            let seconds = best(|| (0..num_reads).map(|read| pairs.pair(read, 7).unwrap().views.len()).sum::<usize>());
            println!(
                "pairs: {:.0} pairs of 2 x {window_bp} bp with 5 % errors a second, {name}",
                num_reads as f64 / seconds
            );
        }
    }
}

fn best<R>(mut work: impl FnMut() -> R) -> f64 {
    let round = |work: &mut dyn FnMut() -> R| {
        let start = Instant::now();
        black_box(work());
        start.elapsed().as_secs_f64()
    };
    (0..15).map(|_| round(&mut work)).fold(f64::INFINITY, f64::min)
}

fn row_per_base(what: &str, ours: f64, plain: f64, num_bases: usize) {
    let ns = |seconds: f64| format!("{:.3} ns/bp", seconds * 1e9 / num_bases as f64);
    println!("{what:<52} {:>12} {:>12} {:>6.1}x", ns(ours), ns(plain), plain / ours);
}

/// The same functions as one would write them at first.
mod plain {
    use std::collections::HashMap;

    use super::*;

    pub fn pack(letters: &[u8]) -> Vec<u8> {
        let code = |letter: u8| match letter.to_ascii_uppercase() {
            b'A' => 0,
            b'C' => 1,
            b'G' => 2,
            b'T' | b'U' => 3,
            other => panic!("{other}"),
        };
        letters.chunks(4).map(|four| four.iter().rev().fold(0, |byte, &letter| (byte << 2) | code(letter))).collect()
    }

    pub fn unpack(bytes: &[u8], num_bases: usize) -> Vec<u8> {
        (0..num_bases).map(|i| (bytes[i / 4] >> (2 * (i % 4))) & 3).collect()
    }

    pub fn errors(codes: &[u8], rng: &mut impl Rng) -> Vec<u8> {
        let mut output = Vec::with_capacity(codes.len());
        for &code in codes {
            match rng.next_u64() as f64 / u64::MAX as f64 {
                p if p < 0.03 => output.push((code + rng.random_range(1..4u8)) & 3),
                p if p < 0.04 => output.extend([rng.random_range(0..4u8), code]),
                p if p < 0.05 => {}
                _ => output.push(code),
            }
        }
        output
    }

    /// Both strands rolled along; the smaller one is counted.
    pub fn profile(codes: &[u8], k: u8) -> Vec<f32> {
        let (mask, top) = ((1usize << (2 * k)) - 1, 2 * (k - 1));
        let (mut forward, mut reverse, mut known) = (0, 0, 0);
        let mut counts = vec![0.0f32; mask + 1];
        for &code in codes {
            known = if code == 4 { 0 } else { known + 1 };
            forward = ((forward << 2) | usize::from(code & 3)) & mask;
            reverse = (reverse >> 2) | ((3 - usize::from(code & 3)) << top);
            if known >= k as usize {
                counts[forward.min(reverse)] += 1.0;
            }
        }
        let total: f32 = counts.iter().sum();
        counts.iter().map(|count| (count / total).sqrt()).collect()
    }

    pub fn hashed_profile(codes: &[u8], k: usize) -> usize {
        let mut counts: HashMap<Vec<u8>, u32> = HashMap::new();
        for kmer in codes.windows(k) {
            let mut other = kmer.to_vec();
            reverse_complement_codes(&mut other);
            *counts.entry(other.min(kmer.to_vec())).or_default() += 1;
        }
        counts.len()
    }
}
