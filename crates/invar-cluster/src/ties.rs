use std::collections::HashSet;

use crate::{ClusterError, markers::Markers};

/// What is known of rows besides their vectors: which rows belong to one group, which groups are distinct, how much each
/// row weighs, and which single-copy markers it has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ties {
    together: Vec<Option<i64>>,
    /// The smaller value first.
    apart: HashSet<(i64, i64)>,
    weights: Option<Weights>,
    markers: Option<Markers>,
}

/// How much rows weigh, and clusters at least.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights {
    /// One for each row, above 0.
    pub of_rows: Vec<f64>,
    /// What a cluster weighs at least.
    pub least: f64,
}

impl Ties {
    /// Rows of one value stay together; `None` is a row on its own.
    pub fn new(together: Vec<Option<i64>>) -> Self {
        Self { together, ..Self::default() }
    }

    /// The same, of rows that weigh differently: a contig of many bases more than one of few. A cluster weighs at least
    /// `least`, however few its rows.
    ///
    /// # Panics
    /// If there is not one finite weight above 0 for each row, or `least` is not finite and at least 0.
    #[must_use]
    pub fn weighing(self, of_rows: Vec<f64>, least: f64) -> Self {
        assert_eq!(of_rows.len(), self.together.len(), "weights of rows");
        assert!(of_rows.iter().all(|weight| weight.is_finite() && *weight > 0.0), "weights are above 0");
        assert!(least.is_finite() && least >= 0.0, "a least weight of {least}");
        Self { weights: Some(Weights { of_rows, least }), ..self }
    }

    /// The same, of rows with single-copy markers: for each row a number for each copy, below `num`. The number of clusters
    /// follows them.
    ///
    /// # Panics
    /// If there is not one list for each row.
    #[must_use]
    pub fn marked(self, of_rows: Vec<Vec<u32>>, num: usize) -> Self {
        assert_eq!(of_rows.len(), self.together.len(), "markers of rows");
        Self { markers: Some(Markers { of_rows, num }), ..self }
    }

    /// The markers of rows, if any are known.
    pub(crate) fn markers(&self) -> Option<&Markers> {
        self.markers.as_ref()
    }

    /// How much rows weigh, if not all the same.
    pub(crate) fn weights(&self) -> Option<&Weights> {
        self.weights.as_ref()
    }

    /// Keeps rows of these two values apart, however near they lie in the embedding: they are known to be similar, but
    /// distinct.
    pub fn keep_apart(&mut self, one: i64, other: i64) {
        if one != other {
            self.apart.insert((one.min(other), one.max(other)));
        }
    }

    /// Number of pairs of values that are kept apart.
    pub fn num_apart(&self) -> usize {
        self.apart.len()
    }

    /// The value of each row.
    pub fn together(&self) -> &[Option<i64>] {
        &self.together
    }

    /// The same for some rows.
    pub(crate) fn of(&self, rows: &[usize]) -> Self {
        let together = rows.iter().map(|&row| self.together[row]).collect();
        let weights = self.weights.as_ref().map(|weights| weights.of(rows));
        let markers = self.markers.as_ref().map(|markers| markers.of(rows));
        Self { together, apart: self.apart.clone(), weights, markers }
    }

    /// Whether nothing may join two rows directly.
    pub(crate) fn are_apart(&self, one: Option<i64>, other: Option<i64>) -> bool {
        let of = |(one, other): (i64, i64)| self.apart.contains(&(one.min(other), one.max(other)));
        one.zip(other).is_some_and(of)
    }

    /// # Errors
    /// If there is not one value for each of `num_rows`.
    pub(crate) fn check(&self, num_rows: usize) -> Result<(), ClusterError> {
        if self.together.len() == num_rows {
            return Ok(());
        }
        let (expected, found) = (num_rows, self.together.len());
        Err(ClusterError::Length { what: "rows that must stay together", expected, found })
    }
}

impl Weights {
    /// The same for some rows, of whose clusters less is there.
    pub fn of(&self, rows: &[usize]) -> Self {
        let of_rows: Vec<f64> = rows.iter().map(|&row| self.of_rows[row]).collect();
        let (part, whole) = (of_rows.iter().sum::<f64>(), self.of_rows.iter().sum::<f64>());
        Self { of_rows, least: self.least * if whole > 0.0 { part / whole } else { 1.0 } }
    }

    /// As many clusters as there can be.
    pub fn most_clusters(&self) -> usize {
        let all: f64 = self.of_rows.iter().sum();
        if self.least > 0.0 { (all / self.least) as usize } else { self.of_rows.len() }
    }
}
