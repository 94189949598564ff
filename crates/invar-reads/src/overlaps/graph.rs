//! The overlaps of each read, and which of them the others speak against.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    matches::Match,
    rule::{Rule, overlap_bp},
};

/// Overlaps asked whether they go with one: those at least as long.
const ASKED: usize = 8;
/// Fewest that must have been asked for the answer to count.
const MIN_ASKED: usize = 2;
/// How much shorter an overlap may be and still be asked.
const AS_LONG: f64 = 0.9;
/// Bases at the ends of an overlap that do not count as covered, as a share of the read.
const MARGIN_SHARE: f64 = 0.02;

/// An overlap as one of its reads sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Neighbour {
    pub read: u32,
    /// The bases of this read that the other one covers.
    pub start: u32,
    pub end: u32,
    /// Where the other read begins and ends on this one, were this one long enough.
    from: i64,
    to: i64,
}

/// The overlaps of all reads, those of each by ascending neighbour.
#[derive(Debug)]
pub(super) struct OverlapGraph {
    ends: Vec<usize>,
    neighbours: Vec<Neighbour>,
}

impl OverlapGraph {
    /// Of the matches that are overlaps, each pair of reads once.
    pub fn new(matches: &[Match], lengths: &[u32]) -> Self {
        let mut ends = vec![0; lengths.len() + 1];
        for m in matches {
            m.reads.iter().for_each(|&read| ends[read as usize + 1] += 1);
        }
        for read in 0..lengths.len() {
            ends[read + 1] += ends[read];
        }
        let mut next = ends.clone();
        let mut neighbours = vec![Neighbour { read: 0, start: 0, end: 0, from: 0, to: 0 }; 2 * matches.len()];
        for m in matches {
            for i in [0, 1] {
                let place = &mut next[m.reads[i] as usize];
                neighbours[*place] = seen_from(m, i, lengths);
                *place += 1;
            }
        }
        let graph = Self { ends, neighbours };
        graph.sorted()
    }

    fn sorted(mut self) -> Self {
        let mut rest = self.neighbours.as_mut_slice();
        let mut lists = Vec::with_capacity(self.ends.len());
        for read in 1..self.ends.len() {
            let (list, after) = rest.split_at_mut(self.ends[read] - self.ends[read - 1]);
            lists.push(list);
            rest = after;
        }
        lists.into_par_iter().for_each(|list| list.sort_unstable_by_key(|neighbour| neighbour.read));
        self
    }

    pub fn num_reads(&self) -> usize {
        self.ends.len() - 1
    }

    pub fn of(&self, read: usize) -> &[Neighbour] {
        &self.neighbours[self.ends[read]..self.ends[read + 1]]
    }

    fn are_neighbours(&self, a: u32, b: u32) -> bool {
        self.of(a as usize).binary_search_by_key(&b, |neighbour| neighbour.read).is_ok()
    }

    /// The graph without the overlaps for which `keep` is false, seen from either read.
    fn filtered(&self, keep: impl Fn(u32, &Neighbour) -> bool + Sync) -> Self {
        let kept: Vec<Vec<Neighbour>> = (0..self.num_reads())
            .into_par_iter()
            .map(|read| self.of(read).iter().filter(|n| keep(read as u32, n)).copied().collect())
            .collect();
        let kept_here = |read: u32, other: u32| kept[read as usize].binary_search_by_key(&other, |n| n.read).is_ok();
        let mut graph = Self { ends: vec![0], neighbours: Vec::new() };
        for (read, list) in kept.iter().enumerate() {
            graph.neighbours.extend(list.iter().filter(|n| kept_here(n.read, read as u32)));
            graph.ends.push(graph.neighbours.len());
        }
        graph
    }

    /// Without the overlaps that contradict longer ones.
    ///
    /// What overlaps this read over the same bases, and goes on in the same direction, overlaps the other read as well, unless
    /// one of the two is of another copy of a repeat, or of another genome. The longer one is right more often (the *best
    /// overlap* of Miller et al. 2008, *Aggressive assembly of pyrosequencing reads with mates*).
    ///
    /// `looked_up_to[read]`: the reads below are those that overlaps of the read were sought with.
    pub fn without_contradicted(&self, looked_up_to: &[u32]) -> Self {
        let is_looked_at = |a: u32, b: u32| a.min(b) < looked_up_to[a as usize].min(looked_up_to[b as usize]);
        self.filtered(|read, other| {
            let least = (f64::from(other.end - other.start) * AS_LONG) as i64;
            let (mut asked, mut agree) = (0, 0);
            for third in self.of(read as usize) {
                let goes_along = i64::from(third.end.min(other.end)) - i64::from(third.start.max(other.start)) >= least
                    && third.to.min(other.to) - third.from.max(other.from) >= least;
                if third.read != other.read && goes_along && is_looked_at(third.read, other.read) {
                    asked += 1;
                    agree += usize::from(self.are_neighbours(third.read, other.read));
                    if asked == ASKED {
                        break;
                    }
                }
            }
            asked < MIN_ASKED || 2 * agree >= asked
        })
    }

    /// Without the overlaps of reads that are made of two pieces: a place that no overlap goes across, and up to which
    /// another read is the same and then goes on in another way. Without the other read it is a place that happens to be
    /// covered once.
    pub fn without_chimeras(&self, breaks: &Breaks, lengths: &[u32]) -> Self {
        let is_chimera: Vec<bool> = (0..self.num_reads())
            .into_par_iter()
            .map(|read| is_chimera(self.of(read), breaks.of(read), lengths[read]))
            .collect();
        self.filtered(|read, other| !is_chimera[read as usize] && !is_chimera[other.read as usize])
    }
}

fn seen_from(m: &Match, i: usize, lengths: &[u32]) -> Neighbour {
    let other = 1 - i;
    let [start, end] = m.extent(i, lengths);
    let [other_start, other_end] = m.extent(other, lengths);
    let behind = lengths[m.reads[other] as usize].saturating_sub(other_end);
    let (before, behind) = if m.is_reverse { (behind, other_start) } else { (other_start, behind) };
    Neighbour {
        read: m.reads[other],
        start,
        end,
        from: i64::from(start) - i64::from(before),
        to: i64::from(end) + i64::from(behind),
    }
}

fn is_chimera(neighbours: &[Neighbour], breaks: &[u32], length: u32) -> bool {
    if neighbours.len() < 2 {
        return false;
    }
    let margin = (f64::from(length) * MARGIN_SHARE) as u32;
    // What an overlap covers for certain: less a margin where it ends within the read.
    let covered = |n: &Neighbour| {
        let start = if n.start == 0 { 0 } else { n.start + margin };
        start..if n.end == length { length } else { n.end.saturating_sub(margin) }
    };
    let mut spans: Vec<Range<u32>> = neighbours.iter().map(covered).filter(|span| span.start < span.end).collect();
    spans.sort_unstable_by_key(|span| (span.start, span.end));
    let mut up_to = 0;
    for (number, span) in spans.iter().enumerate() {
        if number > 0 && span.start > up_to {
            if breaks.iter().any(|&at| at + 2 * margin >= up_to && at <= span.start + 2 * margin) {
                return true;
            }
        }
        up_to = up_to.max(span.end);
    }
    false
}

/// Where in each read a match with another one ends although both go on.
#[derive(Debug)]
pub(super) struct Breaks {
    ends: Vec<usize>,
    positions: Vec<u32>,
}

impl Breaks {
    pub fn new(matches: &[Match], rule: &Rule, lengths: &[u32]) -> Self {
        let mut found: Vec<(u32, u32)> = matches
            .par_iter()
            .filter(|m| rule.parts(m, lengths))
            .flat_map_iter(|m| {
                let unmatched = m.unmatched(lengths);
                let long = overlap_bp(m, lengths) / 10;
                [0, 1].into_iter().flat_map(move |i| {
                    let [before, behind] =
                        if i == 1 && m.is_reverse { [unmatched[1], unmatched[0]] } else { unmatched };
                    let at = |end: u32, position: u32| (end > long).then_some((m.reads[i], position));
                    at(before, m.core[i][0]).into_iter().chain(at(behind, m.core[i][1]))
                })
            })
            .collect();
        found.par_sort_unstable();
        let mut ends = vec![0; lengths.len() + 1];
        found.iter().for_each(|(read, _)| ends[*read as usize + 1] += 1);
        for read in 0..lengths.len() {
            ends[read + 1] += ends[read];
        }
        Self { ends, positions: found.into_iter().map(|(_, position)| position).collect() }
    }

    fn of(&self, read: usize) -> &[u32] {
        &self.positions[self.ends[read]..self.ends[read + 1]]
    }
}
