use invar_dataset::seed;

use super::{
    draw::Draw,
    smooth::Smooth,
    specimen::{Boundary, Specimen},
    tessellation::{Cells, SCALE},
};

/// The picture before the instrument, in sub-pixels.
pub(super) struct Canvas {
    pub grey: Vec<f32>,
    /// How visible the nearest boundary is, 0 to 1.
    pub plainness: Vec<f32>,
}

/// A line this much darker than the grains, or a step this high, is fully visible.
const PLAIN_LINE: f32 = 0.12;
const PLAIN_STEP: f32 = 0.06;

/// The grains, each with its grey, and the lines between them.
pub(super) fn grains(draw: &mut Draw, cells: &Cells, specimen: &Specimen) -> Canvas {
    let base = draw.uniform(0.35, 0.8);
    let levels: Vec<f32> = (0..cells.num_sites).map(|_| specimen.contrast * draw.normal()).collect();
    let level = |grain: u32| levels[grain as usize];
    let pen = Pen::new(draw, &specimen.boundary);
    let mut canvas =
        Canvas { grey: Vec::with_capacity(cells.grain.len()), plainness: Vec::with_capacity(cells.grain.len()) };
    for (i, (&grain, &other)) in cells.grain.iter().zip(&cells.other).enumerate() {
        let (row, column) = ((i / cells.side) as f32 / SCALE as f32, (i % cells.side) as f32 / SCALE as f32);
        let strength = pen.strength(grain, other);
        let line = pen.line(row, column, cells.distance_px[i], strength, grain < other);
        canvas.grey.push(base + level(grain) + line);
        let step = (level(grain) - level(other)).abs();
        let relief = specimen.boundary.relief;
        let plain = (specimen.boundary.depth.abs() * strength + relief) / PLAIN_LINE + step / PLAIN_STEP;
        canvas.plainness.push(plain.clamp(0.0, 1.0));
    }
    canvas
}

/// What draws the lines of a picture.
struct Pen<'a> {
    boundary: &'a Boundary,
    seed: u64,
    gaps: Option<(f32, Smooth)>,
    width: Option<Smooth>,
    rough: Option<Smooth>,
}

impl<'a> Pen<'a> {
    fn new(draw: &mut Draw, boundary: &'a Boundary) -> Self {
        let seed = draw.count(0, 1 << 30) as u64;
        let gaps = boundary.gaps.map(|[lift, size]| (lift, Smooth::new(draw, size)));
        let width = boundary.varies.then(|| Smooth::new(draw, 6.0));
        let rough = (boundary.rough_px > 0.0).then(|| Smooth::new(draw, 3.0));
        Self { boundary, seed, gaps, width, rough }
    }

    /// How strong the line between two grains is, constant along it: 0 to 1.6.
    fn strength(&self, a: u32, b: u32) -> f32 {
        let pair = (u64::from(a.min(b)) << 32) | u64::from(a.max(b));
        let bits = seed::mix(self.seed, pair);
        let share = |shift: u32| ((bits >> shift) & 0xffff) as f32 / 65_536.0;
        if share(48) < self.boundary.missing {
            return 0.0;
        }
        // Three uniform numbers: nearly normal, of variance 1/4.
        let normal = 2.0 * (share(0) + share(16) + share(32) - 1.5);
        (1.0 + self.boundary.variation * normal).clamp(0.0, 1.6)
    }

    /// Grey to add at a place, `distance` from the middle of the line.
    fn line(&self, row: f32, column: f32, distance: f32, strength: f32, lit: bool) -> f32 {
        let widest = 2.0 * self.boundary.half_px + self.boundary.pair_px.unwrap_or(0.0) + 6.0;
        if distance > widest {
            return 0.0;
        }
        let gap = self.gaps.as_ref().map_or(1.0, |(lift, gaps)| (0.5 + gaps.at(row, column) + lift).clamp(0.0, 1.0));
        let width = self.width.as_ref().map_or(1.0, |width| (1.0 + 0.4 * width.at(row, column)).clamp(0.4, 2.0));
        let stray = self.rough.as_ref().map_or(0.0, |rough| self.boundary.rough_px * rough.at(row, column));
        let side = if lit { 1.0 } else { -1.0 };
        let from_middle = (side * distance + stray).abs();
        let half = self.boundary.half_px * width;
        let profile = |distance: f32| (half + 0.5 - distance).clamp(0.0, 1.0);
        let depth = self.boundary.depth * strength * gap;
        let mut grey = match self.boundary.pair_px {
            Some(apart) => depth * profile((from_middle - apart).abs()),
            None => depth * profile(from_middle),
        };
        if self.boundary.halo {
            grey -= 0.25 * depth * (-((distance - 3.0) / 1.5).powi(2)).exp();
        }
        if self.boundary.relief > 0.0 {
            grey += side * self.boundary.relief * gap * (-(distance / half).powi(2)).exp();
        }
        grey
    }
}
