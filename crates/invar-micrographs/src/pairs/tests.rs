use invar_dataset::View;
use rayon::prelude::*;

use super::*;
use crate::{
    LabelMap, MemoryImage, Pixels,
    views::{Field, Masking},
};

/// Waves in one direction; numbers distinguish pictures.
fn picture(number: usize, size: usize) -> MemoryImage {
    let angle = number as f64 * 0.7;
    let value = |k: usize| {
        let (row, column) = ((k / size) as f64, (k % size) as f64);
        let wave = (0.4 * (row * angle.sin() + column * angle.cos())).sin();
        (120.0 + 60.0 * wave + (k as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64 / u64::MAX as f64 * 40.0) as u8
    };
    MemoryImage {
        name: format!("picture{number}"),
        size: [1, size, size],
        pixels: Pixels::U8((0..size * size).map(value).collect()),
        labels: None,
        pixel_size: None,
    }
}

fn grains(num: usize, size: usize) -> Arc<GrainDataset> {
    Arc::new(GrainDataset::from_images((0..num).map(|number| picture(number, size)).collect()))
}

fn view(field: Field) -> ViewConfig {
    ViewConfig { size_px: 24, field, ..ViewConfig::default() }
}

fn crops() -> GrainPairsConfig {
    GrainPairsConfig { kinds: vec![PairKindConfig::Crops(CropsConfig::default())], ..GrainPairsConfig::default() }
}

fn data(pair: &Pair) -> [&[f32]; 2] {
    match pair.views.as_slice() {
        [(_, View::Dense { data: a, .. }), (_, View::Dense { data: b, .. })] => [a, b],
        other => panic!("{other:?}"),
    }
}

#[test]
fn index_and_seed_fix_the_pair_on_any_number_of_threads() {
    let pairs = GrainPairs::new(grains(8, 60), &GrainPairsConfig::default(), &view(Field::Grain(1.0))).unwrap();
    let draw = || (0..64).into_par_iter().map(|i| pairs.pair(i % 8, (i / 8) as u64).unwrap()).collect::<Vec<_>>();
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let one = pool(1).install(draw);
    assert_eq!(pool(2).install(draw), one);
    // Other seeds and other samples give other pairs, and the two views of a pair differ.
    for (i, pair) in one.iter().enumerate() {
        assert!(one[..i].iter().all(|other| !other.views().eq(pair.views())));
        assert_ne!(pair.views[0].1, pair.views[1].1);
        assert_eq!(pairs.view_shapes(), vec![ViewShape::Dense(vec![1, 24, 24])]);
        assert!(data(pair).iter().all(|v| v.len() == 24 * 24 && v.iter().all(|x| (-0.5..=1.5).contains(x))));
    }
}

#[test]
fn angles_go_all_around_and_jitter_keeps_to_its_limits() {
    let grains = grains(1, 60);
    let config = GrainPairsConfig { max_shift: 0.1, scale: [0.5, 1.0], ..GrainPairsConfig::default() };
    let pairs = GrainPairs::new(grains.clone(), &config, &view(Field::Grain(0.5))).unwrap();
    let mut octants = [0; 8];
    for seed in 0..800 {
        let (_, drawn) = pairs.draw(0, &grains.grain(0), &mut seed::rng(seed, 0)).unwrap();
        for DrawnView { placement, .. } in drawn {
            octants[((placement.angle_deg + 180.0) / 45.0) as usize] += 1;
            let side = placement.step_px[0] * 24.0;
            assert!((15.0..=30.0).contains(&side) && !placement.mirror);
            let [row, column] = placement.center_px.map(|x| x - 29.5);
            assert!(row.hypot(column) <= 0.1 * side + 1e-9);
        }
    }
    // 1,600 angles in 8 parts: 200 each, standard deviation 13.2.
    assert!(octants.iter().all(|&num| (134..=266).contains(&num)), "{octants:?}");
}

#[test]
fn mirrors_only_when_asked() {
    let grains = grains(1, 60);
    let config = GrainPairsConfig { mirror: true, ..GrainPairsConfig::default() };
    let pairs = GrainPairs::new(grains.clone(), &config, &view(Field::Grain(0.5))).unwrap();
    let mirrored = (0..400).flat_map(|seed| pairs.draw(0, &grains.grain(0), &mut seed::rng(seed, 0)).unwrap().1);
    let num = mirrored.filter(|view| view.placement.mirror).count();
    // Half of 800, five standard deviations of 14.
    assert!((330..=470).contains(&num), "{num}");
}

#[test]
fn crops_lie_anywhere_in_the_image() {
    let grains = grains(1, 100);
    let pairs = GrainPairs::new(grains.clone(), &crops(), &view(Field::Px(20.0))).unwrap();
    let mut quarters = [0; 4];
    let mut apart = 0;
    for seed in 0..400 {
        let (kind, drawn) = pairs.draw(0, &grains.grain(0), &mut seed::rng(seed, 0)).unwrap();
        assert_eq!(kind.name(), "crops");
        let [a, b] = drawn.map(|view| view.placement);
        for placement in [a, b] {
            let reach = placement.step_px[0] * 12.0 - 0.5;
            assert!(placement.center_px.iter().all(|x| (reach - 1e-9..=99.0 - reach + 1e-9).contains(x)));
            let [row, column] = placement.center_px.map(|x| usize::from(x > 49.5));
            quarters[2 * row + column] += 1;
        }
        apart += usize::from((a.center_px[0] - b.center_px[0]).hypot(a.center_px[1] - b.center_px[1]) > 20.0);
    }
    // 800 places, 200 in each quarter, standard deviation 12.2.
    assert!(quarters.iter().all(|&num| (139..=261).contains(&num)), "{quarters:?}");
    assert!(apart > 200, "{apart} of 400 lie apart by more than their side");
}

#[test]
fn crops_of_a_grain_are_centred_on_it() {
    let mut image = picture(0, 60);
    // A triangle.
    let labels = (0..60 * 60).map(|k| u32::from(k % 60 < k / 60)).collect();
    image.labels = Some(LabelMap { width: 60, height: 60, labels });
    let grains = Arc::new(GrainDataset::from_images(vec![image]));
    let pairs = GrainPairs::new(grains.clone(), &crops(), &view(Field::Px(10.0))).unwrap();
    for seed in 0..200 {
        for view in pairs.draw(0, &grains.grain(0), &mut seed::rng(seed, 0)).unwrap().1 {
            let [row, column] = view.placement.center_px.map(|x| x.round() as u32);
            assert!(grains.grain(0).mask().contains(row, column));
        }
    }
}

#[test]
fn crops_without_room_are_refused() {
    let error = GrainPairs::new(grains(3, 60), &crops(), &view(Field::Grain(1.5))).err().unwrap().to_string();
    assert!(error.starts_with("pairs.kinds[0]: expected a view.field (times pairs.scale) that leaves room"), "{error}");
}

#[test]
fn kinds_are_mixed_by_weight() {
    let grains = grains(1, 100);
    let kinds = vec![
        PairKindConfig::Rotations(RotationsConfig { weight: 3.0 }),
        PairKindConfig::Crops(CropsConfig { weight: 1.0 }),
    ];
    let config = GrainPairsConfig { kinds, ..GrainPairsConfig::default() };
    let pairs = GrainPairs::new(grains.clone(), &config, &view(Field::Px(20.0))).unwrap();
    let is_crops = |seed| pairs.draw(0, &grains.grain(0), &mut seed::rng(seed, 0)).unwrap().0.name() == "crops";
    let num = (0..1_000).filter(|&seed| is_crops(seed)).count();
    // A quarter of 1,000, five standard deviations of 13.7.
    assert!((182..=318).contains(&num), "{num}");
}

#[test]
fn the_image_is_the_split_key_and_the_grain_the_sample() {
    let mut image = picture(0, 40);
    let labels = (0..40 * 40).map(|k| 1 + u32::from(k % 40 < 20)).collect();
    image.labels = Some(LabelMap { width: 40, height: 40, labels });
    let grains = Arc::new(GrainDataset::from_images(vec![image, picture(1, 40)]));
    let pairs = GrainPairs::new(grains, &GrainPairsConfig::default(), &view(Field::Grain(1.0))).unwrap();
    assert_eq!(pairs.len(), 3);
    assert_eq!(pairs.split_key(0), pairs.split_key(1));
    assert_ne!(pairs.split_key(0), pairs.split_key(2));
    let ids: Vec<SampleId> = (0..3).flat_map(|i| pairs.pair(i, 0).unwrap().views).map(|(id, _)| id).collect();
    assert!(ids[0] == ids[1] && ids[0] != ids[2] && ids[2] == ids[3] && ids[3] != ids[4], "{ids:?}");
}

#[test]
fn a_pair_in_words() {
    let config = GrainPairsConfig { augment: AugmentConfig::none(), ..GrainPairsConfig::default() };
    let pairs = GrainPairs::new(grains(1, 60), &config, &view(Field::Grain(0.5))).unwrap();
    let text = pairs.describe(0, 7).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert_eq!(lines[0], "sample 0 (picture0#1): rotations pair");
    assert!(lines[1].starts_with("  view 1: ") && lines[1].contains("turned by"), "{text}");
    assert_eq!(lines[2].trim(), "intensities as they are");
}

// Two views of one picture without jitter are the same picture, rotated: masked means agree, single pixels do not.
#[test]
fn views_of_a_pair_are_of_one_thing() {
    let config = GrainPairsConfig { augment: AugmentConfig::none(), ..GrainPairsConfig::default() };
    let view = ViewConfig { mask: Masking::Circle, ..view(Field::Grain(1.0)) };
    let pairs = GrainPairs::new(grains(4, 80), &config, &view).unwrap();
    let spread = |values: &[f32]| {
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt()
    };
    for index in 0..4 {
        let pair = pairs.pair(index, 3).unwrap();
        let [a, b] = data(&pair).map(spread);
        assert!((a / b - 1.0).abs() < 0.1, "{a} {b}");
    }
}

#[test]
fn details_lie_anywhere_at_their_own_size_and_leave_the_whole_as_it_was() {
    let grains = grains(1, 100);
    let config = GrainPairsConfig { scale: [0.7, 1.0], ..crops() };
    let plain = view(Field::Grain(1.0));
    let both = ViewConfig { detail: Some(Field::Px(24.0)), ..plain.clone() };
    let pairs = GrainPairs::new(grains.clone(), &config, &both).unwrap();
    assert_eq!(pairs.view_shapes(), vec![ViewShape::Dense(vec![2, 24, 24])]);
    let (mut steps, mut quarters) = (vec![], [0; 4]);
    for seed in 0..200 {
        for DrawnView { detail, .. } in pairs.draw(0, &grains.grain(0), &mut seed::rng(seed, 0)).unwrap().1 {
            let detail = detail.unwrap();
            steps.push(detail.step_px[0]);
            let [row, column] = detail.center_px.map(|x| usize::from(x > 49.5));
            quarters[2 * row + column] += 1;
        }
    }
    // About one source pixel per view pixel: the jitter of the whole, 0.7 to 1, divided by its geometric mean.
    let [least, most] = [0.7f64.sqrt(), 0.7f64.sqrt().recip()];
    assert!(steps.iter().all(|step| (least - 1e-9..=most + 1e-9).contains(step)));
    assert!(quarters.iter().all(|&num| num > 50), "{quarters:?}");
    // The first view of a pair draws its detail last.
    let alone = GrainPairs::new(grains.clone(), &config, &plain).unwrap();
    let first = |pairs: &GrainPairs| pairs.draw(0, &grains.grain(0), &mut seed::rng(3, 0)).unwrap().1[0].placement;
    assert_eq!(first(&alone), first(&pairs));
    assert!(pairs.describe(0, 3).unwrap().contains("detail: "));
}
