//! Pre-norm transformer over patches of bases with rotary positions (Su et al., *RoFormer*, 2021), with both strands
//! through the same weights (see [`crate::strands`]).

use invar_dataset::ViewShape;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, nn};

use super::{Encoded, Encoder, Grid, Mode, TokenShape, check_dropout, check_positive, conv::check_bases, unit_length};
use crate::{
    Batch, Error,
    layers::{Conv1d, Linear, RmsNorm, Window},
    strands,
};

/// Its name in a recipe.
pub const NAME: &str = "transformer";

/// Base of the geometric progression of rotary wavelengths, as in RoFormer.
const ROTARY_BASE: f64 = 10_000.0;

/// Settings of [`Transformer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransformerConfig {
    /// Width of the trunk, `C`.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads; `width / heads` must be even.
    pub heads: usize,
    /// Width of a block's perceptron, as a multiple of the trunk's width.
    pub mlp_ratio: usize,
    /// Bases per patch: attention sees a sequence of `length / patch` positions.
    pub patch: usize,
    /// Embedding dimensions, `D`.
    pub dim: usize,
    /// Probability that a value is dropped in training, after attention and perceptron.
    pub dropout: f64,
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self { width: 128, depth: 4, heads: 4, mlp_ratio: 4, patch: 8, dim: 128, dropout: 0.0 }
    }
}

impl TransformerConfig {
    /// Builds the network for sequences of bases.
    ///
    /// # Errors
    /// If the views are not tokens of a vocabulary of at least 4, or a setting is out of range.
    pub fn init(&self, path: &nn::Path, shape: &ViewShape) -> Result<Transformer, Error> {
        check_bases(NAME, shape)?;
        for (key, size) in [
            ("encoder.width", self.width),
            ("encoder.heads", self.heads),
            ("encoder.mlp_ratio", self.mlp_ratio),
            ("encoder.patch", self.patch),
            ("encoder.dim", self.dim),
        ] {
            check_positive(key, size)?;
        }
        check_dropout(self.dropout)?;
        if !self.width.is_multiple_of(2 * self.heads) {
            let expected = format!("a multiple of twice encoder.heads ({})", self.heads);
            return Err(Error::config("encoder.width", &expected, self.width));
        }
        let window = Window { stride: self.patch, ..Window::of(self.patch) };
        Ok(Transformer {
            config: self.clone(),
            stem: Conv1d::new(path / "stem", strands::NUM_BASES as usize, self.width, window),
            blocks: (0..self.depth).map(|i| Block::new(self, &(path / format!("block{i}")))).collect(),
            norm: RmsNorm::new(path / "norm", self.width, 2),
            out: Linear::new(path / "out", self.width, self.dim),
        })
    }
}

/// `tokens -> both strands -> patches -> blocks -> mean over positions -> mean of strands -> linear -> [B, D]`, unit
/// length.
#[derive(Debug)]
pub struct Transformer {
    config: TransformerConfig,
    stem: Conv1d,
    blocks: Vec<Block>,
    norm: RmsNorm,
    out: Linear,
}

impl Encoder for Transformer {
    fn encode(&self, batch: &Batch, mode: Mode) -> Result<Encoded, Error> {
        let (ids, lengths) = batch.sequences(NAME)?;
        let (ids, lengths) = strands::both(ids, lengths); // [2B, L], [2B]
        let patch = self.config.patch as i64;
        let missing = (patch - ids.size()[1] % patch) % patch;
        let bases = strands::one_hot(&ids).constant_pad_nd([0, missing]); // [2B, 4, P * patch]
        let mut x = self.stem.forward(&bases).transpose(1, 2).contiguous(); // [2B, P, C]
        let num_patches = x.size()[1];
        let mask = strands::mask(&strands::strided(&lengths, patch), num_patches); // [2B, P]
        let attend = mask.to_kind(Kind::Bool).view([-1, 1, 1, num_patches]); // [2B, 1, 1, P]
        let rotary = Rotary::new(num_patches, (self.config.width / self.config.heads) as i64, x.device());
        let dropout = if mode.train { self.config.dropout } else { 0.0 };
        let mut attention = vec![];
        for block in &self.blocks {
            let found;
            (x, found) = block.forward(&x, &attend, &rotary, dropout, mode.attention);
            attention.extend(found.map(|weights| strands::upright(&weights))); // [B, H, P, P]
        }
        let x = self.norm.forward(&x).transpose(1, 2); // [2B, C, P]
        let pooled = strands::merge(&strands::masked_mean(&x, &mask.unsqueeze(1))); // [B, C]
        let tokens = mode.tokens.then(|| strands::upright(&x).transpose(1, 2)); // [B, P, C]
        let grid = tokens.as_ref().map(|_| Grid { h: 1, w: num_patches, stride: patch });
        Ok(Encoded { embedding: unit_length(&self.out.forward(&pooled)), pooled, tokens, grid, attention })
    }

    fn dim(&self) -> usize {
        self.config.dim
    }

    fn num_pooled(&self) -> usize {
        self.config.width
    }

    fn tokens(&self) -> Option<TokenShape> {
        Some(TokenShape { features: self.config.width, stride: self.config.patch })
    }
}

/// `x + attention(norm(x))`, then `x + perceptron(norm(x))`.
#[derive(Debug)]
struct Block {
    heads: i64,
    attention_norm: RmsNorm,
    query_key_value: Linear,
    attention_out: Linear,
    mlp_norm: RmsNorm,
    mlp_in: Linear,
    mlp_out: Linear,
}

impl Block {
    fn new(config: &TransformerConfig, path: &nn::Path) -> Self {
        let (width, inner) = (config.width, config.width * config.mlp_ratio);
        Self {
            heads: config.heads as i64,
            attention_norm: RmsNorm::new(path / "attention_norm", width, 2),
            query_key_value: Linear::new(path / "query_key_value", width, 3 * width),
            attention_out: Linear::new(path / "attention_out", width, width),
            mlp_norm: RmsNorm::new(path / "mlp_norm", width, 2),
            mlp_in: Linear::new(path / "mlp_in", width, inner),
            mlp_out: Linear::new(path / "mlp_out", inner, width),
        }
    }

    /// `x` `[B, P, C]`, `attend` `[B, 1, 1, P]`; with the attention weights `[B, H, P, P]` if `wanted`.
    fn forward(
        &self,
        x: &Tensor,
        attend: &Tensor,
        rotary: &Rotary,
        dropout: f64,
        wanted: bool,
    ) -> (Tensor, Option<Tensor>) {
        let drop = |y: Tensor| if dropout > 0.0 { y.dropout(dropout, true) } else { y };
        let (seen, weights) = self.attention(&self.attention_norm.forward(x), attend, rotary, wanted);
        let x = x + drop(seen);
        let inner = self.mlp_in.forward(&self.mlp_norm.forward(&x)).gelu("none");
        (&x + drop(self.mlp_out.forward(&inner)), weights)
    }

    fn attention(&self, x: &Tensor, attend: &Tensor, rotary: &Rotary, wanted: bool) -> (Tensor, Option<Tensor>) {
        let (batch, positions, width) = x.size3().expect("the trunk has three dimensions");
        let split = self.query_key_value.forward(x).view([batch, positions, 3, self.heads, width / self.heads]);
        let [q, k, v] = [0, 1, 2].map(|part| split.select(2, part).transpose(1, 2)); // [B, H, P, C / H]
        let (q, k) = (rotary.turn(&q), rotary.turn(&k));
        // The fused product keeps no weights.
        let (y, weights) = if wanted {
            let logits = q.matmul(&k.transpose(-2, -1)) / ((width / self.heads) as f64).sqrt();
            let weights = logits.masked_fill(&attend.logical_not(), f64::NEG_INFINITY).softmax(-1, None::<Kind>);
            (weights.matmul(&v), Some(weights))
        } else {
            (Tensor::scaled_dot_product_attention(&q, &k, &v, Some(attend), 0.0, false, None, false), None)
        };
        (self.attention_out.forward(&y.transpose(1, 2).reshape([batch, positions, width])), weights)
    }
}

/// Rotary positions: pairs of channels are rotated by an angle that grows with the position, so that a product of query
/// and key depends only on the distance between them.
struct Rotary {
    cos: Tensor, // [P, C / H]
    sin: Tensor,
}

impl Rotary {
    fn new(num_positions: i64, width: i64, device: Device) -> Self {
        let half = width / 2;
        let exponents = Tensor::arange(half, (Kind::Float, device)) * (-ROTARY_BASE.ln() / half as f64);
        let positions = Tensor::arange(num_positions, (Kind::Float, device));
        let angles = positions.outer(&exponents.exp()); // [P, C / 2H]
        let angles = Tensor::cat(&[&angles, &angles], 1);
        Self { cos: angles.cos(), sin: angles.sin() }
    }

    fn turn(&self, x: &Tensor) -> Tensor {
        let halves = x.chunk(2, -1);
        let turned = Tensor::cat(&[&halves[1].neg(), &halves[0]], -1);
        x * &self.cos + turned * &self.sin
    }
}
