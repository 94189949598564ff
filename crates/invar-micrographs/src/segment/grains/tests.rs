use super::*;
use crate::PixelsRef;

/// A pseudo-random number from 0 to 1.
fn random(i: usize, seed: u64) -> f32 {
    let mixed = (i as u64 ^ (seed << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / (1u64 << 24) as f32
}

/// The grain of each pixel of a tessellation: the nearest of one point in each cell of a grid of `side` pixels.
fn tessellation(width: usize, height: usize, side: usize) -> Vec<usize> {
    let across = width.div_ceil(side) + 2;
    let point = |row: usize, column: usize| {
        let number = row * across + column;
        let place = |cell: usize, seed: u64| (cell as f32 - 1.0 + 0.15 + 0.7 * random(number, seed)) * side as f32;
        (number, place(row, 1), place(column, 2))
    };
    let nearest = |i: usize| {
        let (y, x) = (i / width, i % width);
        let (row, column) = (y / side + 1, x / side + 1);
        let around = (row - 1..=row + 1).flat_map(|row| (column - 1..=column + 1).map(move |column| (row, column)));
        let away = |&(_, a, b): &(usize, f32, f32)| (a - y as f32).hypot(b - x as f32);
        around.map(|(row, column)| point(row, column)).min_by(|a, b| away(a).total_cmp(&away(b))).unwrap().0
    };
    (0..width * height).map(nearest).collect()
}

const SIZE: usize = 240;
const SIDE: usize = 40;

/// Grey pictures of the same grains.
struct Grains {
    of: Vec<usize>,
    count: usize,
    is_line: Vec<bool>,
}

impl Grains {
    fn new() -> Self {
        let of = tessellation(SIZE, SIZE, SIDE);
        let differs = |i: usize, other: usize| of[i] != of[other];
        let is_line = (0..of.len())
            .map(|i| i % SIZE + 1 < SIZE && differs(i, i + 1) || i + SIZE < of.len() && differs(i, i + SIZE))
            .collect();
        let mut numbers = of.clone();
        numbers.sort_unstable();
        numbers.dedup();
        Self { count: numbers.len(), of, is_line }
    }

    /// Lines of about three pixels, `line` against `grain`, with noise.
    fn lines(&self, grain: f32, line: f32, noise: f32) -> Vec<f32> {
        let values = self.is_line.iter().map(|&is_line| if is_line { line } else { grain }).collect();
        let mut plane = Plane { width: SIZE, height: SIZE, values };
        denoise::gaussian(&mut plane, 1.0);
        let with_noise = |(i, value): (usize, &f32)| value + noise * (random(i, 7) - 0.5);
        plane.values.iter().enumerate().map(with_noise).collect()
    }

    /// One of three greys for each grain, and the pieces formed by grains of the same grey.
    fn steps(&self, noise: f32) -> (Vec<f32>, Vec<usize>) {
        let level = |i: usize| (3.0 * random(self.of[i], 3)) as usize;
        let greys = (0..self.of.len()).map(|i| 0.5 * level(i) as f32 + noise * (random(i, 7) - 0.5)).collect();
        let mut pieces = vec![0; self.of.len()];
        let mut next = 0;
        for start in 0..pieces.len() {
            if pieces[start] != 0 {
                continue;
            }
            next += 1;
            pieces[start] = next;
            let mut stack = vec![start];
            while let Some(pixel) = stack.pop() {
                crate::segment::watershed::each_neighbor(pixel, SIZE, SIZE, |other| {
                    if pieces[other] == 0 && level(other) == level(start) {
                        pieces[other] = next;
                        stack.push(other);
                    }
                });
            }
        }
        (greys, pieces)
    }
}

/// With levels as in ingest.
fn run(pixels: &[f32], width: usize, config: &GrainsConfig) -> (Vec<u32>, GrainFacts) {
    of_channels(pixels, width, 1, config)
}

fn of_channels(pixels: &[f32], width: usize, channels: usize, config: &GrainsConfig) -> (Vec<u32>, GrainFacts) {
    let height = pixels.len() / width / channels;
    let image = ImageRef { width, height, channels, pixels: PixelsRef::F32(pixels) };
    let (labels, mut facts) = segment(image, Levels::of(image, [1.0, 99.0]), config).unwrap();
    let map = LabelMap { width, height, labels };
    facts.look_at(&crate::regions(&map, Some(image)));
    (map.labels, facts)
}

fn count(labels: &[u32]) -> usize {
    labels.iter().max().map_or(0, |&most| most as usize)
}

/// Share of the pixels whose detected grain lies mostly in the true grain.
fn agreement(found: &[u32], made: &[usize]) -> f64 {
    let mut pairs = std::collections::BTreeMap::new();
    found.iter().zip(made).for_each(|pair| *pairs.entry(pair).or_insert(0usize) += 1);
    let mut best = std::collections::BTreeMap::new();
    pairs.iter().for_each(|((found, _), &n)| {
        let most = best.entry(**found).or_insert(0);
        *most = n.max(*most);
    });
    best.values().sum::<usize>() as f64 / found.len() as f64
}

fn is_near(found: usize, made: usize) -> bool {
    found.abs_diff(made) * 10 <= made
}

#[test]
fn dark_lines_bright_lines_and_what_a_network_marks_are_told_apart_and_give_the_grains() {
    let grains = Grains::new();
    let (steps, pieces) = grains.steps(0.05);
    let num_pieces = pieces.iter().max().copied().unwrap();
    let cases = [
        (grains.lines(0.8, 0.1, 0.1), &grains.of, grains.count, GrainKind::DarkLines),
        (grains.lines(0.2, 0.9, 0.1), &grains.of, grains.count, GrainKind::BrightLines),
        (steps, &pieces, num_pieces, GrainKind::Learned),
    ];
    for (pixels, made, expected, kind) in cases {
        let (labels, facts) = run(&pixels, SIZE, &GrainsConfig::default());
        assert_eq!(facts.kind, kind, "{facts:?}");
        assert!(agreement(&labels, made) > 0.9, "{kind:?}: {} {facts:?}", agreement(&labels, made));
        // Pieces of one grey that touch at little more than a corner may be separated there.
        let is_right =
            is_near(count(&labels), expected) || kind == GrainKind::Learned && count(&labels).abs_diff(expected) <= 8;
        assert!(is_right, "{kind:?}: {} of {expected} grains, {facts:?}", count(&labels));
        assert!(facts.doubts.is_empty(), "{facts:?}");
        let [over, here, times] = facts.intercepts_px.map(|length| length.unwrap());
        assert!(over <= here && here <= times, "{facts:?}");
    }
}

#[test]
fn a_picture_turned_inside_out_has_the_same_grains() {
    let grains = Grains::new();
    let dark = grains.lines(0.8, 0.1, 0.1);
    let bright_pixels: Vec<f32> = dark.iter().map(|value| 1.0 - value).collect();
    let ((a, dark), (b, bright)) =
        (run(&dark, SIZE, &GrainsConfig::default()), run(&bright_pixels, SIZE, &GrainsConfig::default()));
    assert_eq!((dark.kind, bright.kind), (GrainKind::DarkLines, GrainKind::BrightLines));
    // The network sees two pictures and may move a boundary by a pixel; the measures cannot tell them apart.
    let made: Vec<usize> = b.iter().map(|&label| label as usize).collect();
    assert!(count(&a).abs_diff(count(&b)) <= 1 && agreement(&a, &made) > 0.97, "{} {}", count(&a), count(&b));
    let measured = |pixels: &[f32]| {
        run(pixels, SIZE, &GrainsConfig { landscape: GrainLandscape::Lines, ..GrainsConfig::default() }).0
    };
    let (a, b) = (measured(&grains.lines(0.8, 0.1, 0.1)), measured(&bright_pixels));
    let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
    assert!(same * 100 >= a.len() * 99, "{same} of {}", a.len());
}

#[test]
fn light_that_falls_off_by_more_than_lines_are_deep_changes_nothing() {
    let grains = Grains::new();
    let mut pixels = grains.lines(0.8, 0.4, 0.05);
    pixels.iter_mut().enumerate().for_each(|(i, value)| *value += 3.0 * (i % SIZE) as f32 / SIZE as f32);
    let (labels, facts) = run(&pixels, SIZE, &GrainsConfig::default());
    assert_eq!(facts.kind, GrainKind::DarkLines, "{facts:?}");
    assert!(is_near(count(&labels), grains.count), "{} of {}", count(&labels), grains.count);
}

/// Three channels whose mean is uniform grey: what one has more, the next has less.
#[test]
fn colour_parts_grains_that_are_equally_bright() {
    let grains = Grains::new();
    let (steps, pieces) = grains.steps(0.05);
    let (other, _) = grains.steps(0.0);
    let pixels: Vec<f32> =
        steps.iter().copied().chain(other.iter().map(|value| 1.0 - value)).chain(vec![0.5; steps.len()]).collect();
    let num_pieces = pieces.iter().max().copied().unwrap();
    let steps = GrainsConfig { landscape: GrainLandscape::Steps, ..GrainsConfig::default() };
    for (config, kind) in [(GrainsConfig::default(), GrainKind::Learned), (steps, GrainKind::Steps)] {
        let (labels, facts) = of_channels(&pixels, SIZE, 3, &config);
        assert_eq!(facts.kind, kind);
        assert!(count(&labels).abs_diff(num_pieces) <= 8 && agreement(&labels, &pieces) > 0.9, "{facts:?}");
    }
}

/// Strips as high as a grain, and some that leave a single row at the end.
#[test]
fn strips_agree_along_their_seams() {
    let grains = Grains::new();
    let (steps, pieces) = grains.steps(0.05);
    let num_pieces = pieces.iter().max().copied().unwrap();
    let cases = [
        (grains.lines(0.8, 0.1, 0.1), &grains.of, grains.count, GrainsConfig::default()),
        (steps, &pieces, num_pieces, GrainsConfig::default()),
        (grains.lines(0.2, 0.9, 0.1), &grains.of, grains.count, learned()),
    ];
    for (pixels, made, expected, config) in cases {
        let image = ImageRef { width: SIZE, height: SIZE, channels: 1, pixels: PixelsRef::F32(&pixels) };
        let levels = Levels::of(image, [1.0, 99.0]);
        let (at_once, of_whole) = segment(image, levels, &config).unwrap();
        for rows in [SIDE, 100, SIZE - 1] {
            let (found, facts) = segment_by(&strips::of_rows(SIZE, rows), image, levels, &config).unwrap();
            assert_eq!((facts.kind, facts.sigma_px), (of_whole.kind, of_whole.sigma_px));
            assert!(count(&found).abs_diff(count(&at_once)) <= 2, "{rows}: {} {}", count(&found), count(&at_once));
            let is_near = is_near(count(&found), expected) || count(&found).abs_diff(expected) <= 8;
            assert!(is_near && agreement(&found, made) > 0.9, "{rows}: {} of {expected}", count(&found));
            let at_once: Vec<usize> = at_once.iter().map(|&label| label as usize).collect();
            assert!(agreement(&found, &at_once) > 0.98, "{rows}: {}", agreement(&found, &at_once));
        }
    }
}

fn learned() -> GrainsConfig {
    GrainsConfig { landscape: GrainLandscape::Learned, ..GrainsConfig::default() }
}

#[test]
fn the_network_needs_not_be_told_lines_from_steps() {
    let grains = Grains::new();
    let (steps, pieces) = grains.steps(0.05);
    let num_pieces = pieces.iter().max().copied().unwrap();
    let cases = [
        (grains.lines(0.8, 0.1, 0.1), &grains.of, grains.count),
        (grains.lines(0.2, 0.9, 0.1), &grains.of, grains.count),
        (steps, &pieces, num_pieces),
    ];
    for (pixels, made, expected) in cases {
        let (labels, facts) = run(&pixels, SIZE, &learned());
        assert_eq!((facts.kind, facts.sigma_px), (GrainKind::Learned, 0.8));
        assert!(agreement(&labels, made) > 0.93, "{} {facts:?}", agreement(&labels, made));
        // Pieces of one grey that touch at little more than a corner are separated there.
        assert!(count(&labels).abs_diff(expected) <= 8, "{} of {expected}, {facts:?}", count(&labels));
        assert!(facts.doubts.is_empty() && facts.reason.contains("% sure"), "{facts:?}");
    }
}

/// Each grain four times as large, with lines four times as wide.
#[test]
fn a_picture_of_wide_lines_is_reduced_for_the_network() {
    let grains = Grains::new();
    let small = grains.lines(0.8, 0.1, 0.05);
    let large: Vec<f32> =
        (0..16 * SIZE * SIZE).map(|i| small[i / (4 * SIZE) / 4 * SIZE + i % (4 * SIZE) / 4]).collect();
    let (labels, facts) = run(&large, 4 * SIZE, &learned());
    assert!(facts.reason.contains("reduced"), "{facts:?}");
    assert!(is_near(count(&labels), grains.count), "{} of {}, {facts:?}", count(&labels), grains.count);
    let asked = GrainsConfig { sigma_px: Some(1.5), ..learned() };
    assert!(!run(&large, 4 * SIZE, &asked).1.reason.contains("reduced"));
}

/// Bands that branch: neither phase is particles, and steps are sharp.
#[test]
fn two_phases_are_parted_by_steps() {
    let phase = |i: usize| {
        let [y, x] = [i / SIZE, i % SIZE].map(|at| at as f32);
        (x / 7.0 + 2.0 * (y / 19.0).sin() + (x / 31.0 + y / 23.0).cos()).sin() > 0.0
    };
    let values: Vec<f32> = (0..SIZE * SIZE).map(|i| f32::from(u8::from(phase(i))) + 0.2 * random(i, 3)).collect();
    let (labels, facts) = run(&values, SIZE, &GrainsConfig::default());
    assert_eq!(facts.kind, GrainKind::Steps, "{facts:?}");
    let made: Vec<usize> = (0..SIZE * SIZE).map(|i| usize::from(phase(i))).collect();
    assert!(agreement(&labels, &made) > 0.9, "{} {facts:?}", agreement(&labels, &made));
}

/// Straight dark lines from edge to edge on a surface with a little noise.
#[test]
fn scratches_that_cross_are_said() {
    let mut values: Vec<f32> = (0..SIZE * SIZE).map(|i| 0.7 + 0.05 * random(i, 5)).collect();
    for scratch in 0..14 {
        let (angle, away) = (std::f32::consts::PI * random(scratch, 11), SIZE as f32 * (random(scratch, 12) - 0.5));
        for (i, value) in values.iter_mut().enumerate() {
            let [y, x] = [i / SIZE, i % SIZE].map(|at| at as f32 - SIZE as f32 / 2.0);
            if (x * angle.cos() + y * angle.sin() - away).abs() < 1.2 {
                *value = 0.2;
            }
        }
    }
    for config in [GrainsConfig::default(), learned()] {
        let (_, facts) = run(&values, SIZE, &config);
        let crossed = facts.doubts.iter().any(|doubt| matches!(doubt, Doubt::Crossings { .. }));
        assert!(crossed, "{facts:?}");
    }
}

#[test]
fn what_has_no_grains_is_said() {
    let noise: Vec<f32> = (0..200 * 200).map(|i| random(i, 5)).collect();
    let blank = vec![0.4; 200 * 200];
    let one_grain: Vec<f32> = noise.iter().map(|value| 0.7 + 0.02 * value).collect();
    let slope: Vec<f32> = (0..200 * 200).map(|i| (i % 200 + i / 200) as f32 / 400.0 + 0.02 * noise[i]).collect();
    let line: Vec<f32> = noise[..5000].to_vec();
    let mut blurred = Plane { width: 200, height: 200, values: noise.clone() };
    denoise::gaussian(&mut blurred, 3.0);
    for (name, pixels, width) in [
        ("noise", &noise, 200),
        ("blank", &blank, 200),
        ("one grain", &one_grain, 200),
        ("slope", &slope, 200),
        ("blurred noise", &blurred.values, 200),
        ("a row", &line, 5000),
        ("a column", &line, 1),
    ] {
        for config in [GrainsConfig::default(), learned()] {
            let (labels, facts) = run(pixels, width, &config);
            assert!(!facts.doubts.is_empty(), "{name}: {facts:?}");
            assert_eq!(labels.len(), pixels.len());
            assert!(labels.iter().all(|&label| label > 0), "{name}");
        }
    }
    for config in [GrainsConfig::default(), learned()] {
        let (labels, facts) = run(&blank, 200, &config);
        assert_eq!((facts.doubts, count(&labels)), (vec![Doubt::Nothing], 1));
    }
    // Bands from edge to edge close nothing.
    let bands: Vec<f32> = (0..200 * 200).map(|i| (i / 200 / 20 % 2) as f32).collect();
    for landscape in [GrainLandscape::Auto, GrainLandscape::Steps, GrainLandscape::Learned] {
        let facts = run(&bands, 200, &GrainsConfig { landscape, ..GrainsConfig::default() }).1;
        assert!(facts.doubts.contains(&Doubt::FewClosed { grains: 0 }), "{facts:?}");
    }
}

#[test]
fn lines_that_were_taken_for_grains_are_said() {
    let grains = Grains::new();
    let asked = GrainsConfig { landscape: GrainLandscape::Steps, sigma_px: Some(1.0), ..GrainsConfig::default() };
    // Broad lines, each with two steps.
    let mut wide = grains.lines(0.8, 0.1, 0.0);
    let plane = Plane { width: SIZE, height: SIZE, values: wide.clone() };
    let dark = |i: usize| {
        (0..4).any(|d| i >= d && plane.values[i - d] < 0.5)
            || (0..4).any(|d| i >= d * SIZE && plane.values[i - d * SIZE] < 0.5)
    };
    wide.iter_mut().enumerate().for_each(|(i, value)| *value = if dark(i) { 0.1 } else { 0.8 });
    let (_, facts) = run(&wide, SIZE, &asked);
    let (_, of_lines) = run(&wide, SIZE, &GrainsConfig::default());
    let closed = of_lines.reason.contains("they close");
    assert!(
        closed || facts.doubts.iter().any(|doubt| matches!(doubt, Doubt::AsThinAsLines { .. })),
        "{facts:?} {of_lines:?}"
    );
}

#[test]
fn what_is_asked_is_done() {
    let grains = Grains::new();
    let bright = grains.lines(0.2, 0.9, 0.1);
    let dark = GrainsConfig {
        landscape: GrainLandscape::Lines,
        boundaries: Polarity::Dark,
        sigma_px: Some(3.0),
        min_size_px: Some(200),
    };
    let (labels, facts) = run(&bright, SIZE, &dark);
    assert_eq!((facts.kind, facts.sigma_px), (GrainKind::DarkLines, 3.0));
    let sizes = (1..=count(&labels)).map(|label| labels.iter().filter(|&&l| l as usize == label).count());
    assert!(count(&labels) == 1 || sizes.min() >= Some(200));
    for (boundaries, kind) in
        [(Polarity::Dark, GrainKind::DarkParticles), (Polarity::Bright, GrainKind::BrightParticles)]
    {
        let asked = GrainsConfig { landscape: GrainLandscape::Particles, boundaries, ..GrainsConfig::default() };
        assert_eq!(run(&bright, SIZE, &asked).1.kind, kind);
    }
}
