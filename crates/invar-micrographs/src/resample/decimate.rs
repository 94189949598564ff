//! Every n-th point of a fine grid, low-passed along both of its axes.

use super::Interpolation;

/// Makes `size x size` pixels of `num x num` points.
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
    /// For views of `size` pixels a side and `factor` points a pixel.
    pub fn prepare(&mut self, size: usize, factor: usize, interpolation: Interpolation) {
        if (self.factor, self.interpolation) != (factor, interpolation) || self.weights.is_empty() {
            self.weights = weights(factor, interpolation);
        }
        (self.size, self.factor, self.interpolation) = (size, factor, interpolation);
    }

    /// Points a side.
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
            self.row.fill(0.0);
            for (tap, &weight) in self.weights.iter().enumerate() {
                let points = &self.ring[(i * self.factor + tap) % taps * num..][..num];
                add(&mut self.row, points, weight);
            }
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
        out.fill(0.0);
        for (tap, &weight) in self.weights.iter().enumerate() {
            add(out, &self.phases[tap % factor * stride + tap / factor..], weight);
        }
    }
}

fn add(sums: &mut [f32], values: &[f32], weight: f32) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value * weight;
    }
}

/// The kernel of the interpolation, `factor` times as wide: the usual low-pass of image libraries (as Pillow's).
fn weights(factor: usize, interpolation: Interpolation) -> Vec<f32> {
    if factor == 1 {
        return vec![1.0];
    }
    let (kernel, support): (fn(f64) -> f64, usize) = match interpolation {
        Interpolation::Bilinear => (|x| 1.0 - x, 1),
        Interpolation::Bicubic => (cubic, 2),
    };
    // Centres of pixels lie on a point where the factor is odd, between two where it is even.
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

    // A plane a + b i + c j stays what it is: the kernels keep straight lines.
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
