//! Finds components that are similar but distinct: those of sister species, and those of strains of one.
//!
//! Two pieces of one genome that no overlap joins (replicons, contigs with a gap between them) share next to no k-mers
//! of [`K`] bases, except those of repeats, which are in few reads. Genomes of one genus share some in nearly every
//! read: `ANI^K` of them, 1 % at 80 %, of which those without an error are found.

use invar_dataset::{DatasetError, seed};
use rayon::prelude::*;

use crate::Reads;

/// Average nucleotide identity from which two genomes are of one species. The usual bound is 0.95 (Jain et al. 2018,
/// *High throughput ANI analysis of 90K prokaryotic genomes reveals clear species boundaries*); here it must be clearly
/// less.
pub(super) const SPECIES_IDENTITY: f64 = 0.94;
/// Minimum number of k-mers that a read of another strain is expected to share, if strains are to be told from sister
/// species.
const ENOUGH_OF_STRAINS: f64 = 4.0;
/// Minimum fraction of the sampled reads of the smaller one that are as similar to the larger one as those of a strain.
const MIN_STRAINS: f64 = 0.5;
/// Largest ratio of the depths of two strains: what is far deeper is a phage or a plasmid.
const MAX_DEPTHS: f64 = 8.0;
/// Bases per k-mer: long enough that none is in two genomes by chance.
pub(super) const K: u32 = 20;
/// Largest error rate at which sister species are recognised by their k-mers.
pub(super) const MAX_ERROR_RATE: f64 = 0.115;
/// Up to this error rate [`KMERS_OF_READ`] are enough.
const LOW_ERROR_RATE: f64 = 0.05;
/// Minimum number of reads of a component to be considered.
const MIN_READS: usize = 25;
/// Approximate number of k-mers used per read, and how many times more at most where few are without an error.
const KMERS_OF_READ: f64 = 1250.0;
const MOST_TIMES: f64 = 8.0;
/// Maximum distance in bases between two k-mers used.
const MAX_EVERY: u64 = 8;
/// To which coverage the k-mers of a genome are kept.
const KEPT_DEPTH: f64 = 2.5;
/// Maximum number of k-mers kept, 8 bytes each.
const MAX_KEPT: usize = 1 << 25;
/// Bytes for those, twice while they are combined, and for each base if all are used.
pub(super) const BYTES_OF_BASE: u64 = 16;
pub(super) const MAX_BYTES: u64 = BYTES_OF_BASE * MAX_KEPT as u64;
/// Minimum number of a read's k-mers in the other component, for half of the sampled reads, if the two are homologous.
pub(super) const MIN_SHARED: u32 = 2;
/// Maximum fraction of the sampled reads with one such k-mer, if the two are certainly not homologous.
const MAX_UNLIKE: f64 = 0.4;
/// Low bits of a kept k-mer: its component.
const COMPONENT_BITS: u32 = 20;

/// Approximate number of entries between two places of the index.
const ENTRIES_OF_START: usize = 8;

/// The relationship of two sets of components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinship {
    /// Strains of one species.
    Strains,
    /// Sister species, or strains if these cannot be told from them.
    Homologous,
    /// They share no more than two pieces of one genome do.
    Unlike,
    /// Between the two.
    Unclear,
}

/// How k-mers are searched for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    /// Number of reads of a component that are searched for in the others.
    sampled: usize,
    /// A k-mer in more components is one of a repeat, and not used.
    max_components: usize,
}

impl Search {
    /// Between components of overlapping reads.
    pub const COMPONENTS: Self = Self { sampled: 48, max_components: usize::MAX };
    /// Between pieces of these.
    pub const PIECES: Self = Self { sampled: 24, max_components: 3 };
}

/// Where the k-mers of a read are found.
#[derive(Debug)]
pub(super) struct Sampled {
    /// Number of different k-mers searched for.
    pub num_kmers: u32,
    /// The other components that contain some of them, ascending, and how many.
    pub found: Vec<(u32, u32)>,
}

/// Where the k-mers of sampled reads of each large component are found.
#[derive(Debug, Default)]
pub(super) struct Homology {
    /// Those of each component.
    sampled: Vec<Vec<Sampled>>,
    /// Mean depth of each component.
    depths: Vec<f64>,
    kept_depth: f64,
    /// The probability that a k-mer of a read has no error.
    intact: f64,
}

impl Homology {
    /// Searches for reads of each large component in all others. The small ones are the last of `members`; `depths` are
    /// those of the reads.
    pub fn new(
        reads: &dyn Reads,
        members: &[&[u32]],
        depths: &[f32],
        error_rate: f64,
        search: Search,
    ) -> Result<Self, DatasetError> {
        let large = members.iter().take_while(|reads| reads.len() >= MIN_READS).count().min(1 << COMPONENT_BITS);
        let members = &members[..large];
        if large < 2 {
            return Ok(Self::default());
        }
        let every = sampling(reads, members, error_rate, search)?;
        let kept = Kept::new(reads, members, depths, every)?;
        let of_component = |component: usize| {
            let all = members[component];
            let asked = all.len().min(search.sampled);
            let mut codes = Vec::new();
            let of_read = |i: usize| {
                let mut kmers = kmers(reads, all[i * all.len() / asked], every, &mut codes)?;
                kmers.sort_unstable();
                kmers.dedup();
                let mut found: Vec<u32> = kmers
                    .iter()
                    .map(|&kmer| kept.with(kmer))
                    .filter(|entries| entries.len() <= search.max_components)
                    .flatten()
                    .map(|&entry| component_of(entry))
                    .filter(|&other| other as usize != component)
                    .collect();
                found.sort_unstable();
                let found = found.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32)).collect();
                Ok(Sampled { num_kmers: kmers.len() as u32, found })
            };
            (0..asked).map(of_read).collect()
        };
        let sampled = (0..large).into_par_iter().map(of_component).collect::<Result<_, DatasetError>>()?;
        let depths = members.iter().map(|all| mean_depth(all, depths)).collect();
        Ok(Self { sampled, depths, kept_depth: kept.depth, intact: intact(error_rate) })
    }

    /// The sampled reads of each component.
    pub fn sampled(&self) -> &[Vec<Sampled>] {
        &self.sampled
    }

    /// The fraction of the k-mers of a read that is found in what covers the same stretch, this many times or more often
    /// than k-mers are kept: neither has an error, and the stretch is covered.
    pub fn of_same(&self, depth: f64) -> f64 {
        of_same(self.intact, self.kept_depth.min(depth))
    }

    /// The relationship of two sets of components, each ascending.
    pub fn of(&self, a: &[u32], b: &[u32]) -> Kinship {
        let both = [self.seen(a, b), self.seen(b, a)];
        if both.iter().all(|seen| 2 * seen.strains >= seen.enough)
            && both.iter().any(|seen| seen.asked > 0 && seen.strains as f64 >= MIN_STRAINS * seen.asked as f64)
            && self.depth(a).max(self.depth(b)) <= MAX_DEPTHS * self.depth(a).min(self.depth(b))
        {
            return Kinship::Strains;
        }
        if both.iter().all(|seen| seen.asked > 0 && 2 * seen.enough >= seen.asked) {
            Kinship::Homologous
        } else if both.iter().all(|seen| seen.any as f64 <= MAX_UNLIKE * seen.asked as f64) {
            Kinship::Unlike
        } else {
            Kinship::Unclear
        }
    }

    /// Components that contain k-mers of this one's reads, ascending.
    pub fn touched(&self, component: u32) -> Vec<u32> {
        let found = self.sampled.get(component as usize).into_iter().flatten().flat_map(|read| &read.found);
        let mut touched: Vec<u32> = found.map(|&(other, _)| other).collect();
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    /// The largest mean depth of some components.
    fn depth(&self, components: &[u32]) -> f64 {
        let depths = components.iter().filter_map(|&component| self.depths.get(component as usize));
        depths.copied().fold(0.0, f64::max)
    }

    /// What the sampled reads of one set find in another.
    fn seen(&self, of: &[u32], others: &[u32]) -> Seen {
        let of_strains = self.of_same(self.depth(others)) * SPECIES_IDENTITY.powi(K as i32);
        let mut seen = Seen::default();
        for read in of.iter().filter_map(|&component| self.sampled.get(component as usize)).flatten() {
            let shared: u32 = read
                .found
                .iter()
                .filter(|(other, _)| others.binary_search(other).is_ok())
                .map(|(_, shared)| shared)
                .sum();
            let least = of_strains * f64::from(read.num_kmers);
            seen.asked += 1;
            seen.any += usize::from(shared > 0);
            seen.enough += usize::from(shared >= MIN_SHARED);
            seen.strains += usize::from(least >= ENOUGH_OF_STRAINS && f64::from(shared) >= least);
        }
        seen
    }
}

/// How many sampled reads there are of one set, and for how many of them something was found in another.
#[derive(Clone, Copy, Default)]
struct Seen {
    asked: usize,
    any: usize,
    /// As much as in homologous sequence.
    enough: usize,
    /// As much as in another strain.
    strains: usize,
}

/// The probability that a k-mer of a read has no error.
fn intact(error_rate: f64) -> f64 {
    (1.0 - error_rate).powi(K as i32)
}

/// The probability that it is found in reads that cover the same stretch `depth` times.
fn of_same(intact: f64, depth: f64) -> f64 {
    intact * (1.0 - (-depth * intact).exp())
}

fn mean_depth(reads: &[u32], depths: &[f32]) -> f64 {
    reads.iter().map(|&read| f64::from(depths[read as usize])).sum::<f64>() / reads.len() as f64
}

/// One in how many k-mers is used: fewer are skipped if reads are short, or few of their k-mers are without an error.
fn sampling(reads: &dyn Reads, members: &[&[u32]], error_rate: f64, search: Search) -> Result<u64, DatasetError> {
    let (mut num_bases, mut num_reads) = (0u64, 0u64);
    for &read in members.iter().flat_map(|all| all.iter().take(search.sampled)) {
        num_bases += reads.sequence(read as usize)?.len() as u64;
        num_reads += 1;
    }
    let found = |rate: f64| of_same(intact(rate), KEPT_DEPTH);
    let times = (found(LOW_ERROR_RATE) / found(error_rate)).clamp(1.0, MOST_TIMES);
    let every = num_bases as f64 / num_reads.max(1) as f64 / (times * KMERS_OF_READ);
    Ok((every as u64).clamp(1, MAX_EVERY))
}

/// K-mers of the components.
struct Kept {
    /// K-mers, each with the index of its component in the low bits, ascending.
    entries: Vec<u64>,
    /// Where the entries with each value of the upper bits begin.
    starts: Vec<u32>,
    shift: u32,
    /// How often they cover a genome that is deep enough.
    depth: f64,
}

impl Kept {
    /// From enough reads to cover a genome [`KEPT_DEPTH`] times.
    fn new(reads: &dyn Reads, members: &[&[u32]], depths: &[f32], every: u64) -> Result<Self, DatasetError> {
        let mut steps: Vec<usize> =
            members.iter().map(|all| ((mean_depth(all, depths) / KEPT_DEPTH) as usize).max(1)).collect();
        let mut num_kmers = 0;
        for (all, &step) in members.iter().zip(&steps) {
            for &read in all.iter().step_by(step) {
                num_kmers += reads.sequence(read as usize)?.len() / every as usize;
            }
        }
        let more = num_kmers.div_ceil(MAX_KEPT).max(1);
        steps.iter_mut().for_each(|step| *step *= more);
        let chosen: Vec<(u32, u32)> = (0..)
            .zip(members.iter().zip(&steps))
            .flat_map(|(component, (all, &step))| all.iter().step_by(step).map(move |&read| (component, read)))
            .collect();
        let of_read = |&(component, read): &(u32, u32)| {
            let kmers = kmers(reads, read, every, &mut Vec::new())?;
            Ok(kmers.into_iter().map(|kmer| kmer | u64::from(component)).collect::<Vec<u64>>())
        };
        let mut entries: Vec<u64> = chosen.par_iter().map(of_read).collect::<Result<Vec<_>, DatasetError>>()?.concat();
        entries.par_sort_unstable();
        entries.dedup();
        let bits = (entries.len() / ENTRIES_OF_START).max(1).ilog2() + 1;
        let shift = u64::BITS - bits;
        let mut starts = vec![0u32; (1 << bits) + 1];
        entries.iter().for_each(|&entry| starts[(entry >> shift) as usize + 1] += 1);
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        Ok(Self { entries, starts, shift, depth: KEPT_DEPTH / more as f64 })
    }

    /// The entries of a k-mer.
    fn with(&self, kmer: u64) -> &[u64] {
        let start = (kmer >> self.shift) as usize;
        let near = &self.entries[self.starts[start] as usize..self.starts[start + 1] as usize];
        let first = near.partition_point(|&entry| entry < kmer);
        let num = near[first..].iter().take_while(|&&entry| entry >> COMPONENT_BITS == kmer >> COMPONENT_BITS).count();
        &near[first..first + num]
    }
}

fn component_of(entry: u64) -> u32 {
    (entry & ((1 << COMPONENT_BITS) - 1)) as u32
}

/// The hashes of some canonical k-mers of a read, the same ones in every read; their low bits are 0.
fn kmers(reads: &dyn Reads, read: u32, every: u64, codes: &mut Vec<u8>) -> Result<Vec<u64>, DatasetError> {
    const MASK: u64 = (1 << (2 * K)) - 1;
    let sequence = reads.sequence(read as usize)?;
    codes.clear();
    sequence.unpack_codes(0..sequence.len(), codes);
    let (mut forward, mut reverse, mut known) = (0u64, 0u64, 0u32);
    let mut found = Vec::with_capacity(codes.len() / every as usize + 16);
    for &code in codes.iter() {
        if code > 3 {
            known = 0;
            continue;
        }
        forward = (forward << 2 | u64::from(code)) & MASK;
        reverse = reverse >> 2 | u64::from(3 - code) << (2 * K - 2);
        known += 1;
        if known >= K {
            let hash = seed::mix(HASH, forward.min(reverse));
            if hash <= u64::MAX / every {
                // Spread over the whole range again.
                found.push(hash.wrapping_mul(every) >> COMPONENT_BITS << COMPONENT_BITS);
            }
        }
    }
    Ok(found)
}

/// Seed of the k-mer hash.
const HASH: u64 = 0x686f_6d6f_6c6f_6779;
