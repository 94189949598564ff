//! Several positives of one anchor: Khosla et al., *Supervised contrastive learning* (SupCon, `L_out`, 2020), or Miech
//! et al., *End-to-end learning of visual representations from uncurated instructional videos* (MIL-NCE, 2020).
//!
//! With unit vectors `z_a` of all `V` views of all pairs, `a` in `1..=VB`, `P(a)` the other views of the sample of `a`,
//! wherever in the batch they are, `N(a)` those of other samples, and `s = 1 / temperature`:
//!
//! ```text
//! l_ap = s (z_a . z_p - m),  l_an = s z_a . z_n
//! D_a  = ln [ sum_p e^l_ap + sum_n h_an e^l_an ]
//! L    = 1/VB sum_a [ D_a - mean_p l_ap ]           aggregate = "mean"
//! L    = 1/VB sum_a [ D_a - ln sum_p e^l_ap ]       aggregate = "any"
//! ```
//!
//! `h_an` weights hard negatives and `m` is a margin, as in [`nt_xent`](crate::nt_xent). With two views and no repeated
//! sample, both are NT-Xent.

use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::{
    Context, Error, Head, Loss, LossOutput,
    groups::{Groups, chance},
    pairs::{Others, all_with_all, check, check_hard_negatives, check_margin, report},
    rows::{Aggregate, Criterion},
};

/// Its name in a recipe.
pub const NAME: &str = "multi-positive";

/// Settings of [`MultiPositive`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MultiPositiveConfig {
    /// Divides the cosines; if it is learned, its initial value, in `[0.01, 1]`.
    pub temperature: f64,
    /// Whether the temperature is learned, as `head.multi_positive.logit_scale = ln(1 / temperature)`, clamped to
    /// `[0, ln 100]` after every step.
    pub learn_temperature: bool,
    /// Widths of a projection head, with ReLU between its layers; empty for none.
    pub projection: Vec<usize>,
    /// `"mean"`: every positive should be near; `"any"`: one near positive is enough.
    pub aggregate: Aggregate,
    /// `beta`: how much more near negatives count than far ones; 0 for all equally.
    pub hard_negatives: f64,
    /// `m`: by how much positives must be nearer than negatives, as a difference of cosines, in `[0, 2]`.
    pub margin: f64,
}

impl Default for MultiPositiveConfig {
    fn default() -> Self {
        Self {
            temperature: 0.1,
            learn_temperature: false,
            projection: vec![],
            aggregate: Aggregate::Mean,
            hard_negatives: 0.0,
            margin: 0.0,
        }
    }
}

impl MultiPositiveConfig {
    /// Builds the loss over embeddings of `dim` dimensions.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn init(&self, path: &nn::Path, dim: usize) -> Result<MultiPositive, Error> {
        check_hard_negatives(self.hard_negatives)?;
        check_margin(self.margin)?;
        let head = Head::new(path, dim, self.temperature, self.learn_temperature, &self.projection)?;
        let Self { aggregate, hard_negatives, margin, .. } = *self;
        Ok(MultiPositive { head, aggregate, hard_negatives, margin })
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct MultiPositive {
    head: Head,
    aggregate: Aggregate,
    hard_negatives: f64,
    margin: f64,
}

impl Loss for MultiPositive {
    fn head(&self) -> Option<&Head> {
        Some(&self.head)
    }

    fn criterion(&self, views: &[Tensor], context: &Context) -> Result<LossOutput, Error> {
        let num_views = views.len();
        if num_views < 2 {
            return Err(Error::Views { loss: NAME, expected: 2, found: num_views });
        }
        let num_pairs = check(NAME, views, context)?;
        let Self { head, aggregate, hard_negatives: beta, margin } = self;
        let criterion = Criterion::Softmax { aggregate: *aggregate, decoupled: false, margin: *margin, beta: *beta };
        let groups = Groups::of_pairs(context.relations.samples());
        let sums = all_with_all(views, groups.as_ref(), context, head, Others::Weighed, criterion)?;
        let num_anchors = num_pairs * num_views as i64;
        let positives = (num_views - 1) as f64;
        let chance = chance(num_pairs, num_pairs, groups.as_ref(), |negatives| {
            let all = positives + num_views as f64 * negatives;
            match aggregate {
                Aggregate::Mean => all.ln(),
                Aggregate::Any => (all / positives).ln(),
            }
        });
        Ok(report(NAME, &sums, num_anchors, Some(chance), context, head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        LossConfig, NtXentConfig,
        testing::{Case, Definition, Sharing, alike, check_definition, once, one_group, samples, views},
    };

    fn config(temperature: f64, aggregate: Aggregate, beta: f64, margin: f64) -> LossConfig {
        let default = MultiPositiveConfig::default();
        let learn_temperature = (0.01..=1.0).contains(&temperature);
        LossConfig::MultiPositive(MultiPositiveConfig {
            temperature,
            learn_temperature,
            aggregate,
            hard_negatives: beta,
            margin,
            ..default
        })
    }

    #[test]
    fn agrees_with_the_definition() {
        for aggregate in [Aggregate::Mean, Aggregate::Any] {
            for (num_views, beta, margin) in [(3, 0.0, 0.0), (2, 0.5, 0.3)] {
                let definition = Definition { twins: true, aggregate, beta, margin, ..Definition::PLAIN };
                // The learned scale is stored in f32: fixed here.
                check_definition(num_views, definition, |t| match config(t, aggregate, beta, margin) {
                    LossConfig::MultiPositive(c) => {
                        LossConfig::MultiPositive(MultiPositiveConfig { learn_temperature: false, ..c })
                    }
                    other => other,
                });
            }
        }
    }

    // unit = lambda f: torch.nn.functional.normalize(
    //     torch.sin(torch.arange(12, dtype=torch.float64) * f).view(4, 3), dim=1)
    // z = torch.cat([unit(f) for f in (1.0, 0.7, 0.3)])
    // l = (z @ z.T / 0.1).fill_diagonal_(-torch.inf); y = torch.arange(4).repeat(3)
    // p = (y[:, None] == y) & ~torch.eye(12, dtype=bool)
    // print(-(l.log_softmax(1).masked_fill(~p, 0).sum(1) / 2).mean())
    // print((l.logsumexp(1) - l.masked_fill(~p, -torch.inf).logsumexp(1)).mean())
    #[test]
    fn agrees_with_pytorch() {
        for (aggregate, expected) in [(Aggregate::Mean, 9.342264942968171), (Aggregate::Any, 5.724983433065776)] {
            let config = MultiPositiveConfig { aggregate, ..MultiPositiveConfig::default() };
            let found =
                Case::new(&LossConfig::MultiPositive(config), views(3, 4, 3), samples(3, 4, Sharing::Once)).value();
            assert!((found - expected).abs() < 1e-10, "{found}");
        }
    }

    #[test]
    fn closed_forms() {
        // All alike, 4 views of 8: ln 31 for mean, ln(31 / 3) for any.
        for (aggregate, expected) in [(Aggregate::Mean, 31f64), (Aggregate::Any, 31.0 / 3.0)] {
            let ones = alike(4);
            let config = MultiPositiveConfig { aggregate, ..MultiPositiveConfig::default() };
            let case = Case::new(&LossConfig::MultiPositive(config), ones, samples(4, 8, Sharing::Once));
            assert!((case.value() - expected.ln()).abs() < 1e-10);
            assert!((case.metric("loss_over_ln_n") - 1.0).abs() < 1e-10);
        }
        // In groups of 4, 3 and 1: two groups as negatives, in four views, and three positives.
        for (aggregate, expected) in [(Aggregate::Mean, 11f64), (Aggregate::Any, 11.0 / 3.0)] {
            let config = MultiPositiveConfig { aggregate, ..MultiPositiveConfig::default() };
            let case = Case::new(&LossConfig::MultiPositive(config), alike(4), samples(4, 8, Sharing::Groups));
            assert!((case.value() - expected.ln()).abs() < 1e-10);
            assert!((case.metric("loss_over_ln_n") - 1.0).abs() < 1e-10);
        }
        // With a single group there is nothing to learn.
        let case = Case::new(&LossConfig::MultiPositive(MultiPositiveConfig::default()), views(2, 6, 3), one_group(6));
        assert!(case.value().abs() < 1e-12);
        case.check_gradient();
        // Two views, no repeated sample: NT-Xent.
        let other = Case::new(&LossConfig::NtXent(NtXentConfig::default()), views(2, 6, 3), once(6)).value();
        for aggregate in [Aggregate::Mean, Aggregate::Any] {
            let config = MultiPositiveConfig { aggregate, ..MultiPositiveConfig::default() };
            let found = Case::new(&LossConfig::MultiPositive(config), views(2, 6, 3), once(6)).value();
            assert!((found - other).abs() < 1e-12);
        }
    }

    #[test]
    fn holds_what_every_loss_must() {
        for aggregate in [Aggregate::Mean, Aggregate::Any] {
            for (num_views, beta, margin, sharing) in [
                (3, 0.0, 0.0, Sharing::Twice),
                (4, 0.7, 0.2, Sharing::Once),
                (3, 0.7, 0.2, Sharing::Twice),
                (2, 0.0, 0.0, Sharing::Walks),
                (4, 0.7, 0.2, Sharing::Walks),
                (3, 0.7, 0.2, Sharing::Groups),
                (2, 0.0, 0.0, Sharing::WalksInGroups),
                (3, 0.7, 0.2, Sharing::WalksInGroups),
            ] {
                let config = config(0.1, aggregate, beta, margin);
                let mut case = Case::new(&config, views(num_views, 5, 3), samples(num_views, 5, sharing));
                case.check_partitions();
                case.check_gradient();
                case.check_symmetry();
                case.check_errors();
            }
        }
        let config: LossConfig = toml::from_str("type = 'multi-positive'\naggregate = 'any'").unwrap();
        let any = MultiPositiveConfig { aggregate: Aggregate::Any, ..MultiPositiveConfig::default() };
        assert_eq!(config, LossConfig::MultiPositive(any));
    }
}
