//! Which aligned reads cover the same locus.

use std::ops::Range;

use invar_dataset::seed::Rng;
use rand::RngExt;
use rayon::prelude::*;

use super::{
    config::{OverlapConfig, WindowLength},
    draw,
};
use crate::{Alignment, Reads};

/// Aligned reads by reference and position: 16 bytes per read.
#[derive(Debug)]
pub(super) struct OverlapIndex {
    /// Sorted by (reference, position, read).
    entries: Vec<Entry>,
    /// References that have reads, ascending, and where their entries begin.
    references: Vec<(u32, usize)>,
    min_overlap_bp: u32,
    min_mapping_quality: u8,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    position: u32,
    /// The base after the last one.
    end: u32,
    /// The reference until the entries are sorted; then the largest `end` of this and the preceding entries on the same
    /// reference: it never decreases, so the entries that end before a position can be skipped by bisection.
    reference_or_max_end: u32,
    read: u32,
}

/// Number of tries before the search for a partner goes through the candidates one by one, and how many of them it
/// inspects. A candidate is a read that starts before the required overlap would end, and not before all that have
/// ended by its start: nearly always a partner, except for reads with introns among reads without.
const RANDOM_TRIES: usize = 32;
const SCANNED: usize = 4096;

impl OverlapIndex {
    /// There can be at most `u32::MAX` reads.
    pub(super) fn new(reads: &dyn Reads, config: &OverlapConfig) -> Self {
        let mut index = Self {
            entries: Vec::new(),
            references: Vec::new(),
            min_overlap_bp: config.min_overlap_bp,
            min_mapping_quality: config.min_mapping_quality,
        };
        for read in 0..reads.len() {
            if let Some(place) = index.usable(reads, read) {
                let (position, end) = (place.position, place.end());
                let entry = Entry { position, end, reference_or_max_end: place.reference, read: read as u32 };
                index.entries.push(entry);
            }
        }
        index.entries.par_sort_unstable_by_key(|entry| (entry.reference_or_max_end, entry.position, entry.read));
        let mut max_end = 0;
        for (number, entry) in index.entries.iter_mut().enumerate() {
            let reference = entry.reference_or_max_end;
            if index.references.last().is_none_or(|&(last, _)| last != reference) {
                index.references.push((reference, number));
                max_end = 0;
            }
            max_end = entry.end.max(max_end);
            entry.reference_or_max_end = max_end;
        }
        index
    }

    /// Number of reads that can be partners: aligned, and long and reliable enough.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A read of another molecule that covers enough of the locus of `read`, each about equally likely, and both
    /// alignments, `read`'s first.
    pub(super) fn partner(&self, reads: &dyn Reads, read: usize, rng: &mut Rng) -> Option<(usize, [Alignment; 2])> {
        let place = self.usable(reads, read)?;
        let candidates = self.candidates(&place);
        if candidates.len() < 2 {
            return None;
        }
        let accept = |entry: &Entry| {
            let shared = entry.end.min(place.end()).saturating_sub(entry.position.max(place.position));
            let other = entry.read as usize;
            shared >= self.min_overlap_bp && other != read && !reads.are_one_molecule(other, read)
        };
        let random = (0..RANDOM_TRIES).find_map(|_| {
            let entry = &candidates[rng.random_range(0..candidates.len())];
            accept(entry).then_some(entry)
        });
        let entry = random.or_else(|| {
            let (before, after) = candidates.split_at(rng.random_range(0..candidates.len()));
            after.iter().chain(before).take(SCANNED).find(|entry| accept(entry))
        })?;
        let other = entry.read as usize;
        Some((other, [place, reads.alignment(other)?]))
    }

    fn usable(&self, reads: &dyn Reads, read: usize) -> Option<Alignment> {
        let certain = |place: &Alignment| place.mapping_quality.is_none_or(|q| q >= self.min_mapping_quality);
        reads.alignment(read).filter(|place| place.span_bp >= self.min_overlap_bp && certain(place))
    }

    fn candidates(&self, place: &Alignment) -> &[Entry] {
        let Ok(found) = self.references.binary_search_by_key(&place.reference, |&(reference, _)| reference) else {
            return &[];
        };
        let end = self.references.get(found + 1).map_or(self.entries.len(), |&(_, start)| start);
        let entries = &self.entries[self.references[found].1..end];
        let (from, to) =
            (place.position.saturating_add(self.min_overlap_bp), place.end().saturating_sub(self.min_overlap_bp));
        let first = entries.partition_point(|entry| entry.reference_or_max_end < from);
        let last = entries.partition_point(|entry| entry.position <= to);
        entries.get(first..last).unwrap_or_default()
    }
}

/// The windows of two reads of `num_bases` bases at their common locus, in the sequencer's orientation of each: a
/// random stretch of the shared bases of the reference, or around their middle if there are fewer than a window has.
pub(super) fn windows_at_locus(
    places: [Alignment; 2],
    num_bases: [usize; 2],
    window_bp: Option<WindowLength>,
    rng: &mut Rng,
) -> [Range<usize>; 2] {
    let Some(window_bp) = window_bp else { return num_bases.map(|len| 0..len) };
    let len = draw::length_up_to(num_bases[0].min(num_bases[1]), window_bp, rng) as i64;
    let start = i64::from(places[0].position.max(places[1].position));
    let shared = i64::from(places[0].end().min(places[1].end())) - start;
    let locus = if shared > len { start + rng.random_range(0..=shared - len) } else { start + (shared - len) / 2 };
    let window = |place: Alignment, num_bases: usize| {
        let num_bases = num_bases as i64;
        let by_proportion = (locus - i64::from(place.position)) * num_bases / i64::from(place.span_bp.max(1));
        let forward = by_proportion.clamp(0, num_bases - len);
        let start = if place.is_reverse { num_bases - len - forward } else { forward };
        start as usize..(start + len) as usize
    };
    [window(places[0], num_bases[0]), window(places[1], num_bases[1])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryReads, Read};
    use invar_dataset::seed;
    use proptest::prelude::*;

    fn place(reference: u32, position: u32, span_bp: u32) -> Alignment {
        Alignment { reference, position, span_bp, is_reverse: false, mapping_quality: None }
    }

    fn aligned(places: &[Option<Alignment>]) -> MemoryReads {
        let read = |(i, &alignment): (usize, &_)| Read { name: format!("r{i}"), alignment, ..Read::default() };
        MemoryReads::new(places.iter().enumerate().map(read).collect())
    }

    fn config(min_overlap_bp: u32) -> OverlapConfig {
        OverlapConfig { min_overlap_bp, ..OverlapConfig::default() }
    }

    fn place_strategy() -> impl Strategy<Value = Option<Alignment>> {
        let span = prop_oneof![4 => 0u32..40, 1 => 0u32..400]; // few long ones among the short
        prop::option::weighted(0.9, (0u32..3, 1u32..400, span).prop_map(|(r, p, s)| place(r, p, s)))
    }

    proptest! {
        // Second implementation: every pair of reads is checked.
        #[test]
        fn partners_are_those_of_the_naive_search(
            places in proptest::collection::vec(place_strategy(), 0..60), min_overlap in 1u32..30, seed: u64,
        ) {
            let reads = aligned(&places);
            let index = OverlapIndex::new(&reads, &config(min_overlap));
            for (read, own) in places.iter().enumerate() {
                let overlaps = |other: usize| match (own, &places[other]) {
                    (Some(a), Some(b)) if a.reference == b.reference && read != other => {
                        let shared = a.end().min(b.end()) as i64 - a.position.max(b.position) as i64;
                        shared >= i64::from(min_overlap)
                    }
                    _ => false,
                };
                let expected = (0..places.len()).any(overlaps);
                let found = index.partner(&reads, read, &mut seed::rng(seed, read as u64));
                prop_assert_eq!(found.is_some(), expected);
                if let Some((other, alignments)) = found {
                    prop_assert!(overlaps(other));
                    prop_assert_eq!(alignments.map(Some), [*own, places[other]]);
                }
            }
        }

        // Reads that are a piece of the reference: both windows are the same piece of it.
        #[test]
        fn windows_lie_at_the_same_locus(
            a in 1u32..500, b in 1u32..500, spans in (50u32..400, 50u32..400), reverse: (bool, bool), len in 1u32..50,
            seed: u64,
        ) {
            let places = [
                Alignment { is_reverse: reverse.0, ..place(0, a, spans.0) },
                Alignment { is_reverse: reverse.1, ..place(0, b, spans.1) },
            ];
            let shared = places[0].end().min(places[1].end()).saturating_sub(a.max(b));
            prop_assume!(shared >= len);
            let num_bases = [spans.0 as usize, spans.1 as usize];
            let mut rng = seed::rng(seed, 0);
            let windows = windows_at_locus(places, num_bases, Some(WindowLength::fixed(len)), &mut rng);
            let locus = |window: &Range<usize>, place: &Alignment| {
                let offset = if place.is_reverse { place.span_bp as usize - window.end } else { window.start };
                place.position as usize + offset
            };
            prop_assert_eq!(locus(&windows[0], &places[0]), locus(&windows[1], &places[1]));
            prop_assert!(windows.iter().all(|window| window.len() == len as usize));
        }

        #[test]
        fn windows_stay_in_their_reads(
            a in 1u32..500, b in 1u32..500, spans in (1u32..400, 1u32..400), num_bases in (0usize..400, 0usize..400),
            window in prop::option::of((1u32..300, 0u32..300)), is_reverse: bool, seed: u64,
        ) {
            let places = [place(0, a, spans.0), Alignment { is_reverse, ..place(0, b, spans.1) }];
            let window = window.map(|(min, more)| WindowLength { min, max: min + more });
            let num_bases = [num_bases.0, num_bases.1];
            let windows = windows_at_locus(places, num_bases, window, &mut seed::rng(seed, 0));
            prop_assert!(windows.iter().zip(num_bases).all(|(window, len)| window.end <= len));
        }
    }

    #[test]
    fn every_partner_comes_up() {
        let places: Vec<_> = (0..9).map(|i| Some(place(0, 1 + 10 * i, 100))).collect();
        let reads = aligned(&places);
        let index = OverlapIndex::new(&reads, &config(50));
        let mut seen: Vec<_> =
            (0..200).map(|seed| index.partner(&reads, 4, &mut seed::rng(seed, 4)).unwrap().0).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [0, 1, 2, 3, 5, 6, 7, 8]); // starts 1 to 81, less read 4 at 41: all share 60 or more
    }

    #[test]
    fn neither_mates_nor_uncertain_reads_are_partners() {
        let mut reads = vec![Read { name: "a".into(), alignment: Some(place(0, 1, 100)), ..Read::default() }; 2];
        let partner = |reads: &[Read]| {
            let reads = MemoryReads::new(reads.to_vec());
            let config = OverlapConfig { min_mapping_quality: 20, ..config(50) };
            OverlapIndex::new(&reads, &config).partner(&reads, 0, &mut seed::rng(0, 0)).map(|(other, _)| other)
        };
        assert_eq!(partner(&reads), None);
        reads[1].name = "b".into();
        assert_eq!(partner(&reads), Some(1));
        reads[1].alignment.as_mut().unwrap().mapping_quality = Some(19);
        assert_eq!(partner(&reads), None);
    }
}
