use invar_nn::{Outputs, SampleIds};
use tch::{Device, Kind};

use super::*;
use crate::{
    LossConfig,
    testing::{Case, F64, Sharing, dot, is_negative, once, one_group, renumbered, samples, vectors, views},
};

fn config(queue: usize, symmetric: bool) -> LossConfig {
    LossConfig::Momentum(MomentumConfig { queue, symmetric, ..MomentumConfig::default() })
}

fn case(config: &LossConfig, n: i64, d: i64, sharing: Sharing) -> Case {
    let slow_keys = Some(vec![vectors(n, d, 0.3), vectors(n, d, 1.3)]);
    Case { slow_keys, ..Case::new(config, views(2, n, d), samples(2, n as usize, sharing)) }
}

/// A key, with its sample and that of its query, and their group.
struct Old {
    key: Vec<f64>,
    sample: SampleId,
    query: SampleId,
    group: Option<GroupId>,
}

/// The definition, one number at a time, over a bank kept as a list, oldest first.
fn oracle(case: &Case, bank: &[Old], temperature: f64, symmetric: bool) -> f64 {
    let (n, d) = case.views[0].size2().unwrap();
    let slow = case.slow_keys.as_ref().unwrap();
    let ids = &case.samples;
    let groups = || (0..n as usize).map(|pair| ids.group(pair)).chain(bank.iter().map(|old| old.group));
    let weight = |group: Option<GroupId>| {
        1.0 / groups().filter(|&other| group.is_some() && other == group).count().max(1) as f64
    };
    let one_way = |view: usize, q: &Tensor, k: &Tensor| {
        let row = |i: i64| {
            let positive = dot(q, i, k, i) / temperature;
            let mut sum = positive.exp();
            let is_other = |&j: &i64| j != i && is_negative(ids, (view, i as usize), (1 - view, j as usize));
            for j in (0..n).filter(is_other) {
                sum += weight(ids.group(j as usize)) * (dot(q, i, k, j) / temperature).exp();
            }
            let own = [0, 1].map(|view| ids.get(view, i as usize));
            let is_other = |old: &&Old| {
                let is_one_group = old.group.is_some() && old.group == ids.group(i as usize);
                !own.contains(&old.sample) && old.query != own[view] && !is_one_group
            };
            for Old { key, group, .. } in bank.iter().filter(is_other) {
                let cosine: f64 = (0..d).map(|c| q.double_value(&[i, c]) * key[c as usize]).sum();
                sum += weight(*group) * (cosine / temperature).exp();
            }
            sum.ln() - positive
        };
        (0..n).map(row).sum::<f64>() / n as f64
    };
    let first = one_way(0, &case.views[0], &slow[1]);
    if symmetric { (first + one_way(1, &case.views[1], &slow[0])) / 2.0 } else { first }
}

/// What the oracle remembers after a step.
fn remember(bank: &mut Vec<Old>, case: &Case, queue: usize, symmetric: bool) {
    let slow = case.slow_keys.as_ref().unwrap();
    for view in if symmetric { vec![1, 0] } else { vec![1] } {
        let rows = Vec::<Vec<f64>>::try_from(&slow[view]).unwrap();
        let id = |view, pair| case.samples.get(view, pair);
        let group = |pair| case.samples.group(pair);
        let old = |(pair, key)| Old { key, sample: id(view, pair), query: id(1 - view, pair), group: group(pair) };
        bank.extend(rows.into_iter().enumerate().map(old));
    }
    let surplus = bank.len().saturating_sub(queue);
    bank.drain(..surplus);
}

#[test]
fn agrees_with_the_definition_while_the_bank_fills_and_turns_over() {
    for n in [2, 3, 5, 17] {
        // Smaller than a batch, no multiple of it, larger.
        for queue in [1, 4, 7, 40] {
            for (symmetric, sharing) in
                [false, true].into_iter().flat_map(|symmetric| Sharing::ALL.map(|sharing| (symmetric, sharing)))
            {
                let mut case = case(&config(queue, symmetric), n, 3, sharing);
                let mut bank = vec![];
                for step in 0..6 {
                    let expected = oracle(&case, &bank, 0.1, symmetric);
                    assert!((case.value() - expected).abs() < 1e-9, "n {n} queue {queue} step {step} {sharing:?}");
                    case.after_step(true);
                    remember(&mut bank, &case, queue, symmetric);
                    let shift = (step + 1) as f64 * 0.37;
                    case.slow_keys = Some(vec![vectors(n, 3, 0.3 + shift), vectors(n, 3, 1.3 + shift)]);
                    // Some of the samples return.
                    case.samples = renumbered(&case.samples, |id| id + (step as u64 % 2) * 2);
                }
            }
        }
    }
    for (n, d, temperature) in [(2, 1, 0.05), (64, 7, 0.1), (5, 2, 1.0), (5, 7, 3.0)] {
        let config = LossConfig::Momentum(MomentumConfig { temperature, queue: 9, ..MomentumConfig::default() });
        let case = case(&config, n, d, Sharing::Once);
        assert!((case.value() - oracle(&case, &[], temperature, true)).abs() < 1e-9);
    }
}

// unit = lambda n, f: torch.nn.functional.normalize(
//     torch.sin(torch.arange(3 * n, dtype=torch.float64) * f).view(n, 3), dim=1)
// q, k, a, b, c = (unit(n, f) for n, f in ((4, 1.0), (4, 0.7), (4, 0.3), (4, 1.3), (5, 0.9)))
// ce = lambda q, k: torch.nn.functional.cross_entropy(q @ torch.cat([k, c]).T / 0.1, torch.arange(4))
// print((ce(q, b) + ce(k, a)) / 2)
#[test]
fn agrees_with_pytorch() {
    let mut case = case(&config(5, true), 4, 3, Sharing::Once);
    let variables = case.store.variables();
    variables["head.momentum.bank"].shallow_clone().copy_(&vectors(5, 3, 0.9));
    let _ = variables["head.momentum.filled"].shallow_clone().fill_(5);
    // Unlike every id in the bank; those are 0.
    case.samples = renumbered(&case.samples, |id| id + 10);
    assert!((case.value() - 10.151416072854461).abs() < 1e-10, "{}", case.value());
}

#[test]
fn closed_form() {
    // All alike: ln of the number of keys.
    let ones = || invar_nn::unit_length(&Tensor::ones([8, 4], F64));
    let mut case = Case::new(&config(11, true), vec![ones(), ones()], once(8));
    case.slow_keys = Some(vec![ones(), ones()]);
    assert!((case.value() - 8f64.ln()).abs() < 1e-10);
    case.after_step(true);
    case.samples = renumbered(&case.samples, |id| id + 100);
    assert!((case.value() - 19f64.ln()).abs() < 1e-10);
    assert!((case.metric("loss_over_ln_n") - 1.0).abs() < 1e-10);
    // The bank's 11 keys have no group, the batch is one group: each query has 11 negatives, then none.
    case.samples = one_group(8);
    case.samples = renumbered(&case.samples, |id| id + 200);
    assert!((case.value() - 12f64.ln()).abs() < 1e-10);
    assert!((case.metric("loss_over_ln_n") - 1.0).abs() < 1e-10);
    case.after_step(true);
    assert_eq!((case.value(), case.metric("loss_over_ln_n")), (0.0, 0.0));
}

#[test]
fn holds_what_every_loss_must() {
    for sharing in Sharing::ALL {
        let momentum = MomentumConfig { queue: 5, learn_temperature: true, ..MomentumConfig::default() };
        let mut case = case(&LossConfig::Momentum(momentum), 7, 3, sharing);
        case.after_step(true);
        case.check_partitions();
        case.check_gradient();
        case.check_symmetry();
        case.check_errors();
    }
    let mut case = case(&config(5, false), 4, 3, Sharing::Once);
    assert!(case.loss.needs_slow_keys());
    case.slow_keys = None;
    assert!(matches!(case.run(), Err(Error::Beside { what: "slow keys", .. })));
    case.slow_keys = Some(views(2, 3, 3));
    let error = case.run().unwrap_err().to_string();
    assert_eq!(error, "loss momentum: slow keys must have shape [4, 3], got [3, 3]");
    let error =
        config(0, true).init(&nn::VarStore::new(Device::Cpu).root(), Outputs::of_dim(3)).err().unwrap().to_string();
    assert_eq!(error, "loss.queue must be at least 1, got 0");
}

#[test]
fn the_bank_is_stored_exactly_and_moves_with_its_store() {
    let mut case = case(&config(3, false), 2, 3, Sharing::Once);
    let large = (1i64 << 60) + 1; // no f64, let alone f32
    case.samples = SampleIds::new(2, [1, 2, large, -5].map(|bits| SampleId(bits as u64)).to_vec());
    case.after_step(false);
    assert_eq!(case.store.variables()["head.momentum.filled"].int64_value(&[]), 0, "validation changes nothing");
    case.store.set_device(Device::Cpu);
    case.after_step(true);
    case.after_step(true);
    let variables = case.store.variables();
    let integers = |name: &str| {
        let tensor = &variables[&format!("head.momentum.{name}")];
        assert!(tensor.kind() == Kind::Int64 && !tensor.requires_grad());
        Vec::<i64>::try_from(tensor.view([-1])).unwrap()
    };
    assert_eq!(integers("ids"), [-5, -5, large]);
    assert_eq!(integers("query_ids"), [2, 2, 1]);
    assert_eq!(integers("groups"), [0; 6]);
    assert_eq!((integers("filled"), integers("position")), (vec![3], vec![1]));
    assert_eq!((integers("origin"), integers("origins"), integers("steps")), (vec![0], vec![0; 3], vec![1; 3]));
    for name in crate::ADDED_LATER {
        assert!(variables.contains_key(&format!("head.{name}")), "{name}");
    }
    // The store's tensors are those that the loss uses.
    case.samples = SampleIds::of_pairs(2, &[SampleId(11), SampleId(12)]);
    let before = case.value();
    let _ = variables["head.momentum.filled"].shallow_clone().fill_(0);
    assert!(case.value() < before, "fewer negatives");
    case.samples = case.samples.with_groups(vec![None, Some(GroupId(large as u64))]);
    case.after_step(true);
    assert_eq!(integers("groups"), [0, 0, 0, 0, 1, large]);
    assert!(case.store.trainable_variables().is_empty());
}

#[test]
fn keys_of_another_client_are_negatives_whatever_their_numbers() {
    let (n, d) = (6, 3);
    let mut case = case(&config(30, true), n, d, Sharing::Once);
    case.samples = one_group(n as usize);
    case.after_step(true);
    let (mut bank, mut other) = (vec![], MemoryBank::new(30, d as usize, Device::Cpu));
    remember(&mut bank, &case, 30, true);
    // The same samples and group by number, from client 9.
    other.set_origin(9);
    // As a bank keeps them.
    let keys = vectors(n, d, 2.1).to_kind(Kind::Float).to_kind(Kind::Double);
    let samples: Vec<SampleId> = case.samples.view(0).to_vec();
    let groups: Vec<_> = (0..n as usize).map(|pair| case.samples.group(pair)).collect();
    other.push(&Keys { keys: &keys, samples: &samples, queries: &samples, groups: &groups, step: 1 });
    assert_eq!(case.loss.bank().unwrap().merge(&other).unwrap(), n as usize);
    // To the oracle these are other samples, in a group of their own.
    let far = |id: &SampleId| SampleId(id.0 + 1000);
    bank.extend(Vec::<Vec<f64>>::try_from(&keys).unwrap().into_iter().zip(&samples).map(|(key, id)| Old {
        key,
        sample: far(id),
        query: far(id),
        group: Some(GroupId(77_777)),
    }));
    assert!((case.value() - oracle(&case, &bank, 0.1, true)).abs() < 1e-9);
    // If they were its own, they would be left out.
    bank.truncate(bank.len() - n as usize);
    assert!((case.value() - oracle(&case, &bank, 0.1, true)).abs() > 0.01);
}
