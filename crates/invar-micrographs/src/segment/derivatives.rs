//! Derivatives of a Gaussian, row by row.

use multiversion::multiversion;
use rayon::prelude::*;

use super::Plane;

/// Kernels of a Gaussian and of its first two derivatives, truncated at 4 sigma. They are the continuous functions
/// sampled at integer pixels, corrected so that the slope of a ramp and the curvature of a parabola are exact, and
/// those of a constant are 0.
struct Kernels {
    radius: usize,
    orders: [Vec<f32>; 3],
}

impl Kernels {
    fn new(sigma_px: f32) -> Self {
        let sigma = f64::from(sigma_px);
        let radius = reach_px(sigma_px);
        let x = |i: usize| i as f64 - radius as f64;
        let taps = 0..2 * radius + 1;
        let mut smooth: Vec<f64> = taps.clone().map(|i| (-0.5 * (x(i) / sigma).powi(2)).exp()).collect();
        let sum: f64 = smooth.iter().sum();
        smooth.iter_mut().for_each(|weight| *weight /= sum);
        let moment =
            |kernel: &[f64], power: i32| -> f64 { kernel.iter().zip(0..).map(|(w, i)| w * x(i).powi(power)).sum() };
        let mut slope: Vec<f64> = taps.clone().map(|i| x(i) * smooth[i]).collect();
        let scale = moment(&slope, 1);
        slope.iter_mut().for_each(|weight| *weight /= scale);
        let variance = moment(&smooth, 2);
        let mut bend: Vec<f64> = taps.map(|i| (x(i).powi(2) - variance) * smooth[i]).collect();
        let scale = moment(&bend, 2) / 2.0;
        bend.iter_mut().for_each(|weight| *weight /= scale);
        let single = |kernel: Vec<f64>| kernel.into_iter().map(|weight| weight as f32).collect();
        Self { radius, orders: [smooth, slope, bend].map(single) }
    }
}

/// How far away pixels influence a derivative.
pub(super) fn reach_px(sigma_px: f32) -> usize {
    ((4.0 * f64::from(sigma_px) + 0.5) as usize).max(1)
}

/// Calls `use_row` with the rows of `out`, and the gradient `[down, right]` of `plane` blurred by `sigma_px` there.
pub(super) fn gradients<T: Send>(
    plane: &Plane,
    sigma_px: f32,
    out: &mut [T],
    use_row: impl Fn(&mut [T], [&[f32]; 2]) + Sync,
) {
    each_row(plane, sigma_px, out, &[(1, 0), (0, 1)], |row, found| use_row(row, [&found[0], &found[1]]));
}

/// Calls `use_row` with the rows of `out`, and the second derivatives `[down down, down right, right right]` there.
pub(super) fn hessians<T: Send>(
    plane: &Plane,
    sigma_px: f32,
    out: &mut [T],
    use_row: impl Fn(&mut [T], [&[f32]; 3]) + Sync,
) {
    let orders = [(2, 0), (1, 1), (0, 2)];
    each_row(plane, sigma_px, out, &orders, |row, found| use_row(row, [&found[0], &found[1], &found[2]]));
}

/// The outermost pixels are repeated beyond the edge. Needs the memory of some rows per thread.
fn each_row<T: Send>(
    plane: &Plane,
    sigma_px: f32,
    out: &mut [T],
    orders: &[(usize, usize)],
    use_row: impl Fn(&mut [T], &[Vec<f32>]) + Sync,
) {
    let (width, height) = (plane.width, plane.height);
    if plane.values.is_empty() {
        return;
    }
    let Kernels { radius, orders: kernels } = Kernels::new(sigma_px);
    let scratch = || (vec![0.0f32; width + 2 * radius], vec![vec![0.0f32; width]; orders.len()]);
    out.par_chunks_mut(width).enumerate().for_each_init(scratch, |(padded, found), (row, out)| {
        for (&(down, right), found) in orders.iter().zip(found.iter_mut()) {
            let middle = &mut padded[radius..radius + width];
            middle.fill(0.0);
            for (&weight, offset) in kernels[down].iter().zip(0..) {
                let from = (row + offset).saturating_sub(radius).min(height - 1);
                add_scaled(middle, &plane.values[from * width..][..width], weight);
            }
            let (first, last) = (padded[radius], padded[radius + width - 1]);
            padded[..radius].fill(first);
            padded[radius + width..].fill(last);
            found.fill(0.0);
            for (&weight, offset) in kernels[right].iter().zip(0..) {
                add_scaled(found, &padded[offset..offset + width], weight);
            }
        }
        use_row(out, found);
    });
}

#[multiversion(targets("x86_64+avx"))]
fn add_scaled(sum: &mut [f32], values: &[f32], weight: f32) {
    sum.iter_mut().zip(values).for_each(|(sum, &value)| *sum += weight * value);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `3 + 2 down - right + down^2 / 2 + 3 down right - 2 right^2`, whose derivatives are known at every pixel.
    fn parabola(size: usize) -> Plane {
        let value = |i: usize| {
            let (y, x) = ((i / size) as f32 - 20.0, (i % size) as f32 - 20.0);
            3.0 + 2.0 * y - x + 0.5 * y * y + 3.0 * x * y - 2.0 * x * x
        };
        Plane { width: size, height: size, values: (0..size * size).map(value).collect() }
    }

    #[test]
    fn derivatives_of_a_parabola_are_exact_away_from_the_edge() {
        let plane = parabola(41);
        for sigma_px in [0.6, 0.8, 1.6, 3.0] {
            let mut first = vec![[0.0f32; 2]; plane.values.len()];
            gradients(&plane, sigma_px, &mut first, |row, found| {
                row.iter_mut().enumerate().for_each(|(i, out)| *out = found.map(|values| values[i]));
            });
            let mut second = vec![[0.0f32; 3]; plane.values.len()];
            hessians(&plane, sigma_px, &mut second, |row, found| {
                row.iter_mut().enumerate().for_each(|(i, out)| *out = found.map(|values| values[i]));
            });
            for (y, x) in [(0.0f32, 0.0f32), (4.0, -3.0), (-5.0, 2.0)] {
                let at = (y + 20.0) as usize * 41 + (x + 20.0) as usize;
                let expected = [2.0 + y + 3.0 * x, -1.0 + 3.0 * y - 4.0 * x];
                let close = |found: f32, expected: f32| (found - expected).abs() < 2e-2;
                assert!(first[at].iter().zip(expected).all(|(&f, e)| close(f, e)), "{:?} {expected:?}", first[at]);
                let expected = [1.0, 3.0, -4.0];
                assert!(second[at].iter().zip(expected).all(|(&f, e)| close(f, e)), "{:?} {sigma_px}", second[at]);
            }
        }
    }
}
