//! Where two reads lie on each other, by the k-mers that they share.
//!
//! Shared k-mers of an overlap lie on one diagonal: the difference of their positions in the two reads (of opposite strands
//! the sum) is the same, but for insertions and deletions. The most that lie within a band are the match of the two reads; it
//! goes on along the diagonal until one of the reads ends.

use rayon::prelude::*;

use super::shared::{REPEATED, SharedKmers};

/// Of a k-mer of more reads the first ones are looked at, which are the same for all k-mers of a locus: a random choice that
/// still covers it many times.
pub(super) const FIRST: usize = 32;
/// Shared k-mers looked at for one read; of a read that has more, those with the least hashes.
const MAX_HITS: usize = 4_096;
/// Fewest shared k-mers of a match.
pub(super) const MIN_HITS: usize = 4;
/// How far from a diagonal insertions and deletions move a k-mer, at most: so many bases, and this share of the shorter read.
const BAND_BP: u32 = 50;
const BAND_SHARE: f64 = 0.04;

/// How one read lies on another of a lower number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Match {
    pub reads: [u32; 2],
    /// Bases of each read from the first to the last shared k-mer, in its own direction.
    pub core: [[u32; 2]; 2],
    /// Whether the reads are of opposite strands.
    pub is_reverse: bool,
    /// Shared k-mers.
    pub num_shared: u16,
    /// K-mers of the first read that would be shared if neither read had an error: within the whole overlap, and within the
    /// core.
    pub num_expected: u16,
    pub num_in_core: u16,
    /// Of so many bases about one k-mer was looked at.
    pub every_bp: f32,
}

impl Match {
    /// Bases of both reads before and behind the core, in the direction of the first, up to where the first of the two ends.
    pub fn unmatched(&self, lengths: &[u32]) -> [u32; 2] {
        let [a, b] = [0, 1].map(|i| {
            let [start, end] = self.core[i];
            [start, lengths[self.reads[i] as usize].saturating_sub(end)]
        });
        let b = if self.is_reverse { [b[1], b[0]] } else { b };
        [a[0].min(b[0]), a[1].min(b[1])]
    }

    /// The overlap on read `i` of the two: the core, and what is before and behind it up to where one of the reads ends.
    pub fn extent(&self, i: usize, lengths: &[u32]) -> [u32; 2] {
        let [before, behind] = self.unmatched(lengths);
        let [before, behind] = if i == 1 && self.is_reverse { [behind, before] } else { [before, behind] };
        let [start, end] = self.core[i];
        [start - before, end + behind]
    }
}

/// Finds the matches of all reads, each pair of reads once, by the first read and then the second.
pub(super) fn find(shared: &SharedKmers) -> Vec<Match> {
    let num_reads = shared.sketches.num_reads();
    let found: Vec<Vec<Match>> = (0..num_reads)
        .into_par_iter()
        .map_init(|| Finder::new(num_reads), |finder, read| finder.matches_of(shared, read as u32))
        .collect();
    found.concat()
}

/// A k-mer that two reads share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    other: u32,
    is_reverse: bool,
    diagonal: i64,
    position: u32,
}

impl Hit {
    /// Where it lies in the other read.
    fn other_position(self) -> u32 {
        let position = i64::from(self.position);
        (if self.is_reverse { self.diagonal - position } else { position - self.diagonal }) as u32
    }
}

/// What a thread finds matches with.
struct Finder {
    /// Of each read, how many k-mers the read at hand shares with it.
    counts: Vec<u16>,
    hits: Vec<Hit>,
    /// Of each k-mer of the read at hand, how many of those before it are looked at.
    looked_at: Vec<u32>,
}

impl Finder {
    fn new(num_reads: usize) -> Self {
        Self { counts: vec![0; num_reads], hits: Vec::new(), looked_at: Vec::new() }
    }

    fn matches_of(&mut self, shared: &SharedKmers, read: u32) -> Vec<Match> {
        let sketches = &shared.sketches;
        let own = sketches.range(read as usize);
        let lower = |entry: usize| shared.of(entry).iter().take(FIRST).take_while(|(other, _)| *other < read);
        let limit = limit(shared, read);
        let is_looked_at = |entry: usize| sketches.hashes[entry] <= limit && sketches.hashes[entry] != REPEATED;
        let (hashes, spots) = (&sketches.hashes[own.clone()], &sketches.spots[own.clone()]);
        for entry in own.clone().filter(|&entry| is_looked_at(entry)) {
            lower(entry).for_each(|&(other, _)| self.counts[other as usize] += 1);
        }
        self.hits.clear();
        for entry in own.clone().filter(|&entry| is_looked_at(entry)) {
            let spot = sketches.spots[entry];
            for &(other, there) in
                lower(entry).filter(|(other, _)| usize::from(self.counts[*other as usize]) >= MIN_HITS)
            {
                let is_reverse = spot.is_reverse() != there.is_reverse();
                let [here, there] = [spot, there].map(|spot| i64::from(spot.position()));
                let diagonal = if is_reverse { here + there } else { here - there };
                self.hits.push(Hit { other, is_reverse, diagonal, position: here as u32 });
            }
        }
        for entry in own.clone().filter(|&entry| is_looked_at(entry)) {
            lower(entry).for_each(|&(other, _)| self.counts[other as usize] = 0);
        }
        if self.hits.is_empty() {
            return Vec::new();
        }
        self.looked_at.clear();
        self.looked_at.push(0);
        for &hash in hashes {
            let so_far = self.looked_at[self.looked_at.len() - 1];
            self.looked_at.push(so_far + u32::from(hash <= limit && hash != REPEATED));
        }
        let total = self.looked_at[self.looked_at.len() - 1];
        let every_bp = sketches.lengths[read as usize] as f32 / total.max(1) as f32;
        let up_to = |position: u32| self.looked_at[spots.partition_point(|spot| spot.position() < position)];
        let count = |[start, end]: [u32; 2]| (up_to(end) - up_to(start)).min(u32::from(u16::MAX)) as u16;
        self.hits.sort_unstable();
        let mut found = Vec::new();
        for of_read in self.hits.chunk_by(|a, b| a.other == b.other) {
            let other = of_read[0].other;
            let shorter = sketches.lengths[read as usize].min(sketches.lengths[other as usize]);
            let band = i64::from(BAND_BP) + (f64::from(shorter) * BAND_SHARE) as i64;
            let of_strands = of_read.chunk_by(|a, b| a.is_reverse == b.is_reverse);
            // The first of the best, so that it is always the same.
            let best = of_strands.map(|hits| densest(hits, band)).reduce(|a, b| if b.len() > a.len() { b } else { a });
            let best = best.unwrap_or_default();
            if best.len() < MIN_HITS {
                continue;
            }
            let k = sketches.k;
            let span = |position: fn(&Hit) -> u32| {
                let first = best.iter().map(position).min().unwrap_or(0);
                let last = best.iter().map(position).max().unwrap_or(0);
                [first, last + k]
            };
            let mut found_match = Match {
                reads: [read, other],
                core: [span(|hit| hit.position), span(|hit| hit.other_position())],
                is_reverse: best[0].is_reverse,
                num_shared: best.len().min(usize::from(u16::MAX)) as u16,
                num_expected: 0,
                num_in_core: 0,
                every_bp,
            };
            let [start, end] = found_match.extent(0, &sketches.lengths);
            found_match.num_expected = count([start, end.saturating_sub(k - 1)]);
            let [start, end] = found_match.core[0];
            found_match.num_in_core = count([start, end.saturating_sub(k - 1)]);
            found.push(found_match);
        }
        found
    }
}

/// The largest hash of a read's k-mers that are looked at, so that they are of [`MAX_HITS`] places at most.
fn limit(shared: &SharedKmers, read: u32) -> u32 {
    let own = shared.sketches.range(read as usize);
    let most = |entry: usize| shared.of(entry).len().min(FIRST);
    if own.clone().map(most).sum::<usize>() <= MAX_HITS {
        return u32::MAX;
    }
    let mut by_hash: Vec<(u32, usize)> = own.map(|entry| (shared.sketches.hashes[entry], most(entry))).collect();
    by_hash.sort_unstable();
    let mut hits = 0;
    let beyond = by_hash.iter().position(|&(_, most)| {
        hits += most;
        hits > MAX_HITS
    });
    by_hash[beyond.unwrap_or(by_hash.len()).max(1) - 1].0
}

/// The most hits, in the order of their diagonals, that lie within a band.
fn densest(hits: &[Hit], band: i64) -> &[Hit] {
    let (mut best, mut start) = (0..0, 0);
    for end in 0..hits.len() {
        while hits[end].diagonal - hits[start].diagonal > band {
            start += 1;
        }
        if end + 1 - start > best.len() {
            best = start..end + 1;
        }
    }
    &hits[best]
}

/// Overlaps of a read were sought with the reads below this one, and some of those above; `u32::MAX`: with all.
pub(super) fn looked_up_to(shared: &SharedKmers, read: usize) -> u32 {
    let lists = shared.sketches.range(read).map(|entry| shared.of(entry)).filter(|list| !list.is_empty());
    let mut ends: Vec<u32> = lists.map(|list| list.get(FIRST).map_or(u32::MAX, |&(read, _)| read)).collect();
    let middle = ends.len() / 2;
    if ends.is_empty() { u32::MAX } else { *ends.select_nth_unstable(middle).1 }
}

/// Number of other reads that share a k-mer of this read, on average over its k-mers.
pub(super) fn sharing(shared: &SharedKmers, read: usize) -> f32 {
    let entries = shared.sketches.range(read).filter(|&entry| shared.sketches.hashes[entry] != REPEATED);
    let (total, number) =
        entries.fold((0, 0), |(total, number), entry| (total + shared.of(entry).len().saturating_sub(1), number + 1));
    total as f32 / number.max(1) as f32
}
