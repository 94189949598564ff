//! Single-copy markers: genes of which a genome has one each. A cluster with many of them is nearly whole, one with several
//! copies holds more than one genome.

use std::collections::HashSet;

/// How much a copy too many weighs beside a marker that is found, as in the score of dRep (Olm et al. 2017).
const CONTAMINATION: f64 = 5.0;

/// Markers of rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Markers {
    /// Of each row, one number for each copy.
    pub of_rows: Vec<Vec<u32>>,
    /// How many markers there are.
    pub num: usize,
}

/// What the markers say of a cluster (as CheckM, Parks et al. 2015, but without sets of markers that follow the lineage).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Judged {
    /// The share of all markers that are found, `[0, 1]`.
    pub completeness: f64,
    /// Copies beyond the first, as a share of all markers.
    pub contamination: f64,
}

impl Judged {
    /// What the markers `found`, a number for each copy, say where there are `num` in all.
    pub fn of(found: impl IntoIterator<Item = u32>, num: usize) -> Self {
        let mut distinct = HashSet::new();
        let copies = found.into_iter().inspect(|&marker| _ = distinct.insert(marker)).count();
        let share = |number: usize| number as f64 / num.max(1) as f64;
        Self { completeness: share(distinct.len()), contamination: share(copies - distinct.len()) }
    }

    /// The square of completeness less five times the contamination; 0 if that is below 0. By the square a genome in one
    /// cluster counts more than in two, whose completeness adds up to its own.
    pub fn score(self) -> f64 {
        (self.completeness - CONTAMINATION * self.contamination).max(0.0).powi(2)
    }
}

impl Markers {
    /// The same for some rows.
    pub fn of(&self, rows: &[usize]) -> Self {
        Self { of_rows: rows.iter().map(|&row| self.of_rows[row].clone()).collect(), num: self.num }
    }

    /// The scores of all clusters of `labels`, added up.
    pub fn score(&self, labels: &[i32], num_clusters: usize) -> f64 {
        let mut found = vec![vec![]; num_clusters];
        for (&label, markers) in labels.iter().zip(&self.of_rows) {
            if let Some(of) = usize::try_from(label).ok().and_then(|label| found.get_mut(label)) {
                of.extend(markers);
            }
        }
        found.into_iter().map(|found| Judged::of(found, self.num).score()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_beyond_the_first_are_contamination() {
        let judged = Judged::of([0, 1, 2, 2, 2], 10);
        assert_eq!(judged, Judged { completeness: 0.3, contamination: 0.2 });
        assert_eq!(judged.score(), 0.0);
        assert!((Judged::of(0..9, 10).score() - 0.81).abs() < 1e-12);
        assert_eq!(Judged::of([], 0), Judged::default());
    }

    #[test]
    fn two_whole_genomes_score_more_than_both_as_one_and_than_four_halves() {
        let of_rows = vec![vec![0, 1], vec![2, 3], vec![0, 1], vec![2, 3]];
        let markers = Markers { of_rows, num: 4 };
        let score = |labels: &[i32]| markers.score(labels, 4);
        assert_eq!(score(&[0, 0, 1, 1]), 2.0);
        assert_eq!(score(&[0, 0, 0, 0]), 0.0);
        assert_eq!(score(&[0, 1, 2, -1]), 0.75);
        assert_eq!(markers.of(&[0, 3]).of_rows, [[0, 1], [2, 3]]);
    }
}
