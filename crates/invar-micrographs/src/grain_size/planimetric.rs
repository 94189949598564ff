use std::collections::HashMap;

use super::{GrainSize, statistics};
use crate::{LabelMap, PixelSize};

/// Grains counted in a rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlanimetricField {
    /// Grains completely inside.
    pub num_inside: u64,
    /// Grains cut by the edge, except those at a corner.
    pub num_cut: u64,
    /// Grains at a corner.
    pub num_corner: u64,
    /// Area, in square millimetres.
    pub area_mm2: f64,
}

impl PlanimetricField {
    /// Number of grains in the field: those inside count fully, cut ones half, those at a corner a quarter (Saltykov's
    /// rectangle; on a circle Jeffries counts all cut ones as half).
    pub fn count(&self) -> f64 {
        self.num_inside as f64 + self.num_cut as f64 / 2.0 + self.num_corner as f64 / 4.0
    }
}

/// Cuts `map` into `per_side` x `per_side` fields and counts grains in each. E112 requires about 50 grains per field
/// and at least 3 fields; one image then has a confidence interval of its own. Background is part of the area: so are
/// boundary lines.
pub fn planimetric_fields(map: &LabelMap, pixel_size: PixelSize, per_side: usize) -> Vec<PlanimetricField> {
    let per_side = per_side.max(1);
    let cuts = |length: usize| -> Vec<usize> { (0..=per_side).map(|i| i * length / per_side).collect() };
    let (rows, columns) = (cuts(map.height), cuts(map.width));
    let fields = rows.windows(2).flat_map(|r| columns.windows(2).map(move |c| [r[0], c[0], r[1], c[1]]));
    fields
        .filter(|[top, left, bottom, right]| top < bottom && left < right)
        .map(|field| count(map, pixel_size, field))
        .collect()
}

fn count(map: &LabelMap, pixel_size: PixelSize, [top, left, bottom, right]: [usize; 4]) -> PlanimetricField {
    // 0 inside, 1 cut, 2 at a corner.
    let mut places: HashMap<u32, u8> = HashMap::new();
    let mut last = (0, u8::MAX);
    for row in top..bottom {
        let on_row = u8::from(row == top || row + 1 == bottom);
        for column in left..right {
            let label = map.labels[row * map.width + column];
            let place = on_row + u8::from(column == left || column + 1 == right);
            if label != 0 && last != (label, place) {
                places.entry(label).and_modify(|most| *most = (*most).max(place)).or_insert(place);
                last = (label, place);
            }
        }
    }
    let number = |place: u8| places.values().filter(|&&found| found == place).count() as u64;
    let area_nm2 = ((bottom - top) * (right - left)) as f64 * pixel_size.x_nm * pixel_size.y_nm;
    PlanimetricField { num_inside: number(0), num_cut: number(1), num_corner: number(2), area_mm2: area_nm2 * 1e-12 }
}

/// Grain size from counts, of one image or of many; `None` without fields or grains. Fields are weighted by their area.
pub fn grain_size_by_counting(fields: &[PlanimetricField]) -> Option<GrainSize> {
    let count: f64 = fields.iter().map(PlanimetricField::count).sum();
    if count <= 0.0 {
        return None;
    }
    let weights: Vec<f64> = fields.iter().map(|field| field.area_mm2).collect();
    let densities: Vec<f64> = fields.iter().map(|field| field.count() / field.area_mm2).collect();
    let (mean, spread) = statistics(&densities, &weights);
    // The digits of the standard, not log2(10).
    #[expect(clippy::approx_constant)]
    let number = |density: f64| 3.321_928 * density.log10() - 2.954;
    let half = spread.map(|(_, half)| half);
    Some(GrainSize {
        number: number(mean),
        number_low: half.map(|half| number((mean - half).max(f64::MIN_POSITIVE))),
        number_high: half.map(|half| number(mean + half)),
        mean,
        standard_deviation: spread.map(|(deviation, _)| deviation),
        confidence_95: half,
        relative_accuracy_percent: half.map(|half| 100.0 * half / mean),
        num_fields: fields.len(),
        count,
    })
}
