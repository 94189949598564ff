use std::collections::HashSet;

use crate::ClusterError;

/// What is known of rows beside their vectors: which are of one group, and which groups are not one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ties {
    together: Vec<Option<i64>>,
    /// The smaller value first.
    apart: HashSet<(i64, i64)>,
}

impl Ties {
    /// Rows of one value stay together; `None` is a row by itself.
    pub fn new(together: Vec<Option<i64>>) -> Self {
        Self { together, apart: HashSet::new() }
    }

    /// Nothing that lies near in the embedding joins rows of these two values: they are known to be alike, and not one.
    pub fn keep_apart(&mut self, one: i64, other: i64) {
        if one != other {
            self.apart.insert((one.min(other), one.max(other)));
        }
    }

    /// Values that are kept apart, pair by pair.
    pub fn num_apart(&self) -> usize {
        self.apart.len()
    }

    /// The value of each row.
    pub fn together(&self) -> &[Option<i64>] {
        &self.together
    }

    /// The same of some rows.
    pub(crate) fn of(&self, rows: &[usize]) -> Self {
        Self { together: rows.iter().map(|&row| self.together[row]).collect(), apart: self.apart.clone() }
    }

    /// Whether nothing joins two rows directly.
    pub(crate) fn are_apart(&self, one: Option<i64>, other: Option<i64>) -> bool {
        let of = |(one, other): (i64, i64)| self.apart.contains(&(one.min(other), one.max(other)));
        one.zip(other).is_some_and(of)
    }

    /// # Errors
    /// Where there is not a value for each of `num_rows`.
    pub(crate) fn check(&self, num_rows: usize) -> Result<(), ClusterError> {
        if self.together.len() == num_rows {
            return Ok(());
        }
        let (expected, found) = (num_rows, self.together.len());
        Err(ClusterError::Length { what: "rows that must stay together", expected, found })
    }
}
