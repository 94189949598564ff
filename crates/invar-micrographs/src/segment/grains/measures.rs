//! Figures of a picture that distinguish lines from steps and both from particles.

use crate::segment::{
    Plane, denoise, distance,
    ridge::{self, LINE_SIGMAS_PX, STEP_SIGMAS_PX},
    threshold, watershed,
};

/// Side of the central part of a picture on which everything is measured, in pixels.
pub(super) const MIDDLE_PX: usize = 1024;

/// The strength of lines at the width at which they stand out most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    pub sigma_px: f32,
    /// 95th percentiles of the strength of dark and of bright lines.
    pub dark: f32,
    pub bright: f32,
}

impl Lines {
    /// At the sigma for which `score` of the 95th percentiles of dark and bright lines is greatest.
    pub fn of(plane: &Plane, sigma_px: Option<f32>, score: impl Fn(f32, f32) -> f32) -> Self {
        let at = |sigma_px: f32| {
            let found = ridge::both_lines(plane, sigma_px);
            let dark = percentile(found.iter().map(|line| line.dark).collect(), 0.95);
            let bright = percentile(found.iter().map(|line| line.bright).collect(), 0.95);
            Self { sigma_px, dark, bright }
        };
        if let Some(sigma_px) = sigma_px {
            return at(sigma_px);
        }
        let [first, rest @ ..] = LINE_SIGMAS_PX.map(at);
        rest.into_iter().fold(first, |best, next| {
            if score(next.dark, next.bright) > score(best.dark, best.bright) { next } else { best }
        })
    }

    /// From -1, only bright lines, to 1, only dark ones.
    pub fn asymmetry(&self) -> f32 {
        (self.dark - self.bright) / (self.dark + self.bright).max(1e-9)
    }
}

/// The sigma at which steps stand out most in the channels: the greatest ratio of the 95th percentile of the gradient
/// to its median.
pub(super) fn step_sigma_px(channels: &[Plane]) -> f32 {
    let mut best = (f32::NEG_INFINITY, STEP_SIGMAS_PX[0]);
    for sigma_px in STEP_SIGMAS_PX {
        let values = ridge::steps(channels.iter().cloned(), sigma_px).values;
        let tail = percentile(values.clone(), 0.95) / percentile(values, 0.5).max(1e-9);
        if tail > best.0 {
            best = (tail, sigma_px);
        }
    }
    best.1
}

/// The range of grey levels, from the 1st to the 99th percentile, after removing slow changes of illumination: over an
/// eighth of the picture's longer side.
pub(super) fn local_spread(plane: &Plane) -> f32 {
    let radius_px = plane.width.max(plane.height) / 16 + 1;
    let means = threshold::local_mean(plane, radius_px);
    let away: Vec<f32> = plane.values.iter().zip(means).map(|(value, mean)| value - mean).collect();
    percentile(away.clone(), 0.99) - percentile(away, 0.01)
}

/// The fraction of the variance from which a surface of second order is light that falls unevenly: it explains at most
/// 0.47 of that of micrographs of particles.
const LIGHT: f64 = 0.6;

/// The picture without light that falls on it unevenly: without the surface of second order that is nearest to it.
/// `None` if that explains little of the variance.
fn without_light(plane: &Plane) -> Option<Plane> {
    let (width, height) = (plane.width, plane.height);
    // Values of the polynomials of first and second order along one side: they are orthogonal to each other.
    let along = |len: usize| -> Vec<[f64; 2]> {
        let at = |i: usize| 2.0 * (i as f64 + 0.5) / len as f64 - 1.0;
        let mean = (0..len).map(|i| at(i).powi(2)).sum::<f64>() / len as f64;
        (0..len).map(|i| [at(i), at(i).powi(2) - mean]).collect()
    };
    let (down, right) = (along(height), along(width));
    let terms = |row: usize, column: usize| {
        let ([y, yy], [x, xx]) = (down[row], right[column]);
        [x, y, x * y, xx, yy]
    };
    let mean = plane.values.iter().map(|&value| f64::from(value)).sum::<f64>() / plane.values.len().max(1) as f64;
    let (mut variance, mut products, mut squares) = (0.0, [0.0; 5], [0.0; 5]);
    for (i, &value) in plane.values.iter().enumerate() {
        let away = f64::from(value) - mean;
        variance += away * away;
        for ((term, product), square) in terms(i / width, i % width).iter().zip(&mut products).zip(&mut squares) {
            *product += term * away;
            *square += term * term;
        }
    }
    let explained: f64 = products.iter().zip(squares).filter(|(_, square)| *square > 0.0).map(|(p, s)| p * p / s).sum();
    (explained >= LIGHT * variance && variance > 0.0).then(|| {
        let light = |i: usize| -> f64 {
            let terms = terms(i / width, i % width).into_iter().zip(products).zip(squares);
            terms.filter(|(_, square)| *square > 0.0).map(|((term, product), square)| term * product / square).sum()
        };
        let values = plane.values.iter().enumerate().map(|(i, &value)| (f64::from(value) - light(i)) as f32).collect();
        Plane { width, height, values }
    })
}

/// Two grey levels, and the shape of the rarer.
#[derive(Clone, Copy, Debug)]
pub(super) struct TwoLevels {
    /// Fraction of the variance that they explain.
    pub explained: f64,
    /// Whether the rarer is the darker, where the area and the edge of the picture count equally.
    pub rarer_is_dark: bool,
    /// Fraction of the area covered by the rarer.
    pub share: f64,
    /// Number of its pieces of at least 12 pixels.
    pub pieces: usize,
    /// Half of its area is in pieces of at most this many squares of their inscribed radius; for a disc pi.
    pub elongation: f64,
    /// Fraction of its area that a disc as wide as a line fits into.
    pub thick: f64,
    /// Fraction of the other level's area in its largest piece.
    pub ground: f64,
    /// 95th percentile of the gradient over its median.
    pub tail: f64,
}

impl TwoLevels {
    /// Light that falls on the picture unevenly, and is most of what there is, is left out. `None` for a picture of a
    /// single value.
    pub fn of(plane: &Plane, line_sigma_px: f32) -> Option<Self> {
        let even = without_light(plane);
        let plane = even.as_ref().unwrap_or(plane);
        let (width, height) = (plane.width, plane.height);
        let mut blurred = plane.clone();
        denoise::gaussian(&mut blurred, 1.0);
        let cut = threshold::otsu(&blurred)?;
        let mut mask: Vec<bool> = blurred.values.iter().map(|&value| value > cut).collect();
        let explained = threshold::explained(&blurred.values, &mask);
        let rarer_is_dark = crate::segment::otsu::mostly(&mask, width, height);
        if rarer_is_dark {
            mask.iter_mut().for_each(|inside| *inside = !*inside);
        }
        let count = mask.iter().filter(|&&inside| inside).count();
        let distances = distance::distances_px(&mask, width, height);
        let pieces = pieces(&mask, width, height, true);
        let mut radii = vec![0.0f32; pieces.areas.len()];
        pieces.labels.iter().zip(&distances).for_each(|(&label, &d)| {
            radii[label as usize] = radii[label as usize].max(d);
        });
        let mut shapes: Vec<(f64, u64)> = (1..radii.len())
            .filter(|&label| pieces.areas[label] >= 12)
            .map(|label| {
                let area = pieces.areas[label];
                (area as f64 / f64::from(radii[label].max(0.5)).powi(2), area)
            })
            .collect();
        shapes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let half = shapes.iter().map(|(_, area)| *area as f64).sum::<f64>() / 2.0;
        let mut sum = 0.0;
        let elongation = shapes.iter().find(|(_, area)| {
            sum += *area as f64;
            sum >= half
        });
        let ground = pieces_of_ground(&mask, width, height);
        let gradient = ridge::steps(std::iter::once(plane.clone()), 2.0).values;
        let tail = f64::from(percentile(gradient.clone(), 0.95)) / f64::from(percentile(gradient, 0.5)).max(1e-9);
        Some(Self {
            explained,
            rarer_is_dark,
            share: count as f64 / mask.len() as f64,
            pieces: shapes.len(),
            elongation: elongation.map_or(f64::INFINITY, |(shape, _)| *shape),
            thick: thick(&mask, &distances, width, height, (2.0 * line_sigma_px).round().max(2.0))
                / (count.max(1) as f64),
            ground,
            tail,
        })
    }
}

/// Pixels of `mask` covered by a disc of more than `radius_px`, approximating the disc by steps on the grid.
fn thick(mask: &[bool], distances: &[f32], width: usize, height: usize, radius_px: f32) -> f64 {
    let far: Vec<bool> = distances.iter().map(|&d| d <= radius_px).collect();
    let to_core = distance::distances_px(&far, width, height);
    let covered = mask.iter().zip(&to_core).filter(|(inside, d)| **inside && **d <= radius_px);
    if far.iter().all(|&far| far) { 0.0 } else { covered.count() as f64 }
}

fn pieces_of_ground(mask: &[bool], width: usize, height: usize) -> f64 {
    let areas = pieces(mask, width, height, false).areas;
    let most = areas.iter().skip(1).max().copied().unwrap_or(0);
    most as f64 / areas.iter().sum::<u64>().max(1) as f64
}

struct Pieces {
    labels: Vec<u32>,
    /// By label; none for 0.
    areas: Vec<u64>,
}

/// 4-connected pieces of the pixels that are `value`.
fn pieces(mask: &[bool], width: usize, height: usize, value: bool) -> Pieces {
    let mut found = Pieces { labels: vec![0; mask.len()], areas: vec![0] };
    let mut stack = Vec::new();
    for start in 0..mask.len() {
        if mask[start] != value || found.labels[start] != 0 {
            continue;
        }
        let label = found.areas.len() as u32;
        found.labels[start] = label;
        stack.push(start as u32);
        let mut area = 0;
        while let Some(pixel) = stack.pop() {
            area += 1;
            watershed::each_neighbor(pixel as usize, width, height, |next| {
                if mask[next] == value && found.labels[next] == 0 {
                    found.labels[next] = label;
                    stack.push(next as u32);
                }
            });
        }
        found.areas.push(area);
    }
    found
}

/// The smallest value that at least a fraction `share` does not exceed, without interpolation; 0 if there are none.
pub(super) fn percentile(mut values: Vec<f32>, share: f64) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let rank = (share * (values.len() - 1) as f64).round() as usize;
    *values.select_nth_unstable_by(rank, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bright squares on a dark ground.
    fn squares(width: usize, height: usize) -> Plane {
        let inside = |at: usize| at % 24 >= 9;
        let value = |i: usize| f32::from(u8::from(inside(i / width) && inside(i % width)));
        Plane { width, height, values: (0..width * height).map(value).collect() }
    }

    fn lit(plane: &Plane, light: impl Fn(f32, f32) -> f32) -> Plane {
        let Plane { width, height, .. } = *plane;
        let at = |i: usize| ((i / width) as f32 / height as f32, (i % width) as f32 / width as f32);
        let values = plane.values.iter().enumerate().map(|(i, value)| value + light(at(i).0, at(i).1)).collect();
        Plane { width, height, values }
    }

    #[test]
    fn light_stronger_than_all_else_changes_no_figure_of_two_levels() {
        let squares = squares(240, 192);
        assert!(without_light(&squares).is_none());
        let even = TwoLevels::of(&squares, 1.0).unwrap();
        assert!(even.explained > 0.8 && even.ground > 0.99 && even.pieces >= 50, "{even:?}");
        for light in [|_: f32, x: f32| 8.0 * x, |y: f32, x: f32| 12.0 * ((y - 0.4) * (y - 0.4) + x * y)] {
            let found = TwoLevels::of(&lit(&squares, light), 1.0).unwrap();
            assert!(found.explained > even.explained - 0.02, "{found:?} {even:?}");
            assert_eq!((found.pieces, found.rarer_is_dark), (even.pieces, even.rarer_is_dark));
        }
        // Less light than there is else stays.
        assert!(without_light(&lit(&squares, |_, x| 0.5 * x)).is_none());
    }

    #[test]
    fn small_and_uniform_pictures_have_no_light() {
        for (width, height) in [(0, 0), (1, 1), (1, 9), (9, 1)] {
            let plane = Plane { width, height, values: vec![0.3; width * height] };
            assert!(without_light(&plane).is_none());
        }
        let slope = Plane { width: 3, height: 1, values: vec![0.0, 1.0, 2.0] };
        assert!(without_light(&slope).unwrap().values.iter().all(|value| (value - 1.0).abs() < 1e-6));
    }
}
