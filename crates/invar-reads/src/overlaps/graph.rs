//! The overlaps of each read, and which of them the others contradict.

use std::ops::Range;

use rayon::prelude::*;

use super::{matches::Match, rule::Rule};

/// Overlaps consulted about one: the maximum out of how many candidates, and the minimum for the answer to count.
const ASKED: usize = 8;
const LOOKED_AT: usize = 64;
/// A read with more overlaps, one of those that hold a deep genome together, is not consulted itself, only its
/// neighbours.
const MANY: usize = 128;
const MIN_ASKED: usize = 2;
/// How much shorter an overlap may be and still be consulted about the direction in which the reads continue.
const AS_LONG: f64 = 0.9;
/// Fraction of the consulted overlaps that find two reads unlike above which they are not of one genome, and the number
/// of rounds: dropped overlaps are not consulted again.
const MAX_UNLIKE: f64 = 0.35;
const ROUNDS: usize = 3;
/// How much of an overlap another one must cover to be consulted on whether the reads are alike.
const ALONG: f64 = 0.5;
/// Number of reads that diverge from a read at one place for that to be the end of a repeat.
const MIN_PARTING: usize = 2;
/// Bases at the ends of an overlap that do not count as covered, as a fraction of the read.
const MARGIN_SHARE: f64 = 0.02;

/// An overlap from the perspective of one of its reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Neighbour {
    pub read: u32,
    /// The bases of this read covered by the other.
    pub start: u32,
    pub end: u32,
    /// Where the other read begins and ends on this one, if this one were long enough.
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
    /// The graph of the matches that are overlaps, each pair of reads once.
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

    /// The graph without the overlaps for which `keep` is false from either read.
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

    /// Removes the overlaps between reads whose numbers differ.
    pub fn within(&self, numbers: &[u32]) -> Self {
        self.filtered(|read, other| numbers[read as usize] == numbers[other.read as usize])
    }

    /// Removes the overlaps that contradict longer ones.
    ///
    /// Whatever overlaps this read over the same bases, and continues in the same direction, also overlaps the other
    /// read, unless one of the two is from another copy of a repeat, or from another genome. The longer one is right
    /// more often (the *best overlap* of Miller et al. 2008, *Aggressive assembly of pyrosequencing reads with mates*).
    ///
    /// `akin` are the matches that would be overlaps if they were more alike: they agree about the direction.
    /// `sought_below[read]`: reads below this index were compared with the read.
    pub fn without_contradicted(&self, akin: &Self, sought_below: &[u32]) -> Self {
        let was_sought = |a: u32, b: u32| a.min(b) < sought_below[a as usize].min(sought_below[b as usize]);
        self.filtered(|read, other| {
            let least = (f64::from(other.end - other.start) * AS_LONG) as i64;
            let (mut asked, mut agree) = (0, 0);
            for third in self.of(read as usize).iter().take(LOOKED_AT) {
                let goes_along = i64::from(third.end.min(other.end)) - i64::from(third.start.max(other.start)) >= least
                    && third.to.min(other.to) - third.from.max(other.from) >= least;
                if third.read != other.read && goes_along && was_sought(third.read, other.read) {
                    asked += 1;
                    let is_found = |graph: &Self| graph.are_neighbours(other.read, third.read);
                    agree += usize::from(is_found(self) || is_found(akin));
                    if asked == ASKED {
                        break;
                    }
                }
            }
            asked < MIN_ASKED || 2 * agree >= asked
        })
    }

    /// Removes the overlaps of reads that look alike by chance.
    ///
    /// If two genomes differ by little more than the tolerance, some of their reads are as alike as overlaps are, and
    /// some are not: the neighbours of a read, which are from its genome, find the other read unlike. `unlike` are the
    /// matches that would be overlaps otherwise.
    pub fn without_unlike(mut self, unlike: &Self, sought_below: &[u32]) -> Self {
        let was_sought = |a: u32, b: u32| a.min(b) < sought_below[a as usize].min(sought_below[b as usize]);
        for _ in 0..ROUNDS {
            self = self.filtered(|read, other| {
                let own = self.of(read as usize);
                if own.len() > MANY {
                    return true;
                }
                let least = (f64::from(other.end - other.start) * ALONG) as u32;
                let lies_along =
                    |third: &Neighbour| third.end.min(other.end).saturating_sub(third.start.max(other.start)) >= least;
                let is_asked =
                    |&third: &u32| own.binary_search_by_key(&third, |n| n.read).is_ok_and(|at| lies_along(&own[at]));
                let of_other = unlike.of(other.read as usize).iter().map(|n| n.read);
                let num_unlike = of_other.filter(is_asked).count();
                if num_unlike < MIN_ASKED {
                    return true;
                }
                // This many alike ones outweigh them.
                let enough = (num_unlike as f64 * (1.0 / MAX_UNLIKE - 1.0)).ceil() as usize;
                let may_be_alike = own.iter().filter(|n| lies_along(n) && was_sought(n.read, other.read));
                may_be_alike.filter(|n| self.are_neighbours(other.read, n.read)).take(enough).count() == enough
            });
        }
        self
    }

    /// Removes the overlaps within a repeat: other reads are the same there, and diverge from this one at one place
    /// beyond it.
    pub fn without_repeats(&self, partings: &Partings) -> Self {
        self.filtered(|read, other| {
            let slack = partings.slack;
            let within: Vec<&Parting> = partings
                .of(read as usize)
                .iter()
                .filter(|p| p.read != other.read && p.start <= other.start + slack && p.end + slack >= other.end)
                .collect();
            let part_at_one_place = |mut places: Vec<u32>| {
                places.sort_unstable();
                places.windows(MIN_PARTING).any(|some| some[some.len() - 1] - some[0] <= slack)
            };
            let before = within.iter().filter(|p| p.before).map(|p| p.start).collect();
            let behind = within.iter().filter(|p| p.behind).map(|p| p.end).collect();
            !part_at_one_place(before) && !part_at_one_place(behind)
        })
    }

    /// Removes the overlaps of reads made of two pieces: there is a place that no overlap spans, up to which another
    /// read is the same and then continues differently. Without the other read it is a place that happens to be covered
    /// once.
    pub fn without_chimeras(&self, partings: &Partings, lengths: &[u32]) -> Self {
        let is_chimera: Vec<bool> = (0..self.num_reads())
            .into_par_iter()
            .map(|read| is_chimera(self.of(read), partings.of(read), lengths[read]))
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

fn is_chimera(neighbours: &[Neighbour], partings: &[Parting], length: u32) -> bool {
    if neighbours.len() < 2 {
        return false;
    }
    let margin = (f64::from(length) * MARGIN_SHARE) as u32;
    // What an overlap certainly covers: minus a margin if it ends within the read.
    let covered = |n: &Neighbour| {
        let start = if n.start == 0 { 0 } else { n.start + margin };
        start..if n.end == length { length } else { n.end.saturating_sub(margin) }
    };
    let mut spans: Vec<Range<u32>> = neighbours.iter().map(covered).filter(|span| span.start < span.end).collect();
    spans.sort_unstable_by_key(|span| (span.start, span.end));
    let mut up_to = 0;
    for (number, span) in spans.iter().enumerate() {
        if number > 0 && span.start > up_to {
            let is_here = |at: u32| at + 2 * margin >= up_to && at <= span.start + 2 * margin;
            if partings.iter().any(|p| p.before && is_here(p.start) || p.behind && is_here(p.end)) {
                return true;
            }
        }
        up_to = up_to.max(span.end);
    }
    false
}

/// A stretch of a read shared with another one until they diverge, although both continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Parting {
    start: u32,
    end: u32,
    /// Whether they diverge before the stretch, and after it.
    before: bool,
    behind: bool,
    /// The other read.
    read: u32,
}

/// Where each read diverges from others.
#[derive(Debug)]
pub(super) struct Partings {
    ends: Vec<usize>,
    partings: Vec<Parting>,
    /// How far off their places may be.
    slack: u32,
}

impl Partings {
    pub fn new(matches: &[Match], rule: &Rule, lengths: &[u32]) -> Self {
        let mut found: Vec<(u32, Parting)> = matches
            .par_iter()
            .filter(|m| rule.parts(m, lengths))
            .flat_map_iter(|m| {
                let unmatched = m.unmatched(lengths);
                let most = rule.longest_end(m, lengths);
                [0, 1].into_iter().map(move |i| {
                    let turned = if i == 1 && m.is_reverse { [unmatched[1], unmatched[0]] } else { unmatched };
                    let [before, behind] = turned.map(|end| f64::from(end) > most);
                    let [start, end] = m.core[i];
                    (m.reads[i], Parting { start, end, before, behind, read: m.reads[1 - i] })
                })
            })
            .collect();
        found.par_sort_unstable();
        let mut ends = vec![0; lengths.len() + 1];
        found.iter().for_each(|(read, _)| ends[*read as usize + 1] += 1);
        for read in 0..lengths.len() {
            ends[read + 1] += ends[read];
        }
        let every_bp = matches.iter().map(|m| m.every_bp).fold(f32::INFINITY, f32::min);
        let slack = (2.0 * f64::from(every_bp) / rule.usual_share) as u32;
        Self { ends, partings: found.into_iter().map(|(_, parting)| parting).collect(), slack }
    }

    fn of(&self, read: usize) -> &[Parting] {
        &self.partings[self.ends[read]..self.ends[read + 1]]
    }
}
