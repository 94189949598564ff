//! NT-Xent: Chen, Kornblith, Norouzi and Hinton, *A simple framework for contrastive learning of visual
//! representations* (SimCLR, 2020).
//!
//! With unit vectors `z_a` of both views of all pairs, `a` in `1..=2B`, `p(a)` the other view of `a`, and `s = 1 / temperature`:
//!
//! ```text
//! L = -1/2B sum_a ln [ e^(s (z_a . z_p(a) - m)) / ( e^(s (z_a . z_p(a) - m)) + sum_n h_an e^(s z_a . z_n) ) ]
//! h_an = e^(beta s z_a . z_n) / mean_n' e^(beta s z_a . z_n')
//! ```
//!
//! where `n` are the `2B - 2` views of other samples. `m` is the additive margin of LaBSE (Yang et al. 2019; Feng et al.
//! 2022). `beta`, where not 0, weighs hard negatives more: Robinson et al., *Contrastive learning with hard negative
//! samples* (2021), as in the authors' program (logits are divided by the temperature before `beta`; their
//! `tau_plus` is 0); `beta` 1 is the weighted SimCLR of Zhang et al. (2021), which DNABERT-S uses.

use invar_nn::Encoded;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::{
    Context, Error, Head, Loss, LossOutput,
    pairs::{all_with_all, check_hard_negatives, check_margin, check_two, report},
    rows::{Aggregate, Criterion},
};

/// The name in a recipe.
pub const NAME: &str = "nt-xent";

/// Settings of [`NtXent`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NtXentConfig {
    /// Divides the cosines; where it is learned, its first value, in `[0.01, 1]`.
    pub temperature: f64,
    /// Whether the temperature is learned, as `head.nt_xent.logit_scale = ln(1 / temperature)`, clamped to `[0, ln 100]`
    /// after every step.
    pub learn_temperature: bool,
    /// Widths of a projection head, ReLU between its layers; empty for none.
    pub projection: Vec<usize>,
    /// `beta`: how much more near negatives count than far ones; 0 for all alike.
    pub hard_negatives: f64,
    /// `m`: by how much the positive must be nearer than the negatives, as a difference of cosines, in `[0, 2]`.
    pub margin: f64,
}

impl Default for NtXentConfig {
    fn default() -> Self {
        Self { temperature: 0.1, learn_temperature: false, projection: vec![], hard_negatives: 0.0, margin: 0.0 }
    }
}

impl NtXentConfig {
    /// Builds the loss over embeddings of `dim` dimensions.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn init(&self, path: &nn::Path, dim: usize) -> Result<NtXent, Error> {
        check_hard_negatives(self.hard_negatives)?;
        check_margin(self.margin)?;
        let head = Head::new(path, dim, self.temperature, self.learn_temperature, &self.projection)?;
        Ok(NtXent { head, hard_negatives: self.hard_negatives, margin: self.margin })
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct NtXent {
    head: Head,
    hard_negatives: f64,
    margin: f64,
}

impl Loss for NtXent {
    fn project(&self, view: &Encoded) -> Tensor {
        self.head.project(view)
    }

    fn criterion(&self, views: &[Tensor], context: &Context) -> Result<LossOutput, Error> {
        let (_, _, num_pairs) = check_two(NAME, views, context)?;
        let (beta, margin) = (self.hard_negatives, self.margin);
        let criterion = Criterion::Softmax { aggregate: Aggregate::Mean, decoupled: false, margin, beta };
        let sums = all_with_all(views, context, &self.head, 0.0, criterion)?;
        let chance = ((2 * num_pairs - 1) as f64).ln();
        Ok(report(NAME, &sums, 2 * num_pairs, Some(chance), context, &self.head))
    }

    fn after_step(&mut self, _context: &Context) {
        self.head.clamp();
    }
}
