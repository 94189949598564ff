use std::f64::consts::SQRT_2;

use rayon::prelude::*;

use super::measure::Run;
use crate::LabelMap;

/// Whether each pixel of a region lies on its outline: one of its four neighbours does not belong to the region.
pub(super) fn outlines(map: &LabelMap) -> Vec<bool> {
    let (width, height) = (map.width, map.height);
    let mut outlines = vec![false; map.labels.len()];
    outlines.par_chunks_mut(width.max(1)).enumerate().for_each(|(row, out)| {
        let line = |row: usize| &map.labels[row * width..][..width];
        let here = line(row);
        if row == 0 || row + 1 == height {
            out.iter_mut().zip(here).for_each(|(out, &label)| *out = label != 0);
            return;
        }
        let (above, below) = (line(row - 1), line(row + 1));
        for column in [0, width - 1] {
            out[column] = here[column] != 0;
        }
        for column in 1..width.saturating_sub(1) {
            let label = here[column];
            out[column] = (label != 0)
                & ((above[column] != label)
                    | (below[column] != label)
                    | (here[column - 1] != label)
                    | (here[column + 1] != label));
        }
    });
    outlines
}

/// Length of the outline of the region of `runs`: each outline pixel counts according to the positions of its outline
/// neighbours (Benkrid and Crookes 2000), as in `skimage.measure.perimeter` with 4 neighbours.
pub(super) fn length_px(map: &LabelMap, outlines: &[bool], runs: &[Run]) -> f64 {
    let (width, height) = (map.width, map.height);
    let (mut ones, mut diagonals, mut bends) = (0u64, 0u64, 0u64);
    for run in runs {
        let row = run.row as usize;
        for column in run.start as usize..run.end as usize {
            let here = row * width + column;
            if !outlines[here] {
                continue;
            }
            let mut code = 1;
            for r in row.saturating_sub(1)..(row + 2).min(height) {
                for c in column.saturating_sub(1)..(column + 2).min(width) {
                    let other = r * width + c;
                    if other != here && outlines[other] && map.labels[other] == run.label {
                        code += if r == row || c == column { 2 } else { 10 };
                    }
                }
            }
            match code {
                5 | 7 | 15 | 17 | 25 | 27 => ones += 1,
                21 | 33 => diagonals += 1,
                13 | 23 => bends += 1,
                _ => {}
            }
        }
    }
    ones as f64 + diagonals as f64 * SQRT_2 + bends as f64 * (1.0 + SQRT_2) / 2.0
}

/// [`length_px`] of a rectangle.
pub(super) fn of_box_px(rows: u64, columns: u64) -> f64 {
    match rows.min(columns) {
        0 => 0.0,
        1 => rows.max(columns).saturating_sub(2) as f64,
        _ => (2 * (rows + columns) - 4) as f64,
    }
}
