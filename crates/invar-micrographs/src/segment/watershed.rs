mod flood;
mod minima;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Plane, Polarity, Window, denoise, distance, gradient, merge, refusal, threshold};
use crate::{Error, ImageRef, Levels};

/// Grains by a watershed from the minima of a landscape (Meyer's flooding, as in `skimage.segmentation.watershed`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatershedConfig {
    /// What separates the grains.
    pub landscape: Landscape,
    /// Whether boundaries are darker or brighter than grains; not used for `gradient`.
    pub boundaries: Polarity,
    /// Median filter before anything else, half of its side, in pixels; against single bad pixels and scratches.
    pub median_radius_px: u32,
    /// Gaussian blur after it, in pixels.
    pub sigma_px: f32,
    /// How far the boundary of two grains must rise above the shallower of them, as a fraction of the image's levels,
    /// or in pixels for `distance`. By default 0.03 for `gradient`, 0.1 for `boundaries`, 1 pixel for `distance`.
    pub min_depth: Option<f32>,
    /// Grains with fewer pixels are small.
    pub min_size_px: u32,
    /// How they are treated.
    pub small: SmallGrains,
}

/// What a watershed floods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Landscape {
    /// Magnitude of the gradient, all channels together: grains that differ in brightness or colour.
    #[default]
    Gradient,
    /// Darkness (or brightness) itself: closed boundary lines.
    Boundaries,
    /// Distance to the boundary lines, inverted: for boundary lines with gaps. The lines are what lies below (above)
    /// the local mean by more than Otsu's threshold.
    Distance,
}

/// How grains that are too small are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SmallGrains {
    /// Each is merged with the neighbour with which it shares the longest boundary, smallest first.
    #[default]
    Merge,
    /// They become background.
    Drop,
}

impl Default for WatershedConfig {
    fn default() -> Self {
        Self {
            landscape: Landscape::Gradient,
            boundaries: Polarity::Auto,
            median_radius_px: 0,
            sigma_px: 2.0,
            min_depth: None,
            min_size_px: 50,
            small: SmallGrains::Merge,
        }
    }
}

impl WatershedConfig {
    pub(super) fn validate(&self) -> Result<(), Error> {
        if !(0.0..=100.0).contains(&self.sigma_px) {
            return Err(refusal("sigma_px", "0 to 100", self.sigma_px));
        }
        if self.median_radius_px > 20 {
            return Err(refusal("median_radius_px", "0 to 20", self.median_radius_px));
        }
        if let Some(depth) = self.min_depth.filter(|depth| !(*depth >= 0.0 && depth.is_finite())) {
            return Err(refusal("min_depth", "0 or more", depth));
        }
        Ok(())
    }

    fn depth(&self) -> f32 {
        self.min_depth.unwrap_or(match self.landscape {
            Landscape::Gradient => 0.03,
            Landscape::Boundaries => 0.1,
            Landscape::Distance => 1.0,
        })
    }
}

/// Labels `1..=n` of the grains; every pixel belongs to one unless small grains are dropped.
pub(super) fn segment(image: ImageRef<'_>, levels: Levels, config: &WatershedConfig) -> Vec<u32> {
    let (width, height) = (image.width, image.height);
    if width == 0 || height == 0 {
        return Vec::new();
    }
    let quantized = match config.landscape {
        Landscape::Gradient => quantize(&gradient_of(image, levels, config), false),
        Landscape::Boundaries => {
            let plane = denoised(Plane::grey(image, levels, &Window::whole(image)), config);
            quantize(&plane, boundaries_are_dark(&plane, config.boundaries))
        }
        Landscape::Distance => {
            let mask =
                grains_between_lines(denoised(Plane::grey(image, levels, &Window::whole(image)), config), config);
            quantize(&Plane { width, height, values: distance::distances_px(&mask, width, height) }, true)
        }
    };
    let mut labels = flood_from_minima(&quantized, width, height, None, config.depth());
    match config.small {
        SmallGrains::Merge => merge::merge_small(&mut labels, width, config.min_size_px),
        SmallGrains::Drop => merge::drop_small(&mut labels, config.min_size_px),
    }
    labels
}

fn denoised(mut plane: Plane, config: &WatershedConfig) -> Plane {
    denoise::median(&mut plane, config.median_radius_px as usize);
    denoise::gaussian(&mut plane, config.sigma_px);
    plane
}

fn gradient_of(image: ImageRef<'_>, levels: Levels, config: &WatershedConfig) -> Plane {
    let mut values = vec![0.0; image.width * image.height];
    for channel in 0..image.channels {
        gradient::add_squared(
            &denoised(Plane::channel(image, levels, channel, &Window::whole(image)), config),
            &mut values,
        );
    }
    values.par_iter_mut().for_each(|value| *value = value.sqrt());
    Plane { width: image.width, height: image.height, values }
}

/// Pixels off lines are near the local mean, those on lines far on one side of it: the sign of the skewness.
fn boundaries_are_dark(plane: &Plane, polarity: Polarity) -> bool {
    match polarity {
        Polarity::Dark => true,
        Polarity::Bright => false,
        Polarity::Auto => {
            let means = threshold::local_mean(plane, LOCAL_RADIUS_PX);
            let cubes = plane.values.iter().zip(&means).map(|(&value, &mean)| f64::from(value - mean).powi(3));
            cubes.sum::<f64>() <= 0.0
        }
    }
}

/// Half the side of the square that is "local" to a pixel.
const LOCAL_RADIUS_PX: usize = 25;

fn grains_between_lines(mut plane: Plane, config: &WatershedConfig) -> Vec<bool> {
    let sign = if boundaries_are_dark(&plane, config.boundaries) { 1.0 } else { -1.0 };
    let means = threshold::local_mean(&plane, LOCAL_RADIUS_PX);
    plane.values.iter_mut().zip(&means).for_each(|(value, &mean)| *value = sign * (*value - mean));
    match threshold::otsu(&plane) {
        Some(threshold) => plane.values.iter().map(|&value| value > threshold).collect(),
        None => vec![true; plane.values.len()],
    }
}

/// A landscape in 65,536 steps.
pub(super) struct Quantized {
    pub values: Vec<u16>,
    /// Height of a step, in the landscape's unit.
    pub step: f32,
}

/// Scales `plane` to `0..=65535`, inverted if peaks are to become minima.
pub(super) fn quantize(plane: &Plane, invert: bool) -> Quantized {
    let (low, high) = plane.range();
    let top = f32::from(u16::MAX);
    let step = if high > low { (high - low) / top } else { 1.0 };
    let scale = |value: f32| ((value - low) / step).round().clamp(0.0, top) as u16;
    let values = plane.values.par_iter().map(|&v| if invert { u16::MAX - scale(v) } else { scale(v) }).collect();
    Quantized { values, step }
}

/// Floods `landscape` from its minima of at least `min_depth`, within `mask`: labels `1..=n` in the order of the
/// minima's first pixels, 0 outside `mask`.
pub(super) fn flood_from_minima(
    landscape: &Quantized,
    width: usize,
    height: usize,
    mask: Option<&[bool]>,
    min_depth: f32,
) -> Vec<u32> {
    let depth = (min_depth / landscape.step).ceil().clamp(1.0, 65536.0) as u32;
    let mut labels = minima::markers(&landscape.values, width, height, mask, depth);
    flood::flood(&landscape.values, width, height, mask, &mut labels);
    labels
}

/// Calls `f` with the 4-connected neighbours of `pixel`: above, left, right, below.
#[inline]
pub(crate) fn each_neighbor(pixel: usize, width: usize, height: usize, mut f: impl FnMut(usize)) {
    let column = pixel % width;
    if pixel >= width {
        f(pixel - width);
    }
    if column > 0 {
        f(pixel - 1);
    }
    if column + 1 < width {
        f(pixel + 1);
    }
    if pixel + width < width * height {
        f(pixel + width);
    }
}
