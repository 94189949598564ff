use std::f64::consts::PI;

use super::{GrainSize, statistics};
use crate::{LabelMap, PixelSize};

/// Where test lines run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestLines {
    /// Evenly spaced rows.
    Horizontal(usize),
    /// Evenly spaced columns.
    Vertical(usize),
    /// Diagonals in both directions, evenly spaced, this many in each.
    Diagonal(usize),
    /// The three concentric circles of Abrams, diameters 3 : 2 : 1, as large as fit.
    Circles,
}

/// What one test line crossed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Intercepts {
    /// Its length, in micrometres.
    pub length_um: f64,
    /// Boundaries between two grains that it crosses. On a straight line that is the number of grains it passes
    /// through, with the cut ones at its ends counted as half.
    pub count: u64,
}

/// Runs test lines over `map`. Background between two grains is their boundary, and counts once; background between
/// parts of one grain does not count.
pub fn intercepts(map: &LabelMap, pixel_size: PixelSize, lines: TestLines) -> Vec<Intercepts> {
    let run = |path: &Path| {
        let (length_um, labels) = path.trace(map, pixel_size);
        Intercepts { length_um, count: crossings(&labels, path.least_stretch(), matches!(path, Path::Circle(..))) }
    };
    paths(map, pixel_size, lines).iter().map(run).filter(|found| found.length_um > 0.0).collect()
}

fn paths(map: &LabelMap, pixel_size: PixelSize, lines: TestLines) -> Vec<Path> {
    let (width, height) = (map.width as f64, map.height as f64);
    if map.labels.is_empty() {
        return Vec::new();
    }
    let even = |n: usize, length: f64| (0..n).map(move |i| ((i as f64 + 0.5) * length / n as f64).floor());
    match lines {
        TestLines::Horizontal(n) => even(n, height).map(|y| Path::line([0.0, y], [width - 1.0, y])).collect(),
        TestLines::Vertical(n) => even(n, width).map(|x| Path::line([x, 0.0], [x, height - 1.0])).collect(),
        TestLines::Diagonal(n) => {
            // Start columns of lines that run to the right, including those left of the image; short ones in the
            // corners are left out.
            let short = width.min(height) / 2.0;
            even(n, width + height - 2.0 * short).flat_map(|s| diagonals(s + short - height, width, height)).collect()
        }
        TestLines::Circles => {
            // Circles on the specimen: if pixels are not square, ellipses on the grid.
            let tall = pixel_size.y_nm / pixel_size.x_nm;
            let radius = (width - 1.0).min((height - 1.0) * tall) / 2.0;
            let center = [(width - 1.0) / 2.0, (height - 1.0) / 2.0];
            let circle = |share: f64| Path::Circle(center, [radius * share / 3.0, radius * share / 3.0 / tall]);
            [3.0, 2.0, 1.0].map(circle).into()
        }
    }
}

/// Lengths, in micrometres, of the whole chords that test lines cut from grains: stretches of one label that begin and
/// end on the line, with boundary pixels left out and the cut ones at both ends dropped. This is what the NIST
/// grain-size tools list; for the E112 number use [`intercepts`], which do not lose the width of the boundaries and the
/// long chords at the ends. Circles have no ends, and each of their chords is a stretch of the circle.
pub fn chords_um(map: &LabelMap, pixel_size: PixelSize, lines: TestLines) -> Vec<f64> {
    let chords = |path: &Path| {
        let (length_um, labels) = path.trace(map, pixel_size);
        let step_um = length_um / labels.len().max(1) as f64;
        let mut runs: Vec<(u32, usize)> = labels.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect();
        let open = runs.len() < 2 || matches!(path, Path::Line(..));
        if open {
            runs.pop();
            runs.drain(..runs.len().min(1));
        } else if runs[0].0 == runs[runs.len() - 1].0 {
            runs[0].1 += runs.pop().map_or(0, |last| last.1);
        }
        runs.into_iter().filter(|run| run.0 != 0).map(move |run| run.1 as f64 * step_um).collect::<Vec<_>>()
    };
    paths(map, pixel_size, lines).iter().flat_map(chords).collect()
}

/// The part of the line `x = start + y` on the image, and its mirror image.
fn diagonals(start: f64, width: f64, height: f64) -> [Path; 2] {
    let (top, bottom) = ((-start).max(0.0), (width - 1.0 - start).min(height - 1.0));
    let (from, to) = ([start + top, top], [start + bottom, bottom]);
    let mirrored = |[x, y]: [f64; 2]| [width - 1.0 - x, y];
    [Path::line(from, to), Path::line(mirrored(from), mirrored(to))]
}

/// Coordinates are `[x, y]` of pixel centres.
enum Path {
    Line([f64; 2], [f64; 2]),
    /// Centre and half axes.
    Circle([f64; 2], [f64; 2]),
}

impl Path {
    fn line(from: [f64; 2], to: [f64; 2]) -> Self {
        Self::Line(from, to)
    }

    /// Shorter stretches are steps of the pixel grid: where a slanted line meets a boundary of nearly the same slope,
    /// the two staircases cross again and again. Rows and columns have none.
    fn least_stretch(&self) -> usize {
        match self {
            Self::Line(from, to) if from[0] == to[0] || from[1] == to[1] => 1,
            Self::Line(..) => 2,
            Self::Circle(..) => 2 * SAMPLES_A_PIXEL,
        }
    }

    /// Its length in micrometres, and the labels of its pixels from end to end.
    fn trace(&self, map: &LabelMap, pixel_size: PixelSize) -> (f64, Vec<u32>) {
        let scale = [pixel_size.x_nm * 1e-3, pixel_size.y_nm * 1e-3];
        let label = |[x, y]: [f64; 2]| {
            let column = (x.round().max(0.0) as usize).min(map.width - 1);
            let row = (y.round().max(0.0) as usize).min(map.height - 1);
            map.labels[row * map.width + column]
        };
        let length = |dx: f64, dy: f64| (dx * scale[0]).hypot(dy * scale[1]);
        match *self {
            Self::Line([x0, y0], [x1, y1]) => {
                let (dx, dy) = (x1 - x0, y1 - y0);
                let steps = dx.abs().max(dy.abs()).round();
                if steps == 0.0 {
                    return (0.0, vec![label([x0, y0])]);
                }
                let at = |i: usize| label([x0 + i as f64 / steps * dx, y0 + i as f64 / steps * dy]);
                // A line of n pixels is n pixels long, not n - 1.
                (length(dx, dy) * (steps + 1.0) / steps, (0..=steps as usize).map(at).collect())
            }
            Self::Circle([x, y], [across, down]) => {
                let steps = (2.0 * PI * across.max(down) * SAMPLES_A_PIXEL as f64).ceil() as usize;
                let point = |i: usize| {
                    let angle = 2.0 * PI * i as f64 / steps as f64;
                    [across * angle.cos(), down * angle.sin()]
                };
                let piece = |i: usize| {
                    let (a, b) = (point(i), point(i + 1));
                    length(b[0] - a[0], b[1] - a[1])
                };
                let at = |i: usize| label([x + point(i)[0], y + point(i)[1]]);
                ((0..steps).map(piece).sum(), (0..steps).map(at).collect())
            }
        }
    }
}

/// Number of samples of a circle per pixel.
const SAMPLES_A_PIXEL: usize = 4;

/// Changes from one grain to another, skipping background and stretches shorter than `least`; if `closed`, also from
/// the last to the first.
fn crossings(labels: &[u32], least: usize, closed: bool) -> u64 {
    let (mut first, mut last, mut count) = (0, 0, 0);
    for stretch in labels.chunk_by(|a, b| a == b).filter(|stretch| stretch[0] != 0 && stretch.len() >= least) {
        let label = stretch[0];
        if first == 0 {
            first = label;
        } else {
            count += u64::from(label != last);
        }
        last = label;
    }
    count + u64::from(closed && first != last)
}

/// Grain size from test lines, of one image or of many; `None` if they cross nothing. Lines are weighted by their
/// length, and each counts as a field. The three circles of one image are few: use lines, or several images.
pub fn grain_size_by_intercepts(lines: &[Intercepts]) -> Option<GrainSize> {
    let count: u64 = lines.iter().map(|line| line.count).sum();
    if count == 0 {
        return None;
    }
    let weights: Vec<f64> = lines.iter().map(|line| line.length_um).collect();
    let densities: Vec<f64> = lines.iter().map(|line| line.count as f64 / line.length_um).collect();
    let (density, spread) = statistics(&densities, &weights);
    let number = |length_um: f64| -6.643_856 * (length_um / 1000.0).log10() - 3.288;
    let mean = 1.0 / density;
    // The interval of the density, transferred to its inverse to first order.
    let spread = spread.map(|(deviation, half)| (deviation / density * mean, half / density * mean));
    let half = spread.map(|(_, half)| half);
    Some(GrainSize {
        number: number(mean),
        number_low: half.map(|half| number(mean + half)),
        number_high: half.map(|half| number((mean - half).max(f64::MIN_POSITIVE))),
        mean,
        standard_deviation: spread.map(|(deviation, _)| deviation),
        confidence_95: half,
        relative_accuracy_percent: half.map(|half| 100.0 * half / mean),
        num_fields: lines.len(),
        count: count as f64,
    })
}
