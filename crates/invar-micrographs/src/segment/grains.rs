//! Grains without settings: what parts them is measured on each image, and said.

mod choice;
mod measures;

use serde::{Deserialize, Serialize};

use self::choice::Choice;
use super::{
    OtsuConfig, Plane, Polarity, otsu, refusal, ridge,
    weakest::{MOVED, Merging, Stop},
};
use crate::{Error, ImageRef, LabelMap, Levels, PixelSize, PixelSizeSource, TestLines};

/// Grains and particles found by what is measured on the image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrainsConfig {
    /// What parts the grains.
    pub landscape: GrainLandscape,
    /// Whether lines (or particles) are darker or brighter than what is around them; without meaning for `steps`.
    pub boundaries: Polarity,
    /// Half the width of lines, or the blur of steps, pixels: sigma of a Gaussian. By default measured.
    pub sigma_px: Option<f32>,
    /// Grains of fewer pixels join a neighbour, across their weakest boundary; particles are dropped. By default the area of a
    /// disc of radius two sigma and nine more, of particles 30.
    pub min_size_px: Option<u32>,
}

/// What parts grains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrainLandscape {
    /// Chosen on each image.
    #[default]
    Auto,
    /// Lines between them, as etching leaves.
    Lines,
    /// Steps of brightness from one to the next.
    Steps,
    /// Ground: they are particles that lie apart, on it.
    Particles,
}

/// What an image was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrainKind {
    /// Grains parted by dark lines.
    DarkLines,
    /// Grains parted by bright lines.
    BrightLines,
    /// Grains parted by steps of brightness.
    Steps,
    /// Particles darker than their ground.
    DarkParticles,
    /// Particles brighter than their ground.
    BrightParticles,
}

/// What was decided about an image, and how far it is to be trusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrainFacts {
    /// What it was taken for.
    pub kind: GrainKind,
    /// Why, in a sentence.
    pub reason: String,
    /// Half the width of lines, or the blur, pixels.
    pub sigma_px: f32,
    /// Strength at which boundaries begin, as a share of the grey range; absent of particles, and where nothing is parted.
    pub threshold: Option<f64>,
    /// By how many per cent the length of the boundaries changes when the threshold changes by one; absent likewise.
    pub exponent: Option<f64>,
    /// Mean intercept length with the threshold over 1.25, as it is, and times 1.25, pixels; absent where no boundary is crossed.
    pub intercepts_px: [Option<f64>; 3],
    /// Why the grains are not to be trusted as they are, in words; absent where nothing speaks against them.
    pub doubt: Option<String>,
}

impl GrainsConfig {
    pub(super) fn validate(&self) -> Result<(), Error> {
        match self.sigma_px.filter(|sigma| !(0.3..=20.0).contains(sigma)) {
            Some(sigma) => Err(refusal("sigma_px", "0.3 to 20", sigma)),
            None => Ok(()),
        }
    }
}

/// Exponent above which a grain-size number is not to be trusted.
const DOUBTFUL: f64 = 0.7;

/// Labels `1..=n`, 0 on the ground between particles.
pub(super) fn segment(image: ImageRef<'_>, levels: Levels, config: &GrainsConfig) -> (Vec<u32>, GrainFacts) {
    let plane = Plane::grey(image, levels);
    let Choice { kind, sigma_px, reason, nothing } = choice::choose(&plane, config);
    let (width, height) = (plane.width, plane.height);
    match kind {
        GrainKind::DarkParticles | GrainKind::BrightParticles => {
            drop(plane);
            let polarity = if kind == GrainKind::DarkParticles { Polarity::Dark } else { Polarity::Bright };
            let defaults = OtsuConfig::default();
            let min_size_px = config.min_size_px.unwrap_or(defaults.min_size_px);
            let particles = OtsuConfig { particles: polarity, min_size_px, ..defaults };
            let labels = otsu::segment(image, levels, &particles);
            let facts = GrainFacts {
                kind,
                reason,
                sigma_px: particles.sigma_px,
                threshold: None,
                exponent: None,
                intercepts_px: [None; 3],
                doubt: nothing,
            };
            (labels, facts)
        }
        GrainKind::DarkLines | GrainKind::BrightLines | GrainKind::Steps => {
            let strength = match kind {
                GrainKind::Steps => ridge::steps(&plane, sigma_px),
                _ => ridge::lines(&plane, kind == GrainKind::DarkLines, sigma_px),
            };
            drop(plane);
            let min_size_px = config.min_size_px.map_or_else(|| least_px(sigma_px), u64::from);
            let merging = Merging::new(strength, min_size_px);
            let stop = merging.stop;
            let [looser, tighter] =
                [1.0 / MOVED, MOVED].map(|times| intercept_px(merging.labels_at(times), width, height).0);
            let (at, labels) = intercept_px(merging.into_labels(), width, height);
            let facts = GrainFacts {
                kind,
                reason: with_exponent(reason, stop),
                sigma_px,
                threshold: stop.map(|stop| stop.strength),
                exponent: stop.map(|stop| stop.exponent),
                intercepts_px: [looser, at, tighter],
                doubt: nothing.or_else(|| doubt(stop)),
            };
            (labels, facts)
        }
    }
}

/// Area of a disc of radius two sigma, and nine more.
fn least_px(sigma_px: f32) -> u64 {
    (std::f64::consts::PI * (2.0 * f64::from(sigma_px)).powi(2)) as u64 + 9
}

fn with_exponent(reason: String, stop: Option<Stop>) -> String {
    match stop {
        Some(Stop { exponent, .. }) => {
            format!("{reason}; a threshold 10 % higher changes the boundaries' length by {:.0} %", 10.0 * exponent)
        }
        None => reason,
    }
}

fn doubt(stop: Option<Stop>) -> Option<String> {
    match stop {
        None => Some("nothing parts it: it is one grain".into()),
        Some(Stop { exponent, .. }) if exponent > DOUBTFUL => Some(format!(
            "boundaries do not stand out from what is inside grains: a threshold 1 % higher changes their length by \
             {exponent:.2} % (trusted up to {DOUBTFUL})"
        )),
        Some(_) => None,
    }
}

/// Test lines of each direction.
const LINES: usize = 10;

/// Mean intercept length over rows and columns, pixels. Gives the labels back.
fn intercept_px(labels: Vec<u32>, width: usize, height: usize) -> (Option<f64>, Vec<u32>) {
    let map = LabelMap { width, height, labels };
    let pixel = PixelSize { x_nm: 1e3, y_nm: 1e3, source: PixelSizeSource::User };
    let lines = [TestLines::Horizontal(LINES), TestLines::Vertical(LINES)];
    let lines: Vec<_> = lines.into_iter().flat_map(|lines| crate::intercepts(&map, pixel, lines)).collect();
    (crate::grain_size_by_intercepts(&lines).map(|size| size.mean), map.labels)
}
