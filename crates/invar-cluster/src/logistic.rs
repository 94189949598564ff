//! Multinomial logistic regression on embeddings: the classifier that a few labels can carry, and the reference for
//! anything that learns more.
//!
//! It minimises `sum_i w_i (ln sum_k e^z_ik - z_iy) + |W|^2 / (2 c)` with `z = W x + b`, as scikit-learn's
//! `LogisticRegression` does, by L-BFGS (Nocedal and Wright, *Numerical optimization*, 2006, algorithm 7.5) in f64.

use std::collections::VecDeque;

use rayon::prelude::*;

use crate::{ClusterError, Rows};

/// Steps and gradients that L-BFGS remembers.
const MEMORY: usize = 10;
/// Rows whose gradients are summed by one thread; fixed, so that sums do not depend on the threads.
const BLOCK: usize = 256;

/// How it is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogisticConfig {
    /// Inverse of the penalty on squared weights, above 0.
    pub c: f64,
    /// Largest component of the gradient, per unit of weight of the rows, at which it ends.
    pub tolerance: f64,
    /// Maximum number of steps.
    pub max_steps: usize,
}

impl Default for LogisticConfig {
    fn default() -> Self {
        Self { c: 1.0, tolerance: 1e-6, max_steps: 1000 }
    }
}

/// A fitted regression.
#[derive(Clone, Debug, PartialEq)]
pub struct Logistic {
    /// `[K, D]`, row-major.
    pub weights: Vec<f64>,
    /// `[K]`.
    pub bias: Vec<f64>,
}

impl Logistic {
    /// Fits the classes of the rows, numbers below that of `class_weights`, each of which a row of that class counts.
    ///
    /// # Errors
    /// If there are not as many classes as rows, none at all, one out of range, or a setting is.
    pub fn fit(
        rows: Rows<'_>,
        classes: &[u32],
        class_weights: &[f64],
        config: &LogisticConfig,
    ) -> Result<Self, ClusterError> {
        let num = class_weights.len();
        if classes.len() != rows.len() || classes.is_empty() {
            let (what, expected) = ("number of classes", rows.len().max(1));
            return Err(ClusterError::Length { what, expected, found: classes.len() });
        }
        if let Some(class) = classes.iter().find(|&&class| class as usize >= num) {
            let (parameter, must) = ("class", "be one of those that have a weight");
            return Err(ClusterError::Parameter { parameter, value: class.to_string(), must });
        }
        if !(config.c > 0.0 && config.c.is_finite()) {
            return Err(ClusterError::Parameter { parameter: "c", value: config.c.to_string(), must: "be above 0" });
        }
        let problem = Problem { rows, classes, class_weights, penalty: 1.0 / config.c };
        let total: f64 = classes.iter().map(|&class| class_weights[class as usize]).sum();
        let found = minimised(num * (rows.dim() + 1), config.tolerance * total.max(1.0), config.max_steps, |at| {
            problem.value(at)
        });
        let (weights, bias) = found.split_at(num * rows.dim());
        Ok(Self { weights: weights.to_vec(), bias: bias.to_vec() })
    }

    /// The logits of a row, one per class.
    pub fn logits(&self, row: &[f32]) -> Vec<f64> {
        self.weights.chunks_exact(row.len()).zip(&self.bias).map(|(weights, bias)| bias + dot(weights, row)).collect()
    }
}

struct Problem<'a> {
    rows: Rows<'a>,
    classes: &'a [u32],
    class_weights: &'a [f64],
    penalty: f64,
}

impl Problem<'_> {
    /// The objective and its gradient; the parameters are the weights `[K, D]`, then the bias.
    fn value(&self, at: &[f64]) -> (f64, Vec<f64>) {
        let (num, dim) = (self.class_weights.len(), self.rows.dim());
        let (weights, bias) = at.split_at(num * dim);
        let of_block = |block: &[u32], first: usize| {
            let (mut value, mut gradient) = (0.0, vec![0.0; at.len()]);
            for (offset, &class) in block.iter().enumerate() {
                let row = self.rows.row(first + offset);
                let mut z: Vec<f64> =
                    weights.chunks_exact(dim).zip(bias).map(|(weights, bias)| bias + dot(weights, row)).collect();
                let (own, own_weight) = (z[class as usize], self.class_weights[class as usize]);
                value += own_weight * (softmax(&mut z) - own);
                for (k, probability) in z.into_iter().enumerate() {
                    let slope = own_weight * (probability - f64::from(u8::from(k == class as usize)));
                    let of_class = &mut gradient[k * dim..(k + 1) * dim];
                    of_class.iter_mut().zip(row).for_each(|(sum, &x)| *sum += slope * f64::from(x));
                    gradient[num * dim + k] += slope;
                }
            }
            (value, gradient)
        };
        let blocks: Vec<(f64, Vec<f64>)> =
            self.classes.par_chunks(BLOCK).enumerate().map(|(number, block)| of_block(block, number * BLOCK)).collect();
        let mut value = weights.iter().map(|w| w * w).sum::<f64>() * self.penalty / 2.0;
        let mut gradient: Vec<f64> = weights.iter().map(|w| w * self.penalty).chain(bias.iter().map(|_| 0.0)).collect();
        for (of_block, slopes) in blocks {
            value += of_block;
            gradient.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
        }
        (value, gradient)
    }
}

/// The logits become probabilities; returns the logarithm of the sum of their exponentials.
pub fn softmax(logits: &mut [f64]) -> f64 {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logits.iter_mut().for_each(|z| *z = (*z - most).exp());
    let sum: f64 = logits.iter().sum();
    logits.iter_mut().for_each(|z| *z /= sum);
    most + sum.ln()
}

/// Where a smooth convex function is lowest, from 0 on.
fn minimised(num: usize, tolerance: f64, max_steps: usize, function: impl Fn(&[f64]) -> (f64, Vec<f64>)) -> Vec<f64> {
    let mut at = vec![0.0; num];
    let (mut value, mut gradient) = function(&at);
    // Differences of positions and of gradients, oldest first.
    let mut memory: VecDeque<(Vec<f64>, Vec<f64>)> = VecDeque::new();
    for _ in 0..max_steps {
        if gradient.iter().all(|slope| slope.abs() <= tolerance) {
            break;
        }
        let mut along = direction(&gradient, &memory);
        let mut slope = product(&along, &gradient);
        if slope >= 0.0 {
            memory.clear();
            along = gradient.iter().map(|slope| -slope).collect();
            slope = -product(&gradient, &gradient);
        }
        // The first step has no scale of its own.
        let mut length = if memory.is_empty() { 1.0 / slope.abs().sqrt().max(1.0) } else { 1.0 };
        let next = loop {
            let next: Vec<f64> = at.iter().zip(&along).map(|(at, along)| at + length * along).collect();
            let found = function(&next);
            if found.0 <= value + 1e-4 * length * slope {
                break Some((next, found));
            }
            length /= 2.0;
            if length < 1e-12 {
                break None;
            }
        };
        // As low as rounding lets it be.
        let Some((next, (next_value, next_gradient))) = next else { break };
        let difference = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>();
        let (step, change) = (difference(&next, &at), difference(&next_gradient, &gradient));
        if product(&step, &change) > 1e-14 * product(&change, &change) {
            memory.push_back((step, change));
            if memory.len() > MEMORY {
                memory.pop_front();
            }
        }
        (at, value, gradient) = (next, next_value, next_gradient);
    }
    at
}

/// Downhill, scaled by the curvature seen so far.
fn direction(gradient: &[f64], memory: &VecDeque<(Vec<f64>, Vec<f64>)>) -> Vec<f64> {
    let mut q = gradient.to_vec();
    let mut parts = Vec::with_capacity(memory.len());
    for (step, change) in memory.iter().rev() {
        let part = product(step, &q) / product(step, change);
        q.iter_mut().zip(change).for_each(|(q, change)| *q -= part * change);
        parts.push(part);
    }
    if let Some((step, change)) = memory.back() {
        let scale = product(step, change) / product(change, change);
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((step, change), part) in memory.iter().zip(parts.iter().rev()) {
        let other = product(change, &q) / product(step, change);
        q.iter_mut().zip(step).for_each(|(q, step)| *q += (part - other) * step);
    }
    q.iter_mut().for_each(|q| *q = -*q);
    q
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn dot(weights: &[f64], row: &[f32]) -> f64 {
    weights.iter().zip(row).map(|(w, &x)| w * f64::from(x)).sum()
}

#[cfg(test)]
mod tests {
    use invar_dataset::seed;

    use super::*;

    /// 60 rows of 4 numbers in three classes that overlap.
    fn specimen() -> (Vec<f32>, Vec<u32>) {
        let mut rng = seed::rng(5, 1);
        let classes: Vec<u32> = (0..60).map(|row| row % 3).collect();
        let value = |class: u32, at: u32| if at == class { 1.0 } else { 0.0 };
        let mut wild = || 2.0 * seed::uniform(&mut rng) - 1.0;
        let values = classes.iter().flat_map(|&class| (0..4).map(move |at| value(class, at)));
        let values = values.map(|value: f64| (value + wild()) as f32).collect();
        (values, classes)
    }

    #[test]
    fn the_gradient_is_that_of_the_value() {
        let (values, classes) = specimen();
        let rows = Rows::new(&values, 4).unwrap();
        let problem = Problem { rows, classes: &classes, class_weights: &[1.0, 2.0, 0.5], penalty: 0.3 };
        let mut rng = seed::rng(6, 1);
        let at: Vec<f64> = (0..15).map(|_| 2.0 * seed::uniform(&mut rng) - 1.0).collect();
        let (_, gradient) = problem.value(&at);
        for number in 0..15 {
            let moved = |by: f64| {
                let mut there = at.clone();
                there[number] += by;
                problem.value(&there).0
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - gradient[number]).abs() < 1e-6, "{number}: {slope} {}", gradient[number]);
        }
    }

    /// Convex: where the gradient vanishes is the one minimum.
    #[test]
    fn it_ends_where_the_gradient_vanishes_at_any_number_of_threads() {
        let (values, classes) = specimen();
        let rows = Rows::new(&values, 4).unwrap();
        let weights = [1.0, 2.0, 0.5];
        for c in [0.01, 1.0, 1000.0] {
            let config = LogisticConfig { c, tolerance: 1e-9, ..Default::default() };
            let found = Logistic::fit(rows, &classes, &weights, &config).unwrap();
            let problem = Problem { rows, classes: &classes, class_weights: &weights, penalty: 1.0 / c };
            let (_, gradient) = problem.value(&[&found.weights[..], &found.bias[..]].concat());
            let steepest = gradient.into_iter().map(f64::abs).fold(0.0, f64::max);
            assert!(steepest < 1e-6, "c = {c}: {steepest}");
            let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            assert_eq!(alone.install(|| Logistic::fit(rows, &classes, &weights, &config).unwrap()), found);
        }
    }

    /// `LogisticRegression(C=2.0, tol=1e-12, class_weight={0: 1.0, 1: 2.0, 2: 0.5})` of scikit-learn 1.9.
    #[test]
    fn the_weights_are_those_of_scikit_learn() {
        let values = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 2.0, 1.0, 1.0, 2.0, 3.0, 3.0];
        let rows = Rows::new(&values, 2).unwrap();
        let config = LogisticConfig { c: 2.0, tolerance: 1e-10, ..Default::default() };
        let found = Logistic::fit(rows, &[0, 0, 1, 1, 2, 2], &[1.0, 2.0, 0.5], &config).unwrap();
        let expected = [-0.29554743, -1.54364887, -0.00585639, 0.22228893, 0.30140382, 1.32135994];
        assert!(found.weights.iter().zip(expected).all(|(w, e)| (w - e).abs() < 1e-6), "{:?}", found.weights);
        let mut logits = found.logits(rows.row(3));
        softmax(&mut logits);
        let expected = [0.13628279, 0.71423915, 0.14947806];
        assert!(logits.iter().zip(expected).all(|(p, e)| (p - e).abs() < 1e-6), "{logits:?}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let values = [0.0, 1.0];
        let rows = Rows::new(&values, 1).unwrap();
        let refused = |classes: &[u32], c: f64| {
            let config = LogisticConfig { c, ..Default::default() };
            Logistic::fit(rows, classes, &[1.0, 1.0], &config).unwrap_err().to_string()
        };
        assert!(refused(&[0], 1.0).contains("number of classes"));
        assert!(refused(&[0, 2], 1.0).contains("one of those"));
        assert!(refused(&[0, 1], 0.0).contains("above 0"));
    }
}
