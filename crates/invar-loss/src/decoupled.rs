//! Decoupled contrastive learning: Yeh, Hong, Hsu, Liu, Chen and LeCun (DCL, 2022).
//!
//! With unit vectors `z_a` of both views of all pairs, `a` in `1..=2B`, `p(a)` the other view of `a`, and
//! `s = 1 / temperature`:
//!
//! ```text
//! L = 1/2B sum_a [ ln sum_n e^(s z_a . z_n) - s z_a . z_p(a) ]
//! ```
//!
//! where `n` are the `2B - 2` views of other samples: the positive is not in the denominator, where in NT-Xent it
//! shrinks the gradient of pairs that are already near, most of all in small batches. The loss can be negative.

use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::{
    Context, Error, Head, Loss, LossOutput,
    groups::{Groups, chance},
    pairs::{Others, all_with_all, check_two, report},
    rows::{Aggregate, Criterion},
};

/// Its name in a recipe.
pub const NAME: &str = "decoupled";

/// Settings of [`Decoupled`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecoupledConfig {
    /// Divides the cosines; if it is learned, its initial value, in `[0.01, 1]`.
    pub temperature: f64,
    /// Whether the temperature is learned, as `head.decoupled.logit_scale = ln(1 / temperature)`, clamped to
    /// `[0, ln 100]` after every step.
    pub learn_temperature: bool,
    /// Widths of a projection head, with ReLU between its layers; empty for none.
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
    /// If a setting is out of range.
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
    fn head(&self) -> Option<&Head> {
        Some(&self.head)
    }

    fn criterion(&self, views: &[Tensor], context: &Context) -> Result<LossOutput, Error> {
        let (_, _, num_pairs) = check_two(NAME, views, context)?;
        let criterion = Criterion::Softmax { aggregate: Aggregate::Mean, decoupled: true, margin: 0.0, beta: 0.0 };
        let groups = Groups::of_pairs(context.relations.samples());
        let sums = all_with_all(views, groups.as_ref(), context, &self.head, Others::Ignored, criterion)?;
        // A row without negatives is 0.
        let of_row = |negatives: f64| if negatives > 0.0 { (2.0 * negatives).ln() } else { 0.0 };
        let chance = chance(num_pairs, num_pairs, groups.as_ref(), of_row);
        Ok(report(NAME, &sums, 2 * num_pairs, Some(chance), context, &self.head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        LossConfig,
        testing::{
            Case, Definition, F64, Sharing, alike, check_definition, once, one_group, one_sample, samples, views,
        },
    };

    fn config(temperature: f64, learn_temperature: bool) -> LossConfig {
        LossConfig::Decoupled(DecoupledConfig { temperature, learn_temperature, ..DecoupledConfig::default() })
    }

    #[test]
    fn agrees_with_the_definition() {
        check_definition(2, Definition { decoupled: true, ..Definition::PLAIN }, |t| config(t, false));
    }

    // q, k = (torch.nn.functional.normalize(torch.sin(torch.arange(12, dtype=torch.float64) * f).view(4, 3), dim=1)
    //         for f in (1.0, 0.7))
    // z = torch.cat([q, k]); l = (z @ z.T / 0.1).fill_diagonal_(-torch.inf)
    // i, t = torch.arange(8), torch.arange(8).roll(4)
    // n = l.clone(); n[i, t] = -torch.inf; print((n.logsumexp(1) - l[i, t]).mean())
    #[test]
    fn agrees_with_pytorch() {
        let found = Case::new(&config(0.1, false), views(2, 4, 3), once(4)).value();
        assert!((found - 10.056664310488678).abs() < 1e-10, "{found}");
    }

    #[test]
    fn closed_forms() {
        // All alike: ln(2N - 2). Orthogonal samples, identical views: the same less s.
        let ones = alike(2);
        assert!((Case::new(&config(0.1, false), ones, once(8)).value() - 14f64.ln()).abs() < 1e-10);
        let eye = vec![Tensor::eye(5, F64), Tensor::eye(5, F64)];
        let found = Case::new(&config(0.1, false), eye, once(5)).value();
        assert!((found - (8f64.ln() - 10.0)).abs() < 1e-10);
        // All alike, 8 pairs in groups of 4, 3 and 1: each has two groups as negatives, in both views.
        let case = Case::new(&config(0.1, false), alike(2), samples(2, 8, Sharing::Groups));
        assert!((case.value() - 4f64.ln()).abs() < 1e-10);
        assert!((case.metric("loss_over_ln_n") - 1.0).abs() < 1e-10);
    }

    #[test]
    fn holds_what_every_loss_must() {
        for sharing in Sharing::ALL {
            let mut case = Case::new(&config(0.1, true), views(2, 7, 3), samples(2, 7, sharing));
            case.check_partitions();
            case.check_gradient();
            case.check_symmetry();
            case.check_errors();
        }
        // No negatives: no loss, and no NaN in its gradient.
        for samples in [one_sample(3), one_group(3)] {
            let case = Case::new(&config(0.1, true), views(2, 3, 3), samples);
            assert_eq!(case.value(), 0.0);
            case.check_gradient();
        }
    }
}
