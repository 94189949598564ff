//! Parts of a batch, one per thread, give the gradient of the whole batch, for every encoder that works in parts.

use std::collections::HashMap;

use invar_dataset::{SampleId, View, ViewShape, seed};
use invar_loss::{InfoNceConfig, LossConfig};
use invar_nn::{
    Batch, EncoderConfig, SampleIds, Views,
    encoder::{
        conv::ConvConfig,
        kmer_mlp::KmerMlpConfig,
        resnet::{NormKind, ResNetConfig, Size},
        transformer::TransformerConfig,
    },
};
use invar_train::{ContrastiveStep, Place, Step as _, TrainConfig, TrainingJob};
use rand::Rng as _;
use tch::{Device, Kind, Tensor};

const PAIRS: usize = 24;

/// View `view` of pair `pair`.
fn view(shape: &ViewShape, pair: usize, view: usize) -> View {
    let mut rng = seed::rng(view as u64, pair as u64);
    let mut unit = || (rng.next_u64() >> 40) as f32 / (1 << 24) as f32;
    match shape {
        ViewShape::Dense(extents) => {
            let data = (0..extents.iter().product()).map(|_| unit()).collect();
            View::Dense { shape: extents.clone(), data }
        }
        _ => View::tokens((0..150 + pair).map(|_| (unit() * 4.0) as i32).collect()),
    }
}

fn chunk(shape: &ViewShape, pairs: std::ops::Range<usize>) -> Views {
    let views: Vec<View> = [1, 2].iter().flat_map(|&v| pairs.clone().map(move |pair| view(shape, pair, v))).collect();
    let stacks = vec![Batch::collate(&views.iter().collect::<Vec<_>>()).unwrap()];
    let samples: Vec<SampleId> = pairs.map(|pair| SampleId(pair as u64)).collect();
    Views { stacks, samples: SampleIds::of_pairs(2, &samples), links: vec![], classes: vec![] }
}

/// What AdamW remembers of the gradient after a step: a fixed fraction of it.
fn gradients(encoder: &EncoderConfig, shape: &ViewShape, threads: usize) -> HashMap<String, Tensor> {
    let train = TrainConfig { threads, batch_size: PAIRS, grad_clip: 0.0, ..TrainConfig::default() };
    let loss = LossConfig::InfoNce(InfoNceConfig { projection: vec![16], ..InfoNceConfig::default() });
    let recipe = TrainingJob {
        encoders: vec![encoder.clone()],
        loss: loss.into(),
        train,
        features: Default::default(),
        data: Default::default(),
    };
    tch::set_num_threads(threads as i32);
    let mut step = ContrastiveStep::new(&recipe, std::slice::from_ref(shape), &Place::from(Device::Cpu)).unwrap();
    assert_eq!(step.side_by_side(), threads);
    let part = PAIRS / threads;
    let chunks: Vec<Views> = (0..threads).map(|i| chunk(shape, i * part..(i + 1) * part)).collect();
    step.accumulate(0, &chunks).unwrap();
    let report = step.update(1, 1e-3).unwrap();
    assert!(report.loss.is_finite() && report.grad_norm > 1e-3, "{report:?}");
    step.tensors().into_iter().filter(|(name, _)| name.starts_with("optimizer.exp_avg.")).collect()
}

#[test]
fn parts_side_by_side_have_the_gradient_of_the_whole() {
    let image = ViewShape::Dense(vec![1, 20, 20]);
    let bases = ViewShape::Tokens { vocabulary: 5 };
    let resnet = ResNetConfig { size: Size::Nano, norm: NormKind::Group, ..ResNetConfig::default() };
    for (encoder, shape) in [
        (EncoderConfig::KmerMlp(KmerMlpConfig::default()), ViewShape::Dense(vec![136])),
        (EncoderConfig::Conv(ConvConfig::default()), bases.clone()),
        (EncoderConfig::Transformer(TransformerConfig::default()), bases),
        (EncoderConfig::Resnet(resnet.clone()), image.clone()),
        (EncoderConfig::ResnetC4(resnet), image),
    ] {
        let whole = gradients(&encoder, &shape, 1);
        for threads in [2, 3] {
            let parts = gradients(&encoder, &shape, threads);
            assert_eq!(parts.len(), whole.len());
            for (name, expected) in &whole {
                let error = (&parts[name] - expected).norm().double_value(&[]);
                let size = expected.norm().to_kind(Kind::Double).double_value(&[]);
                // Gradients of biases before a norm vanish.
                assert!(error <= 1e-4 * size + 1e-7, "{} {name}: {error} of {size}", encoder.name());
            }
        }
    }
}
