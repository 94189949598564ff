//! Layers that the encoders share.

use serde::{Deserialize, Serialize};
use tch::{
    Device, Kind, Tensor,
    nn::{self, Module},
};

/// A fully connected layer `[.., in] -> [.., out]`. Weights are uniform within `sqrt(6 / in)`, as He et al. (2015) have them for
/// ReLU; biases within `sqrt(1 / in)`.
pub fn linear(path: nn::Path, num_in: usize, num_out: usize) -> nn::Linear {
    nn::linear(path, num_in as i64, num_out as i64, nn::LinearConfig::default())
}

/// In which format the factors of a matrix product are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 24 significant bits.
    #[default]
    F32,
    /// Rounded to 8 significant bits, summed in f32 (Kalamkar et al., *A study of bfloat16 for deep learning training*,
    /// 2019), as are biases and results; weights, their gradients' sums and the optimizer stay f32. About twice as fast on
    /// GPUs and on CPUs with AVX512-BF16. Elsewhere the same rounding is done around f32 products, which is no faster than f32.
    Bf16,
}

impl Precision {
    /// The format of the factors.
    pub fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
        }
    }

    /// `x` `[.., in]` through a fully connected layer; bf16 out where the factors are.
    pub fn apply(self, layer: &nn::Linear, x: &Tensor) -> Tensor {
        if self == Self::F32 {
            return layer.forward(&x.to_kind(layer.ws.kind()));
        }
        let rounded = |t: &Tensor| t.to_kind(Kind::BFloat16);
        let (x, weight, bias) = (rounded(x), rounded(&layer.ws), layer.bs.as_ref().map(rounded));
        if has_fast_bf16(x.device()) {
            return x.linear(&weight, bias);
        }
        let wide = |t: &Tensor| t.to_kind(Kind::Float);
        rounded(&wide(&x).linear(&wide(&weight), bias.as_ref().map(wide)))
    }

    /// `x` `[B, in, H, W]`, best [`channels_last`], convolved with `kernel` `[out, in, k, k]`, zeros beyond the edges; bf16
    /// out where the factors are.
    pub fn convolve(self, x: &Tensor, kernel: &Tensor, stride: i64, padding: i64) -> Tensor {
        let convolve = |x: &Tensor, kernel: &Tensor| {
            x.conv2d(&channels_last(kernel), None::<Tensor>, [stride, stride], [padding, padding], [1i64, 1], 1)
        };
        if self == Self::F32 {
            return convolve(x, kernel);
        }
        let rounded = |t: &Tensor| t.to_kind(Kind::BFloat16);
        let (x, kernel) = (rounded(x), rounded(kernel));
        if has_fast_bf16(x.device()) {
            convolve(&x, &kernel)
        } else {
            rounded(&convolve(&x.to_kind(Kind::Float), &kernel.to_kind(Kind::Float)))
        }
    }
}

/// `x` `[B, C, H, W]` with the channels of a pixel side by side in memory, on the CPU: a training step takes a tenth to a
/// quarter less time so. Layers keep the order. Nothing is copied where it is so already.
pub fn channels_last(x: &Tensor) -> Tensor {
    match x.device() {
        Device::Cpu => x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]),
        _ => x.shallow_clone(),
    }
}

/// Whether a device multiplies bf16 matrices faster than f32 ones.
fn has_fast_bf16(device: Device) -> bool {
    match device {
        Device::Cuda(_) => true,
        #[cfg(target_arch = "x86_64")]
        Device::Cpu => std::is_x86_feature_detected!("avx512bf16"),
        _ => false,
    }
}

/// Layer normalisation over the last dimension, with weight and bias (Ba, Kiros and Hinton 2016).
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// Over vectors of `width`.
    pub fn new(path: nn::Path, width: usize) -> Self {
        Self { weight: path.ones("weight", &[width as i64]), bias: path.zeros("bias", &[width as i64]) }
    }

    /// Normalises `x` `[.., width]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), 1e-5, true)
    }
}

/// Root-mean-square normalisation over one dimension (Zhang and Sennrich 2019). Each position is normalised by
/// itself, so that padding and the other strand cannot leak in, as they would through a batch norm.
#[derive(Debug)]
pub struct RmsNorm {
    weight: Tensor,
    dim: i64,
}

impl RmsNorm {
    /// Over dimension `dim` of width `width`, in a tensor of three dimensions.
    pub fn new(path: nn::Path, width: usize, dim: i64) -> Self {
        Self { weight: path.ones("weight", &[width as i64]), dim }
    }

    /// Normalises `x` `[B, C, L]` (`dim` 1) or `[B, L, C]` (`dim` 2).
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let mean_square = x.square().mean_dim(&[self.dim][..], true, None::<Kind>);
        let shape: &[i64] = if self.dim == 1 { &[1, -1, 1] } else { &[1, 1, -1] };
        x * (mean_square + 1e-6).rsqrt() * self.weight.view(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_the_factors_and_the_result() {
        let store = nn::VarStore::new(Device::Cpu);
        let layer = linear(store.root() / "layer", 70, 33);
        let x = (Tensor::arange(5 * 70, (Kind::Float, Device::Cpu)) * 0.7).sin().view([5, 70]);
        let found = Precision::Bf16.apply(&layer, &x);
        // The definition in double precision: round both factors to 8 bits, multiply, add.
        let rounded = |t: &Tensor| t.to_kind(Kind::BFloat16).to_kind(Kind::Double);
        let expected = rounded(&x).matmul(&rounded(&layer.ws).tr()) + rounded(layer.bs.as_ref().unwrap());
        let error = (&found.to_kind(Kind::Double) - &expected).abs().max().double_value(&[]);
        // The result is rounded once more, by at most one part in 2^9, and LibTorch may round before it adds the bias.
        let largest = expected.abs().max().double_value(&[]);
        assert!(error <= largest * 2f64.powi(-8), "{error} of {largest}");
        assert_eq!(found.kind(), Kind::BFloat16);
        let exact = Precision::F32.apply(&layer, &x).to_kind(Kind::Double);
        assert!((exact - &expected).abs().max().double_value(&[]) > 1e-5, "f32 does not round");
        // Gradients reach the f32 weights.
        found.to_kind(Kind::Float).square().mean(Kind::Float).backward();
        assert_eq!(layer.ws.grad().kind(), Kind::Float);
        assert!(layer.ws.grad().abs().max().double_value(&[]) > 0.0);
    }
}
