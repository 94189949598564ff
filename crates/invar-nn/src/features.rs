use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{Encoded, Encoder, unit_length};

/// Which output of an encoder is the embedding of a view. All have unit length.
///
/// A loss compares the output of the last layer, and that layer discards what pairs do not share; its input holds more
/// information (Chen et al., *A simple framework for contrastive learning of visual representations*, 2020, section
/// 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Features {
    /// The output of the last layer, with the recipe's `D` dimensions: [`Encoded::embedding`].
    #[default]
    Projected,
    /// The input of the last layer: [`Encoded::pooled`], `P` dimensions.
    Pooled,
    /// Both, concatenated with equal weight, `P + D` dimensions.
    Both,
}

impl Features {
    /// The embeddings of views, `[B, D']`.
    pub fn of(self, encoded: &Encoded) -> Tensor {
        match self {
            Self::Projected => encoded.embedding.shallow_clone(),
            Self::Pooled => unit_length(&encoded.pooled),
            Self::Both => {
                Tensor::cat(&[unit_length(&encoded.pooled), encoded.embedding.shallow_clone()], 1)
                    * std::f64::consts::FRAC_1_SQRT_2
            }
        }
    }

    /// Their dimension, `D'`.
    pub fn dim(self, encoder: &dyn Encoder) -> usize {
        self.dim_of(encoder.dim(), encoder.num_pooled())
    }

    /// Their dimension for an encoder of those.
    pub fn dim_of(self, dim: usize, num_pooled: usize) -> usize {
        match self {
            Self::Projected => dim,
            Self::Pooled => num_pooled,
            Self::Both => num_pooled + dim,
        }
    }
}

#[cfg(test)]
mod tests {
    use invar_dataset::{View, ViewShape};
    use tch::{Device, Kind, nn};

    use super::*;
    use crate::{Batch, EncoderConfig, Mode};

    fn encoders() -> Vec<(Box<dyn Encoder>, Batch)> {
        let features = || vec![View::features(vec![0.5, -1.0, 2.0]), View::features(vec![1.0, 0.0, 3.0])];
        let tokens = || vec![View::tokens((0..40).map(|i| i % 4).collect()), View::tokens(vec![2; 50])];
        let images = || {
            let image = |k: usize| View::Dense {
                shape: vec![1, 16, 16],
                data: (0..256).map(|i| ((i * k) as f32 * 0.1).sin()).collect(),
            };
            vec![image(1), image(7)]
        };
        let cases = [
            ("type = 'kmer-mlp'\ndim = 7\nhidden = [9, 5]", ViewShape::Dense(vec![3]), features()),
            ("type = 'kmer-mlp'\ndim = 7\nhidden = []", ViewShape::Dense(vec![3]), features()),
            ("type = 'conv'\ndim = 7\nchannels = 6", ViewShape::Tokens { vocabulary: 5 }, tokens()),
            ("type = 'transformer'\ndim = 7", ViewShape::Tokens { vocabulary: 5 }, tokens()),
            (
                "type = 'resnet-c4'\nsize = 'nano'\ndim = 7\npool = 'mean-std'",
                ViewShape::Dense(vec![1, 16, 16]),
                images(),
            ),
        ];
        let make = |(config, shape, views): (&str, ViewShape, Vec<View>)| {
            let store = nn::VarStore::new(Device::Cpu);
            let config: EncoderConfig = toml::from_str(config).unwrap();
            let encoder = config.init(&(store.root() / "trunk"), &shape).unwrap();
            (encoder, Batch::collate(&views.iter().collect::<Vec<_>>()).unwrap())
        };
        cases.into_iter().map(make).collect()
    }

    #[test]
    fn every_encoder_gives_both_in_the_dimensions_that_it_names() {
        for (encoder, batch) in encoders() {
            let encoded = encoder.encode(&batch, Mode::EMBED).unwrap();
            let of = |features: Features| {
                let found = features.of(&encoded);
                assert_eq!(found.size(), [2, features.dim(&*encoder) as i64]);
                let lengths = found.square().sum_dim_intlist(-1, false, None::<Kind>);
                assert!((lengths - 1.0).abs().max().double_value(&[]) < 1e-5);
                found
            };
            let [projected, pooled, both] = [Features::Projected, Features::Pooled, Features::Both].map(of);
            assert_eq!(projected, encoded.embedding);
            // The cosine of concatenated vectors is the mean of their cosines.
            let cosine = |x: &Tensor| (x.get(0) * x.get(1)).sum(None::<Kind>).double_value(&[]);
            let mean = (cosine(&projected) + cosine(&pooled)) / 2.0;
            assert!((cosine(&both) - mean).abs() < 1e-5);
            assert_eq!(encoded.rows(1, 1).pooled, encoded.pooled.narrow(0, 1, 1));
        }
    }

    #[test]
    fn what_is_pooled_is_what_the_last_layer_is_given() {
        let store = nn::VarStore::new(Device::Cpu);
        let config: EncoderConfig = toml::from_str("type = 'kmer-mlp'\ndim = 4\nhidden = [6]").unwrap();
        let encoder = config.init(&(store.root() / "trunk"), &ViewShape::Dense(vec![3])).unwrap();
        let view = View::features(vec![0.5, -1.0, 2.0]);
        let encoded = encoder.encode(&Batch::collate(&[&view]).unwrap(), Mode::EMBED).unwrap();
        let last = &store.variables();
        let expected = encoded.pooled.linear(&last["trunk.out.weight"], Some(&last["trunk.out.bias"]));
        assert!((unit_length(&expected) - &encoded.embedding).abs().max().double_value(&[]) < 1e-5);
    }
}
