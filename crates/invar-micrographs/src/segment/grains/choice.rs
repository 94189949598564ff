//! Decides what a picture shows, and why.

use super::{
    GrainKind, GrainLandscape, GrainsConfig,
    measures::{self, Lines, TwoLevels},
};
use crate::segment::{Plane, Polarity, by_network, ridge::LINE_SIGMAS_PX};

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

/// Decides from the middle of the grey picture, of its `channels` if they matter, and the user's settings.
pub(super) fn choose<I: Iterator<Item = Plane>>(
    middle: &Plane,
    channels: impl Fn() -> I,
    config: &GrainsConfig,
) -> Choice {
    let step_sigma_px = || {
        let measured = || measures::step_sigma_px(&channels().collect::<Vec<_>>());
        config.sigma_px.unwrap_or_else(measured)
    };
    match config.landscape {
        GrainLandscape::Auto => by_measures(middle, step_sigma_px, config),
        GrainLandscape::Lines => lines_as_asked(middle, config),
        GrainLandscape::Steps => {
            let sigma_px = step_sigma_px();
            let reason = format!("steps as asked (sigma {sigma_px} pixels)");
            Choice { kind: GrainKind::Steps, sigma_px, halvings: 0, reason }
        }
        GrainLandscape::Learned => {
            let width = config.sigma_px.or_else(|| wide_line_sigma_px(middle, most_asymmetric(middle)));
            as_network_marks(width)
        }
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

/// The network, as requested, on a picture that is halved until lines of sigma `width`, if given, are no wider than
/// those that it knows.
fn as_network_marks(width: Option<f32>) -> Choice {
    let halvings = width.map_or(0, by_network::halvings);
    let scale = match width {
        Some(sigma_px) if halvings > 0 => {
            format!(" on the picture reduced {} times, for lines of sigma {sigma_px} pixels", 1 << halvings)
        }
        _ => String::new(),
    };
    let reason = format!("as asked; a network marks the boundaries{scale}");
    Choice { kind: GrainKind::Learned, sigma_px: by_network::sigma_px(halvings), halvings, reason }
}

/// The lines where they stand out most.
fn most_asymmetric(plane: &Plane) -> Lines {
    Lines::of(plane, None, |dark, bright| (dark - bright).abs())
}

fn are_lines(plane: &Plane, lines: &Lines) -> bool {
    lines.asymmetry().abs() >= ASYMMETRY
        && lines.dark.max(lines.bright) >= LINE_CONTRAST * measures::local_spread(plane)
}

/// Sigma of lines that are at least as wide as the widest that are looked for; `lines` is where they stand out most.
/// `None` if lines are narrower, or there are none.
fn wide_line_sigma_px(plane: &Plane, lines: Lines) -> Option<f32> {
    let widest = LINE_SIGMAS_PX[LINE_SIGMAS_PX.len() - 1];
    if lines.sigma_px < widest || !are_lines(plane, &lines) {
        return None;
    }
    let (mut sigma_px, mut times) = (lines.sigma_px, 1.0);
    let mut reduced = plane.clone();
    while reduced.width.min(reduced.height) >= SMALLEST_PX {
        reduced = by_network::halved(&reduced);
        times *= 2.0;
        let lines = most_asymmetric(&reduced);
        if !are_lines(&reduced, &lines) {
            break;
        }
        sigma_px = times * lines.sigma_px;
        if lines.sigma_px < widest {
            break;
        }
    }
    Some(sigma_px)
}

/// Smaller pictures are not halved to measure the width of lines.
const SMALLEST_PX: usize = 96;

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

fn by_measures(middle: &Plane, step_sigma_px: impl Fn() -> f32, config: &GrainsConfig) -> Choice {
    let lines = Lines::of(middle, config.sigma_px, |dark, bright| (dark - bright).abs());
    if let Some(levels) = TwoLevels::of(middle, lines.sigma_px).filter(are_particles) {
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
    let times = lines.dark / lines.bright.max(1e-9);
    let reason =
        format!("no lines (dark ones {times:.2} times as strong as bright ones), no particles: steps of brightness");
    let sigma_px = step_sigma_px();
    let reason = format!("{reason} (sigma {sigma_px} pixels)");
    Choice { kind: GrainKind::Steps, sigma_px, halvings: 0, reason }
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
