use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, nn};

use std::sync::{PoisonError, RwLock};

use crate::{
    Weights,
    layers::{Precision, channels_last},
};

/// What a convolution's output is normalised over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormKind {
    /// Each channel over the batch (Ioffe and Szegedy 2015). In training the statistics are those of all views of all
    /// pairs together (and of all orientations); otherwise their running means, which are part of the model, are used.
    #[default]
    Batch,
    /// Eight groups of channels, each view separately (Wu and He 2018).
    Group,
}

/// Number of groups of a group norm.
const NUM_GROUPS: i64 = 8;
/// Added to variances.
const EPS: f64 = 1e-5;
/// Fraction of the running means that a batch replaces.
const MOMENTUM: f64 = 0.1;

/// A convolution without bias, and a norm with weight and bias.
#[derive(Debug)]
pub(crate) struct ConvNorm {
    kernel: Weights,
    stride: i64,
    weight: Weights,
    bias: Weights,
    /// Running mean and variance of a batch norm: they change in training, though the encoder is shared.
    running: Option<RwLock<[Weights; 2]>>,
}

impl ConvNorm {
    /// `extents`: channels in, channels out, side of the kernel (odd), stride.
    pub(crate) fn new(path: &nn::Path, norm: NormKind, extents: [i64; 4]) -> Self {
        let [num_in, num_out, side, stride] = extents;
        let bound = 1.0 / ((num_in * side * side) as f64).sqrt();
        let running = (norm == NormKind::Batch).then(|| {
            let path = path / "norm";
            let mean = path.zeros_no_train("running_mean", &[num_out]);
            RwLock::new([mean.into(), path.ones_no_train("running_var", &[num_out]).into()])
        });
        Self {
            // PyTorch's default for convolutions, a factor of sqrt 6 below He's.
            kernel: path.uniform("kernel", &[num_out, num_in, side, side], -bound, bound).into(),
            stride,
            weight: (path / "norm").ones("weight", &[num_out]).into(),
            bias: (path / "norm").zeros("bias", &[num_out]).into(),
            running,
        }
    }

    /// `[B, in, H, W] -> [B, out, H / stride, W / stride]`, rounded up.
    pub(crate) fn forward(&self, x: &Tensor, precision: Precision, train: bool) -> Tensor {
        let padding = self.kernel.size()[2] / 2;
        self.normalise(&precision.convolve(x, &self.kernel, self.stride, padding), train)
    }

    /// Kernel and bias of the convolution equivalent to this one and its norm, outside of training; for a group norm,
    /// which depends on the picture, the convolution alone.
    pub(crate) fn folded(&self) -> [Tensor; 2] {
        tch::no_grad(|| {
            let Some(running) = &self.running else {
                return [self.kernel.copy(), self.bias.zeros_like()];
            };
            let running = running.read().unwrap_or_else(PoisonError::into_inner);
            let [mean, var] = &*running;
            let scale = &*self.weight * (&**var + EPS).rsqrt();
            [&*self.kernel * scale.view([-1, 1, 1, 1]), &*self.bias - &**mean * &scale]
        })
    }

    fn normalise(&self, x: &Tensor, train: bool) -> Tensor {
        // A picture of one channel is in both orders, and its convolution may have returned the one in which norms are
        // slow.
        let x = &channels_last(x);
        let (weight, bias) = (Some(&*self.weight), Some(&*self.bias));
        let batch_norm = |[mean, var]: &[Weights; 2]| {
            x.batch_norm(weight, bias, Some(&**mean), Some(&**var), train, MOMENTUM, EPS, true)
        };
        match &self.running {
            Some(running) if train => batch_norm(&running.write().unwrap_or_else(PoisonError::into_inner)),
            Some(running) => batch_norm(&running.read().unwrap_or_else(PoisonError::into_inner)),
            // On CUDA a group norm's weights must be of its input's kind.
            None if x.device().is_cuda() && x.kind() != Kind::Float => {
                x.to_kind(Kind::Float).group_norm(NUM_GROUPS, weight, bias, EPS, true).to_kind(x.kind())
            }
            None => x.group_norm(NUM_GROUPS, weight, bias, EPS, true),
        }
    }
}

/// `relu(norm(conv(relu(norm(conv(x))))) + shortcut(x))`, kernels 3 x 3; the shortcut is a 1 x 1 convolution if width
/// or stride change.
#[derive(Debug)]
pub(super) struct Block {
    first: ConvNorm,
    second: ConvNorm,
    shortcut: Option<ConvNorm>,
}

impl Block {
    pub(super) fn new(path: &nn::Path, norm: NormKind, num_in: i64, num_out: i64, stride: i64) -> Self {
        let changes = num_in != num_out || stride != 1;
        Self {
            first: ConvNorm::new(&(path / "first"), norm, [num_in, num_out, 3, stride]),
            second: ConvNorm::new(&(path / "second"), norm, [num_out, num_out, 3, 1]),
            shortcut: changes.then(|| ConvNorm::new(&(path / "shortcut"), norm, [num_in, num_out, 1, stride])),
        }
    }

    pub(super) fn forward(&self, x: &Tensor, precision: Precision, train: bool) -> Tensor {
        let inner = self.first.forward(x, precision, train).relu_();
        let outer = self.second.forward(&inner, precision, train);
        let skipped = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x, precision, train),
            None => x.shallow_clone(),
        };
        (outer + skipped).relu_()
    }
}
