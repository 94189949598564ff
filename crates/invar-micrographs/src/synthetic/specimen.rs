use super::{draw::Draw, tessellation::Shape};

/// What separates the grains of a synthetic micrograph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Dark lines, and sometimes faint steps.
    Dark,
    /// Bright lines, and sometimes faint steps.
    Bright,
    /// Steps of grey alone.
    Steps,
    /// Dark lines and steps.
    DarkAndSteps,
    /// Nothing: there is one grain.
    None,
}

/// Kinds of micrograph whose parameters lie outside what the network was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewKind {
    /// Grains four to seven times as long as wide.
    Elongated,
    /// Winding boundaries: waves three times as high as in training.
    Winding,
    /// Each boundary a pair of lines, as of grooves.
    DoubleLines,
    /// Strong noise that is correlated over some pixels, with dark and bright specks.
    Speckled,
    /// Regions of fine grains between coarse ones.
    Duplex,
    /// Boundaries in relief: bright on one side, dark on the other, as if lit from the side.
    Relief,
    /// Rows of the picture shifted in grey, as by a scanning beam or on a milled face.
    Curtained,
    /// Dark lines wider than any in training, out of focus.
    Thick,
}

impl NewKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Elongated,
        Self::Winding,
        Self::DoubleLines,
        Self::Speckled,
        Self::Duplex,
        Self::Relief,
        Self::Curtained,
        Self::Thick,
    ];

    /// The name used in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Elongated => "elongated",
            Self::Winding => "winding",
            Self::DoubleLines => "double-lines",
            Self::Speckled => "speckled",
            Self::Duplex => "duplex",
            Self::Relief => "relief",
            Self::Curtained => "curtained",
            Self::Thick => "thick",
        }
    }
}

/// Everything that is drawn before the picture is.
#[derive(Clone, Debug)]
pub(super) struct Specimen {
    pub lines: Lines,
    pub shape: Shape,
    pub boundary: Boundary,
    /// Standard deviation of the grains' grey.
    pub contrast: f32,
    pub inside: Inside,
    pub camera: Camera,
}

/// The appearance of a boundary.
#[derive(Clone, Debug)]
pub(super) struct Boundary {
    /// Grey added in the middle of a line of strength 1.
    pub depth: f32,
    /// Half the width of a line, in pixels.
    pub half_px: f32,
    /// Standard deviation of the strength from boundary to boundary.
    pub variation: f32,
    /// Fraction of the boundaries that have no line at all.
    pub missing: f32,
    /// How far the strength lies above its gaps, and their size in pixels.
    pub gaps: Option<[f32; 2]>,
    /// Whether the width varies along a line.
    pub varies: bool,
    /// Whether there is a halo of the opposite sign.
    pub halo: bool,
    /// Distance of the two lines of a pair from the middle, in pixels.
    pub pair_px: Option<f32>,
    /// Grey added on the side of the light, subtracted on the other.
    pub relief: f32,
    /// Roughness: how far the line strays from its place, in pixels.
    pub rough_px: f32,
}

/// The content of grains: probabilities and amounts.
#[derive(Clone, Debug)]
pub(super) struct Inside {
    pub twins: bool,
    pub lamellae: bool,
    pub mottle: bool,
    pub num_scratches: usize,
    /// Needles per 10,000 pixels.
    pub needles: f32,
    /// Whether the needles of a grain lie along few directions.
    pub aligned: bool,
    /// Pits and inclusions per 10,000 pixels.
    pub pits: f32,
    /// Patches of specks.
    pub patches: usize,
}

/// The effects of the instrument.
#[derive(Clone, Debug)]
pub(super) struct Camera {
    pub blur_px: f32,
    /// Standard deviation of the relative illumination over the picture.
    pub uneven: f32,
    pub noise: f32,
    /// Correlation length of the noise, in pixels.
    pub grain_px: f32,
    /// Fraction of pixels that are dark or bright specks.
    pub specks: f32,
    /// Standard deviation of the grey of rows.
    pub curtain: f32,
    pub gamma: f32,
    pub inverted: bool,
    pub jpeg_quality: Option<u8>,
}

impl Specimen {
    /// A specimen of the kinds that the network is trained on.
    pub fn for_training(draw: &mut Draw) -> Self {
        let (lines, inverted) = kind(draw);
        let contrast = match lines {
            Lines::Dark => draw.pick(&[0.0, 0.0, 0.02, 0.05]),
            Lines::Bright => draw.pick(&[0.0, 0.03, 0.07]),
            Lines::Steps => draw.uniform(0.05, 0.2),
            Lines::DarkAndSteps => draw.uniform(0.04, 0.15),
            Lines::None => 0.0,
        };
        let shape = Shape {
            diameter_px: draw.log_uniform(9.0, 130.0),
            spread: draw.pick(&[0.0, 0.3, 0.6]),
            evenness: draw.uniform(0.0, 0.75),
            aspect: if draw.chance(0.35) { draw.uniform(1.0, 3.5) } else { 1.0 },
            waves: draw.chance(0.7).then(|| [draw.uniform(0.02, 0.12), draw.uniform(0.2, 0.7)]),
            duplex: false,
        };
        let widest = if shape.diameter_px > 25.0 { 2.4 } else { 1.4 };
        let boundary = Boundary {
            depth: line_depth(draw, lines),
            half_px: draw.uniform(0.35, widest),
            variation: draw.pick(&[0.1, 0.3, 0.5]),
            missing: if draw.chance(0.5) { draw.uniform(0.0, 0.15) } else { 0.0 },
            gaps: draw.chance(0.6).then(|| [draw.uniform(0.3, 2.2), draw.uniform(3.0, 14.0)]),
            varies: draw.chance(0.4),
            halo: draw.chance(0.2),
            pair_px: None,
            relief: 0.0,
            rough_px: if draw.chance(0.4) { draw.uniform(0.3, 1.2) } else { 0.0 },
        };
        let inside = inside(draw, lines);
        let camera = Camera {
            blur_px: if draw.chance(0.6) { draw.uniform(0.3, 1.3) } else { 0.0 },
            uneven: if draw.chance(0.6) { draw.uniform(0.03, 0.25) } else { 0.0 },
            noise: draw.pick(&[0.003, 0.01, 0.03, 0.06]),
            grain_px: if draw.chance(0.25) { draw.uniform(0.4, 0.9) } else { 0.0 },
            specks: 0.0,
            curtain: 0.0,
            gamma: draw.uniform(0.7, 1.4),
            inverted,
            jpeg_quality: draw.chance(0.35).then(|| draw.count(25, 95) as u8),
        };
        Self { lines, shape, boundary, contrast, inside, camera }
    }

    /// A specimen of a new kind: one of the training kinds, with line boundaries for kinds that are about lines, plus
    /// what is new.
    pub fn of_new_kind(draw: &mut Draw, kind: NewKind) -> Self {
        let mut specimen = loop {
            let specimen = Self::for_training(draw);
            let has_lines = matches!(specimen.lines, Lines::Dark | Lines::Bright | Lines::DarkAndSteps);
            let about_lines = matches!(kind, NewKind::DoubleLines | NewKind::Relief | NewKind::Thick);
            let fits = if about_lines { has_lines } else { specimen.lines != Lines::None };
            // At least a few tens of grains on a picture of a few hundred pixels; visible boundaries.
            if fits && specimen.shape.diameter_px < 60.0 && specimen.boundary.missing < 0.08 {
                break specimen;
            }
        };
        let (shape, boundary, camera) = (&mut specimen.shape, &mut specimen.boundary, &mut specimen.camera);
        match kind {
            NewKind::Elongated => {
                shape.aspect = draw.uniform(4.0, 7.0);
                shape.diameter_px = shape.diameter_px.max(24.0);
            }
            NewKind::Winding => {
                shape.waves = Some([draw.uniform(0.2, 0.35), draw.uniform(0.6, 1.0)]);
                shape.diameter_px = shape.diameter_px.max(20.0);
            }
            NewKind::DoubleLines => {
                boundary.half_px = draw.uniform(0.4, 0.8);
                boundary.pair_px = Some(draw.uniform(1.6, 2.6));
                shape.diameter_px = shape.diameter_px.max(24.0);
            }
            NewKind::Speckled => {
                camera.noise = draw.uniform(0.06, 0.1);
                camera.grain_px = draw.uniform(1.1, 1.6);
                camera.specks = draw.uniform(0.002, 0.01);
            }
            NewKind::Duplex => {
                shape.duplex = true;
                shape.diameter_px = shape.diameter_px.max(36.0);
            }
            NewKind::Relief => {
                boundary.relief = draw.uniform(0.15, 0.35);
                boundary.depth *= 0.15;
                boundary.half_px = draw.uniform(1.0, 2.0);
                shape.diameter_px = shape.diameter_px.max(20.0);
            }
            NewKind::Curtained => camera.curtain = draw.uniform(0.03, 0.08),
            NewKind::Thick => {
                boundary.half_px = draw.uniform(3.0, 5.0);
                boundary.varies = true;
                camera.blur_px = draw.uniform(1.5, 2.5);
                shape.diameter_px = shape.diameter_px.max(40.0);
            }
        }
        specimen
    }
}

/// What separates the grains, and whether the finished picture is inverted.
fn kind(draw: &mut Draw) -> (Lines, bool) {
    let at = draw.uniform(0.0, 1.0);
    match at {
        _ if at < 0.44 => (Lines::Dark, false),
        _ if at < 0.54 => (Lines::Bright, false),
        _ if at < 0.61 => (Lines::Dark, true),
        _ if at < 0.81 => (Lines::Steps, false),
        _ if at < 0.94 => (Lines::DarkAndSteps, false),
        _ => (Lines::None, draw.chance(0.5)),
    }
}

fn line_depth(draw: &mut Draw, lines: Lines) -> f32 {
    let depth = draw.uniform(0.15, 0.65);
    match lines {
        Lines::Dark | Lines::DarkAndSteps => -depth,
        Lines::Bright => depth,
        Lines::Steps | Lines::None => 0.0,
    }
}

fn inside(draw: &mut Draw, lines: Lines) -> Inside {
    // If there is nothing else, there is always something that could be taken for a boundary.
    let bare = lines == Lines::None;
    let needles = draw.chance(if bare { 0.6 } else { 0.4 });
    Inside {
        twins: draw.chance(0.35) && !bare,
        lamellae: draw.chance(0.3),
        mottle: draw.chance(if bare { 0.8 } else { 0.4 }),
        num_scratches: if draw.chance(if bare { 0.7 } else { 0.4 }) { draw.count(1, 8) } else { 0 },
        needles: if needles { draw.log_uniform(2.0, 60.0) } else { 0.0 },
        aligned: draw.chance(0.6),
        pits: if draw.chance(0.6) { draw.log_uniform(0.3, 15.0) } else { 0.0 },
        patches: if draw.chance(0.15) { draw.count(1, 3) } else { 0 },
    }
}
