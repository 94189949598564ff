use proptest::prelude::*;

use super::*;

const UNIT: Levels = Levels { low: 0.0, high: 1.0 };

fn noise(width: usize, height: usize) -> Vec<f32> {
    (0..width * height).map(|i| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as f32 / u64::MAX as f32).collect()
}

fn image(pixels: &[f32], width: usize) -> ImageRef<'_> {
    ImageRef { width, height: pixels.len() / width, channels: 1, pixels: PixelsRef::F32(pixels) }
}

fn at(center_px: [f64; 2], angle_deg: f64, step_px: f64) -> Placement {
    Placement { center_px, angle_deg, step_px: [step_px; 2], mirror: false }
}

fn view(pixels: &[f32], width: usize, size: usize, placement: &Placement) -> Vec<f32> {
    resample(image(pixels, width), UNIT, size, placement, Interpolation::Bicubic, Extent::Square)
}

/// `numpy.rot90(view, quarters)`.
fn rot90(view: &[f32], size: usize, quarters: usize) -> Vec<f32> {
    (0..quarters)
        .fold(view.to_vec(), |view, _| (0..size * size).map(|k| view[k % size * size + size - 1 - k / size]).collect())
}

#[test]
fn quarter_turns_copy_pixels() {
    let pixels = noise(40, 30);
    for size in [8, 9] {
        let half = (size as f64 - 1.0) / 2.0;
        let crop: Vec<f32> = (0..size * size).map(|k| pixels[(5 + k / size) * 40 + 11 + k % size]).collect();
        for interpolation in [Interpolation::Bicubic, Interpolation::Bilinear] {
            for quarters in 0..5 {
                for whole_turns in [-720.0, 0.0, 360.0] {
                    let placement = at([5.0 + half, 11.0 + half], whole_turns + 90.0 * quarters as f64, 1.0);
                    let view = resample(image(&pixels, 40), UNIT, size, &placement, interpolation, Extent::Square);
                    assert_eq!(view, rot90(&crop, size, quarters));
                    let mirrored = Placement { mirror: true, ..placement };
                    let mirrored = resample(image(&pixels, 40), UNIT, size, &mirrored, interpolation, Extent::Square);
                    let flipped: Vec<f32> =
                        (0..size * size).map(|k| view[k / size * size + size - 1 - k % size]).collect();
                    assert_eq!(mirrored, flipped);
                }
            }
        }
    }
}

#[test]
fn every_number_type_gives_the_same_view() {
    let bytes: Vec<u8> = (0..50 * 60u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let words: Vec<u16> = bytes.iter().map(|&b| u16::from(b)).collect();
    let floats: Vec<f32> = bytes.iter().map(|&b| f32::from(b)).collect();
    let levels = Levels { low: 20.0, high: 200.0 };
    for step in [0.7, 1.0, 1.9, 4.4] {
        let placement = at([24.3, 31.7], 33.0, step);
        let of = |pixels: PixelsRef<'_>| {
            let image = ImageRef { width: 50, height: 60, channels: 1, pixels };
            resample(image, levels, 12, &placement, Interpolation::Bicubic, Extent::Square)
        };
        let expected = of(PixelsRef::F32(&floats));
        assert_eq!(of(PixelsRef::U8(&bytes)), expected);
        assert_eq!(of(PixelsRef::U16(&words)), expected);
        assert!(expected.iter().all(|v| (-CLIP..=1.0 + CLIP).contains(v)));
    }
}

/// A sum of waves of at least 12 pixels: `0.5 + 0.2 sin + 0.2 sin`.
fn wave(row: f64, column: f64) -> f64 {
    let [a, b] = [(0.31, 0.17), (-0.11, 0.42)].map(|(u, v)| (u * row + v * column).sin());
    0.5 + 0.2 * a + 0.2 * b
}

#[test]
fn a_smooth_image_is_met_at_every_angle() {
    let pixels: Vec<f32> = (0..200 * 200).map(|k| wave((k / 200) as f64, (k % 200) as f64) as f32).collect();
    for (step, tolerance) in [(0.5, 2e-3), (1.0, 2e-3), (1.4, 2e-3)] {
        for angle in (0..24).map(|k| 15.0 * f64::from(k) + 1.0) {
            let (size, center) = (32, [97.3, 101.9]);
            let view = view(&pixels, 200, size, &at(center, angle, step));
            let (sin, cos) = angle.to_radians().sin_cos();
            for (k, &value) in view.iter().enumerate() {
                let (i, j) = ((k / size) as f64 - 15.5, (k % size) as f64 - 15.5);
                let (row, column) = (i * cos + j * sin, j * cos - i * sin);
                let expected = wave(center[0] + step * row, center[1] + step * column);
                assert!((f64::from(value) - expected).abs() < tolerance, "{step} {angle}: {value} {expected}");
            }
        }
    }
}

#[test]
fn what_is_too_fine_for_the_view_is_held_back() {
    // A chequerboard of single pixels, shown at 1 : 3, is grey; point sampling would show it in full contrast.
    let pixels: Vec<f32> = (0..300 * 300).map(|k| ((k / 300 + k % 300) % 2) as f32).collect();
    for step in [1.6, 2.5, 3.0, 5.0, 9.0] {
        for angle in [0.0, 10.0, 45.0] {
            let view = view(&pixels, 300, 16, &at([150.0, 150.0], angle, step));
            let worst = view.iter().map(|v| (v - 0.5).abs()).fold(0.0, f32::max);
            assert!(worst < 0.03, "{step} {angle}: {worst}");
        }
    }
}

#[test]
fn a_disc_is_the_same_inside() {
    let pixels = noise(120, 120);
    for step in [0.8, 1.7, 2.9, 4.5] {
        let placement = at([55.2, 61.4], 71.0, step);
        let (size, margin_px) = (20, 1.0);
        let square = view(&pixels, 120, size, &placement);
        let extent = Extent::Disc { margin_px };
        let disc = resample(image(&pixels, 120), UNIT, size, &placement, Interpolation::Bicubic, extent);
        for k in 0..size * size {
            let distance = ((k / size) as f64 - 9.5).hypot((k % size) as f64 - 9.5);
            if distance <= 10.0 {
                assert!((square[k] - disc[k]).abs() < 1e-5, "{step}: {} {}", square[k], disc[k]);
            }
        }
    }
}

#[test]
fn pixels_that_are_not_square() {
    // Rows twice as far apart as columns: a view of square pixels takes every row and every second column.
    let pixels = noise(64, 64);
    let placement = Placement { center_px: [20.0, 20.0], angle_deg: 0.0, step_px: [0.5, 1.0], mirror: false };
    let view = view(&pixels, 64, 9, &placement);
    for j in 0..9 {
        assert_eq!(view[4 * 9 + j], pixels[20 * 64 + 16 + j]);
        assert_eq!(view[2 * 9 + j], pixels[19 * 64 + 16 + j]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_placement_is_finite(
        width in 1usize..40, height in 1usize..40, size in 1usize..24, row in -80.0f64..80.0, column in -80.0f64..80.0,
        angle in -1e4f64..1e4, step in 0.05f64..12.0, disc: bool, mirror: bool,
    ) {
        let pixels = noise(width, height);
        let placement = Placement { center_px: [row, column], angle_deg: angle, step_px: [step, step * 0.9], mirror };
        let extent = if disc { Extent::Disc { margin_px: 2.0 } } else { Extent::Square };
        for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
            let view = resample(image(&pixels, width), UNIT, size, &placement, interpolation, extent);
            prop_assert!(view.iter().all(|v| v.is_finite()));
        }
    }

    // Quarter turns of any placement see the same points: equal up to the order of summation.
    #[test]
    fn quarter_turns_of_any_view(angle in 0.0f64..360.0, step in 0.3f64..9.0, row in 20.0f64..40.0) {
        let pixels = noise(60, 60);
        let first = view(&pixels, 60, 10, &at([row, 29.7], angle, step));
        let second = view(&pixels, 60, 10, &at([row, 29.7], angle + 90.0, step));
        for (a, b) in rot90(&first, 10, 1).iter().zip(&second) {
            prop_assert!((a - b).abs() < 1e-4, "{} {}", a, b);
        }
    }
}
