use std::f32::consts::TAU;

use super::{
    draw::Draw,
    smooth::Smooth,
    specimen::Specimen,
    tessellation::{Cells, SCALE},
};

/// Adds to `grey` what is inside grains, or lies across them, and is not a boundary.
pub(super) fn add(draw: &mut Draw, cells: &Cells, specimen: &Specimen, grey: &mut [f32]) {
    let inside = &specimen.inside;
    let mut sheet = Sheet { cells, grey };
    if inside.twins {
        twins(draw, &mut sheet, specimen);
    }
    if inside.lamellae {
        lamellae(draw, &mut sheet);
    }
    if inside.mottle {
        let (strength, size) = (draw.uniform(0.01, 0.04), draw.uniform(2.0, 12.0));
        let mottle = Smooth::new(draw, size);
        sheet.each(|_, row, column| strength * mottle.at(row, column));
    }
    scratches(draw, &mut sheet, inside.num_scratches);
    needles(draw, &mut sheet, inside.needles, inside.aligned);
    pits(draw, &mut sheet, inside.pits);
    for _ in 0..inside.patches {
        patch(draw, &mut sheet);
    }
}

struct Sheet<'a> {
    cells: &'a Cells,
    grey: &'a mut [f32],
}

/// A straight stroke, lengths in pixels.
struct Stroke {
    middle: [f32; 2],
    direction: f32,
    length: f32,
    half_px: f32,
    depth: f32,
    /// Whether it ends with the grain that contains its middle.
    within: bool,
}

impl Sheet<'_> {
    fn side_px(&self) -> f32 {
        (self.cells.side / SCALE) as f32
    }

    fn area_px(&self) -> f32 {
        self.side_px().powi(2)
    }

    fn anywhere(&self, draw: &mut Draw) -> [f32; 2] {
        [draw.uniform(0.0, self.side_px()), draw.uniform(0.0, self.side_px())]
    }

    fn grain_at(&self, [row, column]: [f32; 2]) -> u32 {
        let index = |at: f32| ((at * SCALE as f32) as usize).min(self.cells.side - 1);
        self.cells.grain[index(row) * self.cells.side + index(column)]
    }

    /// Adds the value of `f` for each grain and place.
    fn each(&mut self, mut f: impl FnMut(u32, f32, f32) -> f32) {
        let side = self.cells.side;
        for (i, (grey, &grain)) in self.grey.iter_mut().zip(&self.cells.grain).enumerate() {
            *grey += f(grain, (i / side) as f32 / SCALE as f32, (i % side) as f32 / SCALE as f32);
        }
    }

    /// Adds the value of `f` for the sub-pixels within `reach` of a place; it receives rows and columns relative to
    /// that place.
    fn near(&mut self, [row, column]: [f32; 2], reach: [f32; 2], mut f: impl FnMut(u32, f32, f32) -> f32) {
        let side = self.cells.side;
        let range = |at: f32, reach: f32| {
            let index = |at: f32| (at * SCALE as f32).max(0.0) as usize;
            index(at - reach)..(index(at + reach) + 2).min(side)
        };
        for r in range(row, reach[0]) {
            for c in range(column, reach[1]) {
                let (down, right) = (r as f32 / SCALE as f32 - row, c as f32 / SCALE as f32 - column);
                let i = r * side + c;
                self.grey[i] += f(self.cells.grain[i], down, right);
            }
        }
    }

    fn stroke(&mut self, stroke: &Stroke) {
        let (c, s) = (stroke.direction.cos(), stroke.direction.sin());
        let half = stroke.length / 2.0;
        let own = self.grain_at(stroke.middle);
        let reach = [half * s.abs() + 3.0, half * c.abs() + 3.0];
        self.near(stroke.middle, reach, |grain, down, right| {
            if stroke.within && grain != own {
                return 0.0;
            }
            let (along, across) = ((c * right + s * down).abs(), (c * down - s * right).abs());
            let inside = (stroke.half_px + 0.5 - across).clamp(0.0, 1.0) * (half + 0.5 - along).clamp(0.0, 1.0);
            stroke.depth * inside
        });
    }
}

/// Parallel bands of another grey in a quarter of the grains.
fn twins(draw: &mut Draw, sheet: &mut Sheet, specimen: &Specimen) {
    let contrast = specimen.contrast.max(0.04);
    let bands: Vec<_> = (0..sheet.cells.num_sites)
        .map(|_| {
            let angle = draw.direction();
            let width = specimen.shape.diameter_px * draw.uniform(0.15, 0.4);
            let period = draw.uniform(2.0, 5.0);
            let level = if draw.chance(0.25) { contrast * draw.normal() } else { 0.0 };
            (angle.cos() / width, angle.sin() / width, period, level)
        })
        .collect();
    sheet.each(|grain, row, column| {
        let (x, y, period, level) = bands[grain as usize];
        if level != 0.0 && (x * column + y * row).rem_euclid(period) < 1.0 { level } else { 0.0 }
    });
}

/// Waves, or a network of waves, with a separate direction in each grain.
fn lamellae(draw: &mut Draw, sheet: &mut Sheet) {
    let (strength, share, period) = (draw.uniform(0.02, 0.12), draw.uniform(0.2, 0.9), draw.uniform(3.0, 9.0));
    let crossed = draw.chance(0.5);
    let waves: Vec<_> = (0..sheet.cells.num_sites)
        .map(|_| {
            let angle = draw.direction();
            let strength = if draw.chance(share) { strength } else { 0.0 };
            (angle.cos() * TAU / period, angle.sin() * TAU / period, strength)
        })
        .collect();
    sheet.each(|grain, row, column| {
        let (x, y, strength) = waves[grain as usize];
        if strength == 0.0 {
            return 0.0;
        }
        let wave = (x * column + y * row).sin();
        strength * if crossed { wave * (x * row - y * column).sin() } else { wave }
    });
}

fn scratches(draw: &mut Draw, sheet: &mut Sheet, count: usize) {
    let main = draw.direction();
    for _ in 0..count {
        let stroke = Stroke {
            middle: sheet.anywhere(draw),
            direction: main + 0.3 * draw.normal(),
            length: draw.uniform(0.3, 2.0) * sheet.side_px(),
            half_px: draw.uniform(0.1, 0.8),
            depth: draw.pick(&[-1.0, -1.0, 1.0]) * draw.uniform(0.05, 0.3),
            within: false,
        };
        sheet.stroke(&stroke);
    }
}

/// Needles: short, or long ones in bundles, ending at the boundaries of their grain.
fn needles(draw: &mut Draw, sheet: &mut Sheet, per_10_000_px: f32, aligned: bool) {
    let habits: Vec<[f32; 3]> =
        (0..sheet.cells.num_sites).map(|_| [draw.direction(), draw.direction(), draw.uniform(0.0, 2.0)]).collect();
    let (longest, deepest) = (draw.log_uniform(8.0, 60.0), draw.uniform(0.15, 0.5));
    let sign = if draw.chance(0.15) { 1.0 } else { -1.0 };
    for _ in 0..(per_10_000_px * sheet.area_px() / 1e4) as usize {
        let middle = sheet.anywhere(draw);
        let [first, second, density] = habits[sheet.grain_at(middle) as usize];
        // Some grains are full of them, others clean.
        if !draw.chance(density) {
            continue;
        }
        let habit = if draw.chance(0.5) { first } else { second };
        let stroke = Stroke {
            middle,
            direction: if aligned { habit + 0.08 * draw.normal() } else { draw.direction() },
            length: draw.uniform(3.0, longest),
            half_px: draw.uniform(0.0, 0.9),
            depth: sign * draw.uniform(0.08, deepest),
            within: draw.chance(0.9),
        };
        sheet.stroke(&stroke);
    }
}

fn spot(draw: &mut Draw, sheet: &mut Sheet, middle: [f32; 2], radius: f32, depth: f32) {
    let flat = draw.uniform(0.6, 1.6);
    let reach = [radius + 2.0, (radius + 2.0) / flat];
    sheet.near(middle, reach, |_, down, right| depth * (radius + 0.5 - down.hypot(flat * right)).clamp(0.0, 1.0));
}

fn pits(draw: &mut Draw, sheet: &mut Sheet, per_10_000_px: f32) {
    let sign = if draw.chance(0.15) { 1.0 } else { -1.0 };
    let median = draw.uniform(0.6, 1.4);
    for _ in 0..(per_10_000_px * sheet.area_px() / 1e4).ceil() as usize {
        let middle = sheet.anywhere(draw);
        let radius = (median * (0.5 * draw.normal()).exp()).min(7.0);
        let depth = sign * draw.uniform(0.1, 0.5);
        spot(draw, sheet, middle, radius, depth);
    }
}

/// Dark specks close together, as if something had been torn out in polishing.
fn patch(draw: &mut Draw, sheet: &mut Sheet) {
    let [row, column] = sheet.anywhere(draw);
    let (size, depth) = (draw.uniform(4.0, 16.0), -draw.uniform(0.2, 0.6));
    for _ in 0..draw.count(10, 80) {
        let middle = [row + size * draw.normal(), column + size * draw.normal()];
        let radius = draw.uniform(0.3, 1.8);
        spot(draw, sheet, middle, radius, depth);
    }
}
