//! Decoupled contrastive learning: Yeh, Hong, Hsu, Liu, Chen and LeCun (DCL, 2022).
//!
//! With unit vectors `z_a` of both views of all pairs, `a` in `1..=2B`, `p(a)` the other view of `a`, and `s = 1 / temperature`:
//!
//! ```text
//! L = 1/2B sum_a [ ln sum_n e^(s z_a . z_n) - s z_a . z_p(a) ]
//! ```
//!
//! where `n` are the `2B - 2` views of other samples: the positive is not in the denominator, which in NT-Xent shrinks
//! the gradient of pairs that are near already, most so in small batches. The loss can be negative.

use invar_nn::Encoded;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::{
    Context, Error, Head, Loss, LossOutput,
    pairs::{all_with_all, check_two, report},
    rows::{Aggregate, Criterion},
};

/// The name in a recipe.
pub const NAME: &str = "decoupled";

/// Settings of [`Decoupled`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecoupledConfig {
    /// Divides the cosines; where it is learned, its first value, in `[0.01, 1]`.
    pub temperature: f64,
    /// Whether the temperature is learned, as `head.decoupled.logit_scale = ln(1 / temperature)`, clamped to
    /// `[0, ln 100]` after every step.
    pub learn_temperature: bool,
    /// Widths of a projection head, ReLU between its layers; empty for none.
    pub projection: Vec<usize>,
}

impl Default for DecoupledConfig {
    fn default() -> Self {
        Self { temperature: 0.1, learn_temperature: false, projection: vec![] }
    }
}

impl DecoupledConfig {
    /// Builds the loss over embeddings of `dim` dimensions.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn init(&self, path: &nn::Path, dim: usize) -> Result<Decoupled, Error> {
        let head = Head::new(path, dim, self.temperature, self.learn_temperature, &self.projection)?;
        Ok(Decoupled { head })
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Decoupled {
    head: Head,
}

impl Loss for Decoupled {
    fn project(&self, view: &Encoded) -> Tensor {
        self.head.project(view)
    }

    fn criterion(&self, views: &[Tensor], context: &Context) -> Result<LossOutput, Error> {
        let (_, _, num_pairs) = check_two(NAME, views, context)?;
        let criterion = Criterion::Softmax { aggregate: Aggregate::Mean, decoupled: true, margin: 0.0, beta: 0.0 };
        let sums = all_with_all(views, context, &self.head, 0.0, criterion)?;
        let chance = ((2 * num_pairs - 2) as f64).ln();
        Ok(report(NAME, &sums, 2 * num_pairs, Some(chance), context, &self.head))
    }

    fn after_step(&mut self, _context: &Context) {
        self.head.clamp();
    }
}
