//! Running sums of k-mer counts along a sequence: the profile of a long stretch is the difference of two of them, and
//! takes no longer than that of a short one.

use std::ops::Range;

use super::{CanonicalKmers, Counter, Counts, KmerProfiler, SCRATCH, Scratch};
use crate::PackedSlice;

/// Least distance in bases between two sums.
const LEAST_BP: usize = 4096;
/// Distance in bases for each feature, so that sums take half a byte a base at most.
const BP_OF_FEATURE: usize = 8;

/// The sums of one sequence, for the profiler that made them.
#[derive(Clone, Debug)]
pub struct KmerSums(Vec<OfK>);

#[derive(Clone, Debug)]
struct OfK {
    every_bp: usize,
    /// `[n, features]`: counts of the k-mers that begin before base `every_bp * (i + 1)`; none of a short sequence.
    counts: Vec<u32>,
}

impl KmerSums {
    /// Its memory, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.0.iter().map(|of_k| size_of::<OfK>() + size_of_val(&of_k.counts[..])).sum()
    }
}

impl KmerProfiler {
    /// The sums of a sequence: about 0.13 bytes a base with k = 4, at most 0.5 for each k.
    pub fn sums(&self, sequence: PackedSlice<'_>) -> KmerSums {
        SCRATCH.with_borrow_mut(|Scratch { counter, .. }| {
            KmerSums(self.ks.iter().map(|kmers| OfK::new(counter, kmers, sequence)).collect())
        })
    }

    /// Memory of the sums of a sequence of `length` bases, in bytes.
    pub fn sums_bytes(&self, length: usize) -> usize {
        let of = |kmers: &CanonicalKmers| size_of::<OfK>() + 4 * OfK::num_counts(kmers, length);
        self.ks.iter().map(of).sum()
    }

    /// As [`KmerProfiler::profile`], to the last bit.
    ///
    /// # Panics
    /// If `range` exceeds the sequence, or the sums are of a shorter one or another profiler.
    pub fn profile_by(&self, sums: &KmerSums, sequence: PackedSlice<'_>, range: Range<usize>) -> Vec<f32> {
        assert!(range.start <= range.end && range.end <= sequence.len(), "{range:?} of {} bases", sequence.len());
        assert_eq!(sums.0.len(), self.ks.len(), "sums of another profiler");
        SCRATCH.with_borrow_mut(|Scratch { counter, .. }| {
            let mut features = Vec::with_capacity(self.num_features);
            for (kmers, sums) in self.ks.iter().zip(&sums.0) {
                let counts = sums.counts(counter, kmers, sequence, range.clone());
                let total = counts.iter().map(|&count| u64::from(count)).sum();
                self.add_features(&counts, total, &mut features);
            }
            features
        })
    }
}

impl OfK {
    fn new(counter: &mut Counter, kmers: &CanonicalKmers, sequence: PackedSlice<'_>) -> Self {
        let every_bp = Self::every_bp(kmers);
        let mut counts = vec![0; kmers.len()];
        let mut sums = Vec::with_capacity(Self::num_counts(kmers, sequence.len()));
        for end in (every_bp..=sequence.len()).step_by(every_bp) {
            add(counter, kmers, sequence, end - every_bp..within(end, kmers, sequence), &mut counts);
            sums.extend_from_slice(&counts);
        }
        Self { every_bp, counts: sums }
    }

    fn every_bp(kmers: &CanonicalKmers) -> usize {
        LEAST_BP.max(BP_OF_FEATURE * kmers.len())
    }

    fn num_counts(kmers: &CanonicalKmers, length: usize) -> usize {
        length / Self::every_bp(kmers) * kmers.len()
    }

    /// The counts of the k-mers in `range`.
    fn counts(
        &self,
        counter: &mut Counter,
        kmers: &CanonicalKmers,
        sequence: PackedSlice<'_>,
        range: Range<usize>,
    ) -> Vec<u32> {
        let num = kmers.len();
        let (first, last) = (range.start.div_ceil(self.every_bp), range.end / self.every_bp);
        // K-mers that begin before the end of the range need not end there.
        let last = if last * self.every_bp + usize::from(kmers.k) > range.end { last.saturating_sub(1) } else { last };
        if first >= last {
            let mut counts = vec![0; num];
            add(counter, kmers, sequence, range, &mut counts);
            return counts;
        }
        let before_base = |at: usize| &self.counts[(at - 1) * num..][..num];
        let mut counts = before_base(last).to_vec();
        if first > 0 {
            counts.iter_mut().zip(before_base(first)).for_each(|(count, &before)| *count -= before);
        }
        let start = first * self.every_bp;
        if range.start < start {
            add(counter, kmers, sequence, range.start..within(start, kmers, sequence), &mut counts);
        }
        add(counter, kmers, sequence, last * self.every_bp..range.end, &mut counts);
        counts
    }
}

/// Where the last k-mer ends that begins before `end`.
fn within(end: usize, kmers: &CanonicalKmers, sequence: PackedSlice<'_>) -> usize {
    (end + usize::from(kmers.k) - 1).min(sequence.len())
}

/// Adds the counts of the k-mers in `range`.
fn add(
    counter: &mut Counter,
    kmers: &CanonicalKmers,
    sequence: PackedSlice<'_>,
    range: Range<usize>,
    counts: &mut [u32],
) {
    match counter.count(kmers, sequence, range).0 {
        Counts::Short(found) => {
            counts.iter_mut().zip(&*found).for_each(|(sum, &count)| *sum += u32::from(count));
            found.fill(0);
        }
        Counts::Long(found) => counts.iter_mut().zip(found).for_each(|(sum, count)| *sum += count),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        PackedSequence,
        kmer::{KmerConfig, KmerTransform},
        packed::CODE_N,
    };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn profiles_by_sums_are_those_of_counting(
            len in 0usize..30_000, seed: u64, k in 1u8..=5, at in prop::collection::vec((0.0..=1.0f64, 0.0..=1.0f64), 1..8),
        ) {
            // Some stretches of N, and bases that repeat with a long period.
            let code = |i: usize| {
                let hash = ((i as u64 % 20_011) ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                if (i / 50).is_multiple_of(97) { CODE_N } else { (hash >> 61) as u8 & 3 }
            };
            let sequence = PackedSequence::from_codes(&(0..len).map(code).collect::<Vec<_>>()).unwrap();
            let ks = vec![k, 6];
            let profiler = KmerProfiler::new(&KmerConfig { ks, transform: KmerTransform::Clr }).unwrap();
            let sums = profiler.sums(sequence.as_slice());
            for (one, other) in at {
                let [one, other] = [one, other].map(|share| (share * len as f64) as usize);
                let range = one.min(other)..one.max(other);
                let found = profiler.profile_by(&sums, sequence.as_slice(), range.clone());
                prop_assert_eq!(found, profiler.profile(sequence.as_slice(), range.clone()), "{:?}", range);
            }
            let whole = profiler.profile_by(&sums, sequence.as_slice(), 0..len);
            prop_assert_eq!(whole, profiler.profile(sequence.as_slice(), 0..len));
        }
    }
}
