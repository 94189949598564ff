//! Which reads overlap, without an alignment: reads that share several k-mers of a sketch.
//!
//! The sketch of a read are its canonical k-mers whose hash is below `2^32 / sketch_bp` (FracMinHash: Irber et al. 2022,
//! *Lightweight compositional analysis of metagenomes with FracMinHash and minimum metagenome covers*), about one of
//! `sketch_bp`, the same ones in every read over the same bases. Of two reads with error rate `e` a k-mer of the shared
//! bases is in both with probability `(1 - e)^(2k)`: 0.19 at 5 % and k = 16, so that reads that share 5 kb share ten
//! k-mers of a sketch of one in a hundred, and two reads of nowhere near hardly ever one.

use std::ops::Range;

use invar_dataset::{DatasetError, seed::Rng};
use multiversion::multiversion;
use rand::RngExt;
use rayon::prelude::*;

use super::config::OverlapWalkConfig;
use crate::Reads;

/// Largest k: a k-mer is a number of 32 bits.
pub(super) const MAX_K: u8 = 16;

/// Most k-mers of all sketches together, at 16 bytes each while they are sorted. Of more, every second (third, ...) read
/// is sketched: a sample of so many reads that it covers its genomes all the same.
const MAX_KMERS: usize = 1 << 24;
/// A k-mer of more reads than this share of all says nothing: it is of an adapter, or a repeat.
const MAX_SHARE: usize = 8;
/// ... but not where it has so few.
const FEW: usize = 64;
/// Candidates looked at to find the next read of a walk.
const TRIES: usize = 8;
/// Reads sketched at a time by a thread.
const CHUNK: usize = 256;
/// Bases hashed at a time.
const BLOCK: usize = 1024;
/// K-mers looked through for one of the sketch at a time.
const FEW_KMERS: usize = 32;
/// The code of an unknown base.
const N: u8 = 4;

/// Reads and the k-mers of their sketches that they share with others: 4 bytes a read, 8 for each k-mer of each.
#[derive(Debug)]
pub(super) struct OverlapGraph {
    /// The k-mers of each read, ascending numbers.
    kmers_of: Lists,
    /// The reads of each k-mer, two at least, ascending.
    reads_of: Lists,
    config: OverlapWalkConfig,
}

impl OverlapGraph {
    /// Sketches all reads. There are `u32::MAX` at most.
    pub(super) fn new(reads: &dyn Reads, config: &OverlapWalkConfig) -> Result<Self, DatasetError> {
        let found = sketches(reads, config, MAX_KMERS)?;
        let most = FEW.max(reads.len() / MAX_SHARE);
        let (mut reads_of, mut of_read) = (Lists::default(), vec![0; reads.len() + 1]);
        for same in found.chunk_by(|a, b| a >> 32 == b >> 32).filter(|same| (2..=most).contains(&same.len())) {
            reads_of.push(same.iter().map(|&entry| entry as u32));
            same.iter().for_each(|&entry| of_read[entry as u32 as usize + 1] += 1);
        }
        drop(found);
        for read in 0..reads.len() {
            of_read[read + 1] += of_read[read];
        }
        let mut next = of_read.clone();
        let mut items = vec![0; reads_of.items.len()];
        for kmer in 0..reads_of.len() {
            for &read in reads_of.get(kmer) {
                let place = &mut next[read as usize];
                items[*place as usize] = kmer as u32;
                *place += 1;
            }
        }
        Ok(Self { kmers_of: Lists { ends: of_read, items }, reads_of, config: config.clone() })
    }

    /// The read at the end of a random walk of 1 to `max_steps` overlaps from `read`, or as many as there are; of
    /// another molecule. `None` where none was found that overlaps it.
    pub(super) fn walk(&self, reads: &dyn Reads, read: usize, rng: &mut Rng) -> Option<usize> {
        let mut end = None;
        for _ in 0..rng.random_range(1..=self.config.max_steps) {
            let from = end.unwrap_or(read);
            match self.neighbour(from, |to| !reads.are_one_molecule(to, read), rng) {
                Some(next) => end = Some(next),
                None => break,
            }
        }
        end
    }

    fn neighbour(&self, read: usize, accept: impl Fn(usize) -> bool, rng: &mut Rng) -> Option<usize> {
        let kmers = self.kmers_of.get(read);
        if kmers.len() < self.config.min_shared as usize {
            return None;
        }
        (0..TRIES).find_map(|_| {
            let sharing = self.reads_of.get(kmers[rng.random_range(0..kmers.len())] as usize);
            let other = sharing[rng.random_range(0..sharing.len())] as usize;
            let overlaps = || share(kmers, self.kmers_of.get(other), self.config.min_shared as usize);
            (other != read && accept(other) && overlaps()).then_some(other)
        })
    }
}

/// Whether so many numbers are in both lists, which ascend.
fn share(a: &[u32], b: &[u32], wanted: usize) -> bool {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while shared < wanted && i < a.len() && j < b.len() {
        let (x, y) = (a[i], b[j]);
        shared += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    shared >= wanted
}

/// The k-mers of the reads' sketches, each as its hash (upper half) and the read, ascending, each once.
fn sketches(reads: &dyn Reads, config: &OverlapWalkConfig, max_kmers: usize) -> Result<Vec<u64>, DatasetError> {
    let mut num_bases = 0;
    for read in 0..reads.len() {
        num_bases += reads.sequence(read)?.len();
    }
    let every = num_bases.div_ceil(config.sketch_bp as usize).div_ceil(max_kmers).max(1);
    let chunks: Vec<Range<usize>> =
        (0..reads.len()).step_by(CHUNK * every).map(|start| start..(start + CHUNK * every).min(reads.len())).collect();
    let of_chunk = |chunk: Range<usize>| {
        let (mut codes, mut found) = (Vec::new(), Vec::new());
        for read in chunk.step_by(every) {
            let sequence = reads.sequence(read)?;
            codes.clear();
            sequence.unpack_codes(0..sequence.len(), &mut codes);
            sketch(&codes, config, |hash| found.push(u64::from(hash) << 32 | read as u64));
        }
        Ok(found)
    };
    let found: Vec<Vec<u64>> = chunks.into_par_iter().map(of_chunk).collect::<Result<_, DatasetError>>()?;
    let mut found = found.concat();
    found.par_sort_unstable();
    found.dedup();
    Ok(found)
}

/// Gives the hashes of the sketch of a sequence: codes 0 to 3, 4 for N.
fn sketch(codes: &[u8], config: &OverlapWalkConfig, mut found: impl FnMut(u32)) {
    let k = u32::from(config.k);
    let mask = u32::MAX >> (32 - 2 * k);
    let limit = u32::MAX / config.sketch_bp;
    // The complement of a base, where the other strand begins.
    let complements = [3, 2, 1, 0].map(|base| base << (2 * k - 2));
    let mut kmers = [0; BLOCK];
    let mut start = 0;
    for end in memchr::memchr_iter(N, codes).chain([codes.len()]) {
        let known = &codes[start..end];
        start = end + 1;
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
        for block in rest.chunks(BLOCK) {
            let kmers = &mut kmers[..block.len()];
            kmers.iter_mut().zip(block).for_each(|(kmer, base)| *kmer = next(base));
            mix(kmers);
            for few in kmers.chunks(FEW_KMERS).filter(|few| least(few) <= limit) {
                few.iter().filter(|&&hash| hash <= limit).for_each(|&hash| found(hash));
            }
        }
    }
}

/// The least of some numbers, of which there are some.
#[multiversion(targets("x86_64+avx2"))]
fn least(numbers: &[u32]) -> u32 {
    numbers.iter().fold(u32::MAX, |least, &number| least.min(number))
}

/// Each code's hash, the finalizer of MurmurHash3 (Appleby, `fmix32`): one to one, so that two k-mers never have one hash. A
/// run of one base has the code 0 and would have the hash 0, hence the sum.
#[multiversion(targets("x86_64+avx2"))]
fn mix(codes: &mut [u32]) {
    for code in codes {
        let mut hash = code.wrapping_add(0x9e37_79b9);
        hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
        *code = hash ^ hash >> 16;
    }
}

/// Lists of numbers, one behind the other.
#[derive(Debug)]
struct Lists {
    /// 0, then where each list ends.
    ends: Vec<u32>,
    items: Vec<u32>,
}

impl Default for Lists {
    fn default() -> Self {
        Self { ends: vec![0], items: Vec::new() }
    }
}

impl Lists {
    fn len(&self) -> usize {
        self.ends.len() - 1
    }

    fn push(&mut self, list: impl Iterator<Item = u32>) {
        self.items.extend(list);
        self.ends.push(self.items.len() as u32);
    }

    fn get(&self, index: usize) -> &[u32] {
        &self.items[self.ends[index] as usize..self.ends[index + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryReads, PackedSequence, Read, packed::reverse_complement_codes};
    use invar_dataset::seed;
    use proptest::prelude::*;

    fn codes(len: usize, seed: u64) -> Vec<u8> {
        let mut rng = seed::rng(seed, 3);
        (0..len).map(|_| rng.random_range(0..4u8)).collect()
    }

    fn reads(sequences: &[Vec<u8>]) -> MemoryReads {
        let read = |(i, codes): (usize, &Vec<u8>)| Read {
            name: format!("r{i}"),
            sequence: PackedSequence::from_codes(codes).unwrap(),
            ..Read::default()
        };
        MemoryReads::new(sequences.iter().enumerate().map(read).collect())
    }

    fn config() -> OverlapWalkConfig {
        OverlapWalkConfig { sketch_bp: 10, ..OverlapWalkConfig::default() }
    }

    fn sorted_sketch(codes: &[u8], config: &OverlapWalkConfig) -> Vec<u32> {
        let mut found = Vec::new();
        sketch(codes, config, |hash| found.push(hash));
        found.sort_unstable();
        found
    }

    proptest! {
        // Second implementation: every window packed anew, of both strands.
        #[test]
        fn a_sketch_has_the_canonical_kmers_below_the_limit(
            codes in prop::collection::vec(prop_oneof![9 => 0u8..4, 1 => Just(4u8)], 0..300), k in 8u8..=16, every in 1u32..9,
        ) {
            let config = OverlapWalkConfig { k, sketch_bp: every, ..config() };
            let code = |window: &[u8]| window.iter().fold(0u32, |code, &base| code << 2 | u32::from(base));
            let mut expected: Vec<u32> = codes
                .windows(usize::from(k))
                .filter(|window| !window.contains(&4))
                .map(|window| {
                    let mut other = window.to_vec();
                    reverse_complement_codes(&mut other);
                    let mut hash = [code(window).min(code(&other))];
                    mix(&mut hash);
                    hash[0]
                })
                .filter(|&hash| hash <= u32::MAX / every)
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(sorted_sketch(&codes, &config), expected);
        }

        #[test]
        fn both_strands_have_one_sketch(len in 0usize..400, seed: u64) {
            let forward = codes(len, seed);
            let mut reverse = forward.clone();
            reverse_complement_codes(&mut reverse);
            prop_assert_eq!(sorted_sketch(&forward, &config()), sorted_sketch(&reverse, &config()));
        }

        // Second implementation: sets.
        #[test]
        fn shared_numbers_are_those_of_both_sets(
            a in prop::collection::btree_set(0u32..60, 0..40), b in prop::collection::btree_set(0u32..60, 0..40),
        ) {
            let lists = [&a, &b].map(|set| set.iter().copied().collect::<Vec<_>>());
            for wanted in 0..6 {
                prop_assert_eq!(share(&lists[0], &lists[1], wanted), a.intersection(&b).count() >= wanted);
            }
        }
    }

    // A chain: each read shares 500 bp with the next; two more reads share nothing with any, and one is too short.
    fn chain() -> MemoryReads {
        let genome = codes(4_000, 1);
        let mut sequences: Vec<Vec<u8>> = (0..7).map(|i| genome[500 * i..500 * i + 1_000].to_vec()).collect();
        for turned in [1, 2, 5] {
            reverse_complement_codes(&mut sequences[turned]);
        }
        sequences.extend([codes(1_000, 2), codes(1_000, 3), genome[..20].to_vec()]);
        reads(&sequences)
    }

    #[test]
    fn a_walk_goes_along_overlaps() {
        let reads = chain();
        for max_steps in 1..4 {
            let config = OverlapWalkConfig { max_steps, ..config() };
            let graph = OverlapGraph::new(&reads, &config).unwrap();
            let mut met = vec![false; reads.len()];
            for seed in 0..500 {
                if let Some(end) = graph.walk(&reads, 3, &mut seed::rng(seed, 0)) {
                    met[end] = true;
                }
                assert_eq!(graph.walk(&reads, 7, &mut seed::rng(seed, 0)), None);
                assert_eq!(graph.walk(&reads, 9, &mut seed::rng(seed, 0)), None);
            }
            let expected: Vec<bool> =
                (0..reads.len()).map(|read| read < 7 && read != 3 && read.abs_diff(3) <= max_steps as usize).collect();
            assert_eq!(met, expected, "{max_steps}");
        }
    }

    #[test]
    fn the_same_at_any_thread_count() {
        let genome = codes(100_000, 8);
        let reads = reads(&(0..600).map(|i| genome[160 * i..160 * i + 1_500].to_vec()).collect::<Vec<_>>());
        let walks = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let graph = pool.install(|| OverlapGraph::new(&reads, &config()).unwrap());
            (0..600).map(|read| graph.walk(&reads, read, &mut seed::rng(4, read as u64))).collect::<Vec<_>>()
        };
        assert!(walks(1).iter().all(Option::is_some));
        assert_eq!(walks(1), walks(3));
    }

    #[test]
    fn mates_are_no_partners_and_common_kmers_say_nothing() {
        let sequence = codes(600, 4);
        let mate = |mate| Read {
            name: "pair".into(),
            mate: Some(mate),
            sequence: PackedSequence::from_codes(&sequence).unwrap(),
            ..Read::default()
        };
        let mates = MemoryReads::new(vec![mate(1), mate(2)]);
        let graph = OverlapGraph::new(&mates, &config()).unwrap();
        assert!((0..50).all(|seed| graph.walk(&mates, 0, &mut seed::rng(seed, 0)).is_none()));

        for (num_reads, found) in [(FEW, true), (FEW + 1, false)] {
            let same = reads(&vec![sequence.clone(); num_reads]);
            let graph = OverlapGraph::new(&same, &config()).unwrap();
            assert_eq!(graph.walk(&same, 0, &mut seed::rng(1, 0)).is_some(), found, "{num_reads} reads");
        }
    }

    #[test]
    fn of_too_many_reads_some_are_sketched() {
        let reads = reads(&(0..1_000).map(|i| codes(200, i)).collect::<Vec<_>>());
        let num_reads = |max_kmers| {
            let mut found: Vec<_> =
                sketches(&reads, &config(), max_kmers).unwrap().iter().map(|&entry| entry as u32).collect();
            found.sort_unstable();
            found.dedup();
            (found.len(), found)
        };
        assert_eq!(num_reads(20_000).0, 1_000);
        let (len, found) = num_reads(7_000);
        assert!(len > 300 && found.iter().all(|read| read % 3 == 0), "{len} reads");
    }
}
