//! Small residual networks over images (He et al., *Deep residual learning for image recognition*, 2016), pooled over
//! the whole view: `resnet`, and averaged over orientations of the view `resnet-c4` and `resnet-c8` (see
//! [`crate::rotations`]).
//!
//! Shapes: `B` views, `C` channels, `H x W` pixels, `K` channels of the last stage, `P` pooled features.

mod block;
mod pool;

use invar_dataset::ViewShape;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, nn};

use super::{Encoded, Encoder, Grid, Mode, TokenShape, check_positive, unit_length};
use crate::{
    Batch, Error,
    error::describe_shape,
    layers::{Linear, Precision, channels_last},
    rotations::Orientations,
};
use block::Block;
pub(crate) use block::ConvNorm;

pub use block::NormKind;
pub use pool::Pool;

/// The name in a recipe of the network that sees only the view as given.
pub const NAME: &str = "resnet";
/// The name of the one that averages over quarter turns.
pub const NAME_C4: &str = "resnet-c4";
/// The name of the one that averages over eighth turns.
pub const NAME_C8: &str = "resnet-c8";

/// Added to the variance of a view before it is scaled: a view flatter than 1/100 of the range of values stays flat.
const INPUT_EPS: f64 = 1e-4;

/// Width and depth of a [`ResNet`]. Every stage after the first halves height and width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// 16, 32, 64, 128 channels, one block each: 0.3 million weights, a third of the work of the next.
    Nano,
    /// 32, 64, 128 channels, one block each: 0.3 million weights.
    #[default]
    Tiny,
    /// 32, 64, 128, 256 channels, one block each: 1.3 million weights.
    Small,
    /// 64, 128, 256, 512 channels, two blocks each, and the maximum over 3 x 3 pixels after the first convolution: 11
    /// million weights.
    Resnet18,
}

/// The first convolution: kernel and stride, in pixels, and whether a maximum over 3 x 3 at stride 2 follows.
struct Stem {
    kernel: i64,
    stride: i64,
    max_pool: bool,
}

impl Size {
    fn widths(self) -> &'static [i64] {
        match self {
            Self::Nano => &[16, 32, 64, 128],
            Self::Tiny => &[32, 64, 128],
            Self::Small => &[32, 64, 128, 256],
            Self::Resnet18 => &[64, 128, 256, 512],
        }
    }

    fn blocks_per_stage(self) -> usize {
        if self == Self::Resnet18 { 2 } else { 1 }
    }

    fn stem(self) -> Stem {
        match self {
            Self::Resnet18 => Stem { kernel: 7, stride: 2, max_pool: true },
            _ => Stem { kernel: 5, stride: 2, max_pool: false },
        }
    }
}

/// Settings of [`ResNet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResNetConfig {
    /// Width and depth.
    pub size: Size,
    /// Embedding dimensions, `D`.
    pub dim: usize,
    /// How the feature map becomes one vector.
    pub pool: Pool,
    /// What the convolutions' outputs are normalised over.
    pub norm: NormKind,
    /// Whether each view is first scaled to mean 0 and variance 1, each channel separately: brightness and contrast
    /// then carry no information. Otherwise values, which a source gives in about `[0, 1]`, become `4 (x - 1/2)`.
    pub input_norm: bool,
    /// Number of fields that a view shows, each in the same number of planes of its own: all go through one trunk, and
    /// their features are concatenated.
    #[serde(skip_serializing_if = "is_one")]
    pub scales: usize,
    /// Format of the factors in the convolutions' products, and of the values between them; pooling and the last layer
    /// are always f32.
    pub precision: Precision,
}

/// Omitted when written: models and runs from before this key are the same.
fn is_one(scales: &usize) -> bool {
    *scales == 1
}

impl Default for ResNetConfig {
    fn default() -> Self {
        Self {
            size: Size::default(),
            dim: 128,
            pool: Pool::Mean,
            norm: NormKind::Batch,
            input_norm: false,
            scales: 1,
            precision: Precision::F32,
        }
    }
}

impl ResNetConfig {
    /// Features per view before the last layer.
    fn num_pooled(&self) -> usize {
        let width = *self.size.widths().last().expect("every size has stages");
        self.scales * self.pool.num_features(width) as usize
    }

    /// Builds the network for images `[C, H, W]`; for more than one orientation they must be square.
    ///
    /// # Errors
    /// If the views are not such images, or a setting is out of range.
    pub fn init(&self, path: &nn::Path, shape: &ViewShape, orientations: Orientations) -> Result<ResNet, Error> {
        let name = name_of(orientations);
        let image = image_shape(name, shape, orientations)?;
        check_positive("encoder.dim", self.dim)?;
        check_positive("encoder.scales", self.scales)?;
        if !(image[0] as usize).is_multiple_of(self.scales) {
            let expected = format!("a number that {} planes of a view can be divided by", image[0]);
            return Err(Error::config("encoder.scales", &expected, self.scales));
        }
        let channels = image[0] / self.scales as i64;
        let stem_config = self.size.stem();
        let first = self.size.widths()[0];
        let stem =
            ConvNorm::new(&(path / "stem"), self.norm, [channels, first, stem_config.kernel, stem_config.stride]);
        let mut stride = stem_config.stride * if stem_config.max_pool { 2 } else { 1 };
        let mut width = first;
        let mut blocks = vec![];
        for (stage, &next) in self.size.widths().iter().enumerate() {
            for number in 0..self.size.blocks_per_stage() {
                let step = if stage > 0 && number == 0 { 2 } else { 1 };
                let path = path / format!("stage{stage}") / format!("block{number}");
                blocks.push(Block::new(&path, self.norm, width, next, step));
                (width, stride) = (next, stride * step);
            }
        }
        let out = Linear::new(path / "out", self.num_pooled(), self.dim);
        let max_pool = stem_config.max_pool;
        Ok(ResNet { config: self.clone(), name, image, orientations, stem, max_pool, blocks, stride, out })
    }
}

fn name_of(orientations: Orientations) -> &'static str {
    match orientations {
        Orientations::One => NAME,
        Orientations::C4 => NAME_C4,
        Orientations::C8 => NAME_C8,
    }
}

fn image_shape(name: &'static str, shape: &ViewShape, orientations: Orientations) -> Result<[i64; 3], Error> {
    let square = orientations != Orientations::One;
    let fits = |&[channels, height, width]: &[usize; 3]| {
        channels > 0 && height > 0 && width > 0 && (!square || height == width)
    };
    let extents = match shape {
        ViewShape::Dense(extents) => <[usize; 3]>::try_from(extents.as_slice()).ok().filter(fits),
        _ => None,
    };
    let expected = if square { "dense [C, S, S] (a square image)" } else { "dense [C, H, W] (an image)" };
    extents.map(|e| e.map(|extent| extent as i64)).ok_or_else(|| Error::Shape {
        encoder: name,
        expected: expected.into(),
        found: describe_shape(shape),
    })
}

/// `[B, S C, H, W] -> [S B, C, H, W] -> orientations -> stem -> stages -> pool -> mean of orientations -> [B, S P] ->
/// linear -> [B, D]`, unit length, for `S` scales.
#[derive(Debug)]
pub struct ResNet {
    config: ResNetConfig,
    name: &'static str,
    image: [i64; 3],
    orientations: Orientations,
    stem: ConvNorm,
    max_pool: bool,
    blocks: Vec<Block>,
    /// Input pixels between neighbours of the feature map.
    stride: i64,
    out: Linear,
}

impl Encoder for ResNet {
    /// Tokens are the feature map of the first field of the unrotated view, `L = h w` vectors of `K` channels.
    fn encode(&self, batch: &Batch, mode: Mode) -> Result<Encoded, Error> {
        let train = mode.train;
        let x = batch.images(self.name, self.image)?; // [B, C, H, W]
        let (rows, scales) = (x.size()[0], self.config.scales as i64);
        let fields = x.reshape([rows * scales, self.image[0] / scales, self.image[1], self.image[2]]);
        let stacked = self.orientations.stack(&self.scaled(&fields)); // [R S B, C, H, W]
        // Together in training, for the statistics of the norms; otherwise one orientation at a time, to save memory.
        let parts = if train { vec![stacked] } else { stacked.chunk(self.orientations.len() as i64, 0) };
        let mut first = None;
        let mut pooled = Vec::with_capacity(parts.len());
        for part in &parts {
            let map = self.features(part, train).to_kind(Kind::Float); // [R S B, K, h, w], or [S B, K, h, w]
            pooled.push(self.config.pool.forward(&map));
            first.get_or_insert(map);
        }
        let features = first.expect("there is at least one orientation");
        let pooled = self.orientations.merge(&Tensor::cat(&pooled, 0)).reshape([rows, -1]); // [B, S P]
        // The fields of a view lie one after the other.
        let tokens = mode.tokens.then(|| {
            let upright = features.narrow(0, 0, rows * scales).slice(0, 0, None, scales); // [B, K, h, w]
            upright.flatten(2, 3).transpose(1, 2)
        });
        let grid = tokens.as_ref().map(|_| Grid { h: features.size()[2], w: features.size()[3], stride: self.stride });
        Ok(Encoded { embedding: unit_length(&self.out.forward(&pooled)), pooled, tokens, grid, attention: vec![] })
    }

    fn dim(&self) -> usize {
        self.config.dim
    }

    fn num_pooled(&self) -> usize {
        self.config.num_pooled()
    }

    fn tokens(&self) -> Option<TokenShape> {
        let features = *self.config.size.widths().last()? as usize;
        Some(TokenShape { features, stride: self.stride as usize })
    }
}

impl ResNet {
    fn scaled(&self, x: &Tensor) -> Tensor {
        if !self.config.input_norm {
            return (x - 0.5) * 4.0;
        }
        let centred = x - x.mean_dim([2i64, 3].as_slice(), true, None::<Kind>);
        let variance = centred.square().mean_dim([2i64, 3].as_slice(), true, None::<Kind>);
        centred * (variance + INPUT_EPS).rsqrt()
    }

    fn features(&self, x: &Tensor, train: bool) -> Tensor {
        let precision = self.config.precision;
        let mut x = self.stem.forward(&channels_last(x), precision, train).relu_();
        if self.max_pool {
            x = x.max_pool2d([3i64, 3], [2i64, 2], [1i64, 1], [1i64, 1], false);
        }
        for block in &self.blocks {
            x = block.forward(&x, precision, train);
        }
        x
    }
}
