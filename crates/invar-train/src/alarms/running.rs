//! Statistics of the last values of a series. Non-finite values are not counted.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// A plain mean over the first values, then an exponential one: each new value weighs one part in `over`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Mean {
    over: u64,
    count: u64,
    mean: f64,
}

impl Mean {
    pub(super) fn over(over: u64) -> Self {
        Self { over, count: 0, mean: 0.0 }
    }

    pub(super) fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.count = self.over.min(self.count + 1);
            self.mean += (value - self.mean) / self.count as f64;
        }
    }

    /// `None` before the first value.
    pub(super) fn value(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }
}

/// The median of the last `over` values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Median {
    over: usize,
    values: VecDeque<f64>,
}

impl Median {
    pub(super) fn over(over: usize) -> Self {
        Self { over, values: VecDeque::new() }
    }

    pub(super) fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.values.push_back(value);
            if self.values.len() > self.over {
                self.values.pop_front();
            }
        }
    }

    /// The upper of the two middle values if their number is even; `None` with fewer than `least` values, or none.
    pub(super) fn value(&self, least: usize) -> Option<f64> {
        if self.values.is_empty() || self.values.len() < least {
            return None;
        }
        let mut sorted: Vec<f64> = self.values.iter().copied().collect();
        let middle = sorted.len() / 2;
        Some(*sorted.select_nth_unstable_by(middle, f64::total_cmp).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_forgets() {
        let mut mean = Mean::over(4);
        assert_eq!(mean.value(), None);
        for (value, expected) in [(2.0, 2.0), (4.0, 3.0), (f64::NAN, 3.0), (6.0, 4.0), (4.0, 4.0), (8.0, 5.0)] {
            mean.add(value);
            assert_eq!(mean.value(), Some(expected));
        }
    }

    #[test]
    fn a_median_looks_back_so_far() {
        let mut median = Median::over(3);
        assert_eq!(median.value(0), None);
        for (value, expected) in [(5.0, None), (1.0, Some(5.0)), (3.0, Some(3.0)), (f64::INFINITY, Some(3.0))] {
            median.add(value);
            assert_eq!(median.value(2), expected);
        }
        // 1, 3, 0: the 5 is forgotten.
        median.add(0.0);
        assert_eq!(median.value(2), Some(1.0));
    }
}
