//! Encoders of images: shapes, values, and what must not matter: the orientation, the neighbours in the batch.

use invar_dataset::{View, ViewShape, seed};
use invar_nn::{
    Batch, Encoder, EncoderConfig, Grid, Mode,
    encoder::resnet::{NormKind, Pool, ResNetConfig, Size},
    layers::Precision,
};
use rand::Rng as _;
use tch::{
    Device, Kind, Tensor,
    nn::{self, OptimizerConfig},
};

const SIDE: usize = 16;

/// To see the feature map too.
const TOKENS: Mode = Mode { tokens: true, ..Mode::EMBED };

fn nano(norm: NormKind) -> ResNetConfig {
    ResNetConfig { size: Size::Nano, dim: 24, norm, ..ResNetConfig::default() }
}

fn square() -> ViewShape {
    ViewShape::Dense(vec![2, SIDE, SIDE])
}

/// Images `[2, 16, 16]` of blobs and noise, about in `[0, 1]`.
fn images(rng_seed: u64, number: usize) -> Vec<View> {
    let mut rng = seed::rng(rng_seed, 0);
    let mut uniform = || (rng.next_u64() >> 40) as f32 / (1u64 << 24) as f32;
    let shape = vec![2, SIDE, SIDE];
    (0..number)
        .map(|_| {
            let (row, column, width) = (uniform() * 16.0, uniform() * 16.0, 2.0 + uniform() * 20.0);
            let value = |i: usize| {
                let (y, x) = ((i / SIDE % SIDE) as f32 - row, (i % SIDE) as f32 - column);
                (-(y * y + x * x * 0.3) / width).exp()
            };
            let data = (0..2 * SIDE * SIDE).map(|i| 0.7 * value(i) + 0.3 * uniform()).collect();
            View::Dense { shape: shape.clone(), data }
        })
        .collect()
}

fn collate(views: &[View]) -> Batch {
    Batch::collate(&views.iter().collect::<Vec<_>>()).unwrap()
}

fn encode(encoder: &dyn Encoder, views: &[View]) -> Tensor {
    tch::no_grad(|| encoder.encode(&collate(views), Mode::EMBED).unwrap().embedding)
}

/// The view turned counter-clockwise by a quarter.
fn quarter_turn(view: &View) -> View {
    let View::Dense { shape, data } = view else { panic!("dense") };
    let at = |c: usize, y: usize, x: usize| data[(c * SIDE + y) * SIDE + x];
    let turned = (0..2 * SIDE * SIDE).map(|i| at(i / SIDE / SIDE, i % SIDE, SIDE - 1 - i / SIDE % SIDE)).collect();
    View::Dense { shape: shape.clone(), data: turned }
}

/// Largest `1 - cos` between rows, in double precision.
fn gap(a: &Tensor, b: &Tensor) -> f64 {
    let unit = |t: &Tensor| {
        let t = t.to_kind(Kind::Double);
        &t / t.norm_scalaropt_dim(2.0, [1i64], true)
    };
    ((unit(a) - unit(b)).square().sum_dim_intlist(-1, false, None) * 0.5).max().double_value(&[])
}

/// A few optimizer steps on an objective that moves all weights: pull each embedding to the first axis.
fn train(encoder: &dyn Encoder, store: &nn::VarStore) {
    let mut optimizer = nn::AdamW::default().build(store, 3e-3).unwrap();
    for step in 0..5 {
        let embedding = encoder.encode(&collate(&images(100 + step, 8)), Mode::TRAIN).unwrap().embedding;
        optimizer.backward_step(&embedding.select(1, 0).neg().mean(None::<Kind>));
    }
}

#[test]
fn orientations_are_one_before_and_after_training() {
    for norm in [NormKind::Batch, NormKind::Group] {
        for (config, expected) in [
            (EncoderConfig::ResnetC4(nano(norm)), true),
            (EncoderConfig::ResnetC8(nano(norm)), true),
            (EncoderConfig::Resnet(nano(norm)), false),
        ] {
            let store = nn::VarStore::new(Device::Cpu);
            let encoder = config.init(&(store.root() / "trunk"), &square()).unwrap();
            let plain = images(1, 6);
            let turned: Vec<View> = plain.iter().map(quarter_turn).collect();
            let initial = encode(&*encoder, &plain);
            let measure = || gap(&encode(&*encoder, &plain), &encode(&*encoder, &turned));
            let before = measure();
            train(&*encoder, &store);
            let after = measure();
            assert!(gap(&initial, &encode(&*encoder, &plain)) > 1e-2, "{} has learned", config.name());
            if expected {
                assert!(before <= 1e-7 && after <= 1e-7, "{} {norm:?}: {before} {after}", config.name());
            } else {
                assert!(after > 1e-6, "{} {norm:?} is told the orientation: {after}", config.name());
            }
        }
    }
}

#[test]
fn neighbours_in_the_batch_do_not_matter() {
    for norm in [NormKind::Batch, NormKind::Group] {
        let store = nn::VarStore::new(Device::Cpu);
        let encoder = EncoderConfig::ResnetC4(nano(norm)).init(&store.root(), &square()).unwrap();
        train(&*encoder, &store);
        let all = images(5, 5);
        let alone: Vec<Tensor> = all.iter().map(|view| encode(&*encoder, std::slice::from_ref(view))).collect();
        let apart = gap(&encode(&*encoder, &all), &Tensor::cat(&alone, 0));
        assert!(apart <= 1e-9, "{norm:?}: {apart}");
    }
}

#[test]
fn shapes_are_as_documented() {
    let shape = ViewShape::Dense(vec![3, 20, 33]);
    let view = View::Dense { shape: vec![3, 20, 33], data: (0..3 * 20 * 33).map(|i| (i as f32).sin()).collect() };
    for (size, channels, h, w, stride) in [
        (Size::Nano, 128, 2, 3, 16),
        (Size::Tiny, 128, 3, 5, 8),
        (Size::Small, 256, 2, 3, 16),
        (Size::Resnet18, 512, 1, 2, 32),
    ] {
        for pool in [Pool::Mean, Pool::MeanStd, Pool::Gem] {
            let store = nn::VarStore::new(Device::Cpu);
            let config = EncoderConfig::Resnet(ResNetConfig { size, pool, dim: 7, ..ResNetConfig::default() });
            let encoder = config.init(&(store.root() / "trunk"), &shape).unwrap();
            assert!(store.variables().keys().all(|name| name.starts_with("trunk.")));
            let encoded = encoder.encode(&collate(&[view.clone(), view.clone()]), TOKENS).unwrap();
            assert_eq!((encoder.dim(), encoded.embedding.size()), (7, vec![2, 7]));
            assert_eq!(encoded.grid, Some(Grid { h, w, stride }), "{size:?}");
            assert_eq!(encoded.tokens.unwrap().size(), [2, h * w, channels]);
            let norms = encoded.embedding.square().sum_dim_intlist(-1, false, None);
            assert!((norms - 1.0).abs().max().double_value(&[]) < 1e-5);
        }
    }
}

#[test]
fn the_weights_are_as_many_as_in_pytorch() {
    // `sum(p.numel() for p in net.parameters())` of benches/peers/resnet_torch.py, which --check prints.
    let expected =
        [(Size::Nano, 324_016), (Size::Tiny, 323_808), (Size::Small, 1_259_232), (Size::Resnet18, 11_235_904)];
    for (size, expected) in expected {
        let store = nn::VarStore::new(Device::Cpu);
        let config = ResNetConfig { size, ..ResNetConfig::default() };
        let _ = EncoderConfig::Resnet(config).init(&store.root(), &ViewShape::Dense(vec![1, 64, 64])).unwrap();
        let found: usize = store.trainable_variables().iter().map(Tensor::numel).sum();
        assert_eq!(found, expected, "{size:?}");
    }
}

/// Weights that depend only on their place: in the order of names, weight `i` of variable `k` is `sin(0.3 i + k) / 4`;
/// running means are `sin(i) / 10`, running variances `1 + cos(i)^2`.
fn fix_weights(store: &nn::VarStore) {
    let mut variables: Vec<(String, Tensor)> = store.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    for (k, (name, variable)) in variables.into_iter().enumerate() {
        let i = Tensor::arange(variable.numel() as i64, (Kind::Double, Device::Cpu));
        let values = if name.ends_with("running_mean") {
            i.sin() / 10.0
        } else if name.ends_with("running_var") {
            i.cos().square() + 1.0
        } else {
            (i * 0.3 + k as f64).sin() / 4.0
        };
        tch::no_grad(|| variable.shallow_clone().copy_(&values.view_as(&variable)));
    }
}

#[test]
fn values_are_those_of_pytorch() {
    // benches/peers/resnet_torch.py --check prints these: the same weights, the image sin(0.37 i) / 2 + 1/2 [1, 12, 12].
    let data = (0..144).map(|i| (f64::from(i) * 0.37).sin() as f32 / 2.0 + 0.5).collect();
    let view = View::Dense { shape: vec![1, 12, 12], data };
    let expected = [
        (NormKind::Batch, Pool::Mean, false, [-0.5210546, -0.0632205, 0.4308504, 0.7340798]),
        (NormKind::Batch, Pool::MeanStd, true, [-0.5388537, 0.4300853, 0.7109743, -0.1384884]),
        (NormKind::Group, Pool::Gem, false, [0.7203307, 0.6230562, 0.304156, -0.0203431]),
        (NormKind::Group, Pool::Mean, true, [0.7306071, 0.618265, 0.2867146, -0.0419084]),
    ];
    for (norm, pool, input_norm, expected) in expected {
        let store = nn::VarStore::new(Device::Cpu);
        let config = ResNetConfig { size: Size::Nano, dim: 4, norm, pool, input_norm, ..ResNetConfig::default() };
        let shape = ViewShape::Dense(vec![1, 12, 12]);
        let encoder = EncoderConfig::Resnet(config).init(&(store.root() / "trunk"), &shape).unwrap();
        fix_weights(&store);
        let found = Vec::<f32>::try_from(encode(&*encoder, std::slice::from_ref(&view)).flatten(0, 1)).unwrap();
        let near = found.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-4);
        assert!(near, "{norm:?} {pool:?} {input_norm}: {found:?} {expected:?}");
    }
}

#[test]
fn bf16_is_near_f32_and_learns() {
    for norm in [NormKind::Batch, NormKind::Group] {
        let store = nn::VarStore::new(Device::Cpu);
        let exact = EncoderConfig::Resnet(nano(norm)).init(&store.root(), &square()).unwrap();
        let half_store = nn::VarStore::new(Device::Cpu);
        let config = EncoderConfig::Resnet(ResNetConfig { precision: Precision::Bf16, ..nano(norm) });
        let half = config.init(&half_store.root(), &square()).unwrap();
        let weights = store.variables();
        for (name, own) in half_store.variables() {
            tch::no_grad(|| own.shallow_clone().copy_(&weights[&name]));
        }
        let views = images(3, 6);
        let apart = gap(&encode(&*exact, &views), &encode(&*half, &views));
        assert!(apart > 0.0 && apart < 1e-2, "{norm:?}: {apart}");
        let before = encode(&*half, &views);
        train(&*half, &half_store);
        assert!(gap(&before, &encode(&*half, &views)) > 1e-2);
        assert!(half_store.variables().values().all(|v| v.kind() == Kind::Float));
    }
}

#[test]
fn brightness_and_contrast_tell_nothing_after_the_input_norm() {
    let store = nn::VarStore::new(Device::Cpu);
    let config = ResNetConfig { input_norm: true, ..nano(NormKind::Group) };
    let encoder = EncoderConfig::Resnet(config).init(&store.root(), &square()).unwrap();
    let plain = images(7, 4);
    let lit = plain.iter().map(|view| {
        let View::Dense { shape, data } = view else { panic!("dense") };
        View::Dense { shape: shape.clone(), data: data.iter().map(|x| 3.0 * x - 0.2).collect() }
    });
    let apart = gap(&encode(&*encoder, &plain), &encode(&*encoder, &lit.collect::<Vec<_>>()));
    assert!(apart < 1e-4, "{apart}");
    let flat = View::Dense { shape: vec![2, SIDE, SIDE], data: vec![0.5; 2 * SIDE * SIDE] };
    assert_eq!(encode(&*encoder, &[flat]).isfinite().all().int64_value(&[]), 1);
}

#[test]
fn views_of_another_shape_are_refused() {
    let store = nn::VarStore::new(Device::Cpu);
    let refuse = |config: EncoderConfig, shape: ViewShape| match config.init(&store.root(), &shape) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{shape:?} accepted"),
    };
    let config = || nano(NormKind::Batch);
    assert_eq!(
        refuse(EncoderConfig::Resnet(config()), ViewShape::Dense(vec![2080])),
        "encoder resnet reads dense [C, H, W] (an image), but the views are dense [2080]"
    );
    assert_eq!(
        refuse(EncoderConfig::ResnetC4(config()), ViewShape::Dense(vec![1, 64, 48])),
        "encoder resnet-c4 reads dense [C, S, S] (a square image), but the views are dense [1, 64, 48]"
    );
    let tokens = refuse(EncoderConfig::ResnetC8(config()), ViewShape::Tokens { vocabulary: 5 });
    assert!(tokens.ends_with("the views are tokens of a vocabulary of 5"), "{tokens}");
    let zero = refuse(EncoderConfig::Resnet(ResNetConfig { dim: 0, ..config() }), square());
    assert_eq!(zero, "encoder.dim must be at least 1, got 0");
    let encoder = EncoderConfig::Resnet(config()).init(&(store.root() / "other"), &square()).unwrap();
    let view = View::Dense { shape: vec![2, 16, 15], data: vec![0.0; 480] };
    assert_eq!(
        encoder.encode(&collate(&[view]), Mode::EMBED).unwrap_err().to_string(),
        "encoder resnet reads dense [2, 16, 16], but the views are dense [2, 16, 15]"
    );
}

#[test]
fn a_recipe_reads_as_documented() {
    let text = "type = 'resnet-c4'\nsize = 'small'\npool = 'mean-std'\nnorm = 'group'\nprecision = 'bf16'";
    let expected = ResNetConfig {
        size: Size::Small,
        pool: Pool::MeanStd,
        norm: NormKind::Group,
        precision: Precision::Bf16,
        ..ResNetConfig::default()
    };
    assert_eq!(toml::from_str::<EncoderConfig>(text).unwrap(), EncoderConfig::ResnetC4(expected));
    let error = toml::from_str::<EncoderConfig>("type = 'resnet'\nsize = 'huge'").unwrap_err().to_string();
    assert!(error.contains("huge") && error.contains("resnet18"), "{error}");
}

/// Largest difference of two values.
fn largest(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

/// The planes `planes` of views.
fn narrowed(views: &[View], planes: std::ops::Range<usize>) -> Vec<View> {
    let narrow = |view: &View| {
        let View::Dense { shape, data } = view else { panic!("dense") };
        let size = shape[1] * shape[2];
        View::Dense {
            shape: vec![planes.len(), shape[1], shape[2]],
            data: data[planes.start * size..planes.end * size].into(),
        }
    };
    views.iter().map(narrow).collect()
}

#[test]
fn the_features_of_two_fields_are_those_of_each_side_by_side() {
    for norm in [NormKind::Batch, NormKind::Group] {
        let (two, one) = (nn::VarStore::new(Device::Cpu), nn::VarStore::new(Device::Cpu));
        let config = ResNetConfig { scales: 2, input_norm: true, ..nano(norm) };
        let both = EncoderConfig::Resnet(config.clone()).init(&two.root(), &square()).unwrap();
        let single = ViewShape::Dense(vec![1, SIDE, SIDE]);
        let alone = EncoderConfig::Resnet(ResNetConfig { scales: 1, ..config }).init(&one.root(), &single).unwrap();
        let trunk = two.variables();
        for (name, mut weights) in one.variables().into_iter().filter(|(name, _)| !name.starts_with("out.")) {
            tch::no_grad(|| weights.copy_(&trunk[&name]));
        }
        let views = images(3, 5);
        let of = |encoder: &dyn Encoder, views: &[View]| encoder.encode(&collate(views), TOKENS).unwrap();
        let found = of(&*both, &views);
        let fields = [0..1, 1..2].map(|planes| of(&*alone, &narrowed(&views, planes)));
        let expected = Tensor::cat(&[&fields[0].pooled, &fields[1].pooled], 1);
        assert!(largest(&found.pooled, &expected) < 1e-5);
        // The map that is passed on is that of the first field.
        assert!(largest(&found.tokens.unwrap(), fields[0].tokens.as_ref().unwrap()) < 1e-5);
    }
    let store = nn::VarStore::new(Device::Cpu);
    let three = ResNetConfig { scales: 3, ..nano(NormKind::Batch) };
    let error = EncoderConfig::Resnet(three).init(&store.root(), &square()).err().unwrap().to_string();
    assert_eq!(error, "encoder.scales must be a number that 2 planes of a view can be divided by, got 3");
}
