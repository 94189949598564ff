use super::Plane;

const NUM_BINS: usize = 256;

/// Otsu's threshold: the centre of one of 256 bins from the smallest to the largest value, as in
/// `skimage.filters.threshold_otsu` (Otsu 1979). Values above it are bright. `None` if all values are equal.
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

/// Fraction of the variance of `values` explained by two classes.
pub(super) fn explained(values: &[f32], mask: &[bool]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
    let inside = mask.iter().filter(|&&inside| inside).count() as f64;
    let bright: f64 = values.iter().zip(mask).filter(|(_, inside)| **inside).map(|(&v, _)| f64::from(v)).sum();
    let outside = count - inside;
    if inside == 0.0 || outside == 0.0 || variance <= 0.0 {
        return 0.0;
    }
    let step = bright / inside - (mean * count - bright) / outside;
    inside * outside / count.powi(2) * step * step / variance
}

/// Two classes of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TwoClasses {
    /// Half-way between the greatest value of the lower and the smallest of the upper.
    pub threshold: f64,
    /// Their means.
    pub means: [f64; 2],
    /// Standard deviation within the classes, pooled.
    pub deviation: f64,
    /// Fraction of the variance that they explain.
    pub explained: f64,
}

/// The two classes of Otsu (1979) of weighted values, in ascending order. `None` if there are not two different values.
pub(super) fn two_classes(values: &[(f64, f64)]) -> Option<TwoClasses> {
    let weight: f64 = values.iter().map(|(_, weight)| weight).sum();
    let moment: f64 = values.iter().map(|(value, weight)| value * weight).sum();
    let mean = moment / weight;
    let variance = values.iter().map(|(value, weight)| weight * (value - mean).powi(2)).sum::<f64>() / weight;
    let (mut below, mut moment_below) = (0.0, 0.0);
    let mut best: Option<(f64, TwoClasses)> = None;
    for pair in values.windows(2) {
        let [(value, own), (next, _)] = [pair[0], pair[1]];
        below += own;
        moment_below += own * value;
        let above = weight - below;
        if next <= value || above <= 0.0 {
            continue;
        }
        let means = [moment_below / below, (moment - moment_below) / above];
        let between = below * above / weight.powi(2) * (means[1] - means[0]).powi(2);
        if best.is_none_or(|(most, _)| between > most) {
            let threshold = f64::midpoint(value, next);
            let deviation = (variance - between).max(0.0).sqrt();
            best = Some((between, TwoClasses { threshold, means, deviation, explained: between / variance }));
        }
    }
    best.map(|(_, classes)| classes)
}

/// The two classes of weighted values separated by `threshold`, neither of them empty.
pub(super) fn parted_at(values: &[(f64, f64)], threshold: f64) -> TwoClasses {
    let of = |keep: &dyn Fn(f64) -> bool| {
        let kept = values.iter().filter(|(value, _)| keep(*value));
        kept.fold((0.0, 0.0, 0.0), |(weight, moment, square), (v, w)| (weight + w, moment + v * w, square + v * v * w))
    };
    let (lower, upper) = (of(&|value| value <= threshold), of(&|value| value > threshold));
    let mean = |(weight, moment, _): (f64, f64, f64)| moment / weight;
    let within = |class: (f64, f64, f64)| class.2 - class.1 * mean(class);
    let weight = lower.0 + upper.0;
    let between = lower.0 * upper.0 / weight.powi(2) * (mean(upper) - mean(lower)).powi(2);
    let inside = ((within(lower) + within(upper)) / weight).max(0.0);
    let means = [mean(lower), mean(upper)];
    TwoClasses { threshold, means, deviation: inside.sqrt(), explained: between / (between + inside) }
}

/// Number of places at which the density of values is evaluated.
const NUM_PLACES: usize = 60;

/// Where values are rarest between the means of two classes: the minimum of their density, smoothed by a Gaussian of
/// the deviation within the classes times `n^(-1/5)` (Silverman 1986, section 3.4). `None` if the density decreases all
/// the way.
pub(super) fn valley(values: &[(f64, f64)], classes: &TwoClasses) -> Option<f64> {
    let width = classes.deviation * (values.len() as f64).powf(-0.2);
    let [low, high] = classes.means;
    let place = |i: usize| low + (high - low) * i as f64 / (NUM_PLACES - 1) as f64;
    let near = |at: f64| {
        let first = values.partition_point(|(value, _)| *value < at - 5.0 * width);
        values[first..].iter().take_while(move |(value, _)| *value <= at + 5.0 * width)
    };
    let density = |at: f64| -> f64 { near(at).map(|(v, w)| w * (-0.5 * ((at - v) / width).powi(2)).exp()).sum() };
    if !(width > 0.0 && low < high) {
        return None;
    }
    let densities: Vec<f64> = (0..NUM_PLACES).map(|i| density(place(i))).collect();
    let (lowest, _) = densities.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1))?;
    (0 < lowest && lowest < NUM_PLACES - 1).then(|| place(lowest))
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
        /// Every cut is tried, recomputing the variance between the classes for each.
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
            let mut sorted = values.clone();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
            match two_classes(&sorted) {
                None => prop_assert_eq!(best, 0.0),
                Some(TwoClasses { threshold, explained, means, deviation }) => {
                    prop_assert!(means[0] < threshold && threshold < means[1]);
                    let parted = parted_at(&sorted, threshold);
                    prop_assert!((parted.explained - explained).abs() < 1e-9 && (parted.deviation - deviation).abs() < 1e-6);
                    prop_assert!(parted.means.iter().zip(means).all(|(a, b)| (a - b).abs() < 1e-9));
                    prop_assert!((deviation.powi(2) * weight - (1.0 - best) * within).abs() < 1e-6 * (1.0 + within));
                    prop_assert!((explained - best).abs() < 1e-9, "{} {}", explained, best);
                    let (below, above) = (of(&|v| v <= threshold), of(&|v| v > threshold));
                    let mean = |(weight, moment): (f64, f64)| moment / weight;
                    let squared = |class: (f64, f64)| class.0 * (mean(class) - moment / weight).powi(2);
                    prop_assert!(((squared(below) + squared(above)) / within - best).abs() < 1e-9);
                }
            }
        }
    }

    /// Two triangles, from 6 to 10 and from 19 to 41, and a few values between them: by hand, the minimum of the
    /// density is at 13 to 15.
    #[test]
    fn the_valley_lies_where_values_are_rare_whatever_the_weights_of_the_classes() {
        let heap = |middle: i32, half: i32, times: f64| {
            (-half..=half).map(move |d| (f64::from(middle + d), times * f64::from(half + 1 - d.abs())))
        };
        for times in [0.2, 1.0, 20.0] {
            let mut values: Vec<(f64, f64)> =
                heap(8, 3, 10.0 * times).chain(heap(30, 12, 1.0)).chain([(14.0, 0.1)]).collect();
            values.sort_by(|a, b| a.0.total_cmp(&b.0));
            let classes = two_classes(&values).unwrap();
            let valley = valley(&values, &classes).unwrap();
            assert!((11.5..18.0).contains(&valley), "{valley} {classes:?}");
        }
        let falling: Vec<(f64, f64)> = (0..100).map(|i| (f64::from(i), f64::from(100 - i))).collect();
        assert_eq!(valley(&falling, &two_classes(&falling).unwrap()), None);
    }
}
