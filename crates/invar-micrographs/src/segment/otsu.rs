use serde::{Deserialize, Serialize};

use super::{Plane, Polarity, Window, denoise, distance, merge, refusal, threshold, watershed};
use crate::{Error, ImageRef, Levels};

/// Particles by Otsu's threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtsuConfig {
    /// Whether particles are brighter or darker than the background. By default the background is what fills the larger
    /// part of the image and of its edge.
    pub particles: Polarity,
    /// Gaussian blur before the threshold, in pixels.
    pub sigma_px: f32,
    /// Whether background enclosed by a particle belongs to it.
    pub fill_holes: bool,
    /// Whether touching particles are separated at their necks, by a watershed of the distance to the background.
    pub split: bool,
    /// How much narrower than the smaller of two particles their neck must be to separate them, as a difference of
    /// inscribed radii, in pixels.
    pub min_neck_px: f32,
    /// Particles with fewer pixels are dropped.
    pub min_size_px: u32,
}

impl Default for OtsuConfig {
    fn default() -> Self {
        Self {
            particles: Polarity::Auto,
            sigma_px: 1.0,
            fill_holes: true,
            split: true,
            min_neck_px: 1.5,
            min_size_px: 30,
        }
    }
}

impl OtsuConfig {
    pub(super) fn validate(&self) -> Result<(), Error> {
        if !(0.0..=100.0).contains(&self.sigma_px) {
            return Err(refusal("sigma_px", "0 to 100", self.sigma_px));
        }
        if !(self.min_neck_px > 0.0 && self.min_neck_px.is_finite()) {
            return Err(refusal("min_neck_px", "more than 0", self.min_neck_px));
        }
        Ok(())
    }
}

/// Labels `1..=n` of the particles, 0 elsewhere.
pub(super) fn segment(image: ImageRef<'_>, levels: Levels, config: &OtsuConfig) -> Vec<u32> {
    let (width, height) = (image.width, image.height);
    let mut plane = Plane::grey(image, levels, &Window::whole(image));
    denoise::gaussian(&mut plane, config.sigma_px);
    let Some(threshold) = threshold::otsu(&plane) else { return vec![0; plane.values.len()] };
    let mut mask: Vec<bool> = plane.values.iter().map(|&value| value > threshold).collect();
    drop(plane);
    let dark = match config.particles {
        Polarity::Auto => mostly(&mask, width, height),
        Polarity::Dark => true,
        Polarity::Bright => false,
    };
    if dark {
        mask.iter_mut().for_each(|inside| *inside = !*inside);
    }
    if config.fill_holes {
        fill_holes(&mut mask, width, height);
    }
    let landscape = if config.split {
        let distances = Plane { width, height, values: distance::distances_px(&mask, width, height) };
        watershed::quantize(&distances, true)
    } else {
        watershed::Quantized { values: vec![0; mask.len()], step: 1.0 }
    };
    let mut labels = watershed::flood_from_minima(&landscape, width, height, Some(&mask), config.min_neck_px);
    merge::drop_small(&mut labels, config.min_size_px);
    labels
}

/// Whether `mask` fills more than half, where the area and the edge of the image count equally.
pub(super) fn mostly(mask: &[bool], width: usize, height: usize) -> bool {
    let share = |(inside, all): (usize, usize)| inside as f64 / all.max(1) as f64;
    let count = |(inside, all): (usize, usize), &value: &bool| (inside + usize::from(value), all + 1);
    let area = mask.iter().fold((0, 0), count);
    let edges = [&mask[..width], &mask[(height - 1) * width..]].into_iter().flatten();
    let sides = mask.chunks(width).flat_map(|row| [&row[0], &row[width - 1]]);
    let edge = edges.chain(sides).fold((0, 0), count);
    share(area) + share(edge) > 1.0
}

/// Adds to `mask` whatever is not connected to the edge of the image by 4-connected pixels outside `mask`.
pub(super) fn fill_holes(mask: &mut [bool], width: usize, height: usize) {
    let mut outside = vec![false; mask.len()];
    let mut stack = Vec::new();
    let mut reach = |pixel: usize, stack: &mut Vec<u32>| {
        if !mask[pixel] && !outside[pixel] {
            outside[pixel] = true;
            stack.push(pixel as u32);
        }
    };
    for column in 0..width {
        reach(column, &mut stack);
        reach((height - 1) * width + column, &mut stack);
    }
    for row in 0..height {
        reach(row * width, &mut stack);
        reach(row * width + width - 1, &mut stack);
    }
    while let Some(pixel) = stack.pop() {
        watershed::each_neighbor(pixel as usize, width, height, |next| reach(next, &mut stack));
    }
    mask.iter_mut().zip(&outside).for_each(|(inside, outside)| *inside = !outside);
}
