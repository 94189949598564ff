use std::f64::consts::PI;

use super::*;
use crate::{LabelMap, PixelSize, PixelSizeSource};

const MICROMETRE: PixelSize = PixelSize { x_nm: 1000.0, y_nm: 1000.0, source: PixelSizeSource::User };

fn map(width: usize, height: usize, label: impl Fn(usize, usize) -> u32) -> LabelMap {
    let labels = (0..height).flat_map(|r| (0..width).map(move |c| (r, c))).map(|(r, c)| label(r, c)).collect();
    LabelMap { width, height, labels }
}

/// Squares of side 20; the lattice begins inside a square.
fn squares() -> LabelMap {
    map(400, 400, |r, c| ((r + 10) / 20 * 21 + (c + 10) / 20) as u32 + 1)
}

#[test]
fn squares_are_counted_exactly() {
    // 19 x 19 whole squares, 4 x 19 halves, 4 quarters: 400 of 400 square micrometres each.
    let fields = planimetric_fields(&squares(), MICROMETRE, 1);
    assert_eq!((fields[0].num_inside, fields[0].num_cut, fields[0].num_corner), (361, 76, 4));
    let size = grain_size_by_counting(&fields).unwrap();
    assert!((size.mean - 2500.0).abs() < 1e-9, "{size:?}");
    // E112-13: G = 3.321928 log10(2500) - 2.954 = 8.334
    assert!((size.number - 8.3338).abs() < 1e-3, "{size:?}");
    assert_eq!((size.confidence_95, size.num_fields), (None, 1));
    let four = grain_size_by_counting(&planimetric_fields(&squares(), MICROMETRE, 2)).unwrap();
    assert_eq!(four.num_fields, 4);
    assert!(four.confidence_95.is_some() && (four.mean / 2500.0 - 1.0).abs() < 0.1, "{four:?}");
}

#[test]
fn lines_cross_squares_once_a_side() {
    for lines in [TestLines::Horizontal(7), TestLines::Vertical(7)] {
        let found = intercepts(&squares(), MICROMETRE, lines);
        assert!(found.iter().all(|line| (line.length_um, line.count) == (400.0, 20)), "{found:?}");
        let size = grain_size_by_intercepts(&found).unwrap();
        assert!((size.mean - 20.0).abs() < 1e-9 && size.confidence_95.unwrap() < 1e-9, "{size:?}");
        // E112-13: G = -6.643856 log10(0.02) - 3.288 = 8.000
        assert!((size.number - 8.0).abs() < 2e-3, "{size:?}");
    }
}

#[test]
fn boundary_lines_count_once_and_gaps_in_a_grain_not() {
    let lined = map(60, 20, |_, c| if c % 10 == 9 { 0 } else { (c / 10) as u32 + 1 });
    assert!(intercepts(&lined, MICROMETRE, TestLines::Horizontal(3)).iter().all(|line| line.count == 5));
    let cracked = map(60, 20, |_, c| u32::from(c != 30));
    assert!(intercepts(&cracked, MICROMETRE, TestLines::Horizontal(3)).iter().all(|line| line.count == 0));
    assert_eq!(grain_size_by_intercepts(&intercepts(&cracked, MICROMETRE, TestLines::Horizontal(3))), None);
}

#[test]
fn chords_are_whole_and_without_boundaries() {
    // One row: 4 pixels cut by the edge, a boundary of 2, a chord of 7, a boundary of 1, a chord of 5, 3 cut pixels.
    let stretches = [(1, 4), (0, 2), (2, 7), (0, 1), (3, 5), (4, 3)];
    let row: Vec<u32> = stretches.iter().flat_map(|&(label, n)| vec![label; n]).collect();
    let chords = chords_um(&map(row.len(), 1, |_, c| row[c]), MICROMETRE, TestLines::Horizontal(1));
    assert_eq!(chords, [7.0, 5.0]);
    let quarters = map(101, 101, |r, c| (r / 51 * 2 + c / 51) as u32 + 1);
    let on_circle = chords_um(&quarters, MICROMETRE, TestLines::Circles);
    assert_eq!(on_circle.len(), 12);
    let around: f64 = on_circle.iter().sum();
    // 2 pi (50 + 33.3 + 16.7)
    assert!((around - 628.3).abs() < 1.0, "{around}");
}

/// Rows 19, 79 and 570 of a mask of etched steel: the widths of grains and of the boundaries between them, alternating,
/// in pixels; and the chords that the tools it comes with list for them. Row 570 is the horizontal line of their E112
/// pattern, which begins and ends within the image. Origin: usnistgov/grain-size-analysis-tools,
/// `grains_steel_highlighted_segmented.tif`, `..._distances_line_grid.csv`, `..._distances_e112.csv` (NIST software:
/// free to use, the origin must be named).
const STEEL: [(&[usize], std::ops::Range<usize>, &[f64]); 3] = [
    (
        &[
            44, 7, 57, 2, 18, 4, 75, 8, 22, 5, 12, 5, 41, 3, 21, 3, 36, 6, 62, 3, 63, 2, 16, 2, 65, 7, 20, 2, 39, 3,
            27, 3, 32, 14, 10, 2, 10, 3, 8, 8, 20, 2, 8,
        ],
        0..800,
        &[
            57.0, 18.0, 75.0, 22.0, 12.0, 41.0, 21.0, 36.0, 62.0, 63.0, 16.0, 65.0, 20.0, 39.0, 27.0, 32.0, 10.0, 10.0,
            8.0, 20.0,
        ],
    ),
    (
        &[
            14, 3, 73, 3, 29, 3, 50, 3, 4, 6, 56, 2, 12, 13, 26, 4, 63, 3, 51, 3, 52, 2, 41, 2, 54, 3, 9, 5, 26, 5, 8,
            4, 34, 3, 22, 2, 24, 3, 43, 2, 35,
        ],
        0..800,
        &[
            73.0, 29.0, 50.0, 4.0, 56.0, 12.0, 26.0, 63.0, 51.0, 52.0, 41.0, 54.0, 9.0, 26.0, 8.0, 34.0, 22.0, 24.0,
            43.0,
        ],
    ),
    (
        &[88, 4, 58, 4, 41, 7, 22, 4, 29, 5, 46, 4, 37, 6, 9, 6, 16, 3, 112, 3, 31, 7, 82, 6, 51, 3, 82, 2, 32],
        100..700,
        &[41.0, 22.0, 29.0, 46.0, 37.0, 9.0, 16.0, 112.0, 31.0, 82.0, 51.0],
    ),
];

#[test]
fn chords_of_etched_steel_are_those_of_the_nist_tools() {
    for (widths, columns, expected) in STEEL {
        let label = |number: usize| if number.is_multiple_of(2) { number as u32 / 2 + 1 } else { 0 };
        let row: Vec<u32> = widths.iter().enumerate().flat_map(|(i, &width)| vec![label(i); width]).collect();
        assert_eq!(row.len(), 800);
        let line = &row[columns];
        let found = chords_um(&map(line.len(), 1, |_, column| line[column]), MICROMETRE, TestLines::Horizontal(1));
        assert_eq!(found, expected);
        // The E112 count: a boundary is one intersection, however wide it is.
        let counted = intercepts(&map(line.len(), 1, |_, column| line[column]), MICROMETRE, TestLines::Horizontal(1));
        assert_eq!(counted[0].count as usize, expected.len() + 1);
    }
}

#[test]
fn hexagons_have_the_mean_intercept_of_cauchy() {
    // Regular hexagons of side a: nearest centre of a triangular lattice. Over all directions the mean chord of a convex
    // cell is pi A / P = pi (3 sqrt(3) / 2 a^2) / (6 a) = 1.3603 a.
    let a = 15.0f64;
    let (dx, dy) = (a * 3f64.sqrt(), 1.5 * a);
    let hexagons = map(900, 900, |r, c| {
        let (x, y) = (c as f64, r as f64);
        let row = (y / dy).floor() as i64;
        let centre = |j: i64| {
            let shift = if j.rem_euclid(2) == 1 { 0.5 } else { 0.0 };
            let i = (x / dx - shift).round() as i64;
            let (u, v) = ((i as f64 + shift) * dx, j as f64 * dy);
            ((x - u).hypot(y - v), (j + 1) as u32 * 1000 + (i + 2) as u32)
        };
        let (near, other) = (centre(row), centre(row + 1));
        if near.0 <= other.0 { near.1 } else { other.1 }
    });
    let expected = 1.3603 * a;
    let circles = grain_size_by_intercepts(&intercepts(&hexagons, MICROMETRE, TestLines::Circles)).unwrap();
    assert!((circles.mean / expected - 1.0).abs() < 0.03, "{} beside {expected}", circles.mean);
    let counted = grain_size_by_counting(&planimetric_fields(&hexagons, MICROMETRE, 3)).unwrap();
    let density = 1e6 / (1.5 * 3f64.sqrt() * a * a);
    assert!((counted.mean / density - 1.0).abs() < 0.02, "{} beside {density}", counted.mean);
    // Both methods give the same number for equiaxed grains.
    assert!((circles.number - counted.number).abs() < 0.3, "{} and {}", circles.number, counted.number);
}

#[test]
fn diagonals_measure_their_length_and_pixels_need_not_be_square() {
    let whole = map(100, 100, |_, _| 1);
    let found = intercepts(&whole, MICROMETRE, TestLines::Diagonal(9));
    assert_eq!(found.len(), 18);
    assert!(found.iter().all(|line| line.length_um >= 0.49 * 141.5 && line.length_um <= 141.5), "{found:?}");
    let flat = PixelSize { y_nm: 2000.0, ..MICROMETRE };
    let columns = map(40, 10, |_, c| (c / 10) as u32 + 1);
    let rows = map(10, 40, |r, _| (r / 10) as u32 + 1);
    assert_eq!(intercepts(&columns, flat, TestLines::Horizontal(1))[0], Intercepts { length_um: 40.0, count: 3 });
    assert_eq!(intercepts(&rows, flat, TestLines::Vertical(1))[0], Intercepts { length_um: 80.0, count: 3 });
}

#[test]
fn maps_without_grains_have_no_grain_size() {
    for empty in [map(0, 0, |_, _| 0), map(1, 1, |_, _| 0), map(30, 30, |_, _| 0)] {
        assert_eq!(grain_size_by_counting(&planimetric_fields(&empty, MICROMETRE, 3)), None);
        for lines in [TestLines::Horizontal(3), TestLines::Vertical(3), TestLines::Diagonal(3), TestLines::Circles] {
            assert_eq!(grain_size_by_intercepts(&intercepts(&empty, MICROMETRE, lines)), None);
        }
    }
}

#[test]
fn quantiles_of_student() {
    // scipy.stats.t.ppf(0.975, [1, 10, 11, 20, 79, 1000])
    for (freedom, t) in [(1, 12.7062), (10, 2.2281), (11, 2.2010), (20, 2.0860), (79, 1.9905), (1000, 1.9623)] {
        assert!((student_t_95(freedom) - t).abs() < 1e-3, "{freedom}: {}", student_t_95(freedom));
    }
}

/// A grid of squares of 12 um, on pixels 0.5 um wide and 2 um high: every direction counts as on square pixels.
#[test]
fn pixels_that_are_not_square_change_no_grain_size() {
    let flat = PixelSize { x_nm: 500.0, y_nm: 2000.0, source: PixelSizeSource::User };
    let map = map(480, 120, |r, c| ((r + 3) / 6 * 21 + (c + 12) / 24) as u32 + 1);
    for (lines, length_um) in [(TestLines::Horizontal(5), 240.0), (TestLines::Vertical(5), 240.0)] {
        let found = intercepts(&map, flat, lines);
        assert!(found.iter().all(|line| (line.length_um, line.count) == (length_um, 20)), "{found:?}");
    }
    let size = grain_size_by_counting(&planimetric_fields(&map, flat, 1)).unwrap();
    // One per square of 0.012 mm.
    assert!((size.mean * 0.012 * 0.012 - 1.0).abs() < 1e-9, "{size:?}");
    // Circles are circles on the specimen: the largest that fits, of 239.5 um across or 238 um down, then 2/3, then 1/3.
    let circles = intercepts(&map, flat, TestLines::Circles);
    for (circle, share) in circles.iter().zip([1.0, 2.0 / 3.0, 1.0 / 3.0]) {
        assert!((circle.length_um / (PI * 238.0 * share) - 1.0).abs() < 1e-4, "{circle:?}");
    }
    // A circle of diameter D crosses D / d lines of either direction, each twice; the three have 2 D in all.
    let count: u64 = circles.iter().map(|circle| circle.count).sum();
    let expected = 2.0 * 2.0 * (238.0 / 12.0) * 2.0;
    assert!((count as f64 / expected - 1.0).abs() < 0.1, "{count} beside {expected}");
}
