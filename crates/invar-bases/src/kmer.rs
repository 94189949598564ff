//! Canonical k-mer profiles: the composition of a stretch of DNA, whichever strand was read.
//!
//! A k-mer and its reverse complement are one feature, counted together; a k-mer that is its own reverse complement
//! counts once. Features are in lexicographic order of the smaller of the two (`AAAAAA` first). Windows that touch an
//! N are skipped. Counts are integers, so the profiles of a sequence and of its reverse complement are equal to the
//! last bit.
//!
//! ```text
//! k         1  2   3    4    5     6     7      8
//! features  2  10  32  136  512  2080  8192  32896        (4^k + palindromes) / 2; palindromes: 4^(k/2), none if k is odd
//! ```
//!
//! ```
//! use invar_bases::{PackedSequence, kmer::{KmerConfig, KmerProfiler, KmerTransform}};
//! let profiler = KmerProfiler::new(&KmerConfig { ks: vec![2], transform: KmerTransform::Frequency }).unwrap();
//! let profile = |letters: &[u8]| {
//!     let sequence = PackedSequence::from_ascii(letters).unwrap();
//!     profiler.profile(sequence.as_slice(), 0..letters.len())
//! };
//! assert_eq!(profiler.feature_names()[..4], ["AA", "AC", "AG", "AT"]);
//! assert_eq!(profile(b"AACCNG"), profile(b"CNGGTT"));
//! assert_eq!(profile(b"AACCNG")[0], 1.0 / 3.0); // AA AC CC
//! ```

mod sums;

use std::{cell::RefCell, iter::once, ops::Range, sync::LazyLock};

use multiversion::multiversion;
use serde::{Deserialize, Serialize};

use crate::{
    ConfigError,
    packed::{NRun, PackedSlice, packed_len},
};

pub use sums::KmerSums;

/// Largest k.
pub const MAX_K: u8 = 8;

/// Which k-mers are counted and how counts become features.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KmerConfig {
    /// The values of k, 1 to 8 each. With more than one, their profiles are concatenated, each with the same share of
    /// the vector.
    pub ks: Vec<u8>,
    /// How counts become features.
    pub transform: KmerTransform,
}

impl Default for KmerConfig {
    fn default() -> Self {
        Self { ks: vec![6], transform: KmerTransform::Sqrt }
    }
}

/// How the counts `c` of one k become features; `n` is their sum and `m` the number of ks.
///
/// A sequence without any k-mer (too short, or only N) has an all-zero profile with each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KmerTransform {
    /// `c / (n m)`: the vector sums to 1.
    Frequency,
    /// `sqrt(c / (n m))`: the vector has length 1, and the distance of two is their Hellinger distance.
    #[default]
    Sqrt,
    /// Centred log-ratio (Aitchison 1982) with pseudo-count 0.5: `ln(c + 0.5) - mean(ln(c + 0.5))`.
    Clr,
}

/// Computes profiles.
#[derive(Clone, Debug)]
pub struct KmerProfiler {
    ks: Vec<CanonicalKmers>,
    transform: KmerTransform,
    num_features: usize,
}

impl KmerProfiler {
    /// Prepares the tables.
    ///
    /// # Errors
    /// If there is no k, one is not 1 to 8, or one is repeated.
    pub fn new(config: &KmerConfig) -> Result<Self, ConfigError> {
        let refuse = |reason: &str| Err(ConfigError::new("ks", format!("{:?}", config.ks), reason));
        if config.ks.is_empty() {
            return refuse("name at least one k");
        }
        for (i, k) in config.ks.iter().enumerate() {
            if !(1..=MAX_K).contains(k) {
                return refuse("every k is between 1 and 8");
            }
            if config.ks[..i].contains(k) {
                return refuse("no k may be repeated");
            }
        }
        let ks: Vec<_> = config.ks.iter().map(|&k| CanonicalKmers::new(k)).collect();
        let num_features = ks.iter().map(CanonicalKmers::len).sum();
        Ok(Self { ks, transform: config.transform, num_features })
    }

    /// Length of a profile.
    pub fn num_features(&self) -> usize {
        self.num_features
    }

    /// The k-mer counted by each feature: the smaller of the two strands.
    pub fn feature_names(&self) -> Vec<String> {
        self.ks.iter().flat_map(CanonicalKmers::names).collect()
    }

    /// The profile of the bases in `range`: `[num_features]`.
    ///
    /// # Panics
    /// If `range` exceeds the sequence.
    pub fn profile(&self, sequence: PackedSlice<'_>, range: Range<usize>) -> Vec<f32> {
        assert!(range.start <= range.end && range.end <= sequence.len(), "{range:?} of {} bases", sequence.len());
        SCRATCH.with_borrow_mut(|Scratch { counter, .. }| self.profile_with(counter, sequence, range))
    }

    /// The profile of codes (0 to 3, 4 for N): `[num_features]`.
    ///
    /// # Panics
    /// If a code is above 4, or there are more than 2^32 - 1.
    pub fn profile_codes(&self, codes: &[u8]) -> Vec<f32> {
        SCRATCH.with_borrow_mut(|Scratch { counter, bytes, n_runs }| {
            bytes.clear();
            n_runs.clear();
            crate::packed::pack_codes_into(codes, bytes, n_runs).expect("codes 0 to 4");
            let sequence = PackedSlice::new(bytes, codes.len(), n_runs).expect("what was packed is a sequence");
            self.profile_with(counter, sequence, 0..codes.len())
        })
    }

    fn profile_with(&self, counter: &mut Counter, sequence: PackedSlice<'_>, range: Range<usize>) -> Vec<f32> {
        let mut features = Vec::with_capacity(self.num_features);
        for kmers in &self.ks {
            let (counts, total) = counter.count(kmers, sequence, range.clone());
            match counts {
                Counts::Short(counts) => {
                    self.add_features(counts, total, &mut features);
                    counts.fill(0);
                }
                Counts::Long(counts) => self.add_features(counts, total, &mut features),
            }
        }
        features
    }

    /// Converts the counts of one k, whose sum is `total`, into features.
    fn add_features<T: Count>(&self, counts: &[T], total: u64, features: &mut Vec<f32>) {
        if total == 0 {
            features.resize(features.len() + counts.len(), 0.0);
            return;
        }
        let share = (total * self.ks.len() as u64) as f64;
        let whole = counts.iter().map(|&count| count.into());
        match self.transform {
            KmerTransform::Frequency => features.extend(whole.map(|count| (f64::from(count) / share) as f32)),
            KmerTransform::Sqrt => {
                let scale = (1.0 / share.sqrt()) as f32;
                features.extend(whole.map(|count| (count as f32).sqrt() * scale));
            }
            KmerTransform::Clr => {
                let (first, logs) = (features.len(), &**LOGS);
                features.extend(counts.iter().map(|&count| count.log(logs)));
                centre(&mut features[first..]);
            }
        }
    }
}

/// `ln(c + 0.5)` for every count of 16 bits: a look-up takes a tenth of the time of a logarithm, and few entries are
/// ever used.
static LOGS: LazyLock<Box<[f32; 1 << 16]>> = LazyLock::new(|| {
    let logs: Box<[f32]> = (0..1 << 16).map(|count| (f64::from(count) + 0.5).ln() as f32).collect();
    logs.try_into().unwrap_or_else(|_| unreachable!("so many entries"))
});

/// A count of a k-mer.
trait Count: Copy + Into<u32> {
    /// `ln(c + 0.5)`.
    fn log(self, logs: &[f32; 1 << 16]) -> f32;
}

impl Count for u16 {
    #[inline(always)]
    fn log(self, logs: &[f32; 1 << 16]) -> f32 {
        logs[usize::from(self)]
    }
}

impl Count for u32 {
    fn log(self, logs: &[f32; 1 << 16]) -> f32 {
        u16::try_from(self).map_or_else(|_| (f64::from(self) + 0.5).ln() as f32, |count| count.log(logs))
    }
}

/// Subtracts the mean, summed in an order that lets additions overlap.
#[multiversion(targets("x86_64+avx2"))]
fn centre(values: &mut [f32]) {
    const LANES: usize = 16;
    let (blocks, rest) = values.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let sum: f64 = sums.into_iter().chain(rest.iter().map(|&value| f64::from(value))).sum();
    let mean = (sum / values.len() as f64) as f32;
    values.iter_mut().for_each(|value| *value -= mean);
}

/// Number of canonical k-mers.
pub const fn num_canonical(k: u8) -> usize {
    let palindromes = if k.is_multiple_of(2) { 1 << k } else { 0 };
    ((1 << (2 * k)) + palindromes) / 2
}

/// The canonical k-mers of one k. An *index* has the first base in its lowest bits, like the packed bytes.
#[derive(Clone, Debug)]
struct CanonicalKmers {
    k: u8,
    /// Index of the canonical k-mer of each feature.
    forward: Vec<u16>,
    /// Feature of each index: the same for a k-mer and its reverse complement.
    features: Vec<u16>,
}

impl CanonicalKmers {
    fn new(k: u8) -> Self {
        let mut kmers = Self { k, forward: Vec::new(), features: vec![0; 1 << (2 * k)] };
        let mask = ((1u32 << (2 * k)) - 1) as u16;
        // A code has the first base in its highest bits: numeric order is lexicographic order. The bases of a code read
        // from the other end are its index, so the complement of a code is the index of the reverse complement.
        for code in 0..=mask {
            let index = reverse_bases(code, k);
            let (reverse_index, reverse_code) = (!code & mask, !index & mask);
            if code <= reverse_code {
                let feature = kmers.forward.len() as u16;
                kmers.forward.push(index);
                kmers.features[usize::from(index)] = feature;
                kmers.features[usize::from(reverse_index)] = feature;
            }
        }
        debug_assert_eq!(kmers.len(), num_canonical(k));
        kmers
    }

    fn len(&self) -> usize {
        self.forward.len()
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let letter = |index: u16, base: u8| char::from(b"ACGT"[usize::from(index >> (2 * base)) & 3]);
        self.forward.iter().map(move |&index| (0..self.k).map(|base| letter(index, base)).collect())
    }
}

fn reverse_bases(code: u16, k: u8) -> u16 {
    (0..k).fold(0, |reversed, base| (reversed << 2) | ((code >> (2 * base)) & 3))
}

struct Scratch {
    counter: Counter,
    bytes: Vec<u8>,
    n_runs: Vec<NRun>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { counter: Counter::new(), bytes: Vec::new(), n_runs: Vec::new() });
}

/// One entry per 16-bit value, so that no feature is out of bounds.
type Table = [u16; 1 << (2 * MAX_K)];

struct Counter {
    /// Counts by feature; zero between two profiles.
    table: Box<Table>,
    /// The same, for stretches in which 16 bits are not enough.
    sums: Vec<u32>,
}

/// Counts of the canonical k-mers of a stretch, by feature.
enum Counts<'a> {
    /// To be reset to zeros after use.
    Short(&'a mut [u16]),
    Long(&'a [u32]),
}

impl Counter {
    fn new() -> Self {
        let table = vec![0; size_of::<Table>() / size_of::<u16>()].into_boxed_slice();
        Self { table: table.try_into().expect("a table has this length"), sums: Vec::new() }
    }

    /// Counts of the canonical k-mers in `range`, and their sum.
    fn count(&mut self, kmers: &CanonicalKmers, sequence: PackedSlice<'_>, range: Range<usize>) -> (Counts<'_>, u64) {
        self.sums.clear();
        let (mut total, mut in_table, mut start) = (0, 0, range.start);
        let runs = sequence.n_runs_in(range.clone()).chain(once(range.end..range.end));
        for run in runs {
            let num_kmers = (run.start - start + 1).saturating_sub(usize::from(kmers.k));
            // No entry of the table can overflow before it is folded.
            for first in (0..num_kmers).step_by(usize::from(u16::MAX)) {
                let chunk = (num_kmers - first).min(usize::from(u16::MAX));
                if in_table + chunk > usize::from(u16::MAX) {
                    self.fold(kmers);
                    in_table = 0;
                }
                self.count_kmers(kmers, sequence.bytes(), start + first, chunk);
                in_table += chunk;
            }
            total += num_kmers as u64;
            start = run.end;
        }
        if self.sums.is_empty() {
            return (Counts::Short(&mut self.table[..kmers.len()]), total);
        }
        self.fold(kmers);
        (Counts::Long(&self.sums), total)
    }

    /// Moves the counts of the table to the sums.
    fn fold(&mut self, kmers: &CanonicalKmers) {
        self.sums.resize(kmers.len(), 0);
        let counts = &mut self.table[..kmers.len()];
        self.sums.iter_mut().zip(&*counts).for_each(|(sum, &count)| *sum += u32::from(count));
        counts.fill(0);
    }

    /// Counts the `num_kmers` k-mers that begin at base `start` and after it; none of them contains an N.
    fn count_kmers(&mut self, kmers: &CanonicalKmers, bytes: &[u8], start: usize, num_kmers: usize) {
        let bytes = &bytes[start / 4..packed_len(start + num_kmers + usize::from(kmers.k) - 1)];
        let count = match kmers.k {
            1 => count_aligned::<1>,
            2 => count_aligned::<2>,
            3 => count_aligned::<3>,
            4 => count_aligned::<4>,
            5 => count_aligned::<5>,
            6 => count_aligned::<6>,
            7 => count_aligned::<7>,
            _ => count_aligned::<8>,
        };
        count(&mut self.table, &kmers.features, bytes, start % 4, num_kmers);
    }
}

/// Counts the `num_kmers` K-mers that begin at base `offset` (below 4) of `bytes` and after it: all that begin in the
/// first bytes of a 64-bit word are counted from that word by shifts.
fn count_aligned<const K: usize>(table: &mut Table, features: &[u16], bytes: &[u8], offset: usize, num_kmers: usize) {
    let mask = (1usize << (2 * K)) - 1;
    assert_eq!(features.len(), mask + 1);
    // Bases of a word at which a whole K-mer begins, in whole bytes.
    let step = (33 - K) / 4 * 4;
    let mut count = |word: u64| {
        let entry = &mut table[usize::from(features[word as usize & mask])];
        *entry = entry.wrapping_add(1);
    };
    let (mut first, mut rest) = (offset, offset + num_kmers);
    let mut words = bytes;
    // Whole words, from an aligned start; the first word may begin with bases before `offset`.
    while rest >= step
        && let Some(word) = words.first_chunk::<8>()
    {
        let word = u64::from_le_bytes(*word);
        if first == 0 {
            for base in 0..step {
                count(word >> (2 * base));
            }
        } else {
            for base in first..step {
                count(word >> (2 * base));
            }
            first = 0;
        }
        rest -= step;
        words = &words[step / 4..];
    }
    while rest > 0 {
        let mut word = [0; 8];
        let len = words.len().min(8);
        word[..len].copy_from_slice(&words[..len]);
        let word = u64::from_le_bytes(word);
        for base in first..rest.min(step) {
            count(word >> (2 * base));
        }
        first = 0;
        rest = rest.saturating_sub(step);
        words = words.get(step / 4..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
