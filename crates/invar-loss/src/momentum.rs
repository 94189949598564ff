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
    fn head(&self) -> &Head {
        &self.head
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        LossConfig,
        testing::{Case, F64, Sharing, dot, is_negative, once, one_group, renumbered, samples, vectors, views},
    };

    fn config(queue: usize, symmetric: bool) -> LossConfig {
        LossConfig::Momentum(MomentumConfig { queue, symmetric, ..MomentumConfig::default() })
    }

    fn case(config: &LossConfig, n: i64, d: i64, sharing: Sharing) -> Case {
        let slow_keys = Some(vec![vectors(n, d, 0.3), vectors(n, d, 1.3)]);
        Case { slow_keys, ..Case::new(config, views(2, n, d), samples(2, n as usize, sharing)) }
    }

    /// A key, with its sample and that of its query, and their group.
    struct Old {
        key: Vec<f64>,
        sample: SampleId,
        query: SampleId,
        group: Option<GroupId>,
    }

    /// The definition, one number at a time, over a bank kept as a list, oldest first.
    fn oracle(case: &Case, bank: &[Old], temperature: f64, symmetric: bool) -> f64 {
        let (n, d) = case.views[0].size2().unwrap();
        let slow = case.slow_keys.as_ref().unwrap();
        let ids = &case.samples;
        let groups = || (0..n as usize).map(|pair| ids.group(pair)).chain(bank.iter().map(|old| old.group));
        let weight = |group: Option<GroupId>| {
            1.0 / groups().filter(|&other| group.is_some() && other == group).count().max(1) as f64
        };
        let one_way = |view: usize, q: &Tensor, k: &Tensor| {
            let row = |i: i64| {
                let positive = dot(q, i, k, i) / temperature;
                let mut sum = positive.exp();
                let is_other = |&j: &i64| j != i && is_negative(ids, (view, i as usize), (1 - view, j as usize));
                for j in (0..n).filter(is_other) {
                    sum += weight(ids.group(j as usize)) * (dot(q, i, k, j) / temperature).exp();
                }
                let own = [0, 1].map(|view| ids.get(view, i as usize));
                let is_other = |old: &&Old| {
                    let is_one_group = old.group.is_some() && old.group == ids.group(i as usize);
                    !own.contains(&old.sample) && old.query != own[view] && !is_one_group
                };
                for Old { key, group, .. } in bank.iter().filter(is_other) {
                    let cosine: f64 = (0..d).map(|c| q.double_value(&[i, c]) * key[c as usize]).sum();
                    sum += weight(*group) * (cosine / temperature).exp();
                }
                sum.ln() - positive
            };
            (0..n).map(row).sum::<f64>() / n as f64
        };
        let first = one_way(0, &case.views[0], &slow[1]);
        if symmetric { (first + one_way(1, &case.views[1], &slow[0])) / 2.0 } else { first }
    }

    /// What the oracle remembers after a step.
    fn remember(bank: &mut Vec<Old>, case: &Case, queue: usize, symmetric: bool) {
        let slow = case.slow_keys.as_ref().unwrap();
        for view in if symmetric { vec![1, 0] } else { vec![1] } {
            let rows = Vec::<Vec<f64>>::try_from(&slow[view]).unwrap();
            let id = |view, pair| case.samples.get(view, pair);
            let group = |pair| case.samples.group(pair);
            let old = |(pair, key)| Old { key, sample: id(view, pair), query: id(1 - view, pair), group: group(pair) };
            bank.extend(rows.into_iter().enumerate().map(old));
        }
        let surplus = bank.len().saturating_sub(queue);
        bank.drain(..surplus);
    }

    #[test]
    fn agrees_with_the_definition_while_the_bank_fills_and_turns_over() {
        for n in [2, 3, 5, 17] {
            // Smaller than a batch, no multiple of it, larger.
            for queue in [1, 4, 7, 40] {
                for (symmetric, sharing) in
                    [false, true].into_iter().flat_map(|symmetric| Sharing::ALL.map(|sharing| (symmetric, sharing)))
                {
                    let mut case = case(&config(queue, symmetric), n, 3, sharing);
                    let mut bank = vec![];
                    for step in 0..6 {
                        let expected = oracle(&case, &bank, 0.1, symmetric);
                        assert!((case.value() - expected).abs() < 1e-9, "n {n} queue {queue} step {step} {sharing:?}");
                        case.after_step(true);
                        remember(&mut bank, &case, queue, symmetric);
                        let shift = (step + 1) as f64 * 0.37;
                        case.slow_keys = Some(vec![vectors(n, 3, 0.3 + shift), vectors(n, 3, 1.3 + shift)]);
                        // Some of the samples come again.
                        case.samples = renumbered(&case.samples, |id| id + (step as u64 % 2) * 2);
                    }
                }
            }
        }
        for (n, d, temperature) in [(2, 1, 0.05), (64, 7, 0.1), (5, 2, 1.0), (5, 7, 3.0)] {
            let config = LossConfig::Momentum(MomentumConfig { temperature, queue: 9, ..MomentumConfig::default() });
            let case = case(&config, n, d, Sharing::Once);
            assert!((case.value() - oracle(&case, &[], temperature, true)).abs() < 1e-9);
        }
    }

    // unit = lambda n, f: torch.nn.functional.normalize(
    //     torch.sin(torch.arange(3 * n, dtype=torch.float64) * f).view(n, 3), dim=1)
    // q, k, a, b, c = (unit(n, f) for n, f in ((4, 1.0), (4, 0.7), (4, 0.3), (4, 1.3), (5, 0.9)))
    // ce = lambda q, k: torch.nn.functional.cross_entropy(q @ torch.cat([k, c]).T / 0.1, torch.arange(4))
    // print((ce(q, b) + ce(k, a)) / 2)
    #[test]
    fn agrees_with_pytorch() {
        let mut case = case(&config(5, true), 4, 3, Sharing::Once);
        let variables = case.store.variables();
        variables["head.momentum.bank"].shallow_clone().copy_(&vectors(5, 3, 0.9));
        let _ = variables["head.momentum.filled"].shallow_clone().fill_(5);
        // Unlike every id of the bank, which are 0.
        case.samples = renumbered(&case.samples, |id| id + 10);
        assert!((case.value() - 10.151416072854461).abs() < 1e-10, "{}", case.value());
    }

    #[test]
    fn closed_form() {
        // All alike: ln of the number of keys.
        let ones = || invar_nn::unit_length(&Tensor::ones([8, 4], F64));
        let mut case = Case::new(&config(11, true), vec![ones(), ones()], once(8));
        case.slow_keys = Some(vec![ones(), ones()]);
        assert!((case.value() - 8f64.ln()).abs() < 1e-10);
        case.after_step(true);
        case.samples = renumbered(&case.samples, |id| id + 100);
        assert!((case.value() - 19f64.ln()).abs() < 1e-10);
        assert!((case.metric("loss_over_ln_n") - 1.0).abs() < 1e-10);
        // The bank's 11 keys have no group, the batch is one: each query has 11 to be told from, then none.
        case.samples = one_group(8);
        case.samples = renumbered(&case.samples, |id| id + 200);
        assert!((case.value() - 12f64.ln()).abs() < 1e-10);
        assert!((case.metric("loss_over_ln_n") - 1.0).abs() < 1e-10);
        case.after_step(true);
        assert_eq!((case.value(), case.metric("loss_over_ln_n")), (0.0, 0.0));
    }

    #[test]
    fn holds_what_every_loss_must() {
        for sharing in Sharing::ALL {
            let momentum = MomentumConfig { queue: 5, learn_temperature: true, ..MomentumConfig::default() };
            let mut case = case(&LossConfig::Momentum(momentum), 7, 3, sharing);
            case.after_step(true);
            case.check_partitions();
            case.check_gradient();
            case.check_symmetry();
            case.check_errors();
        }
        let mut case = case(&config(5, false), 4, 3, Sharing::Once);
        assert!(case.loss.needs_slow_keys());
        case.slow_keys = None;
        assert!(matches!(case.run(), Err(Error::Beside { what: "slow keys", .. })));
        case.slow_keys = Some(views(2, 3, 3));
        let error = case.run().unwrap_err().to_string();
        assert_eq!(error, "loss momentum: slow keys must have shape [4, 3], got [3, 3]");
        let error = config(0, true).init(&nn::VarStore::new(Device::Cpu).root(), 3).err().unwrap().to_string();
        assert_eq!(error, "loss.queue must be at least 1, got 0");
    }

    #[test]
    fn the_bank_is_stored_exactly_and_moves_with_its_store() {
        let mut case = case(&config(3, false), 2, 3, Sharing::Once);
        let large = (1i64 << 60) + 1; // no f64, let alone f32
        case.samples = SampleIds::new(2, [1, 2, large, -5].map(|bits| SampleId(bits as u64)).to_vec());
        case.after_step(false);
        assert_eq!(case.store.variables()["head.momentum.filled"].int64_value(&[]), 0, "validation changes nothing");
        case.store.set_device(Device::Cpu);
        case.after_step(true);
        case.after_step(true);
        let variables = case.store.variables();
        let integers = |name: &str| {
            let tensor = &variables[&format!("head.momentum.{name}")];
            assert!(tensor.kind() == Kind::Int64 && !tensor.requires_grad());
            Vec::<i64>::try_from(tensor.view([-1])).unwrap()
        };
        assert_eq!(integers("ids"), [-5, -5, large]);
        assert_eq!(integers("query_ids"), [2, 2, 1]);
        assert_eq!(integers("groups"), [0; 6]);
        assert_eq!((integers("filled"), integers("position")), (vec![3], vec![1]));
        // The store's tensors are those that the loss uses.
        case.samples = SampleIds::of_pairs(2, &[SampleId(11), SampleId(12)]);
        let before = case.value();
        let _ = variables["head.momentum.filled"].shallow_clone().fill_(0);
        assert!(case.value() < before, "fewer negatives");
        case.samples = case.samples.with_groups(vec![None, Some(GroupId(large as u64))]);
        case.after_step(true);
        assert_eq!(integers("groups"), [0, 0, 0, 0, 1, large]);
        assert!(case.store.trainable_variables().is_empty());
    }
}
