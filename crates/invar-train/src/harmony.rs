//! How the gradients of several losses are combined for the weights that they share.
//!
//! In a plain sum, the loss with the larger gradient wins where two conflict. A rule keeps the gradients apart and
//! weights them, using their Gram matrix alone, in f64, after the sum over processes and before clipping. Weights that
//! belong to a single loss (heads) get the sum.

mod rules;

use std::collections::{BTreeMap, HashMap};

use invar_dataset::seed;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::{Error, gradients::Summed, network::TRUNK, optimizer::copy_named};

/// Settings of the rule: `[train.harmony]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HarmonyConfig {
    /// The rule.
    pub method: HarmonyMethod,
    /// What has weights of its own.
    #[serde(skip_serializing_if = "HarmonyScope::is_default")]
    pub scope: HarmonyScope,
    /// For `gradvac`: how fast the cosine that is aimed at follows those that are seen, 0 to 1.
    #[serde(skip_serializing_if = "is_half")]
    pub beta: f64,
    /// For `cagrad`: how far from the mean gradient the result may be, in lengths of it, 0 and more.
    #[serde(skip_serializing_if = "is_half")]
    pub c: f64,
    /// For `sum`: whether the gradients are kept apart all the same, to measure their cosines.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub measure: bool,
}

/// The default of both numbers. What has its default is left out of a recipe, so that runs of before settings were added
/// go on.
fn is_half(value: &f64) -> bool {
    *value == 0.5
}

impl Default for HarmonyConfig {
    fn default() -> Self {
        let (method, scope) = (HarmonyMethod::Sum, HarmonyScope::Model);
        Self { method, scope, beta: 0.5, c: 0.5, measure: false }
    }
}

/// How the gradients of several losses are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HarmonyMethod {
    /// Their sum, in one backward pass.
    #[default]
    Sum,
    /// Each gradient loses its component along every other that it conflicts with, in random order, before they are
    /// summed (Yu et al., *Gradient surgery for multi-task learning*, 2020). One backward pass per loss, as for those
    /// that follow.
    PcGrad,
    /// Each gradient is turned towards every other until their cosine is as high as on average before (Wang et al.,
    /// *Gradient vaccine*, 2021).
    GradVac,
    /// The mean gradient, moved to where the loss that gains least gains most (Liu et al., *Conflict-averse gradient
    /// descent for multi-task learning*, 2021).
    CaGrad,
}

/// What has weights of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HarmonyScope {
    /// All weights of the encoder together.
    #[default]
    Model,
    /// Each layer: parameters of one name up to the last dot.
    Layer,
}

impl HarmonyScope {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl HarmonyConfig {
    /// Whether a recipe can leave it out.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the gradients of the losses are kept apart.
    pub fn is_apart(&self) -> bool {
        self.measure || self.method != HarmonyMethod::Sum
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// Names the first that is out of range.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let bad = |key, expected: &str, found: f64| {
            Err(Error::Config { key, expected: expected.into(), found: found.to_string() })
        };
        if !(0.0..=1.0).contains(&self.beta) {
            return bad("train.harmony.beta", "in [0, 1]", self.beta);
        }
        if !(self.c >= 0.0 && self.c.is_finite()) {
            return bad("train.harmony.c", "at least 0", self.c);
        }
        Ok(())
    }
}

/// A rule at work, and what it remembers.
pub(crate) struct Harmony {
    config: HarmonyConfig,
    /// Names of the losses.
    losses: Vec<&'static str>,
    /// Which set of weights each parameter belongs to; `None` if the losses do not share it.
    sets: Vec<Option<usize>>,
    num_sets: usize,
    order_seed: u64,
    /// The cosines that GradVac aims at, for each set and two losses.
    targets: Vec<Vec<Vec<f64>>>,
}

/// Its name among the tensors of a checkpoint.
const TARGETS: &str = "harmony.targets";

impl Harmony {
    /// For the gradients of `losses` with respect to the parameters of those names.
    pub fn new<'a>(
        config: &HarmonyConfig,
        losses: Vec<&'static str>,
        params: impl Iterator<Item = &'a str>,
        order_seed: u64,
    ) -> Self {
        let mut numbers = HashMap::<&str, usize>::new();
        let set_of = |name: &'a str| {
            let set = match config.scope {
                HarmonyScope::Model => TRUNK,
                HarmonyScope::Layer => name.rsplit_once('.').map_or(name, |(layer, _)| layer),
            };
            let next = numbers.len();
            name.starts_with(TRUNK).then(|| *numbers.entry(set).or_insert(next))
        };
        let sets: Vec<Option<usize>> = params.map(set_of).collect();
        let num_sets = numbers.len();
        let targets = vec![vec![vec![0.0; losses.len()]; losses.len()]; num_sets];
        Self { config: config.clone(), losses, sets, num_sets, order_seed, targets }
    }

    /// The gradient of a step from those of the losses, and what is to be logged of them.
    ///
    /// # Errors
    /// If LibTorch fails.
    pub fn combine(&mut self, of_losses: &[Summed], step: u64) -> Result<(Summed, BTreeMap<String, f64>), Error> {
        let grams = self.grams(of_losses)?;
        let order_seed = seed::mix(self.order_seed, step);
        let weights: Vec<Vec<f64>> = grams
            .iter()
            .zip(&mut self.targets)
            .enumerate()
            .map(|(set, (gram, targets))| {
                let orders = || rules::orders(gram.len(), seed::mix(order_seed, set as u64));
                match self.config.method {
                    HarmonyMethod::Sum => vec![1.0; gram.len()],
                    HarmonyMethod::PcGrad => rules::pcgrad(gram, &orders()),
                    HarmonyMethod::GradVac => rules::gradvac(gram, &orders(), self.config.beta, targets),
                    HarmonyMethod::CaGrad => rules::cagrad(gram, self.config.c),
                }
            })
            .collect();
        let sum = |(number, set): (usize, &Option<usize>)| {
            let mut sum: Option<Tensor> = None;
            for (loss, gradients) in of_losses.iter().enumerate() {
                let gradient = &gradients.as_slice()[number];
                if gradient.defined() {
                    let weight = set.map_or(1.0, |set| weights[set][loss]);
                    let part = if weight == 1.0 { gradient.shallow_clone() } else { gradient * weight };
                    sum = Some(match sum {
                        None => part,
                        Some(sum) => sum + part,
                    });
                }
            }
            sum.unwrap_or_default()
        };
        let together = self.sets.iter().enumerate().map(sum).collect();
        Ok((together, self.metrics(&grams, &weights)))
    }

    /// The inner products of the losses' gradients with respect to each set of shared weights.
    fn grams(&self, of_losses: &[Summed]) -> Result<Vec<Vec<Vec<f64>>>, Error> {
        let mut grams = vec![vec![vec![0.0; of_losses.len()]; of_losses.len()]; self.num_sets];
        for (i, first) in of_losses.iter().enumerate() {
            for (j, second) in of_losses.iter().enumerate().skip(i) {
                let both = first.as_slice().iter().zip(second.as_slice()).zip(&self.sets);
                let both = both.filter_map(|((a, b), set)| Some((a, b, (*set)?)));
                let both: Vec<_> = both.filter(|(a, b, _)| a.defined() && b.defined()).collect();
                if both.is_empty() {
                    continue;
                }
                let products: Vec<Tensor> = both.iter().map(|(a, b, _)| (*a * *b).sum(widest(a.device()))).collect();
                let products = Tensor::f_stack(&products, 0)?.to_device(Device::Cpu).to_kind(Kind::Double);
                for ((_, _, set), product) in both.iter().zip(Vec::<f64>::try_from(products)?) {
                    grams[*set][i][j] += product;
                }
                for gram in &mut grams {
                    gram[j][i] = gram[i][j];
                }
            }
        }
        Ok(grams)
    }

    /// Lowest cosine, that of each two losses, share of those below 0, length of each gradient and its weight, on
    /// average over the sets. Those without a value are left out.
    fn metrics(&self, grams: &[Vec<Vec<f64>>], weights: &[Vec<f64>]) -> BTreeMap<String, f64> {
        let num = self.losses.len();
        let product = |i: usize, j: usize| grams.iter().map(|gram| gram[i][j]).sum::<f64>();
        let pairs = (0..num).flat_map(|i| (i + 1..num).map(move |j| (i, j)));
        let cosine = |(i, j)| ((i, j), product(i, j) / (product(i, i) * product(j, j)).sqrt());
        let cosines: Vec<((usize, usize), f64)> =
            pairs.map(cosine).filter(|(_, cosine): &(_, f64)| cosine.is_finite()).collect();
        let mut metrics = BTreeMap::new();
        if !cosines.is_empty() {
            let lowest = cosines.iter().map(|(_, cosine)| *cosine).fold(f64::INFINITY, f64::min);
            let conflicts = cosines.iter().filter(|(_, cosine)| *cosine < 0.0).count();
            metrics.insert("gradient_cosine".to_owned(), lowest);
            metrics.insert("gradient_conflicts".to_owned(), conflicts as f64 / cosines.len() as f64);
        }
        if num > 2 {
            for &((i, j), cosine) in &cosines {
                metrics.insert(format!("gradient_cosine/{}/{}", self.losses[i], self.losses[j]), cosine);
            }
        }
        for (at, loss) in self.losses.iter().enumerate() {
            let weight = weights.iter().map(|weights| weights[at]).sum::<f64>() / weights.len().max(1) as f64;
            for (name, value) in [("gradient_norm", product(at, at).max(0.0).sqrt()), ("gradient_weight", weight)] {
                if value.is_finite() {
                    metrics.insert(format!("{name}/{loss}"), value);
                }
            }
        }
        metrics
    }

    /// What it remembers, for a checkpoint.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        if self.config.method != HarmonyMethod::GradVac {
            return vec![];
        }
        let flat = Tensor::from_slice(&self.targets.concat().concat());
        vec![(TARGETS.into(), flat.view([self.num_sets as i64, self.losses.len() as i64, -1]))]
    }

    /// Loads what [`Harmony::tensors`] returned.
    ///
    /// # Errors
    /// The name of a tensor that is missing or of another shape.
    pub fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<(), String> {
        for (name, own) in self.tensors() {
            copy_named(tensors, &name, &own)?;
            let values = Vec::<f64>::try_from(own.flatten(0, -1)).map_err(|_| name)?;
            let stored = self.targets.iter_mut().flatten().flatten();
            stored.zip(values).for_each(|(target, value)| *target = value);
        }
        Ok(())
    }
}

/// What sums are taken in; Metal has no double precision.
fn widest(device: Device) -> Kind {
    if device == Device::Mps { Kind::Float } else { Kind::Double }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(together: &Summed, at: usize) -> Vec<f32> {
        Vec::<f32>::try_from(&together.as_slice()[at]).unwrap()
    }

    fn harmony(method: HarmonyMethod, scope: HarmonyScope, names: &[&str]) -> Harmony {
        let config = HarmonyConfig { method, scope, ..HarmonyConfig::default() };
        Harmony::new(&config, vec!["one", "other"], names.iter().copied(), 1)
    }

    fn gradients(of: &[Option<&[f32]>]) -> Summed {
        of.iter().map(|values| values.map_or_else(Tensor::new, Tensor::from_slice)).collect()
    }

    #[test]
    fn shared_weights_are_weighed_and_others_summed() {
        let mut harmony = harmony(HarmonyMethod::PcGrad, HarmonyScope::Model, &["trunk.a", "head.b"]);
        // They conflict: each loses its component along the other.
        let losses = [gradients(&[Some(&[1.0, 0.0]), Some(&[3.0])]), gradients(&[Some(&[-1.0, 1.0]), None])];
        let (together, metrics) = harmony.combine(&losses, 1).unwrap();
        // (1, 0) + (-1, 1) / 2 and (-1, 1) + (1, 0).
        assert_eq!((values(&together, 0), values(&together, 1)), (vec![0.5, 1.5], vec![3.0]));
        assert!((metrics["gradient_cosine"] + 0.5f64.sqrt()).abs() < 1e-12);
        assert_eq!((metrics["gradient_conflicts"], metrics["gradient_norm/one"]), (1.0, 1.0));
        assert_eq!((metrics["gradient_weight/one"], metrics["gradient_weight/other"]), (2.0, 1.5));
        // No conflict, no change; with only one, no cosine.
        let losses = [gradients(&[Some(&[1.0, 0.0]), None]), gradients(&[Some(&[1.0, 1.0]), Some(&[2.0])])];
        let (together, metrics) = harmony.combine(&losses, 1).unwrap();
        assert_eq!(values(&together, 0), [2.0, 1.0]);
        assert!((metrics["gradient_cosine"] - 0.5f64.sqrt()).abs() < 1e-12);
        let none = [gradients(&[Some(&[0.0, 0.0]), None]), gradients(&[Some(&[1.0, 1.0]), None])];
        assert!(!harmony.combine(&none, 1).unwrap().1.contains_key("gradient_cosine"));
    }

    #[test]
    fn layers_are_weighed_by_themselves() {
        let names = ["trunk.a.weight", "trunk.a.bias", "trunk.b.weight"];
        let losses = [
            gradients(&[Some(&[1.0, 0.0]), Some(&[0.0]), Some(&[1.0])]),
            gradients(&[Some(&[-1.0, 1.0]), Some(&[0.0]), Some(&[2.0])]),
        ];
        let mut by_layer = harmony(HarmonyMethod::PcGrad, HarmonyScope::Layer, &names);
        let (together, metrics) = by_layer.combine(&losses, 1).unwrap();
        assert_eq!((values(&together, 0), values(&together, 2)), (vec![0.5, 1.5], vec![3.0]));
        // Over the whole model they do not conflict: -1 + 2 > 0.
        assert!(metrics["gradient_cosine"] > 0.0);
        let mut whole = harmony(HarmonyMethod::PcGrad, HarmonyScope::Model, &names);
        assert_eq!(values(&whole.combine(&losses, 1).unwrap().0, 0), [0.0, 1.0]);
    }

    #[test]
    fn what_gradvac_aims_at_survives_a_checkpoint() {
        let names = ["trunk.a.weight", "trunk.b.weight"];
        let losses =
            [gradients(&[Some(&[1.0, 0.0]), Some(&[1.0, 0.3])]), gradients(&[Some(&[1.0, 0.2]), Some(&[-1.0, 0.5])])];
        let new = || harmony(HarmonyMethod::GradVac, HarmonyScope::Layer, &names);
        let mut one = new();
        one.combine(&losses, 1).unwrap();
        let mut again = new();
        again.load(&one.tensors().into_iter().collect()).unwrap();
        let [one, again, fresh] = [&mut one, &mut again, &mut new()].map(|of| of.combine(&losses, 2).unwrap().1);
        assert_eq!(one, again);
        assert_ne!(one, fresh);
        assert!(new().load(&HashMap::new()).unwrap_err().contains("harmony.targets"));
    }
}
