//! Grains without settings: what separates them is measured on each image, and reported.

mod choice;
mod measures;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use self::choice::Choice;
use super::{
    Plane, Polarity, Window,
    boundary_graph::HeightOf,
    by_network, denoise,
    junctions::{Junctions, junctions},
    particles, refusal, ridge, strips,
    weakest::{MOVED, Merging, Rules, Stop},
};
use crate::{Error, ImageRef, LabelMap, Levels, PixelSize, PixelSizeSource, Region, TestLines};

/// Grains and particles, found from what is measured on the image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrainsConfig {
    /// What separates the grains.
    pub landscape: GrainLandscape,
    /// Whether lines (or particles) are darker or brighter than their surroundings; not used for `steps`.
    pub boundaries: Polarity,
    /// Half the width of lines, or the blur of steps, in pixels: sigma of a Gaussian. Measured by default.
    pub sigma_px: Option<f32>,
    /// Grains with fewer pixels are merged with a neighbour, across their weakest boundary; particles are dropped. By
    /// default the area of a disc of radius two sigma plus nine, for particles 30.
    pub min_size_px: Option<u32>,
}

/// What separates grains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrainLandscape {
    /// Chosen for each image.
    #[default]
    Auto,
    /// Lines between them, as left by etching.
    Lines,
    /// Steps of brightness from one to the next.
    Steps,
    /// Background: they are separate particles on it.
    Particles,
    /// What a small network recognises as boundaries, lines and steps alike: see [`crate::learned`].
    Learned,
}

/// What an image was taken to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrainKind {
    /// Grains separated by dark lines.
    DarkLines,
    /// Grains separated by bright lines.
    BrightLines,
    /// Grains separated by steps of brightness.
    Steps,
    /// Particles darker than their background.
    DarkParticles,
    /// Particles brighter than their background.
    BrightParticles,
    /// Grains separated by what the network recognises as boundaries.
    Learned,
}

/// What was decided about an image, and how reliable it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrainFacts {
    /// What it was taken to show.
    pub kind: GrainKind,
    /// Why, in a sentence.
    pub reason: String,
    /// Half the width of lines, or the blur, in pixels; for boundaries marked by the network 0.8 times the reduction of
    /// the picture.
    pub sigma_px: f32,
    /// Strength at which boundaries begin, as a fraction of the grey range; absent for particles, and if nothing is
    /// separated.
    pub threshold: Option<f64>,
    /// By how many per cent the length of the boundaries changes when the threshold changes by one per cent; absent
    /// likewise.
    pub exponent: Option<f64>,
    /// Mean intercept length with the threshold divided by 1.25, unchanged, and times 1.25, in pixels; absent if no
    /// boundary is crossed.
    pub intercepts_px: [Option<f64>; 3],
    /// Mean probability of a boundary along those that were found; absent if no network marked them.
    #[serde(default)]
    pub probability: Option<f64>,
    /// Why the grains should not be trusted as they are; empty if there is no reason.
    pub doubts: Vec<Doubt>,
}

/// A reason not to trust the grains that were found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Doubt {
    /// No boundaries were found.
    Nothing,
    /// The result depends strongly on the threshold.
    Unsteady {
        /// By how many per cent the boundaries' length changes when the threshold changes by one per cent.
        exponent: f64,
    },
    /// Grains are about as small as those found in noise.
    AsNoise {
        /// Mean intercept length, in pixels.
        intercept_px: f64,
        /// Half the width of what was looked for, in pixels.
        sigma_px: f32,
    },
    /// The network is uncertain about the boundaries that were found: there may be none.
    Unsure {
        /// Mean probability along them.
        probability: f64,
    },
    /// The boundaries enclose next to nothing.
    FewClosed {
        /// Number of grains that do not touch the edge.
        grains: u64,
    },
    /// Grains are as thin as lines: lines may have been taken for grains.
    AsThinAsLines {
        /// Number of thin ones among those that do not touch the edge.
        thin: u64,
        /// Number of grains that do not touch the edge.
        of: u64,
    },
    /// Boundaries cross each other: scratches may have been taken for them.
    Crossings {
        /// Number of junctions at which at least four grains meet.
        crossings: u64,
        /// Number of junctions in the middle of the image.
        of: u64,
    },
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => write!(f, "there is nothing to segment, no boundaries were found"),
            Self::Unsteady { exponent } => write!(
                f,
                "{}boundaries do not stand out: with a threshold 10 % higher their length falls by {:.1} % (at most {:.0} % is \
                 trusted)",
                if *exponent > OF_NOISE { "there may be nothing to segment: " } else { "" },
                10.0 * exponent,
                10.0 * TRUSTED_EXPONENT,
            ),
            Self::AsNoise { intercept_px, sigma_px } => write!(
                f,
                "they are as small as noise would make them, {intercept_px:.0} pixels across where boundaries of sigma \
                 {sigma_px} pixels were looked for"
            ),
            Self::Unsure { probability } => write!(
                f,
                "{}the network is {:.0} % sure of the boundaries (from {:.0} % they are trusted)",
                if *probability < UNLIKELY { "there may be nothing to segment: " } else { "" },
                100.0 * probability,
                100.0 * SURE,
            ),
            Self::FewClosed { grains: 0 } => write!(f, "there may be nothing to segment: no grain is closed"),
            Self::FewClosed { grains: 1 } => write!(f, "there may be nothing to segment: only one grain is closed"),
            Self::FewClosed { grains } => {
                write!(f, "there may be nothing to segment: only {grains} grains are closed")
            }
            Self::Crossings { crossings, of } => write!(
                f,
                "at {crossings} of {of} junctions four grains or more meet, as where scratches cross: lines may have been taken \
                 for boundaries"
            ),
            Self::AsThinAsLines { thin, of } => write!(
                f,
                "{thin} of {of} are as thin as lines: boundaries may have been taken for grains (--segment lines parts grains \
                 by lines)"
            ),
        }
    }
}

impl GrainKind {
    /// As text, such as `dark lines`.
    pub fn words(self) -> &'static str {
        match self {
            Self::DarkLines => "dark lines",
            Self::BrightLines => "bright lines",
            Self::Steps => "steps",
            Self::DarkParticles => "dark particles",
            Self::BrightParticles => "bright particles",
            Self::Learned => "learned boundaries",
        }
    }
}

impl GrainFacts {
    /// Checks the resulting regions, and records how many grains are closed.
    pub(crate) fn look_at(&mut self, regions: &[Region]) {
        let inner: Vec<&Region> = regions.iter().filter(|region| !region.touches_border).collect();
        self.reason += &match (self.kind, inner.len()) {
            (GrainKind::DarkLines | GrainKind::BrightLines, 1) => "; they close one grain".into(),
            (GrainKind::DarkLines | GrainKind::BrightLines, num) => format!("; they close {num} grains"),
            (_, 1) => "; one grain does not reach the edge".into(),
            (_, num) => format!("; {num} grains do not reach the edge"),
        };
        if let (GrainKind::DarkParticles | GrainKind::BrightParticles, true) = (self.kind, regions.is_empty()) {
            self.doubts.push(Doubt::Nothing);
        }
        let least = if self.probability.is_some() { CLOSED } else { 1 };
        let are_grains = !matches!(self.kind, GrainKind::DarkParticles | GrainKind::BrightParticles);
        if are_grains && regions.len() > 1 && inner.len() < least && !self.doubts.contains(&Doubt::Nothing) {
            self.doubts.push(Doubt::FewClosed { grains: inner.len() as u64 });
        }
        if self.kind == GrainKind::Steps {
            // Area over half the perimeter is the width of a long strip.
            let is_thin = |region: &&&Region| {
                2.0 * region.area_px as f64 <= region.perimeter_px * THIN * f64::from(self.sigma_px)
            };
            let thin = inner.iter().filter(is_thin).count();
            if inner.len() >= FEW_GRAINS && thin * 3 > inner.len() {
                self.doubts.push(Doubt::AsThinAsLines { thin: thin as u64, of: inner.len() as u64 });
            }
        }
    }
}

/// Exponent above which boundaries are as in noise and on surfaces without grains.
const OF_NOISE: f64 = 2.35;
/// Minimum mean width of a grain, in sigmas, not to be as thin as a line.
const THIN: f64 = 2.0;
/// With fewer grains no doubt is raised.
const FEW_GRAINS: usize = 6;
/// Maximum size, in sigmas, of the pieces found in noise.
const AS_NOISE: f64 = 6.0;

impl GrainsConfig {
    pub(super) fn validate(&self) -> Result<(), Error> {
        match self.sigma_px.filter(|sigma| !(0.3..=20.0).contains(sigma)) {
            Some(sigma) => Err(refusal("sigma_px", "0.3 to 20", sigma)),
            None => Ok(()),
        }
    }
}

/// Mean probability along the boundaries from which they are trusted: on synthetic pictures the mean intercept is then
/// off by 12 % at the median, below it by 25 %.
const SURE: f64 = 0.8;
/// Below this there may be no boundaries at all, as on surfaces without grains.
const UNLIKELY: f64 = 0.6;
/// Below this there are none.
const IMPOSSIBLE: f64 = 0.1;
/// How many grains the boundaries marked by the network must close.
const CLOSED: usize = 3;

/// From how many junctions on they are looked at, what fraction of them must be of four grains for lines to cross, and
/// how many times the fraction that there is by chance.
const FEW_JUNCTIONS: usize = 12;
const CROSSED: f64 = 0.2;
const TIMES_CHANCE: f64 = 2.0;

/// Exponent up to which a grain-size number is trusted.
const TRUSTED_EXPONENT: f64 = 0.7;

/// The memory that it takes to segment a picture of this size. For `auto` this is what lines and steps need; what
/// particles need is checked when they are chosen.
pub(super) fn needed_bytes(landscape: GrainLandscape, width: usize, height: usize) -> usize {
    let num_pixels = width.saturating_mul(height);
    let (bytes_a_pixel, more) = match landscape {
        _ if num_pixels <= strips::LARGE_PX => (AT_ONCE_BYTES, 0),
        GrainLandscape::Particles => (PARTICLES_BYTES, 0),
        _ => (STRIPS_BYTES, rayon::current_num_threads() * strips::STRIP_PX * AT_ONCE_BYTES),
    };
    num_pixels.saturating_mul(bytes_a_pixel).saturating_add(more)
}

/// Upper bounds of the memory per pixel. At once, most of it is for the merged regions, about 230 bytes each, of which
/// noise gives up to 110,000 per million pixels: measured on 4,000 x 4,000 pixels of it, ingested with `lines` of the
/// smallest sigma (38.5 bytes per pixel); `steps` took 22.
const AT_ONCE_BYTES: usize = 40;
const STRIPS_BYTES: usize = 24;
const PARTICLES_BYTES: usize = 30;

/// Labels `1..=n`, 0 on the background between particles.
///
/// # Errors
/// As [`super::check_size`].
pub(super) fn segment(
    image: ImageRef<'_>,
    levels: Levels,
    config: &GrainsConfig,
) -> Result<(Vec<u32>, GrainFacts), Error> {
    segment_by(&strips::strips(image.width, image.height), image, levels, config)
}

/// The same; the strength of boundaries is computed and flooded a strip at a time.
fn segment_by(
    strips: &[Range<usize>],
    image: ImageRef<'_>,
    levels: Levels,
    config: &GrainsConfig,
) -> Result<(Vec<u32>, GrainFacts), Error> {
    let grey = |window: &Window| Plane::grey(image, levels, window);
    let middle = |side_px: usize| Window::middle(image, side_px);
    let channels = |side_px: usize| each_channel(image, levels, middle(side_px));
    let choice = choice::choose(&grey(&middle(measures::MIDDLE_PX)), channels, config);
    let sigma_px = choice.sigma_px;
    let whole = Window::whole(image);
    let reach = ridge::reach_px(sigma_px);
    let by_strips = |filter: &dyn Fn(&Window) -> Plane| strips::filtered(image, strips, reach, filter);
    Ok(match choice.kind {
        GrainKind::DarkParticles | GrainKind::BrightParticles => {
            let needed = needed_bytes(GrainLandscape::Particles, image.width, image.height);
            super::check_memory("grains", image.width, image.height, needed)?;
            let mut plane = grey(&whole);
            denoise::gaussian(&mut plane, sigma_px);
            let min_size_px = config.min_size_px.unwrap_or(LEAST_PARTICLE_PX);
            let labels = particles::segment(&plane, choice.kind == GrainKind::DarkParticles, min_size_px);
            (labels, facts_without_boundaries(choice, Vec::new()))
        }
        GrainKind::Steps => {
            let steps = |window: &Window| ridge::steps(each_channel(image, levels, window.clone()), sigma_px);
            parted(by_strips(&steps), strips, &choice, config)
        }
        GrainKind::DarkLines | GrainKind::BrightLines => {
            let are_dark = choice.kind == GrainKind::DarkLines;
            let lines = |window: &Window| ridge::lines(&grey(window), are_dark, sigma_px);
            parted(by_strips(&lines), strips, &choice, config)
        }
        GrainKind::Learned => marked_by_network(image, levels, strips, choice, config),
    })
}

/// Of particles, and of a picture that nothing parts.
fn facts_without_boundaries(choice: Choice, doubts: Vec<Doubt>) -> GrainFacts {
    let Choice { kind, reason, sigma_px, .. } = choice;
    let intercepts_px = [None; 3];
    GrainFacts { kind, reason, sigma_px, threshold: None, exponent: None, intercepts_px, probability: None, doubts }
}

fn marked_by_network(
    image: ImageRef<'_>,
    levels: Levels,
    strips: &[Range<usize>],
    choice: Choice,
    config: &GrainsConfig,
) -> (Vec<u32>, GrainFacts) {
    // If channels differ, their mean may be a uniform grey where colours separate grains.
    let values = by_network::greatest(each_channel(image, levels, Window::whole(image)), choice.halvings);
    // What is kept while regions merge should be small.
    let rounded: Vec<u8> = values.iter().map(|p| (255.0 * p).round() as u8).collect();
    let squared = values.into_iter().map(|p| p * p).collect();
    let plane = Plane { width: image.width, height: image.height, values: squared };
    let (mut labels, mut facts) = parted(plane, strips, &choice, config);
    let probability = |pixel: usize| f64::from(rounded[pixel]) / 255.0;
    let Some(sure) = by_network::mean_along(&labels, image.width, probability) else { return (labels, facts) };
    if sure < IMPOSSIBLE {
        labels.fill(1);
        return (labels, facts_without_boundaries(choice, vec![Doubt::Nothing]));
    }
    facts.probability = Some(sure);
    facts.reason = format!("{}; the network is {:.0} % sure of them", facts.reason, 100.0 * sure);
    if sure < SURE && !facts.doubts.contains(&Doubt::Nothing) {
        facts.doubts.push(Doubt::Unsure { probability: sure });
    }
    (labels, facts)
}

fn each_channel(image: ImageRef<'_>, levels: Levels, window: Window) -> impl Iterator<Item = Plane> {
    (0..image.channels).map(move |channel| Plane::channel(image, levels, channel, &window))
}

/// The grains from a map of strength.
fn parted(strength: Plane, strips: &[Range<usize>], choice: &Choice, config: &GrainsConfig) -> (Vec<u32>, GrainFacts) {
    let (width, height, sigma_px) = (strength.width, strength.height, choice.sigma_px);
    let min_size_px = config.min_size_px.map_or_else(|| least_px(sigma_px), u64::from);
    // The network marks boundaries as a whole, some of them faint in places; requiring nearly all of it would be too
    // strict.
    let of = if choice.kind == GrainKind::Learned { HeightOf::Mean } else { HeightOf::NearlyAll };
    let lines = matches!(choice.kind, GrainKind::DarkLines | GrainKind::BrightLines);
    let merging = Merging::new(strength, strips, Rules { height: of, lines, min_size_px });
    let stop = merging.stop;
    let [looser, tighter] = [1.0 / MOVED, MOVED].map(|times| intercept_px(merging.labels_at(times), width, height).0);
    let (at, labels) = intercept_px(merging.into_labels(), width, height);
    let junctions = junctions(&labels, width, sigma_px.round().max(1.0) as usize);
    let facts = GrainFacts {
        kind: choice.kind,
        reason: with_exponent(choice.reason.clone(), stop),
        sigma_px,
        threshold: stop.map(|stop| stop.strength),
        exponent: stop.map(|stop| stop.exponent),
        intercepts_px: [looser, at, tighter],
        probability: None,
        doubts: doubts(stop, at, sigma_px, junctions),
    };
    (labels, facts)
}

/// Particles with fewer pixels are dropped.
const LEAST_PARTICLE_PX: u32 = 30;

/// Area of a disc of radius two sigma, plus nine.
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

fn doubts(stop: Option<Stop>, intercept_px: Option<f64>, sigma_px: f32, junctions: Junctions) -> Vec<Doubt> {
    let (Some(Stop { exponent, .. }), Some(intercept_px)) = (stop, intercept_px) else { return vec![Doubt::Nothing] };
    let unsteady = (exponent > TRUSTED_EXPONENT).then_some(Doubt::Unsteady { exponent });
    let as_noise = intercept_px < AS_NOISE * f64::from(sigma_px);
    let Junctions { count, crossings, by_chance } = junctions;
    let crossed = crossings as f64 / count.max(1) as f64;
    let is_crossed = count >= FEW_JUNCTIONS && crossed >= CROSSED && crossed >= TIMES_CHANCE * by_chance;
    unsteady
        .into_iter()
        .chain(as_noise.then_some(Doubt::AsNoise { intercept_px, sigma_px }))
        .chain(is_crossed.then_some(Doubt::Crossings { crossings: crossings as u64, of: count as u64 }))
        .collect()
}

/// Number of test lines in each direction.
const LINES: usize = 10;

/// Mean intercept length over rows and columns, in pixels. Returns the labels.
fn intercept_px(labels: Vec<u32>, width: usize, height: usize) -> (Option<f64>, Vec<u32>) {
    let map = LabelMap { width, height, labels };
    let pixel = PixelSize { x_nm: 1e3, y_nm: 1e3, source: PixelSizeSource::User };
    let lines = [TestLines::Horizontal(LINES), TestLines::Vertical(LINES)];
    let lines: Vec<_> = lines.into_iter().flat_map(|lines| crate::intercepts(&map, pixel, lines)).collect();
    (crate::grain_size_by_intercepts(&lines).map(|size| size.mean), map.labels)
}

#[cfg(test)]
mod tests;
