use super::draw::Draw;

/// Smooth noise over the plane, with mean about 0 and standard deviation about 1: value noise on a rotated lattice
/// (Perlin's interpolation), two octaves.
pub(super) struct Smooth {
    values: Vec<f32>,
    frame: [f32; 4],
    scale: f32,
}

/// Side of the lattice, after which the noise repeats.
const LATTICE: usize = 64;

impl Smooth {
    /// Noise whose features are about `size` wide, in the unit of the coordinates.
    pub fn new(draw: &mut Draw, size: f32) -> Self {
        let values = (0..LATTICE * LATTICE).map(|_| draw.normal()).collect();
        let angle = draw.direction();
        let frame = [angle.cos(), angle.sin(), draw.uniform(0.0, 64.0), draw.uniform(0.0, 64.0)];
        Self { values, frame, scale: 1.0 / size.max(0.5) }
    }

    /// The noise at a place.
    pub fn at(&self, row: f32, column: f32) -> f32 {
        let [c, s, dx, dy] = self.frame;
        let (x, y) = ((c * column + s * row) * self.scale + dx, (c * row - s * column) * self.scale + dy);
        // Bilinear weights on a lattice of unit variance leave about 0.6 of the standard deviation.
        1.4 * self.lattice(x, y) + 0.6 * self.lattice(2.3 * x + 17.0, 2.3 * y + 5.0)
    }

    fn lattice(&self, x: f32, y: f32) -> f32 {
        let (x0, y0) = (x.floor(), y.floor());
        let ease = |t: f32| t * t * (3.0 - 2.0 * t);
        let (u, v) = (ease(x - x0), ease(y - y0));
        let wrap = |t: f32| (t as i64).rem_euclid(LATTICE as i64) as usize;
        let value = |dx: f32, dy: f32| self.values[wrap(y0 + dy) * LATTICE + wrap(x0 + dx)];
        let above = value(0.0, 0.0) * (1.0 - u) + value(1.0, 0.0) * u;
        let below = value(0.0, 1.0) * (1.0 - u) + value(1.0, 1.0) * u;
        above * (1.0 - v) + below * v
    }
}
