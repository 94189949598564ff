//! Multi-layer perceptron on a k-mer profile: the encoder of metagenome binners (VAMB, SemiBin2, COMEBin), fast on a
//! CPU.
//!
//! The profile is canonical (a k-mer and its reverse complement are one feature), so the embedding does not depend on
//! the strand even before the first weight. The choice of k, and how counts become features, is up to the source.

use invar_dataset::ViewShape;
use serde::{Deserialize, Serialize};
use tch::{Kind, nn};

use super::{Encoded, Encoder, Mode, check_dropout, check_positive, unit_length};
use crate::{
    Batch, Error,
    error::describe_shape,
    layers::{LayerNorm, Linear, Precision},
    standardise::standardise,
};

/// Its name in a recipe.
pub const NAME: &str = "kmer-mlp";

/// Settings of [`KmerMlp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KmerMlpConfig {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Embedding dimensions, `D`.
    pub dim: usize,
    /// Probability that a hidden value is dropped in training.
    pub dropout: f64,
    /// Whether the profile is first scaled to mean 0 and variance 1, each view separately.
    pub input_norm: bool,
    /// Whether each hidden layer is normalised before its activation.
    pub norm: bool,
    /// Format of the layers: of the factors in their products, and of their outputs. Outside training the last layer is
    /// f32, so that embeddings have all their bits.
    pub precision: Precision,
}

impl Default for KmerMlpConfig {
    fn default() -> Self {
        Self { hidden: vec![512, 512], dim: 128, dropout: 0.0, input_norm: true, norm: true, precision: Precision::F32 }
    }
}

impl KmerMlpConfig {
    /// Builds the network for profiles `[F]`.
    ///
    /// # Errors
    /// If the views are not dense vectors, or a width is 0.
    pub fn init(&self, path: &nn::Path, shape: &ViewShape) -> Result<KmerMlp, Error> {
        let ViewShape::Dense(extents) = shape else { return Err(wrong_shape(shape)) };
        let &[num_features] = extents.as_slice() else { return Err(wrong_shape(shape)) };
        check_positive("encoder.dim", self.dim)?;
        check_dropout(self.dropout)?;
        let mut width = num_features;
        let mut layers = Vec::with_capacity(self.hidden.len());
        for (number, &hidden) in self.hidden.iter().enumerate() {
            check_positive("encoder.hidden", hidden)?;
            let path = path / format!("layer{number}");
            let norm = self.norm.then(|| LayerNorm::new(&path / "norm", hidden));
            layers.push((Linear::new(&path / "linear", width, hidden), norm));
            width = hidden;
        }
        let out = Linear::new(path / "out", width, self.dim);
        Ok(KmerMlp { num_features: num_features as i64, config: self.clone(), layers, out })
    }
}

fn wrong_shape(shape: &ViewShape) -> Error {
    Error::Shape { encoder: NAME, expected: "dense [F] (a k-mer profile)".into(), found: describe_shape(shape) }
}

/// `[B, F] -> (linear, layer norm, ReLU)* -> linear -> [B, D]`, unit length.
#[derive(Debug)]
pub struct KmerMlp {
    num_features: i64,
    config: KmerMlpConfig,
    layers: Vec<(Linear, Option<LayerNorm>)>,
    out: Linear,
}

impl Encoder for KmerMlp {
    fn encode(&self, batch: &Batch, mode: Mode) -> Result<Encoded, Error> {
        let x = batch.features(NAME, self.num_features)?; // [B, F]
        let precision = self.config.precision;
        let mut x = if self.config.input_norm { standardise(x, precision.kind()) } else { x.shallow_clone() };
        for (linear, norm) in &self.layers {
            x = precision.apply(linear, &x); // [B, hidden]
            if let Some(norm) = norm {
                x = norm.forward(&x.to_kind(Kind::Float));
            }
            x = x.relu_();
            if mode.train && self.config.dropout > 0.0 {
                x = x.dropout(self.config.dropout, true);
            }
        }
        // Stored embeddings keep all their bits.
        let precision = if mode.train { precision } else { Precision::F32 };
        let projected = precision.apply(&self.out, &x).to_kind(Kind::Float); // [B, D]
        let pooled = x.to_kind(Kind::Float); // [B, F] or [B, hidden]
        Ok(Encoded { embedding: unit_length(&projected), pooled, tokens: None, grid: None, attention: vec![] })
    }

    fn dim(&self) -> usize {
        self.config.dim
    }

    fn num_pooled(&self) -> usize {
        self.config.hidden.last().copied().unwrap_or(self.num_features as usize)
    }
}
