//! Links large components that belong to one genome although no overlap joins them: replicons, and pieces separated by
//! a gap in coverage. They have the same composition, the same depth, and no k-mers in common.
//!
//! Genomes grow from their largest component, which is known best: a smaller one joins the genome it is most similar
//! to. So k-mers are searched for in as much of a genome as is known, which distinguishes it from a sister species of
//! the same composition.

use std::collections::VecDeque;

use invar_dataset::DatasetError;
use rayon::prelude::*;

use super::{
    Overlaps,
    homology::{self, Homology, Kinship},
};
use crate::Reads;

/// Minimum number of reads of a component to be linked.
const MIN_READS: usize = 25;
/// Minimum mean length of its reads in bases: shorter ones contain too few k-mers to recognise sister species.
const MIN_READ_BP: usize = 5_000;
/// Number of pieces used to measure the variation along a genome.
const BLOCKS: usize = 8;
/// Largest distance of two compositions, as a fraction of the variation along the genomes. Within one genome it was 0.4
/// to 0.8, between species that are not sisters 5 and more.
const MAX_DISTANCE: f64 = 1.0;
/// The same if a component only probably belongs to a genome, and no other one is as near.
const PROBABLE_DISTANCE: f64 = 1.5;
const PROBABLE_DEPTHS: f64 = 2.0;
/// Minimum number of reads of a component whose own composition represents the genome.
const WELL_KNOWN: usize = 100;
/// Largest ratio of two depths: twenty reads do not determine it any better.
const MAX_DEPTHS: f64 = 1.4;
/// How much further away a sister species must be than the genome that a component joins.
const CLEARLY: f64 = 1.5;
/// Variance along a genome above which its composition is informative, as a fraction of that of counts of independent
/// bases if they did not overlap: for random sequences it was 0.3 to 0.75.
const MIN_STRUCTURE: f64 = 0.79;
/// Canonical 4-mers.
const TETRAMERS: usize = 136;

/// The composition of a genome, and how much it varies along it.
#[derive(Clone)]
struct Composition {
    counts: [u64; TETRAMERS],
    centre: [f64; TETRAMERS],
    /// Root of the summed variances of the blocks of its largest component.
    spread: f64,
    /// Whether that exceeds the counting noise. It does not for a sequence without any structure, whose composition
    /// says nothing about its genome.
    is_known: bool,
    depth: f64,
    num_reads: usize,
}

/// Components considered to be one genome, ascending.
struct Genome {
    components: Vec<u32>,
    composition: Composition,
    /// Those of its components that are well known.
    parts: Vec<Composition>,
}

impl Genome {
    /// The distance of its composition from that of a smaller one: that of its nearest part, since composition varies
    /// along a genome.
    fn distance(&self, smaller: &Composition) -> f64 {
        let apart = self.parts.iter().map(|part| distance(part, smaller));
        apart.fold(distance(&self.composition, smaller), f64::min)
    }

    fn take(&mut self, other: Self) {
        let (own, new) = (&mut self.composition, other.composition);
        let total = (own.num_reads + new.num_reads) as f64;
        own.depth = (own.depth * own.num_reads as f64 + new.depth * new.num_reads as f64) / total;
        own.num_reads += new.num_reads;
        own.counts.iter_mut().zip(&new.counts).for_each(|(sum, &number)| *sum += number);
        own.centre = log_ratios(&own.counts);
        self.components.extend(other.components);
        self.components.sort_unstable();
        self.parts.extend(other.parts);
    }
}

/// Which components belong to one genome.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Certain groups, of two and more, ascending.
    pub genomes: Vec<Vec<u32>>,
    /// Components that probably do, each with a component of the genome.
    pub probable: Vec<(u32, u32)>,
}

/// Searches for them among all components of some reads.
pub(super) fn links(reads: &dyn Reads, overlaps: &Overlaps, homology: &Homology) -> Result<Links, DatasetError> {
    if overlaps.error_rate().is_none_or(|rate| rate > homology::MAX_ERROR_RATE) {
        return Ok(Links::default());
    }
    let mut known = Vec::new();
    for component in (0..overlaps.num_components() as u32).take_while(|&c| overlaps.members(c).len() >= BLOCKS) {
        let members = overlaps.members(component);
        let mut num_bases = 0;
        for &read in members {
            num_bases += reads.sequence(read as usize)?.len();
        }
        if num_bases >= MIN_READ_BP * members.len() {
            known.push(component);
        }
    }
    let numbers = tetramers();
    let of_component = |&component: &u32| {
        let composition = composition(reads, overlaps, component, &numbers)?;
        let parts = if composition.num_reads >= WELL_KNOWN { vec![composition.clone()] } else { vec![] };
        Ok(Genome { components: vec![component], composition, parts })
    };
    let mut genomes: Vec<Genome> = known.par_iter().map(of_component).collect::<Result<_, DatasetError>>()?;
    let small = genomes.split_off(genomes.partition_point(|genome| genome.composition.num_reads >= MIN_READS));
    loop {
        let before = genomes.len();
        genomes = joined(genomes, homology);
        if genomes.len() == before {
            break;
        }
    }
    let (heads, mut others): (Vec<Genome>, Vec<Genome>) = genomes
        .into_iter()
        .partition(|genome| genome.composition.num_reads >= WELL_KNOWN && genome.composition.is_known);
    others.extend(small);
    let probable = others.iter().filter_map(|genome| Some((genome, probable(genome, &heads, homology)?)));
    let probable = probable.flat_map(|(genome, head)| genome.components.iter().map(move |&c| (c, head))).collect();
    let genomes = heads.into_iter().chain(others).map(|genome| genome.components);
    Ok(Links { genomes: genomes.filter(|components| components.len() > 1).collect(), probable })
}

/// A component of the genome that some probably belong to: the only one of about their composition that shares no
/// k-mers with them.
fn probable(genome: &Genome, heads: &[Genome], homology: &Homology) -> Option<u32> {
    let own = &genome.composition;
    let mut near: Vec<(f64, &Genome)> = heads
        .iter()
        .map(|head| (head.distance(own), head))
        .filter(|(apart, head)| {
            *apart < PROBABLE_DISTANCE * CLEARLY && homology.of(&genome.components, &head.components) == Kinship::Unlike
        })
        .collect();
    near.sort_by(|a, b| a.0.total_cmp(&b.0));
    let &[(apart, head), ref rest @ ..] = near.as_slice() else { return None };
    let depths = [own.depth, head.composition.depth];
    let is_alike = apart < PROBABLE_DISTANCE && depths[0].max(depths[1]) < PROBABLE_DEPTHS * depths[0].min(depths[1]);
    let is_only = rest.first().is_none_or(|next| next.0 > CLEARLY * apart);
    (is_alike && is_only).then(|| head.components[0])
}

/// The genomes, each merged into the most similar larger one, if any.
fn joined(mut genomes: Vec<Genome>, homology: &Homology) -> Vec<Genome> {
    genomes.sort_by_key(|genome| (std::cmp::Reverse(genome.composition.num_reads), genome.components[0]));
    let mut whole: Vec<Genome> = Vec::new();
    for genome in genomes {
        let mut near: Vec<(f64, usize)> = whole
            .iter()
            .enumerate()
            .filter(|(_, other)| {
                let depths = [genome.composition.depth, other.composition.depth];
                other.composition.is_known && depths[0].max(depths[1]) < MAX_DEPTHS * depths[0].min(depths[1])
            })
            .map(|(place, other)| (other.distance(&genome.composition), place))
            .filter(|&(apart, place)| {
                apart < MAX_DISTANCE * CLEARLY
                    && homology.of(&genome.components, &whole[place].components) == Kinship::Unlike
            })
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        let best = near.first().copied().filter(|&(apart, best)| {
            let is_doubtful = |&(other_apart, other): &(f64, usize)| {
                other_apart < CLEARLY * apart
                    && homology.of(&whole[best].components, &whole[other].components) != Kinship::Unlike
            };
            apart < MAX_DISTANCE && !near[1..].iter().any(is_doubtful)
        });
        match best {
            Some((_, best)) => whole[best].take(genome),
            None => whole.push(genome),
        }
    }
    whole
}

fn distance(one: &Composition, other: &Composition) -> f64 {
    let apart: f64 = one.centre.iter().zip(&other.centre).map(|(a, b)| (a - b).powi(2)).sum();
    (apart / ((one.spread.powi(2) + other.spread.powi(2)) / 2.0)).sqrt()
}

fn composition(
    reads: &dyn Reads,
    overlaps: &Overlaps,
    component: u32,
    numbers: &[u8; 256],
) -> Result<Composition, DatasetError> {
    let order = along(overlaps, component);
    let mut counts = vec![[0u64; TETRAMERS]; BLOCKS];
    let mut codes = Vec::new();
    for (place, &read) in order.iter().enumerate() {
        let sequence = reads.sequence(read as usize)?;
        sequence.unpack_codes(0..sequence.len(), &mut codes);
        count(&codes, numbers, &mut counts[place * BLOCKS / order.len()]);
    }
    let mut total = [0u64; TETRAMERS];
    counts.iter().for_each(|block| total.iter_mut().zip(block).for_each(|(sum, &number)| *sum += number));
    let blocks: Vec<[f64; TETRAMERS]> = counts.iter().map(log_ratios).collect();
    let variance = |kmer: usize| {
        let mean = blocks.iter().map(|block| block[kmer]).sum::<f64>() / BLOCKS as f64;
        blocks.iter().map(|block| (block[kmer] - mean).powi(2)).sum::<f64>() / (BLOCKS - 1) as f64
    };
    let members = overlaps.members(component);
    let depth =
        members.iter().map(|&read| f64::from(overlaps.depth(read as usize))).sum::<f64>() / members.len() as f64;
    let spread = (0..TETRAMERS).map(variance).sum::<f64>();
    // From counts of independent bases, each of which is counted `depth` times.
    let by_counting: f64 = total.iter().map(|&number| depth * BLOCKS as f64 / (number as f64 + 0.5)).sum();
    Ok(Composition {
        centre: log_ratios(&total),
        counts: total,
        spread: spread.sqrt(),
        is_known: spread > MIN_STRUCTURE * by_counting,
        depth,
        num_reads: members.len(),
    })
}

/// Centred logarithms (Aitchison 1982, *The statistical analysis of compositional data*).
fn log_ratios(counts: &[u64; TETRAMERS]) -> [f64; TETRAMERS] {
    let logarithms = counts.map(|number| (number as f64 + 0.5).ln());
    let mean = logarithms.iter().sum::<f64>() / TETRAMERS as f64;
    logarithms.map(|value| value - mean)
}

/// The reads of a component ordered along the genome: by the number of overlaps from one that is far from others.
fn along(overlaps: &Overlaps, component: u32) -> Vec<u32> {
    let members = overlaps.members(component);
    let far = breadth_first(overlaps, members, members[0]).last().copied().unwrap_or(members[0]);
    breadth_first(overlaps, members, far)
}

/// All members, ascending by their distance from `first`; unreachable ones last.
fn breadth_first(overlaps: &Overlaps, members: &[u32], first: u32) -> Vec<u32> {
    let place = |read: u32| members.binary_search(&read).ok();
    let mut is_met = vec![false; members.len()];
    let mut order = Vec::with_capacity(members.len());
    let mut next = VecDeque::new();
    for start in std::iter::once(first).chain(members.iter().copied()) {
        next.push_back(start);
        while let Some(read) = next.pop_front() {
            let Some(place) = place(read).filter(|&place| !is_met[place]) else { continue };
            is_met[place] = true;
            order.push(read);
            next.extend(overlaps.neighbours(read as usize));
        }
    }
    order
}

/// The index of the canonical 4-mer of each 4-mer.
fn tetramers() -> [u8; 256] {
    let mut numbers = [u8::MAX; 256];
    let mut next = 0;
    for kmer in 0..=255u8 {
        let complement = !kmer;
        let reverse = (complement & 3) << 6 | (complement >> 2 & 3) << 4 | (complement >> 4 & 3) << 2 | complement >> 6;
        if reverse < kmer {
            numbers[usize::from(kmer)] = numbers[usize::from(reverse)];
        } else {
            numbers[usize::from(kmer)] = next;
            next += 1;
        }
    }
    numbers
}

fn count(codes: &[u8], numbers: &[u8; 256], counts: &mut [u64; TETRAMERS]) {
    let (mut kmer, mut known) = (0u8, 0u32);
    for &code in codes {
        if code > 3 {
            known = 0;
            continue;
        }
        kmer = kmer << 2 | code;
        known += 1;
        if known >= 4 {
            counts[usize::from(numbers[usize::from(kmer)])] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tetramer_and_its_reverse_complement_are_counted_together() {
        let numbers = tetramers();
        assert_eq!(numbers.iter().max(), Some(&(TETRAMERS as u8 - 1)));
        // AAAA, TTTT; ACGT is its own reverse complement; so is CATG.
        let number = |kmer: [u8; 4]| numbers[kmer.iter().fold(0, |all, &base| all << 2 | usize::from(base))];
        assert_eq!(number([0; 4]), number([3; 4]));
        assert_eq!(number([0, 0, 0, 1]), number([2, 3, 3, 3]));
        assert_ne!(number([0, 1, 2, 3]), number([1, 0, 3, 2]));
        let mut counts = [0; TETRAMERS];
        count(&[0, 0, 0, 0, 0, 4, 3, 3, 3, 3, 1, 1], &numbers, &mut counts);
        assert_eq!((counts[usize::from(number([0; 4]))], counts.iter().sum::<u64>()), (3, 5));
    }
}
