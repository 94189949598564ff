//! Black-and-white masks that are no longer black and white: after lossy compression, enlarging or reducing.

use std::path::Path;

use crate::{Error, ImageFile, LabelMap, Place, Samples, parts::Parts};

/// Parts with fewer pixels are artefacts of compressing an edge.
pub(super) const MIN_PART_PX: u64 = 5;

/// Pixels per band.
const BAND_PX: u64 = 1 << 22;

/// The grey levels of page `index` (0-based) of a JPEG: means of the channels.
///
/// # Errors
/// [`Error::Unsupported`] for a picture in colour, and those of the file.
pub(super) fn of_page(file: &mut ImageFile, path: &Path, index: usize) -> Result<LabelMap, Error> {
    let info = &file.pages()[index];
    let (width, height, channels) = (info.width as usize, info.height as usize, usize::from(info.channels));
    let mut labels: Vec<u32> = Vec::with_capacity(width * height);
    let mut num_coloured = 0;
    let unsupported = |feature: &str| Error::Unsupported {
        place: Box::new(Place::file(path)),
        feature: feature.into(),
        remedy: "save the mask as PNG or TIFF with one value per pixel".into(),
    };
    file.read_bands(index, BAND_PX, &mut |band| {
        let Samples::U8(values) = &band.samples else { return Err(unsupported("a mask in JPEG of more than 8 bits")) };
        for pixel in values.chunks_exact(channels) {
            let sum: u32 = pixel.iter().map(|&value| u32::from(value)).sum();
            labels.push((sum + channels as u32 / 2) / channels as u32);
            let (least, most) = pixel.iter().fold((u8::MAX, 0), |(a, b), &value| (a.min(value), b.max(value)));
            num_coloured += usize::from(most - least > MAX_SPREAD);
        }
        Ok(())
    })?;
    if num_coloured * 100 > labels.len() {
        return Err(unsupported("a label mask in colour"));
    }
    Ok(LabelMap { width, height, labels })
}

/// How much the channels of a grey pixel may differ after compression.
const MAX_SPREAD: u8 = 48;

/// The level above which pixels are white (Otsu 1979); `None` if most pixels are neither nearly black nor nearly white.
pub(super) fn threshold(parts: &Parts) -> Option<u32> {
    let levels: Vec<(f64, f64)> = parts.iter().map(|(value, of)| (f64::from(value), of.area_px as f64)).collect();
    let ((lowest, _), (highest, _)) = (*levels.first()?, *levels.last()?);
    let range = highest - lowest;
    let total: f64 = levels.iter().map(|level| level.1).sum();
    let share = |is_counted: &dyn Fn(f64) -> bool| {
        levels.iter().filter(|level| is_counted((level.0 - lowest) / range)).map(|level| level.1).sum::<f64>() / total
    };
    // In blurred masks at least two thirds are at an end, in pictures at most a sixth.
    if range == 0.0 || share(&|at| !(0.05..=0.95).contains(&at)) < 0.5 || share(&|at| (0.25..0.75).contains(&at)) > 0.3
    {
        return None;
    }
    let sum: f64 = levels.iter().map(|(value, count)| value * count).sum();
    let (mut below, mut sum_below) = (0.0, 0.0);
    let mut best = (0.0, lowest);
    for pair in levels.windows(2) {
        below += pair[0].1;
        sum_below += pair[0].0 * pair[0].1;
        let apart = sum_below / below - (sum - sum_below) / (total - below);
        let variance = below * (total - below) * apart * apart;
        if variance > best.0 {
            best = (variance, (pair[0].0 + pair[1].0) / 2.0);
        }
    }
    Some(best.1.floor() as u32)
}
