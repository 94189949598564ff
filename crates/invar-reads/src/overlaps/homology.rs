//! Which components are alike but not one: those of sister species.
//!
//! Two pieces of one genome that no overlap joins (replicons, contigs with a gap between them) share next to no k-mers, but
//! for those of repeats, which lie in few places. Genomes of one genus share some per cent of them everywhere: `ANI^k`, which
//! is 4 % at 82 % and k = 16 (Ondov et al. 2016, *Mash*). Errors do not count: a k-mer is one of the component where
//! [`MIN_READS_OF_KMER`] of its reads have it.

use std::collections::HashMap;

use rayon::prelude::*;

use super::shared::SharedKmers;

/// Fewest reads of a component that is looked at.
const MIN_READS: u32 = 20;
/// Fewest reads of a component that have a k-mer of it.
const MIN_READS_OF_KMER: u32 = 3;
/// Share of the k-mers of one that are also of the other: 0.79^16.
const MIN_CONTAINMENT: f64 = 0.025;
/// Fewest k-mers that are of both.
const MIN_SHARED: u32 = 10;
/// Share of the reads that have such a k-mer, of those that would if all reads were equally likely to. In a repeat few do.
const MIN_SPREAD: f64 = 1.0 / 3.0;
/// A k-mer of more components says nothing of two.
const MAX_COMPONENTS: usize = 64;

/// Two components, the smaller number first.
type Couple = (u32, u32);

/// Couples of components that are homologous, ascending. `component_of` gives a number for each read of the sketches;
/// `universe` is how many k-mers there can be in sketches.
pub(super) fn homologous(shared: &SharedKmers, component_of: &[u32], universe: f64) -> Vec<Couple> {
    let mut sizes = vec![0u32; component_of.iter().max().map_or(0, |&most| most as usize + 1)];
    component_of.iter().for_each(|&component| sizes[component as usize] += 1);
    let kmers = Kmers { shared, component_of, sizes: &sizes };
    let (num_own, num_shared) = kmers.counted();
    let contained = |one: u32, other: u32, both: u32| {
        let by_chance = f64::from(num_own[&other]) / universe;
        f64::from(both) / f64::from(num_own[&one]) - by_chance >= MIN_CONTAINMENT
    };
    let mut alike: Vec<Couple> = num_shared
        .into_iter()
        .filter(|&((a, b), both)| both >= MIN_SHARED && (contained(a, b, both) || contained(b, a, both)))
        .map(|(couple, _)| couple)
        .collect();
    alike.sort_unstable();
    let spread = kmers.spread(&alike);
    alike.into_iter().zip(spread).filter(|(_, spread)| *spread >= MIN_SPREAD).map(|(couple, _)| couple).collect()
}

struct Kmers<'a> {
    shared: &'a SharedKmers,
    component_of: &'a [u32],
    sizes: &'a [u32],
}

impl Kmers<'_> {
    /// The large components that a k-mer is of, ascending.
    fn components(&self, list: usize) -> Vec<u32> {
        let large = |&(read, _): &(u32, _)| {
            Some(self.component_of[read as usize]).filter(|&c| self.sizes[c as usize] >= MIN_READS)
        };
        let mut found: Vec<u32> = self.shared.list(list).iter().filter_map(large).collect();
        found.sort_unstable();
        found
            .chunk_by(|a, b| a == b)
            .filter(|same| same.len() as u32 >= MIN_READS_OF_KMER)
            .map(|same| same[0])
            .collect()
    }

    /// How many k-mers each component has, and each two have both.
    fn counted(&self) -> (HashMap<u32, u32>, HashMap<Couple, u32>) {
        type Counts = (HashMap<u32, u32>, HashMap<Couple, u32>);
        let count = |(mut own, mut both): Counts, list: usize| {
            let components = self.components(list);
            components.iter().for_each(|&component| *own.entry(component).or_default() += 1);
            if components.len() <= MAX_COMPONENTS {
                couples(&components).for_each(|couple| *both.entry(couple).or_default() += 1);
            }
            (own, both)
        };
        let add = |(mut own, mut both): Counts, (more_own, more_both): Counts| {
            more_own.into_iter().for_each(|(component, number)| *own.entry(component).or_default() += number);
            more_both.into_iter().for_each(|(couple, number)| *both.entry(couple).or_default() += number);
            (own, both)
        };
        (0..self.shared.num_lists()).into_par_iter().fold(Counts::default, count).reduce(Counts::default, add)
    }

    /// For each couple how many of the reads of both have a k-mer of both, as a share of those that would by chance
    /// (Poisson) if all reads were alike.
    fn spread(&self, couples_asked: &[Couple]) -> Vec<f64> {
        if couples_asked.is_empty() {
            return vec![];
        }
        let mut hits: Vec<HashMap<u32, u32>> = vec![HashMap::new(); couples_asked.len()];
        for list in 0..self.shared.num_lists() {
            let components = self.components(list);
            if components.len() < 2 || components.len() > MAX_COMPONENTS {
                continue;
            }
            for couple in couples(&components) {
                let Ok(asked) = couples_asked.binary_search(&couple) else { continue };
                let of_couple = |&&(read, _): &&(u32, _)| {
                    let component = self.component_of[read as usize];
                    component == couple.0 || component == couple.1
                };
                for &(read, _) in self.shared.list(list).iter().filter(of_couple) {
                    *hits[asked].entry(read).or_default() += 1;
                }
            }
        }
        let share = |(&(a, b), hits): (&Couple, &HashMap<u32, u32>)| {
            let num_reads = f64::from(self.sizes[a as usize] + self.sizes[b as usize]);
            let mean = hits.values().map(|&number| f64::from(number)).sum::<f64>() / num_reads;
            hits.len() as f64 / num_reads / -(-mean).exp_m1()
        };
        couples_asked.iter().zip(&hits).map(share).collect()
    }
}

fn couples(components: &[u32]) -> impl Iterator<Item = Couple> {
    components.iter().enumerate().flat_map(|(at, &a)| components[at + 1..].iter().map(move |&b| (a, b)))
}
