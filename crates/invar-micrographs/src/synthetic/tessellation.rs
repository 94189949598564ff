use super::{draw::Draw, smooth::Smooth};

/// The shape of the grains.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// Mean diameter, in pixels.
    pub diameter_px: f32,
    /// Standard deviation of the logarithm of the radii that weight the sites.
    pub spread: f32,
    /// Minimum distance of two sites, as a fraction of the mean.
    pub evenness: f32,
    /// How much longer than wide the grains are.
    pub aspect: f32,
    /// Waviness of the boundaries: amplitude and size of a wave, as fractions of the diameter.
    pub waves: Option<[f32; 2]>,
    /// Whether regions of fine grains, a third as large, lie between coarse ones.
    pub duplex: bool,
}

/// What each sub-pixel belongs to, row by row: [`SCALE`] squared of them per pixel.
pub(super) struct Cells {
    /// Sub-pixels per side.
    pub side: usize,
    /// The grain, as the index of a site.
    pub grain: Vec<u32>,
    /// The grain across the nearest boundary.
    pub other: Vec<u32>,
    /// Distance to that boundary, in pixels.
    pub distance_px: Vec<f32>,
    /// Number of sites.
    pub num_sites: usize,
}

/// Sub-pixels per pixel, along a side.
pub(super) const SCALE: usize = 2;

/// A Laguerre tessellation (power diagram) of random sites, seen through a stretched and warped plane.
pub(super) fn tessellate(draw: &mut Draw, side_px: usize, shape: &Shape) -> Cells {
    let side = side_px * SCALE;
    let plane = warped_plane(draw, side, shape);
    let sites = Sites::throw(draw, &plane, shape);
    let mut cells = Cells {
        side,
        grain: Vec::with_capacity(side * side),
        other: Vec::with_capacity(side * side),
        distance_px: Vec::with_capacity(side * side),
        num_sites: sites.places.len(),
    };
    for &place in &plane {
        let (grain, other, distance) = sites.nearest(place);
        cells.grain.push(grain);
        cells.other.push(other);
        cells.distance_px.push(distance);
    }
    cells.distance_px = in_pixels(&cells, 0.5 / shape.aspect.sqrt());
    cells
}

/// The position of each sub-pixel among the sites, `[x, y]` in pixels.
fn warped_plane(draw: &mut Draw, side: usize, shape: &Shape) -> Vec<[f32; 2]> {
    let waves = shape.waves.map(|[amplitude, size]| {
        let size = (size * shape.diameter_px).max(2.0);
        (amplitude * shape.diameter_px, Smooth::new(draw, size), Smooth::new(draw, size))
    });
    let angle = draw.direction();
    let (c, s) = (angle.cos(), angle.sin());
    // The area of a grain is preserved.
    let (along, across) = (1.0 / shape.aspect.sqrt(), shape.aspect.sqrt());
    (0..side * side)
        .map(|i| {
            let (row, column) = (((i / side) as f32 + 0.5) / SCALE as f32, ((i % side) as f32 + 0.5) / SCALE as f32);
            let (mut x, mut y) = (column, row);
            if let Some((amplitude, right, down)) = &waves {
                x += amplitude * right.at(row, column);
                y += amplitude * down.at(row, column);
            }
            [(c * x + s * y) * along, (c * y - s * x) * across]
        })
        .collect()
}

/// Sites in buckets.
struct Sites {
    places: Vec<[f32; 2]>,
    /// Squared radii.
    weights: Vec<f32>,
    buckets: Vec<Vec<u32>>,
    low: [f32; 2],
    columns: usize,
    rows: usize,
    size: f32,
}

/// How many buckets around its own are searched.
const REACH: usize = 2;

impl Sites {
    fn throw(draw: &mut Draw, plane: &[[f32; 2]], shape: &Shape) -> Self {
        let size = shape.diameter_px;
        let bound = |f: fn(f32, f32) -> f32, start: f32, axis: usize| plane.iter().fold(start, |a, p| f(a, p[axis]));
        let margin = (REACH as f32 + 1.0) * size;
        let low = [0, 1].map(|axis| bound(f32::min, f32::INFINITY, axis) - margin);
        let high = [0, 1].map(|axis| bound(f32::max, f32::NEG_INFINITY, axis) + margin);
        let (columns, rows) = (((high[0] - low[0]) / size) as usize + 1, ((high[1] - low[1]) / size) as usize + 1);
        let zones = shape.duplex.then(|| Smooth::new(draw, 4.0 * size));
        let mut sites = Self {
            places: Vec::new(),
            weights: Vec::new(),
            buckets: vec![Vec::new(); columns * rows],
            low,
            columns,
            rows,
            size,
        };
        let fine = |place: [f32; 2]| zones.as_ref().is_some_and(|zones| zones.at(place[1], place[0]) > 0.3);
        let per_site = if shape.duplex { 9 } else { 1 };
        for _ in 0..columns * rows * per_site {
            // A few tries to keep away from the others.
            for _ in 0..6 {
                let place = [draw.uniform(low[0], high[0]), draw.uniform(low[1], high[1])];
                let is_fine = fine(place);
                if shape.duplex && !is_fine && draw.chance(8.0 / 9.0) {
                    break;
                }
                let unit = if is_fine { size / 3.0 } else { size };
                if sites.is_free(place, shape.evenness * unit) {
                    let radius = 0.5 * unit * (shape.spread * draw.normal()).exp();
                    sites.add(place, radius.min(0.9 * unit));
                    break;
                }
            }
        }
        sites
    }

    fn bucket(&self, place: [f32; 2]) -> [usize; 2] {
        let index = |axis: usize, most: usize| (((place[axis] - self.low[axis]) / self.size) as usize).min(most - 1);
        [index(0, self.columns), index(1, self.rows)]
    }

    fn add(&mut self, place: [f32; 2], radius: f32) {
        let [column, row] = self.bucket(place);
        self.buckets[row * self.columns + column].push(self.places.len() as u32);
        self.places.push(place);
        self.weights.push(radius * radius);
    }

    fn around(&self, place: [f32; 2]) -> impl Iterator<Item = u32> + '_ {
        let [column, row] = self.bucket(place);
        let rows = row.saturating_sub(REACH)..(row + REACH + 1).min(self.rows);
        let columns = column.saturating_sub(REACH)..(column + REACH + 1).min(self.columns);
        rows.flat_map(move |r| columns.clone().flat_map(move |c| self.buckets[r * self.columns + c].iter().copied()))
    }

    fn is_free(&self, place: [f32; 2], distance: f32) -> bool {
        self.around(place).all(|site| squared(self.places[site as usize], place) >= distance * distance)
    }

    /// The site whose cell contains `place`, the one across the nearest side of the cell, and the distance to it.
    fn nearest(&self, place: [f32; 2]) -> (u32, u32, f32) {
        let power = |site: u32| squared(self.places[site as usize], place) - self.weights[site as usize];
        let mut best = (f32::INFINITY, 0);
        for site in self.around(place) {
            let power = power(site);
            if power < best.0 {
                best = (power, site);
            }
        }
        let (least, own) = best;
        let mut nearest = (f32::INFINITY, own);
        for site in self.around(place).filter(|&site| site != own) {
            let apart = squared(self.places[site as usize], self.places[own as usize]).sqrt().max(1e-3);
            let distance = (power(site) - least) / (2.0 * apart);
            if distance < nearest.0 {
                nearest = (distance, site);
            }
        }
        (own, nearest.1, nearest.0.min(1e4))
    }
}

fn squared(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)
}

/// The distances, measured in the warped plane, divided by their own slope: pixels of the picture, near boundaries.
/// Where two boundaries are equally near the slope vanishes: at least `least_slope` is used.
fn in_pixels(cells: &Cells, least_slope: f32) -> Vec<f32> {
    let side = cells.side;
    let of = |row: usize, column: usize| {
        let i = row * side + column;
        // Beyond the boundary the distance continues as negative, so that the slope does not vanish on it.
        move |j: usize| if cells.grain[j] == cells.grain[i] { cells.distance_px[j] } else { -cells.distance_px[j] }
    };
    (0..side * side)
        .map(|i| {
            let (row, column) = (i / side, i % side);
            let signed = of(row, column);
            let span = |low: usize, high: usize, steps: usize| (signed(high) - signed(low)) / steps.max(1) as f32;
            let (left, right) = (column.saturating_sub(1), (column + 1).min(side - 1));
            let (above, below) = (row.saturating_sub(1), (row + 1).min(side - 1));
            let across = span(row * side + left, row * side + right, right - left);
            let down = span(above * side + column, below * side + column, below - above);
            let slope = SCALE as f32 * across.hypot(down);
            cells.distance_px[i] / slope.clamp(least_slope, 4.0)
        })
        .collect()
}

impl Cells {
    /// A single cell, without a boundary.
    pub fn one(side_px: usize) -> Self {
        let side = side_px * SCALE;
        let size = side * side;
        Self { side, grain: vec![0; size], other: vec![0; size], distance_px: vec![1e4; size], num_sites: 1 }
    }
}
