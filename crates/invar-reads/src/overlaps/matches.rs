//! Where two reads match, by the k-mers that they share.
//!
//! Shared k-mers of an overlap lie on one diagonal: the difference of their positions in the two reads (for opposite
//! strands the sum) is constant, except for insertions and deletions. The largest set within a band is the match of the
//! two reads; it continues along the diagonal until one of the reads ends.

use rayon::prelude::*;

use super::{
    shared::{REPEATED, SharedKmers},
    sketch::{MAX_K, Sketches, Spot},
};

/// If more reads share a k-mer, only the first ones are used, which are the same for all k-mers of a locus: a random
/// choice that still covers it many times.
pub(super) const FIRST: usize = 32;
/// Shared k-mers used per read, most of which are shared by chance if k-mers are short; if there are more, those with the
/// smallest hashes.
const MAX_HITS: usize = 2_048;
const MAX_HITS_OF_SHORT: usize = 8_192;
/// Minimum number of shared k-mers in a match.
pub(super) const MIN_HITS: usize = 4;
/// Maximum distance of a k-mer from a diagonal due to insertions and deletions: this many bases, plus this fraction of
/// the shorter read.
const BAND_BP: u32 = 50;
const BAND_SHARE: f64 = 0.04;

/// How one read matches another with a smaller index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Match {
    pub reads: [u32; 2],
    /// Bases of each read from the first to the last shared k-mer, in its own direction.
    pub core: [[u32; 2]; 2],
    /// Whether the reads are of opposite strands.
    pub is_reverse: bool,
    /// Number of shared k-mers.
    pub num_shared: u16,
    /// Number of k-mers of the first read that would be shared if neither read had errors: within the whole overlap,
    /// and within the core.
    pub num_expected: u16,
    pub num_in_core: u16,
    /// About one k-mer was used per this many bases.
    pub every_bp: f32,
}

impl Match {
    /// Bases of both reads before and after the core, in the direction of the first, up to where the first of the two
    /// ends.
    pub fn unmatched(&self, lengths: &[u32]) -> [u32; 2] {
        let [a, b] = [0, 1].map(|i| {
            let [start, end] = self.core[i];
            [start, lengths[self.reads[i] as usize].saturating_sub(end)]
        });
        let b = if self.is_reverse { [b[1], b[0]] } else { b };
        [a[0].min(b[0]), a[1].min(b[1])]
    }

    /// The overlap on read `i` of the two: the core, and what precedes and follows it up to where one of the reads
    /// ends.
    pub fn extent(&self, i: usize, lengths: &[u32]) -> [u32; 2] {
        let [before, behind] = self.unmatched(lengths);
        let [before, behind] = if i == 1 && self.is_reverse { [behind, before] } else { [before, behind] };
        let [start, end] = self.core[i];
        [start - before, end + behind]
    }
}

/// The matches of all reads.
#[derive(Debug, Default)]
pub(super) struct Matches {
    /// Each pair of reads once, ordered by the first read and then the second.
    pub matches: Vec<Match>,
    /// For each read: it was compared with the reads below this index, and some of those above; `u32::MAX`: with all.
    pub sought_below: Vec<u32>,
}

impl Matches {
    /// Finds them. `intact` is the expected fraction of k-mers without an error, 1 if nothing is known of it.
    pub fn new(shared: &SharedKmers, intact: f64) -> Self {
        let num_reads = shared.sketches.num_reads();
        let (found, sought_below): (Vec<Vec<Match>>, Vec<u32>) = (0..num_reads)
            .into_par_iter()
            .map_init(|| Finder::new(num_reads), |finder, read| finder.matches_of(shared, intact, read as u32))
            .unzip();
        Self { matches: found.concat(), sought_below }
    }
}

/// A k-mer shared by two reads: its diagonal and, for opposite strands, [`REVERSE`]; and its position in the first
/// read.
type Hit = (u64, u32);

/// Marks reads of opposite strands. A diagonal takes the 33 bits below.
const REVERSE: u64 = 1 << 33;
/// Added to a diagonal, so that none is negative.
const ZERO: i64 = 1 << 31;

fn hit(here: Spot, there: Spot) -> Hit {
    let [a, b] = [here, there].map(|spot| i64::from(spot.position()));
    let is_reverse = here.is_reverse() != there.is_reverse();
    let diagonal = (if is_reverse { a + b } else { a - b } + ZERO) as u64;
    (if is_reverse { diagonal | REVERSE } else { diagonal }, here.position())
}

/// Its position in the other read.
fn other_position((diagonal, position): Hit) -> u32 {
    let (is_reverse, diagonal) = (diagonal & REVERSE > 0, (diagonal & !REVERSE) as i64 - ZERO);
    let position = i64::from(position);
    (if is_reverse { diagonal - position } else { position - diagonal }) as u32
}

/// The working memory of a thread for finding matches.
struct Finder {
    /// For each read, how many k-mers the current read shares with it; then where its next hit is placed.
    counts: Vec<u32>,
    hits: Vec<Hit>,
    /// Reads that share enough k-mers to match, and where their hits end.
    others: Vec<(u32, usize)>,
    /// For each k-mer of the current read, how many of those before it are used.
    looked_at: Vec<u32>,
}

impl Finder {
    fn new(num_reads: usize) -> Self {
        Self { counts: vec![0; num_reads], hits: Vec::new(), others: Vec::new(), looked_at: Vec::new() }
    }

    /// The matches of a read with those of smaller indices, and up to where these were compared.
    fn matches_of(&mut self, shared: &SharedKmers, intact: f64, read: u32) -> (Vec<Match>, u32) {
        let sketches = &shared.sketches;
        let own = sketches.range(read as usize);
        let (hashes, spots) = (&sketches.hashes[own.clone()], &sketches.spots[own.clone()]);
        let half = (intact * own.len() as f64 / 2.0) as usize;
        // For each k-mer that others share: its index in the read, and the places used.
        let mut lists: Vec<(usize, &[(u32, Spot)])> = Vec::new();
        let mut ends = Vec::new();
        for (number, entry) in own.enumerate() {
            let list = shared.of(entry);
            if !list.is_empty() {
                ends.push(list.get(FIRST).map_or(u32::MAX, |&(read, _)| read));
                lists.push((number, &list[..list.len().min(FIRST)]));
            }
        }
        // K-mers with an error are shared by few reads, and by chance.
        let middle = half.min(ends.len() / 2);
        let sought_below = if ends.is_empty() { u32::MAX } else { *ends.select_nth_unstable(middle).1 };
        let most = if sketches.k < MAX_K { MAX_HITS_OF_SHORT } else { MAX_HITS };
        let limit = limit(hashes, &lists, most);
        lists.retain_mut(|(number, list)| {
            *list = &list[..list.partition_point(|(other, _)| *other < read)];
            hashes[*number] <= limit && !list.is_empty()
        });
        let all = || lists.iter().flat_map(|(number, list)| list.iter().map(|&(other, spot)| (*number, other, spot)));
        self.others.clear();
        for (_, other, _) in all() {
            let count = &mut self.counts[other as usize];
            *count += 1;
            if *count as usize == MIN_HITS {
                self.others.push((other, 0));
            }
        }
        self.others.sort_unstable();
        // Reads that share too little still have a count, smaller than any of the others.
        let mut end = MIN_HITS;
        for (other, ends) in &mut self.others {
            let count = std::mem::replace(&mut self.counts[*other as usize], end as u32);
            end += count as usize;
            *ends = end - MIN_HITS;
        }
        self.hits.clear();
        self.hits.resize(end - MIN_HITS, (0, 0));
        for (number, other, there) in all() {
            let next = &mut self.counts[other as usize];
            if *next as usize >= MIN_HITS {
                self.hits[*next as usize - MIN_HITS] = hit(spots[number], there);
                *next += 1;
            }
        }
        all().for_each(|(_, other, _)| self.counts[other as usize] = 0);
        (self.matches(sketches, read, limit), sought_below)
    }

    /// The matches from the hits of a read.
    fn matches(&mut self, sketches: &Sketches, read: u32, limit: u32) -> Vec<Match> {
        let own = sketches.range(read as usize);
        let (hashes, spots) = (&sketches.hashes[own.clone()], &sketches.spots[own]);
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
        let (mut found, mut start) = (Vec::new(), 0);
        for &(other, end) in &self.others {
            let hits = &mut self.hits[start..end];
            start = end;
            hits.sort_unstable();
            let shorter = sketches.lengths[read as usize].min(sketches.lengths[other as usize]);
            let band = u64::from(BAND_BP) + (f64::from(shorter) * BAND_SHARE) as u64;
            let best = densest(hits, band);
            if best.len() < MIN_HITS {
                continue;
            }
            let k = sketches.k;
            let span = |position: fn(Hit) -> u32| {
                let positions = best.iter().map(|&hit| position(hit));
                positions.fold([u32::MAX, 0], |[first, last], position| [first.min(position), last.max(position + k)])
            };
            let mut found_match = Match {
                reads: [read, other],
                core: [span(|hit| hit.1), span(other_position)],
                is_reverse: best[0].0 & REVERSE > 0,
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

/// The largest hash of a read's k-mers to use, so that they have at most this many places.
fn limit(hashes: &[u32], lists: &[(usize, &[(u32, Spot)])], most: usize) -> u32 {
    if lists.iter().map(|(_, list)| list.len()).sum::<usize>() <= most {
        return u32::MAX;
    }
    let mut by_hash: Vec<(u32, usize)> = lists.iter().map(|(number, list)| (hashes[*number], list.len())).collect();
    by_hash.sort_unstable();
    let mut hits = 0;
    let beyond = by_hash.iter().position(|&(_, places)| {
        hits += places;
        hits > most
    });
    by_hash[beyond.unwrap_or(by_hash.len()).max(1) - 1].0
}

/// The largest set of hits, in diagonal order, within a band: the first if there are several. The two strands are far
/// apart.
fn densest(hits: &[Hit], band: u64) -> &[Hit] {
    let (mut best, mut start) = (0..0, 0);
    for end in 0..hits.len() {
        while hits[end].0 - hits[start].0 > band {
            start += 1;
        }
        if end + 1 - start > best.len() {
            best = start..end + 1;
        }
    }
    &hits[best]
}

/// Number of other reads that share a k-mer of this read, averaged over its k-mers.
pub(super) fn sharing(shared: &SharedKmers, read: usize) -> f32 {
    let entries = shared.sketches.range(read).filter(|&entry| shared.sketches.hashes[entry] != REPEATED);
    let (total, number) =
        entries.fold((0, 0), |(total, number), entry| (total + shared.of(entry).len().saturating_sub(1), number + 1));
    total as f32 / number.max(1) as f32
}
