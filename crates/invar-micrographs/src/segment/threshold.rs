use super::Plane;

const NUM_BINS: usize = 256;

/// Otsu's threshold: the middle of one of 256 bins from the smallest to the largest value, as in
/// `skimage.filters.threshold_otsu` (Otsu 1979). Values above it are bright. `None` where all values are equal.
pub(super) fn otsu(plane: &Plane) -> Option<f32> {
    let (low, high) = plane.range();
    if low >= high {
        return None;
    }
    let scale = NUM_BINS as f32 / (high - low);
    let mut counts = [0u64; NUM_BINS];
    for &value in &plane.values {
        counts[(((value - low) * scale) as usize).min(NUM_BINS - 1)] += 1;
    }
    let total: u64 = counts.iter().sum();
    let moment: f64 = counts.iter().zip(0..).map(|(&n, bin)| n as f64 * f64::from(bin)).sum();
    let (mut below, mut moment_below) = (0u64, 0.0);
    let (mut best, mut best_bin) = (-1.0, 0);
    for (bin, &count) in counts.iter().enumerate().take(NUM_BINS - 1) {
        below += count;
        moment_below += count as f64 * bin as f64;
        let above = total - below;
        let distance = moment_below / below as f64 - (moment - moment_below) / above as f64;
        let between = below as f64 * above as f64 * distance * distance;
        if between > best {
            (best, best_bin) = (between, bin);
        }
    }
    Some(low + (best_bin as f32 + 0.5) / scale)
}

/// The mean of the square of side `2 * radius_px + 1` around each pixel, as far as it lies on the image. Linear in the
/// number of pixels whatever the radius.
pub(super) fn local_mean(plane: &Plane, radius_px: usize) -> Vec<f32> {
    let (width, height) = (plane.width, plane.height);
    let mut columns = vec![0.0f64; width];
    let mut means = Vec::with_capacity(plane.values.len());
    let row = |r: usize| &plane.values[r * width..][..width];
    let mut rows = 0..0;
    for r in 0..height {
        while rows.end < (r + radius_px + 1).min(height) {
            columns.iter_mut().zip(row(rows.end)).for_each(|(sum, &v)| *sum += f64::from(v));
            rows.end += 1;
        }
        while rows.start + radius_px < r {
            columns.iter_mut().zip(row(rows.start)).for_each(|(sum, &v)| *sum -= f64::from(v));
            rows.start += 1;
        }
        let (mut sum, mut span) = (0.0, 0..0);
        for c in 0..width {
            while span.end < (c + radius_px + 1).min(width) {
                sum += columns[span.end];
                span.end += 1;
            }
            while span.start + radius_px < c {
                sum -= columns[span.start];
                span.start += 1;
            }
            means.push((sum / (rows.len() * span.len()) as f64) as f32);
        }
    }
    means
}
