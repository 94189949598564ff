//! Which k-mers are of several reads, and where in them they lie.

use rayon::prelude::*;

use super::sketch::{Sketches, Spot};

/// The hash of a k-mer that a read has twice: it says neither where nor how often, and is not looked at.
pub(super) const REPEATED: u32 = u32::MAX;
/// The list of a k-mer that one read has.
pub(super) const NONE: u32 = u32::MAX;

/// The k-mers of sketches, and which other reads have them: 16 bytes each, and 8 more for each that several reads have.
#[derive(Debug)]
pub(super) struct SharedKmers {
    pub sketches: Sketches,
    /// Of each k-mer of the sketches its list, or [`NONE`].
    lists: Vec<u32>,
    /// 0, then where each list ends.
    ends: Vec<u32>,
    /// Reads and where the k-mer lies in them, by ascending read.
    places: Vec<(u32, Spot)>,
}

impl SharedKmers {
    pub fn new(mut sketches: Sketches) -> Self {
        let mut read_of = vec![0u32; sketches.hashes.len()];
        for read in 0..sketches.num_reads() {
            read_of[sketches.range(read)].fill(read as u32);
        }
        let mut sorted: Vec<u64> =
            sketches.hashes.iter().enumerate().map(|(i, &hash)| u64::from(hash) << 32 | i as u64).collect();
        sorted.par_sort_unstable();
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

    /// The reads that have k-mer `entry` of the sketches, by ascending number, and where; none where it is of one read alone.
    pub fn of(&self, entry: usize) -> &[(u32, Spot)] {
        match self.lists[entry] {
            NONE => &[],
            list => &self.places[self.ends[list as usize] as usize..self.ends[list as usize + 1] as usize],
        }
    }
}
