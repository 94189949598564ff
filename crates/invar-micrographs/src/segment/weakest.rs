//! Grains from a strength map: an over-segmentation, merged across the weakest whole boundary up to a threshold derived
//! from the boundaries themselves.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    Plane,
    agglomerate::{self, Merge},
    boundary_graph::{BoundaryGraph, HeightOf},
    denoise, strips,
    threshold::{self, TwoClasses},
    watershed,
};

/// Blur of the strength before it is flooded, in pixels: against minima of single pixels.
const FLOOD_SIGMA_PX: f32 = 0.7;
/// Pixels this near to a strong line are not representative of the strength where there is none.
const NEAR_LINE_PX: u8 = 5;
/// The fraction of the 95th percentile off the lines below which nothing separates two regions.
const FLOOR: f64 = 0.5;
/// Exponent above which another threshold is tried.
const UNSTEADY: f64 = 0.8;
/// The exponent must fall below this fraction of its earlier value.
const STEADIER: f64 = 0.6;
/// A second try begins at this fraction of the first threshold (of its root).
const SECOND_FLOOR: f64 = 0.85;
/// If less than this fraction of the boundaries' length lies between the floor and twice it, everything above is real:
/// the threshold is in the middle of the gap.
const GAP: f64 = 0.02;
/// Grains merely meet at a junction where their boundary is shorter than this fraction of the root of the smaller one's
/// area.
const SHORT: f64 = 0.2;
/// The factor by which the threshold is moved to see what depends on it.
pub(super) const MOVED: f64 = 1.25;

/// Where merging stopped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stop {
    /// Strength up to which boundaries were removed, in units of the strength map.
    pub strength: f64,
    /// How much the boundaries' length depends on it: `-d ln(length) / d ln(strength)`.
    pub exponent: f64,
    /// Fraction of the variance of the boundaries' heights that the two classes explain.
    pub separability: f64,
}

/// Boundaries in two classes.
struct Classes {
    /// Height of Otsu's threshold.
    height: f64,
    /// Height at which boundaries are rarest, if that lies between the classes.
    valley: Option<f64>,
    explained: f64,
    /// The exponent at Otsu's threshold.
    exponent: f64,
}

/// How regions merge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// How the height of a boundary is computed.
    pub height: HeightOf,
    /// Whether boundaries are lines, which are weak where several meet: grains are not merged across a junction.
    pub lines: bool,
    /// Grains with fewer pixels are merged last, across their weakest boundary.
    pub min_size_px: u64,
}

/// The regions of a strength map, for any threshold.
pub(crate) struct Merging {
    /// One label per pixel, `1..=n`: the over-segmentation.
    regions: Vec<u32>,
    width: usize,
    /// The height of each pixel, between 0 and [`TOP`].
    heights: Vec<u16>,
    merges: Vec<Merge>,
    num_labels: usize,
    /// Length of all boundaries.
    total_px: u64,
    /// Strength of height 1: a height is the root of the strength divided by this.
    unit: f64,
    rules: Rules,
    /// Height of the first merge across a junction; infinite if there is none, or junctions do not matter.
    junction: f64,
    /// `None` if there is nothing to separate.
    pub stop: Option<Stop>,
}

impl Merging {
    /// Floods `strength` (from 0 upwards, any unit) from all its minima, and finds the threshold: that of the two
    /// classes of the boundaries that are left after merging everything that nothing separates, each weighted by its
    /// length. The height of a boundary is what the root of the strength nearly reaches along it ([`BoundaryGraph`]).
    /// The root is used because the mean of the strength itself loses faint lines among strong ones, and that of its
    /// logarithm keeps texture.
    ///
    /// Each of `strips`, which have equally many rows but for the last, is flooded and merged up to the floor separately.
    /// Everything else, the boundaries along their seams included, is of the whole picture: what a seam cuts has a low
    /// boundary there, and merges again.
    ///
    /// 14 bytes per pixel, and about 230 per region: 15,000 to 60,000 per million pixels of a single strip, and what is
    /// left at the floor of several.
    pub fn new(mut strength: Plane, strips: &[Range<usize>], rules: Rules) -> Self {
        let width = strength.width;
        strength.values.iter_mut().for_each(|value| *value = if *value > 0.0 { *value } else { 0.0 });
        let unit = f64::from(strength.range().1);
        let heights = heights(&strength, unit);
        let floor = floor(&strength, &heights);
        let regions = if strips.len() > 1 {
            let regions = regions_of_strips(&strength, strips, &heights, floor / MOVED.sqrt(), rules.height);
            drop(strength);
            regions
        } else {
            denoise::gaussian(&mut strength, FLOOD_SIGMA_PX);
            flooded(strength)
        };
        let graph = BoundaryGraph::new(&regions, width, &heights, rules.height);
        let (num_labels, total_px) = (graph.sizes.len(), graph.total_pairs());
        let sizes = graph.sizes.clone();
        let merges = agglomerate::dendrogram(graph);
        let junction =
            if rules.lines { agglomerate::first_too_short(sizes, &merges, floor, is_junction) } else { f64::INFINITY };
        let mut merging =
            Self { regions, width, heights, merges, num_labels, total_px, unit, rules, junction, stop: None };
        merging.stop = merging.threshold(floor);
        merging
    }

    /// The threshold of what is left at `floor`. If the result depends strongly on it, its two classes are noise and
    /// texture: then those of what is above it are tried. It is Otsu's, or where the boundaries between the two classes
    /// are rarest if that is lower: if faint and strong lines separate grains, the mean of the upper class, and with it
    /// Otsu's threshold, is too high.
    fn threshold(&self, floor: f64) -> Option<Stop> {
        // Two classes would separate faint boundaries from strong ones. For probabilities, what is above the floor is
        // not necessarily a boundary.
        let gap_end = if self.rules.height == HeightOf::NearlyAll { self.gap_end(floor) } else { None };
        if let Some(end) = gap_end.filter(|&end| end > 2.0 * floor) {
            return Some(self.stop_at((floor * end).sqrt(), 1.0));
        }
        let mut found = self.classes_above(floor)?;
        for _ in 0..2 {
            if found.exponent <= UNSTEADY {
                break;
            }
            match self.classes_above(SECOND_FLOOR * found.height) {
                Some(second) if second.exponent <= STEADIER * found.exponent => found = second,
                _ => break,
            }
        }
        let height = found.valley.map_or(found.height, |valley| valley.min(found.height));
        Some(self.stop_at(height, found.explained))
    }

    fn stop_at(&self, height: f64, separability: f64) -> Stop {
        Stop { strength: (height / TOP).powi(2) * self.unit, exponent: self.exponent(height), separability }
    }

    /// Up to where there are next to no boundaries above `floor`. `None` if none are left at all.
    fn gap_end(&self, floor: f64) -> Option<f64> {
        let all = self.length_px(floor) as f64;
        let mut opened = 0.0;
        self.merges.iter().skip_while(|merge| merge.height < floor).find_map(|merge| {
            opened += merge.pairs as f64;
            (opened >= GAP * all).then_some(merge.height)
        })
    }

    /// Root of each region at `height`, and what is left between them.
    fn left_at(&self, height: f64) -> (Vec<u32>, BoundaryGraph) {
        let roots = agglomerate::roots(self.num_labels, &self.merges, height);
        let left = BoundaryGraph::merged(&self.regions, &roots, self.width, &self.heights, self.rules.height);
        (roots, left)
    }

    fn classes_above(&self, floor: f64) -> Option<Classes> {
        let (_, left) = self.left_at(floor);
        let mut heights: Vec<(f64, f64)> = left.boundaries.iter().map(|b| (b.height(), b.pairs as f64)).collect();
        heights.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let (lowest, _) = *heights.first()?;
        let (height, explained, valley) = match threshold::two_classes(&heights) {
            Some(classes) => (classes.threshold, classes.explained, valley(&heights, &classes)),
            // All of one height: halfway between them and what nothing separates.
            None => (f64::midpoint(floor, lowest), 1.0, None),
        };
        Some(Classes { height, valley, explained, exponent: self.exponent(height) })
    }

    fn exponent(&self, height: f64) -> f64 {
        let moved = MOVED.sqrt();
        let length = |height: f64| self.length_px(height).max(1) as f64;
        (length(height / moved) / length(height * moved)).ln() / MOVED.powi(2).ln()
    }

    /// Length of the boundaries that are left at `height`.
    fn length_px(&self, height: f64) -> u64 {
        let opened: u64 = self.merges.iter().take_while(|merge| merge.height < height).map(|merge| merge.pairs).sum();
        self.total_px - opened
    }

    /// The grains at `times` the threshold: labels `1..=n` in the order of the regions that they consist of; a single
    /// grain if nothing is separated.
    pub fn labels_at(&self, times: f64) -> Vec<u32> {
        let numbers = self.numbers_at(times);
        self.regions.iter().map(|&region| numbers[region as usize]).collect()
    }

    /// The same at the threshold itself, reusing the memory of the over-segmentation.
    pub fn into_labels(self) -> Vec<u32> {
        let numbers = self.numbers_at(1.0);
        let mut labels = self.regions;
        labels.iter_mut().for_each(|label| *label = numbers[*label as usize]);
        labels
    }

    /// The grain of each region.
    fn numbers_at(&self, times: f64) -> Vec<u32> {
        let height = match self.stop {
            Some(stop) => (stop.strength * times / self.unit).sqrt() * TOP,
            None => f64::INFINITY,
        };
        let (mut roots, mut left) = self.left_at(height.min(self.junction));
        if self.junction < height {
            let weak = agglomerate::join_below(left.clone(), height, is_junction);
            left = left.united_by(&weak);
            roots.iter_mut().for_each(|root| *root = weak[*root as usize]);
        }
        let small = agglomerate::join_small(left, self.rules.min_size_px);
        roots.iter_mut().for_each(|root| *root = small[*root as usize]);
        numbered(&roots).0
    }
}

/// Numbers `1..=n` of the regions' roots, 0 for region 0, and n. A root is the smallest label of what it stands for.
fn numbered(roots: &[u32]) -> (Vec<u32>, u32) {
    let (mut numbers, mut count) = (vec![0; roots.len()], 0);
    for region in 1..roots.len() {
        let root = roots[region] as usize;
        if root == region {
            count += 1;
            numbers[region] = count;
        } else {
            numbers[region] = numbers[root];
        }
    }
    (numbers, count)
}

/// The regions of the minima of a strength map that is already blurred.
fn flooded(mut strength: Plane) -> Vec<u32> {
    strength.values.iter_mut().for_each(|value| *value = value.sqrt());
    let landscape = watershed::quantize(&strength, false);
    let (width, height) = (strength.width, strength.height);
    drop(strength);
    watershed::flood_from_minima(&landscape, width, height, None, 0.0)
}

/// The regions of each of `strips`, merged up to `height`: labels `1..=n`.
fn regions_of_strips(
    strength: &Plane,
    strips: &[Range<usize>],
    heights: &[u16],
    height: f64,
    of: HeightOf,
) -> Vec<u32> {
    let width = strength.width;
    let mut labels = vec![0u32; strength.values.len()];
    let band_px = strips[0].len() * width;
    let counts: Vec<u32> = labels
        .par_chunks_mut(band_px)
        .zip(heights.par_chunks(band_px))
        .zip(strips)
        .map(|((labels, heights), strip)| {
            let rows = strips::with_halo(strip, denoise::reach_px(FLOOD_SIGMA_PX), strength.height);
            let values = strength.values[rows.start * width..rows.end * width].to_vec();
            let mut plane = Plane { width, height: rows.len(), values };
            denoise::gaussian(&mut plane, FLOOD_SIGMA_PX);
            plane.values.truncate((strip.end - rows.start) * width);
            plane.values.drain(..(strip.start - rows.start) * width);
            plane.height = strip.len();
            let regions = flooded(plane);
            let graph = BoundaryGraph::new(&regions, width, heights, of);
            let (numbers, count) = numbered(&agglomerate::join_below(graph, height, |_, _| false));
            labels.iter_mut().zip(&regions).for_each(|(label, &region)| *label = numbers[region as usize]);
            count
        })
        .collect();
    let mut before = 0;
    for (labels, count) in labels.chunks_mut(band_px).zip(counts) {
        labels.par_iter_mut().for_each(|label| *label += before);
        before += count;
    }
    labels
}

/// Whether a boundary is so short beside the smaller of its two regions that they merely meet at a junction.
fn is_junction(pairs: u64, smaller_px: u64) -> bool {
    (pairs as f64) < SHORT * (smaller_px as f64).sqrt()
}

/// Where boundaries are rarest between two classes of heights. A density depends on the scale: noise fades by a factor,
/// while the contrast of lines varies by a difference. So it is the geometric mean of where heights are rarest and
/// where their logarithms are; a valley that shows on only one of the scales is an artefact of it.
fn valley(heights: &[(f64, f64)], classes: &TwoClasses) -> Option<f64> {
    let logarithms: Vec<(f64, f64)> = heights.iter().map(|&(height, pairs)| (height.max(1.0).ln(), pairs)).collect();
    let of_logarithms = threshold::parted_at(&logarithms, classes.threshold.max(1.0).ln());
    let (of_heights, of_logarithms) =
        (threshold::valley(heights, classes), threshold::valley(&logarithms, &of_logarithms));
    Some((of_heights? * of_logarithms?.exp()).sqrt())
}

/// Height of the strongest pixel.
const TOP: f64 = 65_535.0;

/// Root of the strength, where `unit` becomes [`TOP`].
fn heights(strength: &Plane, unit: f64) -> Vec<u16> {
    let scale = if unit > 0.0 { (TOP * TOP / unit) as f32 } else { 0.0 };
    strength.values.par_iter().map(|&value| (value * scale).sqrt().round().min(TOP as f32) as u16).collect()
}

/// Height below which nothing separates two regions: a fraction of the 95th percentile away from strong lines.
fn floor(strength: &Plane, heights: &[u16]) -> f64 {
    let Some(strong) = threshold::otsu(strength) else { return 1.0 };
    let near = near(strength.values.iter().map(|&value| value > strong / 2.0), strength.width);
    let far = || near.iter().zip(heights).filter(|(near, _)| !**near).map(|(_, &height)| height);
    let weak = || strength.values.iter().zip(heights).filter(|(value, _)| **value < strong).map(|(_, &height)| height);
    let num_far = far().count();
    let rest =
        if num_far as f64 > 0.02 * heights.len() as f64 { percentile(far(), 0.95) } else { percentile(weak(), 0.95) };
    (FLOOR * rest).max(1.0)
}

/// Whether a pixel lies within [`NEAR_LINE_PX`] of one that `is_line`, in the city-block metric.
fn near(is_line: impl Iterator<Item = bool>, width: usize) -> Vec<bool> {
    let far = NEAR_LINE_PX + 1;
    let mut steps: Vec<u8> = is_line.map(|is_line| if is_line { 0 } else { far }).collect();
    let count = steps.len();
    for i in 0..count {
        let above = if i >= width { steps[i - width] } else { far };
        let left = if i % width > 0 { steps[i - 1] } else { far };
        steps[i] = steps[i].min(above.min(left) + 1);
    }
    for i in (0..count).rev() {
        let below = if i + width < count { steps[i + width] } else { far };
        let right = if i % width + 1 < width { steps[i + 1] } else { far };
        steps[i] = steps[i].min(below.min(right) + 1);
    }
    steps.into_iter().map(|steps| steps <= NEAR_LINE_PX).collect()
}

/// The smallest value that at least a fraction `share` of all does not exceed, without interpolation.
fn percentile(values: impl Iterator<Item = u16>, share: f64) -> f64 {
    let mut counts = vec![0u64; 1 << 16];
    let mut total = 0u64;
    values.for_each(|value| {
        counts[usize::from(value)] += 1;
        total += 1;
    });
    let rank = (share * total.saturating_sub(1) as f64) as u64;
    let mut below = 0;
    let reached = |&count: &u64| {
        below += count;
        below > rank
    };
    counts.iter().position(reached).unwrap_or(0) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Strong lines around squares of `side` pixels, on weak noise.
    fn squares(width: usize, height: usize, side: usize, noise: f32, seed: u64) -> Plane {
        let random =
            |i: usize| ((i as u64 ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f32 / (1u64 << 24) as f32;
        let is_line = |i: usize| (i / width).is_multiple_of(side) || (i % width).is_multiple_of(side);
        let value = |i: usize| if is_line(i) { 1.0 } else { noise * random(i) };
        Plane { width, height, values: (0..width * height).map(value).collect() }
    }

    /// In one strip.
    fn merging(strength: Plane, min_size_px: u64, of: HeightOf) -> Merging {
        let all = 0..strength.height;
        Merging::new(strength, &[all], Rules { height: of, lines: true, min_size_px })
    }

    fn count(labels: &[u32]) -> u32 {
        labels.iter().max().copied().unwrap_or(0)
    }

    #[test]
    fn lines_part_squares_whatever_the_noise_inside_and_the_unit() {
        for noise in [0.0, 0.1, 0.2] {
            for unit in [1e-4, 1.0, 500.0] {
                let mut strength = squares(97, 97, 16, noise, 5);
                strength.values.iter_mut().for_each(|value| *value *= unit);
                let merging = merging(strength, 25, HeightOf::NearlyAll);
                let stop = merging.stop.expect("two classes");
                assert!(stop.exponent < 0.3, "{stop:?} {noise}");
                let labels = [0.8, 1.0, 1.25].map(|times| count(&merging.labels_at(times)));
                assert_eq!(labels, [36; 3], "noise {noise}, unit {unit}");
                assert_eq!(count(&merging.into_labels()), 36);
            }
        }
    }

    /// A flood to a fixed depth is opened by the first, and closed by the second. (In a noisy picture, pieces of two
    /// squares may merge through a gap before each is whole.)
    #[test]
    fn a_gap_does_not_open_a_grain_and_a_speck_does_not_close_one() {
        const SIDE: usize = 32;
        for square in 0..6 {
            // One of the lines between two adjacent squares, and the centre of the left one.
            let (row, line) = (square / 2 * SIDE, (square % 2 + 1) * SIDE);
            let mut strength = squares(3 * SIDE + 1, 3 * SIDE + 1, SIDE, 0.0, 3);
            let width = strength.width;
            for y in row + 14..row + 17 {
                strength.values[y * width + line] = 0.0;
                strength.values[y * width + line - SIDE / 2] = 1.0;
            }
            let labels = merging(strength, 25, HeightOf::NearlyAll).into_labels();
            assert_eq!(count(&labels), 9, "the square of row {row} left of column {line}");
        }
    }

    #[test]
    fn nothing_to_part_is_one_grain() {
        for values in [vec![0.0; 60], vec![3.0; 60], vec![-1.0; 60], vec![f32::NAN; 60]] {
            let merging = merging(Plane { width: 10, height: 6, values }, 25, HeightOf::NearlyAll);
            assert_eq!(merging.stop, None);
            assert_eq!(merging.into_labels(), vec![1; 60]);
        }
        assert_eq!(
            merging(Plane { width: 0, height: 0, values: Vec::new() }, 25, HeightOf::Mean).into_labels(),
            Vec::<u32>::new()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn grains_cover_and_do_not_depend_on_threads(
            width in 1usize..60, height in 1usize..60, side in 2usize..20, noise in 0f32..1.0, seed in any::<u64>(), least in 0u64..60,
        ) {
            let with_threads = |count: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
                pool.install(|| {
                    let merging = merging(squares(width, height, side, noise, seed), least, HeightOf::NearlyAll);
                    (merging.stop, merging.labels_at(1.25), merging.into_labels())
                })
            };
            let one = with_threads(1);
            prop_assert_eq!(&one, &with_threads(3));
            let found: std::collections::BTreeSet<u32> = one.2.iter().copied().collect();
            prop_assert!(found.iter().copied().eq(1..=count(&one.2)), "labels have gaps or start at 0");
            let sizes = found.iter().map(|&label| one.2.iter().filter(|&&l| l == label).count() as u64);
            prop_assert!(found.len() == 1 || sizes.min() >= Some(least));
        }

        #[test]
        fn near_is_the_city_block_distance(width in 1usize..20, height in 1usize..20, bits in prop::collection::vec(0u8..40, 400)) {
            let lines: Vec<bool> = bits[..width * height].iter().map(|&bit| bit == 0).collect();
            let found = near(lines.iter().copied(), width);
            for (i, found) in found.into_iter().enumerate() {
                let distance = |j: usize| (i / width).abs_diff(j / width) + (i % width).abs_diff(j % width);
                let expected = (0..lines.len()).any(|j| lines[j] && distance(j) <= usize::from(NEAR_LINE_PX));
                prop_assert_eq!(found, expected);
            }
        }
    }
}
