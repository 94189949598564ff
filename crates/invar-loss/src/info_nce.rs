//! Symmetric InfoNCE: van den Oord, Li and Vinyals, *Representation learning with contrastive predictive coding*
//! (2018), in the two-directional form of CLIP (Radford et al. 2021).
//!
//! With unit vectors `q_i`, `k_i` of the two views of pair `i`, and `s = 1 / temperature`:
//!
//! ```text
//! l_ij = s q_i . k_j                                                              [B, B]
//! L    = 1/2 mean_i [ logsumexp_j l_ij - l_ii ] + 1/2 mean_j [ logsumexp_i l_ij - l_jj ]
//! ```
//!
//! An encoder that tells nothing apart has `L = ln B`, so `loss / ln B` near 1 means that nothing is learned yet.

use invar_nn::{Encoded, layers::linear, unit_length};
use serde::{Deserialize, Serialize};
use tch::{
    Kind, Tensor,
    nn::{self, Module},
};

use crate::{Error, Loss, LossOutput};

/// The name in a recipe.
pub const NAME: &str = "info-nce";

/// CLIP's bound on the learned scale: a temperature of at least 0.01 and at most 1.
const LOGIT_SCALE_MAX: f64 = 4.605_170_185_988_092; // ln 100

/// Settings of [`InfoNce`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InfoNceConfig {
    /// Divides the cosines; where it is learned, its first value, in `[0.01, 1]`.
    pub temperature: f64,
    /// Whether the temperature is learned, as `head.info_nce.logit_scale = ln(1 / temperature)`, clamped to
    /// `[0, ln 100]` after every step.
    pub learn_temperature: bool,
    /// Widths of a projection head, ReLU between its layers; empty for none.
    pub projection: Vec<usize>,
}

impl Default for InfoNceConfig {
    fn default() -> Self {
        Self { temperature: 0.1, learn_temperature: false, projection: Vec::new() }
    }
}

impl InfoNceConfig {
    /// Builds the loss over embeddings of `dim` dimensions.
    ///
    /// # Errors
    /// When the temperature or a width is out of range.
    pub fn init(&self, path: &nn::Path, dim: usize) -> Result<InfoNce, Error> {
        let found = self.temperature.to_string();
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(Error::Config { key: "loss.temperature", expected: "above 0", found });
        }
        if self.learn_temperature && !(0.01..=1.0).contains(&self.temperature) {
            return Err(Error::Config { key: "loss.temperature", expected: "in [0.01, 1] to be learned", found });
        }
        let logit_scale = -self.temperature.ln();
        let scale = if self.learn_temperature {
            Scale::Learned(path.var("logit_scale", &[], nn::Init::Const(logit_scale)))
        } else {
            Scale::Fixed(1.0 / self.temperature)
        };
        let mut width = dim;
        let mut projection = Vec::with_capacity(self.projection.len());
        for (number, &next) in self.projection.iter().enumerate() {
            if next == 0 {
                return Err(Error::Config {
                    key: "loss.projection",
                    expected: "widths of at least 1",
                    found: "0".into(),
                });
            }
            projection.push(linear(path / format!("projection{number}"), width, next));
            width = next;
        }
        Ok(InfoNce { scale, projection })
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct InfoNce {
    scale: Scale,
    projection: Vec<nn::Linear>,
}

#[derive(Debug)]
enum Scale {
    /// `1 / temperature`.
    Fixed(f64),
    /// `ln(1 / temperature)`, a scalar.
    Learned(Tensor),
}

impl Loss for InfoNce {
    fn forward(&self, views: &[Encoded], _train: bool) -> Result<LossOutput, Error> {
        let [first, second] = views else {
            return Err(Error::Views { loss: NAME, expected: 2, found: views.len() });
        };
        check_rows(&first.embedding, &second.embedding)?;
        let (q, k) = (self.project(&first.embedding), self.project(&second.embedding)); // [B, P]
        let (scale, temperature) = match &self.scale {
            Scale::Fixed(scale) => (Tensor::from(*scale).to_kind(q.kind()).to_device(q.device()), 1.0 / scale),
            Scale::Learned(logit_scale) => (logit_scale.exp(), f64::NAN),
        };
        let logits = scaled_logits(&q, &k, &scale); // [B, B]
        let loss = symmetric_cross_entropy(&logits);
        let metrics = tch::no_grad(|| {
            let temperature = if temperature.is_nan() { scale.reciprocal() } else { Tensor::from(temperature) };
            vec![
                ("loss_over_ln_n", &loss / (logits.size()[0] as f64).ln()),
                ("accuracy", accuracy(&logits)),
                ("temperature", temperature),
                ("embedding_std", embedding_std(&[&first.embedding, &second.embedding])),
            ]
        });
        Ok(LossOutput { terms: vec![(NAME, loss)], metrics })
    }

    fn after_step(&mut self) {
        if let Scale::Learned(logit_scale) = &mut self.scale {
            tch::no_grad(|| {
                let _ = logit_scale.clamp_(0.0, LOGIT_SCALE_MAX);
            });
        }
    }
}

impl InfoNce {
    fn project(&self, embedding: &Tensor) -> Tensor {
        let Some((last, inner)) = self.projection.split_last() else { return embedding.shallow_clone() };
        let mut x = embedding.shallow_clone();
        for layer in inner {
            x = layer.forward(&x).relu();
        }
        unit_length(&last.forward(&x))
    }
}

fn check_rows(q: &Tensor, k: &Tensor) -> Result<(), Error> {
    if q.size() != k.size() {
        return Err(Error::Shape { loss: NAME, first: q.size(), view: 1, found: k.size() });
    }
    match q.size()[0] {
        found @ ..2 => Err(Error::TooFew { loss: NAME, found }),
        _ => Ok(()),
    }
}

/// `s q_i . k_j` `[B, B]`; the scale is multiplied into the smaller matrix.
fn scaled_logits(q: &Tensor, k: &Tensor, scale: &Tensor) -> Tensor {
    (q * scale).matmul(&k.tr())
}

/// The mean of the cross-entropies over rows and over columns, the positives on the diagonal: a scalar.
fn symmetric_cross_entropy(logits: &Tensor) -> Tensor {
    let rows = logits.logsumexp([1i64], false); // [B]
    let columns = logits.logsumexp([0i64], false); // [B]
    let positives = logits.diagonal(0, 0, 1); // [B]
    ((rows + columns) * 0.5 - positives).mean(None::<Kind>)
}

/// How often the positive is the nearest in the batch, mean over both directions: a scalar in `[0, 1]`.
fn accuracy(logits: &Tensor) -> Tensor {
    let truth = Tensor::arange(logits.size()[0], (Kind::Int64, logits.device()));
    let hits = |dim: i64| logits.argmax(dim, false).eq_tensor(&truth).to_kind(Kind::Float).mean(None::<Kind>);
    (hits(1) + hits(0)) * 0.5
}

/// Standard deviation of each dimension over the batch, averaged, times `sqrt(D)`: about 1 when the embeddings fill
/// the sphere, 0 when they have collapsed to a point.
fn embedding_std(views: &[&Tensor]) -> Tensor {
    let all = Tensor::cat(views, 0); // [2B, D]
    let root_dim = (all.size()[1] as f64).sqrt();
    all.std_dim(&[0i64][..], false, false).mean(None::<Kind>) * root_dim
}
