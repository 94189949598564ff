//! Several losses at once, losses of single positions, and views that are graphs.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use invar_dataset::{
    DatasetError, Link, NoProgress, Pair, PairSource, RunDir, SampleId, SampleName, View, ViewShape, seed,
};
use invar_loss::{
    DenseInfoNceConfig, InfoNceConfig, LossConfig, LossTables, MaskedTokenConfig, SigmoidConfig, WeightedLoss,
};
use invar_nn::{
    EncoderConfig,
    encoder::{
        gnn::GnnConfig,
        kmer_mlp::KmerMlpConfig,
        resnet::{NormKind, ResNetConfig, Size},
        transformer::TransformerConfig,
    },
};
use invar_train::{
    Error, HarmonyConfig, HarmonyMethod, Steps, TrainConfig, TrainingJob, checkpoint, metrics::Event, train,
};
use rand::Rng as _;
use tch::{Device, Kind, Tensor};

const NUM_SAMPLES: usize = 96;

/// Views of one shape, made by a function of the sample and a generator.
struct Made {
    shape: ViewShape,
    view: fn(usize, &mut seed::Rng) -> View,
}

const SIDE: usize = 32;
const LINKS: usize = 24;

/// Two windows of one noise picture, the second further down and to the right, and links between pixels that coincide.
struct Windows {
    /// What is added to the items of the second view.
    off_by: u32,
}

impl PairSource for Windows {
    fn len(&self) -> usize {
        NUM_SAMPLES
    }
    fn view_shapes(&self) -> Vec<ViewShape> {
        vec![ViewShape::Dense(vec![1, SIDE, SIDE])]
    }
    fn pair(&self, index: usize, pair_seed: u64) -> Result<Pair, DatasetError> {
        let mut rng = seed::rng(pair_seed, index as u64);
        let mut below = |n: usize| (rng.next_u64() % n as u64) as usize;
        let (down, right) = (below(9), below(9));
        // Blocks of 4 x 4 pixels with one value each.
        let value = |row: usize, column: usize| {
            let mut block = seed::rng(seed::mix(9, index as u64), (row / 4 * 64 + column / 4) as u64);
            (block.next_u64() % 1_000) as f32 / 1_000.0
        };
        let mut window = |top: usize, left: usize| {
            let noise = |at: usize| 0.6 * (at as f32 / 1_000.0 - 0.5);
            let pixels = (0..SIDE * SIDE).map(|at| value(top + at / SIDE, left + at % SIDE) + noise(below(1_000)));
            View::Dense { shape: vec![1, SIDE, SIDE], data: pixels.collect() }
        };
        let views = [window(0, 0), window(down, right)];
        let links = (0..LINKS).map(|_| {
            let (row, column) = (down + below(SIDE - down), right + below(SIDE - right));
            let key = ((row - down) * SIDE + column - right) as u32 + self.off_by;
            Link { anchor: (row * SIDE + column) as u32, key, weight: 1.0 }
        });
        let links = Some(links.collect());
        Ok(Pair { links, ..Pair::of(SampleId(index as u64), views) })
    }
    fn split_key(&self, index: usize) -> SampleId {
        SampleId(index as u64)
    }
}

impl PairSource for Made {
    fn len(&self) -> usize {
        NUM_SAMPLES
    }
    fn view_shapes(&self) -> Vec<ViewShape> {
        vec![self.shape.clone()]
    }
    fn pair(&self, index: usize, pair_seed: u64) -> Result<Pair, DatasetError> {
        let view = |number: u64| {
            let mut rng = seed::rng(seed::mix(pair_seed, number), index as u64);
            (SampleId(index as u64), (self.view)(index, &mut rng))
        };
        Ok(Pair { views: vec![view(1), view(2)], links: None, group: None, related: vec![], classes: vec![] })
    }
    fn split_key(&self, index: usize) -> SampleId {
        SampleId(index as u64)
    }
    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        Ok(SampleName::number(index))
    }
}

/// A motif repeated over and over from a random offset, a sixth of it hidden: what is hidden also occurs elsewhere.
fn repeated(index: usize, rng: &mut seed::Rng) -> View {
    let mut own = seed::rng(77, index as u64);
    let motif: Vec<i32> = (0..8).map(|_| (own.next_u64() % 4) as i32).collect();
    let (from, length) = (rng.next_u64() as usize % 8, 40 + rng.next_u64() as usize % 9);
    let mut ids: Vec<i32> = (0..length).map(|at| motif[(from + at) % 8]).collect();
    let hidden: Vec<bool> = (0..length).map(|_| rng.next_u64().is_multiple_of(6)).collect();
    let targets = ids.iter().zip(&hidden).map(|(&id, &hidden)| if hidden { id } else { -1 }).collect();
    // 4 has no one-hot channel.
    ids.iter_mut().zip(&hidden).filter(|(_, hidden)| **hidden).for_each(|(id, _)| *id = 4);
    View::Tokens { ids, targets: Some(targets) }
}

/// A ring of 6 to 12 nodes with chords that skip as many nodes as the sample's class; three more features are noise.
fn ring(index: usize, rng: &mut seed::Rng) -> View {
    let n = 6 + (rng.next_u64() % 7) as u32;
    let leap = 2 + (index % 3) as u32;
    let edge = |a: u32, b: u32| [(a % n, b % n), (b % n, a % n)];
    let edge_index = (0..n).flat_map(|node| [edge(node, node + 1), edge(node, node + leap)].concat()).collect();
    let class = |node: u32| if (node + index as u32 / 3).is_multiple_of(leap) { 1.0 } else { -1.0 };
    let mut noise = || (rng.next_u64() % 1_000) as f32 / 1_000.0 - 0.5;
    let of_sample = (index as f32 * 0.37).sin();
    let x = (0..n).flat_map(|node| [class(node), of_sample, noise()]).collect();
    View::Graph { x, num_features: 3, edge_index, edge_weight: None }
}

fn tokens() -> Made {
    Made { shape: ViewShape::Tokens { vocabulary: 5 }, view: repeated }
}

fn graphs() -> Made {
    Made { shape: ViewShape::Graph { num_features: 3 }, view: ring }
}

fn transformer() -> EncoderConfig {
    let config = TransformerConfig { width: 32, depth: 2, heads: 2, patch: 4, dim: 16, ..TransformerConfig::default() };
    EncoderConfig::Transformer(config)
}

fn weighed(losses: &[(f64, LossConfig)]) -> LossTables {
    let losses = losses.iter().map(|(weight, loss)| WeightedLoss { weight: *weight, loss: loss.clone() });
    LossTables { losses: losses.collect() }
}

fn info_nce() -> LossConfig {
    LossConfig::InfoNce(InfoNceConfig::default())
}

fn masked() -> LossConfig {
    LossConfig::MaskedToken(MaskedTokenConfig::default())
}

fn recipe(encoder: EncoderConfig, loss: LossTables, steps: u64, chunk_pairs: usize) -> TrainingJob {
    let train = TrainConfig {
        steps: Steps::Fixed(steps),
        batch_size: 24,
        chunk_pairs,
        learning_rate: 3e-3,
        warmup_steps: 2,
        log_every: 1,
        validate_every: steps,
        validation_fraction: 0.25,
        threads: 1,
        ..TrainConfig::default()
    };
    TrainingJob { encoders: vec![encoder], loss, train, features: Default::default(), data: Default::default() }
}

fn run(recipe: &TrainingJob, source: impl PairSource + 'static, dir: &Path) -> Result<HashMap<String, Tensor>, Error> {
    train(recipe, Arc::new(source), Device::Cpu, dir, &NoProgress)?;
    let (_, path) = RunDir::new(dir).list_checkpoints().unwrap().remove(0);
    Ok(checkpoint::read::<serde_json::Value>(&path)?.0)
}

/// The loss of a step, and its metrics.
type Step = (f64, BTreeMap<String, f64>);

/// The loss of each step with its metrics, and the retrieval of the last validation.
fn history(dir: &Path) -> (Vec<Step>, f64) {
    let text = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let (mut steps, mut retrieval) = (vec![], 0.0);
    for line in text.lines() {
        match serde_json::from_str(line).unwrap() {
            Event::Step(metrics) => steps.push((metrics.loss, metrics.metrics)),
            Event::Validation(validation) => retrieval = validation.held_out.retrieval,
            _ => {}
        }
    }
    (steps, retrieval)
}

#[test]
fn hidden_tokens_are_learned_beside_the_contrast() {
    let dir = tempfile::tempdir().unwrap();
    let both = weighed(&[(1.0, info_nce()), (0.5, masked())]);
    let weights = run(&recipe(transformer(), both, 150, 0), tokens(), dir.path()).unwrap();
    assert!(weights.contains_key("head.masked_token.logits.weight"));
    let (steps, _) = history(dir.path());
    let of = |step: usize, name: &str| steps[step].1[name];
    // At first a guess among four bases; in the end half of what is hidden is known.
    let sum = of(0, "info-nce") + 0.5 * of(0, "masked-token");
    assert!(of(0, "masked-token") > 4f64.ln() - 0.1 && (steps[0].0 - sum).abs() < 1e-4, "{:?}", steps[0]);
    let last = |name: &str| (140..150).map(|step| of(step, name)).sum::<f64>() / 10.0;
    assert!(of(0, "masked_accuracy") < 0.35 && last("masked_accuracy") > 0.45, "{}", last("masked_accuracy"));
    assert!(last("info-nce/accuracy") > 0.35, "{}", last("info-nce/accuracy"));
}

#[test]
fn a_batch_in_chunks_has_the_gradient_of_the_whole_also_of_single_positions() {
    let both = || weighed(&[(1.0, info_nce()), (0.5, masked())]);
    let (whole, chunked) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = run(&recipe(transformer(), both(), 8, 0), tokens(), whole.path()).unwrap();
    let found = run(&recipe(transformer(), both(), 8, 7), tokens(), chunked.path()).unwrap();
    for ((a, of_a), (b, of_b)) in history(whole.path()).0.into_iter().zip(history(chunked.path()).0) {
        assert!((a - b).abs() < 1e-4 * a, "{a} {b}");
        for name in ["masked-token", "masked_accuracy", "info-nce/accuracy"] {
            assert!((of_a[name] - of_b[name]).abs() < 1e-3, "{name}: {} {}", of_a[name], of_b[name]);
        }
    }
    for (name, tensor) in &expected {
        let gap = (tensor.to_kind(Kind::Double) - found[name].to_kind(Kind::Double)).abs().max().double_value(&[]);
        assert!(gap < 5e-3, "{name}: {gap}");
    }
}

#[test]
fn a_loss_of_single_positions_alone_trains_too() {
    let dir = tempfile::tempdir().unwrap();
    run(&recipe(transformer(), masked().into(), 80, 0), tokens(), dir.path()).unwrap();
    let (steps, _) = history(dir.path());
    assert!(steps[79].0 < 0.8 * steps[0].0, "{} {}", steps[0].0, steps[79].0);
    assert!((steps[0].0 - steps[0].1["masked-token"]).abs() < 1e-5);
}

#[test]
fn a_batch_that_hides_nothing_by_chance_is_no_failure() {
    let nothing = |index: usize, rng: &mut seed::Rng| match repeated(index, rng) {
        View::Tokens { ids, targets } => View::Tokens { targets: Some(vec![-1; targets.map_or(0, |t| t.len())]), ids },
        other => other,
    };
    let source = Made { shape: ViewShape::Tokens { vocabulary: 5 }, view: nothing };
    let dir = tempfile::tempdir().unwrap();
    run(&recipe(transformer(), weighed(&[(1.0, info_nce()), (0.5, masked())]), 4, 0), source, dir.path()).unwrap();
    let (steps, _) = history(dir.path());
    assert!(steps.iter().all(|(loss, metrics)| loss.is_finite() && metrics["masked-token"] == 0.0), "{steps:?}");
}

#[test]
fn weights_weigh_and_a_sum_is_a_sum() {
    let encoder = || transformer();
    let first = |loss: LossTables| {
        let dir = tempfile::tempdir().unwrap();
        run(&recipe(encoder(), loss, 2, 0), tokens(), dir.path()).unwrap();
        history(dir.path()).0[0].0
    };
    let sigmoid = || LossConfig::Sigmoid(SigmoidConfig::default());
    // Neither loss has parameters here that would change the encoder's initial weights.
    let (a, b) = (first(info_nce().into()), first(sigmoid().into()));
    let both = first(weighed(&[(2.0, info_nce()), (0.25, sigmoid())]));
    assert!((both - (2.0 * a + 0.25 * b)).abs() < 1e-4 * both, "{both}: {a} {b}");
}

#[test]
fn gradients_that_conflict_give_way_where_the_recipe_says_so() {
    let both = || weighed(&[(1.0, info_nce()), (0.5, masked())]);
    let harmonious = |loss, chunk_pairs| {
        let mut recipe = recipe(transformer(), loss, 8, chunk_pairs);
        recipe.train.harmony = HarmonyConfig { method: HarmonyMethod::PcGrad, ..HarmonyConfig::default() };
        let dir = tempfile::tempdir().unwrap();
        let weights = run(&recipe, tokens(), dir.path()).unwrap();
        (weights, history(dir.path()).0)
    };
    let plain = |loss| run(&recipe(transformer(), loss, 8, 0), tokens(), tempfile::tempdir().unwrap().path()).unwrap();
    let gap = |a: &HashMap<String, Tensor>, b: &HashMap<String, Tensor>| {
        let gap = |name| (a[name].to_kind(Kind::Double) - b[name].to_kind(Kind::Double)).abs().max().double_value(&[]);
        a.keys().map(|name: &String| gap(name)).fold(0.0, f64::max)
    };
    let (weights, steps) = harmonious(both(), 0);
    let cosines: Vec<f64> = steps.iter().map(|(_, metrics)| metrics["gradient_cosine"]).collect();
    assert!(cosines.iter().all(|cosine| (-1.0..=1.0).contains(cosine)), "{cosines:?}");
    assert!(cosines.iter().any(|&cosine| cosine < 0.0), "no conflict: {cosines:?}");
    assert!(gap(&weights, &plain(both())) > 1e-4, "the conflict changed nothing");
    // The same in chunks as in one piece.
    let (chunked, of_chunked) = harmonious(both(), 7);
    assert!(gap(&weights, &chunked) < 5e-3, "{}", gap(&weights, &chunked));
    for ((_, a), (_, b)) in steps.iter().zip(&of_chunked) {
        assert!((a["gradient_cosine"] - b["gradient_cosine"]).abs() < 1e-2);
    }
    // A loss on its own has nothing to give way to.
    let (alone, steps) = harmonious(info_nce().into(), 0);
    assert_eq!(gap(&alone, &plain(info_nce().into())), 0.0);
    assert!(!steps[0].1.contains_key("gradient_cosine"));
}

#[test]
fn graphs_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let encoder = EncoderConfig::Gnn(GnnConfig { width: 32, depth: 2, dim: 16, dropout: 0.0 });
    run(&recipe(encoder, info_nce().into(), 150, 0), graphs(), dir.path()).unwrap();
    let (steps, retrieval) = history(dir.path());
    // Of 24 by chance: 1 / 24.
    assert!(retrieval > 0.6, "{retrieval}");
    assert!(steps[149].0 < 0.6 * steps[0].0, "{} {}", steps[0].0, steps[149].0);
    // As many chunks as possible.
    let (chunked, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let encoder = || EncoderConfig::Gnn(GnnConfig { width: 16, depth: 1, dim: 8, dropout: 0.0 });
    run(&recipe(encoder(), info_nce().into(), 6, 5), graphs(), chunked.path()).unwrap();
    run(&recipe(encoder(), info_nce().into(), 6, 0), graphs(), whole.path()).unwrap();
    for ((a, _), (b, _)) in history(whole.path()).0.into_iter().zip(history(chunked.path()).0) {
        assert!((a - b).abs() < 1e-4 * a, "{a} {b}");
    }
}

#[test]
fn what_an_encoder_cannot_give_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let features = Made { shape: ViewShape::Dense(vec![4]), view: |_, _| View::features(vec![0.0; 4]) };
    let encoder = EncoderConfig::KmerMlp(KmerMlpConfig { hidden: vec![8], dim: 4, ..KmerMlpConfig::default() });
    let both = weighed(&[(1.0, info_nce()), (1.0, masked())]);
    let error = run(&recipe(encoder, both, 2, 0), features, dir.path()).unwrap_err().to_string();
    let expected =
        "loss masked-token needs an encoder that has a vector for each position: one of conv, transformer, resnet";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn pixels_that_are_linked_are_found_again() {
    let resnet = ResNetConfig { size: Size::Nano, norm: NormKind::Group, dim: 16, ..ResNetConfig::default() };
    let dense = || LossConfig::DenseInfoNce(DenseInfoNceConfig::default());
    let recipe = |loss, steps, chunk_pairs| recipe(EncoderConfig::Resnet(resnet.clone()), loss, steps, chunk_pairs);
    let both = || weighed(&[(1.0, info_nce()), (1.0, dense())]);
    let dir = tempfile::tempdir().unwrap();
    let weights = run(&recipe(both(), 60, 0), Windows { off_by: 0 }, dir.path()).unwrap();
    assert!(weights.contains_key("head.dense_info_nce.tokens.weight"));
    let (steps, _) = history(dir.path());
    let mean = |of: std::ops::Range<usize>, name: &str| {
        let length = of.len() as f64;
        of.map(|step| steps[step].1[name]).sum::<f64>() / length
    };
    let (before, after) = (mean(0..3, "linked_accuracy"), mean(50..60, "linked_accuracy"));
    assert!(after > before && after > 0.75, "{before} {after}");
    let (first, last) = (mean(0..3, "dense-info-nce"), mean(50..60, "dense-info-nce"));
    assert!(last < 0.8 * first, "{first} {last}");
    // The same in chunks as in one piece.
    let (whole, chunked) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(&recipe(both(), 3, 0), Windows { off_by: 0 }, whole.path()).unwrap();
    run(&recipe(both(), 3, 7), Windows { off_by: 0 }, chunked.path()).unwrap();
    for ((a, _), (b, _)) in history(whole.path()).0.into_iter().zip(history(chunked.path()).0) {
        assert!((a - b).abs() < 1e-3 * a, "{a} {b}");
    }
    // Links that no loss reads, and items that do not exist.
    let refused = |loss, off_by| {
        let dir = tempfile::tempdir().unwrap();
        run(&recipe(loss, 3, 0), Windows { off_by }, dir.path()).unwrap_err().to_string()
    };
    assert!(refused(info_nce().into(), 0).contains("no loss of the recipe reads links: dense-info-nce does"));
    assert!(refused(both(), 2_000).contains("item of a link: expected one under the"));
}
