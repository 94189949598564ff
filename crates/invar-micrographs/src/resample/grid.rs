//! A rotated grid of points in a patch, sampled row by row.

use std::{ops::Range, sync::LazyLock};

use super::{Extent, Interpolation, Patch, Placement};

/// Points around a centre, `num x num`.
pub(super) struct Grid {
    num: usize,
    center_px: [f64; 2],
    /// Source `[row, column]` for one point `[down, right]`.
    matrix: [[f64; 2]; 2],
    /// Radius around the centre beyond which points are not used, in points; `None` for none.
    radius: Option<f64>,
}

/// Coordinates in a patch have 32 fractional bits, so that integer steps are exact and rows do not drift.
const ONE: f64 = (1u64 << 32) as f64;

impl Grid {
    /// A grid with `num` points per side, `finer` of them per view pixel, for a view of `size_px`.
    pub fn new(placement: &Placement, num: usize, finer: usize, extent: Extent, size_px: usize) -> Self {
        let matrix = placement.matrix().map(|row| row.map(|step| step / finer as f64));
        let radius = match extent {
            Extent::Square => None,
            // The low-pass filter of a pixel extends this far, to the corners of its square.
            Extent::Disc { margin_px } => {
                let reach = (num - finer * size_px) as f64 * std::f64::consts::FRAC_1_SQRT_2;
                Some((size_px as f64 / 2.0 + margin_px) * finer as f64 + reach)
            }
        };
        Self { num, center_px: placement.center_px, matrix, radius }
    }

    /// The part of the source that the grid covers: `[first row, first column, last row, last column]`.
    pub fn bounds(&self) -> [f64; 4] {
        let half = (self.num as f64 - 1.0) / 2.0;
        let corner = half * std::f64::consts::SQRT_2;
        let reach = self.matrix.map(|[down, right]| {
            let square = half * (down.abs() + right.abs());
            // For a disc smaller than the square, its extent along the axis.
            self.radius.map_or(square, |radius| square.min(radius.min(corner) * down.hypot(right)))
        });
        let [row, column] = self.center_px;
        [row - reach[0], column - reach[1], row + reach[0], column + reach[1]]
    }

    /// Samples row `i` of the grid; unused points become 0.
    pub fn sample_row(&self, patch: &Patch, i: usize, interpolation: Interpolation, out: &mut [f32]) {
        let middle = (self.num as f64 - 1.0) / 2.0;
        let down = i as f64 - middle;
        let span = self.span(down);
        out[..span.start].fill(0.0);
        out[span.end..].fill(0.0);
        let boxes = patch.boxes as f64;
        let line = |axis: usize| {
            let [step_down, step_right] = self.matrix[axis];
            let start = self.center_px[axis] - patch.first_px[axis]
                + step_down * down
                + step_right * (span.start as f64 - middle);
            Line { start: (start / boxes * ONE).round() as i64, step: (step_right / boxes * ONE).round() as i64 }
        };
        sample(patch, line(0), line(1), interpolation, &mut out[span]);
    }

    fn span(&self, down: f64) -> Range<usize> {
        let Some(radius) = self.radius else { return 0..self.num };
        let half = (radius * radius - down * down).max(0.0).sqrt();
        let middle = (self.num as f64 - 1.0) / 2.0;
        let first = (middle - half).floor().max(0.0) as usize;
        let last = ((middle + half).ceil() as usize + 1).min(self.num);
        first.min(last)..last
    }
}

/// A coordinate along a row of points.
#[derive(Clone, Copy)]
struct Line {
    start: i64,
    step: i64,
}

impl Line {
    fn at(self, j: usize) -> i64 {
        self.start + self.step * j as i64
    }

    /// Integer part.
    fn cell(position: i64) -> usize {
        (position >> 32) as usize
    }

    /// Fractional part, in [0, 1).
    fn fraction(position: i64) -> f32 {
        ((position as u32) >> 8) as i32 as f32 * (1.0 / (1 << 24) as f32)
    }
}

fn sample(patch: &Patch, rows: Line, columns: Line, interpolation: Interpolation, out: &mut [f32]) {
    if out.is_empty() {
        return;
    }
    let [rows, columns] = match interpolation {
        Interpolation::Bilinear => [rows, columns],
        Interpolation::Bicubic => [rows, columns].map(|line| Line { start: line.start + HALF_A_PHASE, ..line }),
    };
    // A straight line stays within a rectangle that holds both its ends.
    let inside = |position: i64, extent: usize| position >= 1 << 32 && Line::cell(position) + 2 < extent;
    for j in [0, out.len() - 1] {
        assert!(
            inside(rows.at(j), patch.height) && inside(columns.at(j), patch.width),
            "the patch covers the grid with a margin"
        );
    }
    match interpolation {
        Interpolation::Bilinear => bilinear(patch, rows, columns, out),
        #[cfg(target_arch = "x86_64")]
        Interpolation::Bicubic if std::arch::is_x86_feature_detected!("avx") => {
            // SAFETY: the processor has AVX, and both ends of the line were checked.
            unsafe { bicubic_avx(patch, rows, columns, &WEIGHTS, out) }
        }
        Interpolation::Bicubic => bicubic(patch, rows, columns, &WEIGHTS, out),
    }
}

/// Number of positions within a pixel, along each axis, for which the weights are tabulated. A view is off by at most a
/// 4096th of a source pixel; image processing libraries use 32 (OpenCV).
const PHASES: usize = 1 << PHASE_BITS;
const PHASE_BITS: u32 = 11;

/// Added to a position, so that truncation rounds to the nearest phase.
const HALF_A_PHASE: i64 = 1 << (31 - PHASE_BITS);

type Weights = [[f32; 4]; PHASES];

/// The weights of the four neighbours, by phase.
static WEIGHTS: LazyLock<Box<Weights>> =
    LazyLock::new(|| Box::new(std::array::from_fn(|phase| catmull_rom(phase as f32 / PHASES as f32))));

/// The four pixels of row `row` from column `column` on.
///
/// # Safety
/// They must be in the patch.
#[inline(always)]
unsafe fn four(patch: &Patch, row: usize, column: usize) -> [f32; 4] {
    let first = row * patch.width + column;
    debug_assert!(row < patch.height && column + 4 <= patch.width);
    // SAFETY: `values` has height * width values, and the caller promises that these are among them.
    unsafe { patch.values.as_ptr().add(first).cast::<[f32; 4]>().read_unaligned() }
}

/// One point after the other, along the line of `rows` and `columns`, whose positions are rounded to phases.
struct Points<'a> {
    weights: &'a Weights,
    rows: Line,
    columns: Line,
}

impl Points<'_> {
    /// `(row, column)` of the first of the next point's 4 x 4 neighbours, and the weights of their rows and columns.
    #[inline(always)]
    fn next(&mut self) -> ([usize; 2], [&[f32; 4]; 2]) {
        let (row, column) = (self.rows.start, self.columns.start);
        self.rows.start += self.rows.step;
        self.columns.start += self.columns.step;
        let phase = |position: i64| &self.weights[(position as u32 >> (32 - PHASE_BITS)) as usize];
        ([Line::cell(row) - 1, Line::cell(column) - 1], [phase(row), phase(column)])
    }
}

/// The same operations in the same order as [`bicubic`], so the same result, four points at a time.
///
/// # Safety
/// The processor must have AVX; both ends of the line must lie at least 1 after the first and 2 before the last row and
/// column.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn bicubic_avx(patch: &Patch, rows: Line, columns: Line, weights: &Weights, out: &mut [f32]) {
    use std::arch::x86_64::{
        _mm_add_ps, _mm_broadcast_ss, _mm_loadu_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_mul_ps, _mm_storeu_ps,
        _mm_unpackhi_ps, _mm_unpacklo_ps,
    };
    let mut points = Points { weights, rows, columns };
    let (fours, rest) = out.as_chunks_mut::<4>();
    for four in fours {
        // The four columns of the neighbours, each summed over its rows and weighted.
        let mut columns = || {
            let ([row, column], [down, right]) = points.next();
            debug_assert!(row + 4 <= patch.height && column + 4 <= patch.width);
            // SAFETY: the caller promises that the patch has these 4 x 4 values.
            let part = |k: usize| unsafe {
                let neighbours = patch.values.as_ptr().add((row + k) * patch.width + column);
                _mm_mul_ps(_mm_loadu_ps(neighbours), _mm_broadcast_ss(&down[k]))
            };
            let sums = _mm_add_ps(_mm_add_ps(part(0), part(1)), _mm_add_ps(part(2), part(3)));
            // SAFETY: four values.
            _mm_mul_ps(sums, unsafe { _mm_loadu_ps(right.as_ptr()) })
        };
        let [a, b, c, d] = [columns(), columns(), columns(), columns()];
        // Column 0 + 2 and 1 + 3, of two points each.
        let ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
        let cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
        let values = _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
        // SAFETY: room for four values.
        unsafe { _mm_storeu_ps(four.as_mut_ptr(), values) };
    }
    bicubic(patch, points.rows, points.columns, weights, rest);
}

#[inline(always)]
fn bicubic(patch: &Patch, rows: Line, columns: Line, weights: &Weights, out: &mut [f32]) {
    let mut points = Points { weights, rows, columns };
    for value in out {
        let ([i, j], [&[p, q, r, s], right]) = points.next();
        // SAFETY: `sample` has checked both ends of the line, 1 before and 2 after the cell.
        let [a, b, c, d] =
            unsafe { [four(patch, i, j), four(patch, i + 1, j), four(patch, i + 2, j), four(patch, i + 3, j)] };
        let mut sums = [0.0; 4];
        for k in 0..4 {
            sums[k] = ((a[k] * p + b[k] * q) + (c[k] * r + d[k] * s)) * right[k];
        }
        *value = (sums[0] + sums[2]) + (sums[1] + sums[3]);
    }
}

#[inline(always)]
fn bilinear(patch: &Patch, rows: Line, columns: Line, out: &mut [f32]) {
    let (mut row, mut column) = (rows.start, columns.start);
    for value in out {
        let (i, j) = (Line::cell(row), Line::cell(column));
        // SAFETY: as in `bicubic`.
        let [above, below] = unsafe { [four(patch, i, j - 1), four(patch, i + 1, j - 1)] };
        let (down, right) = (Line::fraction(row), Line::fraction(column));
        let mix = |a: f32, b: f32, t: f32| a * (1.0 - t) + b * t;
        *value = mix(mix(above[1], above[2], right), mix(below[1], below[2], right), down);
        row += rows.step;
        column += columns.step;
    }
}

/// Weights of the four neighbours of a point `t` beyond the second of them; exactly 0, 1, 0, 0 at `t = 0`.
#[inline(always)]
fn catmull_rom(t: f32) -> [f32; 4] {
    const CUBE: [f32; 4] = [-0.5, 1.5, -1.5, 0.5];
    const SQUARE: [f32; 4] = [1.0, -2.5, 2.0, -0.5];
    const LINEAR: [f32; 4] = [-0.5, 0.0, 0.5, 0.0];
    const CONSTANT: [f32; 4] = [0.0, 1.0, 0.0, 0.0];
    let mut weights = [0.0; 4];
    for k in 0..4 {
        weights[k] = ((CUBE[k] * t + SQUARE[k]) * t + LINEAR[k]) * t + CONSTANT[k];
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_keep_pixels() {
        assert_eq!(WEIGHTS[0], [0.0, 1.0, 0.0, 0.0]);
        assert!(WEIGHTS.iter().all(|weights| (weights.iter().sum::<f32>() - 1.0).abs() < 1e-6));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_processor_gives_the_same_bits() {
        if !std::arch::is_x86_feature_detected!("avx") {
            return;
        }
        let (width, height) = (61_usize, 53_usize);
        let values: Vec<f32> = (0..width * height).map(|i| (i * 7919 % 1013) as f32 / 7.0).collect();
        let mut patch = Patch::default();
        patch.read(&(width, values.as_slice()), [0.0, 0.0, height as f64 - 1.0, width as f64 - 1.0], 1);
        for length in [1, 3, 4, 5, 30] {
            let line = |start: f64, step: f64| Line { start: (start * ONE) as i64, step: (step * ONE) as i64 };
            let (rows, columns) = (line(20.123, 0.731), line(40.77, -0.977));
            let (mut fast, mut plain) = (vec![0.0; length], vec![0.0; length]);
            // SAFETY: the processor has AVX; the line goes from (20, 40) to (42, 11).
            unsafe { bicubic_avx(&patch, rows, columns, &WEIGHTS, &mut fast) };
            bicubic(&patch, rows, columns, &WEIGHTS, &mut plain);
            assert_eq!(fast, plain);
        }
    }
}
