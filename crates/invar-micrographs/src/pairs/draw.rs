//! Draws numbers and places.

use std::ops::Range;

use invar_dataset::seed::{self, Rng};

use crate::{
    Grain,
    views::{Frame, ViewMaker},
};

/// Uniform between two numbers.
pub(super) fn between([low, high]: [f64; 2], rng: &mut Rng) -> f64 {
    low + seed::uniform(rng) * (high - low)
}

/// Log-uniform between two positive numbers: as likely to be halved as doubled.
pub(super) fn log_uniform([low, high]: [f64; 2], rng: &mut Rng) -> f64 {
    low * (seed::uniform(rng) * (high / low).ln()).exp()
}

/// A shift, uniform over the disc of a radius in square-equivalent pixels; source pixels `[down, right]`.
pub(super) fn shift(frame: &Frame, radius: f64, rng: &mut Rng) -> [f64; 2] {
    let radius = radius * seed::uniform(rng).sqrt();
    let (sin, cos) = (seed::uniform(rng) * std::f64::consts::TAU).sin_cos();
    [radius * sin * frame.aspect[0], radius * cos * frame.aspect[1]]
}

/// Rows and columns of the region where the centre of a crop may lie.
pub(super) fn room(maker: &ViewMaker, frame: &Frame, side_px: f64) -> [Range<f64>; 2] {
    [0, 1].map(|axis| {
        let [first, last] = frame.region_px(axis);
        let travel = maker.travel(frame, axis, side_px);
        let (start, end) = (first.max(travel.start), last.min(travel.end));
        if start <= end { start..end } else { frame.center_px[axis]..frame.center_px[axis] }
    })
}

/// Number of tries to find a point of a grain in its box.
const TRIES: usize = 64;

/// Any place of the region, as an offset: pixels of the grain are equally likely, and so are places of a tile or image
/// where the whole field lies inside.
pub(super) fn place(maker: &ViewMaker, grain: &Grain, frame: &Frame, side_px: f64, rng: &mut Rng) -> [f64; 2] {
    let room = room(maker, frame, side_px);
    let mask = grain.mask();
    for _ in 0..TRIES {
        let point = [0, 1].map(|axis: usize| between([room[axis].start, room[axis].end], rng));
        if mask.is_full() || mask.contains(point[0].round() as u32, point[1].round() as u32) {
            return [0, 1].map(|axis| point[axis] - frame.center_px[axis]);
        }
    }
    [0.0; 2]
}
