//! A region in micrometres, even if pixels are not square.

use std::f64::consts::FRAC_PI_4;

use super::measure::Ellipse;
use crate::{PixelSize, Region};

/// What `regionprops(spacing=...)` measures: a region on the specimen instead of on the grid of pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhysicalMeasures {
    /// Area, in square micrometres.
    pub area_um2: f64,
    /// Diameter of the circle of equal area.
    pub equivalent_diameter_um: f64,
    /// Length of the outline. `regionprops` has none if pixels are not square; see [`Region::in_um`].
    pub perimeter_um: f64,
    /// Axes of the ellipse with the same second moments.
    pub major_axis_um: f64,
    /// See `major_axis_um`.
    pub minor_axis_um: f64,
    /// Eccentricity of that ellipse.
    pub eccentricity: f64,
    /// Angle of its major axis to the row axis, counter-clockwise, radians in (-pi/2, pi/2].
    pub orientation_rad: f64,
}

impl Region {
    /// The region in micrometres, for pixels of `size`. `is_inside` tells whether `(row, column)`, in image pixels,
    /// belongs to the region, even beyond its box; `None` for one that fills its box.
    ///
    /// Second moments are those of the grid, stretched. The outline of Benkrid and Crookes is defined on square pixels:
    /// it is multiplied by the factor by which a stretch lengthens the outline, which is its effect on the total
    /// variation of the smoothed mask (the coarea formula: Federer 1959). For square pixels, everything is the measure
    /// in pixels times their side.
    pub fn in_um(&self, size: PixelSize, is_inside: Option<&dyn Fn(u32, u32) -> bool>) -> PhysicalMeasures {
        let [y_um, x_um] = [size.y_nm * 1e-3, size.x_nm * 1e-3];
        let side_um = (x_um * y_um).sqrt();
        let mut measures = PhysicalMeasures {
            area_um2: self.area_px as f64 * (size.x_nm * size.y_nm * 1e-6),
            equivalent_diameter_um: self.equivalent_diameter_px * side_um,
            perimeter_um: self.perimeter_px * x_um,
            major_axis_um: self.major_axis_px * x_um,
            minor_axis_um: self.minor_axis_px * x_um,
            eccentricity: self.eccentricity,
            orientation_rad: self.orientation_rad,
        };
        if size.x_nm == size.y_nm {
            return measures;
        }
        measures.perimeter_um = match is_inside {
            None => box_perimeter_um(self.bbox_px, y_um, x_um),
            Some(is_inside) => self.perimeter_px * stretch(self.bbox_px, [y_um, x_um], is_inside),
        };
        let (sin, cos) = self.orientation_rad.sin_cos();
        if self.minor_axis_px == 0.0 {
            // A line remains one; its moments would not be quite those of one.
            let [rows, columns] = [cos * y_um, sin * x_um];
            measures.major_axis_um = self.major_axis_px * rows.hypot(columns);
            measures.orientation_rad = if self.major_axis_px == 0.0 { -FRAC_PI_4 } else { (columns / rows).atan() };
            return measures;
        }
        let [major, minor] = [self.major_axis_px, self.minor_axis_px].map(|axis| (axis / 4.0).powi(2));
        let var_row = (major * cos * cos + minor * sin * sin) * y_um * y_um;
        let var_column = (major * sin * sin + minor * cos * cos) * x_um * x_um;
        let covariance = (major - minor) * sin * cos * x_um * y_um;
        // Rounding errors would rotate an upright ellipse, and -90 degrees are not 90.
        let is_upright = covariance.abs() < 1e-12 * (var_row + var_column);
        let ellipse = Ellipse::of(var_row, var_column, if is_upright { 0.0 } else { covariance });
        measures.major_axis_um = ellipse.major_axis;
        measures.minor_axis_um = ellipse.minor_axis;
        measures.eccentricity = ellipse.eccentricity;
        measures.orientation_rad = ellipse.orientation_rad;
        measures
    }
}

/// [`perimeter::of_box_px`](super::perimeter::of_box_px) in micrometres.
fn box_perimeter_um([top, left, bottom, right]: [u32; 4], y_um: f64, x_um: f64) -> f64 {
    let (rows, columns) = (f64::from(bottom - top), f64::from(right - left));
    match (bottom - top, right - left) {
        (1, _) => (columns - 2.0).max(0.0) * x_um,
        (_, 1) => (rows - 2.0).max(0.0) * y_um,
        _ => 2.0 * ((rows - 1.0) * y_um + (columns - 1.0) * x_um),
    }
}

/// How much longer the outline is on pixels of `[y, x]` than on pixels of side 1. Memory: some rows of the box.
fn stretch([top, left, bottom, right]: [u32; 4], [y, x]: [f64; 2], is_inside: &dyn Fn(u32, u32) -> bool) -> f64 {
    // The mask extends this far beyond its box when it is smoothed.
    const MARGIN: u32 = 2;
    const WEIGHTS: [f64; 5] = [1.0, 4.0, 6.0, 4.0, 1.0];
    let smooth =
        |values: [f64; 5]| values.iter().zip(WEIGHTS).map(|(value, weight)| value * weight).sum::<f64>() / 16.0;
    let width = (right - left + 2 * (MARGIN + 1)) as usize;
    // An extra margin on both sides, so that all five neighbours exist.
    let mut mask = vec![0.0; width + 2 * MARGIN as usize];
    let mut rows: [Vec<f64>; 5] = std::array::from_fn(|_| vec![0.0; width]);
    let (mut last, mut here) = (vec![0.0; width], vec![0.0; width]);
    let (mut stretched, mut plain) = (0.0, 0.0);
    for row in top..bottom + 2 * MARGIN + 1 {
        rows.rotate_left(1);
        if row < bottom {
            for column in left..right {
                mask[(column - left + 2 * MARGIN + 1) as usize] = f64::from(u8::from(is_inside(row, column)));
            }
            for (column, value) in rows[4].iter_mut().enumerate() {
                *value = smooth(std::array::from_fn(|k| mask[column + k]));
            }
        } else {
            rows[4].fill(0.0);
        }
        for (column, value) in here.iter_mut().enumerate() {
            *value = smooth(std::array::from_fn(|k| rows[k][column]));
        }
        for (above, below) in last.windows(2).zip(here.windows(2)) {
            let dx = (above[1] - above[0] + below[1] - below[0]) / 2.0;
            let dy = (below[0] - above[0] + below[1] - above[1]) / 2.0;
            stretched += (dx * y).hypot(dy * x);
            plain += dx.hypot(dy);
        }
        std::mem::swap(&mut last, &mut here);
    }
    stretched / plain
}
