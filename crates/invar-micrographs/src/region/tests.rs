use std::f64::consts::{FRAC_PI_2, PI};

use proptest::prelude::*;

use super::*;
use crate::{ImageRef, PixelSize, PixelSizeSource, PixelsRef, neighbors};

fn map(art: &[&str]) -> LabelMap {
    let labels = art.iter().flat_map(|line| line.bytes()).map(|b| if b == b'.' { 0 } else { u32::from(b - b'0') });
    LabelMap { width: art[0].len(), height: art.len(), labels: labels.collect() }
}

fn zoo() -> LabelMap {
    map(&["....11111....", ".22.1...1..3.", ".22.1.4.1.33.", ".2..1...1333.", ".2..11111.3..", "5...........5"])
}

/// A ring, a bar, a triangle, a pixel, and two far pixels of one label.
#[test]
fn measures_are_those_of_regionprops() {
    // scikit-image 0.26, regionprops(zoo, np.add.outer(7 * np.arange(6), 3 * np.arange(13))): label, bbox, area, centroid,
    // equivalent_diameter_area, axis_major_length, axis_minor_length, eccentricity, orientation, perimeter, solidity,
    // intensity_mean, intensity_min, intensity_max
    #[rustfmt::skip]
    #[allow(clippy::approx_constant, clippy::type_complexity)]
    let expected: [(u32, [u32; 4], u64, [f64; 2], [f64; 10]); 5] = [
        (1, [0, 4, 5, 9], 16, [2.0, 6.0],
         [4.513516668, 6.633249581, 6.633249581, 0.0, -0.785398163, 16.0, 0.64, 32.0, 12.0, 52.0]),
        (2, [1, 1, 5, 3], 6, [2.166666667, 1.333333333],
         [2.763953196, 4.363338213, 1.655009792, 0.925274161, -0.225726546, 5.0, 0.857142857, 19.166666667, 10.0, 31.0]),
        (3, [1, 9, 5, 12], 7, [2.571428571, 10.285714286],
         [2.985410661, 4.0, 2.213133341, 0.832993128, -0.5404195, 7.656854249, 1.0, 48.857142857, 40.0, 58.0]),
        (4, [2, 6, 3, 7], 1, [2.0, 6.0], [1.128379167, 0.0, 0.0, 0.0, -0.785398163, 0.0, 1.0, 32.0, 32.0, 32.0]),
        (5, [5, 0, 6, 13], 2, [5.0, 6.0],
         [1.595769122, 24.0, 0.0, 1.0, 1.570796327, 0.0, 0.153846154, 53.0, 35.0, 71.0]),
    ];
    let pixels: Vec<u8> = (0..6 * 13).map(|i| i / 13 * 7 + i % 13 * 3).collect();
    let image = ImageRef { width: 13, height: 6, channels: 1, pixels: PixelsRef::U8(&pixels) };
    let found = regions(&zoo(), Some(image));
    assert_eq!(found.len(), expected.len());
    for (r, (label, bbox, area, centroid, values)) in found.iter().zip(expected) {
        assert_eq!((r.label, r.bbox_px, r.area_px), (label, bbox, area));
        let measured = [
            r.equivalent_diameter_px,
            r.major_axis_px,
            r.minor_axis_px,
            r.eccentricity,
            r.orientation_rad,
            r.perimeter_px,
            r.solidity,
            r.mean_intensity,
            r.min_intensity,
            r.max_intensity,
        ];
        for (a, b) in measured.into_iter().chain(r.centroid_px).zip(values.into_iter().chain(centroid)) {
            assert!((a - b).abs() < 1e-8, "{r:?}: {a} beside {b}");
        }
    }
    assert_eq!(found.iter().map(|r| r.touches_border).collect::<Vec<_>>(), [true, false, false, false, true]);
    assert_eq!(found.iter().map(|r| r.num_neighbors).collect::<Vec<_>>(), [1, 0, 1, 0, 0]);
}

/// An ellipse, a disc and an oblique ellipse on the specimen, a rectangle and two lines, on pixels 0.1 um wide and 0.4 um high.
#[test]
fn measures_in_micrometres_are_those_of_regionprops_with_a_spacing() {
    let (sin, cos) = 30f64.to_radians().sin_cos();
    let is_inside: [&dyn Fn(f64, f64) -> bool; 6] = [
        &|y, x| ((y - 100.0) / 20.0).powi(2) + ((x - 100.0) / 60.0).powi(2) <= 1.0,
        &|y, x| ((y - 100.0) * 0.4).powi(2) + ((x - 100.0) * 0.1).powi(2) <= 64.0,
        &|y, x| {
            let (y, x) = ((y - 100.0) * 0.4, (x - 100.0) * 0.1);
            ((x * cos + y * sin) / 8.0).powi(2) + ((y * cos - x * sin) / 4.0).powi(2) <= 1.0
        },
        &|y, x| (20.0..50.0).contains(&y) && (30.0..110.0).contains(&x),
        &|y, x| y == 7.0 && (5.0..45.0).contains(&x),
        &|y, x| y == x && y < 20.0,
    ];
    // scikit-image 0.26, r = regionprops(mask, spacing=(.4, .1))[0]: area, equivalent_diameter_area, axis_major_length,
    // axis_minor_length, eccentricity, orientation; then r.perimeter is not defined, so
    //     a = np.pad(mask.astype(float), 4); k = np.array([1, 4, 6, 4, 1]) / 16
    //     for axis in (0, 1): a = scipy.ndimage.correlate1d(a, k, axis=axis, mode='constant')
    //     dx = (a[:-1, 1:] - a[:-1, :-1] + a[1:, 1:] - a[1:, :-1]) / 2
    //     dy = (a[1:, :-1] - a[:-1, :-1] + a[1:, 1:] - a[:-1, 1:]) / 2
    //     regionprops(mask)[0].perimeter * np.hypot(dx * .4, dy * .1).sum() / np.hypot(dx, dy).sum()
    #[rustfmt::skip]
    let expected = [
        [150.28, 13.832658413435947, 15.917166470456674, 12.02177068718042, 0.6554128877789418, 0.0, 47.14859203372511],
        [200.04, 15.959286905398438, 16.028628656646752, 15.890462883058902, 0.1310174462689371, FRAC_PI_2, 53.722443462890695],
        [100.76, 11.326588918448264, 16.046137737590854, 7.9959747484517765, 0.8669980752178927, 1.0425319478127881, 42.06295708282988],
        [96.0, 11.055812783082736, 13.848706317438696, 9.236882591004392, 0.7450709367426986, 0.0, 39.30643652530215],
        [1.6, 1.427299292922217, 4.6173585522460785, 0.0, 1.0, FRAC_PI_2, 4.4154061798434165],
        [0.8, 1.0092530088080642, 9.509994742374992, 0.0, 1.0, 0.2449786631268642, 7.3517774863234555],
    ];
    let size = PixelSize { x_nm: 100.0, y_nm: 400.0, source: PixelSizeSource::User };
    for (is_inside, expected) in is_inside.iter().zip(expected) {
        let labels = (0..200 * 200).map(|i| u32::from(is_inside(f64::from(i / 200), f64::from(i % 200)))).collect();
        let map = LabelMap { width: 200, height: 200, labels };
        let region = &regions(&map, None)[0];
        let of_region = |row: u32, column: u32| map.labels[(row * 200 + column) as usize] == 1;
        let m = region.in_um(size, Some(&of_region));
        let found = [
            m.area_um2,
            m.equivalent_diameter_um,
            m.major_axis_um,
            m.minor_axis_um,
            m.eccentricity,
            m.orientation_rad,
            m.perimeter_um,
        ];
        for (place, (a, b)) in found.into_iter().zip(expected).enumerate() {
            // An axis has no sign: -pi/2 equals pi/2.
            let same = (a - b).abs() < 1e-6 || (place == 5 && ((a - b).abs() - PI).abs() < 1e-6);
            assert!(same, "{place}: {m:?} beside {expected:?}");
        }
    }
}

/// The outline of a disc on the specimen, whatever the pixels: that of Benkrid and Crookes is 5 % longer on square ones.
#[test]
fn the_perimeter_of_a_disc_does_not_depend_on_the_shape_of_pixels() {
    for tall in [0.25, 1.0, 1.2, 2.0, 5.0] {
        let is_inside = |i: u32| ((f64::from(i / 200) - 100.0) * tall).hypot(f64::from(i % 200) - 100.0) <= 24.0;
        let map =
            LabelMap { width: 200, height: 200, labels: (0..200 * 200).map(|i| u32::from(is_inside(i))).collect() };
        let size = PixelSize { x_nm: 1000.0, y_nm: 1000.0 * tall, source: PixelSizeSource::User };
        let of_region = |row: u32, column: u32| map.labels[(row * 200 + column) as usize] == 1;
        let perimeter_um = regions(&map, None)[0].in_um(size, Some(&of_region)).perimeter_um;
        assert!((perimeter_um / (2.0 * PI * 24.0) - 1.05).abs() < 0.03, "{tall}: {perimeter_um}");
    }
}

#[test]
fn square_pixels_give_the_measures_of_the_grid() {
    let region = &regions(&zoo(), None)[2];
    let size = PixelSize { x_nm: 250.0, y_nm: 250.0, source: PixelSizeSource::User };
    let m = region.in_um(size, None);
    assert_eq!((m.perimeter_um, m.major_axis_um), (region.perimeter_px * 0.25, region.major_axis_px * 0.25));
    assert_eq!((m.eccentricity, m.orientation_rad), (region.eccentricity, region.orientation_rad));
    let pair = Neighbors { a: 1, b: 2, boundary_px: 7, upright_px: 3 };
    let flat = PixelSize { x_nm: 100.0, y_nm: 400.0, source: PixelSizeSource::User };
    assert!((pair.boundary_um(flat) - (3.0 * 0.4 + 4.0 * 0.1)).abs() < 1e-12);
}

#[test]
fn neighbors_touch_or_lie_across_a_line() {
    let edge = |a, b, boundary_px, upright_px| Neighbors { a, b, boundary_px, upright_px };
    assert_eq!(neighbors(&zoo(), 0), [edge(1, 3, 1, 1)]);
    let lined = map(&["11.22", "11.22", ".....", "33.44"]);
    assert_eq!(neighbors(&lined, 0), []);
    assert_eq!(neighbors(&lined, 1), [edge(1, 2, 2, 2), edge(1, 3, 2, 0), edge(2, 4, 2, 0), edge(3, 4, 1, 1)]);
    let touching = map(&["1122", "1322", "3332"]);
    assert_eq!(neighbors(&touching, 0), [edge(1, 2, 1, 1), edge(1, 3, 3, 1), edge(2, 3, 3, 2)]);
}

#[test]
fn channels_are_averaged_and_no_image_gives_no_intensity() {
    let map = map(&["11", "22"]);
    let pixels = [1.0, 2.0, 3.0, 4.0, 3.0, 4.0, 5.0, 6.0];
    let image = ImageRef { width: 2, height: 2, channels: 2, pixels: PixelsRef::F32(&pixels) };
    let found = regions(&map, Some(image));
    assert_eq!((found[0].mean_intensity, found[0].min_intensity, found[0].max_intensity), (2.5, 2.0, 3.0));
    let found = regions(&map, None);
    assert!(found[1].mean_intensity.is_nan() && found[1].min_intensity.is_nan() && found[1].max_intensity.is_nan());
}

#[test]
fn maps_of_every_size_are_measured() {
    for (width, height) in [(0, 0), (0, 4), (4, 0)] {
        assert_eq!(regions(&LabelMap { width, height, labels: vec![] }, None), []);
    }
    let empty = LabelMap { width: 30, height: 20, labels: vec![0; 600] };
    assert_eq!(regions(&empty, None), []);
    let one = LabelMap { width: 30, height: 20, labels: vec![u32::MAX; 600] };
    let found = regions(&one, None);
    assert_eq!((found.len(), found[0].label, found[0].area_px, found[0].solidity), (1, u32::MAX, 600, 1.0));
    let pixel = regions(&LabelMap { width: 1, height: 1, labels: vec![3] }, None);
    assert_eq!((pixel[0].bbox_px, pixel[0].perimeter_px, pixel[0].solidity), ([0, 0, 1, 1], 0.0, 1.0));
}

#[test]
fn a_hundred_thousand_grains_are_measured() {
    let labels = (0..1280 * 1280).map(|i| (i / 1280 / 4 * 320 + i % 1280 / 4) as u32 + 1).collect();
    let found = regions(&LabelMap { width: 1280, height: 1280, labels }, None);
    assert_eq!(found.len(), 102_400);
    assert!(found.iter().zip(1..).all(|(r, label)| r.label == label && r.area_px == 16 && r.perimeter_px == 12.0));
    assert_eq!(found.iter().map(|r| u64::from(r.num_neighbors)).sum::<u64>(), 2 * 2 * 320 * 319);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_box_is_measured_as_a_mask_of_it(
        width in 1u32..20, height in 1u32..20, corners in prop::collection::vec(any::<prop::sample::Index>(), 4),
    ) {
        let span = |length: u32, a: &prop::sample::Index, b: &prop::sample::Index| {
            let (a, b) = (a.index(length as usize) as u32, b.index(length as usize) as u32);
            [a.min(b), a.max(b) + 1]
        };
        let ([top, bottom], [left, right]) = (span(height, &corners[0], &corners[1]), span(width, &corners[2], &corners[3]));
        let inside = |i: u32| (top..bottom).contains(&(i / width)) && (left..right).contains(&(i % width));
        let labels = (0..width * height).map(|i| u32::from(inside(i))).collect();
        let pixels: Vec<u16> = (0..width * height).map(|i| (i * 37 % 1000) as u16).collect();
        let (width, height) = (width as usize, height as usize);
        let image = ImageRef { width, height, channels: 1, pixels: PixelsRef::U16(&pixels) };
        let of_map = regions(&LabelMap { width, height, labels }, Some(image));
        prop_assert_eq!(regions_of_boxes(&[[top, left, bottom, right]], image), of_map);
    }

    #[test]
    fn measures_do_not_depend_on_threads(labels in prop::collection::vec(0u32..6, 400), gap in 0usize..4) {
        let map = LabelMap { width: 25, height: 16, labels };
        let pixels: Vec<f32> = (0..400).map(|i| (i as f32).sin()).collect();
        let image = ImageRef { width: 25, height: 16, channels: 1, pixels: PixelsRef::F32(&pixels) };
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| (regions(&map, Some(image)), neighbors(&map, gap)))
        };
        let (one, two) = (run(1), run(2));
        prop_assert_eq!(&one, &two);
        prop_assert_eq!(one.0.iter().map(|r| r.area_px as usize).sum::<usize>(), map.labels.iter().filter(|&&l| l != 0).count());
        prop_assert!(one.0.iter().all(|r| r.solidity > 0.0 && r.solidity <= 1.0));
    }
}
