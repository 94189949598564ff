use std::collections::BTreeSet;

use super::*;

fn of_kind(lines: Lines, side_px: usize) -> SyntheticMicrograph {
    let mut pictures = (0..200).map(|index| training_micrograph(side_px, 3, index));
    pictures.find(|picture| picture.lines == lines && picture.plainness.iter().sum::<f32>() > 0.0).unwrap()
}

#[test]
fn pictures_follow_from_seed_and_number() {
    let picture = |seed, index| training_micrograph(48, seed, index);
    let first = picture(1, 7);
    assert_eq!(first.grey, picture(1, 7).grey);
    assert_eq!(first.labels, picture(1, 7).labels);
    assert_ne!(first.grey, picture(1, 8).grey);
    assert_ne!(first.grey, picture(2, 7).grey);
    let new = |kind| new_micrograph(kind, 48, 1, 7).grey;
    let different: BTreeSet<Vec<u32>> =
        NewKind::ALL.iter().map(|&kind| new(kind).iter().map(|v| v.to_bits()).collect()).collect();
    assert_eq!(different.len(), NewKind::ALL.len());
}

/// The label map is the oracle: wherever a label changes, and only there, a boundary is within a pixel.
#[test]
fn boundaries_are_where_labels_change() {
    let side = 96;
    for index in 0..30 {
        let picture = training_micrograph(side, 11, index);
        let labels = &picture.labels.labels;
        let changes = |i: usize| {
            let mut found = false;
            crate::segment::each_neighbor(i, side, side, |next| found |= labels[next] != labels[i]);
            found
        };
        let changing: Vec<usize> = (0..side * side).filter(|&i| changes(i)).collect();
        let marked = picture.is_boundary.iter().filter(|&&b| b).count();
        // Within a pixel: 3 x 3.
        let near = |i: usize, test: &dyn Fn(usize) -> bool| {
            let (row, column) = (i / side, i % side);
            (row.saturating_sub(1)..(row + 2).min(side))
                .any(|r| (column.saturating_sub(1)..(column + 2).min(side)).any(|c| test(r * side + c)))
        };
        let missed = changing.iter().filter(|&&i| !near(i, &|j| picture.is_boundary[j])).count();
        let invented = (0..side * side).filter(|&i| picture.is_boundary[i] && !near(i, &changes)).count();
        assert!(missed * 50 <= changing.len(), "{index}: {missed} of {}", changing.len());
        // Slivers of fewer than 12 pixels have boundaries but no label.
        assert!(invented * 12 <= marked, "{index}: {invented} of {marked}");
        assert_eq!(changing.is_empty(), picture.lines == Lines::None || labels.iter().max() == Some(&1), "{index}");
    }
}

/// Grey on boundaries against grey off them.
#[test]
fn lines_are_darker_or_brighter() {
    let difference = |picture: &SyntheticMicrograph| {
        let mean = |on: bool| {
            let values = picture.grey.iter().zip(&picture.is_boundary).filter(|&(_, &b)| b == on).map(|(&g, _)| g);
            let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
            sum / count as f32
        };
        mean(true) - mean(false)
    };
    let mut sums = [0.0; 2];
    for picture in (0..120).map(|index| training_micrograph(64, 5, index)) {
        if !picture.is_boundary.contains(&true) {
            continue;
        }
        match picture.lines {
            Lines::Bright => sums[0] += difference(&picture),
            Lines::DarkAndSteps => sums[1] += difference(&picture),
            _ => {}
        }
    }
    assert!(sums[0] > 0.3 && sums[1] < -0.3, "{sums:?}");
}

#[test]
fn grains_have_about_the_size_that_was_drawn() {
    let mut draw = Draw(seed::rng(1, 1));
    let shape =
        tessellation::Shape { diameter_px: 20.0, spread: 0.0, evenness: 0.7, aspect: 1.0, waves: None, duplex: false };
    let cells = tessellation::tessellate(&mut draw, 200, &shape);
    let map = label_map(&cells, 200);
    let count = map.labels.iter().max().copied().unwrap();
    // 200 x 200 over 20 x 20, and those that reach in from outside: perimeter over diameter, halved.
    assert!((90..180).contains(&count), "{count}");
    // Straight bisectors: the distance to the boundary of the nearest and the next site, by its definition.
    let aspect = tessellation::Shape { aspect: 4.0, ..shape };
    let long = label_map(&tessellation::tessellate(&mut draw, 200, &aspect), 200);
    let ratio = |map: &LabelMap| {
        let regions = crate::regions(map, None);
        let inner = regions.iter().filter(|region| !region.touches_border);
        let (sum, n) = inner.fold((0.0, 0), |(sum, n), r| (sum + r.major_axis_px / r.minor_axis_px, n + 1));
        sum / f64::from(n)
    };
    assert!(ratio(&map) < 1.8 && ratio(&long) > 3.0, "{} {}", ratio(&map), ratio(&long));
}

#[test]
fn one_grain_has_no_boundary() {
    let picture = of_kind(Lines::None, 40);
    assert!(picture.labels.labels.iter().all(|&label| label == 1));
    assert!(picture.is_boundary.iter().all(|&b| !b));
    assert!(picture.plainness.iter().all(|&p| p == 1.0));
}
