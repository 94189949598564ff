use std::{fmt, ops::Range, str::FromStr};

use serde::{Deserialize, Serialize};

/// Maximum number of shards of an EMB, so that its parts sort by name in the order of the rows.
const MOST: usize = 9_999;

/// Which part of the work a task does: for example number 3 of 16. The tasks of all numbers, wherever and whenever they
/// run, write one EMB together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shard {
    count: usize,
    number: usize,
}

impl Shard {
    /// Number `number`, 1-based, of `count`; `None` if there is no such shard, or more than 9,999.
    pub fn new(number: usize, count: usize) -> Option<Self> {
        (1 <= number && number <= count && count <= MOST).then_some(Self { count, number })
    }

    /// From 1 to [`Shard::count`].
    pub fn number(self) -> usize {
        self.number
    }

    /// How many shards there are.
    pub fn count(self) -> usize {
        self.count
    }

    /// Whether it is the last shard.
    pub fn is_last(self) -> bool {
        self.number == self.count
    }

    /// Its part of `total` things in order; the parts of all shards are consecutive and differ in size by at most one.
    pub fn of(self, total: usize) -> Range<usize> {
        let until = |number: usize| (total as u128 * number as u128 / self.count as u128) as usize;
        until(self.number - 1)..until(self.number)
    }
}

impl fmt::Display for Shard {
    /// `3/16`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers =
            text.split_once('/').and_then(|(number, count)| Some((number.parse().ok()?, count.parse().ok()?)));
        let shard = numbers.and_then(|(number, count)| Self::new(number, count));
        shard.ok_or_else(|| format!("expected a number of so many, 1/16 to 16/16 (at most {MOST}), found {text:?}"))
    }
}

/// The rows of an EMB that a shard holds. Stored in the footer of each of its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardRows {
    pub shard: Shard,
    pub first_row: u64,
    pub end_row: u64,
    /// Rows of all shards.
    pub total_rows: u64,
}

impl fmt::Display for ShardRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, rows {} to {} of {}", self.shard, self.first_row, self.end_row, self.total_rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_follow_each_other_to_the_end() {
        for (total, count) in (0..60).chain([99_991]).flat_map(|total| (1..40).map(move |count| (total, count))) {
            let mut end = 0;
            for number in 1..=count {
                let share = Shard::new(number, count).unwrap().of(total);
                assert_eq!(share.start, end, "{number}/{count} of {total}");
                assert!((total / count..=total.div_ceil(count)).contains(&share.len()), "{number}/{count} of {total}");
                end = share.end;
            }
            assert_eq!(end, total, "{count}");
        }
    }

    #[test]
    fn a_shard_is_a_number_of_so_many() {
        let shard: Shard = "3/16".parse().unwrap();
        assert_eq!((shard.number(), shard.count(), shard.to_string().as_str()), (3, 16, "3/16"));
        for text in ["0/16", "17/16", "1/0", "3", "/", "3/", "-1/2", "1/10000", "1/2/3", ""] {
            let error = text.parse::<Shard>().unwrap_err();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
