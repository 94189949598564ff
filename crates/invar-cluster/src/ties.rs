use std::collections::HashSet;

use crate::ClusterError;

/// What is known of rows besides their vectors: which rows belong to one group, and which groups are distinct.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ties {
    together: Vec<Option<i64>>,
    /// The smaller value first.
    apart: HashSet<(i64, i64)>,
}

impl Ties {
    /// Rows of one value stay together; `None` is a row on its own.
    pub fn new(together: Vec<Option<i64>>) -> Self {
        Self { together, apart: HashSet::new() }
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
        Self { together: rows.iter().map(|&row| self.together[row]).collect(), apart: self.apart.clone() }
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
