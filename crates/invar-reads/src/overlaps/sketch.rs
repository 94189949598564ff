//! The k-mers that represent a read.
//!
//! The sketch of a read consists of its canonical k-mers whose hash is below `2^32 / every` (FracMinHash: Irber et al.
//! 2022, *Lightweight compositional analysis of metagenomes with FracMinHash and minimum metagenome covers*), about one
//! in `every`, the same ones in every read over the same bases.

use std::ops::Range;

use invar_dataset::{DatasetError, seed};
use multiversion::multiversion;
use rayon::prelude::*;

use crate::Reads;

/// Largest k: a k-mer is a number of 32 bits.
pub(super) const MAX_K: u32 = 16;

/// Reads sketched at a time by a thread.
const CHUNK: usize = 256;
/// Bases hashed at a time.
const BLOCK: usize = 1024;
/// K-mers searched at a time for one of the sketch.
const FEW_KMERS: usize = 32;
/// The code of an unknown base.
const N: u8 = 4;

/// Which k-mers of a read are used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sampling {
    /// Length of a k-mer, at most [`MAX_K`].
    pub k: u32,
    /// About one in this many k-mers is used.
    pub every: u32,
    /// One in this many reads is used.
    pub every_read: usize,
}

/// Position of a k-mer: its first base, and whether the canonical one is that of the other strand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot(u32);

impl Spot {
    /// Positions from here on do not fit, and are not used.
    const END: usize = 1 << 31;

    pub fn new(position: usize, is_reverse: bool) -> Self {
        Self((position as u32) << 1 | u32::from(is_reverse))
    }

    pub fn position(self) -> u32 {
        self.0 >> 1
    }

    pub fn is_reverse(self) -> bool {
        self.0 & 1 == 1
    }
}

/// The k-mers of all sketches, read by read, in order of position: 8 bytes each.
///
/// The reads are renumbered in an order unrelated to their own, so that the first ones over a locus are a random choice
/// of those over it.
#[derive(Debug, Default)]
pub(super) struct Sketches {
    /// The read that each index stands for.
    pub reads: Vec<u32>,
    /// Length of a k-mer.
    pub k: u32,
    /// Bases of each read.
    pub lengths: Vec<u32>,
    /// 0, then where the k-mers of each read end.
    pub ends: Vec<u32>,
    pub hashes: Vec<u32>,
    pub spots: Vec<Spot>,
}

impl Sketches {
    /// Sketches reads. There are at most `u32::MAX` reads, and at most as many k-mers are kept.
    pub fn new(reads: &dyn Reads, sampling: Sampling) -> Result<Self, DatasetError> {
        let every = sampling.every_read;
        let chunks: Vec<Range<usize>> = (0..reads.len())
            .step_by(CHUNK * every)
            .map(|start| start..(start + CHUNK * every).min(reads.len()))
            .collect();
        let of_chunk = |chunk: Range<usize>| {
            let (mut codes, mut found, mut ends) = (Vec::new(), Vec::new(), vec![0]);
            for read in chunk.step_by(every) {
                let sequence = reads.sequence(read)?;
                sequence.unpack_codes(0..sequence.len().min(Spot::END), &mut codes);
                sketch(&codes, sampling, |hash, spot| found.push((hash, spot)));
                ends.push(found.len());
            }
            Ok((found, ends))
        };
        /// The k-mers of some reads, and where those of each end.
        type Sketched = (Vec<(u32, Spot)>, Vec<usize>);
        let chunks: Vec<Sketched> = chunks.into_par_iter().map(of_chunk).collect::<Result<_, DatasetError>>()?;
        let mut order: Vec<u32> = (0..reads.len()).step_by(every).map(|read| read as u32).collect();
        order.par_sort_by_cached_key(|&read| seed::mix(SHUFFLE, u64::from(read)));
        let mut sketches = Self { k: sampling.k, ends: vec![0], ..Self::default() };
        for &read in &order {
            let number = read as usize / every;
            let (found, ends) = &chunks[number / CHUNK];
            let own = &found[ends[number % CHUNK]..ends[number % CHUNK + 1]];
            sketches.lengths.push(reads.sequence(read as usize)?.len() as u32);
            sketches.hashes.extend(own.iter().map(|&(hash, _)| hash));
            sketches.spots.extend(own.iter().map(|&(_, spot)| spot));
            sketches.ends.push(sketches.hashes.len() as u32);
        }
        sketches.reads = order;
        Ok(sketches)
    }

    pub fn num_reads(&self) -> usize {
        self.reads.len()
    }

    /// The range of a read's k-mers.
    pub fn range(&self, read: usize) -> Range<usize> {
        self.ends[read] as usize..self.ends[read + 1] as usize
    }
}

/// Seed for shuffling the reads.
const SHUFFLE: u64 = 0x6f76_6572_6c61_7073;

/// Computes the sketch of a sequence, with codes 0 to 3, 4 for N: hashes and positions, from left to right.
fn sketch(codes: &[u8], sampling: Sampling, mut found: impl FnMut(u32, Spot)) {
    let k = sampling.k;
    let mask = u32::MAX >> (32 - 2 * k);
    let limit = u32::MAX / sampling.every;
    // The complement of a base, at the position where the other strand begins.
    let complements = [3, 2, 1, 0].map(|base| base << (2 * k - 2));
    let mut kmers = [0; BLOCK];
    let mut start = 0;
    for end in memchr::memchr_iter(N, codes).chain([codes.len()]) {
        let known = &codes[start..end];
        let (mut forward, mut reverse) = (0, 0);
        let mut next = |&base: &u8| {
            forward = (forward << 2 | u32::from(base)) & mask;
            reverse = reverse >> 2 | complements[usize::from(base & 3)];
            forward.min(reverse)
        };
        let (first, rest) = known.split_at(known.len().min(k as usize - 1));
        first.iter().for_each(|base| {
            next(base);
        });
        for (number, block) in rest.chunks(BLOCK).enumerate() {
            let kmers = &mut kmers[..block.len()];
            kmers.iter_mut().zip(block).for_each(|(kmer, base)| *kmer = next(base));
            mix(kmers);
            for (few, kmers) in kmers.chunks(FEW_KMERS).enumerate().filter(|(_, few)| least(few) <= limit) {
                for (i, &hash) in kmers.iter().enumerate().filter(|&(_, &hash)| hash <= limit) {
                    let position = start + number * BLOCK + few * FEW_KMERS + i;
                    found(hash, Spot::new(position, is_reverse(&codes[position..position + k as usize])));
                }
            }
        }
        start = end + 1;
    }
}

/// Whether the reverse complement of a k-mer precedes it, and so is the canonical one of the two.
fn is_reverse(codes: &[u8]) -> bool {
    let complements = codes.iter().rev().map(|&base| 3 - base);
    codes.iter().copied().zip(complements).find(|(base, other)| base != other).is_some_and(|(base, other)| other < base)
}

/// The smallest of some numbers, of which there must be at least one.
#[multiversion(targets("x86_64+avx2"))]
fn least(numbers: &[u32]) -> u32 {
    numbers.iter().fold(u32::MAX, |least, &number| least.min(number))
}

/// The hash of each code, the finalizer of MurmurHash3 (Appleby, `fmix32`): one to one, so that no two k-mers share a
/// hash. A run of one base has the code 0 and would have the hash 0, hence the sum.
#[multiversion(targets("x86_64+avx2"))]
fn mix(codes: &mut [u32]) {
    for code in codes {
        let mut hash = code.wrapping_add(0x9e37_79b9);
        hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
        *code = hash ^ hash >> 16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        overlaps::tests::{codes, reads},
        packed::reverse_complement_codes,
    };
    use proptest::prelude::*;

    fn pack(codes: &[u8]) -> u32 {
        codes.iter().fold(0, |code, &base| code << 2 | u32::from(base))
    }

    const SAMPLING: Sampling = Sampling { k: 16, every: 10, every_read: 1 };

    fn sketched(codes: &[u8], sampling: Sampling) -> Vec<(u32, Spot)> {
        let mut found = Vec::new();
        sketch(codes, sampling, |hash, spot| found.push((hash, spot)));
        found
    }

    proptest! {
        // Second implementation: every window packed anew, on both strands.
        #[test]
        fn a_sketch_has_the_canonical_kmers_below_the_limit(
            codes in prop::collection::vec(prop_oneof![9 => 0u8..4, 1 => Just(4u8)], 0..300), k in 8u32..=16, every in 1u32..9,
        ) {
            let sampling = Sampling { k, every, ..SAMPLING };
            let expected: Vec<(u32, Spot)> = codes
                .windows(k as usize)
                .enumerate()
                .filter(|(_, window)| !window.contains(&4))
                .map(|(position, window)| {
                    let mut other = window.to_vec();
                    reverse_complement_codes(&mut other);
                    let (forward, reverse) = (pack(window), pack(&other));
                    let mut hash = [forward.min(reverse)];
                    mix(&mut hash);
                    (hash[0], Spot::new(position, reverse < forward))
                })
                .filter(|&(hash, _)| hash <= u32::MAX / every)
                .collect();
            prop_assert_eq!(sketched(&codes, sampling), expected);
        }

        #[test]
        fn both_strands_have_one_sketch(len in 0usize..400, seed: u64) {
            let forward = codes(len, seed);
            let mut reverse = forward.clone();
            reverse_complement_codes(&mut reverse);
            let last = len - (SAMPLING.k as usize).min(len);
            let turned = |&(hash, spot): &(u32, Spot)| {
                // A palindrome is its own other strand.
                let at = spot.position() as usize;
                let mut other = forward[at..at + SAMPLING.k as usize].to_vec();
                reverse_complement_codes(&mut other);
                let is_palindrome = forward[at..].starts_with(&other);
                (hash, Spot::new(last - at, !spot.is_reverse() && !is_palindrome))
            };
            let expected: Vec<_> = sketched(&forward, SAMPLING).iter().rev().map(turned).collect();
            prop_assert_eq!(sketched(&reverse, SAMPLING), expected);
        }
    }

    #[test]
    fn sketches_stand_in_an_order_of_their_own_and_are_those_of_the_reads() {
        let sequences: Vec<Vec<u8>> = (0..700).map(|i| codes(100 + i as usize % 50, i)).collect();
        for every_read in [1, 3] {
            let sketches = Sketches::new(&reads(&sequences), Sampling { every_read, ..SAMPLING }).unwrap();
            assert!(!sketches.reads.is_sorted());
            let mut all = sketches.reads.clone();
            all.sort_unstable();
            assert!(all.iter().copied().eq((0..700).step_by(every_read)));
            for (number, &read) in sketches.reads.iter().enumerate() {
                let expected = sketched(&sequences[read as usize], SAMPLING);
                let range = sketches.range(number);
                let hashes = sketches.hashes[range.clone()].iter().copied();
                assert!(hashes.zip(sketches.spots[range].iter().copied()).eq(expected));
                assert_eq!(sketches.lengths[number] as usize, sequences[read as usize].len());
            }
        }
    }
}
