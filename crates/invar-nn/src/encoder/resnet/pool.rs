use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// How a feature map `[B, K, h, w]` becomes one vector `[B, P]`, independent of position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pool {
    /// The mean of each channel: `P = K`.
    #[default]
    Mean,
    /// Mean and standard deviation of each channel, as in texture descriptors: `P = 2 K`.
    MeanStd,
    /// The cubic mean of each channel, between mean and maximum (Radenović, Tolias and Chum, *Fine-tuning CNN image
    /// retrieval with no human annotation*, 2018, with p = 3): `P = K`.
    Gem,
}

/// Keeps roots differentiable at 0.
const EPS: f64 = 1e-5;

impl Pool {
    /// `P`, for a map of `K` channels.
    pub(super) fn num_features(self, num_channels: i64) -> i64 {
        if self == Self::MeanStd { 2 * num_channels } else { num_channels }
    }

    pub(super) fn forward(self, x: &Tensor) -> Tensor {
        let mean = |x: &Tensor| x.mean_dim([2i64, 3].as_slice(), false, None::<Kind>); // [B, K]
        match self {
            Self::Mean => mean(x),
            Self::MeanStd => {
                let centre = mean(x);
                let variance = mean(&(x - centre.unsqueeze(-1).unsqueeze(-1)).square());
                Tensor::cat(&[centre, (variance + EPS).sqrt()], 1)
            }
            Self::Gem => mean(&x.clamp_min(EPS).pow_tensor_scalar(3)).pow_tensor_scalar(1.0 / 3.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // x = torch.tensor([0., 1, 2, 3, 5, 5, 5, 5]).view(1, 2, 2, 2)
    // x.mean((2, 3)); (x.var((2, 3), unbiased=False) + 1e-5).sqrt(); (x.clamp_min(1e-5) ** 3).mean((2, 3)) ** (1 / 3)
    #[test]
    fn each_pool_is_its_formula() {
        let x = Tensor::from_slice(&[0f32, 1., 2., 3., 5., 5., 5., 5.]).view([1, 2, 2, 2]);
        let values = |pool: Pool| Vec::<f32>::try_from(pool.forward(&x).flatten(0, 1)).unwrap();
        let near = |found: Vec<f32>, expected: &[f32]| {
            assert_eq!(found.len(), expected.len());
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");
        };
        near(values(Pool::Mean), &[1.5, 5.0]);
        near(values(Pool::MeanStd), &[1.5, 5.0, 1.118_038_5, 0.003_162_28]);
        near(values(Pool::Gem), &[2.080_084, 5.0]);
    }
}
