//! How much each key counts as a negative, if groups are known.
//!
//! Keys of one group are known to belong together (reads of one overlap component), so they are neither positives nor
//! negatives of each other, except those that are paired. To all others a group is one negative: each of its `n` keys
//! weighs `1 / n`, while a key without a group weighs 1. Otherwise a genome split into two large groups would be torn
//! apart by its own size. If there are other groups like it (`GroupId::alike`), each key of a group weighs 1: these
//! groups differ little, and it takes many negatives to learn the difference.
//!
//! The pairs of the whole batch are counted, so the keys of a group in one view of it weigh 1 together, even if a row
//! is not compared with all of them.

use std::collections::HashMap;

use invar_dataset::GroupId;
use invar_nn::SampleIds;
use tch::{Device, Kind, Tensor};

/// The groups of some keys, at least two of which share a group.
pub(crate) struct Groups {
    /// For each key a number that is shared by the keys of its group, and by no others.
    numbers: Vec<i32>,
    /// How many keys have each number.
    counts: Vec<u32>,
    /// Whether each key with this number weighs 1.
    are_alike: Vec<bool>,
}

impl Groups {
    /// `None` if no two keys share a group: then all weigh 1, and none is left out.
    pub(crate) fn new(keys: impl Iterator<Item = Option<GroupId>>) -> Option<Self> {
        let (mut numbers, mut counts, mut are_alike, mut of_group) = (vec![], vec![], vec![], HashMap::new());
        for group in keys {
            let next = counts.len() as i32;
            let number = group.map_or(next, |group| *of_group.entry(group).or_insert(next));
            if number == next {
                counts.push(0);
                are_alike.push(group.is_some_and(GroupId::is_alike));
            }
            counts[number as usize] += 1;
            numbers.push(number);
        }
        (counts.len() < numbers.len()).then_some(Self { numbers, counts, are_alike })
    }

    /// The groups of the pairs of a batch.
    pub(crate) fn of_pairs(samples: &SampleIds) -> Option<Self> {
        Self::new(samples.groups().iter().copied())
    }

    /// The weight of each key as a negative.
    pub(crate) fn weights(&self) -> Vec<f64> {
        let weight = |&number: &i32| match self.are_alike[number as usize] {
            true => 1.0,
            false => 1.0 / f64::from(self.counts[number as usize]),
        };
        self.numbers.iter().map(weight).collect()
    }

    /// The total weight of each key's negatives: the keys of all other groups.
    pub(crate) fn negatives(&self) -> Vec<f64> {
        let mut of_number = vec![0.0; self.counts.len()];
        self.numbers.iter().zip(self.weights()).for_each(|(&number, weight)| of_number[number as usize] += weight);
        let all: f64 = of_number.iter().sum();
        self.numbers.iter().map(|&number| all - of_number[number as usize]).collect()
    }

    /// For tiles of logits on a device.
    pub(crate) fn on(&self, kind: Kind, device: Device) -> Weighing {
        let weights = Tensor::from_slice(&self.weights()).to_kind(kind).to_device(device);
        // As floats, which LibTorch compares several times as fast. A batch is far below 2^24 keys.
        Weighing { numbers: Tensor::from_slice(&self.numbers).to_kind(kind).to_device(device), weights }
    }
}

/// [`Groups`] on a device.
pub(crate) struct Weighing {
    /// Equal for keys of one group `[K]`.
    pub(crate) numbers: Tensor,
    /// The weight of each key as a negative `[K]`.
    pub(crate) weights: Tensor,
}

impl Weighing {
    /// A range of the keys.
    pub(crate) fn narrow(&self, first: i64, count: i64) -> Self {
        Self { numbers: self.numbers.narrow(0, first, count), weights: self.weights.narrow(0, first, count) }
    }

    /// Whether each of these keys shares a group with each of the others `[K, others]`.
    pub(crate) fn same(&self, others: &Self) -> Tensor {
        self.numbers.unsqueeze(1).eq_tensor(&others.numbers.unsqueeze(0))
    }

    /// Fills a tile `[T, K]` with 1 where one of the `T` keys from `first` on and one of all share a group, else with
    /// 0.
    pub(crate) fn same_out(&self, first: i64, tile: &Tensor) -> Tensor {
        self.numbers.narrow(0, first, tile.size()[0]).unsqueeze(1).eq_tensor_out(tile, &self.numbers.unsqueeze(0))
    }

    /// The keys repeated.
    pub(crate) fn repeat(&self, times: i64) -> Self {
        Self { numbers: self.numbers.repeat([times]), weights: self.weights.repeat([times]) }
    }

    /// The same keys, not copied.
    pub(crate) fn shallow_clone(&self) -> Self {
        Self { numbers: self.numbers.shallow_clone(), weights: self.weights.shallow_clone() }
    }
}

/// The loss of an encoder for which all samples look alike, averaged over the pairs, which are the first of the keys:
/// `of_row` computes it from the total weight of a pair's negatives.
pub(crate) fn chance(num_pairs: i64, num_keys: i64, groups: Option<&Groups>, of_row: impl Fn(f64) -> f64) -> f64 {
    match groups {
        None => of_row((num_keys - 1) as f64),
        Some(groups) => {
            let negatives = groups.negatives();
            negatives.iter().take(num_pairs as usize).map(|&weight| of_row(weight)).sum::<f64>() / num_pairs as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(numbers: &[u64]) -> Option<Groups> {
        Groups::new(numbers.iter().map(|&number| (number > 0).then_some(GroupId(number))))
    }

    #[test]
    fn a_group_weighs_as_much_as_a_key_without_one() {
        let some = groups(&[9, 0, 7, 9, 0, 9, 7, 5]).unwrap();
        let third = 1.0 / 3.0;
        assert_eq!(some.weights(), [third, 1.0, 0.5, third, 1.0, third, 0.5, 1.0]);
        // There are five negatives to distinguish, and each key is one or a part of one.
        assert!(some.negatives().iter().all(|weight| (weight - 4.0).abs() < 1e-12));
        let all = groups(&[3; 4]).unwrap();
        assert_eq!((all.weights(), all.negatives()), (vec![0.25; 4], vec![0.0; 4]));
        let weighing = some.on(Kind::Double, Device::Cpu);
        let same = Vec::<Vec<f64>>::try_from(weighing.narrow(2, 1).same(&weighing).to_kind(Kind::Double)).unwrap();
        assert_eq!(same, [[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]]);
    }

    #[test]
    fn each_key_counts_of_a_group_that_has_others_like_it() {
        let alike = GroupId(7).alike();
        assert!(alike.is_alike() && !GroupId(7).is_alike());
        let some =
            Groups::new([Some(alike), Some(GroupId(9)), Some(alike), Some(GroupId(9)), None].into_iter()).unwrap();
        assert_eq!(some.weights(), [1.0, 0.5, 1.0, 0.5, 1.0]);
        assert_eq!(some.negatives(), [2.0, 3.0, 2.0, 3.0, 3.0]);
    }

    #[test]
    fn groups_of_one_are_none() {
        for alone in [&[][..], &[0, 0, 0], &[4, 0, 2, 0]] {
            assert!(groups(alone).is_none());
        }
        assert!((chance(3, 3, None, f64::ln_1p) - 3f64.ln()).abs() < 1e-12);
        assert!((chance(3, 4, groups(&[2, 2, 0, 1]).as_ref(), f64::ln_1p) - 3f64.ln()).abs() < 1e-12);
    }
}
