use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{watershed::each_neighbor, *};

const UNIT: Levels = Levels { low: 0.0, high: 1.0 };

fn grey(width: usize, height: usize, pixels: &[f32]) -> ImageRef<'_> {
    ImageRef { width, height, channels: 1, pixels: PixelsRef::F32(pixels) }
}

fn labels(width: usize, height: usize, pixels: &[f32], config: &Segmentation) -> Vec<u32> {
    match segment(grey(width, height, pixels), UNIT, config).unwrap() {
        Segments::Labels(map) => map.labels,
        Segments::Boxes(boxes) => panic!("boxes {boxes:?}"),
    }
}

fn by_watershed(landscape: Landscape) -> Segmentation {
    Segmentation::Watershed(WatershedConfig { landscape, ..WatershedConfig::default() })
}

fn measured(landscape: GrainLandscape) -> Segmentation {
    Segmentation::Grains(GrainsConfig { landscape, ..GrainsConfig::default() })
}

/// Whether pixels outside all particles belong to nothing.
fn has_ground(config: &Segmentation) -> bool {
    match config {
        Segmentation::Grains(config) => config.landscape == GrainLandscape::Particles,
        Segmentation::Otsu(_) => true,
        _ => false,
    }
}

fn every_method() -> Vec<Segmentation> {
    let landscapes = [Landscape::Gradient, Landscape::Boundaries, Landscape::Distance];
    let grains =
        [GrainLandscape::Auto, GrainLandscape::Lines, GrainLandscape::Steps, GrainLandscape::Particles].map(measured);
    let otsu = Segmentation::Otsu(OtsuConfig::default());
    landscapes.map(by_watershed).into_iter().chain(grains).chain([otsu]).collect()
}

fn number_of(labels: &[u32]) -> u32 {
    let found: BTreeSet<u32> = labels.iter().copied().filter(|&label| label != 0).collect();
    let count = found.len() as u32;
    assert!(found.into_iter().eq(1..=count), "labels have gaps");
    count
}

/// Whether the pixels of each label are connected by edges.
fn connected(labels: &[u32], width: usize) -> bool {
    let height = labels.len() / width;
    let mut seen = vec![false; labels.len()];
    let mut met = BTreeSet::new();
    for start in 0..labels.len() {
        if seen[start] || labels[start] == 0 {
            continue;
        }
        if !met.insert(labels[start]) {
            return false;
        }
        let mut stack = vec![start];
        seen[start] = true;
        while let Some(pixel) = stack.pop() {
            each_neighbor(pixel, width, height, |next| {
                if !seen[next] && labels[next] == labels[pixel] {
                    seen[next] = true;
                    stack.push(next);
                }
            });
        }
    }
    true
}

fn with_threads<T: Send>(count: usize, run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap().install(run)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn grains_cover_hang_together_and_do_not_depend_on_threads(
        width in 1usize..70, height in 1usize..50, seed in any::<u64>(), grain in 1usize..20, min_size_px in 0u32..60,
    ) {
        let noise = |i: u64| ((i ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f32 / (1u64 << 24) as f32;
        let value = |i: usize| {
            let cell = (i / width / grain * 1000 + i % width / grain) as u64;
            0.7 * noise(cell + 1) + 0.3 * noise(i as u64 + 1_000_000)
        };
        let pixels: Vec<f32> = (0..width * height).map(value).collect();
        for landscape in [Landscape::Gradient, Landscape::Boundaries, Landscape::Distance] {
            let config = Segmentation::Watershed(WatershedConfig {
                landscape, min_size_px, sigma_px: 0.5, ..WatershedConfig::default()
            });
            let one = with_threads(1, || labels(width, height, &pixels, &config));
            prop_assert_eq!(&one, &with_threads(2, || labels(width, height, &pixels, &config)));
            prop_assert!(one.iter().all(|&label| label != 0));
            prop_assert!(connected(&one, width));
            let count = number_of(&one);
            let sizes = (1..=count).map(|label| one.iter().filter(|&&l| l == label).count());
            prop_assert!(count == 1 || sizes.min() >= Some(min_size_px as usize));
        }
        let config = Segmentation::Otsu(OtsuConfig { min_size_px, ..OtsuConfig::default() });
        let one = with_threads(1, || labels(width, height, &pixels, &config));
        prop_assert_eq!(&one, &with_threads(2, || labels(width, height, &pixels, &config)));
        prop_assert!(connected(&one, width));
        number_of(&one);
    }

    #[test]
    fn distances_are_those_of_brute_force(width in 1usize..24, height in 1usize..24, bits in prop::collection::vec(any::<u8>(), 576), rarity in 1u8..60) {
        let mask: Vec<bool> = bits[..width * height].iter().map(|&b| b % rarity != 0 || rarity == 1).collect();
        let found = distance::distances_px(&mask, width, height);
        let outside: Vec<(i64, i64)> = (0..mask.len()).filter(|&i| !mask[i]).map(|i| ((i / width) as i64, (i % width) as i64)).collect();
        for (i, found) in found.into_iter().enumerate() {
            let (r, c) = ((i / width) as i64, (i % width) as i64);
            let nearest = outside.iter().map(|&(a, b)| (a - r).pow(2) + (b - c).pow(2)).min();
            let expected = nearest.map_or((width + height) as f32, |square| (square as f64).sqrt() as f32);
            prop_assert_eq!(found, expected);
        }
    }
}

#[test]
fn images_without_content_have_a_defined_outcome() {
    for (width, height) in [(0, 0), (0, 3), (3, 0), (1, 1), (1, 9), (9, 1), (40, 30)] {
        for value in [0.0, 0.5, f32::NAN, f32::INFINITY] {
            let pixels = vec![value; width * height];
            for config in every_method() {
                let found = labels(width, height, &pixels, &config);
                let expected = u32::from(!has_ground(&config) && !pixels.is_empty());
                assert_eq!(found, vec![expected; width * height], "{width} x {height} of {value}, {}", config.method());
            }
        }
    }
}

#[test]
fn grains_of_different_grey_are_parted() {
    let pixels: Vec<f32> = (0..60 * 60).map(|i| [0.1, 0.9, 0.7, 0.3][i / 60 / 30 * 2 + i % 60 / 30]).collect();
    let found = labels(60, 60, &pixels, &by_watershed(Landscape::Gradient));
    assert_eq!(number_of(&found), 4);
    let wrong = (0..3600).filter(|&i| found[i] != (i / 60 / 30 * 2 + i % 60 / 30) as u32 + 1).count();
    assert!(wrong <= 60, "{wrong} of 3600 pixels");
}

#[test]
fn closed_lines_part_grains_dark_or_bright() {
    for (line, grain) in [(0.1, 0.8), (0.9, 0.2)] {
        let on_line = |i: usize| i / 90 % 30 == 15 || i % 90 % 30 == 15;
        let pixels: Vec<f32> = (0..90 * 90).map(|i| if on_line(i) { line } else { grain }).collect();
        for landscape in [Landscape::Boundaries, Landscape::Distance] {
            assert_eq!(number_of(&labels(90, 90, &pixels, &by_watershed(landscape))), 16, "{landscape:?} {line}");
        }
    }
}

/// Two discs of radius 20 that overlap by 4 pixels, and a ring.
fn discs() -> Vec<f32> {
    let within = |i: usize, row: f32, column: f32, radius: f32| {
        ((i / 160) as f32 - row).hypot((i % 160) as f32 - column) <= radius
    };
    (0..100 * 160)
        .map(|i| {
            let ring = within(i, 60.0, 125.0, 20.0) && !within(i, 60.0, 125.0, 12.0);
            if within(i, 40.0, 30.0, 20.0) || within(i, 40.0, 66.0, 20.0) || ring { 0.9 } else { 0.1 }
        })
        .collect()
}

#[test]
fn touching_particles_are_split_and_rings_filled() {
    let run = |pixels: &[f32], change: fn(&mut OtsuConfig)| {
        let mut config = OtsuConfig::default();
        change(&mut config);
        labels(160, 100, pixels, &Segmentation::Otsu(config))
    };
    let found = run(&discs(), |_| {});
    assert_eq!(number_of(&found), 3);
    assert_ne!(found[60 * 160 + 125], 0, "the hole");
    assert_eq!(number_of(&run(&discs(), |config| config.split = false)), 2);
    assert_eq!(run(&discs(), |config| config.fill_holes = false)[60 * 160 + 125], 0);
    let dark: Vec<f32> = discs().iter().map(|v| 1.0 - v).collect();
    assert_eq!(run(&dark, |_| {}), found, "dark particles");
    assert_eq!(number_of(&run(&discs(), |config| config.min_size_px = 1300)), 0, "all are small");
}

#[test]
fn tiles_are_centred_and_do_not_leave_the_image() {
    let boxes = |width, height, size_px, overlap_px| {
        let image = ImageRef { width, height, channels: 1, pixels: PixelsRef::U8(&[]) };
        match segment(image, UNIT, &Segmentation::Tiles { size_px, overlap_px }).unwrap() {
            Segments::Boxes(boxes) => boxes,
            Segments::Labels(_) => panic!("labels"),
        }
    };
    assert_eq!(boxes(10, 7, 4, 0), [[1, 1, 5, 5], [1, 5, 5, 9]]);
    assert_eq!(boxes(10, 4, 4, 2), [[0, 0, 4, 4], [0, 2, 4, 6], [0, 4, 4, 8], [0, 6, 4, 10]]);
    assert_eq!(boxes(3, 9, 4, 0), [[0, 0, 4, 3], [4, 0, 8, 3]]);
    assert_eq!(boxes(200, 200, 200, 0), [[0, 0, 200, 200]]);
}

#[test]
fn recipes_are_read_and_mistakes_refused() {
    let read = |json: &str| serde_json::from_str::<Segmentation>(json);
    // As old recipes mean it.
    assert_eq!(read(r#"{"method": "watershed"}"#).unwrap(), Segmentation::Watershed(WatershedConfig::default()));
    assert_eq!(read(r#"{"method": "whole-image"}"#).unwrap(), Segmentation::WholeImage {});
    assert_eq!(
        read(r#"{"method": "tiles", "size_px": 9}"#).unwrap(),
        Segmentation::Tiles { size_px: 9, overlap_px: 0 }
    );
    for (json, expected) in [
        (r#"{"method": "watershed", "sigma": 3}"#, "unknown field `sigma`"),
        (r#"{"method": "grains", "min_depth": 3}"#, "unknown field `min_depth`"),
        (r#"{"method": "grains", "landscape": "gradient"}"#, "unknown variant `gradient`"),
        (r#"{"method": "otsu", "min_size": 3}"#, "unknown field `min_size`"),
        (r#"{"method": "tiles", "size_px": 9, "overlap": 3}"#, "unknown field `overlap`"),
        (r#"{"method": "whole-image", "size_px": 9}"#, "unknown field `size_px`"),
        (r#"{"method": "labels", "path": "x"}"#, "unknown field `path`"),
        (r#"{"method": "kmeans"}"#, "unknown variant `kmeans`"),
    ] {
        let error = read(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
    for config in every_method() {
        assert_eq!(read(&serde_json::to_string(&config).unwrap()).unwrap(), config);
    }
    for bad in [
        Segmentation::Grains(GrainsConfig { sigma_px: Some(0.0), ..GrainsConfig::default() }),
        Segmentation::Tiles { size_px: 0, overlap_px: 0 },
        Segmentation::Tiles { size_px: 4, overlap_px: 4 },
        Segmentation::Watershed(WatershedConfig { sigma_px: f32::NAN, ..WatershedConfig::default() }),
        Segmentation::Watershed(WatershedConfig { min_depth: Some(-1.0), ..WatershedConfig::default() }),
        Segmentation::Otsu(OtsuConfig { min_neck_px: 0.0, ..OtsuConfig::default() }),
    ] {
        assert!(matches!(bad.validate(), Err(Error::Config { .. })), "{bad:?}");
    }
    assert!(matches!(segment(grey(1, 1, &[0.0]), UNIT, &Segmentation::Labels {}), Err(Error::Config { .. })));
}
