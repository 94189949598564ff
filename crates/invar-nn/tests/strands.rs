//! Sequence encoders are blind to the strand: before training, after it, at any length and place in the batch.

use invar_dataset::{View, ViewShape, seed};
use invar_nn::{
    Batch, Encoded, Encoder, EncoderConfig, Grid, Mode, TokenShape,
    encoder::{conv::ConvConfig, kmer_mlp::KmerMlpConfig, transformer::TransformerConfig},
};
use rand::Rng as _;
use tch::{
    Device, Kind, Tensor,
    nn::{self, OptimizerConfig},
};

const SHAPE: ViewShape = ViewShape::Tokens { vocabulary: 5 };

fn sequence_encoders() -> [EncoderConfig; 2] {
    let transformer = TransformerConfig { width: 32, depth: 2, heads: 2, dim: 24, ..TransformerConfig::default() };
    [
        EncoderConfig::Conv(ConvConfig { channels: 16, depth: 3, dim: 24, ..ConvConfig::default() }),
        EncoderConfig::Transformer(transformer),
    ]
}

/// Bases with a few N, of lengths around the strides and far from them.
fn sequences(rng_seed: u64) -> Vec<Vec<i32>> {
    let lengths = [0, 1, 2, 7, 8, 9, 31, 64, 65, 100, 257, 300];
    let base = |rng: &mut seed::Rng| match rng.next_u64() % 41 {
        40 => 4,
        x => (x % 4) as i32,
    };
    let mut rng = seed::rng(rng_seed, 0);
    lengths.iter().map(|&length| (0..length).map(|_| base(&mut rng)).collect()).collect()
}

fn reverse_complement(sequence: &[i32]) -> Vec<i32> {
    sequence.iter().rev().map(|&t| if t < 4 { 3 - t } else { t }).collect()
}

fn encode(encoder: &dyn Encoder, sequences: &[Vec<i32>]) -> Tensor {
    let views: Vec<View> = sequences.iter().cloned().map(View::tokens).collect();
    let batch = Batch::collate(&views.iter().collect::<Vec<_>>()).unwrap();
    tch::no_grad(|| encoder.encode(&batch, Mode::EMBED).unwrap().embedding)
}

/// Largest `1 - cos` between rows, in double precision.
fn gap(a: &Tensor, b: &Tensor) -> f64 {
    let unit = |t: &Tensor| {
        let t = t.to_kind(Kind::Double);
        &t / t.norm_scalaropt_dim(2.0, [1i64], true)
    };
    ((unit(a) - unit(b)).square().sum_dim_intlist(-1, false, None) * 0.5).max().double_value(&[])
}

/// The gap over ragged batches in which each reverse complement has a different place than its original.
fn strand_gap(encoder: &dyn Encoder) -> f64 {
    let forward = sequences(1);
    let mut backward: Vec<Vec<i32>> = forward.iter().map(|s| reverse_complement(s)).collect();
    let last = forward.len() as i64 - 1;
    backward.reverse();
    let places = Tensor::arange(last + 1, (Kind::Int64, Device::Cpu));
    let restored = encode(encoder, &backward).index_select(0, &(last - places));
    gap(&encode(encoder, &forward), &restored)
}

#[test]
fn strands_are_one_before_and_after_training() {
    for config in sequence_encoders() {
        let store = nn::VarStore::new(Device::Cpu);
        let encoder = config.init(&(store.root() / "trunk"), &SHAPE).unwrap();
        let before = strand_gap(&*encoder);
        assert!(before <= 1e-6, "{}: {before}", config.name());
        let initial = encode(&*encoder, &sequences(1));
        let mut optimizer = nn::AdamW::default().build(&store, 1e-2).unwrap();
        for step in 0..5 {
            let views: Vec<View> = sequences(2 + step).into_iter().map(View::tokens).collect();
            let batch = Batch::collate(&views.iter().collect::<Vec<_>>()).unwrap();
            let embedding = encoder.encode(&batch, Mode::TRAIN).unwrap().embedding;
            // An objective that moves all weights: pull each embedding to the first axis.
            optimizer.backward_step(&embedding.select(1, 0).neg().mean(None::<Kind>));
        }
        let after = strand_gap(&*encoder);
        assert!(after <= 1e-6, "{}: {after}", config.name());
        assert!(gap(&initial, &encode(&*encoder, &sequences(1))) > 1e-2, "{} has learned", config.name());
    }
}

#[test]
fn padding_and_neighbours_do_not_matter() {
    for config in sequence_encoders() {
        let store = nn::VarStore::new(Device::Cpu);
        let encoder = config.init(&(store.root() / "trunk"), &SHAPE).unwrap();
        let all = sequences(5);
        let together = encode(&*encoder, &all);
        let alone: Vec<Tensor> = all.iter().map(|s| encode(&*encoder, std::slice::from_ref(s))).collect();
        let apart = gap(&together, &Tensor::cat(&alone, 0));
        assert!(apart <= 1e-6, "{}: {apart}", config.name());
    }
}

#[test]
fn different_sequences_differ_and_hopeless_ones_are_finite() {
    for config in sequence_encoders() {
        let store = nn::VarStore::new(Device::Cpu);
        let encoder = config.init(&(store.root() / "trunk"), &SHAPE).unwrap();
        let some = encode(&*encoder, &[sequences(1)[11].clone(), vec![0; 300], vec![4; 300], vec![]]);
        assert_eq!(some.isfinite().all().int64_value(&[]), 1);
        let norms = some.square().sum_dim_intlist(-1, false, None);
        assert!((norms - 1.0).abs().max().double_value(&[]) < 1e-5);
        assert!(gap(&some.narrow(0, 0, 1), &some.narrow(0, 1, 1)) > 1e-6);
        // The strand makes no difference, but the direction does: reversed without complement is another sequence.
        let asymmetric: Vec<i32> = [0, 0, 1, 2, 0, 1, 1, 0].repeat(20);
        let mut reversed = asymmetric.clone();
        reversed.reverse();
        let pair = encode(&*encoder, &[asymmetric, reversed]);
        assert!(gap(&pair.narrow(0, 0, 1), &pair.narrow(0, 1, 1)) > 1e-6, "{}", config.name());
    }
}

#[test]
fn parameters_are_named_after_the_trunk() {
    for config in sequence_encoders().into_iter().chain([EncoderConfig::default()]) {
        let shape = if config.name() == "kmer-mlp" { ViewShape::Dense(vec![10]) } else { SHAPE };
        let store = nn::VarStore::new(Device::Cpu);
        config.init(&(store.root() / "trunk"), &shape).unwrap();
        let variables = store.variables();
        assert!(variables.keys().all(|name| name.starts_with("trunk.")), "{:?}", variables.keys());
        assert!(variables.contains_key("trunk.out.weight"));
    }
}

#[test]
fn an_encoder_refuses_views_of_another_shape() {
    let store = nn::VarStore::new(Device::Cpu);
    let refuse = |config: EncoderConfig, shape: ViewShape| match config.init(&store.root(), &shape) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{shape:?} accepted"),
    };
    let [conv, transformer] = sequence_encoders();
    assert_eq!(
        refuse(conv, ViewShape::Dense(vec![3])),
        "encoder conv reads tokens of a vocabulary of at least 4 (bases), but the views are dense [3]"
    );
    assert!(refuse(transformer, ViewShape::Graph { num_features: 3 }).ends_with("a graph with 3 features per node"));
    assert_eq!(
        refuse(EncoderConfig::default(), SHAPE),
        "encoder kmer-mlp reads dense [F] (a k-mer profile), but the views are tokens of a vocabulary of 5"
    );
    let odd = TransformerConfig { width: 30, heads: 4, ..TransformerConfig::default() };
    let error = refuse(EncoderConfig::Transformer(odd), SHAPE);
    assert_eq!(error, "encoder.width must be a multiple of twice encoder.heads (4), got 30");
    assert!(ConvConfig { kernel: 4, ..ConvConfig::default() }.init(&store.root(), &SHAPE).is_err());
    assert!(
        KmerMlpConfig { dropout: 1.0, ..KmerMlpConfig::default() }
            .init(&store.root(), &ViewShape::Dense(vec![3]))
            .is_err()
    );
}

#[test]
fn a_recipe_reads_as_documented() {
    let config: EncoderConfig = toml::from_str("type = 'kmer-mlp'\nhidden = [64]\ndim = 32").unwrap();
    let expected = KmerMlpConfig { hidden: vec![64], dim: 32, ..KmerMlpConfig::default() };
    assert_eq!(config, EncoderConfig::KmerMlp(expected));
    let error = toml::from_str::<EncoderConfig>("type = 'conv'\nchanels = 3").unwrap_err().to_string();
    assert!(error.contains("chanels") && error.contains("channels"), "{error}");
}

#[test]
fn attention_that_is_asked_for_changes_nothing_and_adds_up() {
    let store = nn::VarStore::new(Device::Cpu);
    tch::manual_seed(5);
    let config = TransformerConfig { width: 32, depth: 2, heads: 2, patch: 4, ..TransformerConfig::default() };
    let encoder = EncoderConfig::Transformer(config).init(&store.root(), &ViewShape::Tokens { vocabulary: 5 }).unwrap();
    let bases = |length: usize| View::tokens((0..length).map(|at| (at * 7 % 4) as i32).collect());
    // With 10, 3 and 0 patches.
    let views = [bases(40), bases(11), bases(0)];
    let batch = Batch::collate(&views.each_ref()).unwrap();
    let (plain, asked) = tch::no_grad(|| {
        let mode = Mode { attention: true, tokens: true, ..Mode::EMBED };
        (encoder.encode(&batch, Mode::EMBED).unwrap(), encoder.encode(&batch, mode).unwrap())
    });
    assert!(plain.tokens.is_none() && plain.grid.is_none() && plain.attention.is_empty());
    let difference = |rows: i64| {
        let of = |encoded: &Encoded| encoded.embedding.narrow(0, 0, rows);
        (of(&plain) - of(&asked)).abs().max().double_value(&[])
    };
    // The fused product and the explicit one agree except for rounding.
    assert!(difference(2) < 1e-5, "{}", difference(2));
    assert_eq!(asked.grid, Some(Grid { h: 1, w: 10, stride: 4 }));
    assert_eq!(asked.tokens.as_ref().unwrap().size(), [3, 10, 32]);
    assert_eq!(encoder.tokens(), Some(TokenShape { features: 32, stride: 4 }));
    assert_eq!(asked.attention.len(), 2);
    for layer in &asked.attention {
        assert_eq!(layer.size(), [3, 2, 10, 10]);
        let sums = layer.narrow(0, 0, 2).sum_dim_intlist(-1, false, None::<Kind>);
        assert!((sums - 1.0).abs().max().double_value(&[]) < 1e-5);
        // Nothing attends to the padding.
        assert_eq!(layer.get(1).narrow(-1, 3, 7).abs().max().double_value(&[]), 0.0);
    }
    // A row alone has its own.
    assert_eq!(asked.rows(1, 1).attention[1], asked.attention[1].narrow(0, 1, 1));
}

#[test]
fn tokens_are_of_the_strand_as_it_is_given() {
    let store = nn::VarStore::new(Device::Cpu);
    tch::manual_seed(6);
    let config = ConvConfig { channels: 16, depth: 1, kernel: 3, stem_kernel: 5, stride: 2, ..ConvConfig::default() };
    let encoder = EncoderConfig::Conv(config).init(&store.root(), &ViewShape::Tokens { vocabulary: 5 }).unwrap();
    let ids: Vec<i32> = (0..64).map(|at| at * at * 7 % 13 % 4).collect();
    let reversed: Vec<i32> = ids.iter().rev().map(|&id| 3 - id).collect();
    let of = |ids: &[i32]| {
        let batch = Batch::collate(&[&View::tokens(ids.to_vec())]).unwrap();
        tch::no_grad(|| encoder.encode(&batch, Mode { tokens: true, ..Mode::EMBED }).unwrap())
    };
    let (forth, back) = (of(&ids), of(&reversed));
    assert_eq!(forth.tokens.as_ref().unwrap().size(), [1, 32, 16]);
    assert_eq!(forth.grid, Some(Grid { h: 1, w: 32, stride: 2 }));
    let differ = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
    assert!(differ(&forth.embedding, &back.embedding) < 1e-5);
    assert!(differ(forth.tokens.as_ref().unwrap(), back.tokens.as_ref().unwrap()) > 1e-2);
}
