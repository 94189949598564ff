//! Cuts components that hold several genomes. In a deep sample a few overlaps out of a million are within a stretch
//! that two genomes share, such as a prophage or a conserved operon, and one is enough to join them.
//!
//! No single overlap tells. But if a component holds sister species, then nearly everywhere along it there are
//! sequences that are similar to others of the same component far away, which is not so within a genome; and a phage
//! is covered many times more deeply than the chromosome that once took it in.

use invar_dataset::DatasetError;
use rayon::prelude::*;

use super::{
    bisection::{Signed, bisection},
    components::Sets,
    graph::OverlapGraph,
    homology::{self, Homology, Sampled, Search},
    pieces::{NONE, Pieces},
};
use crate::Reads;

/// Minimum number of reads of a component to be looked at: four pieces.
pub(super) const MIN_READS: usize = 1_000;
/// Minimum fraction of the sampled reads of a piece similar to another one for the two to be homologous.
const MIN_SIMILAR: f64 = 0.15;
/// How much homology repels, where usual links attract by 1.
const REPULSION: f64 = 0.45;
/// Largest weight of a link.
const MAX_LINK: f64 = 5.0;
/// Minimum fraction of the sampled reads of a piece similar to the other side, and number of pieces for which that must
/// be so on either side, as a fraction of those of the smaller one: within a genome it was so for at most 0.22 of all,
/// for two sister species for at least 0.6.
const SIMILAR_ELSEWHERE: f64 = 0.2;
const MIN_PIECES: f64 = 0.5;
/// Two adjacent pieces whose depths have a larger ratio are not of one molecule.
const MAX_DEPTHS: f64 = 8.0;

/// For each read of the graph, a number that differs for reads of one component that are not of one genome.
/// `components` are large ones; `depths` are those of all reads, and `originals` are the reads of the graph.
pub(super) fn genomes(
    reads: &dyn Reads,
    graph: &OverlapGraph,
    components: &[Vec<u32>],
    depths: &[f32],
    originals: &[u32],
    error_rate: f64,
) -> Result<Vec<u32>, DatasetError> {
    let Pieces { of, members, links } = Pieces::new(graph, components);
    let members: Vec<Vec<u32>> =
        members.into_iter().map(|all| all.into_iter().map(|read| originals[read as usize]).collect()).collect();
    let members: Vec<&[u32]> = members.iter().map(Vec::as_slice).collect();
    let homology = Homology::new(reads, &members, depths, error_rate, Search::PIECES)?;
    let piece_depths = members.iter().map(|all| median(all.iter().map(|&read| f64::from(depths[read as usize]))));
    let evidence = Evidence { depths: piece_depths.collect(), links, likeness: Likeness::new(&homology) };
    let mut genome_of = vec![0; members.len()];
    let (mut waiting, mut num_genomes) = (vec![(0..members.len() as u32).collect::<Vec<u32>>()], 0);
    while let Some(set) = waiting.pop() {
        let parts = evidence.parts(&set);
        if parts.len() > 1 {
            waiting.extend(parts);
        } else {
            set.iter().for_each(|&piece| genome_of[piece as usize] = num_genomes);
            num_genomes += 1;
        }
    }
    Ok(of.into_iter().map(|piece| if piece == NONE { NONE } else { genome_of[piece as usize] }).collect())
}

/// A row of a matrix: its columns, ascending, and their values.
type Row<T> = Vec<(u32, T)>;

fn at<T: Copy + Default>(row: &Row<T>, column: u32) -> T {
    row.binary_search_by_key(&column, |entry| entry.0).map_or_else(|_| T::default(), |place| row[place].1)
}

/// For which fraction of the sampled reads of a piece something similar was found in another one.
struct Likeness {
    /// As similar as sister species are.
    sisters: Vec<Row<f64>>,
    /// As similar as strains are.
    strains: Vec<Row<f64>>,
}

impl Likeness {
    fn new(homology: &Homology) -> Self {
        let least = homology.of_same(f64::INFINITY) * homology::SPECIES_IDENTITY.powi(homology::K as i32);
        let rows = |is_counted: &dyn Fn(f64, u32) -> bool| -> Vec<Row<f64>> {
            let of_piece = |sampled: &Vec<Sampled>| {
                let others = sampled.iter().flat_map(|read| {
                    let share = |shared: u32| f64::from(shared) / f64::from(read.num_kmers.max(1));
                    read.found
                        .iter()
                        .filter(move |&&(_, shared)| is_counted(share(shared), shared))
                        .map(|entry| entry.0)
                });
                let mut others: Vec<u32> = others.collect();
                others.sort_unstable();
                let counted = others.chunk_by(|a, b| a == b);
                counted.map(|same| (same[0], same.len() as f64 / sampled.len() as f64)).collect()
            };
            homology.sampled().iter().map(of_piece).collect()
        };
        Self {
            sisters: rows(&|share, shared| share < least && shared >= homology::MIN_SHARED),
            strains: rows(&|share, _| share >= least),
        }
    }
}

struct Evidence {
    depths: Vec<f64>,
    /// Number of overlaps between two pieces.
    links: Vec<Row<u32>>,
    likeness: Likeness,
}

impl Evidence {
    /// The sets of pieces, each ascending, that a set falls into.
    fn parts(&self, set: &[u32]) -> Vec<Vec<u32>> {
        let connected = self.connected(set);
        if connected.len() != 1 || set.len() == 1 {
            return connected;
        }
        let graph = self.signed(set);
        let Some(sides) = bisection(&graph) else { return connected };
        let smaller = [false, true].map(|side| sides.iter().filter(|own| **own == side).count()).into_iter().min();
        let smaller = smaller.unwrap_or_default();
        // Those that repel each other are homologous.
        let is_apart = |&side: &bool| {
            let repelled = |(node, edges): (usize, &Row<f64>)| {
                let across =
                    edges.iter().filter(|(other, weight)| *weight < 0.0 && sides[*other as usize] != sides[node]);
                across.map(|(_, weight)| -weight / REPULSION).sum::<f64>() > SIMILAR_ELSEWHERE
            };
            let own = graph.iter().enumerate().filter(|(node, _)| sides[*node] == side);
            own.filter(|&node| repelled(node)).count() as f64 >= MIN_PIECES * smaller as f64
        };
        if ![false, true].iter().all(is_apart) {
            return connected;
        }
        let side =
            |side: bool| set.iter().zip(&sides).filter(|(_, own)| **own == side).map(|(&piece, _)| piece).collect();
        vec![side(false), side(true)]
    }

    fn signed(&self, set: &[u32]) -> Signed {
        let most = |&piece: &u32| {
            self.links[piece as usize].iter().map(|&(_, overlaps)| f64::from(overlaps)).fold(1.0, f64::max)
        };
        let usual = median(set.iter().map(most));
        let row = |&piece: &u32| -> Row<f64> {
            let weight = |(column, &other): (usize, &u32)| {
                let overlaps = at(&self.links[piece as usize], other);
                let both = |rows: &[Row<f64>]| [at(&rows[piece as usize], other), at(&rows[other as usize], piece)];
                let strains = both(&self.likeness.strains).into_iter().fold(0.0, f64::max);
                let sisters = both(&self.likeness.sisters).into_iter().fold(f64::INFINITY, f64::min);
                let link = (f64::from(overlaps) / usual).min(MAX_LINK);
                let weight = if strains >= MIN_SIMILAR {
                    link + strains
                } else if overlaps == 0 && sisters >= MIN_SIMILAR {
                    -REPULSION * sisters
                } else {
                    link
                };
                (other != piece && weight != 0.0).then_some((column as u32, weight))
            };
            set.iter().enumerate().filter_map(weight).collect()
        };
        set.par_iter().map(row).collect()
    }

    /// The sets joined by overlaps between pieces of similar depth.
    fn connected(&self, set: &[u32]) -> Vec<Vec<u32>> {
        let mut sets = Sets::new(set.len());
        for (place, &piece) in set.iter().enumerate() {
            for &(other, _) in &self.links[piece as usize] {
                let [a, b] = [piece, other].map(|piece| self.depths[piece as usize]);
                if let Ok(other) = set.binary_search(&other)
                    && a.max(b) <= MAX_DEPTHS * a.min(b)
                {
                    sets.join(place as u32, other as u32);
                }
            }
        }
        let mut parts = vec![Vec::new(); set.len()];
        set.iter().enumerate().for_each(|(place, &piece)| parts[sets.find(place as u32) as usize].push(piece));
        parts.retain(|part| !part.is_empty());
        parts
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}
