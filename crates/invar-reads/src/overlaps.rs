//! Finds which reads overlap, without an alignment and without settings: the basis for assembling genomes.
//!
//! Two reads over the same stretch of a genome share k-mers, in one orientation and at a constant distance; two reads
//! of different genomes share none, or few, or only where the genomes are similar. From reads to overlaps:
//!
//! 1. A *sketch* of each read: those of its canonical k-mers with a small hash, with their positions and strands.
//! 2. *Matches*: of the k-mers that two reads share, the largest set on one diagonal.
//! 3. *Overlaps*: matches that reach the end of a read on either side (dovetails and containments) and share about as
//!    many k-mers as the other overlaps of this sample. So one rule serves reads of any error rate, and reads of
//!    species that differ by a few per cent, or of two copies of a repeat, do not overlap.
//! 4. Overlaps contradicted by longer ones are dropped (repeats), and so are reads made of two pieces (chimeras).
//! 5. *Components*: the reads that overlaps join. Each belongs to one genome; a genome covered about ten times is a
//!    single component.
//! 6. Large components that hold several genomes, because a few overlaps are within what these share, are cut, see
//!    `cuts.rs`.
//! 7. Components of the same composition and depth that share no k-mers are merged: pieces of a genome that no overlap
//!    joins, see `links.rs`. Those that share k-mers everywhere belong to sister species, or if they share many to strains
//!    of one, see `homology.rs`.
//!
//! Genomes that differ by less than about 1.5 % are not distinguished.

mod bisection;
mod components;
mod cuts;
mod graph;
mod homology;
mod links;
mod matches;
mod pieces;
mod rule;
mod shared;
mod sketch;
pub(crate) mod stored;

use std::collections::HashSet;

use invar_dataset::{DatasetError, seed::Rng, split::index_bound};
use rand::RngExt;
use rayon::prelude::*;

use crate::Reads;
use components::Sets;
use graph::{OverlapGraph, Partings};
use homology::{Homology, Kinship, Search};
use links::Links;
use matches::{Match, Matches};
use rule::Rule;
use shared::SharedKmers;
use sketch::{MAX_K, Sampling, Sketches};
pub use stored::KeptOverlaps;

/// Maximum number of overlaps stored per read.
const MAX_NEIGHBOURS: usize = 32;
/// One in this many k-mers is used if reads are long; about this many per read if they are short.
const MAX_EVERY: u32 = 16;
/// The same where few k-mers are without an error, and how many times more there may be.
const MAX_EVERY_OF_FEW: u32 = 4;
const TIMES_OF_FEW: usize = 2;
/// The error rate of such reads if no overlaps tell it.
const USUAL_RATE_OF_FEW: f64 = 0.12;
const KMERS_OF_READ: f64 = 256.0;
/// Usual fraction of shared k-mers below which shorter k-mers are tried: 8 % of errors, with 16 bases.
const FEW_SHARED: f64 = 0.07;
/// Bytes per k-mer of the sketches while matching ones are searched for.
const BYTES_OF_KMER: u64 = 32;

/// How overlaps are searched for.
#[derive(Clone, Debug, PartialEq)]
pub struct OverlapsConfig {
    /// Maximum number of k-mers in all sketches together, at 32 bytes each during the search, and twice as many where
    /// few are without an error. Beyond that, fewer k-mers of each read are used, down to one in 64, and then only every
    /// second (third, ...) read: the others have no overlaps.
    pub max_kmers: usize,
}

impl Default for OverlapsConfig {
    fn default() -> Self {
        Self { max_kmers: 1 << 25 }
    }
}

/// The overlaps of reads, and what follows from them.
#[derive(Debug, Default)]
pub struct Overlaps {
    /// [`ALONE`] if there is none.
    component_of: Vec<u32>,
    members: Lists,
    neighbours: Lists,
    depths: Vec<f32>,
    /// Components that are similar but distinct, for each component, ascending.
    homologs: Vec<Vec<u32>>,
    /// For each component the one with which it probably shares a genome, or a species: most often itself.
    genomes: Vec<u32>,
    usual_share: Option<f64>,
    k: u32,
}

/// The component of a read without overlaps.
const ALONE: u32 = u32::MAX;

impl Overlaps {
    /// Finds the overlaps of all reads, each of which is read once or twice. The result does not depend on the number
    /// of threads.
    ///
    /// # Errors
    /// If a read is damaged, or there are more than 2^32 - 1.
    pub fn find(reads: &dyn Reads, config: &OverlapsConfig) -> Result<Self, DatasetError> {
        index_bound("finding overlaps", reads.len())?;
        let mut num_bases = 0;
        for read in 0..reads.len() {
            num_bases += reads.sequence(read)?.len() as u64;
        }
        let mut found = Found::new(reads, sampling(reads.len(), num_bases, MAX_K, MAX_EVERY, config), 1.0)?;
        if found.usual_share.is_none_or(|share| share < FEW_SHARED) {
            // More errors, or no overlaps.
            let sampling = sampling_of_few(reads.len(), num_bases, config);
            let rate = found.usual_share.map_or(USUAL_RATE_OF_FEW, |share| error_rate(share, MAX_K));
            let other = Found::new(reads, sampling, (1.0 - rate).powi(sampling.k as i32))?;
            if other.num_joined() > found.num_joined() {
                found = other;
            }
        }
        found.cut(reads)?.overlaps(reads).related(reads)
    }

    /// Merges the components of one genome, and records those of sister species.
    fn related(mut self, reads: &dyn Reads) -> Result<Self, DatasetError> {
        let members: Vec<&[u32]> = (0..self.num_components() as u32).map(|component| self.members(component)).collect();
        let error_rate = self.error_rate().unwrap_or(0.0);
        let homology = Homology::new(reads, &members, &self.depths, error_rate, Search::COMPONENTS)?;
        let firsts: Vec<u32> = members.iter().map(|reads| reads[0]).collect();
        // The genome of each component, as an index into `genomes`.
        let Links { mut genomes, probable } = links::links(reads, &self, &homology)?;
        let is_linked: HashSet<u32> = genomes.iter().flatten().copied().collect();
        genomes.extend((0..self.num_components() as u32).filter(|c| !is_linked.contains(c)).map(|c| vec![c]));
        let mut genome_of = vec![0; self.num_components()];
        for (number, genome) in genomes.iter().enumerate() {
            genome.iter().for_each(|&component| genome_of[component as usize] = number);
        }
        let mut couples: Vec<(usize, usize)> = (0..self.num_components() as u32)
            .flat_map(|c| homology.touched(c).into_iter().map(move |other| (c, other)))
            .map(|(a, b)| (genome_of[a as usize], genome_of[b as usize]))
            .filter(|(a, b)| a < b)
            .collect();
        couples.sort_unstable();
        couples.dedup();
        // One read of each, since they are renumbered.
        let first = |genome: usize| firsts[genomes[genome][0] as usize];
        let of_kinship = |kinship: Kinship| -> Vec<(u32, u32)> {
            let alike = couples.iter().filter(|&&(a, b)| homology.of(&genomes[a], &genomes[b]) == kinship);
            alike.map(|&(a, b)| (first(a), first(b))).collect()
        };
        let (sisters, strains) = (of_kinship(Kinship::Homologous), of_kinship(Kinship::Strains));
        if !is_linked.is_empty() {
            let mut sets = Sets::new(self.num_reads());
            members.iter().for_each(|reads| reads.iter().for_each(|&read| sets.join(reads[0], read)));
            for genome in &genomes {
                genome.iter().for_each(|&c| sets.join(firsts[genome[0] as usize], firsts[c as usize]));
            }
            self.number(sets);
        }
        let mut homologs = vec![Vec::new(); self.num_components()];
        let components = |(a, b): (u32, u32)| (self.component_of[a as usize], self.component_of[b as usize]);
        for (a, b) in sisters.into_iter().map(components) {
            homologs[a as usize].push(b);
            homologs[b as usize].push(a);
        }
        homologs.iter_mut().for_each(|list| list.sort_unstable());
        self.homologs = homologs;
        let now = |component: u32| self.component_of[firsts[component as usize] as usize];
        let mut genomes: Vec<u32> = (0..self.num_components() as u32).collect();
        probable.iter().for_each(|&(component, genome)| genomes[now(component) as usize] = now(genome));
        with_strains(&mut genomes, strains.into_iter().map(components));
        self.genomes = genomes;
        Ok(self)
    }

    /// Makes the sets of reads the components.
    fn number(&mut self, sets: Sets) {
        self.members = sets.groups().into_iter().collect();
        self.component_of.fill(ALONE);
        for component in 0..self.members.len() {
            for &read in self.members.get(component) {
                self.component_of[read as usize] = component as u32;
            }
        }
    }

    /// Memory that [`Overlaps::find`] needs for the given number of reads and bases, in bytes: an upper bound, except
    /// if every read overlaps hundreds of others.
    pub fn memory_bytes(num_reads: usize, num_bases: u64, config: &OverlapsConfig) -> u64 {
        let sampling = sampling_of_few(num_reads, num_bases, config);
        let num_kmers = num_bases / u64::from(sampling.every) / sampling.every_read as u64;
        num_kmers * BYTES_OF_KMER
            + homology::MAX_BYTES.min(num_bases * homology::BYTES_OF_BASE)
            + num_reads as u64 * 4 * MAX_NEIGHBOURS as u64
    }

    /// Number of reads.
    pub fn num_reads(&self) -> usize {
        self.component_of.len()
    }

    /// Number of components. They are numbered by descending size, and by their first read within one size.
    pub fn num_components(&self) -> usize {
        self.members.len()
    }

    /// The component of a read, 0-based; `None` if it overlaps no other. The mates of a fragment, and adjacent reads
    /// known by name to be of one molecule, are in the same one.
    ///
    /// # Panics
    /// If there is no such read; likewise below.
    pub fn component(&self, read: usize) -> Option<u32> {
        Some(self.component_of[read]).filter(|&component| component != ALONE)
    }

    /// The reads of a component, ascending; at least two.
    ///
    /// # Panics
    /// If there is no such component.
    pub fn members(&self, component: u32) -> &[u32] {
        self.members.get(component as usize)
    }

    /// Components of genomes that are similar to that of this one, but distinct, ascending: sister species.
    ///
    /// # Panics
    /// If there is no such component.
    pub fn homologs(&self, component: u32) -> &[u32] {
        &self.homologs[component as usize]
    }

    /// The component of the genome to which this one probably belongs: a large one of its composition and about its
    /// depth, if there is no other, or of another strain of its species; otherwise itself. Less certain than belonging
    /// to one component.
    ///
    /// # Panics
    /// If there is no such component.
    pub fn probable_genome(&self, component: u32) -> u32 {
        self.genomes[component as usize]
    }

    /// Reads that overlap this one, ascending: all of them, or 32 spread evenly over them if there are more.
    pub fn neighbours(&self, read: usize) -> &[u32] {
        self.neighbours.get(read)
    }

    /// Number of reads, including this one, that cover a base of this read, averaged over its bases: 1 if it is alone.
    /// What too short overlaps hide is added, as if reads were of one length and began anywhere.
    pub fn depth(&self, read: usize) -> f32 {
        self.depths[read]
    }

    /// Number of reads that overlap another one.
    pub fn num_joined(&self) -> usize {
        self.members.items.len()
    }

    /// Error rate per base of this sample, from the fraction of k-mers that overlapping reads usually share, `(1 -
    /// e)^(2k)`; `None` if no reads overlap.
    pub fn error_rate(&self) -> Option<f64> {
        self.usual_share.map(|share| error_rate(share, self.k))
    }

    /// The accepted read at the end of a random walk of 1 to `max_steps` overlaps from `read`, or as many as there are;
    /// `None` if no overlap leads to one.
    pub(crate) fn walk(
        &self,
        read: usize,
        max_steps: u32,
        accept: impl Fn(usize) -> bool,
        rng: &mut Rng,
    ) -> Option<usize> {
        let mut end = None;
        for _ in 0..rng.random_range(1..=max_steps) {
            let neighbours = self.neighbours(end.unwrap_or(read));
            let next = one_of(neighbours, &accept, rng);
            if next.is_none() {
                break;
            }
            end = next;
        }
        end
    }

    /// Any other accepted read of the component of `read`, with equal probability.
    pub(crate) fn companion(&self, read: usize, accept: impl Fn(usize) -> bool, rng: &mut Rng) -> Option<usize> {
        one_of(self.members(self.component(read)?), |other| other != read && accept(other), rng)
    }
}

/// Makes each component one of the genome of the larger component of which it is a strain, unless there are several such
/// genomes: what two have is not of one. Pairs are in any order; components are numbered by descending size.
fn with_strains(genomes: &mut [u32], strains: impl Iterator<Item = (u32, u32)>) {
    let mut larger = vec![Vec::new(); genomes.len()];
    strains.for_each(|(a, b)| larger[a.max(b) as usize].push(a.min(b)));
    let root = |genomes: &[u32], mut component: u32| {
        while genomes[component as usize] != component {
            component = genomes[component as usize];
        }
        component
    };
    for (component, larger) in (0..).zip(larger) {
        let mut roots: Vec<u32> = larger.into_iter().map(|other| root(genomes, other)).collect();
        roots.sort_unstable();
        roots.dedup();
        let own = root(genomes, component);
        if let &[other] = roots.as_slice()
            && other != own
        {
            genomes[own as usize] = other;
        }
    }
    for component in 0..genomes.len() {
        genomes[component] = root(genomes, component as u32);
    }
}

/// An accepted one of some reads.
fn one_of(reads: &[u32], accept: impl Fn(usize) -> bool, rng: &mut Rng) -> Option<usize> {
    /// Most are accepted, so a few tries nearly always find one.
    const TRIES: usize = 8;
    if reads.is_empty() {
        return None;
    }
    let tried = (0..TRIES).map(|_| reads[rng.random_range(0..reads.len())] as usize).find(|&read| accept(read));
    tried.or_else(|| {
        let (before, behind) = reads.split_at(rng.random_range(0..reads.len()));
        behind.iter().chain(before).map(|&read| read as usize).find(|&read| accept(read))
    })
}

/// Which k-mers to use where few are without an error: more, and shorter ones.
fn sampling_of_few(num_reads: usize, num_bases: u64, config: &OverlapsConfig) -> Sampling {
    let more = OverlapsConfig { max_kmers: config.max_kmers.saturating_mul(TIMES_OF_FEW) };
    sampling(num_reads, num_bases, short_k(num_bases), MAX_EVERY_OF_FEW, &more)
}

/// Which k-mers to use: more if reads are short, fewer if there would be too many.
fn sampling(num_reads: usize, num_bases: u64, k: u32, max_every: u32, config: &OverlapsConfig) -> Sampling {
    let max_kmers = config.max_kmers.max(1) as u64;
    let mean_length = num_bases as f64 / num_reads.max(1) as f64;
    let wanted = ((mean_length / KMERS_OF_READ) as u32).clamp(2, max_every);
    let needed = num_bases.div_ceil(max_kmers);
    let every = u64::from(wanted).max(needed.min(64)) as u32;
    let every_read = num_bases.div_ceil(u64::from(every)).div_ceil(max_kmers).max(1) as usize;
    Sampling { k, every, every_read }
}

/// The shortest k-mers that each occur by chance about once in the given number of bases.
fn short_k(num_bases: u64) -> u32 {
    (12..MAX_K).find(|&k| num_bases <= 1 << (2 * k - 1)).unwrap_or(MAX_K)
}

/// The error rate per base at which overlapping reads share this fraction of their k-mers.
fn error_rate(usual_share: f64, k: u32) -> f64 {
    1.0 - usual_share.powf(0.5 / f64::from(k))
}

/// Overlaps by sketch index.
struct Found {
    sketches: Sketches,
    graph: OverlapGraph,
    depths: Vec<f32>,
    usual_share: Option<f64>,
}

impl Found {
    /// `intact` is the expected fraction of k-mers without an error, 1 if nothing is known of it.
    fn new(reads: &dyn Reads, sampling: Sampling, intact: f64) -> Result<Self, DatasetError> {
        let shared = SharedKmers::new(Sketches::new(reads, sampling)?);
        let Matches { mut matches, sought_below } = Matches::new(&shared, intact);
        let lengths = &shared.sketches.lengths;
        let Some(rule) = Rule::new(&matches, lengths) else {
            let (graph, depths) = (OverlapGraph::new(&[], lengths), vec![1.0; lengths.len()]);
            return Ok(Self { graph, depths, usual_share: None, sketches: shared.sketches });
        };
        let partings = Partings::new(&matches, &rule, lengths);
        let akin: Vec<Match> = matches.par_iter().filter(|m| rule.is_akin(m, lengths)).copied().collect();
        let unlike: Vec<Match> = akin.iter().filter(|m| rule.is_unlike(m)).copied().collect();
        matches.retain(|m| rule.is_overlap(m, lengths));
        let [graph, akin, unlike] = [&matches, &akin, &unlike].map(|matches| OverlapGraph::new(matches, lengths));
        drop(matches);
        let graph = graph.without_contradicted(&akin, &sought_below).without_unlike(&unlike, &sought_below);
        let depth = |read: usize| match sought_below[read] {
            u32::MAX => {
                let covered: u64 = graph.of(read).iter().map(|n| u64::from(n.end - n.start)).sum();
                1.0 + covered as f32
                    / lengths[read].max(1) as f32
                    / rule.share_found(lengths[read], sampling.k, sampling.every)
            }
            _ => 1.0 + matches::sharing(&shared, read) / rule.usual_share as f32,
        };
        let depths = (0..lengths.len()).into_par_iter().map(depth).collect();
        let graph = graph.without_repeats(&partings).without_chimeras(&partings, lengths);
        Ok(Self { graph, depths, usual_share: Some(rule.usual_share), sketches: shared.sketches })
    }

    fn num_joined(&self) -> usize {
        (0..self.graph.num_reads()).filter(|&read| !self.graph.of(read).is_empty()).count()
    }

    /// Removes the overlaps of reads that are certainly not of one genome.
    fn cut(mut self, reads: &dyn Reads) -> Result<Self, DatasetError> {
        let error_rate = self.usual_share.map(|share| error_rate(share, self.sketches.k));
        let Some(error_rate) = error_rate.filter(|&rate| rate <= homology::MAX_ERROR_RATE) else {
            return Ok(self);
        };
        let mut sets = Sets::new(self.graph.num_reads());
        for read in 0..self.graph.num_reads() {
            self.graph.of(read).iter().for_each(|n| sets.join(read as u32, n.read));
        }
        let mut components = sets.groups();
        components.retain(|component| component.len() >= cuts::MIN_READS);
        if components.is_empty() {
            return Ok(self);
        }
        let mut depths = vec![1.0; reads.len()];
        self.sketches.reads.iter().zip(&self.depths).for_each(|(&read, &depth)| depths[read as usize] = depth);
        let genomes = cuts::genomes(reads, &self.graph, &components, &depths, &self.sketches.reads, error_rate)?;
        self.graph = self.graph.within(&genomes);
        Ok(self)
    }

    fn overlaps(&self, reads: &dyn Reads) -> Overlaps {
        let original = |number: u32| self.sketches.reads[number as usize];
        let mut sets = Sets::new(reads.len());
        let mut depths = vec![1.0; reads.len()];
        let mut neighbours = vec![Vec::new(); reads.len()];
        for number in 0..self.graph.num_reads() {
            let read = original(number as u32);
            let all = self.graph.of(number);
            all.iter().filter(|n| (n.read as usize) < number).for_each(|n| sets.join(read, original(n.read)));
            depths[read as usize] = self.depths[number];
            let kept = all.len().min(MAX_NEIGHBOURS);
            let mut kept: Vec<u32> = (0..kept).map(|i| original(all[i * all.len() / kept].read)).collect();
            kept.sort_unstable();
            neighbours[read as usize] = kept;
        }
        // Mates are of one molecule; but two without any other overlap are an isolated fragment.
        let is_joined = |read: usize| !neighbours[read].is_empty();
        for read in 0..reads.len() {
            if let Some(mate) = reads.mate_of(read).filter(|&mate| mate > read && (is_joined(read) || is_joined(mate)))
            {
                sets.join(read as u32, mate as u32);
            }
        }
        let mut overlaps = Overlaps {
            component_of: vec![ALONE; reads.len()],
            neighbours: neighbours.into_iter().collect(),
            depths,
            usual_share: self.usual_share,
            k: self.sketches.k,
            ..Overlaps::default()
        };
        overlaps.number(sets);
        overlaps
    }
}

/// Lists of numbers, concatenated.
#[derive(Debug)]
struct Lists {
    /// 0, then where each list ends.
    ends: Vec<usize>,
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

    fn get(&self, index: usize) -> &[u32] {
        &self.items[self.ends[index]..self.ends[index + 1]]
    }
}

impl FromIterator<Vec<u32>> for Lists {
    fn from_iter<T: IntoIterator<Item = Vec<u32>>>(lists: T) -> Self {
        let mut all = Self::default();
        for list in lists {
            all.items.extend(list);
            all.ends.push(all.items.len());
        }
        all
    }
}

#[cfg(test)]
mod tests;
