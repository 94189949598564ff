//! The sigmoid loss: Zhai, Mustafa, Kolesnikov and Beyer, *Sigmoid loss for language image pre-training* (SigLIP, 2023).
//!
//! With unit vectors `x_i`, `y_j` of the two views, `s = 1 / temperature`, a learned bias `b`, and `t_ij` 1 for the views
//! of a pair, else -1:
//!
//! ```text
//! L = -1/B sum_i sum_j ln sigmoid( t_ij (s x_i . y_j + b) )
//! ```
//!
//! Each pair is judged on its own, and nothing is normalised over the batch. The bias starts low because nearly all
//! pairs are negatives. Rows of one sample beside the pair itself are left out.

use invar_nn::Encoded;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::{
    Context, Error, Head, Loss, LossOutput,
    pairs::{Places, check_two, report, scale_of},
    rows::{Criterion, Positive, Rows},
};

/// The name in a recipe.
pub const NAME: &str = "sigmoid";

/// Settings of [`Sigmoid`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SigmoidConfig {
    /// Divides the cosines; where it is learned, its first value, in `[0.01, 1]`.
    pub temperature: f64,
    /// Whether the temperature is learned, as `head.sigmoid.logit_scale = ln(1 / temperature)`, clamped to `[0, ln 100]`
    /// after every step. On by default, as in the paper.
    pub learn_temperature: bool,
    /// Widths of a projection head, ReLU between its layers; empty for none.
    pub projection: Vec<usize>,
    /// First value of `head.sigmoid.bias`, which is learned.
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
    /// When a setting is out of range.
    pub fn init(&self, path: &nn::Path, dim: usize) -> Result<Sigmoid, Error> {
        if !self.bias.is_finite() {
            return Err(Error::Config { key: "loss.bias", expected: "finite", found: self.bias.to_string() });
        }
        let head = Head::new(path, dim, self.temperature, self.learn_temperature, &self.projection)?;
        Ok(Sigmoid { head, bias: path.var("bias", &[], nn::Init::Const(self.bias)) })
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Sigmoid {
    head: Head,
    bias: Tensor,
}

impl Loss for Sigmoid {
    fn project(&self, view: &Encoded) -> Tensor {
        self.head.project(view)
    }

    fn criterion(&self, views: &[Tensor], context: &Context) -> Result<LossOutput, Error> {
        let (x, y, num_pairs) = check_two(NAME, views, context)?;
        let (places, own) = (Places::of(context.samples)?, context.own.clone());
        let relate = |i: i64| {
            let same = places.places(places.id(i)).iter();
            same.map(move |&j| Positive { row: i, col: j, weight: f64::from(u8::from(i == j)) })
        };
        let first = own.start;
        let positives: Vec<Positive> =
            own.clone().flat_map(relate).map(|p| Positive { row: p.row - first, ..p }).collect();
        let rows = Rows {
            anchors: x.narrow(0, first, own.end - first),
            keys: y.shallow_clone(),
            positives: &positives,
            scale: &scale_of(&self.head, x),
            criterion: Criterion::Sigmoid { bias: &self.bias },
        };
        let mut output = report(NAME, &rows.sums()?, num_pairs, None, context, &self.head);
        output.metrics.push(("bias", self.bias.detach() * ((own.end - first) as f64 / num_pairs as f64)));
        Ok(output)
    }

    fn after_step(&mut self, _context: &Context) {
        self.head.clamp();
    }
}
