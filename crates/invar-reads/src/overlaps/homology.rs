//! Which components are alike but not one: those of sister species.
//!
//! Two pieces of one genome that no overlap joins (replicons, contigs with a gap between them) share next to no k-mers of
//! [`K`] bases, but for those of repeats, which lie in few reads. Genomes of one genus share some in nearly every read:
//! `ANI^K` of them, 1 % at 80 %, of which those without an error are found.

use invar_dataset::{DatasetError, seed};
use rayon::prelude::*;

use crate::Reads;

/// Bases of a k-mer: so many that none is in two genomes by chance.
const K: u32 = 20;
/// Fewest reads of a component that is looked at.
const MIN_READS: usize = 50;
/// Reads of a component that are looked for in the others.
const ASKED: usize = 48;
/// K-mers of a read that are looked at, about.
const KMERS_OF_READ: f64 = 1250.0;
/// Most bases between two k-mers that are looked at.
const MAX_EVERY: u64 = 8;
/// How many times over the k-mers of a genome are kept.
const KEPT_DEPTH: f64 = 2.0;
/// Most k-mers that are kept, 8 bytes each.
const MAX_KEPT: usize = 1 << 25;
/// Bytes of those, twice while they are put together.
pub(super) const MAX_BYTES: u64 = 16 * MAX_KEPT as u64;
/// The k-mers of a read that are in the other component, at least, of half of the reads asked, where the two are homologous.
const MIN_SHARED: u32 = 2;
/// Share of the reads asked that have one such k-mer, at most, where the two are certainly not.
const MAX_UNLIKE: f64 = 0.4;
/// Low bits of a kept k-mer: its component.
const COMPONENT_BITS: u32 = 20;

/// What is known of two components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinship {
    /// Sister species, or strains.
    Homologous,
    /// They share no more than two pieces of one genome do.
    Unlike,
    /// Between the two.
    Unclear,
}

/// Couples of components that are not [`Kinship::Unlike`], the smaller number first, ascending.
#[derive(Debug, Default)]
pub(super) struct Homology {
    couples: Vec<((u32, u32), Kinship)>,
}

impl Homology {
    /// Looks for reads of each large component in all others. `members` are by descending size; `depths` are of the reads.
    pub fn new(reads: &dyn Reads, members: &[&[u32]], depths: &[f32]) -> Result<Self, DatasetError> {
        let large = members.iter().take_while(|reads| reads.len() >= MIN_READS).count().min(1 << COMPONENT_BITS);
        let members = &members[..large];
        if large < 2 {
            return Ok(Self::default());
        }
        let every = sampling(reads, members)?;
        let kept = kept(reads, members, depths, every)?;
        // For each component: how many of its reads were asked, and for each other one with a hit the sorted hits.
        let of_component = |component: usize| {
            let all = members[component];
            let asked = all.len().min(ASKED);
            let mut hits: Vec<(u32, u32)> = Vec::new();
            let mut codes = Vec::new();
            for i in 0..asked {
                let mut kmers = kmers(reads, all[i * all.len() / asked], every, &mut codes)?;
                kmers.sort_unstable();
                kmers.dedup();
                let mut found: Vec<u32> = kmers
                    .iter()
                    .flat_map(|&kmer| with(&kept, kmer))
                    .map(|&entry| component_of(entry))
                    .filter(|&other| other as usize != component)
                    .collect();
                found.sort_unstable();
                hits.extend(found.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32)));
            }
            hits.sort_unstable();
            Ok(hits.chunk_by(|a, b| a.0 == b.0).map(|of| (of[0].0, seen(of, asked))).collect::<Vec<_>>())
        };
        let seen: Vec<Vec<(u32, Kinship)>> =
            (0..large).into_par_iter().map(of_component).collect::<Result<_, DatasetError>>()?;
        let mut couples = Vec::new();
        for (component, others) in seen.iter().enumerate() {
            for &(other, kinship) in others {
                let back = &seen[other as usize];
                let back =
                    back.binary_search_by_key(&(component as u32), |of| of.0).map_or(Kinship::Unlike, |at| back[at].1);
                let kinship = match (kinship, back) {
                    (Kinship::Homologous, Kinship::Homologous) => Kinship::Homologous,
                    (Kinship::Unlike, Kinship::Unlike) => continue,
                    _ => Kinship::Unclear,
                };
                couples.push(((other.min(component as u32), other.max(component as u32)), kinship));
            }
        }
        couples.sort_unstable_by_key(|couple| couple.0);
        couples.dedup();
        Ok(Self { couples })
    }

    /// What two components are to each other.
    pub fn of(&self, a: u32, b: u32) -> Kinship {
        let couple = (a.min(b), a.max(b));
        self.couples.binary_search_by_key(&couple, |of| of.0).map_or(Kinship::Unlike, |at| self.couples[at].1)
    }

    /// The couples that are homologous.
    pub fn homologous(&self) -> impl Iterator<Item = (u32, u32)> {
        self.couples.iter().filter(|of| of.1 == Kinship::Homologous).map(|of| of.0)
    }
}

/// What the hits of some of the reads that were asked say.
fn seen(hits: &[(u32, u32)], asked: usize) -> Kinship {
    let enough = hits.iter().filter(|of| of.1 >= MIN_SHARED).count();
    if 2 * enough >= asked {
        Kinship::Homologous
    } else if hits.len() as f64 <= MAX_UNLIKE * asked as f64 {
        Kinship::Unlike
    } else {
        Kinship::Unclear
    }
}

/// Of so many k-mers one is looked at: fewer where reads are short.
fn sampling(reads: &dyn Reads, members: &[&[u32]]) -> Result<u64, DatasetError> {
    let (mut num_bases, mut num_reads) = (0u64, 0u64);
    for &read in members.iter().flat_map(|all| all.iter().take(ASKED)) {
        num_bases += reads.sequence(read as usize)?.len() as u64;
        num_reads += 1;
    }
    Ok(((num_bases as f64 / num_reads.max(1) as f64 / KMERS_OF_READ) as u64).clamp(1, MAX_EVERY))
}

/// K-mers of the components, each with its number in the low bits, ascending: of so many reads that a genome is covered
/// [`KEPT_DEPTH`] times.
fn kept(reads: &dyn Reads, members: &[&[u32]], depths: &[f32], every: u64) -> Result<Vec<u64>, DatasetError> {
    let mean_depth =
        |all: &[u32]| all.iter().map(|&read| f64::from(depths[read as usize])).sum::<f64>() / all.len() as f64;
    let mut steps: Vec<usize> = members.iter().map(|all| ((mean_depth(all) / KEPT_DEPTH) as usize).max(1)).collect();
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
    let mut kept: Vec<u64> = chosen.par_iter().map(of_read).collect::<Result<Vec<_>, DatasetError>>()?.concat();
    kept.par_sort_unstable();
    kept.dedup();
    Ok(kept)
}

/// The entries of a k-mer.
fn with(kept: &[u64], kmer: u64) -> &[u64] {
    let first = kept.partition_point(|&entry| entry < kmer);
    let num = kept[first..].iter().take_while(|&&entry| entry >> COMPONENT_BITS == kmer >> COMPONENT_BITS).count();
    &kept[first..first + num]
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
                // Spread over all numbers again.
                found.push(hash.wrapping_mul(every) >> COMPONENT_BITS << COMPONENT_BITS);
            }
        }
    }
    Ok(found)
}

/// Of what k-mers are hashed with.
const HASH: u64 = 0x686f_6d6f_6c6f_6779;
