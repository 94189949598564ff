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
//! and, if `symmetric`, the mean of this and of the same with the views exchanged. Other keys that are related to query
//! `i` (of its sample, or of one that it is or was paired with), in the batch and in the bank, are left out. Unlike in
//! the paper, the keys of the same batch are negatives too: the bank is empty at first. They enter it after the step.
//!
//! The bank remembers the groups of its keys. Keys of the query's group are left out, and each of the `n` keys of
//! another group, in batch and bank together, weighs `1 / n` in the sums: a group is one negative, however large it is.

use invar_dataset::{GroupId, SampleId, seed};
use invar_nn::Relations;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::{
    Context, Error, Head, Loss, LossOutput, MemoryBank,
    bank::Keys,
    groups::{Groups, chance},
    pairs::{check_two, one_with_other, own_with_all, report, scale_of},
    rows::{Criterion, Positive, Rows, Sums},
};

#[cfg(test)]
mod tests;

/// Its name in a recipe.
pub const NAME: &str = "momentum";

/// Settings of [`Momentum`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MomentumConfig {
    /// Divides the cosines; if it is learned, its initial value, in `[0.01, 1]`.
    pub temperature: f64,
    /// Whether the temperature is learned, as `head.momentum.logit_scale = ln(1 / temperature)`, clamped to
    /// `[0, ln 100]` after every step.
    pub learn_temperature: bool,
    /// Widths of a projection head, with ReLU between its layers; empty for none.
    pub projection: Vec<usize>,
    /// Number of keys in the bank, at least 1.
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
    /// If a setting is out of range.
    pub fn init(&self, path: &nn::Path, dim: usize) -> Result<Momentum, Error> {
        if self.queue == 0 {
            return Err(Error::Config { key: "loss.queue", expected: "at least 1", found: "0".into() });
        }
        let head = Head::new(path, dim, self.temperature, self.learn_temperature, &self.projection)?;
        let width = self.projection.last().copied().unwrap_or(dim);
        let bank = MemoryBank::under(path, self.queue, width);
        Ok(Momentum { head, symmetric: self.symmetric, bank })
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Momentum {
    head: Head,
    symmetric: bool,
    bank: MemoryBank,
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
        if q.size()[1] as usize != self.bank.width() {
            let (expected, found) = (q.size(), vec![self.bank.capacity() as i64, self.bank.width() as i64]);
            return Err(Error::Beside { loss: NAME, what: "bank", expected, found });
        }
        let own = self.bank.origin()?;
        let origins = self.bank.origins()?;
        let in_bank = self.bank.groups()?.into_iter().zip(&origins);
        let in_bank = in_bank.map(|(group, &origin)| group.map(|group| told_apart(group, origin, own)));
        let samples = context.relations.samples();
        let of_batch = (0..num_pairs as usize).map(|pair| samples.group(pair));
        let known = Known {
            bank: self.bank.keys()?,
            bank_ids: [self.bank.samples()?, self.bank.queries()?],
            is_own: origins.iter().map(|&origin| origin == own).collect(),
            groups: Groups::new(of_batch.chain(in_bank)),
        };
        let mut sums = self.sums(0, q, &slow[1], &known, context)?;
        let mut num_anchors = num_pairs;
        if self.symmetric {
            let other = self.sums(1, &views[1], &slow[0], &known, context)?;
            sums = Sums { loss: sums.loss + other.loss, hits: sums.hits + other.hits };
            num_anchors *= 2;
        }
        let chance = chance(num_pairs, num_pairs + origins.len() as i64, known.groups.as_ref(), |negatives| {
            (1.0 + negatives).ln()
        });
        Ok(report(NAME, &sums, num_anchors, Some(chance), context, &self.head))
    }

    fn needs_slow_keys(&self) -> bool {
        true
    }

    fn after_step(&mut self, step: u64, context: &Context) {
        self.head.clamp();
        let Some([first, second]) = context.slow_keys.filter(|_| context.train) else { return };
        let samples = context.relations.samples();
        let groups: Vec<_> = (0..samples.num_pairs()).map(|pair| samples.group(pair)).collect();
        let mut push = |keys: &Tensor, view| {
            let [samples, queries] = [view, 1 - view].map(|view| samples.view(view));
            self.bank.push(&Keys { keys, samples, queries, groups: &groups, step });
        };
        push(second, 1);
        if self.symmetric {
            push(first, 0);
        }
    }

    fn bank(&mut self) -> Option<&mut MemoryBank> {
        Some(&mut self.bank)
    }
}

/// What is known of queries and keys besides their projections.
struct Known {
    /// The keys in the bank `[N, P]`.
    bank: Tensor,
    /// The samples of the keys in the bank, and those of their queries.
    bank_ids: [Vec<SampleId>; 2],
    /// Whether each key in the bank uses the same sample numbering as the batch.
    is_own: Vec<bool>,
    /// Groups of the keys of the batch, then of the bank.
    groups: Option<Groups>,
}

impl Momentum {
    /// The own rows of `queries`, which are of view `view`, against the keys of the batch and the bank.
    fn sums(
        &self,
        view: usize,
        queries: &Tensor,
        keys: &Tensor,
        known: &Known,
        context: &Context,
    ) -> Result<Sums, Error> {
        let own = context.own();
        let num_pairs = keys.size()[0];
        let scale = scale_of(&self.head, queries);
        let mut positives = one_with_other(context.relations, view);
        positives.extend(related_in_bank(known, context.relations, view).into_iter().map(|(pair, slot)| Positive {
            row: pair - own.start,
            col: num_pairs + slot,
            weight: 0.0,
        }));
        positives.sort_unstable_by_key(|positive| (positive.row, positive.col));
        let bank = known.bank.to_kind(keys.kind());
        let rows = Rows {
            anchors: queries.narrow(0, own.start, own.end - own.start),
            keys: Tensor::cat(&[keys.detach(), bank], 0),
            positives: &positives,
            groups: known.groups.as_ref().map(|groups| own_with_all(groups, context, &scale)),
            scale: &scale,
            criterion: Criterion::SOFTMAX,
        };
        rows.sums()
    }
}

/// A group of the bank as seen by the batch of client `own`: the same number at another client is another group.
fn told_apart(group: GroupId, origin: u64, own: u64) -> GroupId {
    if origin == own {
        return group;
    }
    let other = GroupId(seed::mix(group.0, origin) >> 1);
    if group.is_alike() { other.alike() } else { other }
}

/// For each own pair, the slots of the bank whose keys are related to its view `view`.
fn related_in_bank(known: &Known, relations: &Relations, view: usize) -> Vec<(i64, i64)> {
    let (Known { bank_ids: [ids, query_ids], is_own, .. }, own) = (known, relations.own());
    let mut found = vec![];
    let keys = (0..).zip(ids).zip(query_ids).zip(is_own).filter(|(_, is_own)| **is_own);
    for (((slot, &id), &query_id), _) in keys {
        // A sample of the query's pair; or what the query's sample was paired with.
        let of_pairs = relations.rows_of(id).map(|(_, pair)| pair);
        let paired = relations.rows_of(query_id).filter(|&(of_view, _)| of_view == view).map(|(_, pair)| pair);
        let pairs = of_pairs.chain(paired).filter(|pair| own.contains(pair));
        found.extend(pairs.map(|pair| (pair as i64, slot)));
    }
    found.sort_unstable();
    found.dedup();
    found
}
