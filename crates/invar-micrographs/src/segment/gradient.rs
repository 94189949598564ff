use rayon::prelude::*;

use super::Plane;

/// Adds the squared Sobel gradient of `plane` to `sum`, scaled as in `skimage.filters.sobel`, which is its root: a step
/// of height 1 has a magnitude of `1 / sqrt(2)`. The image is mirrored at its edge.
pub(super) fn add_squared(plane: &Plane, sum: &mut [f32]) {
    let (width, height) = (plane.width, plane.height);
    if sum.is_empty() {
        return;
    }
    sum.par_chunks_mut(width).enumerate().for_each(|(row, sum)| {
        let line = |row: usize| &plane.values[row * width..][..width];
        let (above, here, below) = (line(row.saturating_sub(1)), line(row), line((row + 1).min(height - 1)));
        let at = |column: usize, left: usize, right: usize| {
            let vertical =
                (below[left] - above[left]) + 2.0 * (below[column] - above[column]) + (below[right] - above[right]);
            let side = |c: usize| above[c] + 2.0 * here[c] + below[c];
            let horizontal = side(right) - side(left);
            (vertical * vertical + horizontal * horizontal) / 32.0
        };
        sum[0] += at(0, 0, 1.min(width - 1));
        for (column, sum) in sum.iter_mut().enumerate().take(width.saturating_sub(1)).skip(1) {
            *sum += at(column, column - 1, column + 1);
        }
        if width > 1 {
            sum[width - 1] += at(width - 1, width - 2, width - 1);
        }
    });
}
