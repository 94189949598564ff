use image::imageops::{self, FilterType};
use proptest::prelude::*;

use super::*;

const AUTO: How<'static> = How { kind: MaskKind::Auto, background: &[] };
const INSTANCES: How<'static> = How { kind: MaskKind::Instances, background: &[] };
const CLASSES: How<'static> = How { kind: MaskKind::Classes, background: &[] };

/// Cells around `n` seeds, labels from 1: each pixel belongs to the nearest.
fn cells(width: usize, height: usize, n: u64, seed: u64) -> LabelMap {
    let number = |k: u64, side: usize| (invar_dataset::seed::mix(seed, k) % (side as u64 * 16)) as f64 / 16.0;
    let seeds: Vec<[f64; 2]> = (0..n).map(|k| [number(2 * k, width), number(2 * k + 1, height)]).collect();
    let nearest = |x: usize, y: usize| {
        let distance = |&[a, b]: &[f64; 2]| (a - x as f64).powi(2) + (b - y as f64).powi(2);
        let best = (0..seeds.len()).min_by(|&a, &b| distance(&seeds[a]).total_cmp(&distance(&seeds[b])));
        best.unwrap() as u32 + 1
    };
    LabelMap { width, height, labels: (0..width * height).map(|i| nearest(i % width, i / width)).collect() }
}

/// Discs that do not touch, labels from 1, on 0.
fn discs(width: usize, height: usize, n: usize, radii: [f64; 2], seed: u64) -> LabelMap {
    let number = |k: u64| (invar_dataset::seed::mix(seed, k) >> 11) as f64 / (1u64 << 53) as f64;
    let mut found: Vec<[f64; 3]> = Vec::new();
    for k in 0..40 * n as u64 {
        let radius = radii[0] + (radii[1] - radii[0]) * number(3 * k);
        let [x, y] = [width, height].map(|side| side as f64);
        let disc = [x * number(3 * k + 1), y * number(3 * k + 2), radius];
        if found.len() < n && found.iter().all(|o| (o[0] - disc[0]).hypot(o[1] - disc[1]) > o[2] + radius + 3.0) {
            found.push(disc);
        }
    }
    let label =
        |x: f64, y: f64| found.iter().position(|d| (d[0] - x).hypot(d[1] - y) <= d[2]).map_or(0, |k| k as u32 + 1);
    LabelMap {
        width,
        height,
        labels: (0..width * height).map(|i| label((i % width) as f64, (i / width) as f64)).collect(),
    }
}

/// Pixels whose right or lower neighbour has another label; `thick` more around them.
fn lines(map: &LabelMap, thick: usize) -> Vec<bool> {
    let at = |x: usize, y: usize| map.labels[y.min(map.height - 1) * map.width + x.min(map.width - 1)];
    let thin = |x: usize, y: usize| at(x, y) != at(x + 1, y) || at(x, y) != at(x, y + 1);
    let near = |x: usize, y: usize| {
        let rows = y.saturating_sub(thick)..=(y + thick).min(map.height - 1);
        rows.flat_map(|v| (x.saturating_sub(thick)..=(x + thick).min(map.width - 1)).map(move |u| (u, v)))
            .any(|(u, v)| thin(u, v))
    };
    (0..map.labels.len()).map(|i| near(i % map.width, i / map.width)).collect()
}

/// The map with other values, computed for each pixel from its label and whether it is on a line.
fn valued(map: &LabelMap, lines: &[bool], value: impl Fn(u32, bool) -> u32) -> LabelMap {
    let labels = map.labels.iter().zip(lines).map(|(&label, &is_line)| value(label, is_line)).collect();
    LabelMap { labels, ..map.clone() }
}

fn read(map: &LabelMap, how: How<'_>) -> Grains {
    grains(map.clone(), how, false).unwrap_or_else(|_| panic!("it is no picture"))
}

/// Number of labels.
fn count(map: &LabelMap) -> usize {
    map.labels.iter().filter(|&&label| label != 0).collect::<std::collections::HashSet<_>>().len()
}

/// Number of 4-connected parts of labels that are not on lines: counted by flooding.
fn parts_beside(map: &LabelMap, lines: &[bool]) -> usize {
    areas_beside(map, lines).len()
}

/// The same without specks: parts of fewer than 5 pixels where the median has 250 and more.
fn grains_beside(map: &LabelMap, lines: &[bool]) -> usize {
    let mut areas = areas_beside(map, lines);
    areas.sort_unstable();
    let least = if areas[areas.len() / 2] >= 250 { 5 } else { 1 };
    areas.into_iter().filter(|&area| area >= least).count()
}

fn areas_beside(map: &LabelMap, lines: &[bool]) -> Vec<usize> {
    let mut open: Vec<bool> = map.labels.iter().zip(lines).map(|(&label, &line)| label != 0 && !line).collect();
    let mut areas = Vec::new();
    for first in 0..open.len() {
        let mut stack = if open[first] { vec![first] } else { continue };
        let mut area = 0;
        while let Some(pixel) = stack.pop() {
            if !std::mem::replace(&mut open[pixel], false) {
                continue;
            }
            area += 1;
            let (x, y) = (pixel % map.width, pixel / map.width);
            let mut add = |inside: bool, next: usize| {
                if inside && open[next] && map.labels[next] == map.labels[pixel] {
                    stack.push(next);
                }
            };
            add(x > 0, pixel.wrapping_sub(1));
            add(x + 1 < map.width, pixel + 1);
            add(y > 0, pixel.wrapping_sub(map.width));
            add(y + 1 < map.height, pixel + map.width);
        }
        areas.push(area);
    }
    areas
}

const SIZES: [(usize, usize, u64); 4] = [(128, 96, 20), (400, 300, 60), (200, 200, 40), (256, 192, 6)];

#[test]
fn class_maps_of_grains_and_lines_are_parted_whichever_value_is_which() {
    for (width, height, n) in SIZES {
        for (seed, thick) in [(3, 0), (4, 0), (5, 1), (6, 2)] {
            let map = cells(width, height, n, seed);
            let lines = lines(&map, thick);
            let expected = parts_beside(&map, &lines);
            // ilastik: 1 background, 2 grain; and the labels the other way round.
            for (line, grain) in [(1, 2), (2, 1), (3, 7)] {
                let found = read(&valued(&map, &lines, |_, is_line| if is_line { line } else { grain }), AUTO);
                assert_eq!(
                    count(&found.map),
                    grains_beside(&map, &lines),
                    "{width}, {seed}, {line}: {:?}",
                    found.facts
                );
                assert_eq!((found.facts.reading, found.facts.background), (MaskReading::Classes, vec![0, line]));
                assert!(
                    found.facts.notes[0].contains(&format!("value {line} surrounds them")),
                    "{:?}",
                    found.facts.notes
                );
            }
            // Black and white, and white lines on black.
            let found = read(&valued(&map, &lines, |_, is_line| if is_line { 0 } else { 255 }), AUTO);
            assert_eq!((count(&found.map), found.facts.notes), (expected, vec![]));
            if 2 * lines.iter().filter(|&&is_line| is_line).count() > lines.len() {
                continue;
            }
            let found = read(&valued(&map, &lines, |_, is_line| if is_line { 255 } else { 0 }), AUTO);
            assert_eq!(count(&found.map), expected, "{width} x {height}, {seed}: {:?}", found.facts);
            assert!(found.facts.notes[0].contains("net of lines"), "{:?}", found.facts.notes);
        }
    }
}

#[test]
fn class_maps_of_particles_are_parted_and_their_rims_dropped() {
    for (width, height, _) in SIZES {
        for seed in 0..4 {
            let map = discs(width, height, 15, [4.0, 12.0], seed);
            let expected = parts_beside(&map, &vec![false; map.labels.len()]);
            let none = vec![false; map.labels.len()];
            for (ground, particle) in [(1, 2), (2, 1)] {
                let found = read(&valued(&map, &none, |label, _| if label == 0 { ground } else { particle }), AUTO);
                assert_eq!((count(&found.map), found.facts.background), (expected, vec![0, ground]), "{width}, {seed}");
            }
            // As segmenteverygrain has it: 0 background, 1 grain, 2 what lies around grains.
            let rims = lines(&map, 1);
            let expected = parts_beside(&map, &rims);
            let values = valued(&map, &rims, |label, is_rim| if is_rim { 2 } else { u32::from(label != 0) });
            let found = read(&values, AUTO);
            assert_eq!((count(&found.map), found.facts.boundaries), (expected, vec![2]), "{width}, {seed}");
        }
    }
    // The same with grains that fill the image, and a small part of it not annotated.
    let map = cells(300, 200, 50, 9);
    let rims = lines(&map, 2);
    let mut values = valued(&map, &rims, |_, is_rim| if is_rim { 2 } else { 1 });
    values.labels[..300 * 8].fill(0);
    let mut rims = rims;
    rims[..300 * 8].fill(true);
    let found = read(&values, AUTO);
    assert_eq!((count(&found.map), found.facts.boundaries), (grains_beside(&map, &rims), vec![2]));
}

#[test]
fn phases_are_parted_and_become_classes() {
    let map = cells(300, 200, 50, 2);
    let lines = lines(&map, 0);
    let values = valued(&map, &lines, |label, is_line| if is_line { 0 } else { label % 3 + 1 });
    let found = read(&values, AUTO);
    assert_eq!(count(&found.map), grains_beside(&map, &lines));
    assert_eq!((found.facts.background.as_slice(), found.facts.boundaries.as_slice()), ([0].as_slice(), [].as_slice()));
    assert_eq!(found.classes.unwrap(), values);
    // Without background every part is a grain, and touching grains of one phase are one.
    let values = valued(&map, &vec![false; map.labels.len()], |label, _| label % 5 + 1);
    let found = read(&values, AUTO);
    assert_eq!(count(&found.map), grains_beside(&values, &vec![false; map.labels.len()]));
    assert_eq!(found.map.labels.iter().filter(|&&label| label == 0).count(), 0, "{:?}", found.facts);
    // The user may know better.
    let how = How { kind: MaskKind::Auto, background: &[3] };
    let found = read(&values, how);
    let zeros = |map: &LabelMap, value| map.labels.iter().filter(|&&label| label == value).count();
    assert_eq!((zeros(&found.map, 0), found.facts.background), (zeros(&values, 3), vec![0]));
    assert_eq!(read(&values, INSTANCES).map, values);
}

#[test]
fn labels_stay_labels() {
    for (width, height, n) in SIZES {
        for seed in 0..4 {
            let filled = cells(width, height, n, seed);
            let lined = valued(&filled, &lines(&filled, 0), |label, is_line| if is_line { 0 } else { label * 1000 });
            for map in
                [filled, lined, discs(width, height, 40, [1.0, 3.0], seed), discs(width, height, 3, [5.0, 20.0], seed)]
            {
                let found = read(&map, AUTO);
                assert_eq!((&found.map, found.classes), (&map, None));
                assert_eq!((found.facts.reading, found.facts.notes), (MaskReading::Instances, vec![]));
            }
        }
    }
}

#[test]
fn a_few_labels_in_parts_stay_and_are_said() {
    let mut map = cells(200, 150, 30, 1);
    for label in [3, 9] {
        let column = map.labels.iter().position(|&other| other == label).unwrap() % 200;
        // A cut down the middle.
        let columns: Vec<usize> = (0..map.labels.len()).filter(|&i| map.labels[i] == label).map(|i| i % 200).collect();
        let middle = (columns.iter().min().unwrap() + columns.iter().max().unwrap()) / 2;
        assert!(column < 200);
        (0..map.labels.len()).filter(|i| i % 200 == middle).for_each(|i| {
            if map.labels[i] == label {
                map.labels[i] = 0;
            }
        });
    }
    let found = read(&map, AUTO);
    assert_eq!(found.map, map);
    assert!(found.facts.notes[0].starts_with("2 of 30 labels fall into several parts"), "{:?}", found.facts.notes);
    assert_eq!(count(&read(&map, CLASSES).map), 32);
}

#[test]
fn two_labels_that_cover_the_image_are_said() {
    let map = cells(100, 80, 2, 5);
    let found = read(&map, AUTO);
    assert_eq!(found.map, map);
    assert!(found.facts.notes[0].contains("no pixel is 0"), "{:?}", found.facts.notes);
    let how = How { kind: MaskKind::Auto, background: &[2] };
    assert_eq!(count(&read(&map, how).map), 1);
    // Zero may be a grain.
    let zeros = valued(&map, &vec![false; 8000], |label, _| if label == 2 { 0 } else { 7 });
    let found = read(&zeros, How { kind: MaskKind::Auto, background: &[7] });
    assert_eq!(
        found.map.labels.iter().filter(|&&label| label == 1).count(),
        zeros.labels.iter().filter(|&&l| l == 0).count()
    );
}

#[test]
fn lossy_and_resized_masks_are_black_and_white_again() {
    for (width, height, n) in SIZES {
        for seed in 0..3 {
            let grown = cells(width, height, n, seed);
            let edge = lines(&grown, 0);
            let white = valued(&grown, &edge, |_, is_line| if is_line { 0 } else { 255 });
            let mut sizes = vec![0u64; n as usize + 1];
            white.labels.iter().zip(&grown.labels).for_each(|(&w, &label)| sizes[label as usize] += u64::from(w != 0));
            let expected = Parts::of(&white, false).boxes(255).len();
            let bytes: Vec<u8> = white.labels.iter().map(|&label| label as u8).collect();
            let picture = image::GrayImage::from_raw(width as u32, height as u32, bytes).unwrap();
            let mut jpeg = std::io::Cursor::new(Vec::new());
            image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 90).encode_image(&picture).unwrap();
            let jpeg = image::load_from_memory(&jpeg.into_inner()).unwrap().to_luma8();
            let small = imageops::resize(&picture, width as u32 / 2, height as u32 / 2, FilterType::CatmullRom);
            let soft = imageops::resize(&small, width as u32, height as u32, FilterType::Triangle);
            for (what, picture, is_lossy) in
                [("jpeg", jpeg.clone(), true), ("jpeg as PNG", jpeg, false), ("soft", soft, false)]
            {
                let labels = picture.as_raw().iter().map(|&value| u32::from(value)).collect();
                let map = LabelMap { width, height, labels };
                let found =
                    grains(map, AUTO, is_lossy).unwrap_or_else(|grey| panic!("{what}: {} levels", grey.num_values));
                assert_eq!(found.facts.reading, MaskReading::Grey, "{what}: {:?}", found.facts);
                // Slivers of a few pixels may be lost or added.
                assert!(
                    count(&found.map).abs_diff(expected) * 20 <= expected.max(20),
                    "{what}: {} of {expected}",
                    count(&found.map)
                );
                assert!(found.facts.notes[0].contains("grey levels"));
            }
        }
    }
}

#[test]
fn pictures_are_no_masks() {
    let noise: Vec<u32> = (0..96 * 128).map(|i| (invar_dataset::seed::mix(1, i) % 256) as u32).collect();
    let map = LabelMap { width: 128, height: 96, labels: noise };
    assert_eq!(grains(map.clone(), AUTO, false).err().map(|grey| grey.num_values), Some(255));
    assert!(grains(map.clone(), CLASSES, true).is_err());
    assert_eq!(read(&map, INSTANCES).map, map);
}

#[test]
fn empty_and_uniform_masks_are_read() {
    let map = |labels: Vec<u32>| LabelMap { width: labels.len(), height: 1, labels };
    assert_eq!(count(&read(&map(vec![0; 9]), AUTO).map), 0);
    let found = read(&map(vec![4; 9]), AUTO);
    assert_eq!((count(&found.map), found.facts.notes.len()), (1, 1));
    assert_eq!(count(&read(&map(vec![4]), CLASSES).map), 1);
    assert_eq!(count(&read(&map(vec![4, 0, 4]), AUTO).map), 2);
    assert_eq!(count(&read(&map(vec![4, 0, 4]), INSTANCES).map), 1);
    assert_eq!(count(&read(&LabelMap { width: 0, height: 0, labels: vec![] }, AUTO).map), 0);
}

#[test]
fn parts_of_black_and_white_are_grains() {
    // The two at the upper right touch only at a corner.
    let white = [255, 0, 0, 255, 255, 0, 255, 0, 0, 0, 255, 255];
    let map = LabelMap { width: 4, height: 3, labels: white.to_vec() };
    assert_eq!(read(&map, AUTO).map.labels, [1, 0, 0, 2, 1, 0, 3, 0, 0, 0, 3, 3]);
}

proptest! {
    #[test]
    fn parts_are_those_of_flooding(values in prop::collection::vec(0u32..3, 120), width in prop::sample::select(vec![1usize, 7, 12, 120])) {
        let height = values.len() / width;
        let map = LabelMap { width, height, labels: values[..width * height].to_vec() };
        let parts = Parts::of(&map, false);
        let none = vec![false; map.labels.len()];
        let num_parts: u64 = parts.iter().filter(|&(value, _)| value != 0).map(|(_, of)| of.num_parts).sum();
        prop_assert_eq!(num_parts as usize, parts_beside(&map, &none));
        // Adjacent pixels of the same value have the same label, and no part has two values.
        let labels = parts.labels(|_, _| true);
        for (i, pair) in labels.windows(2).enumerate().filter(|(i, _)| (i + 1) % width != 0) {
            prop_assert_eq!(pair[0] == pair[1], map.labels[i] == map.labels[i + 1]);
        }
        prop_assert_eq!(Parts::of(&LabelMap { labels, ..map.clone() }, false).num_values(), parts.iter().map(|(_, of)| of.num_parts as usize).sum::<usize>());
        // With corners, more pixels are joined.
        prop_assert!(Parts::of(&map, true).iter().zip(parts.iter()).all(|((_, a), (_, b))| a.num_parts <= b.num_parts));
    }
}
