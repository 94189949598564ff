//! How the gradients of several losses are combined for the weights that they share.
//!
//! In a plain sum, the loss with the larger gradient wins where two conflict. A rule keeps the gradients apart and
//! weights them, using their Gram matrix alone, in f64, after the sum over processes and before clipping. Weights that
//! belong to a single loss (heads) get the sum.

use invar_dataset::seed;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::{Error, gradients::Summed};

/// Settings of the rule: `[train.harmony]` of a recipe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HarmonyConfig {
    /// The rule.
    pub method: HarmonyMethod,
}

/// How the gradients of several losses are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HarmonyMethod {
    /// Their sum, in one backward pass.
    #[default]
    Sum,
    /// Each gradient loses its component along every other that it conflicts with, in random order, before they are
    /// summed (Yu et al., *Gradient surgery for multi-task learning*, 2020). One backward pass per loss.
    PcGrad,
}

impl HarmonyConfig {
    /// Whether a recipe can leave it out.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the gradients of the losses are kept apart.
    pub fn is_apart(&self) -> bool {
        self.method != HarmonyMethod::Sum
    }
}

/// Combines the gradients of several losses, one sum per loss. Also returns the lowest cosine between two of them, NaN
/// if there are no two. Only those of the `shared` weights are reweighted. `order_seed` determines the order of the
/// projections.
///
/// # Errors
/// If LibTorch fails.
pub(crate) fn combine(losses: &[Summed], shared: &[bool], order_seed: u64) -> Result<(Summed, f64), Error> {
    let gram = gram(losses, shared)?;
    let weights = pcgrad(&gram, order_seed);
    let sum = |number: usize| {
        let mut sum: Option<Tensor> = None;
        for (loss, weight) in losses.iter().zip(&weights) {
            let gradient = &loss.as_slice()[number];
            if gradient.defined() {
                let part = if shared[number] { gradient * *weight } else { gradient.shallow_clone() };
                sum = Some(match sum {
                    None => part,
                    Some(sum) => sum + part,
                });
            }
        }
        sum.unwrap_or_default()
    };
    Ok(((0..shared.len()).map(sum).collect(), lowest_cosine(&gram)))
}

/// The inner products of the losses' gradients with respect to the shared weights.
fn gram(losses: &[Summed], shared: &[bool]) -> Result<Vec<Vec<f64>>, Error> {
    let mut gram = vec![vec![0.0; losses.len()]; losses.len()];
    for (i, first) in losses.iter().enumerate() {
        for (j, second) in losses.iter().enumerate().skip(i) {
            let both = first.as_slice().iter().zip(second.as_slice()).zip(shared);
            let both = both.filter(|((a, b), is_shared)| **is_shared && a.defined() && b.defined());
            let products: Vec<Tensor> = both.map(|((a, b), _)| (a * b).sum(widest(a.device()))).collect();
            if !products.is_empty() {
                let products = Tensor::f_stack(&products, 0)?.to_device(Device::Cpu).to_kind(Kind::Double);
                gram[i][j] = Vec::<f64>::try_from(products)?.into_iter().sum();
                gram[j][i] = gram[i][j];
            }
        }
    }
    Ok(gram)
}

/// What sums are taken in; Metal has no double precision.
fn widest(device: Device) -> Kind {
    if device == Device::Mps { Kind::Float } else { Kind::Double }
}

/// The weight of each gradient in the sum that PCGrad makes of them.
fn pcgrad(gram: &[Vec<f64>], order_seed: u64) -> Vec<f64> {
    let num = gram.len();
    let mut weights = vec![0.0; num];
    for own in 0..num {
        // A combination of the gradients, which starts as this loss's own.
        let mut parts = vec![0.0; num];
        parts[own] = 1.0;
        for other in others(num, own, order_seed) {
            let product: f64 = parts.iter().zip(&gram[other]).map(|(part, product)| part * product).sum();
            if product < 0.0 {
                parts[other] -= product / gram[other][other];
            }
        }
        weights.iter_mut().zip(parts).for_each(|(weight, part)| *weight += part);
    }
    weights
}

/// All but `own`, in random order.
fn others(num: usize, own: usize, order_seed: u64) -> Vec<usize> {
    let mut others: Vec<usize> = (0..num).filter(|&other| other != own).collect();
    let key = seed::mix(order_seed, own as u64);
    others.sort_by_key(|&other| (seed::mix(key, other as u64), other));
    others
}

fn lowest_cosine(gram: &[Vec<f64>]) -> f64 {
    let pairs = (0..gram.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
    let cosine = |(i, j): (usize, usize)| gram[i][j] / (gram[i][i] * gram[j][j]).sqrt();
    pairs.map(cosine).filter(|cosine| !cosine.is_nan()).fold(f64::NAN, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wild(numbers: usize, of: u64) -> Vec<f64> {
        let mut rng = seed::rng(of, 7);
        (0..numbers).map(|_| 2.0 * seed::uniform(&mut rng) - 1.0).collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// The paper's algorithm, on the vectors themselves.
    fn surgery(gradients: &[Vec<f64>], order_seed: u64) -> Vec<f64> {
        let mut sum = vec![0.0; gradients[0].len()];
        for (own, gradient) in gradients.iter().enumerate() {
            let mut projected = gradient.clone();
            for other in others(gradients.len(), own, order_seed) {
                let product = dot(&projected, &gradients[other]);
                if product < 0.0 {
                    let factor = product / dot(&gradients[other], &gradients[other]);
                    projected.iter_mut().zip(&gradients[other]).for_each(|(own, other)| *own -= factor * other);
                }
            }
            sum.iter_mut().zip(projected).for_each(|(sum, part)| *sum += part);
        }
        sum
    }

    #[test]
    fn weights_by_the_gram_matrix_are_the_surgery_on_the_vectors() {
        for case in 0..40u64 {
            let (num, dim) = (2 + case as usize % 4, 3 + case as usize % 5);
            let gradients: Vec<Vec<f64>> = (0..num as u64).map(|g| wild(dim, 100 * case + g)).collect();
            let gram: Vec<Vec<f64>> = gradients.iter().map(|a| gradients.iter().map(|b| dot(a, b)).collect()).collect();
            let weights = pcgrad(&gram, case);
            let expected = surgery(&gradients, case);
            for (at, expected) in expected.iter().enumerate() {
                let found: f64 = gradients.iter().zip(&weights).map(|(g, w)| w * g[at]).sum();
                assert!((found - expected).abs() < 1e-12, "case {case}: {found} {expected}");
            }
        }
    }

    #[test]
    fn shared_weights_are_weighed_and_others_summed() {
        let of = |shared: &[f32], own: Option<f32>| {
            [Tensor::from_slice(shared), own.map_or_else(Tensor::new, |own| Tensor::from_slice(&[own]))]
                .into_iter()
                .collect::<Summed>()
        };
        // They conflict: each loses its component along the other.
        let losses = [of(&[1.0, 0.0], Some(3.0)), of(&[-1.0, 1.0], None)];
        let (together, cosine) = combine(&losses, &[true, false], 1).unwrap();
        let values = |at: usize| Vec::<f32>::try_from(&together.as_slice()[at]).unwrap();
        // (1, 0) + (-1, 1) / 2 and (-1, 1) + (1, 0).
        assert_eq!((values(0), values(1)), (vec![0.5, 1.5], vec![3.0]));
        assert!((cosine + 0.5f64.sqrt()).abs() < 1e-12);
        // No conflict, no change; with only one, no cosine.
        let losses = [of(&[1.0, 0.0], None), of(&[1.0, 1.0], Some(2.0))];
        let (together, cosine) = combine(&losses, &[true, false], 1).unwrap();
        assert_eq!(Vec::<f32>::try_from(&together.as_slice()[0]).unwrap(), [2.0, 1.0]);
        assert!((cosine - 0.5f64.sqrt()).abs() < 1e-12);
        assert!(combine(&[of(&[0.0, 0.0], None), of(&[1.0, 1.0], None)], &[true, false], 1).unwrap().1.is_nan());
    }
}
