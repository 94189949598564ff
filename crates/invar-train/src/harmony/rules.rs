//! The rules: from the Gram matrix of the gradients to the weight of each in their sum, in f64.
//!
//! `gram[i][j]` is the inner product of gradients `i` and `j`; `orders[i]` lists the others in the order in which
//! gradient `i` meets them.

use invar_dataset::seed;

/// Smallest norm, relative to that of the largest gradient, that counts as a direction.
const NO_DIRECTION: f64 = 1e-12;

/// Each gradient loses its component along every other that it conflicts with, in random order, before they are summed
/// (Yu et al., *Gradient surgery for multi-task learning*, 2020).
pub(super) fn pcgrad(gram: &[Vec<f64>], orders: &[Vec<usize>]) -> Vec<f64> {
    let mut sum = vec![0.0; gram.len()];
    for (own, others) in orders.iter().enumerate() {
        let mut parts = unit(gram.len(), own);
        for &other in others {
            let product = dot(&parts, &gram[other]);
            if product < 0.0 {
                parts[other] -= product / gram[other][other];
            }
        }
        add(&mut sum, &parts);
    }
    sum
}

/// Each gradient is turned towards every other until their cosine is what it has been on average, `target[i][j]`, a
/// moving average of decay `1 - beta` that starts at 0 and is updated (Wang et al., *Gradient vaccine: investigating and
/// improving multi-task optimization in massively multilingual models*, 2021).
pub(super) fn gradvac(gram: &[Vec<f64>], orders: &[Vec<usize>], beta: f64, target: &mut [Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; gram.len()];
    for (own, others) in orders.iter().enumerate() {
        let mut parts = unit(gram.len(), own);
        for &other in others {
            let own_norm = squared(&parts, gram).max(0.0).sqrt();
            let other_norm = gram[other][other].max(0.0).sqrt();
            if own_norm == 0.0 || other_norm == 0.0 {
                continue;
            }
            let cosine = (dot(&parts, &gram[other]) / (own_norm * other_norm)).clamp(-1.0, 1.0);
            let wanted = target[own][other];
            if cosine < wanted {
                let [sine, wanted_sine] = [cosine, wanted].map(|cosine| (1.0 - cosine * cosine).max(0.0).sqrt());
                if wanted_sine > 0.0 {
                    parts[other] += own_norm * (wanted * sine - cosine * wanted_sine) / (other_norm * wanted_sine);
                }
            }
            target[own][other] = (1.0 - beta) * wanted + beta * cosine;
        }
        add(&mut sum, &parts);
    }
    sum
}

/// The mean gradient `g0`, moved within a ball of radius `c |g0|` to where the loss that gains least gains most:
/// `g0 + c |g0| g_w / |g_w|`, with `w` on the simplex that minimises `g_w . g0 + c |g0| |g_w|` (Liu et al.,
/// *Conflict-averse gradient descent for multi-task learning*, 2021).
///
/// The minimum is found exactly: on each face of the simplex it solves a quadratic equation, and there are few losses.
pub(super) fn cagrad(gram: &[Vec<f64>], c: f64) -> Vec<f64> {
    let num = gram.len();
    let mean = vec![1.0 / num as f64; num];
    let along: Vec<f64> = gram.iter().map(|row| dot(row, &mean)).collect(); // g_i . g0
    let radius = c * dot(&along, &mean).max(0.0).sqrt();
    let largest = (0..num).map(|at| gram[at][at]).fold(0.0, f64::max);
    let value = |w: &[f64]| dot(&along, w) + radius * squared(w, gram).max(0.0).sqrt();
    let corners = (0..num).map(|at| unit(num, at));
    let faces = (1u32..1 << num).filter(|face| face.count_ones() > 1);
    let inside = faces.filter_map(|face| lowest_within(face, gram, &along, radius));
    let lowest = corners.chain(inside).min_by(|a, b| value(a).total_cmp(&value(b))).unwrap_or_default();
    let norm = squared(&lowest, gram).max(0.0).sqrt();
    if norm <= NO_DIRECTION * largest.sqrt() {
        // Some combination of the gradients is 0: no direction makes all losses fall.
        return vec![0.0; num];
    }
    mean.iter().zip(&lowest).map(|(mean, w)| mean + radius / norm * w).collect()
}

/// The stationary point of [`cagrad`]'s objective inside a face of the simplex, whose corners are the bits of `face`;
/// `None` if it has none, or if its gradients are linearly dependent: then a smaller face is as low.
fn lowest_within(face: u32, gram: &[Vec<f64>], along: &[f64], radius: f64) -> Option<Vec<f64>> {
    let corners: Vec<usize> = (0..gram.len()).filter(|at| face >> at & 1 == 1).collect();
    let part: Vec<Vec<f64>> = corners.iter().map(|&i| corners.iter().map(|&j| gram[i][j]).collect()).collect();
    let slope: Vec<f64> = corners.iter().map(|&at| along[at]).collect();
    // There G w = |g_w| / radius (lambda - slope), for the lambda at which w' G w = |g_w|^2.
    let (of_ones, of_slope) = (solved(&part, &vec![1.0; corners.len()])?, solved(&part, &slope)?);
    let (a, b) = (of_ones.iter().sum::<f64>(), of_slope.iter().sum::<f64>());
    let rest = dot(&slope, &of_slope) - radius * radius;
    let root = (b * b - a * rest).max(0.0).sqrt();
    [(b + root) / a, (b - root) / a].into_iter().find_map(|lambda| {
        let w: Vec<f64> = of_ones.iter().zip(&of_slope).map(|(one, slope)| lambda * one - slope).collect();
        let sum = w.iter().sum::<f64>();
        let is_inside = sum != 0.0 && w.iter().all(|w| w / sum >= 0.0 && (w / sum).is_finite());
        is_inside.then(|| {
            let mut all = vec![0.0; gram.len()];
            corners.iter().zip(&w).for_each(|(&at, w)| all[at] = w / sum);
            all
        })
    })
}

/// The solution of `matrix x = right` for a positive definite matrix, by Cholesky's decomposition; `None` if it is not,
/// as far as rounding tells.
fn solved(matrix: &[Vec<f64>], right: &[f64]) -> Option<Vec<f64>> {
    let num = right.len();
    let mut lower = vec![vec![0.0; num]; num];
    for i in 0..num {
        for j in 0..=i {
            let rest = matrix[i][j] - dot(&lower[i][..j], &lower[j][..j]);
            lower[i][j] = if i == j { rest.sqrt() } else { rest / lower[j][j] };
            if i == j && (rest.is_nan() || rest <= 1e-14 * matrix[i][i]) {
                return None;
            }
        }
    }
    let mut x = right.to_vec();
    for i in 0..num {
        x[i] = (x[i] - dot(&lower[i][..i], &x[..i])) / lower[i][i];
    }
    for i in (0..num).rev() {
        let rest: f64 = (i + 1..num).map(|j| lower[j][i] * x[j]).sum();
        x[i] = (x[i] - rest) / lower[i][i];
    }
    Some(x)
}

/// For each gradient, all others in random order.
pub(super) fn orders(num: usize, order_seed: u64) -> Vec<Vec<usize>> {
    let of = |own: usize| {
        let mut others: Vec<usize> = (0..num).filter(|&other| other != own).collect();
        let key = seed::mix(order_seed, own as u64);
        others.sort_by_key(|&other| (seed::mix(key, other as u64), other));
        others
    };
    (0..num).map(of).collect()
}

fn unit(num: usize, at: usize) -> Vec<f64> {
    (0..num).map(|i| if i == at { 1.0 } else { 0.0 }).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The squared norm of a combination of the gradients.
fn squared(parts: &[f64], gram: &[Vec<f64>]) -> f64 {
    gram.iter().zip(parts).map(|(row, part)| part * dot(row, parts)).sum()
}

fn add(sum: &mut [f64], parts: &[f64]) {
    sum.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Gram matrix, the orders, and what TorchJD makes of them: see `torchjd_cases.py`.
    #[derive(serde::Deserialize)]
    struct Case {
        gram: Vec<Vec<f64>>,
        orders: Vec<Vec<usize>>,
        pcgrad: Vec<f64>,
        /// Of three calls with the same matrix.
        gradvac: Vec<Vec<f64>>,
        cagrad: Vec<f64>,
    }

    fn cases() -> Vec<Case> {
        serde_json::from_str(include_str!("torchjd_cases.json")).unwrap()
    }

    fn assert_close(found: &[f64], expected: &[f64], case: usize, rule: &str) {
        let far = found.iter().zip(expected).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f64::max);
        assert!(far < 1e-9, "{rule} of case {case}: {found:?}, TorchJD has {expected:?}");
    }

    #[test]
    fn the_weights_are_those_of_torchjd() {
        let cases = cases();
        assert!(cases.len() >= 50 && cases.iter().any(|case| case.gram.len() == 5));
        for (number, case) in cases.iter().enumerate() {
            assert_close(&pcgrad(&case.gram, &case.orders), &case.pcgrad, number, "PCGrad");
            let mut target = vec![vec![0.0; case.gram.len()]; case.gram.len()];
            for expected in &case.gradvac {
                assert_close(&gradvac(&case.gram, &case.orders, 0.5, &mut target), expected, number, "GradVac");
            }
            assert_close(&cagrad(&case.gram, 0.5), &case.cagrad, number, "CAGrad");
        }
    }

    /// The point of the simplex that the weights come from.
    fn added(weights: &[f64]) -> Vec<f64> {
        let added: Vec<f64> = weights.iter().map(|weight| weight - 1.0 / weights.len() as f64).collect();
        let total: f64 = added.iter().sum();
        added.iter().map(|part| part / total).collect()
    }

    /// CAGrad's objective for c = 0.5.
    fn objective(gram: &[Vec<f64>], w: &[f64]) -> f64 {
        let mean = vec![1.0 / gram.len() as f64; gram.len()];
        let along: Vec<f64> = gram.iter().map(|row| dot(row, &mean)).collect();
        dot(&along, w) + 0.5 * dot(&along, &mean).sqrt() * squared(w, gram).max(0.0).sqrt()
    }

    /// The objective is convex: no point of the simplex may be lower than the one whose weights are returned.
    #[test]
    fn no_other_point_is_lower() {
        for case in cases() {
            let num = case.gram.len();
            let lowest = objective(&case.gram, &added(&cagrad(&case.gram, 0.5)));
            let mut rng = seed::rng(7, num as u64);
            for _ in 0..1000 {
                let wild: Vec<f64> = (0..num).map(|_| -seed::uniform(&mut rng).max(1e-300).ln()).collect();
                let sum: f64 = wild.iter().sum();
                let other = objective(&case.gram, &wild.iter().map(|w| w / sum).collect::<Vec<_>>());
                assert!(other >= lowest - 1e-12 * lowest.abs());
            }
        }
    }

    #[test]
    fn without_conflict_nothing_is_turned_and_opposite_gradients_stand_still() {
        let apart = [vec![4.0, 0.0], vec![0.0, 1.0]];
        let orders = orders(2, 1);
        assert_eq!(pcgrad(&apart, &orders), [1.0, 1.0]);
        assert_eq!(gradvac(&apart, &orders, 0.5, &mut vec![vec![0.0; 2]; 2]), [1.0, 1.0]);
        let opposite = [vec![1.0, -1.0], vec![-1.0, 1.0]];
        assert_eq!(squared(&cagrad(&opposite, 0.5), &opposite), 0.0);
        assert_eq!(pcgrad(&opposite, &orders), [2.0, 2.0]); // each projected to 0: 1 + 1 of both, g - g = 0
        // A loss without a gradient on the shared weights.
        let none = [vec![1.0, 0.0], vec![0.0, 0.0]];
        for weights in [pcgrad(&none, &orders), gradvac(&none, &orders, 0.5, &mut vec![vec![0.0; 2]; 2])] {
            assert_eq!(weights, [1.0, 1.0]);
        }
        assert!(cagrad(&none, 0.5).iter().all(|weight| weight.is_finite()));
    }
}
