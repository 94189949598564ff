//! From a batch to embeddings. To add an encoder: a file here, a variant of [`EncoderConfig`], an arm of
//! [`EncoderConfig::init`].

pub mod conv;
pub mod gnn;
pub mod kmer_mlp;
pub mod node_gnn;
pub mod resnet;
pub mod transformer;

use invar_dataset::ViewShape;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::{Batch, Error, rotations::Orientations};
use conv::ConvConfig;
use gnn::GnnConfig;
use kmer_mlp::KmerMlpConfig;
use node_gnn::NodeGnnConfig;
pub(crate) use resnet::ConvNorm;
use resnet::{NormKind, ResNetConfig};
use transformer::TransformerConfig;

/// The output of an encoder for a batch.
#[derive(Debug)]
pub struct Encoded {
    /// One vector of unit length per view `[B, D]`.
    pub embedding: Tensor,
    /// The input of the last layer `[B, P]`, f32: the features of a view after pooling.
    pub pooled: Tensor,
    /// One vector per position `[B, L, K]`, of the view as given (not of its other strand, nor rotated): present if
    /// requested ([`Mode::tokens`]) and the encoder has them.
    pub tokens: Option<Tensor>,
    /// The layout of `tokens`, if present: `L = h * w`; for a sequence, one row.
    pub grid: Option<Grid>,
    /// How much each position attends to each, `[B, H, L, L]` for `H` heads, one tensor per layer, first layer first:
    /// present if requested ([`Mode::attention`]) and the encoder has attention. Rows sum to 1; nothing attends to
    /// padding.
    pub attention: Vec<Tensor>,
}

/// What a batch is encoded for, and what is requested besides the embedding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// Whether the weights will learn from it: dropout is on, and running means are updated. Otherwise nothing in the
    /// encoder changes.
    pub train: bool,
    /// Whether [`Encoded::tokens`] are wanted.
    pub tokens: bool,
    /// Whether [`Encoded::attention`] is wanted: it rules out the fused product of queries, keys and values, and takes
    /// `L x L` numbers per head and layer.
    pub attention: bool,
}

impl Mode {
    /// To use the embedding.
    pub const EMBED: Self = Self { train: false, tokens: false, attention: false };
    /// To learn from the embedding.
    pub const TRAIN: Self = Self { train: true, ..Self::EMBED };
}

/// What an encoder gives, by size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// Dimensions of [`Encoded::embedding`].
    pub dim: usize,
    /// Dimensions of [`Encoded::pooled`].
    pub num_pooled: usize,
    /// Of its tokens; `None` if it has none.
    pub tokens: Option<TokenShape>,
}

impl Outputs {
    /// Of an encoder that gives embeddings of `dim` dimensions, pooled features of as many, and no tokens.
    pub fn of_dim(dim: usize) -> Self {
        Self { dim, num_pooled: dim, tokens: None }
    }
}

impl Encoded {
    /// Embeddings alone, which are also the pooled features.
    pub fn of(embedding: Tensor) -> Self {
        Self { pooled: embedding.shallow_clone(), embedding, tokens: None, grid: None, attention: vec![] }
    }

    /// Only views `first..first + count`.
    pub fn rows(&self, first: i64, count: i64) -> Self {
        Self {
            embedding: self.embedding.narrow(0, first, count),
            pooled: self.pooled.narrow(0, first, count),
            tokens: self.tokens.as_ref().map(|t| t.narrow(0, first, count)),
            grid: self.grid,
            attention: self.attention.iter().map(|layer| layer.narrow(0, first, count)).collect(),
        }
    }
}

/// The shape of an encoder's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenShape {
    /// Dimension of a token, `K`.
    pub features: usize,
    /// Input positions that a token covers: token `p` covers those from `p * stride` on.
    pub stride: usize,
}

/// Names of the encoders that have tokens.
pub const WITH_TOKENS: [&str; 6] =
    [conv::NAME, transformer::NAME, resnet::NAME, resnet::NAME_C4, resnet::NAME_C8, gnn::NAME];

/// The lattice of a feature map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Rows.
    pub h: i64,
    /// Columns.
    pub w: i64,
    /// Input pixels, or tokens of a sequence, between neighbours.
    pub stride: i64,
}

/// Turns a batch into embeddings. Several threads may use one encoder at the same time, so its parameters are
/// [`Weights`](crate::Weights), and whatever changes behind a shared reference has a lock. The compiler rejects
/// anything else, for instance a cache without one:
///
/// ```compile_fail,E0277
/// use std::cell::RefCell;
/// use invar_nn::{Batch, Encoded, Encoder, Error, Mode};
/// struct Cached {
///     rotary: RefCell<Option<tch::Tensor>>,
/// }
/// impl Encoder for Cached {
///     fn encode(&self, _: &Batch, _: Mode) -> Result<Encoded, Error> {
///         Err(Error::Empty)
///     }
///     fn dim(&self) -> usize {
///         1
///     }
///     fn num_pooled(&self) -> usize {
///         1
///     }
/// }
/// ```
///
/// ```
/// use std::sync::Mutex;
/// use invar_nn::{Batch, Encoded, Encoder, Error, Mode};
/// struct Cached {
///     rotary: Mutex<Option<tch::Tensor>>,
/// }
/// impl Encoder for Cached {
///     fn encode(&self, _: &Batch, _: Mode) -> Result<Encoded, Error> {
///         Err(Error::Empty)
///     }
///     fn dim(&self) -> usize {
///         1
///     }
///     fn num_pooled(&self) -> usize {
///         1
///     }
/// }
/// ```
pub trait Encoder: Send + Sync {
    /// Encodes a batch on the encoder's device. Whatever is requested that the encoder does not have is left out.
    ///
    /// # Errors
    /// If the batch does not have the shape that the encoder was built for.
    fn encode(&self, batch: &Batch, mode: Mode) -> Result<Encoded, Error>;

    /// Embedding dimensions, `D`.
    fn dim(&self) -> usize;

    /// Dimension of the last layer's input, `P`.
    fn num_pooled(&self) -> usize;

    /// The shape of its tokens; `None` for an encoder that has none.
    fn tokens(&self) -> Option<TokenShape> {
        None
    }
}

/// The encoder in a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum EncoderConfig {
    /// Multi-layer perceptron on a canonical k-mer profile.
    KmerMlp(KmerMlpConfig),
    /// Dilated residual convolutions over bases.
    Conv(ConvConfig),
    /// Transformer over patches of bases.
    Transformer(TransformerConfig),
    /// Residual network over images.
    Resnet(ResNetConfig),
    /// The same, averaged over four quarter turns of the image: exactly invariant to them, at four times the cost.
    ResnetC4(ResNetConfig),
    /// The same, averaged over eight eighth turns: exactly invariant to quarter turns, at eight times the cost.
    ResnetC8(ResNetConfig),
    /// Message passing over graphs.
    Gnn(GnnConfig),
    /// Means over the neighbours of nodes.
    NodeGnn(NodeGnnConfig),
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self::KmerMlp(KmerMlpConfig::default())
    }
}

/// What an encoder reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// A vector of features, `[F]`.
    Features,
    /// A sequence of tokens, `[L]`.
    Tokens,
    /// A picture, `[C, H, W]`.
    Pictures,
    /// A graph with features at its nodes.
    Graphs,
    /// A node of a graph, and what surrounds it.
    Nodes,
}

impl EncoderConfig {
    /// What it reads.
    pub fn sees(&self) -> Sees {
        match self {
            Self::KmerMlp(_) => Sees::Features,
            Self::Conv(_) | Self::Transformer(_) => Sees::Tokens,
            Self::Resnet(_) | Self::ResnetC4(_) | Self::ResnetC8(_) => Sees::Pictures,
            Self::Gnn(_) => Sees::Graphs,
            Self::NodeGnn(_) => Sees::Nodes,
        }
    }

    /// Whether, even in training, the embedding of a view depends only on that view and the weights: no norm over the
    /// batch, nothing drawn at random. Then the parts of a batch can be encoded at the same time.
    pub fn is_row_wise(&self) -> bool {
        match self {
            Self::KmerMlp(config) => config.dropout == 0.0,
            Self::Conv(config) => config.dropout == 0.0,
            Self::Transformer(config) => config.dropout == 0.0,
            Self::Gnn(config) => config.dropout == 0.0,
            Self::NodeGnn(config) => config.dropout == 0.0,
            Self::Resnet(config) | Self::ResnetC4(config) | Self::ResnetC8(config) => config.norm != NormKind::Batch,
        }
    }

    /// Builds the encoder for views of a shape, with its parameters under `path` (by convention `trunk`).
    ///
    /// Weights are drawn from LibTorch's default generator, so that `tch::manual_seed` determines them. They are
    /// uniform: in linear layers and convolutions over bases within `±sqrt(6 / fan_in)` (He et al. 2015), in
    /// convolutions over images within `±1/sqrt(fan_in)` (PyTorch's default). Biases of linear layers are uniform
    /// within `±1/sqrt(fan_in)`, all others are 0, scales of norms 1.
    ///
    /// # Errors
    /// If the encoder cannot read views of this shape (both are named), or a setting is out of range.
    pub fn init(&self, path: &nn::Path, shape: &ViewShape) -> Result<Box<dyn Encoder>, Error> {
        Ok(match self {
            Self::KmerMlp(config) => Box::new(config.init(path, shape)?),
            Self::Conv(config) => Box::new(config.init(path, shape)?),
            Self::Transformer(config) => Box::new(config.init(path, shape)?),
            Self::Resnet(config) => Box::new(config.init(path, shape, Orientations::One)?),
            Self::ResnetC4(config) => Box::new(config.init(path, shape, Orientations::C4)?),
            Self::ResnetC8(config) => Box::new(config.init(path, shape, Orientations::C8)?),
            Self::Gnn(config) => Box::new(config.init(path, shape)?),
            Self::NodeGnn(config) => Box::new(config.init(path, shape)?),
        })
    }

    /// Its name in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::KmerMlp(_) => kmer_mlp::NAME,
            Self::Conv(_) => conv::NAME,
            Self::Transformer(_) => transformer::NAME,
            Self::Resnet(_) => resnet::NAME,
            Self::ResnetC4(_) => resnet::NAME_C4,
            Self::ResnetC8(_) => resnet::NAME_C8,
            Self::Gnn(_) => gnn::NAME,
            Self::NodeGnn(_) => node_gnn::NAME,
        }
    }
}

/// Scales the rows of `x` `[B, D]` to length one; a zero row stays zero, with a finite gradient.
pub fn unit_length(x: &Tensor) -> Tensor {
    // Clamped before the root, whose slope at 0 is infinite.
    x / x.square().sum_dim_intlist(-1, true, None).clamp_min(1e-24).sqrt()
}

/// Rejects a dropout probability outside `[0, 1)`.
pub(crate) fn check_dropout(dropout: f64) -> Result<(), Error> {
    if (0.0..1.0).contains(&dropout) { Ok(()) } else { Err(Error::config("encoder.dropout", "in [0, 1)", dropout)) }
}

/// Rejects a size of zero.
pub(crate) fn check_positive(key: &str, size: usize) -> Result<(), Error> {
    if size > 0 { Ok(()) } else { Err(Error::config(key, "at least 1", size)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn a_row_of_zeros_has_a_finite_gradient() {
        let x = Tensor::from_slice(&[0f32, 0., 3., 4.]).view([2, 2]).set_requires_grad(true);
        let unit = unit_length(&x);
        (&unit * Tensor::from_slice(&[1f32, 1.])).sum(Kind::Float).backward();
        assert_eq!(Vec::<f32>::try_from(unit.detach().flatten(0, 1)).unwrap(), [0., 0., 0.6, 0.8]);
        let gradient = Vec::<f32>::try_from(x.grad().flatten(0, 1)).unwrap();
        assert!(gradient[..2].iter().all(|g| g.is_finite()), "{gradient:?}");
        // d(x / |x|) . (1, 1) = ((1, 1) - u (u . (1, 1))) / |x| with u = (0.6, 0.8).
        assert!((gradient[2] - 0.032).abs() < 1e-6 && (gradient[3] + 0.024).abs() < 1e-6, "{gradient:?}");
    }

    #[test]
    fn lengths_are_those_of_a_root_that_is_clamped_behind() {
        let old = |x: &Tensor| x / x.square().sum_dim_intlist(-1, true, None).sqrt().clamp_min(1e-12);
        let x = (Tensor::arange(64 * 7, (Kind::Float, Device::Cpu)) * 0.7).sin().view([64, 7]);
        for x in [x.shallow_clone(), &x * 1e-6, &x * 1e6] {
            assert_eq!(unit_length(&x), old(&x));
        }
    }
}
