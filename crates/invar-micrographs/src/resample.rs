//! Views from stored pixels: any place, angle and scale, by one interpolation of the full-resolution source.
//!
//! ```text
//! stored pixels -> patch (f32, reflected edges, boxes of f x f pixels) -> fine grid (rotated, interpolated)
//!               -> view (every ss-th point of the low-passed grid)     -> 0 .. 1 by the levels of the image
//! ```
//!
//! If a view has fewer pixels than what it shows, the grid is sampled `ss` times finer than the view and low-passed
//! *along the axes of the view*, so that the blur of a view is the same at every angle and no network can recognise the
//! angle from it. Above a reduction of 4, boxes of source pixels are averaged first; a reduction of at least 2 is left
//! to the filter of the view. Steps of whole pixels at multiples of 90 degrees copy pixels exactly.

mod decimate;
mod grid;
mod patch;

use std::cell::RefCell;

use serde::{Deserialize, Serialize};

use crate::{ImageRef, Levels, PixelsRef};
use decimate::Decimator;
use grid::Grid;
use patch::Patch;
pub(crate) use patch::Plane;

/// How values between pixels are interpolated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// From the surrounding 2 x 2 pixels. Faster, and blurs more.
    Bilinear,
    /// From the surrounding 4 x 4 pixels (Catmull-Rom; Keys 1981, a = -1/2).
    #[default]
    Bicubic,
}

/// Where a view lies in its source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// `[row, column]` of the view's centre, in source pixels; pixel centres are integers.
    pub center_px: [f64; 2],
    /// How far the source is rotated counter-clockwise, in degrees.
    pub angle_deg: f64,
    /// Source pixels per view pixel, `[down, across]` the source; different if its pixels are not square.
    pub step_px: [f64; 2],
    /// Whether left and right of the rotated view are swapped.
    pub mirror: bool,
}

/// Which part of a view is used: the rest may stay empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Extent {
    /// All of it.
    Square,
    /// The inscribed disc and this many view pixels around it.
    Disc {
        /// Margin beyond the disc.
        margin_px: f64,
    },
}

/// Normalised values may exceed 0 and 1 by this much before they are clipped.
pub const CLIP: f32 = 0.5;

impl Placement {
    /// Source `[row, column]` steps of one view pixel `[down, right]`: `source = center + matrix * view`.
    fn matrix(&self) -> [[f64; 2]; 2] {
        let (sin, cos) = sin_cos_deg(self.angle_deg);
        let [down, across] = self.step_px;
        let flip = if self.mirror { -1.0 } else { 1.0 };
        [[down * cos, down * sin * flip], [-across * sin, across * cos * flip]]
    }
}

/// The view of `size_px` x `size_px` pixels at `placement`: `[channels, size, size]`, with values scaled by `levels`,
/// clipped at [`CLIP`] beyond 0 and 1. Beyond its edges the source continues as its mirror image.
///
/// # Panics
/// If the source or the view has no pixels, or the step is not a positive number.
pub fn resample(
    image: ImageRef<'_>,
    levels: Levels,
    size_px: usize,
    placement: &Placement,
    interpolation: Interpolation,
    extent: Extent,
) -> Vec<f32> {
    let mut values = vec![0.0; image.channels * size_px * size_px];
    let plane_len = image.width * image.height;
    for (channel, view) in values.chunks_exact_mut(size_px * size_px).enumerate() {
        let range = channel * plane_len..(channel + 1) * plane_len;
        match image.pixels {
            PixelsRef::U8(pixels) => {
                resample_plane(&(image.width, &pixels[range]), size_px, placement, interpolation, extent, view);
            }
            PixelsRef::U16(pixels) => {
                resample_plane(&(image.width, &pixels[range]), size_px, placement, interpolation, extent, view);
            }
            PixelsRef::F32(pixels) => {
                resample_plane(&(image.width, &pixels[range]), size_px, placement, interpolation, extent, view);
            }
        }
    }
    let scale = 1.0 / (levels.high - levels.low);
    for value in &mut values {
        *value = ((*value - levels.low) * scale).clamp(-CLIP, 1.0 + CLIP);
    }
    values
}

/// One plane, values as stored.
pub(crate) fn resample_plane<P: Plane>(
    source: &P,
    size_px: usize,
    placement: &Placement,
    interpolation: Interpolation,
    extent: Extent,
    view: &mut [f32],
) {
    assert!(size_px > 0 && source.width() > 0 && source.height() > 0, "a view of {size_px} px of an empty source");
    let [down, across] = placement.step_px;
    assert!(down > 0.0 && across > 0.0 && down.is_finite() && across.is_finite(), "steps of {down} x {across} px");
    let coarse = down.max(across);
    // Boxes leave a reduction of at least 2 to the filter of the view.
    let boxes = (down.min(across) / 2.0).floor().max(1.0) as usize;
    // A step of 1.125 is accepted: the interpolation itself suppresses what would alias.
    let finer = ((coarse / boxes as f64) - 0.125).ceil().max(1.0) as usize;
    SCRATCH.with_borrow_mut(|scratch| {
        let Scratch { patch, decimator } = scratch;
        decimator.prepare(size_px, finer, interpolation);
        let grid = Grid::new(placement, decimator.num_points(), finer, extent, size_px);
        patch.read(source, grid.bounds(), boxes);
        if finer == 1 {
            for (i, out) in view.chunks_exact_mut(size_px).enumerate() {
                grid.sample_row(patch, i, interpolation, out);
            }
        } else {
            decimator.run(view, |i, out| grid.sample_row(patch, i, interpolation, out));
        }
    });
}

/// Buffers of a thread, so that nothing is allocated for a view except the view.
#[derive(Default)]
struct Scratch {
    patch: Patch,
    decimator: Decimator,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Sine and cosine, exact at multiples of 90 degrees.
fn sin_cos_deg(angle_deg: f64) -> (f64, f64) {
    let quarters = (angle_deg / 90.0).round();
    let (sin, cos) = (angle_deg - 90.0 * quarters).to_radians().sin_cos();
    match quarters.rem_euclid(4.0) as u8 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

#[cfg(test)]
mod tests;
