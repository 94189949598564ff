//! Momentum contrast: He, Fan, Wu, Xie and Girshick, *Momentum contrast for unsupervised visual representation learning*
//! (MoCo, 2020).
//!
//! Queries come from the network, keys from its exponential moving average, which changes so slowly that keys of past
//! batches still serve as negatives: a bank keeps the last `queue` of them. With unit vectors `q_i` of view 0, `k_j` of
//! view 1, `b_n` of the bank, and `s = 1 / temperature`:
//!
//! ```text
//! L = -1/B sum_i ln [ e^(s q_i . k_i) / ( sum_j e^(s q_i . k_j) + sum_n e^(s q_i . b_n) ) ]
//! ```
//!
//! and, where `symmetric`, the mean of this and of the same with the views exchanged. Other keys of the sample of `i`, in
//! the batch and in the bank, are left out. Unlike in the paper, the keys of the same batch are negatives too: the
//! bank is empty at first. They enter it after the step.

use invar_nn::Encoded;
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
    /// Whether the temperature is learned, as `head.momentum.logit_scale = ln(1 / temperature)`, clamped to `[0, ln 100]`
    /// after every step.
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
            tensor
        };
        Ok(Momentum {
            head,
            symmetric: self.symmetric,
            bank: path.zeros_no_train("bank", &[queue, width as i64]),
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
    bank: Tensor,
    /// Of the samples of the keys in the bank: `[queue]`, i64.
    ids: Tensor,
    /// How many slots hold a key, from the first on: an i64 scalar.
    filled: Tensor,
    /// The slot of the next key: an i64 scalar.
    position: Tensor,
}

impl Loss for Momentum {
    fn project(&self, view: &Encoded) -> Tensor {
        self.head.project(view)
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
