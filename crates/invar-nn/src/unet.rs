//! A U-Net: a value for each pixel of a picture (Ronneberger, Fischer and Brox 2015).
//!
//! It returns logits, not embeddings, and so is not an [`Encoder`](crate::Encoder): it is used by the program that
//! trains the boundary network of micrographs. A trained network is exported as plain convolutions, with the norms
//! folded in, so that it can run without LibTorch.

use tch::{Kind, Tensor, nn};

use crate::{
    Weights,
    encoder::{ConvNorm, resnet::NormKind},
    layers::{Precision, channels_last},
};

/// Levels of two 3 x 3 convolutions, each with batch norm and ReLU; between them 2 x 2 maxima on the way down, and
/// doubled pixels on the way up, where the output of the level is concatenated.
#[derive(Debug)]
pub struct UNet {
    down: Vec<[ConvNorm; 2]>,
    up: Vec<[ConvNorm; 2]>,
    weight: Weights,
    bias: Weights,
}

/// A convolution, with zeros beyond the edges.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedConv {
    /// `[out, in, side, side]`.
    pub kernel: Vec<f32>,
    /// `[out]`.
    pub bias: Vec<f32>,
    /// Channels out, channels in, side of the kernel.
    pub extents: [usize; 3],
}

impl UNet {
    /// A network with the given number of `channels` per level, finest first, over pictures of `num_in` channels.
    pub fn new(path: &nn::Path, num_in: i64, channels: &[i64]) -> Self {
        let pair = |path: nn::Path, num_in: i64, num_out: i64| {
            let layer = |name: &str, num_in| ConvNorm::new(&(&path / name), NormKind::Batch, [num_in, num_out, 3, 1]);
            [layer("first", num_in), layer("second", num_out)]
        };
        let inputs = std::iter::once(&num_in).chain(channels);
        let down =
            inputs.zip(channels).enumerate().map(|(i, (&a, &b))| pair(path / format!("down{i}"), a, b)).collect();
        let up = channels.windows(2).enumerate().rev();
        let up = up.map(|(i, two)| pair(path / format!("up{i}"), two[0] + two[1], two[0])).collect();
        let bound = 1.0 / (channels[0] as f64).sqrt();
        let out = path / "out";
        let weight = out.uniform("weight", &[1, channels[0], 1, 1], -bound, bound).into();
        Self { down, up, weight, bias: out.zeros("bias", &[1]).into() }
    }

    /// Logits `[B, 1, H, W]` of `x` `[B, in, H, W]`; H and W are multiples of 2 to the number of levels less 1.
    pub fn forward(&self, x: &Tensor, precision: Precision, train: bool) -> Tensor {
        let apply = |pair: &[ConvNorm; 2], x: &Tensor| {
            let inner = pair[0].forward(x, precision, train).relu_();
            pair[1].forward(&inner, precision, train).relu_()
        };
        let mut skipped = Vec::new();
        let mut x = channels_last(x);
        for (i, pair) in self.down.iter().enumerate() {
            if i > 0 {
                x = x.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
            }
            x = apply(pair, &x);
            skipped.push(x.shallow_clone());
        }
        skipped.pop();
        for (pair, skip) in self.up.iter().zip(skipped.into_iter().rev()) {
            let doubled = x.upsample_nearest2d(&skip.size()[2..], None, None);
            x = apply(pair, &Tensor::cat(&[doubled, skip], 1));
        }
        x.to_kind(Kind::Float).conv2d(&self.weight, Some(&*self.bias), [1, 1], [0, 0], [1, 1], 1)
    }

    /// The convolutions as they are outside of training, in the order in which they are applied; each but the last is
    /// followed by ReLU.
    pub fn folded(&self) -> Vec<FoldedConv> {
        let values = |t: &Tensor| Vec::<f32>::try_from(t.contiguous().view([-1]).to_kind(Kind::Float));
        let conv = |kernel: &Tensor, bias: &Tensor| {
            let size = kernel.size();
            let extents = [size[0], size[1], size[2]].map(|extent| extent as usize);
            let [kernel, bias] = [kernel, bias].map(|t| values(t).unwrap_or_default());
            FoldedConv { kernel, bias, extents }
        };
        let layers = self.down.iter().chain(&self.up).flatten().map(ConvNorm::folded);
        layers.map(|[kernel, bias]| conv(&kernel, &bias)).chain([conv(&self.weight, &self.bias)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn folded_convolutions_are_the_network() {
        tch::manual_seed(3);
        let store = nn::VarStore::new(Device::Cpu);
        let net = UNet::new(&store.root(), 2, &[3, 5, 4]);
        let x = Tensor::randn([2, 2, 16, 24], (Kind::Float, Device::Cpu));
        // Running means that differ from the initial ones.
        for _ in 0..5 {
            let _ = net.forward(&(&x * 1.5 + 0.3), Precision::F32, true);
        }
        let expected = tch::no_grad(|| net.forward(&x, Precision::F32, false));
        let layers = net.folded();
        assert_eq!(layers.len(), 2 * 5 + 1);
        let conv = |layer: &FoldedConv, x: &Tensor| {
            let [out, num_in, side] = layer.extents.map(|extent| extent as i64);
            let kernel = Tensor::from_slice(&layer.kernel).view([out, num_in, side, side]);
            let pad = side / 2;
            x.conv2d(&kernel, Some(Tensor::from_slice(&layer.bias)), [1, 1], [pad, pad], [1, 1], 1)
        };
        let pair = |i: usize, x: &Tensor| conv(&layers[i + 1], &conv(&layers[i], x).relu()).relu();
        let pool = |x: &Tensor| x.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
        let twice = |x: &Tensor| x.repeat_interleave_self_int(2, 2, None).repeat_interleave_self_int(2, 3, None);
        let a = pair(0, &x);
        let b = pair(2, &pool(&a));
        let c = pair(4, &pool(&b));
        let b = pair(6, &Tensor::cat(&[twice(&c), b], 1));
        let a = pair(8, &Tensor::cat(&[twice(&b), a], 1));
        let found = conv(&layers[10], &a);
        let error = (&found - &expected).abs().max().double_value(&[]);
        let spread = (expected.max() - expected.min()).double_value(&[]);
        assert!(spread > 0.0 && error <= 1e-4 * spread, "{error} of {spread}");
    }
}
