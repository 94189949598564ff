//! Layers that the encoders share.

use tch::{Kind, Tensor, nn};

/// A fully connected layer `[.., in] -> [.., out]`, initialised as PyTorch's.
pub fn linear(path: nn::Path, num_in: usize, num_out: usize) -> nn::Linear {
    nn::linear(path, num_in as i64, num_out as i64, nn::LinearConfig::default())
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
