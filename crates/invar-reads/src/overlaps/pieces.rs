//! Pieces of large components: reads near each other on a genome.

use std::{cmp::Reverse, collections::BinaryHeap};

use rayon::prelude::*;

use super::graph::OverlapGraph;

/// Number of reads of a piece.
const READS: usize = 250;
/// Minimum number of overlaps of a read into a piece to be added to it, as a fraction of what it could have: a single one
/// may be the only one between two genomes.
const MIN_JOINED: f64 = 0.125;
/// Smaller ones are added to a neighbour.
const MIN_READS: usize = 64;
/// Of reads that are in none.
pub(super) const NONE: u32 = u32::MAX;

/// The pieces of some components.
#[derive(Debug)]
pub(super) struct Pieces {
    /// For each read of the graph, its piece or [`NONE`].
    pub of: Vec<u32>,
    /// For each piece, its reads, ascending.
    pub members: Vec<Vec<u32>>,
    /// For each piece, those that overlaps join it to, ascending, and by how many overlaps.
    pub links: Vec<Vec<(u32, u32)>>,
}

impl Pieces {
    /// Grows pieces one after another: next is the read with most overlaps into the piece so far, so that a piece stays
    /// within a genome as long as it can.
    pub fn new(graph: &OverlapGraph, components: &[Vec<u32>]) -> Self {
        let mut pieces = Self { of: vec![NONE; graph.num_reads()], members: Vec::new(), links: Vec::new() };
        // How many overlaps a read has into the piece that is growing, and which piece that was.
        let mut joined = vec![(NONE, 0u32); graph.num_reads()];
        for component in components {
            for &first in component {
                if pieces.of[first as usize] == NONE {
                    pieces.grow(first, graph, &mut joined);
                }
            }
        }
        pieces.absorb(graph);
        pieces.links = pieces.links(graph);
        pieces
    }

    fn grow(&mut self, first: u32, graph: &OverlapGraph, joined: &mut [(u32, u32)]) {
        let number = self.members.len() as u32;
        let mut reads = Vec::new();
        let mut next = BinaryHeap::from([(0, Reverse(first))]);
        joined[first as usize] = (number, 0);
        while let Some((overlaps, Reverse(read))) = next.pop() {
            if self.of[read as usize] != NONE || joined[read as usize] != (number, overlaps) {
                continue;
            }
            let most = reads.len().min(graph.of(read as usize).len());
            if f64::from(overlaps) < MIN_JOINED * most as f64 {
                continue;
            }
            self.of[read as usize] = number;
            reads.push(read);
            if reads.len() == READS {
                break;
            }
            for neighbour in graph.of(read as usize).iter().map(|n| n.read) {
                if self.of[neighbour as usize] == NONE {
                    let (piece, count) = &mut joined[neighbour as usize];
                    *count = if *piece == number { *count + 1 } else { 1 };
                    *piece = number;
                    next.push((*count, Reverse(neighbour)));
                }
            }
        }
        self.members.push(reads);
    }

    /// Adds small pieces to that to which most of their overlaps lead, and numbers the rest.
    fn absorb(&mut self, graph: &OverlapGraph) {
        for number in 0..self.members.len() {
            if self.members[number].len() < MIN_READS
                && let Some(piece) = self.nearest(number as u32, graph)
            {
                let reads = std::mem::take(&mut self.members[number]);
                reads.iter().for_each(|&read| self.of[read as usize] = piece);
                self.members[piece as usize].extend(reads);
            }
        }
        self.members.retain(|reads| !reads.is_empty());
        for (number, reads) in (0..).zip(&mut self.members) {
            reads.sort_unstable();
            reads.iter().for_each(|&read| self.of[read as usize] = number);
        }
    }

    /// The piece to which most overlaps lead from another one.
    fn nearest(&self, number: u32, graph: &OverlapGraph) -> Option<u32> {
        let neighbours = self.members[number as usize]
            .iter()
            .flat_map(|&read| graph.of(read as usize))
            .map(|n| self.of[n.read as usize]);
        let mut pieces: Vec<u32> = neighbours.filter(|&piece| piece != NONE && piece != number).collect();
        pieces.sort_unstable();
        pieces.chunk_by(|a, b| a == b).max_by_key(|same| (same.len(), Reverse(same[0]))).map(|same| same[0])
    }

    fn links(&self, graph: &OverlapGraph) -> Vec<Vec<(u32, u32)>> {
        let of_piece = |(number, reads): (usize, &Vec<u32>)| {
            let neighbours = reads.iter().flat_map(|&read| graph.of(read as usize)).map(|n| self.of[n.read as usize]);
            let mut others: Vec<u32> = neighbours.filter(|&piece| piece as usize != number && piece != NONE).collect();
            others.sort_unstable();
            others.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32)).collect()
        };
        self.members.par_iter().enumerate().map(of_piece).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::overlaps::{components::Sets, matches::Match};

    /// Overlaps of reads of one length.
    fn graph(num_reads: usize, edges: &[(u32, u32)]) -> OverlapGraph {
        let found = |&(a, b): &(u32, u32)| Match {
            reads: [a.max(b), a.min(b)],
            core: [[0, 50], [50, 100]],
            is_reverse: false,
            num_shared: 10,
            num_expected: 10,
            num_in_core: 10,
            every_bp: 4.0,
        };
        OverlapGraph::new(&edges.iter().map(found).collect::<Vec<Match>>(), &vec![100; num_reads])
    }

    proptest! {
        // From rings to stars: `near` says how far away the neighbours of a read are, `hubs` how many overlap all.
        #[test]
        fn each_read_of_a_component_is_in_one_piece(near in 1u32..40, hubs in 0u32..4, len in 2u32..900, skip in 1u32..5) {
            let mut edges: Vec<(u32, u32)> = (0..len).flat_map(|a| (a + 1..len.min(a + near)).map(move |b| (a, b))).collect();
            edges.extend((0..hubs.min(len)).flat_map(|hub| (hub + 1..len).step_by(skip as usize).map(move |b| (hub, b))));
            edges.sort_unstable();
            edges.dedup();
            let mut sets = Sets::new(len as usize);
            edges.iter().for_each(|&(a, b)| sets.join(a, b));
            let components = sets.groups();
            let pieces = Pieces::new(&graph(len as usize, &edges), &components);
            let mut all: Vec<u32> = pieces.members.concat();
            all.sort_unstable();
            let mut expected = components.concat();
            expected.sort_unstable();
            prop_assert_eq!(all, expected);
            for (number, reads) in (0u32..).zip(&pieces.members) {
                prop_assert!(reads.iter().all(|&read| pieces.of[read as usize] == number));
                let component = components.iter().find(|component| component.contains(&reads[0])).unwrap();
                prop_assert!(reads.iter().all(|read| component.contains(read)));
                prop_assert!(reads.len() >= MIN_READS || reads.len() == component.len(), "{} of {}", reads.len(), component.len());
                for &(other, overlaps) in &pieces.links[number as usize] {
                    prop_assert!(pieces.links[other as usize].contains(&(number, overlaps)));
                }
            }
        }
    }
}
