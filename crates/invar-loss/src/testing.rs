//! What the tests of the losses share: vectors, the definition of the softmax losses one value at a time, and checks
//! that hold for every loss.

use std::ops::Range;

use invar_dataset::{GroupId, Related, SampleId};
use invar_nn::{Outputs, Relations, SampleIds};
use invar_torch::ProcessGroup;
use tch::{Device, Kind, Tensor, nn};

use crate::{Aggregate, Context, Error, Loss, LossConfig, LossOutput};

pub(crate) const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

/// Unit vectors that depend only on their index: `[n, d]`.
pub(crate) fn vectors(n: i64, d: i64, frequency: f64) -> Tensor {
    invar_nn::unit_length(&(Tensor::arange(n * d, F64) * frequency).sin().view([n, d]))
}

/// `v` views of `n` samples.
pub(crate) fn views(v: usize, n: i64, d: i64) -> Vec<Tensor> {
    (0..v).map(|view| vectors(n, d, [1.0, 0.7, 0.3, 1.7][view])).collect()
}

/// `v` views of 8 samples that all look alike.
pub(crate) fn alike(v: usize) -> Vec<Tensor> {
    (0..v).map(|_| invar_nn::unit_length(&Tensor::ones([8, 4], F64))).collect()
}

/// How the pairs of a batch share samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Each sample is in one pair.
    Once,
    /// Each is the sample of two pairs.
    Twice,
    /// The second view is of another sample: of the anchor of another pair, of the second of another, of neither.
    Walks,
    /// Each sample is in one pair, and some pairs share a group, of two or more.
    Groups,
    /// As `Walks`, in groups that the walks cross.
    WalksInGroups,
    /// As `Twice`, with pairs that state relations to others, one of which their samples already keep from being
    /// negatives.
    Said,
}

impl Sharing {
    pub(crate) const ALL: [Self; 6] =
        [Self::Once, Self::Twice, Self::Walks, Self::Groups, Self::WalksInGroups, Self::Said];
}

/// Ids of `n` pairs.
pub(crate) fn samples(num_views: usize, n: usize, sharing: Sharing) -> SampleIds {
    let id = |view: usize, pair: usize| match sharing {
        Sharing::Once | Sharing::Groups => pair,
        Sharing::Twice | Sharing::Said => pair / 2,
        // Pairs 0, 3, 6, ... walk to the next pair's anchor, 1, 4, 7, ... to a sample of their own, the others to the
        // one that the previous pair walked to.
        Sharing::Walks | Sharing::WalksInGroups if view.is_multiple_of(2) => pair,
        Sharing::Walks | Sharing::WalksInGroups => match pair % 3 {
            0 => (pair + 1) % n,
            1 => 1000 + pair,
            _ => 1000 + pair - 1,
        },
    };
    let rows = (0..num_views).flat_map(|view| (0..n).map(move |pair| SampleId(id(view, pair) as u64)));
    let group = |pair: usize| match pair % 6 {
        0 | 2 | 3 => Some(GroupId(u64::MAX / 2)),
        1 | 5 => Some(GroupId(pair as u64 / 12)),
        _ => None,
    };
    let has_groups = matches!(sharing, Sharing::Groups | Sharing::WalksInGroups);
    let groups = if has_groups { (0..n).map(group).collect() } else { vec![] };
    let related = |sample: usize, weight| Related { sample: SampleId(sample as u64), weight };
    let said = |pair: usize| match pair % 4 {
        0 => vec![related(pair / 2, 0.75)],
        1 => vec![related(pair / 2 + 1, 0.5), related(pair / 2 + 2, 0.0), related(999_999, 1.0)],
        2 => vec![related(pair / 2 - 1, 0.25)],
        _ => vec![],
    };
    let said = if matches!(sharing, Sharing::Said) { (0..n).map(said).collect() } else { vec![] };
    SampleIds::new(num_views, rows.collect()).with_groups(groups).with_related(said)
}

/// Ids of two views of pairs of as many samples, all in one group.
pub(crate) fn one_group(n: usize) -> SampleIds {
    samples(2, n, Sharing::Once).with_groups(vec![Some(GroupId(3)); n])
}

/// Ids of pairs of two views, of one sample each: `0..n`.
pub(crate) fn once(n: i64) -> SampleIds {
    samples(2, n as usize, Sharing::Once)
}

/// Ids of two views of pairs that are all of one sample.
pub(crate) fn one_sample(n: usize) -> SampleIds {
    SampleIds::new(2, vec![SampleId(7); 2 * n])
}

/// The same with other numbers.
pub(crate) fn renumbered(ids: &SampleIds, number: impl Fn(u64) -> u64) -> SampleIds {
    let numbers = ids.iter().map(|id| SampleId(number(id.0)));
    let other = |related: &Related| Related { sample: SampleId(number(related.sample.0)), ..*related };
    let related = ids.related().iter().map(|said| said.iter().map(other).collect()).collect();
    SampleIds::new(ids.num_views(), numbers.collect()).with_groups(ids.groups().to_vec()).with_related(related)
}

/// Whether two rows `(view, pair)` of different pairs are not negatives of each other: the sample of one is in the
/// other's pair, or the other way round. By definition, one pair of rows at a time.
pub(crate) fn is_related(ids: &SampleIds, (v, i): (usize, usize), (u, j): (usize, usize)) -> bool {
    (0..ids.num_views()).any(|w| ids.get(w, i) == ids.get(u, j) || ids.get(w, j) == ids.get(v, i))
}

/// The weight that pairs state for two rows of different pairs, the larger if both state one.
pub(crate) fn said(ids: &SampleIds, (v, i): (usize, usize), (u, j): (usize, usize)) -> Option<f64> {
    let by = |pair: usize, sample| ids.related().get(pair).into_iter().flatten().filter(move |s| s.sample == sample);
    by(i, ids.get(u, j)).chain(by(j, ids.get(v, i))).map(|said| f64::from(said.weight)).reduce(f64::max)
}

/// Whether two rows of different pairs are negatives of each other: not related, and not of one group.
pub(crate) fn is_negative(ids: &SampleIds, (v, i): (usize, usize), (u, j): (usize, usize)) -> bool {
    let is_one_group = ids.group(i).is_some() && ids.group(i) == ids.group(j);
    !is_related(ids, (v, i), (u, j)) && !is_one_group && said(ids, (v, i), (u, j)).is_none()
}

/// The weight of the rows of pair `j` as negatives: one over the number of pairs in its group.
pub(crate) fn weight(ids: &SampleIds, j: usize) -> f64 {
    let is_with = |i: &usize| ids.group(*i).is_some() && ids.group(*i) == ids.group(j);
    1.0 / (0..ids.num_pairs()).filter(is_with).count().max(1) as f64
}

/// A loss in f64, and its input.
pub(crate) struct Case {
    pub(crate) store: nn::VarStore,
    pub(crate) loss: Box<dyn Loss>,
    pub(crate) views: Vec<Tensor>,
    pub(crate) samples: SampleIds,
    pub(crate) slow_keys: Option<Vec<Tensor>>,
}

impl Case {
    pub(crate) fn new(config: &LossConfig, views: Vec<Tensor>, samples: SampleIds) -> Self {
        let mut store = nn::VarStore::new(Device::Cpu);
        let loss = config.init(&(store.root() / "head"), Outputs::of_dim(views[0].size()[1] as usize)).unwrap();
        store.double();
        Self { store, loss, views, samples, slow_keys: None }
    }

    pub(crate) fn share(&self, views: &[Tensor], own: Range<i64>) -> Result<LossOutput, Error> {
        let group = ProcessGroup::solo();
        let slow_keys = self.slow_keys.as_deref();
        let relations = Relations::new(self.samples.clone(), own.start as usize..own.end as usize);
        self.loss.criterion(views, &Context { slow_keys, ..Context::solo(&relations, &group, true) })
    }

    pub(crate) fn run(&self) -> Result<LossOutput, Error> {
        self.share(&self.views, 0..self.samples.num_pairs() as i64)
    }

    pub(crate) fn value(&self) -> f64 {
        self.run().unwrap().total().unwrap().double_value(&[])
    }

    pub(crate) fn after_step(&mut self, train: bool) {
        let group = ProcessGroup::solo();
        let slow_keys = self.slow_keys.as_deref();
        let relations = Relations::of_all(self.samples.clone());
        self.loss.after_step(1, &Context { slow_keys, ..Context::solo(&relations, &group, train) });
    }

    /// Learned scalars, by name.
    fn parameters(&self) -> Vec<(String, Tensor)> {
        let mut named: Vec<_> = self.store.variables().into_iter().filter(|(_, t)| t.requires_grad()).collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        named.into_iter().collect()
    }

    /// Loss and gradients with respect to views and parameters, summed over the shares of `parts` processes.
    fn shared(&self, parts: i64) -> (f64, Vec<Tensor>, Vec<(String, f64)>) {
        let leaves: Vec<Tensor> = self.views.iter().map(|v| v.copy().set_requires_grad(true)).collect();
        let parameters = self.parameters();
        let inputs: Vec<&Tensor> = leaves.iter().chain(parameters.iter().map(|(_, t)| t)).collect();
        let n = self.samples.num_pairs() as i64;
        let mut sum = 0.0;
        let mut gradients: Vec<Tensor> = inputs.iter().map(|t| t.zeros_like().detach()).collect();
        let mut metrics: Vec<(String, f64)> = vec![];
        for part in 0..parts {
            let output = self.share(&leaves, n * part / parts..n * (part + 1) / parts).unwrap();
            sum += output.total().unwrap().double_value(&[]);
            for (number, (name, value)) in output.metrics.iter().enumerate() {
                assert!(!value.requires_grad(), "{name}");
                if part == 0 {
                    metrics.push((name.clone(), 0.0));
                }
                metrics[number].1 += value.double_value(&[]);
            }
            let found = Tensor::run_backward(&[output.total().unwrap()], &inputs, false, false);
            for (gradient, found) in gradients.iter_mut().zip(found).filter(|(_, found)| found.defined()) {
                *gradient += found;
            }
        }
        (sum, gradients, metrics)
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.shared(1).2.into_iter().find(|(n, _)| n == name).unwrap().1
    }

    /// The shares of two and three processes add up to the loss of one, its gradients and its metrics; and without
    /// gradients the value is the same.
    pub(crate) fn check_partitions(&self) {
        let (value, gradients, metrics) = self.shared(1);
        for parts in [2, 3] {
            let (sum, others, shares) = self.shared(parts);
            assert!((sum - value).abs() < 1e-10, "{parts} parts: {sum} {value}");
            for (a, b) in gradients.iter().zip(&others) {
                assert!((a - b).abs().max().double_value(&[]) < 1e-10, "{parts} parts: {a:?} {b:?}");
            }
            for ((name, a), (_, b)) in metrics.iter().zip(shares) {
                assert!((a - b).abs() < 1e-6, "{parts} parts, {name}: {a} {b}");
            }
        }
        let blind = tch::no_grad(|| self.run().unwrap().total().unwrap());
        assert!(!blind.requires_grad() && (blind.double_value(&[]) - value).abs() < 1e-12);
    }

    /// Views may be swapped and the batch shuffled if the loss is symmetric.
    pub(crate) fn check_symmetry(&mut self) {
        let plain = self.value();
        self.views.reverse();
        self.slow_keys.iter_mut().for_each(|keys| keys.reverse());
        let num_views = self.samples.num_views();
        let turned = (0..num_views).rev().flat_map(|view| self.samples.view(view).to_vec()).collect();
        let (groups, related) = (self.samples.groups().to_vec(), self.samples.related().to_vec());
        self.samples = SampleIds::new(num_views, turned).with_groups(groups).with_related(related);
        assert!((self.value() - plain).abs() < 1e-10, "views swapped");
        let order = Tensor::randperm(self.samples.num_pairs() as i64, (Kind::Int64, Device::Cpu));
        self.views.iter_mut().for_each(|view| *view = view.index_select(0, &order));
        self.slow_keys.iter_mut().flatten().for_each(|keys| *keys = keys.index_select(0, &order));
        let order = Vec::<i64>::try_from(&order).unwrap();
        let shuffled = |view| order.iter().map(move |&pair| (view, pair as usize));
        let shuffled = (0..num_views).flat_map(shuffled).map(|(view, pair)| self.samples.get(view, pair)).collect();
        let groups = order.iter().map(|&pair| self.samples.group(pair as usize)).collect();
        let related = |&pair: &i64| self.samples.related().get(pair as usize).cloned().unwrap_or_default();
        let related = order.iter().map(related).collect();
        self.samples = SampleIds::new(num_views, shuffled).with_groups(groups).with_related(related);
        assert!((self.value() - plain).abs() < 1e-10, "batch shuffled");
    }

    /// Gradients of views and parameters match finite differences.
    pub(crate) fn check_gradient(&self) {
        const H: f64 = 1e-5;
        let found = self.shared(1).1;
        let inputs: Vec<Tensor> =
            self.views.iter().map(Tensor::shallow_clone).chain(self.parameters().into_iter().map(|(_, t)| t)).collect();
        for (input, found) in inputs.iter().zip(found) {
            let flat = input.detach().view([-1]);
            for i in 0..flat.size()[0] {
                let moved = |by: f64| {
                    let _ = flat.get(i).g_add_scalar_(by);
                    self.value()
                };
                let (up, down) = (moved(H), moved(-2.0 * H));
                moved(H);
                let (expected, found) = ((up - down) / (2.0 * H), found.view([-1]).double_value(&[i]));
                assert!((found - expected).abs() < 1e-6 * expected.abs().max(1.0), "{i}: {found} {expected}");
            }
        }
    }

    /// Views, rows and ids that do not fit are errors.
    pub(crate) fn check_errors(&mut self) {
        let rows = |n| Tensor::ones([n, 3], F64);
        let mut with = |views: Vec<Tensor>, num_ids| {
            (self.samples, self.slow_keys) = (samples(views.len(), num_ids, Sharing::Once), None);
            self.share(&views, 0..1).unwrap_err()
        };
        assert!(matches!(with(vec![rows(4)], 4), Error::Views { expected: 2, found: 1, .. }));
        assert!(matches!(with(vec![rows(4), rows(3)], 4), Error::Shape { view: 1, .. }));
        assert!(matches!(with(vec![rows(1), rows(1)], 1), Error::TooFew { found: 1, .. }));
        let error = with(vec![rows(4), rows(4)], 3);
        assert!(
            matches!(&error, Error::Beside { what: "sample ids", expected, found, .. }
            if expected == &[2, 4] && found == &[2, 3]),
            "{error}"
        );
        self.samples = samples(3, 4, Sharing::Once);
        let error = self.share(&[rows(4), rows(4)], 0..1).unwrap_err();
        assert!(matches!(error, Error::Beside { what: "sample ids", .. }), "{error}");
    }
}

/// `a . b` for rows of two matrices.
pub(crate) fn dot(a: &Tensor, i: i64, b: &Tensor, j: i64) -> f64 {
    (0..a.size()[1]).map(|c| a.double_value(&[i, c]) * b.double_value(&[j, c])).sum()
}

/// What the definition of a softmax loss depends on.
#[derive(Clone, Copy)]
pub(crate) struct Definition {
    pub(crate) temperature: f64,
    pub(crate) aggregate: Aggregate,
    pub(crate) decoupled: bool,
    /// Whether other rows of the same sample, and what pairs state to be near, are positives instead of left out.
    pub(crate) twins: bool,
    pub(crate) margin: f64,
    pub(crate) beta: f64,
}

impl Definition {
    pub(crate) const PLAIN: Self =
        Self { temperature: 0.1, aggregate: Aggregate::Mean, decoupled: false, twins: false, margin: 0.0, beta: 0.0 };

    /// The loss of all views against all, one value at a time.
    pub(crate) fn loss(&self, views: &[Tensor], samples: &SampleIds) -> f64 {
        let n = samples.num_pairs() as i64;
        let all: Vec<(usize, i64)> = (0..views.len()).flat_map(|v| (0..n).map(move |i| (v, i))).collect();
        let id = |v: usize, i: i64| samples.get(v, i as usize);
        let rows: Vec<_> = views.iter().map(|view| Vec::<Vec<f64>>::try_from(view).unwrap()).collect();
        let at = |v: usize, i: i64| &rows[v][i as usize];
        let weights: Vec<f64> = (0..n as usize).map(|j| weight(samples, j)).collect();
        let row = |&(v, i): &(usize, i64)| {
            let (mut positives, mut negatives) = (vec![], vec![]);
            for &(u, j) in all.iter().filter(|&&other| other != (v, i)) {
                let cosine: f64 = at(v, i).iter().zip(at(u, j)).map(|(a, b)| a * b).sum();
                let said = said(samples, (v, i as usize), (u, j as usize)).filter(|_| j != i);
                let same = if id(u, j) == id(v, i) { 1.0 } else { 0.0 };
                let weight = if j == i { 1.0 } else { said.unwrap_or(same) };
                if j == i || (weight > 0.0 && self.twins) {
                    positives.push((((cosine - self.margin) / self.temperature).exp(), weight));
                } else if is_negative(samples, (v, i as usize), (u, j as usize)) {
                    negatives.push(((cosine / self.temperature).exp(), weights[j as usize]));
                }
            }
            let total: f64 = negatives.iter().map(|(_, w)| w).sum();
            let mean = negatives.iter().map(|(e, w)| w * e.powf(self.beta)).sum::<f64>() / total;
            let away: f64 = negatives.iter().map(|(e, w)| w * e.powf(self.beta) / mean * e).sum();
            let near: f64 =
                positives.iter().map(|(e, w)| if self.aggregate == Aggregate::Any { e * w } else { *e }).sum();
            if self.decoupled && negatives.is_empty() {
                return 0.0;
            }
            let denominator = if self.decoupled { away } else { near + if negatives.is_empty() { 0.0 } else { away } };
            denominator.ln()
                - match self.aggregate {
                    Aggregate::Mean => {
                        let weights: f64 = positives.iter().map(|(_, w)| w).sum();
                        positives.iter().map(|(e, w)| w * e.ln()).sum::<f64>() / weights
                    }
                    Aggregate::Any => near.ln(),
                }
        };
        all.iter().map(row).sum::<f64>() / all.len() as f64
    }
}

/// Compares a loss with its definition over edge sizes, temperatures, and ways in which pairs share samples.
pub(crate) fn check_definition(num_views: usize, definition: Definition, config: impl Fn(f64) -> LossConfig) {
    for n in [2, 3, 5, 17, 64] {
        for d in [1, 2, 7] {
            // The slow definition is slow.
            for temperature in if n == 64 { &[0.1][..] } else { &[0.05, 0.1, 1.0, 3.0] } {
                for sharing in Sharing::ALL {
                    let ids = samples(num_views, n as usize, sharing);
                    let case = Case::new(&config(*temperature), views(num_views, n, d), ids);
                    let definition = Definition { temperature: *temperature, ..definition };
                    let (found, expected) = (case.value(), definition.loss(&case.views, &case.samples));
                    let close = (found - expected).abs() < 1e-9 * expected.abs().max(1.0);
                    assert!(close, "n {n} d {d} t {temperature} {sharing:?}: {found} {expected}");
                }
            }
        }
    }
}
