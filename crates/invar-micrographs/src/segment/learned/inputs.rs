/// Half the side of the square that is local to a pixel.
const RADIUS_PX: usize = 16;
/// Values are clipped beyond this, in standard deviations.
const MOST: f32 = 4.0;
/// Added to the standard deviations, in fractions of the picture's levels.
const GLOBAL_FLOOR: f64 = 1e-3;
const LOCAL_FLOOR: f64 = 0.02;

/// The inputs of the network for a picture, row by row: the grey relative to the picture's spread, and the grey
/// relative to the spread of the surrounding 33 x 33 pixels, mirrored at the edges. The picture itself is mirrored to
/// `size`.
pub(super) struct Inputs<'a> {
    grey: &'a [f32],
    width: usize,
    height: usize,
    /// Required columns and rows.
    size: [usize; 2],
    mean: f64,
    scale: f64,
    /// The next row.
    row: usize,
    /// Sums over the surrounding rows, by column: values and squares.
    columns: Vec<[f64; 2]>,
}

/// One pixel in fifty is grey beyond 0 to 1; far beyond are dead pixels, and unbounded values.
fn bounded(grey: f32) -> f64 {
    f64::from(if grey.is_nan() { 0.0 } else { grey.clamp(-1.0, 2.0) })
}

/// The index inside `0..len` that corresponds to `index` when mirroring at the outermost pixels.
fn mirrored(index: isize, len: usize) -> usize {
    let period = (2 * len as isize - 2).max(1);
    let index = index.rem_euclid(period);
    index.min(period - index).min(len as isize - 1) as usize
}

impl<'a> Inputs<'a> {
    /// Inputs for `grey`, `[height, width]`, not empty, in rows of `size[0]` pixels, `size[1]` of them.
    pub fn new(grey: &'a [f32], width: usize, height: usize, size: [usize; 2]) -> Self {
        let count = grey.len().max(1) as f64;
        let mean = grey.iter().map(|&value| bounded(value)).sum::<f64>() / count;
        let variance = grey.iter().map(|&value| (bounded(value) - mean).powi(2)).sum::<f64>() / count;
        let scale = 1.0 / (variance.sqrt() + GLOBAL_FLOOR);
        let columns = vec![[0.0; 2]; width];
        Self { grey, width, height, size, mean, scale, row: 0, columns }
    }

    /// Writes the next row of both inputs.
    pub fn next(&mut self, global: &mut [f32], local: &mut [f32]) {
        let row = mirrored(self.row as isize, self.height);
        self.sum_around(row);
        self.row += 1;
        let grey = &self.grey[row * self.width..][..self.width];
        let count = (2 * RADIUS_PX + 1).pow(2) as f64;
        let column = |offset: isize| self.columns[mirrored(offset, self.width)];
        let mut sums = (-(RADIUS_PX as isize)..RADIUS_PX as isize).map(column).fold([0.0; 2], plus);
        for (at, (global, local)) in global.iter_mut().zip(local).enumerate().take(self.size[0]) {
            sums = plus(sums, column((at + RADIUS_PX) as isize));
            let value = bounded(grey[mirrored(at as isize, self.width)]);
            let mean = sums[0] / count;
            let variance = (sums[1] / count - mean * mean).max(0.0);
            *global = (((value - self.mean) * self.scale) as f32).clamp(-MOST, MOST);
            *local = (((value - mean) / (variance.sqrt() + LOCAL_FLOOR)) as f32).clamp(-MOST, MOST);
            let [value, square] = column(at as isize - RADIUS_PX as isize);
            sums = [sums[0] - value, sums[1] - square];
        }
    }

    /// Sets `columns` to the sums over the rows around `row`. They are recomputed for each row, so that a row is the
    /// same wherever one begins.
    fn sum_around(&mut self, row: usize) {
        self.columns.fill([0.0; 2]);
        let radius = RADIUS_PX as isize;
        for row in (-radius..=radius).map(|offset| mirrored(row as isize + offset, self.height)) {
            let grey = &self.grey[row * self.width..][..self.width];
            for (sum, &value) in self.columns.iter_mut().zip(grey) {
                let value = bounded(value);
                *sum = plus(*sum, [value, value * value]);
            }
        }
    }
}

fn plus(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [a[0] + b[0], a[1] + b[1]]
}
