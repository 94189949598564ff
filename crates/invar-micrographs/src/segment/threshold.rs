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

/// Otsu's threshold of values with weights, and the share of the variance that the two classes explain. The threshold lies
/// half-way between the classes. `None` where there are not two different values.
pub(super) fn two_classes(values: impl Iterator<Item = (f64, f64)>) -> Option<(f64, f64)> {
    let mut values: Vec<(f64, f64)> = values.collect();
    values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let weight: f64 = values.iter().map(|(_, weight)| weight).sum();
    let moment: f64 = values.iter().map(|(value, weight)| value * weight).sum();
    let mean = moment / weight;
    let variance: f64 = values.iter().map(|(value, weight)| weight * (value - mean).powi(2)).sum();
    let (mut below, mut moment_below) = (0.0, 0.0);
    let mut best: Option<(f64, f64)> = None;
    for pair in values.windows(2) {
        let [(value, own), (next, _)] = [pair[0], pair[1]];
        below += own;
        moment_below += own * value;
        let above = weight - below;
        if next <= value || above <= 0.0 {
            continue;
        }
        let distance = moment_below / below - (moment - moment_below) / above;
        let between = below * above / weight * distance * distance;
        if best.is_none_or(|(most, _)| between > most) {
            best = Some((between, f64::midpoint(value, next)));
        }
    }
    best.map(|(between, threshold)| (threshold, between / variance))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every cut is tried, the variance between the classes counted anew for each.
        #[test]
        fn two_classes_are_those_of_trying_every_cut(values in prop::collection::vec((0u8..30, 1u8..9), 1..40)) {
            let values: Vec<(f64, f64)> = values.into_iter().map(|(v, w)| (f64::from(v), f64::from(w))).collect();
            let of = |keep: &dyn Fn(f64) -> bool| {
                let kept = values.iter().filter(|(value, _)| keep(*value));
                kept.fold((0.0, 0.0), |(weight, moment), (v, w)| (weight + w, moment + v * w))
            };
            let (weight, moment) = of(&|_| true);
            let within: f64 = values.iter().map(|(v, w)| w * (v - moment / weight).powi(2)).sum();
            let mut best = 0.0f64;
            for cut in 0..30 {
                let (below, above) = (of(&|v| v <= f64::from(cut)), of(&|v| v > f64::from(cut)));
                if below.0 > 0.0 && above.0 > 0.0 {
                    let mean = |(weight, moment): (f64, f64)| moment / weight;
                    let squared = |class: (f64, f64)| class.0 * (mean(class) - moment / weight).powi(2);
                    best = best.max((squared(below) + squared(above)) / within);
                }
            }
            match two_classes(values.iter().copied()) {
                None => prop_assert_eq!(best, 0.0),
                Some((threshold, explained)) => {
                    prop_assert!((explained - best).abs() < 1e-9, "{} {}", explained, best);
                    let (below, above) = (of(&|v| v <= threshold), of(&|v| v > threshold));
                    let mean = |(weight, moment): (f64, f64)| moment / weight;
                    let squared = |class: (f64, f64)| class.0 * (mean(class) - moment / weight).powi(2);
                    prop_assert!(((squared(below) + squared(above)) / within - best).abs() < 1e-9);
                }
            }
        }
    }
}
