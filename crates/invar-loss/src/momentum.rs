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
//! and, where `symmetric`, the mean of this and of the same with the views exchanged. Other keys of the sample of `i`,
//! in the batch and in the bank, are left out. Unlike in the paper, the keys of the same batch are negatives too: the
//! bank is empty at first. They enter it after the step.

use invar_nn::Weights;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, nn};

use crate::{
    Context, Error, Head, Loss, LossOutput,
    pairs::{Places, check_two, report, scale_of},
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
    /// Of the samples of the keys in the bank: `[queue]`, i64.
    ids: Weights,
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
        let places = [Places::of(context.samples)?, Places::of(&self.ids.narrow(0, 0, filled))?];
        let mut sums = self.sums(q, &slow[1], &places, filled, context)?;
        let mut num_anchors = num_pairs;
        if self.symmetric {
            let other = self.sums(&views[1], &slow[0], &places, filled, context)?;
            sums = Sums { loss: sums.loss + other.loss, hits: sums.hits + other.hits };
            num_anchors *= 2;
        }
        let chance = ((num_pairs + filled) as f64).ln();
        Ok(report(NAME, &sums, num_anchors, Some(chance), context, &self.head))
    }

    fn needs_slow_keys(&self) -> bool {
        true
    }

    fn after_step(&mut self, context: &Context) {
        self.head.clamp();
        let Some([first, second]) = context.slow_keys.filter(|_| context.train) else { return };
        tch::no_grad(|| {
            self.enqueue(second, context.samples);
            if self.symmetric {
                self.enqueue(first, context.samples);
            }
        });
    }
}

impl Momentum {
    /// The own rows of `queries` against the keys of the batch and the bank.
    fn sums(
        &self,
        queries: &Tensor,
        keys: &Tensor,
        [in_batch, in_bank]: &[Places; 2],
        filled: i64,
        context: &Context,
    ) -> Result<Sums, Error> {
        let own = context.own.clone();
        let num_pairs = keys.size()[0];
        let mut positives = vec![];
        for pair in own.clone() {
            let (id, row) = (in_batch.id(pair), pair - own.start);
            let weight = |place: i64| f64::from(u8::from(place == pair));
            positives.extend(in_batch.places(id).iter().map(|&col| Positive { row, col, weight: weight(col) }));
            let old = in_bank.places(id).iter().map(|&slot| Positive { row, col: num_pairs + slot, weight: 0.0 });
            positives.extend(old);
        }
        let bank = self.bank.narrow(0, 0, filled).to_kind(keys.kind());
        let rows = Rows {
            anchors: queries.narrow(0, own.start, own.end - own.start),
            keys: Tensor::cat(&[keys.detach(), bank], 0),
            positives: &positives,
            scale: &scale_of(&self.head, queries),
            criterion: Criterion::SOFTMAX,
        };
        rows.sums()
    }

    /// Puts keys `[B, P]` in the place of the oldest.
    fn enqueue(&mut self, keys: &Tensor, samples: &Tensor) {
        let queue = self.bank.size()[0];
        let num = keys.size()[0].min(queue);
        let skipped = keys.size()[0] - num; // would be overwritten at once
        let position = (self.position.int64_value(&[]) + skipped) % queue;
        let until_end = num.min(queue - position);
        for (from, to, length) in [(skipped, position, until_end), (skipped + until_end, 0, num - until_end)] {
            self.bank.narrow(0, to, length).copy_(&keys.narrow(0, from, length));
            self.ids.narrow(0, to, length).copy_(&samples.narrow(0, from, length));
        }
        let filled = (self.filled.int64_value(&[]) + keys.size()[0]).min(queue);
        let _ = self.filled.fill_(filled);
        let _ = self.position.fill_((position + num) % queue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        LossConfig,
        testing::{Case, F64, dot, ids, vectors, views},
    };
    use tch::Device;

    fn config(queue: usize, symmetric: bool) -> LossConfig {
        LossConfig::Momentum(MomentumConfig { queue, symmetric, ..MomentumConfig::default() })
    }

    fn case(config: &LossConfig, n: i64, d: i64, twice: bool) -> Case {
        let slow_keys = Some(vec![vectors(n, d, 0.3), vectors(n, d, 1.3)]);
        Case { slow_keys, ..Case::new(config, views(2, n, d), ids(n, twice)) }
    }

    /// The definition, one number at a time, over a bank kept as a list, oldest first.
    fn oracle(case: &Case, bank: &[(i64, Vec<f64>)], temperature: f64, symmetric: bool) -> f64 {
        let (n, d) = case.views[0].size2().unwrap();
        let slow = case.slow_keys.as_ref().unwrap();
        let id = |i: i64| case.samples.int64_value(&[i]);
        let one_way = |q: &Tensor, k: &Tensor| {
            let row = |i: i64| {
                let positive = dot(q, i, k, i) / temperature;
                let mut sum = positive.exp();
                for j in (0..n).filter(|&j| id(j) != id(i)) {
                    sum += (dot(q, i, k, j) / temperature).exp();
                }
                for (_, key) in bank.iter().filter(|(other, _)| *other != id(i)) {
                    let cosine: f64 = (0..d).map(|c| q.double_value(&[i, c]) * key[c as usize]).sum();
                    sum += (cosine / temperature).exp();
                }
                sum.ln() - positive
            };
            (0..n).map(row).sum::<f64>() / n as f64
        };
        let first = one_way(&case.views[0], &slow[1]);
        if symmetric { (first + one_way(&case.views[1], &slow[0])) / 2.0 } else { first }
    }

    /// What the oracle remembers after a step.
    fn remember(bank: &mut Vec<(i64, Vec<f64>)>, case: &Case, queue: usize, symmetric: bool) {
        let slow = case.slow_keys.as_ref().unwrap();
        for keys in if symmetric { vec![&slow[1], &slow[0]] } else { vec![&slow[1]] } {
            let rows = Vec::<Vec<f64>>::try_from(keys).unwrap();
            bank.extend(rows.into_iter().enumerate().map(|(i, row)| (case.samples.int64_value(&[i as i64]), row)));
        }
        let surplus = bank.len().saturating_sub(queue);
        bank.drain(..surplus);
    }

    #[test]
    fn agrees_with_the_definition_while_the_bank_fills_and_turns_over() {
        for n in [2, 3, 5, 17] {
            // Smaller than a batch, no multiple of it, larger.
            for queue in [1, 4, 7, 40] {
                for symmetric in [false, true] {
                    let mut case = case(&config(queue, symmetric), n, 3, n == 5);
                    let mut bank = vec![];
                    for step in 0..6 {
                        let expected = oracle(&case, &bank, 0.1, symmetric);
                        assert!((case.value() - expected).abs() < 1e-9, "n {n} queue {queue} step {step}");
                        case.after_step(true);
                        remember(&mut bank, &case, queue, symmetric);
                        let shift = (step + 1) as f64 * 0.37;
                        case.slow_keys = Some(vec![vectors(n, 3, 0.3 + shift), vectors(n, 3, 1.3 + shift)]);
                        // Some of the samples come again.
                        case.samples = &case.samples + (step % 2) * 2;
                    }
                }
            }
        }
        for (n, d, temperature) in [(2, 1, 0.05), (64, 7, 0.1), (5, 2, 1.0), (5, 7, 3.0)] {
            let config = LossConfig::Momentum(MomentumConfig { temperature, queue: 9, ..MomentumConfig::default() });
            let case = case(&config, n, d, false);
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
        let mut case = case(&config(5, true), 4, 3, false);
        let variables = case.store.variables();
        variables["head.momentum.bank"].shallow_clone().copy_(&vectors(5, 3, 0.9));
        let _ = variables["head.momentum.filled"].shallow_clone().fill_(5);
        // Unlike every id of the bank, which are 0.
        case.samples = &case.samples + 10;
        assert!((case.value() - 10.151416072854461).abs() < 1e-10, "{}", case.value());
    }

    #[test]
    fn closed_form() {
        // All alike: ln of the number of keys.
        let ones = || invar_nn::unit_length(&Tensor::ones([8, 4], F64));
        let mut case = Case::new(&config(11, true), vec![ones(), ones()], ids(8, false));
        case.slow_keys = Some(vec![ones(), ones()]);
        assert!((case.value() - 8f64.ln()).abs() < 1e-10);
        case.after_step(true);
        case.samples = &case.samples + 100;
        assert!((case.value() - 19f64.ln()).abs() < 1e-10);
        assert!((case.metric("loss_over_ln_n") - 1.0).abs() < 1e-10);
    }

    #[test]
    fn holds_what_every_loss_must() {
        for twice in [false, true] {
            let momentum = MomentumConfig { queue: 5, learn_temperature: true, ..MomentumConfig::default() };
            let mut case = case(&LossConfig::Momentum(momentum), 7, 3, twice);
            case.after_step(true);
            case.check_partitions();
            case.check_gradient();
            case.check_symmetry();
            case.check_errors();
        }
        let mut case = case(&config(5, false), 4, 3, false);
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
        let mut case = case(&config(3, false), 2, 3, false);
        let large = (1i64 << 60) + 1; // no f64, let alone f32
        case.samples = Tensor::from_slice(&[large, -5]);
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
        assert_eq!((integers("filled"), integers("position")), (vec![3], vec![1]));
        // The store's tensors are those that the loss uses.
        case.samples = Tensor::from_slice(&[1i64, 2]);
        let before = case.value();
        let _ = variables["head.momentum.filled"].shallow_clone().fill_(0);
        assert!(case.value() < before, "fewer negatives");
        assert!(case.store.trainable_variables().is_empty());
    }
}
