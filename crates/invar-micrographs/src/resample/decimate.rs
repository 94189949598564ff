//! Every n-th point of a fine grid, low-passed along both of its axes.

use multiversion::multiversion;

use super::Interpolation;

/// Reduces `num x num` points to `size x size` pixels.
#[derive(Default)]
pub(super) struct Decimator {
    size: usize,
    factor: usize,
    interpolation: Interpolation,
    weights: Vec<f32>,
    /// The last rows of points, row `i` at `i % weights.len()`: `[weights.len(), num]`.
    ring: Vec<f32>,
    /// One low-passed row of points.
    row: Vec<f32>,
    /// The same, point `i` at `[i % factor, i / factor]`.
    phases: Vec<f32>,
}

impl Decimator {
    /// For views of `size` pixels per side and `factor` points per pixel.
    pub fn prepare(&mut self, size: usize, factor: usize, interpolation: Interpolation) {
        if (self.factor, self.interpolation) != (factor, interpolation) || self.weights.is_empty() {
            self.weights = weights(factor, interpolation);
        }
        (self.size, self.factor, self.interpolation) = (size, factor, interpolation);
    }

    /// Points per side.
    pub fn num_points(&self) -> usize {
        (self.size - 1) * self.factor + self.weights.len()
    }

    /// Calls `points(i, row)` for each row of points, in order, and writes the pixels.
    pub fn run(&mut self, view: &mut [f32], mut points: impl FnMut(usize, &mut [f32])) {
        let (num, taps) = (self.num_points(), self.weights.len());
        self.ring.resize(taps * num, 0.0);
        self.row.resize(num, 0.0);
        let mut next = 0;
        for (i, out) in view.chunks_exact_mut(self.size).enumerate() {
            while next < i * self.factor + taps {
                points(next, &mut self.ring[next % taps * num..][..num]);
                next += 1;
            }
            down(&self.ring, i * self.factor % taps, &self.weights, &mut self.row);
            self.across(out);
        }
    }

    fn across(&mut self, out: &mut [f32]) {
        let (factor, stride) = (self.factor, self.row.len().div_ceil(self.factor));
        self.phases.resize(factor * stride, 0.0);
        for (phase, values) in self.phases.chunks_exact_mut(stride).enumerate() {
            for (value, &point) in values.iter_mut().zip(self.row[phase..].iter().step_by(factor)) {
                *value = point;
            }
        }
        across(&self.phases, stride, &self.weights, out);
    }
}

/// Number of points summed together, so that their sums stay in registers.
const BLOCK: usize = 32;

/// The weighted sum of the rows of a ring, from row `first` on.
#[multiversion(targets("x86_64+avx"))]
fn down(ring: &[f32], first: usize, weights: &[f32], out: &mut [f32]) {
    let num = out.len();
    let rows = (first..weights.len()).chain(0..first).zip(weights);
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        weighted(out, rows.clone().map(|(row, &weight)| (&ring[row * num + block * BLOCK..], weight)));
    }
}

/// The weighted sum of the neighbours of every pixel in a row stored by phases.
#[multiversion(targets("x86_64+avx"))]
fn across(phases: &[f32], stride: usize, weights: &[f32], out: &mut [f32]) {
    let factor = phases.len() / stride;
    let taps = (0..factor).cycle().zip(weights).enumerate();
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let points = |(tap, (phase, &weight)): (usize, (usize, &f32))| {
            (&phases[phase * stride + tap / factor + block * BLOCK..], weight)
        };
        weighted(out, taps.clone().map(points));
    }
}

#[inline(always)]
fn weighted<'a>(out: &mut [f32], parts: impl Iterator<Item = (&'a [f32], f32)>) {
    let mut sums = [0.0; BLOCK];
    if out.len() == BLOCK {
        for (values, weight) in parts {
            let values: &[f32; BLOCK] = values.first_chunk().expect("as many as are summed up");
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value * weight);
        }
    } else {
        for (values, weight) in parts {
            sums.iter_mut().zip(&values[..out.len()]).for_each(|(sum, value)| *sum += value * weight);
        }
    }
    out.copy_from_slice(&sums[..out.len()]);
}

/// The kernel of the interpolation, `factor` times as wide: the usual low-pass of image libraries (such as Pillow).
fn weights(factor: usize, interpolation: Interpolation) -> Vec<f32> {
    if factor == 1 {
        return vec![1.0];
    }
    let (kernel, support): (fn(f64) -> f64, usize) = match interpolation {
        Interpolation::Bilinear => (|x| 1.0 - x, 1),
        Interpolation::Bicubic => (cubic, 2),
    };
    // Centres of pixels lie on a point if the factor is odd, between two if it is even.
    let num = if factor.is_multiple_of(2) { 2 * support * factor } else { 2 * support * factor - 1 };
    let middle = (num as f64 - 1.0) / 2.0;
    let weights: Vec<f64> = (0..num).map(|i| kernel(((i as f64 - middle) / factor as f64).abs())).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| (weight / total) as f32).collect()
}

/// Keys 1981, a = -1/2; `0 <= x < 2`.
fn cubic(x: f64) -> f64 {
    if x < 1.0 { (1.5 * x - 2.5) * x * x + 1.0 } else { ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_symmetric_and_sum_to_one() {
        for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
            for factor in 1..6 {
                let weights = weights(factor, interpolation);
                assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                let mirrored: Vec<f32> = weights.iter().rev().copied().collect();
                assert_eq!(weights, mirrored);
            }
        }
    }

    // A plane a + b i + c j is unchanged: the kernels preserve straight lines.
    #[test]
    fn planes_pass() {
        let mut decimator = Decimator::default();
        for (factor, interpolation) in
            [(2, Interpolation::Bicubic), (3, Interpolation::Bicubic), (3, Interpolation::Bilinear)]
        {
            decimator.prepare(5, factor, interpolation);
            let middle = (decimator.num_points() as f32 - 1.0) / 2.0;
            let mut view = vec![0.0; 25];
            decimator.run(&mut view, |i, row| {
                for (j, value) in row.iter_mut().enumerate() {
                    *value = 10.0 + 0.5 * (i as f32 - middle) - 0.25 * (j as f32 - middle);
                }
            });
            for (index, &value) in view.iter().enumerate() {
                let (i, j) = ((index / 5) as f32 - 2.0, (index % 5) as f32 - 2.0);
                let expected = 10.0 + factor as f32 * (0.5 * i - 0.25 * j);
                assert!((value - expected).abs() < 1e-4, "{factor} {interpolation:?}: {value} {expected}");
            }
        }
    }
}
