//! Dilated residual convolutions over one-hot bases, with both strands through the same weights (see
//! [`crate::strands`]).

use invar_dataset::ViewShape;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use super::{Encoded, Encoder, Grid, Mode, TokenShape, check_dropout, check_positive, unit_length};
use crate::{
    Batch, Error,
    error::describe_shape,
    layers::{Conv1d, Linear, RmsNorm, Window},
    strands,
};

/// Its name in a recipe.
pub const NAME: &str = "conv";

/// Settings of [`Conv`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConvConfig {
    /// Channels of the trunk, `C`.
    pub channels: usize,
    /// Residual blocks; block `i` is dilated by `2^(i mod 6)`.
    pub depth: usize,
    /// Width of a block's kernel, odd, in strides.
    pub kernel: usize,
    /// Width of the first kernel, odd, in bases.
    pub stem_kernel: usize,
    /// Bases between neighbouring positions after the first kernel.
    pub stride: usize,
    /// Embedding dimensions, `D`.
    pub dim: usize,
    /// Probability that a value inside a block is dropped in training.
    pub dropout: f64,
}

impl Default for ConvConfig {
    fn default() -> Self {
        Self { channels: 64, depth: 5, kernel: 5, stem_kernel: 15, stride: 4, dim: 128, dropout: 0.0 }
    }
}

impl ConvConfig {
    /// Builds the network for sequences of bases.
    ///
    /// # Errors
    /// If the views are not tokens of a vocabulary of at least 4, or a setting is out of range.
    pub fn init(&self, path: &nn::Path, shape: &ViewShape) -> Result<Conv, Error> {
        check_bases(NAME, shape)?;
        check_positive("encoder.channels", self.channels)?;
        check_positive("encoder.stride", self.stride)?;
        check_positive("encoder.dim", self.dim)?;
        check_dropout(self.dropout)?;
        for (key, width) in [("encoder.kernel", self.kernel), ("encoder.stem_kernel", self.stem_kernel)] {
            if width.is_multiple_of(2) {
                return Err(Error::config(key, "odd", width));
            }
        }
        let window = Window { stride: self.stride, padding: self.stem_kernel / 2, ..Window::of(self.stem_kernel) };
        let stem = Conv1d::new(path / "stem", strands::NUM_BASES as usize, self.channels, window);
        let blocks = (0..self.depth).map(|i| Block::new(self, &(path / format!("block{i}")), 1 << (i % 6))).collect();
        let norm = RmsNorm::new(path / "norm", self.channels, 1);
        let out = Linear::new(path / "out", 2 * self.channels, self.dim);
        Ok(Conv { config: self.clone(), stem, blocks, norm, out })
    }
}

/// `tokens -> both strands -> stem -> blocks -> mean and max over positions -> mean of strands -> linear -> [B, D]`,
/// unit length.
#[derive(Debug)]
pub struct Conv {
    config: ConvConfig,
    stem: Conv1d,
    blocks: Vec<Block>,
    norm: RmsNorm,
    out: Linear,
}

impl Encoder for Conv {
    fn encode(&self, batch: &Batch, mode: Mode) -> Result<Encoded, Error> {
        let (ids, lengths) = batch.sequences(NAME)?;
        let (ids, lengths) = strands::both(ids, lengths); // [2B, L], [2B]
        let mut x = self.stem.forward(&strands::one_hot(&ids)); // [2B, C, P], P = L / stride
        let lengths = strands::strided(&lengths, self.config.stride as i64);
        let mask = strands::mask(&lengths, x.size()[2]).unsqueeze(1); // [2B, 1, P]
        x *= &mask;
        for block in &self.blocks {
            x = block.forward(&x, &mask, if mode.train { self.config.dropout } else { 0.0 });
        }
        let x = self.norm.forward(&x);
        let largest = (&x + (&mask - 1.0) * 1e9).amax([-1i64], false); // [2B, C]
        let pooled = Tensor::cat(&[strands::masked_mean(&x, &mask), largest], 1); // [2B, 2C]
        let pooled = strands::merge(&pooled); // [B, 2C]
        let tokens = mode.tokens.then(|| strands::upright(&x).transpose(1, 2)); // [B, P, C]
        let grid = tokens.as_ref().map(|tokens| Grid { h: 1, w: tokens.size()[1], stride: self.config.stride as i64 });
        Ok(Encoded { embedding: unit_length(&self.out.forward(&pooled)), pooled, tokens, grid, attention: vec![] })
    }

    fn dim(&self) -> usize {
        self.config.dim
    }

    fn num_pooled(&self) -> usize {
        2 * self.config.channels
    }

    fn tokens(&self) -> Option<TokenShape> {
        Some(TokenShape { features: self.config.channels, stride: self.config.stride })
    }
}

/// `x + pointwise(gelu(dilated(norm(x))))`, zero in the padding.
#[derive(Debug)]
struct Block {
    norm: RmsNorm,
    dilated: Conv1d,
    pointwise: Conv1d,
}

impl Block {
    fn new(config: &ConvConfig, path: &nn::Path, dilation: usize) -> Self {
        let (channels, kernel) = (config.channels, config.kernel);
        let dilated = Window { padding: dilation * (kernel / 2), dilation, ..Window::of(kernel) };
        Self {
            norm: RmsNorm::new(path / "norm", channels, 1),
            dilated: Conv1d::new(path / "dilated", channels, channels, dilated),
            pointwise: Conv1d::new(path / "pointwise", channels, channels, Window::of(1)),
        }
    }

    /// `x` `[B, C, P]`, zero where `mask` `[B, 1, P]` is.
    fn forward(&self, x: &Tensor, mask: &Tensor, dropout: f64) -> Tensor {
        let mut y = self.dilated.forward(&self.norm.forward(x)).gelu("none");
        if dropout > 0.0 {
            y = y.dropout(dropout, true);
        }
        (x + self.pointwise.forward(&y)) * mask
    }
}

/// Rejects everything but tokens that include the four bases.
pub(super) fn check_bases(encoder: &'static str, shape: &ViewShape) -> Result<(), Error> {
    match shape {
        ViewShape::Tokens { vocabulary } if *vocabulary >= strands::NUM_BASES as usize => Ok(()),
        other => Err(Error::Shape {
            encoder,
            expected: "tokens of a vocabulary of at least 4 (bases)".into(),
            found: describe_shape(other),
        }),
    }
}
