//! Momentum contrast: He, Fan, Wu, Xie and Girshick, *Momentum contrast for unsupervised visual representation
//! learning* (MoCo, 2020).
//!
//! Queries come from the network, keys from its exponential moving average, which changes so slowly that keys of past
//! batches still serve as negatives: a bank keeps the last `queue` of them. With unit vectors `q_i` of view 0, `k_j` of
//! view 1, `b_n` of the bank, and `s = 1 / temperature`:
//!
//! ```text
//! L = -1/B sum_i ln [ e^(s q_i . k_i) / ( sum_j e^(s q_i . k_j) + sum_n e^(s q_i . b_n) ) ]
//! ```
//!
//! and, where `symmetric`, the mean of this and of the same with the views exchanged. Other keys that are related to
//! query `i` (of its sample, or of one that it is or was paired with), in the batch and in the bank, are left out. Unlike
//! in the paper, the keys of the same batch are negatives too: the bank is empty at first. They enter it after the step.
//!
//! The bank remembers the groups of its keys. Keys of the query's group are left out, and each of the `n` keys of another
//! group, in batch and bank together, weighs `1 / n` in the sums: a group is one negative, however much of it there is.

use invar_dataset::{GroupId, SampleId};
use invar_nn::{SampleIds, Weights};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, nn};

use crate::{
    Context, Error, Head, Loss, LossOutput,
    groups::{Groups, chance},
    pairs::{check_two, one_with_other, own_with_all, report, scale_of},
    related::Related,
    rows::{Criterion, Positive, Rows, Sums},
};

#[cfg(test)]
mod tests;

/// The name in a recipe.
pub const NAME: &str = "momentum";

/// Settings of [`Momentum`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MomentumConfig {
    /// Divides the cosines; where it is learned, its first value, in `[0.01, 1]`.
    pub temperature: f64,
    /// Whether the temperature is learned, as `head.momentum.logit_scale = ln(1 / temperature)`, clamped to
    /// `[0, ln 100]` after every step.
    pub learn_temperature: bool,
    /// Widths of a projection head, ReLU between its layers; empty for none.
    pub projection: Vec<usize>,
    /// Keys in the bank, at least 1.
    pub queue: usize,
    /// Whether both views are queries, and both enter the bank.
    pub symmetric: bool,
}

impl Default for MomentumConfig {
    fn default() -> Self {
        Self { temperature: 0.1, learn_temperature: false, projection: vec![], queue: 65_536, symmetric: true }
    }
}

impl MomentumConfig {
    /// Builds the loss over embeddings of `dim` dimensions. The bank and its counters are buffers under `path`.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn init(&self, path: &nn::Path, dim: usize) -> Result<Momentum, Error> {
        if self.queue == 0 {
            return Err(Error::Config { key: "loss.queue", expected: "at least 1", found: "0".into() });
        }
        let head = Head::new(path, dim, self.temperature, self.learn_temperature, &self.projection)?;
        let width = self.projection.last().copied().unwrap_or(dim);
        let queue = self.queue as i64;
        let integers = |name: &str, size: &[i64]| {
            let mut tensor = path.zeros_no_train(name, size);
            tensor.set_data(&tensor.to_kind(Kind::Int64));
            Weights::from(tensor)
        };
        Ok(Momentum {
            head,
            symmetric: self.symmetric,
            bank: path.zeros_no_train("bank", &[queue, width as i64]).into(),
            ids: integers("ids", &[queue]),
            query_ids: integers("query_ids", &[queue]),
            groups: integers("groups", &[queue, 2]),
            filled: integers("filled", &[]),
            position: integers("position", &[]),
        })
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Momentum {
    head: Head,
    symmetric: bool,
    /// `[queue, P]`.
    bank: Weights,
    /// Of the samples of the keys in the bank: `[queue]`, the bits of the ids as i64.
    ids: Weights,
    /// Of the samples that the keys were paired with, likewise.
    query_ids: Weights,
    /// Of the keys: 1 and the bits of the group as i64, or 0 and 0 where a key has none `[queue, 2]`.
    groups: Weights,
    /// How many slots hold a key, from the first on: an i64 scalar.
    filled: Weights,
    /// The slot of the next key: an i64 scalar.
    position: Weights,
}

impl Loss for Momentum {
    fn head(&self) -> Option<&Head> {
        Some(&self.head)
    }

    fn criterion(&self, views: &[Tensor], context: &Context) -> Result<LossOutput, Error> {
        let (q, _, num_pairs) = check_two(NAME, views, context)?;
        let slow = context.slow_keys.unwrap_or_default();
        let [_, _] = slow else {
            let expected = vec![2, num_pairs, q.size()[1]];
            return Err(Error::Beside { loss: NAME, what: "slow keys", expected, found: vec![] });
        };
        for keys in slow {
            let (expected, found) = (q.size(), keys.size());
            if expected != found {
                return Err(Error::Beside { loss: NAME, what: "slow keys", expected, found });
            }
        }
        if q.size()[1] != self.bank.size()[1] {
            let (expected, found) = (q.size(), self.bank.size());
            return Err(Error::Beside { loss: NAME, what: "bank", expected, found });
        }
        let filled = self.filled.f_int64_value(&[])?;
        let of_batch = (0..num_pairs as usize).map(|pair| context.samples.group(pair));
        let known = Known {
            related: Related::new(context.samples),
            bank_ids: [self.stored_ids(&self.ids, filled)?, self.stored_ids(&self.query_ids, filled)?],
            groups: Groups::new(of_batch.chain(self.stored_groups(filled)?)),
        };
        let mut sums = self.sums(0, q, &slow[1], &known, context)?;
        let mut num_anchors = num_pairs;
        if self.symmetric {
            let other = self.sums(1, &views[1], &slow[0], &known, context)?;
            sums = Sums { loss: sums.loss + other.loss, hits: sums.hits + other.hits };
            num_anchors *= 2;
        }
        let chance = chance(num_pairs, num_pairs + filled, known.groups.as_ref(), |negatives| (1.0 + negatives).ln());
        Ok(report(NAME, &sums, num_anchors, Some(chance), context, &self.head))
    }

    fn needs_slow_keys(&self) -> bool {
        true
    }

    fn after_step(&mut self, context: &Context) {
        self.head.clamp();
        let Some([first, second]) = context.slow_keys.filter(|_| context.train) else { return };
        tch::no_grad(|| {
            self.enqueue(second, 1, context.samples);
            if self.symmetric {
                self.enqueue(first, 0, context.samples);
            }
        });
    }
}

/// What is known of queries and keys beside their projections.
struct Known<'a> {
    related: Related<'a>,
    /// The samples of the keys in the bank, and those of their queries.
    bank_ids: [Vec<SampleId>; 2],
    /// Of the keys of the batch, then of the bank.
    groups: Option<Groups>,
}

impl Momentum {
    /// The own rows of `queries`, which are of view `view`, against the keys of the batch and the bank.
    fn sums(
        &self,
        view: usize,
        queries: &Tensor,
        keys: &Tensor,
        Known { related, bank_ids, groups }: &Known,
        context: &Context,
    ) -> Result<Sums, Error> {
        let own = context.own.clone();
        let num_pairs = keys.size()[0];
        let scale = scale_of(&self.head, queries);
        let mut positives = one_with_other(related, context, view);
        positives.extend(related_in_bank(related, context, view, bank_ids).into_iter().map(|(pair, slot)| Positive {
            row: pair - own.start,
            col: num_pairs + slot,
            weight: 0.0,
        }));
        positives.sort_unstable_by_key(|positive| (positive.row, positive.col));
        let bank = self.bank.narrow(0, 0, bank_ids[0].len() as i64).to_kind(keys.kind());
        let rows = Rows {
            anchors: queries.narrow(0, own.start, own.end - own.start),
            keys: Tensor::cat(&[keys.detach(), bank], 0),
            positives: &positives,
            groups: groups.as_ref().map(|groups| own_with_all(groups, context, &scale)),
            scale: &scale,
            criterion: Criterion::SOFTMAX,
        };
        rows.sums()
    }

    /// The first `filled` ids of a buffer.
    fn stored_ids(&self, ids: &Tensor, filled: i64) -> Result<Vec<SampleId>, Error> {
        let bits = Vec::<i64>::try_from(&ids.narrow(0, 0, filled).to_device(Device::Cpu))?;
        Ok(bits.into_iter().map(|bits| SampleId(bits as u64)).collect())
    }

    /// The groups of the first `filled` keys.
    fn stored_groups(&self, filled: i64) -> Result<Vec<Option<GroupId>>, Error> {
        let bits = Vec::<i64>::try_from(&self.groups.narrow(0, 0, filled).to_device(Device::Cpu).view([-1]))?;
        Ok(bits.chunks_exact(2).map(|of_key| (of_key[0] == 1).then_some(GroupId(of_key[1] as u64))).collect())
    }

    /// Puts keys `[B, P]` of view `view` in the place of the oldest, with what is known of them.
    fn enqueue(&mut self, keys: &Tensor, view: usize, samples: &SampleIds) {
        let ids = [view, 1 - view].map(|view| bits(samples.view(view).iter().map(|id| id.0)));
        let groups = (0..samples.num_pairs()).map(|pair| samples.group(pair));
        let groups = bits(groups.flat_map(|group| group.map_or([0, 0], |group| [1, group.0]))).view([-1, 2]);
        let [own_ids, query_ids] = &ids;
        let remembered = [(&self.ids, own_ids), (&self.query_ids, query_ids), (&self.groups, &groups)];
        let queue = self.bank.size()[0];
        let num = keys.size()[0].min(queue);
        let skipped = keys.size()[0] - num; // would be overwritten at once
        let position = (self.position.int64_value(&[]) + skipped) % queue;
        let until_end = num.min(queue - position);
        for (from, to, length) in [(skipped, position, until_end), (skipped + until_end, 0, num - until_end)] {
            self.bank.narrow(0, to, length).copy_(&keys.narrow(0, from, length));
            for (stored, new) in remembered {
                stored.narrow(0, to, length).copy_(&new.narrow(0, from, length));
            }
        }
        let filled = (self.filled.int64_value(&[]) + keys.size()[0]).min(queue);
        let _ = self.filled.fill_(filled);
        let _ = self.position.fill_((position + num) % queue);
    }
}

/// Numbers whose bits a tensor carries, of which LibTorch has the signed ones only.
fn bits(numbers: impl Iterator<Item = u64>) -> Tensor {
    Tensor::from_slice(&numbers.map(|number| number as i64).collect::<Vec<_>>())
}

/// The own pairs, and for each the slots of the bank whose keys are related to its view `view`.
fn related_in_bank(
    related: &Related,
    context: &Context,
    view: usize,
    [ids, query_ids]: &[Vec<SampleId>; 2],
) -> Vec<(i64, i64)> {
    let mut found = vec![];
    for ((slot, &id), &query_id) in (0..).zip(ids).zip(query_ids) {
        // A sample of the query's pair; or what the query's sample was paired with.
        let of_pairs = related.rows_of(id).map(|(_, pair)| pair);
        let paired = related.rows_of(query_id).filter(|&(of_view, _)| of_view == view).map(|(_, pair)| pair);
        let pairs = of_pairs.chain(paired).map(|pair| pair as i64);
        found.extend(pairs.filter(|pair| context.own.contains(pair)).map(|pair| (pair, slot)));
    }
    found.sort_unstable();
    found.dedup();
    found
}
