//! Applies the boundary network at the scale of a picture's lines.

use rayon::prelude::*;

use super::{
    Plane,
    learned::{self, BOUNDARY_PX},
};

/// The network sees lines of at least this sigma as two boundaries, since it was trained on lines of at most 5 pixels.
const TOO_WIDE_PX: f32 = 4.0;
pub(super) const MOST_HALVINGS: u32 = 4;

/// How often to halve a picture for lines of a given sigma.
pub(super) fn halvings(line_sigma_px: f32) -> u32 {
    (0..MOST_HALVINGS).find(|&halvings| line_sigma_px / ((1 << halvings) as f32) < TOO_WIDE_PX).unwrap_or(MOST_HALVINGS)
}

/// Half the width of what the network marks on a picture halved this often, in pixels of the picture.
pub(super) fn sigma_px(halvings: u32) -> f32 {
    BOUNDARY_PX * (1 << halvings) as f32
}

/// The probability of a boundary at each pixel, as found by the network on the picture halved this often.
pub(super) fn probability(plane: &Plane, halvings: u32) -> Vec<f32> {
    let network = learned::shipped();
    let mut small: Option<Plane> = None;
    for _ in 0..halvings {
        small = Some(halved(small.as_ref().unwrap_or(plane)));
    }
    match small {
        None => network.probability(&plane.values, plane.width, plane.height),
        Some(small) => {
            let values = network.probability(&small.values, small.width, small.height);
            enlarged(&Plane { values, ..small }, 1 << halvings, plane.width, plane.height)
        }
    }
}

/// The maximum over the channels; a single one if they are equal.
pub(super) fn greatest(channels: impl Iterator<Item = Plane>, halvings: u32) -> Vec<f32> {
    let mut most: Vec<f32> = Vec::new();
    let mut last: Option<Plane> = None;
    for plane in channels {
        if last.as_ref().is_some_and(|last| last.values == plane.values) {
            continue;
        }
        let values = probability(&plane, halvings);
        last = Some(plane);
        if most.is_empty() {
            most = values;
        } else {
            most.iter_mut().zip(values).for_each(|(most, value)| *most = most.max(value));
        }
    }
    most
}

/// The mean of each square of 2 x 2, or of what exists of it at the right and lower edge.
pub(super) fn halved(plane: &Plane) -> Plane {
    let (width, height) = (plane.width.div_ceil(2), plane.height.div_ceil(2));
    let mean = |row: usize, column: usize| {
        let rows = 2 * row..(2 * row + 2).min(plane.height);
        let columns = 2 * column..(2 * column + 2).min(plane.width);
        let count = (rows.len() * columns.len()) as f32;
        rows.flat_map(|r| &plane.values[r * plane.width..][columns.clone()]).sum::<f32>() / count
    };
    let values = (0..width * height).into_par_iter().map(|i| mean(i / width, i % width)).collect();
    Plane { width, height, values }
}

/// The inverse, interpolating linearly between the centres of pixels.
fn enlarged(plane: &Plane, times: usize, width: usize, height: usize) -> Vec<f32> {
    let between = |at: usize, len: usize| {
        let at = ((at as f32 + 0.5) / times as f32 - 0.5).clamp(0.0, (len - 1) as f32);
        let low = at as usize;
        (low, (low + 1).min(len - 1), at - low as f32)
    };
    let columns: Vec<_> = (0..width).map(|column| between(column, plane.width)).collect();
    let mut values = vec![0.0; width * height];
    values.par_chunks_mut(width.max(1)).enumerate().for_each(|(row, out)| {
        let (above, below, down) = between(row, plane.height);
        let line = |row: usize| &plane.values[row * plane.width..][..plane.width];
        let (above, below) = (line(above), line(below));
        for (out, &(left, right, along)) in out.iter_mut().zip(&columns) {
            let mix = |line: &[f32]| line[left] + along * (line[right] - line[left]);
            *out = mix(above) + down * (mix(below) - mix(above));
        }
    });
    values
}

/// Mean of the values of pixels along the boundaries: of the greater of each two that face each other across one. `None`
/// if there are none.
pub(super) fn mean_along(labels: &[u32], width: usize, value: impl Fn(usize) -> f64) -> Option<f64> {
    let (mut sum, mut pairs) = (0.0, 0u64);
    for here in 0..labels.len() {
        let left = (!here.is_multiple_of(width)).then(|| here - 1);
        for other in left.into_iter().chain(here.checked_sub(width)).filter(|&other| labels[other] != labels[here]) {
            sum += value(here).max(value(other));
            pairs += 1;
        }
    }
    (pairs > 0).then(|| sum / pairs as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pictures_are_halved_until_lines_are_narrow() {
        assert_eq!([0.8, 3.9, 4.0, 7.9, 8.0, 100.0].map(halvings), [0, 0, 1, 1, 2, MOST_HALVINGS]);
        assert_eq!([0, 1, 2].map(sigma_px), [0.8, 1.6, 3.2]);
    }

    proptest! {
        /// A plane with constant slope comes back unchanged, except for the outermost pixels.
        #[test]
        fn what_was_halved_is_enlarged(width in 1usize..20, height in 1usize..20, down in -2f32..2.0, right in -2f32..2.0) {
            let (width, height) = (2 * width, 2 * height);
            let at = |i: usize| down * (i / width) as f32 + right * (i % width) as f32;
            let plane = Plane { width, height, values: (0..width * height).map(at).collect() };
            let found = enlarged(&halved(&plane), 2, width, height);
            for (i, found) in found.into_iter().enumerate() {
                let inside = |at: usize, len: usize| at > 0 && at + 1 < len;
                if inside(i / width, height) && inside(i % width, width) {
                    prop_assert!((found - at(i)).abs() < 1e-3, "{} for {}", found, at(i));
                }
            }
        }
    }

    #[test]
    fn odd_edges_are_means_of_what_there_is() {
        let plane = Plane { width: 3, height: 3, values: (0u8..9).map(f32::from).collect() };
        assert_eq!(halved(&plane).values, [2.0, 3.5, 6.5, 8.0]);
    }

    #[test]
    fn the_mean_is_taken_where_labels_change() {
        // 1 1 2 over 1 1 2: two pairs, the greater of each.
        let values = [9.0, 0.5, 0.7, 9.0, 0.3, 0.1];
        let found = mean_along(&[1, 1, 2, 1, 1, 2], 3, |pixel| values[pixel]);
        assert!((found.unwrap() - 0.5).abs() < 1e-6);
        assert_eq!(mean_along(&[1, 1], 2, |_| 1.0), None);
    }
}
