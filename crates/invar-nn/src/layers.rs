//! Layers that the encoders share.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, nn};

use crate::Weights;

/// A fully connected layer `[.., in] -> [.., out]`.
#[derive(Debug)]
pub struct Linear {
    weight: Weights,
    bias: Weights,
}

impl Linear {
    /// Number of values that it gives.
    pub fn num_out(&self) -> usize {
        self.weight.size()[0] as usize
    }

    /// Weights are uniform within `±sqrt(6 / in)`, as in He et al. (2015) for ReLU; biases within `±sqrt(1 / in)`.
    pub fn new(path: nn::Path, num_in: usize, num_out: usize) -> Self {
        let bound = 1.0 / (num_in as f64).sqrt();
        // The bias first, as in tch's own layer.
        let bias = path.var("bias", &[num_out as i64], nn::Init::Uniform { lo: -bound, up: bound });
        let weight = path.var("weight", &[num_out as i64, num_in as i64], nn::init::DEFAULT_KAIMING_UNIFORM);
        Self { weight: weight.into(), bias: bias.into() }
    }

    /// `x` `[.., in]`, of the kind of the weights.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&*self.bias))
    }
}

/// How the kernel of a [`Conv1d`] is placed on its input.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Width of the kernel.
    pub kernel: usize,
    /// Input positions between neighbouring outputs.
    pub stride: usize,
    /// Zeros before and after the input.
    pub padding: usize,
    /// Input positions between neighbouring taps of the kernel.
    pub dilation: usize,
}

impl Window {
    /// A kernel applied at every position, without padding.
    pub fn of(kernel: usize) -> Self {
        Self { kernel, stride: 1, padding: 0, dilation: 1 }
    }
}

/// A convolution `[B, in, L] -> [B, out, L']`.
#[derive(Debug)]
pub struct Conv1d {
    weight: Weights,
    bias: Weights,
    window: Window,
}

impl Conv1d {
    /// Weights are uniform within `±sqrt(6 / (in kernel))`, as in He et al. (2015) for ReLU; biases are 0.
    pub fn new(path: nn::Path, num_in: usize, num_out: usize, window: Window) -> Self {
        let extents = [num_out, num_in, window.kernel].map(|extent| extent as i64);
        let bias = path.var("bias", &[num_out as i64], nn::Init::Const(0.0));
        let weight = path.var("weight", &extents, nn::init::DEFAULT_KAIMING_UNIFORM);
        Self { weight: weight.into(), bias: bias.into(), window }
    }

    /// Convolves `x` `[B, in, L]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let [stride, padding, dilation] =
            [self.window.stride, self.window.padding, self.window.dilation].map(|positions| positions as i64);
        x.conv1d(&self.weight, Some(&*self.bias), stride, padding, dilation, 1)
    }
}

/// The number format of the factors of a matrix product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 24 significant bits.
    #[default]
    F32,
    /// Rounded to 8 significant bits and summed in f32 (Kalamkar et al., *A study of bfloat16 for deep learning
    /// training*, 2019), as are biases and results; weights, their gradients' sums and the optimizer stay f32. About
    /// twice as fast on GPUs and on CPUs with AVX512-BF16. Elsewhere the same rounding is done around f32 products,
    /// which is no faster than f32.
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

    /// `x` `[.., in]` through a fully connected layer; the output is bf16 if the factors are.
    pub fn apply(self, layer: &Linear, x: &Tensor) -> Tensor {
        if self == Self::F32 {
            return layer.forward(&x.to_kind(layer.weight.kind()));
        }
        let rounded = |t: &Tensor| t.to_kind(Kind::BFloat16);
        let (x, weight, bias) = (rounded(x), rounded(&layer.weight), rounded(&layer.bias));
        if has_fast_bf16(x.device()) {
            return x.linear(&weight, Some(bias));
        }
        let wide = |t: &Tensor| t.to_kind(Kind::Float);
        rounded(&wide(&x).linear(&wide(&weight), Some(wide(&bias))))
    }

    /// `x` `[B, in, H, W]`, preferably [`channels_last`], convolved with `kernel` `[out, in, k, k]`, with zeros beyond
    /// the edges; the output is bf16 if the factors are.
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

/// `x` `[B, C, H, W]` with the channels of a pixel adjacent in memory, on the CPU: a training step then takes a tenth
/// to a quarter less time. Layers preserve the order. Nothing is copied if it is already so.
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
    weight: Weights,
    bias: Weights,
}

impl LayerNorm {
    /// A norm over vectors of `width`.
    pub fn new(path: nn::Path, width: usize) -> Self {
        let width = [width as i64];
        Self { weight: path.ones("weight", &width).into(), bias: path.zeros("bias", &width).into() }
    }

    /// Normalises `x` `[.., width]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&*self.weight), Some(&*self.bias), 1e-5, true)
    }
}

/// Root-mean-square normalisation over one dimension (Zhang and Sennrich 2019). Each position is normalised separately,
/// so that padding and the other strand cannot leak in, as they would through a batch norm.
#[derive(Debug)]
pub struct RmsNorm {
    weight: Weights,
    dim: i64,
}

impl RmsNorm {
    /// A norm over dimension `dim` of width `width`, in a tensor of three dimensions.
    pub fn new(path: nn::Path, width: usize, dim: i64) -> Self {
        Self { weight: path.ones("weight", &[width as i64]).into(), dim }
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
        let layer = Linear::new(store.root() / "layer", 70, 33);
        let x = (Tensor::arange(5 * 70, (Kind::Float, Device::Cpu)) * 0.7).sin().view([5, 70]);
        let found = Precision::Bf16.apply(&layer, &x);
        // The definition in double precision: round both factors to 8 bits, multiply, add.
        let rounded = |t: &Tensor| t.to_kind(Kind::BFloat16).to_kind(Kind::Double);
        let expected = rounded(&x).matmul(&rounded(&layer.weight).tr()) + rounded(&layer.bias);
        let error = (&found.to_kind(Kind::Double) - &expected).abs().max().double_value(&[]);
        // The result is rounded once more, by at most one part in 2^9, and LibTorch may round before adding the bias.
        let largest = expected.abs().max().double_value(&[]);
        assert!(error <= largest * 2f64.powi(-8), "{error} of {largest}");
        assert_eq!(found.kind(), Kind::BFloat16);
        let exact = Precision::F32.apply(&layer, &x).to_kind(Kind::Double);
        assert!((exact - &expected).abs().max().double_value(&[]) > 1e-5, "f32 does not round");
        // Gradients reach the f32 weights.
        found.to_kind(Kind::Float).square().mean(Kind::Float).backward();
        assert_eq!(layer.weight.grad().kind(), Kind::Float);
        assert!(layer.weight.grad().abs().max().double_value(&[]) > 0.0);
    }

    #[test]
    fn convolutions_are_those_of_tch() {
        use nn::Module;
        let x = (Tensor::arange(2 * 4 * 31, (Kind::Float, Device::Cpu)) * 0.7).sin().view([2, 4, 31]);
        for window in [Window::of(1), Window { kernel: 5, stride: 3, padding: 2, dilation: 4 }] {
            let store = nn::VarStore::new(Device::Cpu);
            let conv = Conv1d::new(store.root(), 4, 6, window);
            let config = nn::ConvConfig {
                stride: window.stride as i64,
                padding: window.padding as i64,
                dilation: window.dilation as i64,
                ..nn::ConvConfig::default()
            };
            let other = nn::VarStore::new(Device::Cpu);
            let mut tchs = nn::conv1d(other.root(), 4, 6, window.kernel as i64, config);
            tchs.ws = conv.weight.shallow_clone();
            assert_eq!(conv.forward(&x), tchs.forward(&x));
        }
    }
}
