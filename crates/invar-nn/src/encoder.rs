//! From a batch to embeddings. To add an encoder: a file here, a variant of [`EncoderConfig`], an arm of
//! [`EncoderConfig::init`].

pub mod conv;
pub mod kmer_mlp;
pub mod resnet;
pub mod transformer;

use invar_dataset::ViewShape;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::{Batch, Error, rotations::Orientations};
use conv::ConvConfig;
use kmer_mlp::KmerMlpConfig;
use resnet::{NormKind, ResNetConfig};
use transformer::TransformerConfig;

/// What an encoder makes of a batch.
#[derive(Debug)]
pub struct Encoded {
    /// One vector of unit length a view `[B, D]`.
    pub embedding: Tensor,
    /// One vector a position `[B, L, K]`, where the encoder has them: what is pooled, in a width of its own.
    pub tokens: Option<Tensor>,
    /// How `tokens` lie in the plane, where they are a feature map: `L = h * w`.
    pub grid: Option<Grid>,
}

impl Encoded {
    /// Views `first..first + count` alone.
    pub fn rows(&self, first: i64, count: i64) -> Self {
        Self {
            embedding: self.embedding.narrow(0, first, count),
            tokens: self.tokens.as_ref().map(|t| t.narrow(0, first, count)),
            grid: self.grid,
        }
    }
}

/// The lattice of a feature map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Rows.
    pub h: i64,
    /// Columns.
    pub w: i64,
    /// Input pixels between neighbours.
    pub stride: i64,
}

/// Turns a batch into embeddings.
pub trait Encoder: Send {
    /// Encodes a batch that lies on the encoder's device. `train` switches dropout on, and lets running means follow;
    /// without it nothing of the encoder changes, and several threads may encode at once.
    ///
    /// # Errors
    /// When the batch is not of the shape that the encoder was built for.
    fn encode(&self, batch: &Batch, train: bool) -> Result<Encoded, Error>;

    /// Embedding dimensions, `D`.
    fn dim(&self) -> usize;
}

/// The encoder of a recipe.
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
    /// The same, averaged over four quarter turns of the image: exactly blind to them, at four times the work.
    ResnetC4(ResNetConfig),
    /// The same, averaged over eight eighth turns: exactly blind to quarter turns, at eight times the work.
    ResnetC8(ResNetConfig),
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self::KmerMlp(KmerMlpConfig::default())
    }
}

impl EncoderConfig {
    /// Whether in training, too, the embedding of a view depends on that view and the weights alone: no norm over the batch,
    /// nothing drawn at random. Then the parts of a batch can be encoded at the same time.
    pub fn is_row_wise(&self) -> bool {
        match self {
            Self::KmerMlp(config) => config.dropout == 0.0,
            Self::Conv(config) => config.dropout == 0.0,
            Self::Transformer(config) => config.dropout == 0.0,
            Self::Resnet(config) | Self::ResnetC4(config) | Self::ResnetC8(config) => config.norm != NormKind::Batch,
        }
    }

    /// Builds the encoder for views of a shape, its parameters under `path` (by convention `trunk`).
    ///
    /// Weights are drawn from LibTorch's default generator, so that `tch::manual_seed` fixes them: linear and
    /// convolution layers uniform in `±1/sqrt(fan_in)` (PyTorch's default), norms one.
    ///
    /// # Errors
    /// When the encoder cannot read views of this shape (both are named), or a setting is out of range.
    pub fn init(&self, path: &nn::Path, shape: &ViewShape) -> Result<Box<dyn Encoder>, Error> {
        Ok(match self {
            Self::KmerMlp(config) => Box::new(config.init(path, shape)?),
            Self::Conv(config) => Box::new(config.init(path, shape)?),
            Self::Transformer(config) => Box::new(config.init(path, shape)?),
            Self::Resnet(config) => Box::new(config.init(path, shape, Orientations::One)?),
            Self::ResnetC4(config) => Box::new(config.init(path, shape, Orientations::C4)?),
            Self::ResnetC8(config) => Box::new(config.init(path, shape, Orientations::C8)?),
        })
    }

    /// The name in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::KmerMlp(_) => kmer_mlp::NAME,
            Self::Conv(_) => conv::NAME,
            Self::Transformer(_) => transformer::NAME,
            Self::Resnet(_) => resnet::NAME,
            Self::ResnetC4(_) => resnet::NAME_C4,
            Self::ResnetC8(_) => resnet::NAME_C8,
        }
    }
}

/// Scales the rows of `x` `[B, D]` to length one; a row of zeros stays zero.
pub fn unit_length(x: &Tensor) -> Tensor {
    x / x.square().sum_dim_intlist(-1, true, None).sqrt().clamp_min(1e-12)
}

/// Refuses a probability of dropout outside `[0, 1)`.
pub(crate) fn check_dropout(dropout: f64) -> Result<(), Error> {
    if (0.0..1.0).contains(&dropout) { Ok(()) } else { Err(Error::config("encoder.dropout", "in [0, 1)", dropout)) }
}

/// Refuses a size of zero.
pub(crate) fn check_positive(key: &str, size: usize) -> Result<(), Error> {
    if size > 0 { Ok(()) } else { Err(Error::config(key, "at least 1", size)) }
}
