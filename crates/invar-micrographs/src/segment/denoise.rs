use rayon::prelude::*;

use super::Plane;

/// Convolves with a Gaussian truncated at 4 sigma, with the outermost pixels repeated beyond the edge, as in
/// `skimage.filters.gaussian`. Sigma 0 changes nothing.
pub(crate) fn gaussian(plane: &mut Plane, sigma_px: f32) {
    let radius = reach_px(sigma_px);
    if radius == 0 || plane.values.is_empty() {
        return;
    }
    let kernel = kernel(sigma_px, radius);
    let (width, height) = (plane.width, plane.height);
    let mut columns = vec![0.0f32; plane.values.len()];
    columns.par_chunks_mut(width).enumerate().for_each(|(row, out)| {
        for (weight, offset) in kernel.iter().zip(0..) {
            let from = (row + offset).saturating_sub(radius).min(height - 1);
            let source = &plane.values[from * width..][..width];
            out.iter_mut().zip(source).for_each(|(sum, &value)| *sum += weight * value);
        }
    });
    plane.values.par_chunks_mut(width).zip(columns.par_chunks(width)).for_each_init(
        || vec![0.0f32; width + 2 * radius],
        |padded, (out, row)| {
            padded[..radius].fill(row[0]);
            padded[radius..radius + width].copy_from_slice(row);
            padded[radius + width..].fill(row[width - 1]);
            out.fill(0.0);
            for (weight, offset) in kernel.iter().zip(0..) {
                out.iter_mut().zip(&padded[offset..]).for_each(|(sum, &value)| *sum += weight * value);
            }
        },
    );
}

/// How far away pixels influence [`gaussian`].
pub(super) fn reach_px(sigma_px: f32) -> usize {
    (4.0 * sigma_px + 0.5) as usize
}

fn kernel(sigma_px: f32, radius: usize) -> Vec<f32> {
    let weight = |i: usize| {
        let x = (i as f64 - radius as f64) / f64::from(sigma_px);
        (-0.5 * x * x).exp()
    };
    let sum: f64 = (0..=2 * radius).map(weight).sum();
    (0..=2 * radius).map(|i| (weight(i) / sum) as f32).collect()
}

/// Median over the square of side `2 * radius_px + 1`, the outermost pixels repeated. Radius 0 changes nothing.
pub(super) fn median(plane: &mut Plane, radius_px: usize) {
    if radius_px == 0 || plane.values.is_empty() {
        return;
    }
    let (width, height) = (plane.width, plane.height);
    let source = std::mem::take(&mut plane.values);
    plane.values = vec![0.0; source.len()];
    plane.values.par_chunks_mut(width).enumerate().for_each_init(Vec::new, |window, (row, out)| {
        for (column, out) in out.iter_mut().enumerate() {
            window.clear();
            for r in 0..=2 * radius_px {
                let r = (row + r).saturating_sub(radius_px).min(height - 1);
                for c in 0..=2 * radius_px {
                    let c = (column + c).saturating_sub(radius_px).min(width - 1);
                    window.push(source[r * width + c]);
                }
            }
            let middle = window.len() / 2;
            *out = *window.select_nth_unstable_by(middle, f32::total_cmp).1;
        }
    });
}
