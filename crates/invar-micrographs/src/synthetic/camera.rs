use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};

use super::{draw::Draw, smooth::Smooth, specimen::Camera, tessellation::SCALE};
use crate::segment::{Plane, gaussian};

/// The mean of the sub-pixels of each pixel.
pub(super) fn reduced(values: &[f32], side: usize) -> Vec<f32> {
    let share = 1.0 / (SCALE * SCALE) as f32;
    super::pooled(values, side, |a, b| a + b).into_iter().map(|sum| share * sum).collect()
}

/// The effect of the instrument on `grey`, `[side, side]`: 0 to 1 in steps of 1/255.
pub(super) fn expose(draw: &mut Draw, side: usize, camera: &Camera, grey: &mut Vec<f32>) {
    blur(grey, side, camera.blur_px);
    if camera.uneven > 0.0 {
        let light = Smooth::new(draw, side as f32 / 1.5);
        each(grey, side, |grey, row, column| grey * (1.0 + camera.uneven * light.at(row, column)).max(0.1));
    }
    if camera.curtain > 0.0 {
        let rows: Vec<f32> = (0..side).map(|_| camera.curtain * draw.normal()).collect();
        each(grey, side, |grey, row, _| grey + rows[row as usize]);
    }
    let mut noise: Vec<f32> = (0..side * side).map(|_| draw.normal()).collect();
    if camera.grain_px > 0.0 {
        blur(&mut noise, side, camera.grain_px);
        // A blur of sigma s leaves 1 / (2 s sqrt pi) of the standard deviation of white noise.
        let kept = 1.0 / (2.0 * camera.grain_px * std::f32::consts::PI.sqrt()).max(1.0);
        noise.iter_mut().for_each(|value| *value /= kept);
    }
    grey.iter_mut().zip(noise).for_each(|(grey, noise)| *grey += camera.noise * noise);
    for grey in grey.iter_mut() {
        if camera.specks > 0.0 && draw.chance(camera.specks) {
            *grey = if draw.chance(0.7) { 0.0 } else { 1.0 };
        }
        let value = grey.clamp(0.0, 1.0).powf(camera.gamma);
        *grey = if camera.inverted { 1.0 - value } else { value };
    }
    let mut bytes: Vec<u8> = grey.iter().map(|&grey| (255.0 * grey).round() as u8).collect();
    if let Some(quality) = camera.jpeg_quality {
        bytes = through_jpeg(bytes, side, quality);
    }
    *grey = bytes.into_iter().map(|byte| f32::from(byte) / 255.0).collect();
}

fn each(grey: &mut [f32], side: usize, f: impl Fn(f32, f32, f32) -> f32) {
    grey.iter_mut().enumerate().for_each(|(i, grey)| *grey = f(*grey, (i / side) as f32, (i % side) as f32));
}

fn blur(values: &mut Vec<f32>, side: usize, sigma_px: f32) {
    let mut plane = Plane { width: side, height: side, values: std::mem::take(values) };
    gaussian(&mut plane, sigma_px);
    *values = plane.values;
}

/// Written as JPEG and read again; unchanged if that fails.
fn through_jpeg(bytes: Vec<u8>, side: usize, quality: u8) -> Vec<u8> {
    let mut file = Vec::new();
    let size = side as u32;
    let written = JpegEncoder::new_with_quality(&mut file, quality).encode(&bytes, size, size, ExtendedColorType::L8);
    let read = written.and_then(|()| image::load_from_memory_with_format(&file, image::ImageFormat::Jpeg));
    match read {
        Ok(picture) => picture.into_luma8().into_raw(),
        Err(_) => bytes,
    }
}
