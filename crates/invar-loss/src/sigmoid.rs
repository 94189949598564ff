//! The sigmoid loss: Zhai, Mustafa, Kolesnikov and Beyer, *Sigmoid loss for language image pre-training* (SigLIP,
//! 2023).
//!
//! With unit vectors `x_i`, `y_j` of the two views, `s = 1 / temperature`, a learned bias `b`, and `t_ij` 1 for the
//! views of a pair, else -1:
//!
//! ```text
//! L = -1/B sum_i sum_j ln sigmoid( t_ij (s x_i . y_j + b) )
//! ```
//!
//! Each pair is judged separately, and nothing is normalised over the batch. The bias starts low because nearly all
//! pairs are negatives. Related rows other than the pair itself (of one sample, or of two that are paired) are left
//! out.
//!
//! If pairs have groups, rows of one group are left out too, and a negative weighs `(w_i + w_j) / 2`: `y_j` is one of
//! the negatives of `x_i`, whose group weighs 1 in that sum, just as `x_i` is one of those of `y_j`.

use invar_nn::Weights;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::{
    Context, Error, Head, Loss, LossOutput,
    groups::Groups,
    pairs::{check_two, one_with_other, own_with_all, report, scale_of},
    rows::{Criterion, Rows},
};

/// Its name in a recipe.
pub const NAME: &str = "sigmoid";

/// Settings of [`Sigmoid`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SigmoidConfig {
    /// Divides the cosines; if it is learned, its initial value, in `[0.01, 1]`.
    pub temperature: f64,
    /// Whether the temperature is learned, as `head.sigmoid.logit_scale = ln(1 / temperature)`, clamped to
    /// `[0, ln 100]` after every step. On by default, as in the paper.
    pub learn_temperature: bool,
    /// Widths of a projection head, with ReLU between its layers; empty for none.
    pub projection: Vec<usize>,
    /// Initial value of `head.sigmoid.bias`, which is learned.
    pub bias: f64,
}

impl Default for SigmoidConfig {
    fn default() -> Self {
        Self { temperature: 0.1, learn_temperature: true, projection: vec![], bias: -10.0 }
    }
}

impl SigmoidConfig {
    /// Builds the loss over embeddings of `dim` dimensions.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn init(&self, path: &nn::Path, dim: usize) -> Result<Sigmoid, Error> {
        if !self.bias.is_finite() {
            return Err(Error::Config { key: "loss.bias", expected: "finite", found: self.bias.to_string() });
        }
        let head = Head::new(path, dim, self.temperature, self.learn_temperature, &self.projection)?;
        Ok(Sigmoid { head, bias: path.var("bias", &[], nn::Init::Const(self.bias)).into() })
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Sigmoid {
    head: Head,
    bias: Weights,
}

impl Loss for Sigmoid {
    fn head(&self) -> Option<&Head> {
        Some(&self.head)
    }

    fn criterion(&self, views: &[Tensor], context: &Context) -> Result<LossOutput, Error> {
        let (x, y, num_pairs) = check_two(NAME, views, context)?;
        let own = context.own();
        let (first, positives) = (own.start, one_with_other(context.relations, 0));
        let scale = scale_of(&self.head, x);
        let groups = Groups::of_pairs(context.relations.samples());
        let rows = Rows {
            anchors: x.narrow(0, first, own.end - first),
            keys: y.shallow_clone(),
            positives: &positives,
            groups: groups.map(|groups| own_with_all(&groups, context, &scale)),
            scale: &scale,
            criterion: Criterion::Sigmoid { bias: &self.bias },
        };
        let mut output = report(NAME, &rows.sums()?, num_pairs, None, context, &self.head);
        output.metrics.push(("bias".to_owned(), self.bias.detach() * ((own.end - first) as f64 / num_pairs as f64)));
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use invar_nn::SampleIds;

    use super::*;
    use crate::{
        LossConfig,
        testing::{Case, F64, Sharing, dot, is_negative, once, one_group, samples, views, weight},
    };

    fn config(temperature: f64, bias: f64) -> LossConfig {
        let default = SigmoidConfig::default();
        LossConfig::Sigmoid(SigmoidConfig { temperature, bias, learn_temperature: false, ..default })
    }

    /// The definition, one value at a time.
    fn oracle(views: &[Tensor], samples: &SampleIds, temperature: f64, bias: f64) -> f64 {
        let (n, mut sum) = (samples.num_pairs() as i64, 0.0);
        for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let logit = dot(&views[0], i, &views[1], j) / temperature + bias;
            if i == j {
                sum += (-logit).exp().ln_1p();
            } else if is_negative(samples, (0, i as usize), (1, j as usize)) {
                let weights = [i, j].map(|pair| weight(samples, pair as usize));
                sum += (weights[0] + weights[1]) / 2.0 * logit.exp().ln_1p();
            }
        }
        sum / n as f64
    }

    #[test]
    fn agrees_with_the_definition() {
        for n in [2, 3, 5, 17, 64] {
            for d in [1, 2, 7] {
                for (temperature, bias) in [(0.05, -10.0), (0.1, 0.0), (1.0, -10.0), (3.0, 2.5)] {
                    for sharing in Sharing::ALL {
                        let ids = samples(2, n as usize, sharing);
                        let case = Case::new(&config(temperature, bias), views(2, n, d), ids);
                        let expected = oracle(&case.views, &case.samples, temperature, bias);
                        let found = case.value();
                        assert!((found - expected).abs() < 1e-9 * expected.max(1.0), "{n} {d}: {found} {expected}");
                    }
                }
            }
        }
    }

    // q, k = (torch.nn.functional.normalize(torch.sin(torch.arange(12, dtype=torch.float64) * f).view(4, 3), dim=1)
    //         for f in (1.0, 0.7))
    // t = 2 * torch.eye(4, dtype=torch.float64) - 1
    // print(-torch.nn.functional.logsigmoid(t * (q @ k.T / 0.1 - 10)).sum() / 4)
    #[test]
    fn agrees_with_pytorch() {
        let found = Case::new(&config(0.1, -10.0), views(2, 4, 3), once(4)).value();
        assert!((found - 11.494950223114152).abs() < 1e-10, "{found}");
    }

    #[test]
    fn closed_forms() {
        // Orthogonal samples, identical views, s = 10, b = -10: ln 2 for the pair, and 4 ln(1 + e^-10).
        let case = Case::new(&config(0.1, -10.0), vec![Tensor::eye(5, F64), Tensor::eye(5, F64)], once(5));
        let expected = 2f64.ln() + 4.0 * (-10f64).exp().ln_1p();
        assert!((case.value() - expected).abs() < 1e-12);
        assert_eq!((case.metric("accuracy"), case.metric("bias")), (1.0, -10.0));
        // The same in a single group: only the pairs are left.
        let case = Case::new(&config(0.1, -10.0), vec![Tensor::eye(5, F64), Tensor::eye(5, F64)], one_group(5));
        assert!((case.value() - 2f64.ln()).abs() < 1e-12);
        assert_eq!(case.metric("accuracy"), 1.0);
    }

    #[test]
    fn holds_what_every_loss_must() {
        for sharing in Sharing::ALL {
            let config = LossConfig::Sigmoid(SigmoidConfig { bias: -2.0, ..SigmoidConfig::default() });
            let mut case = Case::new(&config, views(2, 7, 3), samples(2, 7, sharing));
            case.check_partitions();
            case.check_gradient();
            case.check_symmetry();
            case.check_errors();
        }
    }

    #[test]
    fn scale_and_bias_start_as_in_the_paper() {
        let mut case = Case::new(&LossConfig::Sigmoid(SigmoidConfig::default()), views(2, 4, 3), once(4));
        let variables = case.store.variables();
        assert_eq!(variables["head.sigmoid.bias"].double_value(&[]), -10.0);
        let mut scale = variables["head.sigmoid.logit_scale"].shallow_clone();
        assert!((scale.double_value(&[]) - 10f64.ln()).abs() < 1e-6);
        let _ = tch::no_grad(|| scale.fill_(9.0));
        case.after_step(true);
        assert!((scale.double_value(&[]) - 100f64.ln()).abs() < 1e-12);
        let bad = SigmoidConfig { bias: f64::NAN, ..SigmoidConfig::default() };
        let error = bad.init(&case.store.root(), 3).unwrap_err().to_string();
        assert_eq!(error, "loss.bias must be finite, got NaN");
    }
}
