//! Decides what a picture shows, and why.

use super::{
    GrainKind, GrainLandscape, GrainsConfig,
    measures::{self, Lines, TwoLevels},
};
use crate::segment::{
    Plane, Polarity,
    boundary_graph::HeightOf,
    by_network,
    weakest::{Merging, Rules},
};

/// Dark lines must be stronger than bright ones, or vice versa, by this asymmetry.
const ASYMMETRY: f32 = 0.15;
/// The stronger must reach this fraction of the grey range, excluding slow changes of illumination.
const LINE_CONTRAST: f32 = 0.07;
/// Particles: area of half the pieces in squares of the inscribed radius; fraction of the background in one piece;
/// fraction of their area that is thicker than a line; fraction of the variance explained by two levels.
const COMPACT: f64 = 25.0;
const ONE_GROUND: f64 = 0.9;
const THICK: f64 = 0.25;
const TWO_LEVELS: f64 = 0.75;
/// Less is enough if steps are sharp and particles few: the variance, the gradient's tail, the area.
const TWO_LEVELS_SHARP: (f64, f64, f64) = (0.65, 6.0, 0.3);

/// Two phases, of which neither is particles: the variance that two levels must explain. They explain 0.75 of that of
/// evenly spread greys, and at most 0.79 of that of grains.
const TWO_PHASES: f64 = 0.83;

/// Blur before particles are separated from their background, in pixels.
const PARTICLE_SIGMA_PX: f32 = 1.0;

/// What separates the grains.
pub(super) struct Choice {
    pub kind: GrainKind,
    pub sigma_px: f32,
    /// How often the picture is halved before the network marks its boundaries; 0 if it is not used.
    pub halvings: u32,
    /// The reason, in a sentence.
    pub reason: String,
}

/// Decides from the middle of the grey picture, from the central square of its `channels` of a given side if they matter,
/// and from the user's settings.
pub(super) fn choose<I: Iterator<Item = Plane>>(
    middle: &Plane,
    channels: impl Fn(usize) -> I,
    config: &GrainsConfig,
) -> Choice {
    match config.landscape {
        GrainLandscape::Auto => by_measures(middle, channels, config),
        GrainLandscape::Lines => lines_as_asked(middle, config),
        GrainLandscape::Steps => as_steps("steps as asked", channels, config),
        GrainLandscape::Learned => as_network_marks("as asked", channels, config),
        GrainLandscape::Particles => {
            let dark = match config.boundaries {
                Polarity::Dark => true,
                Polarity::Bright => false,
                Polarity::Auto => TwoLevels::of(middle, 1.0).is_some_and(|levels| levels.rarer_is_dark),
            };
            let (kind, which) = particles(dark);
            Choice {
                kind,
                sigma_px: config.sigma_px.unwrap_or(PARTICLE_SIGMA_PX),
                halvings: 0,
                reason: format!("{which} particles as asked"),
            }
        }
    }
}

fn as_steps<I: Iterator<Item = Plane>>(why: &str, channels: impl Fn(usize) -> I, config: &GrainsConfig) -> Choice {
    let measured = || measures::step_sigma_px(&channels(measures::MIDDLE_PX).collect::<Vec<_>>());
    let sigma_px = config.sigma_px.unwrap_or_else(measured);
    Choice { kind: GrainKind::Steps, sigma_px, halvings: 0, reason: format!("{why} (sigma {sigma_px} pixels)") }
}

/// The network, for the reason `why`: for lines of the sigma that is given, else at the scale at which it is surest.
fn as_network_marks<I: Iterator<Item = Plane>>(
    why: impl std::fmt::Display,
    channels: impl Fn(usize) -> I,
    config: &GrainsConfig,
) -> Choice {
    let (halvings, because) = match config.sigma_px {
        Some(sigma_px) => (by_network::halvings(sigma_px), format!("for lines of sigma {sigma_px} pixels")),
        None => (surest_halvings(channels), "where it is surest".into()),
    };
    let scale = match halvings {
        0 => String::new(),
        _ => format!(" on the picture reduced {} times, {because}", 1 << halvings),
    };
    let reason = format!("{why}: a network marks the boundaries{scale}");
    Choice { kind: GrainKind::Learned, sigma_px: by_network::sigma_px(halvings), halvings, reason }
}

/// How often to halve a picture for the network to be surest of the boundaries that it marks: it knows lines of at most
/// 5 pixels. Each scale is tried on as many pixels of the middle, so that a large picture costs little more.
fn surest_halvings<I: Iterator<Item = Plane>>(channels: impl Fn(usize) -> I) -> u32 {
    let halved = |plane: Plane, halvings: u32| (0..halvings).fold(plane, |plane, _| by_network::halved(&plane));
    let (mut surest, mut best) = (0, f64::NEG_INFINITY);
    for halvings in 0..=by_network::MOST_HALVINGS {
        let planes: Vec<Plane> = channels(TRIED_PX << halvings).map(|plane| halved(plane, halvings)).collect();
        if halvings > 0 && planes.iter().any(|plane| plane.width.min(plane.height) < SMALLEST_PX) {
            break;
        }
        let sure = sureness(&planes) - SURER * f64::from(halvings);
        if sure > best {
            (surest, best) = (halvings, sure);
        }
    }
    surest
}

/// The mean probability along the boundaries that are found at the scale of the planes; 0 without boundaries.
fn sureness(channels: &[Plane]) -> f64 {
    let values = by_network::greatest(channels.iter().cloned(), 0);
    let Some(&Plane { width, height, .. }) = channels.first() else { return 0.0 };
    let strength = Plane { width, height, values: values.iter().map(|p| p * p).collect() };
    let min_size_px = super::least_px(by_network::sigma_px(0));
    let rules = Rules { height: HeightOf::Mean, lines: false, min_size_px };
    let labels = Merging::new(strength, std::slice::from_ref(&(0..height)), rules).into_labels();
    by_network::mean_along(&labels, width, |pixel| f64::from(values[pixel])).unwrap_or(0.0)
}

/// Side of the central square, after halving, that the network is tried on.
const TRIED_PX: usize = 512;
/// Least side of a picture after halving.
const SMALLEST_PX: usize = 96;
/// How much surer the network must be for each time that the picture is halved. Of 0, 2, 3, 4, 5 and 6 per cent, 0 and 2
/// gave the best grains of synthetic pictures as they are, and two and four times as large, 4 those of micrographs.
const SURER: f64 = 0.04;

fn are_lines(plane: &Plane, lines: &Lines) -> bool {
    lines.asymmetry().abs() >= ASYMMETRY
        && lines.dark.max(lines.bright) >= LINE_CONTRAST * measures::local_spread(plane)
}

fn lines_as_asked(middle: &Plane, config: &GrainsConfig) -> Choice {
    let lines = Lines::of(
        middle,
        config.sigma_px,
        match config.boundaries {
            Polarity::Dark => |dark: f32, bright: f32| dark - bright,
            Polarity::Bright => |dark: f32, bright: f32| bright - dark,
            Polarity::Auto => |dark: f32, bright: f32| (dark - bright).abs(),
        },
    );
    let dark = match config.boundaries {
        Polarity::Dark => true,
        Polarity::Bright => false,
        Polarity::Auto => lines.asymmetry() >= 0.0,
    };
    let (kind, which, _) = of_lines(dark);
    let reason = format!("{which} lines as asked ({})", strengths(&lines, dark));
    Choice { kind, sigma_px: lines.sigma_px, halvings: 0, reason }
}

fn by_measures<I: Iterator<Item = Plane>>(
    middle: &Plane,
    channels: impl Fn(usize) -> I,
    config: &GrainsConfig,
) -> Choice {
    let lines = Lines::of(middle, config.sigma_px, |dark, bright| (dark - bright).abs());
    let levels = TwoLevels::of(middle, lines.sigma_px);
    if let Some(levels) = levels.filter(are_particles) {
        let (kind, which) = particles(levels.rarer_is_dark);
        let reason = format!(
            "two grey levels explain {:.0} % of the variance; the {which} one fills {:.0} % in {} compact pieces on one ground \
             ({:.0} % of the rest in one piece)",
            100.0 * levels.explained,
            100.0 * levels.share,
            levels.pieces,
            100.0 * levels.ground,
        );
        let sigma_px = config.sigma_px.unwrap_or(PARTICLE_SIGMA_PX);
        return Choice { kind, sigma_px, halvings: 0, reason };
    }
    let asymmetry = lines.asymmetry();
    if are_lines(middle, &lines) {
        let dark = asymmetry > 0.0;
        let (kind, which, other) = of_lines(dark);
        let times = (1.0 + asymmetry.abs()) / (1.0 - asymmetry.abs()).max(1e-6);
        let reason =
            format!("{which} lines are {times:.1} times as strong as {other} ones ({})", strengths(&lines, dark));
        return Choice { kind, sigma_px: lines.sigma_px, halvings: 0, reason };
    }
    if let Some(levels) = levels.filter(|levels| levels.explained >= TWO_PHASES) {
        let why = format!("two grey levels explain {:.0} % of the variance, no particles", 100.0 * levels.explained);
        return as_steps(&format!("{why}: steps of brightness"), channels, config);
    }
    let times = lines.dark / lines.bright.max(1e-9);
    let why = format!("no lines (dark ones {times:.2} times as strong as bright ones), no particles");
    as_network_marks(why, channels, config)
}

fn are_particles(levels: &TwoLevels) -> bool {
    let is_compact =
        levels.pieces >= 3 && levels.elongation <= COMPACT && levels.ground >= ONE_GROUND && levels.thick >= THICK;
    let (explained, tail, share) = TWO_LEVELS_SHARP;
    let is_sharp = levels.explained >= explained && levels.tail >= tail && levels.share <= share;
    is_compact && (levels.explained >= TWO_LEVELS || is_sharp)
}

fn particles(dark: bool) -> (GrainKind, &'static str) {
    if dark { (GrainKind::DarkParticles, "dark") } else { (GrainKind::BrightParticles, "bright") }
}

/// The kind, its name, and its opposite.
fn of_lines(dark: bool) -> (GrainKind, &'static str, &'static str) {
    if dark { (GrainKind::DarkLines, "dark", "bright") } else { (GrainKind::BrightLines, "bright", "dark") }
}

fn strengths(lines: &Lines, dark: bool) -> String {
    let strength = if dark { lines.dark } else { lines.bright };
    format!("95th percentile {strength:.2} of the grey range, sigma {} pixels", lines.sigma_px)
}
