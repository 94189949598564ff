//! Synthetic micrographs of polycrystals, with the grain that each pixel belongs to: training data for the boundary
//! network, and pictures with exactly known grains for evaluating segmentations.
//!
//! A picture is drawn at twice its size: grains of a Laguerre tessellation (Fan, Wu, Zhao and Lu, *Computational
//! Materials Science* 29, 2004) on a warped plane; lines dark or bright along their boundaries, or steps of grey across
//! them, or both; features inside grains that are not boundaries (twins, lamellae, needles, scratches, pits); and then
//! the effects of the instrument: blur, uneven light, noise, JPEG. Everything follows from the seed and the number of
//! the picture.

mod camera;
mod draw;
mod flaws;
mod paint;
mod smooth;
mod specimen;
mod tessellation;

#[cfg(test)]
mod tests;

use invar_dataset::seed;

pub use self::specimen::{Lines, NewKind};
use self::{
    draw::Draw,
    specimen::Specimen,
    tessellation::{Cells, SCALE},
};
use crate::{
    LabelMap,
    segment::{learned::BOUNDARY_PX, merge_small},
};

/// A picture and its ground truth.
#[derive(Clone, Debug)]
pub struct SyntheticMicrograph {
    /// Pixels per side.
    pub side_px: usize,
    /// Grey, `[side, side]`, 0 to 1 in steps of 1/255.
    pub grey: Vec<f32>,
    /// What separates the grains.
    pub lines: Lines,
    /// The grain that each pixel belongs to, `1..=n`; grains are connected, and have at least 12 pixels.
    pub labels: LabelMap,
    /// Whether the middle of a boundary is within 0.8 pixels, `[side, side]`.
    pub is_boundary: Vec<bool>,
    /// How visible a boundary within 2 pixels is, 0 to 1, from the strength of its line and its step of grey before
    /// gaps, blur and noise; 1 away from boundaries. `[side, side]`.
    pub plainness: Vec<f32>,
}

/// Draws picture `index` of those that the network is trained on.
///
/// # Panics
/// If `side_px` is 0 or more than 4096.
pub fn training_micrograph(side_px: usize, seed: u64, index: u64) -> SyntheticMicrograph {
    let mut draw = Draw(seed::rng(seed, index));
    let specimen = Specimen::for_training(&mut draw);
    render(&mut draw, side_px, &specimen)
}

/// Draws picture `index` of a kind that the network was not trained on: see [`NewKind`].
///
/// # Panics
/// As [`training_micrograph`].
pub fn new_micrograph(kind: NewKind, side_px: usize, seed: u64, index: u64) -> SyntheticMicrograph {
    let mut draw = Draw(seed::rng(seed::mix(seed, kind as u64 + 1), index));
    let specimen = Specimen::of_new_kind(&mut draw, kind);
    render(&mut draw, side_px, &specimen)
}

/// Grains with fewer pixels are merged with a neighbour.
const MIN_GRAIN_PX: u32 = 12;

fn render(draw: &mut Draw, side_px: usize, specimen: &Specimen) -> SyntheticMicrograph {
    assert!((1..=4096).contains(&side_px), "1 to 4096 pixels on a side, not {side_px}");
    let cells = if specimen.lines == Lines::None {
        Cells::one(side_px)
    } else {
        tessellation::tessellate(draw, side_px, &specimen.shape)
    };
    let mut canvas = paint::grains(draw, &cells, specimen);
    flaws::add(draw, &cells, specimen, &mut canvas.grey);
    let mut grey = camera::reduced(&canvas.grey, cells.side);
    camera::expose(draw, side_px, &specimen.camera, &mut grey);
    let distance = pooled(&cells.distance_px, cells.side, f32::min);
    let plain = camera::reduced(&canvas.plainness, cells.side);
    let plainness = distance.iter().zip(plain).map(|(&d, plain)| if d <= 2.0 { plain } else { 1.0 }).collect();
    SyntheticMicrograph {
        side_px,
        grey,
        lines: specimen.lines,
        labels: label_map(&cells, side_px),
        is_boundary: distance.iter().map(|&d| d <= BOUNDARY_PX).collect(),
        plainness,
    }
}

/// The sub-pixels of each pixel combined by `f`.
fn pooled(values: &[f32], side: usize, f: fn(f32, f32) -> f32) -> Vec<f32> {
    let out = side / SCALE;
    (0..out * out)
        .map(|i| {
            let first = i / out * SCALE * side + i % out * SCALE;
            [first + 1, first + side, first + side + 1].into_iter().fold(values[first], |a, j| f(a, values[j]))
        })
        .collect()
}

/// The pieces of the grains, numbered; small ones are merged with a neighbour.
fn label_map(cells: &Cells, side_px: usize) -> LabelMap {
    let grain = |i: usize| cells.grain[i / side_px * SCALE * cells.side + i % side_px * SCALE];
    let grains: Vec<u32> = (0..side_px * side_px).map(grain).collect();
    let mut labels = vec![0; grains.len()];
    let mut number = 0;
    let mut stack = Vec::new();
    for start in 0..grains.len() {
        if labels[start] != 0 {
            continue;
        }
        number += 1;
        labels[start] = number;
        stack.push(start);
        while let Some(pixel) = stack.pop() {
            crate::segment::each_neighbor(pixel, side_px, side_px, |next| {
                if labels[next] == 0 && grains[next] == grains[pixel] {
                    labels[next] = number;
                    stack.push(next);
                }
            });
        }
    }
    merge_small(&mut labels, side_px, MIN_GRAIN_PX);
    LabelMap { width: side_px, height: side_px, labels }
}
