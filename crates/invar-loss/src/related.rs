//! Which rows of a batch must not be negatives of each other.
//!
//! A row is a view of a pair, and is of a sample; the views of one pair can be of two (two reads that overlap), which are
//! then positives for each other. Two rows of different pairs are *related* where
//!
//! - both are of one sample, or
//! - the sample of one is among the samples of the other's pair.
//!
//! Related rows are never negatives: the other views of a sample, of the sample that it is paired with, and of what else
//! that one is paired with in the batch, all belong to what the loss draws near.

use std::ops::Range;

use invar_dataset::SampleId;
use invar_nn::SampleIds;

/// The related rows of a batch.
pub(crate) struct Related<'a> {
    ids: &'a SampleIds,
    /// All rows, `view * B + pair`, by sample.
    by_sample: Vec<(SampleId, u32)>,
    /// For each row, where the rows of its sample are in `by_sample`.
    places: Vec<Range<u32>>,
}

/// A related row of another pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relative {
    pub(crate) view: usize,
    pub(crate) pair: usize,
    /// Whether it is of the same sample.
    pub(crate) is_same: bool,
}

impl<'a> Related<'a> {
    pub(crate) fn new(ids: &'a SampleIds) -> Self {
        let mut by_sample: Vec<(SampleId, u32)> = ids.iter().zip(0..).collect();
        by_sample.sort_unstable();
        let mut places = vec![0..0; by_sample.len()];
        let mut end = 0;
        for same in by_sample.chunk_by(|a, b| a.0 == b.0) {
            let place = end..end + same.len() as u32;
            end = place.end;
            same.iter().for_each(|&(_, row)| places[row as usize] = place.clone());
        }
        Self { ids, by_sample, places }
    }

    /// The rows related to view `view` of pair `pair`, by view and pair. Its own pair is not among them.
    pub(crate) fn of(&self, view: usize, pair: usize) -> Vec<Relative> {
        let (num_pairs, num_views) = (self.ids.num_pairs(), self.ids.num_views());
        let other_pair = |row: &u32| *row as usize % num_pairs != pair;
        let rows_like = |view: usize| self.rows(self.places[view * num_pairs + pair].clone()).filter(other_pair);
        let mut rows: Vec<u32> = (0..num_views).flat_map(rows_like).collect();
        for row in rows_like(view) {
            let pair = row % num_pairs as u32;
            rows.extend((0..num_views as u32).map(|view| view * num_pairs as u32 + pair));
        }
        rows.sort_unstable();
        rows.dedup();
        let own = self.ids.get(view, pair);
        let relative = |row: u32| {
            let (view, pair) = (row as usize / num_pairs, row as usize % num_pairs);
            Relative { view, pair, is_same: self.ids.get(view, pair) == own }
        };
        rows.into_iter().map(relative).collect()
    }

    /// View and pair of each row of a sample.
    pub(crate) fn rows_of(&self, sample: SampleId) -> impl Iterator<Item = (usize, usize)> {
        let first = self.by_sample.partition_point(|&(other, _)| other < sample);
        let num_pairs = self.ids.num_pairs();
        let of_sample = self.by_sample[first..].iter().take_while(move |&&(other, _)| other == sample);
        of_sample.map(move |&(_, row)| (row as usize / num_pairs, row as usize % num_pairs))
    }

    fn rows(&self, place: Range<u32>) -> impl Iterator<Item = u32> {
        self.by_sample[place.start as usize..place.end as usize].iter().map(|&(_, row)| row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Sharing, is_related, samples};

    #[test]
    fn agrees_with_the_definition() {
        for (num_views, n) in [(2, 2), (2, 5), (2, 33), (3, 7)] {
            for sharing in Sharing::ALL {
                let ids = samples(num_views, n, sharing);
                let related = Related::new(&ids);
                for (view, pair) in (0..num_views).flat_map(|view| (0..n).map(move |pair| (view, pair))) {
                    let others = (0..num_views).flat_map(|view| (0..n).map(move |pair| (view, pair)));
                    let relative = |(u, j): (usize, usize)| {
                        let is_same = ids.get(u, j) == ids.get(view, pair);
                        (j != pair && is_related(&ids, (view, pair), (u, j))).then_some(Relative {
                            view: u,
                            pair: j,
                            is_same,
                        })
                    };
                    let expected: Vec<Relative> = others.filter_map(relative).collect();
                    assert_eq!(related.of(view, pair), expected, "{sharing:?} {num_views} views of {n}");
                }
            }
        }
    }

    #[test]
    fn the_partner_of_a_walk_is_related_to_its_own_row() {
        // Pair 0 walks from read 10 to read 11, which is the anchor of pair 1; pair 2 walks to read 11 too.
        let ids = SampleIds::new(2, [10, 11, 12, 11, 20, 11].map(SampleId).to_vec());
        let related = Related::new(&ids);
        let rows = |view, pair| related.of(view, pair).iter().map(|r| (r.view, r.pair)).collect::<Vec<_>>();
        // Read 10: its partner's own row, and the same partner of another pair.
        assert_eq!(rows(0, 0), [(0, 1), (1, 2)]);
        // Read 11 as a partner: its own row, and all that it is paired with.
        assert_eq!(rows(1, 0), [(0, 1), (0, 2), (1, 1), (1, 2)]);
        // Read 20, the partner of read 11: read 11 wherever it is.
        assert_eq!(rows(1, 1), [(1, 0), (1, 2)]);
        assert_eq!(related.rows_of(SampleId(11)).collect::<Vec<_>>(), [(0, 1), (1, 0), (1, 2)]);
        assert_eq!(related.rows_of(SampleId(13)).count(), 0);
    }
}
