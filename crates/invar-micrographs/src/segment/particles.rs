//! Separate particles on a background, which may be unevenly lit; particles may touch.

use super::{Plane, denoise, distance, merge, otsu, threshold, watershed};

/// Longer side of the image over half the side of the square in which particles and background are compared.
const LOCAL_SHARE: usize = 16;
/// The same for removing uneven illumination.
const FLAT_SHARE: usize = 8;
/// How often the threshold is moved half-way between the two.
const ROUNDS: usize = 3;
/// A threshold is valid where particles and background differ by at least this fraction of their difference over the
/// whole image.
const LOCAL_CONTRAST: f32 = 0.5;
/// Two particles touch where their neck is narrower than this fraction of the smaller one's width.
const NECK: f32 = 0.8;
/// Blur of the distance to the background, in pixels: outlines are rough.
const ROUGHNESS_PX: f32 = 1.0;

/// Labels `1..=n` of the particles of `plane`, which is already blurred, 0 on the background. The threshold is half-way
/// between the means of particles and of background around each pixel, starting from Otsu's threshold of the image (as
/// Ridler and Calvard 1978, locally). Touching particles are separated at their necks, by their shape whatever their
/// size. Holes belong to the particle.
pub(super) fn segment(plane: &Plane, dark: bool, min_size_px: u32) -> Vec<u32> {
    let (width, height) = (plane.width, plane.height);
    let Some(mut mask) = two_levels(plane, dark) else { return vec![0; plane.values.len()] };
    for _ in 0..ROUNDS {
        if !halfway(plane, &mut mask) {
            break;
        }
    }
    otsu::fill_holes(&mut mask, width, height);
    let mut depth = Plane { width, height, values: distance::distances_px(&mask, width, height) };
    denoise::gaussian(&mut depth, ROUGHNESS_PX);
    depth.values.iter_mut().for_each(|value| *value = value.max(1.0).ln());
    let landscape = watershed::quantize(&depth, true);
    drop(depth);
    let mut labels = watershed::flood_from_minima(&landscape, width, height, Some(&mask), -NECK.ln());
    merge::drop_small(&mut labels, min_size_px);
    labels
}

/// Particles by Otsu's threshold of the image, or of the image without slow changes of illumination if two levels
/// explain more of that. `None` for a single value.
fn two_levels(plane: &Plane, dark: bool) -> Option<Vec<bool>> {
    let parted = |plane: &Plane| -> Option<(f64, Vec<bool>)> {
        let cut = threshold::otsu(plane)?;
        let mask: Vec<bool> = plane.values.iter().map(|&value| (value > cut) != dark).collect();
        Some((threshold::explained(&plane.values, &mask), mask))
    };
    let (explained, mask) = parted(plane)?;
    let radius_px = plane.width.max(plane.height) / FLAT_SHARE + 1;
    let mut flat = Plane { width: plane.width, height: plane.height, values: threshold::local_mean(plane, radius_px) };
    flat.values.iter_mut().zip(&plane.values).for_each(|(mean, value)| *mean = value - *mean);
    match parted(&flat) {
        Some((more, of_flat)) if more > explained => Some(of_flat),
        _ => Some(mask),
    }
}

/// Moves the threshold of each pixel half-way between what is inside and outside of `mask` around it. Returns whether
/// anything changed.
fn halfway(plane: &Plane, mask: &mut [bool]) -> bool {
    let radius_px = (plane.width.max(plane.height) / LOCAL_SHARE).max(8);
    let means = |inside: bool| -> (Vec<f32>, f32) {
        let pick = |value: &dyn Fn(usize) -> f32| {
            let values = (0..mask.len()).map(|i| if mask[i] == inside { value(i) } else { 0.0 }).collect();
            threshold::local_mean(&Plane { width: plane.width, height: plane.height, values }, radius_px)
        };
        let (mut sums, shares) = (pick(&|i| plane.values[i]), pick(&|_| 1.0));
        let all = (0..mask.len()).filter(|&i| mask[i] == inside);
        let (sum, count) = all.fold((0.0, 0usize), |(sum, n), i| (sum + f64::from(plane.values[i]), n + 1));
        let everywhere = (sum / count.max(1) as f64) as f32;
        // Where there are next to none around, the mean over the whole image.
        let least = 1e-3;
        sums.iter_mut()
            .zip(shares)
            .for_each(|(sum, share)| *sum = if share > least { *sum / share } else { everywhere });
        (sums, everywhere)
    };
    let ((inner, inner_mean), (outer, outer_mean)) = (means(true), means(false));
    let contrast = inner_mean - outer_mean;
    let mut changed = false;
    for (i, inside) in mask.iter_mut().enumerate() {
        let local = inner[i] - outer[i];
        if local * contrast.signum() < LOCAL_CONTRAST * contrast.abs() {
            continue;
        }
        let is_inside = (plane.values[i] - f32::midpoint(inner[i], outer[i])) * local > 0.0;
        changed |= is_inside != *inside;
        *inside = is_inside;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Discs of 9 pixels radius, 0.3 above a background that rises from 0 to 1; two of them overlap by 4 pixels.
    fn on_a_slope() -> Plane {
        let (width, height) = (240, 120);
        let centres = [(30, 30), (30, 90), (90, 60), (150, 30), (150, 90), (210, 45), (210, 59)];
        let value = |i: usize| {
            let (x, y) = ((i % width) as f32, (i / width) as f32);
            let inside = centres.iter().any(|&(a, b)| (x - a as f32).hypot(y - b as f32) <= 9.0);
            x / width as f32 + if inside { 0.3 } else { 0.0 }
        };
        Plane { width, height, values: (0..width * height).map(value).collect() }
    }

    #[test]
    fn particles_on_uneven_ground_are_found_and_touching_ones_parted() {
        let plane = on_a_slope();
        let labels = segment(&plane, false, 30);
        assert_eq!(labels.iter().max(), Some(&7));
        let area = labels.iter().filter(|&&label| label == labels[30 * 240 + 30]).count();
        assert!((230..290).contains(&area), "a disc of 254 pixels has {area}");
        assert_ne!(labels[42 * 240 + 210], labels[62 * 240 + 210]);
        // Dark ones on a bright background are the same ones.
        let upside_down = Plane { values: plane.values.iter().map(|value| -value).collect(), ..plane };
        assert_eq!(segment(&upside_down, true, 30).iter().max(), Some(&7));
    }

    #[test]
    fn a_picture_of_one_value_has_no_particles() {
        let plane = Plane { width: 20, height: 10, values: vec![0.4; 200] };
        assert_eq!(segment(&plane, false, 30), vec![0; 200]);
    }
}
