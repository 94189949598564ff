//! How the intensities of a view may vary between two exposures of an instrument.

use std::fmt;

use invar_dataset::seed::{self, Rng};
use multiversion::multiversion;
use rand::Rng as _;

use super::{
    config::{AugmentConfig, Effect},
    draw,
};
use crate::resample::CLIP;

/// Strengths, as drawn for one view; `None` if an effect is not applied. In the order of application.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Augmentation {
    /// Standard deviation of a Gaussian blur, view pixels.
    pub blur_px: Option<f64>,
    /// Exponent of the intensity.
    pub gamma: Option<f64>,
    /// Factor about mid-grey.
    pub contrast: Option<f64>,
    /// Offset added.
    pub brightness: Option<f64>,
    /// Photons at intensity 1.
    pub photons: Option<f64>,
    /// Standard deviation of Gaussian noise.
    pub noise: Option<f64>,
}

impl Augmentation {
    /// Draws strengths.
    pub(super) fn draw(config: &AugmentConfig, rng: &mut Rng) -> Self {
        let mut effect = |effect: Effect, draw: fn([f64; 2], &mut Rng) -> f64| {
            // Both numbers are always drawn, so that one setting does not affect the draws for the others.
            let (happens, strength) = (seed::uniform(rng) < effect.probability, draw(effect.range, rng));
            happens.then_some(strength)
        };
        Self {
            blur_px: effect(config.blur_px, draw::between),
            gamma: effect(config.gamma, draw::log_uniform),
            contrast: effect(config.contrast, draw::log_uniform),
            brightness: effect(config.brightness, draw::between),
            photons: effect(config.photons, draw::log_uniform),
            noise: effect(config.noise, draw::between),
        }
    }

    /// Distance from which a pixel is influenced, in pixels.
    pub fn reach_px(&self) -> f64 {
        self.blur_px.map_or(0.0, |sigma| blur_radius(sigma) as f64)
    }

    /// Applies the effects to the planes `[channels, size, size]` of a view; noise comes from `rng`.
    ///
    /// # Panics
    /// If the values are not whole planes.
    pub fn apply(&self, values: &mut [f32], size: usize, rng: &mut Rng) {
        assert!(values.len().is_multiple_of(size * size), "{} values in planes of {size} x {size}", values.len());
        if let Some(sigma) = self.blur_px.filter(|&sigma| sigma > 0.0) {
            values.chunks_exact_mut(size * size).for_each(|plane| blur(plane, size, sigma));
        }
        if let Some(gamma) = self.gamma {
            raise(values, gamma as f32);
        }
        if self.contrast.is_some() || self.brightness.is_some() {
            let (contrast, brightness) = (self.contrast.unwrap_or(1.0) as f32, self.brightness.unwrap_or(0.0) as f32);
            for value in values.iter_mut() {
                *value = (*value - 0.5) * contrast + (0.5 + brightness);
            }
        }
        if let Some(photons) = self.photons {
            count_photons(values, photons as f32, rng);
        }
        if let Some(noise) = self.noise.filter(|&noise| noise > 0.0) {
            let noise = noise as f32;
            for value in values.iter_mut() {
                *value += noise * normal(rng);
            }
        }
        for value in values.iter_mut() {
            *value = value.clamp(-CLIP, 1.0 + CLIP);
        }
    }
}

impl fmt::Display for Augmentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effects = [
            ("blur", self.blur_px, " px"),
            ("gamma", self.gamma, ""),
            ("contrast", self.contrast, ""),
            ("brightness", self.brightness, ""),
            ("Poisson noise of", self.photons, " photons"),
            ("noise", self.noise, ""),
        ];
        let done: Vec<String> =
            effects.iter().filter_map(|(name, value, unit)| value.map(|v| format!("{name} {v:.3}{unit}"))).collect();
        f.write_str(if done.is_empty() { "intensities as they are" } else { "" })?;
        f.write_str(&done.join(", "))
    }
}

fn blur_radius(sigma: f64) -> usize {
    (3.0 * sigma).ceil() as usize
}

/// Convolves a plane with a Gaussian, truncated at three standard deviations; edges are mirrors.
fn blur(plane: &mut [f32], size: usize, sigma: f64) {
    // A radius of several views would only average them once more.
    let radius = blur_radius(sigma).min(8 * size);
    let kernel: Vec<f64> = (0..=radius).map(|x| (-0.5 * (x as f64 / sigma).powi(2)).exp()).collect();
    let total = 2.0 * kernel.iter().sum::<f64>() - kernel[0];
    let kernel: Vec<f32> = kernel.into_iter().map(|weight| (weight / total) as f32).collect();
    let mirror = |i: isize| {
        let folded = i.rem_euclid(2 * size as isize);
        folded.min(2 * size as isize - 1 - folded) as usize
    };
    let mut row = vec![0.0; size + 2 * radius];
    for line in plane.chunks_exact_mut(size) {
        for (i, value) in row.iter_mut().enumerate() {
            *value = line[mirror(i as isize - radius as isize)];
        }
        line.iter_mut().zip(&row[radius..]).for_each(|(out, value)| *out = kernel[0] * value);
        for (x, &weight) in kernel.iter().enumerate().skip(1) {
            add_both(line, &row[radius - x..], &row[radius + x..], weight);
        }
    }
    let source = plane.to_vec();
    for (i, line) in plane.chunks_exact_mut(size).enumerate() {
        let at = |i: isize| &source[mirror(i) * size..][..size];
        line.iter_mut().for_each(|value| *value *= kernel[0]);
        for (x, &weight) in kernel.iter().enumerate().skip(1) {
            add_both(line, at(i as isize - x as isize), at(i as isize + x as isize), weight);
        }
    }
}

fn add_both(sums: &mut [f32], left: &[f32], right: &[f32], weight: f32) {
    for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
        *sum += weight * (left + right);
    }
}

/// The power for values between 0 and 1; beyond them the curve continues with slope 1.
#[multiversion(targets("x86_64+avx2"))]
fn raise(values: &mut [f32], exponent: f32) {
    for value in values {
        let inside = value.clamp(0.0, 1.0);
        *value += power(inside, exponent) - inside;
    }
}

/// `x^exponent` to within 1e-5 of its value, for `x` from 0 to 1 and exponents that keep it above 2^-126: eight in the
/// time `powf` takes for one. The logarithm is `2 artanh((m - 1) / (m + 1))` of the mantissa, the exponential a Taylor
/// series.
#[inline(always)]
fn power(x: f32, exponent: f32) -> f32 {
    /// Bits of the square root of 1/2: mantissas lie within a factor of sqrt(2) of 1.
    const ROOT: i32 = 0x3f35_04f3;
    /// Adding it to a number rounds that, and leaves the bits of the exponent of 2 to its power at the end.
    const ROUND: f32 = 12_582_912.0 + 127.0;
    let bits = x.to_bits().cast_signed() - ROOT;
    let (octave, mantissa) = (bits >> 23, f32::from_bits(((bits & 0x007f_ffff) + ROOT).cast_unsigned()));
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let t = s * s;
    let artanh = s * (1.0 + t * (1.0 / 3.0 + t * (1.0 / 5.0 + t * (1.0 / 7.0 + t * (1.0 / 9.0)))));
    let log = octave as f32 + 2.0 * std::f32::consts::LOG2_E * artanh;
    let power = (exponent * log).max(-126.0);
    let shifted = power + ROUND;
    let y = (power - (shifted - ROUND)) * std::f32::consts::LN_2;
    let high = 1.0 / 24.0 + y * (1.0 / 120.0 + y * (1.0 / 720.0 + y * (1.0 / 5040.0)));
    let exp = 1.0 + y * (1.0 + y * (1.0 / 2.0 + y * (1.0 / 6.0 + y * high)));
    f32::from_bits(shifted.to_bits() << 23) * exp
}

#[multiversion(targets("x86_64+avx"))]
fn count_photons(values: &mut [f32], photons: f32, rng: &mut Rng) {
    let scale = 1.0 / photons;
    for value in values {
        *value = poisson(value.max(0.0) * photons, rng) * scale;
    }
}

/// Approximately standard normal: the sum of eight uniform 16-bit numbers, whose mean and variance are exact, whose
/// kurtosis is 2.85 and which ends at 4.9 standard deviations.
#[inline(always)]
pub(crate) fn normal(rng: &mut Rng) -> f32 {
    let sum = |word: u64| {
        let pairs = (word & 0x0000_ffff_0000_ffff) + ((word >> 16) & 0x0000_ffff_0000_ffff);
        (pairs & 0xffff_ffff) + (pairs >> 32)
    };
    let total = (sum(rng.next_u64()) + sum(rng.next_u64())) as i32;
    // Eight numbers from 0 to m = 65535, each with mean m / 2 and variance m (m + 2) / 12.
    const DEVIATION: f64 = 53_509.919_921;
    (total - 4 * 65_535) as f32 * (1.0 / DEVIATION) as f32
}

/// Above this mean, a Poisson number is drawn as a rounded normal one.
const LARGE_MEAN: f32 = 20.0;

/// A Poisson number: below [`LARGE_MEAN`] by inversion of its distribution function.
#[inline(always)]
fn poisson(mean: f32, rng: &mut Rng) -> f32 {
    if mean >= LARGE_MEAN {
        return (mean + mean.sqrt() * normal(rng)).round_ties_even().max(0.0);
    }
    let mut point = seed::uniform(rng) as f32;
    let (mut number, mut probability) = (0.0, (-mean).exp());
    // 100 is far beyond what any mean below 20 gives; it ends the loop when rounding has used up the probability.
    while point >= probability && number < 100.0 {
        point -= probability;
        number += 1.0;
        probability *= mean / number;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use invar_dataset::seed;

    fn moments(values: &[f32]) -> (f64, f64) {
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / values.len() as f64;
        (mean, variance)
    }

    #[test]
    fn powers() {
        for exponent in [0.2f32, 0.8, 1.0, 1.25, 3.0] {
            for k in 1..=4000 {
                let x = (k as f32 / 4000.0).powi(3);
                let (found, expected) = (f64::from(power(x, exponent)), f64::from(x).powf(f64::from(exponent)));
                assert!((found / expected - 1.0).abs() < 1e-5, "{x}^{exponent}: {found} {expected}");
            }
            assert_eq!(power(1.0, exponent), 1.0);
            assert!(power(0.0, exponent) < 1e-7);
        }
    }

    #[test]
    fn normal_numbers() {
        let mut rng = seed::rng(1, 0);
        let values: Vec<f32> = (0..400_000).map(|_| normal(&mut rng)).collect();
        let (mean, variance) = moments(&values);
        // Five standard errors: 1 / sqrt(n) and sqrt(2 / n).
        assert!(mean.abs() < 0.008 && (variance - 1.0).abs() < 0.011, "{mean} {variance}");
        // Closed form: the kurtosis of a sum of n uniform numbers is 3 - 6 / (5 n), 2.85 for 8.
        let kurtosis = values.iter().map(|&v| f64::from(v).powi(4)).sum::<f64>() / values.len() as f64;
        assert!((kurtosis - 2.85).abs() < 0.08, "{kurtosis}");
    }

    // A Poisson number has mean and variance m; standard errors sqrt(m / n) and about sqrt((m + 2 m^2) / n).
    #[test]
    fn poisson_numbers() {
        let num = 200_000;
        for mean in [0.0f32, 0.3, 3.0, 15.0, 19.9, 20.1, 400.0] {
            let mut rng = seed::rng(2, mean.to_bits().into());
            let values: Vec<f32> = (0..num).map(|_| poisson(mean, &mut rng)).collect();
            assert!(values.iter().all(|v| *v >= 0.0 && v.fract() == 0.0));
            let (m, (found, variance)) = (f64::from(mean), moments(&values));
            let n = f64::from(num);
            assert!((found - m).abs() <= 5.0 * (m / n).sqrt(), "{mean}: mean {found}");
            // A rounded number has 1 / 12 more.
            let more = if mean >= LARGE_MEAN { 1.0 / 12.0 } else { 0.0 };
            assert!((variance - m - more).abs() <= 5.0 * ((m + 2.0 * m * m) / n).sqrt(), "{mean}: variance {variance}");
        }
    }

    // Closed form: a wave of frequency w is damped by a Gaussian blur to exp(-sigma^2 w^2 / 2) of its amplitude.
    #[test]
    fn blur_damps_a_wave() {
        let (size, sigma) = (64, 1.5);
        let w = std::f64::consts::TAU / 16.0;
        for across in [false, true] {
            // cos at half pixels is its own mirror image at the edges.
            let wave = |k: usize| ((if across { k % size } else { k / size }) as f64 + 0.5) * w;
            let mut plane: Vec<f32> = (0..size * size).map(|k| wave(k).cos() as f32).collect();
            blur(&mut plane, size, sigma);
            let damped = (-0.5 * (sigma * w).powi(2)).exp();
            for (k, &value) in plane.iter().enumerate() {
                assert!((f64::from(value) - damped * wave(k).cos()).abs() < 4e-3, "{value}");
            }
        }
    }

    #[test]
    fn a_blur_wider_than_the_view_is_its_mean() {
        let mut plane: Vec<f32> = (0..25).map(|k| k as f32 / 25.0).collect();
        blur(&mut plane, 5, 50.0);
        assert!(plane.iter().all(|v| (v - 0.48).abs() < 0.01), "{plane:?}");
    }

    #[test]
    fn curves_in_closed_form() {
        let apply = |augmentation: Augmentation, value: f32| {
            let mut values = [value; 4];
            augmentation.apply(&mut values, 2, &mut seed::rng(0, 0));
            values[3]
        };
        let gamma = Augmentation { gamma: Some(2.0), ..Augmentation::default() };
        for (value, expected) in [(0.5, 0.25), (0.0, 0.0), (1.0, 1.0), (1.2, 1.2), (-0.1, -0.1)] {
            assert!((apply(gamma, value) - expected).abs() < 1e-6);
        }
        let contrast = Augmentation { contrast: Some(1.5), brightness: Some(0.1), ..Augmentation::default() };
        assert!((apply(contrast, 0.7) - (0.5 + 0.3 + 0.1)).abs() < 1e-6);
        // Clipped.
        assert_eq!(apply(contrast, 5.0), 1.5);
        assert_eq!(apply(Augmentation::default(), 0.123), 0.123);
    }

    #[test]
    fn noise_has_the_variance_it_says() {
        let mut rng = seed::rng(3, 0);
        let of = |augmentation: Augmentation, rng: &mut Rng| {
            let mut values = vec![0.5; 256 * 256];
            augmentation.apply(&mut values, 256, rng);
            moments(&values)
        };
        let (mean, variance) = of(Augmentation { noise: Some(0.1), ..Augmentation::default() }, &mut rng);
        assert!((mean - 0.5).abs() < 0.002 && (variance / 0.01 - 1.0).abs() < 0.03, "{mean} {variance}");
        // 0.5 of 200 photons: variance 100 / 200^2.
        let (mean, variance) = of(Augmentation { photons: Some(200.0), ..Augmentation::default() }, &mut rng);
        assert!((mean - 0.5).abs() < 0.001 && (variance / 0.0025 - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
