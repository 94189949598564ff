//! NT-Xent: Chen, Kornblith, Norouzi and Hinton, *A simple framework for contrastive learning of visual
//! representations* (SimCLR, 2020).
//!
//! With unit vectors `z_a` of both views of all pairs, `a` in `1..=2B`, `p(a)` the other view of `a`, and
//! `s = 1 / temperature`:
//!
//! ```text
//! L = -1/2B sum_a ln [ e^(s (z_a . z_p(a) - m)) / ( e^(s (z_a . z_p(a) - m)) + sum_n h_an e^(s z_a . z_n) ) ]
//! h_an = e^(beta s z_a . z_n) / mean_n' e^(beta s z_a . z_n')
//! ```
//!
//! where `n` are the `2B - 2` views of other samples. `m` is the additive margin of LaBSE (Yang et al. 2019; Feng et
//! al. 2022). A `beta` other than 0 gives hard negatives more weight: Robinson et al., *Contrastive learning with hard
//! negative samples* (2021), with logits divided by the temperature before `beta`, and without their correction for
//! false negatives. DNABERT-S trains with weights of this kind.

use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::{
    Context, Error, Head, Loss, LossOutput,
    groups::{Groups, chance},
    pairs::{Others, all_with_all, check_hard_negatives, check_margin, check_two, report},
    rows::{Aggregate, Criterion},
};

/// Its name in a recipe.
pub const NAME: &str = "nt-xent";

/// Settings of [`NtXent`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NtXentConfig {
    /// Divides the cosines; if it is learned, its initial value, in `[0.01, 1]`.
    pub temperature: f64,
    /// Whether the temperature is learned, as `head.nt_xent.logit_scale = ln(1 / temperature)`, clamped to
    /// `[0, ln 100]` after every step.
    pub learn_temperature: bool,
    /// Widths of a projection head, with ReLU between its layers; empty for none.
    pub projection: Vec<usize>,
    /// `beta`: how much more near negatives count than far ones; 0 for all equally.
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
    /// If a setting is out of range.
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
    fn head(&self) -> Option<&Head> {
        Some(&self.head)
    }

    fn criterion(&self, views: &[Tensor], context: &Context) -> Result<LossOutput, Error> {
        let (_, _, num_pairs) = check_two(NAME, views, context)?;
        let (beta, margin) = (self.hard_negatives, self.margin);
        let criterion = Criterion::Softmax { aggregate: Aggregate::Mean, decoupled: false, margin, beta };
        let groups = Groups::of_pairs(context.relations.samples());
        let sums = all_with_all(views, groups.as_ref(), context, &self.head, Others::Ignored, criterion)?;
        let chance = chance(num_pairs, num_pairs, groups.as_ref(), |negatives| (1.0 + 2.0 * negatives).ln());
        Ok(report(NAME, &sums, 2 * num_pairs, Some(chance), context, &self.head))
    }
}

#[cfg(test)]
mod tests {
    use invar_nn::Outputs;

    use super::*;
    use crate::{
        LossConfig,
        testing::{
            Case, Definition, F64, Sharing, alike, check_definition, once, one_group, one_sample, samples, views,
        },
    };

    fn config(temperature: f64, beta: f64, margin: f64) -> LossConfig {
        LossConfig::NtXent(NtXentConfig { temperature, hard_negatives: beta, margin, ..NtXentConfig::default() })
    }

    #[test]
    fn agrees_with_the_definition() {
        check_definition(2, Definition::PLAIN, |t| config(t, 0.0, 0.0));
        check_definition(2, Definition { beta: 0.5, margin: 0.3, ..Definition::PLAIN }, |t| config(t, 0.5, 0.3));
    }

    // q, k = (torch.nn.functional.normalize(torch.sin(torch.arange(12, dtype=torch.float64) * f).view(4, 3), dim=1)
    //         for f in (1.0, 0.7))
    // z = torch.cat([q, k]); l = (z @ z.T / 0.1).fill_diagonal_(-torch.inf)
    // print(torch.nn.functional.cross_entropy(l, torch.arange(8).roll(4)))
    #[test]
    fn agrees_with_pytorch() {
        let found = Case::new(&config(0.1, 0.0, 0.0), views(2, 4, 3), once(4)).value();
        assert!((found - 10.17027257470634).abs() < 1e-10, "{found}");
    }

    #[test]
    fn closed_forms() {
        // All alike: ln(2N - 1), even if hard negatives weigh more; and a margin m costs a factor of e^(-sm).
        let ones = || alike(2);
        for beta in [0.0, 1.0, 3.0] {
            let case = Case::new(&config(0.1, beta, 0.0), ones(), once(8));
            assert!((case.value() - 15f64.ln()).abs() < 1e-10);
            assert!((case.metric("loss_over_ln_n") - 1.0).abs() < 1e-10);
        }
        let found = Case::new(&config(0.1, 0.0, 0.3), ones(), once(8)).value();
        assert!((found - (14.0 * 3f64.exp()).ln_1p()).abs() < 1e-10);
        // Orthogonal samples, identical views.
        let case = Case::new(&config(0.1, 0.0, 0.0), vec![Tensor::eye(5, F64), Tensor::eye(5, F64)], once(5));
        assert!((case.value() - (8.0 * (-10f64).exp()).ln_1p()).abs() < 1e-12);
        assert_eq!((case.metric("accuracy"), case.metric("temperature")), (1.0, 0.1));
        // One sample or one group only: nothing to distinguish.
        for samples in [one_sample(3), one_group(3)] {
            let case = Case::new(&config(0.1, 1.0, 0.0), views(2, 3, 4), samples);
            assert!(case.value().abs() < 1e-12);
            case.check_gradient();
        }
        // 8 pairs in groups of 4, 3 and 1: each has two groups as negatives, in both views.
        for beta in [0.0, 1.0] {
            let case = Case::new(&config(0.1, beta, 0.0), ones(), samples(2, 8, Sharing::Groups));
            assert!((case.value() - 5f64.ln()).abs() < 1e-10);
            assert!((case.metric("loss_over_ln_n") - 1.0).abs() < 1e-10);
        }
    }

    #[test]
    fn holds_what_every_loss_must() {
        for (beta, margin) in [(0.0, 0.0), (0.7, 0.2)] {
            let config =
                NtXentConfig { learn_temperature: true, hard_negatives: beta, margin, ..NtXentConfig::default() };
            for sharing in Sharing::ALL {
                let mut case = Case::new(&LossConfig::NtXent(config.clone()), views(2, 7, 3), samples(2, 7, sharing));
                case.check_partitions();
                case.check_gradient();
                case.check_symmetry();
                case.check_errors();
            }
        }
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let store = nn::VarStore::new(tch::Device::Cpu);
        let error = |config: LossConfig| config.init(&store.root(), Outputs::of_dim(3)).err().unwrap().to_string();
        assert!(error(config(0.0, 0.0, 0.0)).starts_with("loss.temperature"));
        assert_eq!(error(config(0.1, -1.0, 0.0)), "loss.hard_negatives must be at least 0, got -1");
        assert!(error(config(0.1, 0.0, f64::NAN)).starts_with("loss.margin"));
        let text = "type = 'nt-xent'\nhard_negatives = 0.5\nmargin = 0.3\ntemperature = 0.2";
        assert_eq!(toml::from_str::<LossConfig>(text).unwrap(), config(0.2, 0.5, 0.3));
        assert!(toml::from_str::<LossConfig>("type = 'nt-xent'\nmargins = 0.3").is_err());
    }
}
