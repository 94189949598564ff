use super::*;
use invar_dataset::SampleId;
use invar_nn::{Encoded, Relations, SampleIds, unit_length};
use invar_torch::ProcessGroup;
use tch::Device;

use crate::testing::{Sharing, is_negative, once, one_group, samples, weight};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

fn encoded(embedding: Tensor) -> Encoded {
    Encoded { pooled: embedding.shallow_clone(), embedding, tokens: None, grid: None, attention: vec![] }
}

fn loss_of(config: &InfoNceConfig, q: &Tensor, k: &Tensor) -> LossOutput {
    let store = nn::VarStore::new(Device::Cpu);
    let loss = config.init(&(store.root() / "head" / "info_nce"), q.size()[1] as usize).unwrap();
    run(&loss, &[q, k]).unwrap()
}

/// The whole loss, in a single process.
fn run(loss: &dyn Loss, views: &[&Tensor]) -> Result<LossOutput, Error> {
    let projected: Vec<Tensor> = views.iter().map(|v| loss.project(&encoded(v.shallow_clone()))).collect();
    let ids = SampleIds::of_pairs(views.len(), &(0..views[0].size()[0] as u64).map(SampleId).collect::<Vec<_>>());
    loss.criterion(&projected, &Context::solo(&Relations::of_all(ids), &ProcessGroup::solo(), true))
}

fn value(output: &LossOutput) -> f64 {
    output.total().unwrap().double_value(&[])
}

fn metric(output: &LossOutput, name: &str) -> f64 {
    output.metrics.iter().find(|(n, _)| n == name).unwrap().1.double_value(&[])
}

/// Unit vectors that depend only on their number: `[n, d]`.
fn vectors(n: i64, d: i64, frequency: f64) -> Tensor {
    unit_length(&(Tensor::arange(n * d, F64) * frequency).sin().view([n, d]))
}

/// The definition, one number at a time.
fn oracle(q: &Tensor, k: &Tensor, temperature: f64) -> f64 {
    let (n, d) = q.size2().unwrap();
    let logit =
        |i: i64, j: i64| (0..d).map(|c| q.double_value(&[i, c]) * k.double_value(&[j, c])).sum::<f64>() / temperature;
    let log_sum_exp = |values: Vec<f64>| values.iter().map(|x| x.exp()).sum::<f64>().ln();
    let term = |i: i64| {
        let row = log_sum_exp((0..n).map(|j| logit(i, j)).collect());
        let column = log_sum_exp((0..n).map(|j| logit(j, i)).collect());
        (row + column) / 2.0 - logit(i, i)
    };
    (0..n).map(term).sum::<f64>() / n as f64
}

#[test]
fn agrees_with_the_definition_at_edge_sizes() {
    for n in [2, 3, 5, 17, 64] {
        for d in [1, 2, 7] {
            for temperature in [0.05, 0.1, 1.0, 3.0] {
                let (q, k) = (vectors(n, d, 1.0), vectors(n, d, 0.7));
                let config = InfoNceConfig { temperature, ..InfoNceConfig::default() };
                let (found, expected) = (value(&loss_of(&config, &q, &k)), oracle(&q, &k, temperature));
                assert!((found - expected).abs() < 1e-10, "n {n} d {d} t {temperature}: {found} {expected}");
            }
        }
    }
}

const PYTORCH: f64 = 2.150658356772587;

// q = torch.nn.functional.normalize(torch.sin(torch.arange(12, dtype=torch.float64)).view(4, 3), dim=1)
// k = torch.nn.functional.normalize(torch.cos(torch.arange(12, dtype=torch.float64) * 0.7).view(4, 3), dim=1)
// l = q @ k.T / 0.1; t = torch.arange(4); ce = torch.nn.functional.cross_entropy
// print((ce(l, t) + ce(l.T, t)) / 2)
#[test]
fn agrees_with_pytorch() {
    let q = vectors(4, 3, 1.0);
    let k = unit_length(&(Tensor::arange(12, F64) * 0.7).cos().view([4, 3]));
    let found = value(&loss_of(&InfoNceConfig::default(), &q, &k));
    assert!((found - PYTORCH).abs() < 1e-10, "{found}");
}

#[test]
fn closed_forms() {
    // All alike: every pair is as likely as any other, so the loss is ln N; nothing is distinguished, nothing is
    // spread.
    for n in [2, 8, 100] {
        let ones = unit_length(&Tensor::ones([n, 4], F64));
        let output = loss_of(&InfoNceConfig::default(), &ones, &ones);
        assert!((value(&output) - (n as f64).ln()).abs() < 1e-10);
        assert!((metric(&output, "loss_over_ln_n") - 1.0).abs() < 1e-10);
    }
    // Orthogonal samples, identical views: ln(1 + (N - 1) exp(-s)).
    let eye = Tensor::eye(5, F64);
    let output = loss_of(&InfoNceConfig::default(), &eye, &eye);
    assert!((value(&output) - (4.0 * (-10f64).exp()).ln_1p()).abs() < 1e-12);
    assert_eq!((metric(&output, "accuracy"), metric(&output, "temperature")), (1.0, 0.1));
}

#[test]
fn the_two_views_may_be_swapped_and_the_batch_shuffled() {
    let (q, k) = (vectors(9, 5, 1.0), vectors(9, 5, 0.7));
    let config = InfoNceConfig::default();
    let plain = value(&loss_of(&config, &q, &k));
    assert!((plain - value(&loss_of(&config, &k, &q))).abs() < 1e-12);
    let order = Tensor::from_slice(&[3i64, 1, 8, 0, 2, 7, 4, 6, 5]);
    let shuffled = value(&loss_of(&config, &q.index_select(0, &order), &k.index_select(0, &order)));
    assert!((plain - shuffled).abs() < 1e-12);
}

#[test]
fn the_gradients_are_those_of_finite_differences() {
    let mut store = nn::VarStore::new(Device::Cpu);
    let config = InfoNceConfig { learn_temperature: true, margin: 0.2, ..InfoNceConfig::default() };
    let loss = config.init(&store.root(), 3).unwrap();
    store.double();
    let logit_scale = store.variables()["logit_scale"].shallow_clone();
    let inputs = [vectors(4, 3, 1.0), vectors(4, 3, 0.7)].map(|x| x.set_requires_grad(true));
    let of = || run(&loss, &[&inputs[0], &inputs[1]]).unwrap().total().unwrap();
    let [q, k] = &inputs;
    let gradients = Tensor::run_backward(&[of()], &[q, k, &logit_scale], false, false);
    const H: f64 = 1e-5;
    for (which, (input, gradient)) in [q, k, &logit_scale].into_iter().zip(&gradients).enumerate() {
        let (entries, gradient) = (input.detach().flatten(0, -1), gradient.flatten(0, -1));
        for i in 0..entries.size()[0] {
            let moved = |by: f64| {
                let _ = entries.get(i).g_add_scalar_(by);
                let moved = tch::no_grad(|| of().double_value(&[]));
                let _ = entries.get(i).g_add_scalar_(-by);
                moved
            };
            let expected = (moved(H) - moved(-H)) / (2.0 * H);
            let found = gradient.double_value(&[i]);
            assert!((found - expected).abs() < 1e-7, "input {which} entry {i}: {found} {expected}");
        }
    }
}

#[test]
fn without_gradients_the_value_is_the_same_and_nothing_is_attached() {
    let [q, k] = [vectors(9, 5, 1.0), vectors(9, 5, 0.7)].map(|x| x.set_requires_grad(true));
    let config = InfoNceConfig::default();
    let (with, without) =
        (loss_of(&config, &q, &k).total().unwrap(), tch::no_grad(|| loss_of(&config, &q, &k).total().unwrap()));
    assert!(with.requires_grad() && !without.requires_grad());
    assert_eq!(with.double_value(&[]), without.double_value(&[]));
    assert!(!loss_of(&config, &q.detach(), &k.detach()).total().unwrap().requires_grad());
}

#[test]
fn projections_in_bf16_are_compared_in_f32() {
    let [q, k] = [vectors(9, 5, 1.0), vectors(9, 5, 0.7)].map(|x| x.to_kind(Kind::BFloat16).set_requires_grad(true));
    let config = InfoNceConfig::default();
    let found = loss_of(&config, &q, &k).total().unwrap();
    let expected = oracle(&q.to_kind(Kind::Double), &k.to_kind(Kind::Double), 0.1);
    assert_eq!(found.kind(), Kind::Float);
    assert!((found.double_value(&[]) - expected).abs() < 1e-5 * expected);
    let gradients = Tensor::run_backward(&[found], &[&q, &k], false, false);
    assert!(gradients.iter().all(|gradient| gradient.kind() == Kind::BFloat16 && gradient.size() == [9, 5]));
}

#[test]
fn a_sample_that_is_twice_in_the_batch_is_no_negative_of_itself() {
    // Pairs 0 and 2 belong to one sample: each has only pair 1 as a negative.
    let eye = Tensor::eye(3, F64);
    let store = nn::VarStore::new(Device::Cpu);
    let loss = InfoNceConfig::default().init(&store.root(), 3).unwrap();
    let relations = Relations::of_all(SampleIds::of_pairs(2, &[5, 6, 5].map(SampleId)));
    let group = ProcessGroup::solo();
    let context = Context::solo(&relations, &group, true);
    let output = loss.criterion(&[eye.shallow_clone(), eye], &context).unwrap();
    let expected = (2.0 * (-10f64).exp().ln_1p() + (2.0 * (-10f64).exp()).ln_1p()) / 3.0;
    assert!((value(&output) - expected).abs() < 1e-15);
}

/// The definition, one number at a time: related rows and those of the same group are left out, the others are
/// weighted.
fn oracle_of(q: &Tensor, k: &Tensor, ids: &SampleIds) -> f64 {
    let (n, d) = q.size2().unwrap();
    let logit = |i: i64, j: i64| (0..d).map(|c| q.double_value(&[i, c]) * k.double_value(&[j, c])).sum::<f64>() / 0.1;
    let weigh = |i: i64, j: i64, other: i64| match i == j {
        true => 1.0,
        false if is_negative(ids, (0, i as usize), (1, j as usize)) => weight(ids, other as usize),
        false => 0.0,
    };
    let log_sum_exp = |cells: &dyn Fn(i64) -> (i64, i64)| {
        let term = |other| {
            let (i, j) = cells(other);
            weigh(i, j, other) * logit(i, j).exp()
        };
        (0..n).map(term).sum::<f64>().ln()
    };
    let term = |i: i64| (log_sum_exp(&|j| (i, j)) + log_sum_exp(&|j| (j, i))) / 2.0 - logit(i, i);
    (0..n).map(term).sum::<f64>() / n as f64
}

#[test]
fn related_rows_are_left_out_and_groups_weighed_in_both_directions() {
    for n in [2, 3, 5, 17, 64] {
        let (q, k) = (vectors(n, 3, 1.0), vectors(n, 3, 0.7));
        for sharing in Sharing::ALL {
            let ids = samples(2, n as usize, sharing);
            let config = crate::LossConfig::InfoNce(InfoNceConfig::default());
            let mut case = crate::testing::Case::new(&config, vec![q.shallow_clone(), k.shallow_clone()], ids);
            let expected = oracle_of(&q, &k, &case.samples);
            assert!((case.value() - expected).abs() < 1e-10, "n {n} {sharing:?}: {} {expected}", case.value());
            if n == 5 {
                case.check_gradient();
            }
            case.check_symmetry();
        }
    }
}

#[test]
fn with_groups_chance_is_the_number_of_groups() {
    // Of 8 pairs four are in one group, three in another and one in none: 3 to distinguish.
    let config = crate::LossConfig::InfoNce(InfoNceConfig::default());
    let case = crate::testing::Case::new(&config, crate::testing::alike(2), samples(2, 8, Sharing::Groups));
    assert!((case.value() - 3f64.ln()).abs() < 1e-10, "{}", case.value());
    assert!((case.metric("loss_over_ln_n") - 1.0).abs() < 1e-10);
    let case = crate::testing::Case::new(&config, vec![vectors(5, 3, 1.0), vectors(5, 3, 0.7)], one_group(5));
    assert_eq!((case.value(), case.metric("loss_over_ln_n"), case.metric("accuracy")), (0.0, 0.0, 1.0));
    case.check_gradient();
}

#[test]
fn the_learned_temperature_is_named_and_clamped() {
    let mut store = nn::VarStore::new(Device::Cpu);
    let config = InfoNceConfig { learn_temperature: true, temperature: 0.07, ..InfoNceConfig::default() };
    let mut loss = config.init(&(store.root() / "head" / "info_nce"), 3).unwrap();
    let mut scale = store.variables()["head.info_nce.logit_scale"].shallow_clone();
    assert!((scale.double_value(&[]) - (1f64 / 0.07).ln()).abs() < 1e-6);
    for (wild, bound) in [(7.0, 100f64.ln()), (-3.0, 0.0)] {
        let _ = tch::no_grad(|| scale.fill_(wild));
        loss.after_step(1, &Context::solo(&Relations::of_all(once(2)), &ProcessGroup::solo(), true));
        assert!((scale.double_value(&[]) - bound).abs() < 1e-6);
    }
    // At a scale of 1 the loss is that of temperature 1, and the scale has a gradient.
    store.double();
    let (q, k) = (vectors(5, 3, 1.0), vectors(5, 3, 0.7));
    let output = run(&loss, &[&q, &k]).unwrap();
    assert!((value(&output) - oracle(&q, &k, 1.0)).abs() < 1e-10);
    output.total().unwrap().backward();
    assert!(scale.grad().double_value(&[]).abs() > 1e-6);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let store = nn::VarStore::new(Device::Cpu);
    let path = store.root();
    let loss = InfoNceConfig::default().init(&path, 3).unwrap();
    let rows = |n| Tensor::ones([n, 3], F64);
    assert!(matches!(run(&loss, &[&rows(4)]), Err(Error::Views { expected: 2, found: 1, .. })));
    assert!(matches!(run(&loss, &[&rows(4), &rows(3)]), Err(Error::Shape { view: 1, .. })));
    assert!(matches!(run(&loss, &[&rows(1), &rows(1)]), Err(Error::TooFew { found: 1, .. })));
    for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(InfoNceConfig { temperature, ..InfoNceConfig::default() }.init(&path, 3).is_err());
    }
    for margin in [-0.1, f64::NAN, f64::INFINITY] {
        let error = InfoNceConfig { margin, ..InfoNceConfig::default() }.init(&path, 3).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("loss.margin must be in [0, 2], the range of differences of cosines, got {margin}")
        );
    }
    let cold = InfoNceConfig { temperature: 0.001, learn_temperature: true, ..InfoNceConfig::default() };
    let error = cold.init(&path, 3).unwrap_err().to_string();
    assert_eq!(error, "loss.temperature must be in [0.01, 1] to be learned, got 0.001");
}

#[test]
fn a_recipe_reads_as_documented() {
    let config: crate::LossConfig =
        toml::from_str("type = 'info-nce'\ntemperature = 0.2\nprojection = [64, 32]\nmargin = 0.3").unwrap();
    let expected =
        InfoNceConfig { temperature: 0.2, projection: vec![64, 32], margin: 0.3, ..InfoNceConfig::default() };
    assert_eq!(config, crate::LossConfig::InfoNce(expected));
    let error = toml::from_str::<crate::LossConfig>("type = 'info-nce'\ntemprature = 0.2").unwrap_err();
    assert!(error.to_string().contains("temprature"), "{error}");
}

/// The definition with keys of others, one number at a time; `weights` of the pairs' keys as negatives.
fn oracle_beside(q: &Tensor, k: &Tensor, foreign: &Tensor, temperature: f64) -> f64 {
    let (n, d) = q.size2().unwrap();
    let logit = |a: &Tensor, i: i64, b: &Tensor, j: i64| {
        (0..d).map(|c| a.double_value(&[i, c]) * b.double_value(&[j, c])).sum::<f64>() / temperature
    };
    let row = |a: &Tensor, b: &Tensor, i: i64| {
        let own = (0..n).map(|j| logit(a, i, b, j).exp()).sum::<f64>();
        let others = (0..foreign.size()[0]).map(|j| logit(a, i, foreign, j).exp()).sum::<f64>();
        (own + others).ln() - logit(a, i, b, i)
    };
    (0..n).map(|i| (row(q, k, i) + row(k, q, i)) / 2.0).sum::<f64>() / n as f64
}

fn beside(q: &Tensor, k: &Tensor, foreign: Option<&Tensor>, sharing: Sharing) -> Result<LossOutput, Error> {
    let store = nn::VarStore::new(Device::Cpu);
    let loss = InfoNceConfig::default().init(&store.root(), q.size()[1] as usize).unwrap();
    let relations = Relations::of_all(samples(2, q.size()[0] as usize, sharing));
    let (group, views) = (ProcessGroup::solo(), [q.shallow_clone(), k.shallow_clone()]);
    loss.criterion(&views, &Context { foreign_keys: foreign, ..Context::solo(&relations, &group, true) })
}

#[test]
fn keys_of_others_are_negatives_of_both_views() {
    for (n, d, num_foreign) in [(2, 3, 1), (5, 7, 4), (17, 5, 40)] {
        let [q, k] = [1.0, 0.7].map(|frequency| vectors(n, d, frequency).set_requires_grad(true));
        let foreign = vectors(num_foreign, d, 0.31);
        let found = beside(&q, &k, Some(&foreign), Sharing::Once).unwrap();
        assert!((value(&found) - oracle_beside(&q, &k, &foreign, 0.1)).abs() < 1e-10);
        // The gradients are those of autograd through the definition.
        let gradients = Tensor::run_backward(&[found.total().unwrap()], &[&q, &k], false, false);
        let logits = |a: &Tensor, b: &Tensor| Tensor::cat(&[b, &foreign], 0).matmul(&a.tr()).tr() / 0.1;
        let row = |a: &Tensor, b: &Tensor| {
            let all = logits(a, b);
            (all.logsumexp([1], false) - all.diagonal(0, 0, 1)).mean(Kind::Double)
        };
        let expected = Tensor::run_backward(&[(row(&q, &k) + row(&k, &q)) / 2.0], &[&q, &k], false, false);
        for (found, expected) in gradients.iter().zip(&expected) {
            assert!((found - expected).abs().max().double_value(&[]) < 1e-12);
        }
    }
}

#[test]
fn without_keys_of_others_nothing_changes() {
    // A further number, the same in all rows, shifts all logits by as much. A key that has it negative is far from all.
    let [q, k] = [1.0, 0.7].map(|frequency| Tensor::cat(&[vectors(6, 3, frequency), Tensor::ones([6, 1], F64)], 1));
    let [none, far] = [Tensor::zeros([0, 4], F64), Tensor::from_slice(&[0.0, 0.0, 0.0, -1e4]).view([1, 4])];
    for sharing in Sharing::ALL.into_iter().filter(|sharing| *sharing != Sharing::Said) {
        let plain = value(&beside(&q, &k, None, sharing).unwrap());
        assert_eq!(value(&beside(&q, &k, Some(&none), sharing).unwrap()), plain);
        // The two ways to compute the loss agree, groups and shared samples included.
        let found = value(&beside(&q, &k, Some(&far), sharing).unwrap());
        assert!((found - plain).abs() < 1e-12, "{sharing:?}: {found} {plain}");
    }
    let error = beside(&q, &k, Some(&Tensor::zeros([3, 5], F64)), Sharing::Once).unwrap_err().to_string();
    assert!(error.contains("foreign keys") && error.contains("[3, 5]") && error.contains("[3, 4]"), "{error}");
}
