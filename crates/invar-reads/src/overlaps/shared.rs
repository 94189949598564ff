//! Which k-mers occur in several reads, and where.

use super::sketch::{Sketches, Spot};

/// The hash of a k-mer that a read has twice: it is not informative about position or number, and is not used.
pub(super) const REPEATED: u32 = u32::MAX;
/// The list of a k-mer that only one read has.
pub(super) const NONE: u32 = u32::MAX;

/// The k-mers of sketches, and which other reads have them: 16 bytes each, and 8 more for each shared by several reads.
#[derive(Debug)]
pub(super) struct SharedKmers {
    pub sketches: Sketches,
    /// The list of each k-mer of the sketches, or [`NONE`].
    lists: Vec<u32>,
    /// 0, then where each list ends.
    ends: Vec<u32>,
    /// Reads and the position of the k-mer in them, by ascending read.
    places: Vec<(u32, Spot)>,
}

impl SharedKmers {
    pub fn new(mut sketches: Sketches) -> Self {
        let mut read_of = vec![0u32; sketches.hashes.len()];
        for read in 0..sketches.num_reads() {
            read_of[sketches.range(read)].fill(read as u32);
        }
        let sorted = by_hash(&sketches.hashes);
        let mut shared =
            Self { lists: vec![NONE; sorted.len()], ends: vec![0], places: Vec::new(), sketches: Sketches::default() };
        for same in sorted.chunk_by(|a, b| a >> 32 == b >> 32) {
            let start = shared.places.len();
            for of_read in same.chunk_by(|&a, &b| read_of[a as u32 as usize] == read_of[b as u32 as usize]) {
                let first = of_read[0] as u32 as usize;
                if let [_] = of_read {
                    shared.places.push((read_of[first], sketches.spots[first]));
                    shared.lists[first] = shared.ends.len() as u32 - 1;
                } else {
                    of_read.iter().for_each(|&entry| sketches.hashes[entry as u32 as usize] = REPEATED);
                }
            }
            if shared.places.len() - start < 2 {
                shared.places.truncate(start);
                same.iter().for_each(|&entry| shared.lists[entry as u32 as usize] = NONE);
            } else {
                shared.ends.push(shared.places.len() as u32);
            }
        }
        shared.places.shrink_to_fit();
        shared.sketches = sketches;
        shared
    }

    /// The reads that have k-mer `entry` of the sketches, ascending, and where; empty if only one read has it.
    pub fn of(&self, entry: usize) -> &[(u32, Spot)] {
        match self.lists[entry] {
            NONE => &[],
            list => &self.places[self.ends[list as usize] as usize..self.ends[list as usize + 1] as usize],
        }
    }
}

/// The indices of hashes in the lower halves, by ascending hash (in the upper halves), and ascending within one hash:
/// sorted by 11 bits at a time, which is stable, and several times faster than comparing.
fn by_hash(hashes: &[u32]) -> Vec<u64> {
    const BITS: u32 = 11;
    let mut sorted: Vec<u64> = hashes.iter().enumerate().map(|(i, &hash)| u64::from(hash) << 32 | i as u64).collect();
    let mut other = vec![0; sorted.len()];
    let largest = hashes.iter().copied().max().unwrap_or(0);
    for shift in (0..u32::BITS).step_by(BITS as usize).filter(|shift| largest >> shift > 0) {
        let digit = |entry: u64| (entry >> (32 + shift)) as usize & ((1 << BITS) - 1);
        let mut places = vec![0usize; 1 << BITS];
        sorted.iter().for_each(|&entry| places[digit(entry)] += 1);
        let mut start = 0;
        for place in &mut places {
            start += std::mem::replace(place, start);
        }
        for &entry in &sorted {
            let place = &mut places[digit(entry)];
            other[*place] = entry;
            *place += 1;
        }
        std::mem::swap(&mut sorted, &mut other);
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlaps::{
        sketch::Sampling,
        tests::{codes, reads},
    };
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hashes_are_sorted(hashes in prop::collection::vec(prop_oneof![any::<u32>(), 0u32..40, 0u32..70_000], 0..300)) {
            let mut expected: Vec<u64> = hashes.iter().zip(0..).map(|(&hash, i)| u64::from(hash) << 32 | i).collect();
            expected.sort_unstable();
            prop_assert_eq!(by_hash(&hashes), expected);
        }
    }

    #[test]
    fn a_kmer_is_listed_where_several_reads_have_it_and_none_has_it_twice() {
        let (a, b, c) = (codes(300, 1), codes(300, 2), codes(300, 3));
        // The last read has twice what the first ones share.
        let sequences = [[a.clone(), b.clone()].concat(), [b.clone(), c.clone()].concat(), [c.clone(), c].concat()];
        let sampling = Sampling { k: 16, every: 4, every_read: 1 };
        let shared = SharedKmers::new(Sketches::new(&reads(&sequences), sampling).unwrap());
        let number = |read: u32| shared.sketches.reads.iter().position(|&other| other == read).unwrap();
        let listed = |read: u32| -> Vec<(u32, bool)> {
            let range = shared.sketches.range(number(read));
            range.map(|i| (shared.sketches.spots[i].position(), !shared.of(i).is_empty())).collect()
        };
        // A k-mer across the border of two parts occurs in one read alone.
        let in_first = |&(position, is_listed): &(u32, bool)| is_listed == (position >= 300);
        assert!(listed(0).iter().all(in_first) && listed(0).iter().any(|&(_, is_listed)| is_listed));
        assert!(listed(1).iter().all(|&(position, is_listed)| is_listed == (position + 16 <= 300)));
        assert!(listed(2).iter().all(|&(_, is_listed)| !is_listed));
        let entry = shared.sketches.range(number(1)).start;
        let mut reads_of: Vec<u32> = shared.of(entry).iter().map(|&(n, _)| shared.sketches.reads[n as usize]).collect();
        reads_of.sort_unstable();
        assert_eq!(reads_of, [0, 1]);
    }
}
