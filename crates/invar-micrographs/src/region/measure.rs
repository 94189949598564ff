use std::f64::consts::{FRAC_PI_4, PI};

use rayon::prelude::*;

use super::{hull, perimeter};
use crate::{ImageRef, LabelMap, PixelsRef, Region, count_neighbors, neighbors};

/// Measures every region of `map`, in the order of their labels, with the intensities of `image` if there is one. All
/// pixels of a label are one region, even if they are not connected, as in `regionprops`. Neighbours are regions that
/// touch; [`count_neighbors`] counts them again by other rules. Everything but the mean intensity is exact up to the
/// last rounding, and nothing depends on the number of threads.
///
/// Memory: a byte per pixel, and 16 bytes for each stretch of one label in a row.
///
/// # Panics
/// If `map` does not hold `width * height` labels, or `image` differs in size.
pub fn regions(map: &LabelMap, image: Option<ImageRef<'_>>) -> Vec<Region> {
    assert_eq!(map.labels.len(), map.width * map.height, "labels of a map of {} x {}", map.width, map.height);
    if let Some(image) = image {
        assert_eq!((image.width, image.height), (map.width, map.height), "size of the image of a map");
    }
    let runs = runs(map);
    let outlines = perimeter::outlines(map);
    let mut regions: Vec<Region> = runs
        .chunk_by(|a, b| a.label == b.label)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|runs| {
            let mut region = measure(runs, map.width, map.height, image);
            region.perimeter_px = perimeter::length_px(map, &outlines, runs);
            region.solidity = region.area_px as f64 / hull::area_px(runs) as f64;
            region
        })
        .collect();
    count_neighbors(&mut regions, &neighbors(map, 0));
    regions
}

/// Measures boxes `[first row, first column, last row + 1, last column + 1]` of `image` as [`regions`] would if each
/// were alone on a label map; labels `1..=n`. They have no neighbours, because they may overlap.
///
/// # Panics
/// If a box is empty or extends beyond the image.
pub fn regions_of_boxes(boxes: &[[u32; 4]], image: ImageRef<'_>) -> Vec<Region> {
    let number = |(index, &[top, left, bottom, right]): (usize, &[u32; 4])| {
        assert!(top < bottom && left < right, "box {index} is empty");
        assert!(bottom as usize <= image.height && right as usize <= image.width, "box {index} leaves the image");
        let label = index as u32 + 1;
        let runs: Vec<Run> = (top..bottom).map(|row| Run { label, row, start: left, end: right }).collect();
        let mut region = measure(&runs, image.width, image.height, Some(image));
        region.perimeter_px = perimeter::of_box_px(u64::from(bottom - top), u64::from(right - left));
        region
    };
    boxes.par_iter().enumerate().map(number).collect()
}

/// Pixels `start..end` of a row, all of one label.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub label: u32,
    pub row: u32,
    pub start: u32,
    pub end: u32,
}

/// Stretches of equal label, ordered by label, row and column; without label 0.
fn runs(map: &LabelMap) -> Vec<Run> {
    let mut runs: Vec<Run> = map
        .labels
        .par_chunks(map.width.max(1))
        .enumerate()
        .flat_map_iter(|(row, labels)| {
            let mut start = 0;
            labels.chunk_by(|a, b| a == b).filter_map(move |stretch| {
                let run = Run { label: stretch[0], row: row as u32, start, end: start + stretch.len() as u32 };
                start = run.end;
                (run.label != 0).then_some(run)
            })
        })
        .collect();
    runs.par_sort_by_key(|run| run.label);
    runs
}

/// Everything except outline and hull.
fn measure(runs: &[Run], width: usize, height: usize, image: Option<ImageRef<'_>>) -> Region {
    let mut bbox = [u32::MAX, u32::MAX, 0, 0];
    let mut moments = Moments::default();
    let mut intensity = Intensity::default();
    for run in runs {
        bbox = [bbox[0].min(run.row), bbox[1].min(run.start), bbox[2].max(run.row + 1), bbox[3].max(run.end)];
        moments.add(run);
        if let Some(image) = image {
            intensity.add(image, run);
        }
    }
    let area = moments.count as f64;
    let [var_row, var_column, covariance] = moments.central();
    let ellipse = Ellipse::of(var_row, var_column, covariance);
    let [top, left, bottom, right] = bbox;
    Region {
        label: runs[0].label,
        bbox_px: bbox,
        area_px: moments.count as u64,
        centroid_px: [moments.rows as f64 / area, moments.columns as f64 / area],
        equivalent_diameter_px: (4.0 * area / PI).sqrt(),
        major_axis_px: ellipse.major_axis,
        minor_axis_px: ellipse.minor_axis,
        eccentricity: ellipse.eccentricity,
        orientation_rad: ellipse.orientation_rad,
        perimeter_px: 0.0,
        solidity: 1.0,
        mean_intensity: intensity.sum / area,
        min_intensity: intensity.min,
        max_intensity: intensity.max,
        touches_border: top == 0 || left == 0 || bottom as usize == height || right as usize == width,
        num_neighbors: 0,
    }
}

/// Sums over pixels, exact.
#[derive(Default)]
struct Moments {
    count: u128,
    rows: u128,
    columns: u128,
    rows_squared: u128,
    columns_squared: u128,
    products: u128,
}

impl Moments {
    fn add(&mut self, run: &Run) {
        // Sums of i and i^2 for i below n.
        let sum = |n: u32| u128::from(u64::from(n) * u64::from(n.saturating_sub(1)) / 2);
        let squares = |n: u32| sum(n) * (2 * u128::from(n)).saturating_sub(1) / 3;
        let (count, row) = (u128::from(run.end - run.start), u128::from(run.row));
        let columns = sum(run.end) - sum(run.start);
        self.count += count;
        self.rows += count * row;
        self.columns += columns;
        self.rows_squared += count * row * row;
        self.columns_squared += squares(run.end) - squares(run.start);
        self.products += row * columns;
    }

    /// Variance of the rows, of the columns, and their covariance.
    fn central(&self) -> [f64; 3] {
        let count = self.count as f64;
        let of = |sum: u128, a: u128, b: u128| ((self.count * sum) as i128 - (a * b) as i128) as f64 / (count * count);
        [
            of(self.rows_squared, self.rows, self.rows),
            of(self.columns_squared, self.columns, self.columns),
            of(self.products, self.rows, self.columns),
        ]
    }
}

/// The ellipse with given second moments, in the units of their roots.
pub(super) struct Ellipse {
    pub major_axis: f64,
    pub minor_axis: f64,
    pub eccentricity: f64,
    /// Angle of the major axis to the row axis, counter-clockwise.
    pub orientation_rad: f64,
}

impl Ellipse {
    pub fn of(var_row: f64, var_column: f64, covariance: f64) -> Self {
        let [major, minor] = eigenvalues(var_row, var_column, covariance);
        Self {
            major_axis: 4.0 * major.sqrt(),
            minor_axis: 4.0 * minor.sqrt(),
            eccentricity: if major > 0.0 { (1.0 - minor / major).max(0.0).sqrt() } else { 0.0 },
            orientation_rad: orientation(var_row, var_column, covariance),
        }
    }
}

/// Eigenvalues of the matrix of second moments, larger first, none negative.
fn eigenvalues(a: f64, c: f64, b: f64) -> [f64; 2] {
    let (middle, radius) = ((a + c) / 2.0, ((a - c) / 2.0).hypot(b));
    [middle + radius, (middle - radius).max(0.0)]
}

/// As in `regionprops`, even if the ellipse is a circle.
fn orientation(var_row: f64, var_column: f64, covariance: f64) -> f64 {
    if var_row == var_column {
        return if covariance > 0.0 { FRAC_PI_4 } else { -FRAC_PI_4 };
    }
    0.5 * (2.0 * covariance).atan2(var_row - var_column)
}

/// Sum and range of the pixel values.
struct Intensity {
    sum: f64,
    min: f64,
    max: f64,
}

impl Default for Intensity {
    fn default() -> Self {
        Self { sum: f64::NAN, min: f64::NAN, max: f64::NAN }
    }
}

impl Intensity {
    fn add(&mut self, image: ImageRef<'_>, run: &Run) {
        if self.sum.is_nan() {
            self.sum = 0.0;
        }
        let start = run.row as usize * image.width + run.start as usize;
        let length = (run.end - run.start) as usize;
        let plane = image.width * image.height;
        for pixel in start..start + length {
            let value = (0..image.channels).map(|channel| at(image.pixels, channel * plane + pixel)).sum::<f64>()
                / image.channels as f64;
            self.sum += value;
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
    }
}

#[inline]
fn at(pixels: PixelsRef<'_>, index: usize) -> f64 {
    match pixels {
        PixelsRef::U8(values) => f64::from(values[index]),
        PixelsRef::U16(values) => f64::from(values[index]),
        PixelsRef::F32(values) => f64::from(values[index]),
    }
}
