//! Strength of lines and of steps at each pixel.

use super::{Plane, derivatives};

/// Widths at which lines are looked for: sigma of the Gaussian, in pixels.
pub(super) const LINE_SIGMAS_PX: [f32; 6] = [0.8, 1.1, 1.6, 2.2, 3.2, 4.5];
/// Widths at which steps are looked for.
pub(super) const STEP_SIGMAS_PX: [f32; 4] = [1.0, 1.5, 2.2, 3.2];
/// How much a line may bend the other way before it counts as a spot, as a fraction of how it bends across itself.
const ROUNDNESS: f32 = 0.7;
/// The sigmas over which the strength of lines is maximised, as multiples of the measured one.
const NEIGHBORING: [f32; 3] = [0.75, 1.0, 1.4];

/// The strength of the dark and of the bright line through each pixel, at one sigma: the larger eigenvalue of the
/// Hessian times the square of sigma (Lindeberg 1998, section 4.2), reduced where the smaller one has the same sign
/// (Frangi et al. 1998). In units of the plane: about the contrast of a line that is about 2 sigma wide.
#[derive(Clone, Copy, Default)]
pub(super) struct LineStrength {
    pub dark: f32,
    pub bright: f32,
}

impl LineStrength {
    #[inline]
    fn of([yy, xy, xx]: [f32; 3], sigma_px: f32) -> Self {
        let scale = sigma_px * sigma_px;
        let (mean, half) = ((yy + xx) * 0.5, (yy - xx) * 0.5);
        let spread = (half * half + xy * xy).sqrt();
        let (large, small) = ((mean + spread) * scale, (mean - spread) * scale);
        Self { dark: across(large, small), bright: across(-small, -large) }
    }
}

/// `large` is the curvature across the line, `small` along it.
#[inline]
fn across(large: f32, small: f32) -> f32 {
    if large <= 0.0 {
        return 0.0;
    }
    if small <= 0.0 {
        return large;
    }
    let round = small / (ROUNDNESS * large);
    large * (-round * round).exp()
}

/// Dark and bright lines of one sigma.
pub(super) fn both_lines(plane: &Plane, sigma_px: f32) -> Vec<LineStrength> {
    let mut found = vec![LineStrength::default(); plane.values.len()];
    derivatives::hessians(plane, sigma_px, &mut found, |row, [yy, xy, xx]| {
        for (i, out) in row.iter_mut().enumerate() {
            *out = LineStrength::of([yy[i], xy[i], xx[i]], sigma_px);
        }
    });
    found
}

/// How far away pixels influence [`lines`] and [`steps`].
pub(super) fn reach_px(sigma_px: f32) -> usize {
    derivatives::reach_px(NEIGHBORING[2] * sigma_px)
}

/// Strength of dark (or bright) lines, the maximum over `sigma_px` and its neighbours.
pub(super) fn lines(plane: &Plane, dark: bool, sigma_px: f32) -> Plane {
    let mut values = vec![0.0f32; plane.values.len()];
    for sigma_px in NEIGHBORING.map(|share| share * sigma_px) {
        derivatives::hessians(plane, sigma_px, &mut values, |row, [yy, xy, xx]| {
            for (i, out) in row.iter_mut().enumerate() {
                let found = LineStrength::of([yy[i], xy[i], xx[i]], sigma_px);
                *out = out.max(if dark { found.dark } else { found.bright });
            }
        });
    }
    Plane { width: plane.width, height: plane.height, values }
}

/// Strength of steps: the magnitude of the gradient at `sigma_px`, times sigma; for several channels the root mean
/// square.
pub(super) fn steps(channels: impl Iterator<Item = Plane>, sigma_px: f32) -> Plane {
    let (mut sum, mut count) = (Plane { width: 0, height: 0, values: Vec::new() }, 0);
    for plane in channels {
        if count == 0 {
            sum = Plane { width: plane.width, height: plane.height, values: vec![0.0; plane.values.len()] };
        }
        count += 1;
        derivatives::gradients(&plane, sigma_px, &mut sum.values, |row, [down, right]| {
            for (i, out) in row.iter_mut().enumerate() {
                *out += down[i] * down[i] + right[i] * right[i];
            }
        });
    }
    let scale = sigma_px * sigma_px / count.max(1) as f32;
    sum.values.iter_mut().for_each(|value| *value = (*value * scale).sqrt());
    sum
}
