//! The part of a source that a view needs, in single precision.

use std::ops::Range;

/// One plane of stored values.
pub(crate) trait Plane {
    /// Number of columns.
    fn width(&self) -> usize;

    /// Number of rows.
    fn height(&self) -> usize;

    /// One value.
    fn value(&self, row: usize, column: usize) -> f32;

    /// Adds the values of `columns` of a row to `sums`, which is as long.
    fn add_row(&self, row: usize, columns: Range<usize>, sums: &mut [f32]);

    /// Writes the values of `columns` of a row to `out`, which is as long.
    fn copy_row(&self, row: usize, columns: Range<usize>, out: &mut [f32]);
}

/// `(width, pixels)`.
impl<T: Copy + Into<f32>> Plane for (usize, &[T]) {
    fn width(&self) -> usize {
        self.0
    }

    fn height(&self) -> usize {
        self.1.len() / self.0.max(1)
    }

    fn value(&self, row: usize, column: usize) -> f32 {
        self.1[row * self.0 + column].into()
    }

    fn add_row(&self, row: usize, columns: Range<usize>, sums: &mut [f32]) {
        let pixels = &self.1[row * self.0..][columns];
        for (sum, &pixel) in sums.iter_mut().zip(pixels) {
            *sum += pixel.into();
        }
    }

    fn copy_row(&self, row: usize, columns: Range<usize>, out: &mut [f32]) {
        let pixels = &self.1[row * self.0..][columns];
        for (value, &pixel) in out.iter_mut().zip(pixels) {
            *value = pixel.into();
        }
    }
}

/// A rectangle of a plane including what lies beyond its edges, reduced by averaging whole boxes of pixels.
#[derive(Default)]
pub(super) struct Patch {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width]`.
    pub values: Vec<f32>,
    /// `[row, column]` of the centre of the first value, in source pixels.
    pub first_px: [f64; 2],
    /// Side of a box, in source pixels.
    pub boxes: usize,
    /// One row of sums, not yet reduced.
    sums: Vec<f32>,
}

/// Number of values that an interpolation may need beyond the outermost points.
const MARGIN: usize = 3;

impl Patch {
    /// Reads what covers `bounds` (`[first row, first column, last row, last column]`, source pixels) and [`MARGIN`]
    /// more on all sides.
    pub fn read<P: Plane>(&mut self, source: &P, bounds: [f64; 4], boxes: usize) {
        let margin = (MARGIN * boxes) as i64;
        let [top, left] = [bounds[0], bounds[1]].map(|first| first.floor() as i64 - margin);
        let [height, width] = [(top, bounds[2]), (left, bounds[3])]
            .map(|(first, last)| (last.ceil() as i64 + margin - first + 1) as usize)
            .map(|extent| extent.div_ceil(boxes));
        (self.height, self.width, self.boxes) = (height, width, boxes);
        let half = (boxes as f64 - 1.0) / 2.0;
        self.first_px = [top as f64 + half, left as f64 + half];
        self.values.resize(height * width, 0.0);
        let columns = Columns::new(left, width * boxes, source.width());
        for (i, out) in self.values.chunks_exact_mut(width).enumerate() {
            if boxes == 1 {
                columns.copy(source, reflect(top + i as i64, source.height()), out);
                continue;
            }
            self.sums.clear();
            self.sums.resize(width * boxes, 0.0);
            for j in 0..boxes {
                columns.add(source, reflect(top + (i * boxes + j) as i64, source.height()), &mut self.sums);
            }
            let scale = 1.0 / (boxes * boxes) as f32;
            for (value, sums) in out.iter_mut().zip(self.sums.chunks_exact(boxes)) {
                *value = sums.iter().sum::<f32>() * scale;
            }
        }
    }
}

/// The columns of a patch: some within the source, some beyond its edges.
struct Columns {
    /// Source column of the first.
    left: i64,
    /// Which of the patch's columns lie within.
    inside: Range<usize>,
    num: usize,
    width: usize,
}

impl Columns {
    fn new(left: i64, num: usize, width: usize) -> Self {
        let within = |column: i64| (column - left).clamp(0, num as i64) as usize;
        Self { left, inside: within(0)..within(width as i64), num, width }
    }

    fn source(&self) -> Range<usize> {
        let first = (self.left + self.inside.start as i64).max(0) as usize;
        first..first + self.inside.len()
    }

    fn outside(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.inside.start).chain(self.inside.end..self.num).map(|i| (i, reflect(self.left + i as i64, self.width)))
    }

    fn copy<P: Plane>(&self, source: &P, row: usize, out: &mut [f32]) {
        if !self.inside.is_empty() {
            source.copy_row(row, self.source(), &mut out[self.inside.clone()]);
        }
        for (i, column) in self.outside() {
            out[i] = source.value(row, column);
        }
    }

    fn add<P: Plane>(&self, source: &P, row: usize, sums: &mut [f32]) {
        if !self.inside.is_empty() {
            source.add_row(row, self.source(), &mut sums[self.inside.clone()]);
        }
        for (i, column) in self.outside() {
            sums[i] += source.value(row, column);
        }
    }
}

/// The pixel that represents `index` in a line of `len` pixels and its mirror images: `c b a | a b c | c b a`.
fn reflect(index: i64, len: usize) -> usize {
    let len = len as i64;
    if (0..len).contains(&index) {
        return index as usize;
    }
    let folded = index.rem_euclid(2 * len);
    folded.min(2 * len - 1 - folded) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    // numpy.pad([1, 2, 3], 8, mode="symmetric").
    #[test]
    fn edges_are_mirrors() {
        let padded: Vec<usize> = (-8..11).map(|i| reflect(i, 3) + 1).collect();
        assert_eq!(
            padded,
            [2, 3, 3, 2, 1, 1, 2, 3, 3, 2, 1, 1, 2, 3, 3, 2, 1, 1, 2].iter().rev().copied().collect::<Vec<_>>()
        );
        assert!((-5..5).all(|i| reflect(i, 1) == 0));
    }

    #[test]
    fn boxes_are_means() {
        let pixels: Vec<u16> = (0..20 * 30).map(|i| (i * 7919 % 1000) as u16).collect();
        let source = (30, pixels.as_slice());
        let mut patch = Patch::default();
        patch.read(&source, [8.0, 12.0, 11.0, 17.0], 2);
        // By hand: rows 8 - 6 = 2 to 17, columns 6 to 23, in boxes of 2.
        assert_eq!((patch.height, patch.width, patch.first_px), (8, 9, [2.5, 6.5]));
        let mean = |r: usize, c: usize| {
            let at = |r: usize, c: usize| f32::from(pixels[r * 30 + c]);
            (at(r, c) + at(r, c + 1) + at(r + 1, c) + at(r + 1, c + 1)) / 4.0
        };
        for i in 0..8 {
            for j in 0..9 {
                assert_eq!(patch.values[i * 9 + j], mean(2 + 2 * i, 6 + 2 * j));
            }
        }
    }
}
