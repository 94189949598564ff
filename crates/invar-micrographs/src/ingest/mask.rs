//! Masks that were made elsewhere (Cellpose, StarDist, ilastik): any image format, integers or integral numbers.

use std::path::Path;

use crate::{Error, LabelMap, Place, Samples, read};

/// The page of the mask that belongs to page `page` (0-based) of an image of `num_pages`: the same page, or the only one.
///
/// # Errors
/// When the mask cannot be read, is no mask, has another number of pages, or another size than `[height, width]`. A mask of
/// the size before the image was cropped is cropped as well.
pub(super) fn read(
    path: &Path,
    image: &str,
    (page, num_pages): (usize, usize),
    [height, width]: [u32; 2],
    cropped_px: u32,
) -> Result<LabelMap, Error> {
    let mut file = read::open(path)?;
    let found = file.pages().len();
    let page = match found {
        1 if num_pages == 1 => 0,
        _ if found == num_pages => page,
        _ => {
            let what = "pages of the mask".to_string();
            let (expected, found) = (format!("{num_pages}, as {image} has"), found.to_string());
            return Err(Error::Corrupt { place: Box::new(Place::file(path)), what, expected, found });
        }
    };
    let place = || Box::new(if found == 1 { Place::file(path) } else { Place::page(path, page as u32 + 1) });
    let info = file.pages()[page].clone();
    if info.width != width || (info.height != height && info.height != height + cropped_px) {
        return Err(Error::MaskSize {
            path: path.into(),
            mask: format!("{} x {}", info.height, info.width),
            image: image.into(),
            size: format!("{} x {}", height + cropped_px, width),
        });
    }
    if info.channels != 1 {
        return Err(Error::Unsupported {
            place: place(),
            feature: format!("a mask of {} channels", info.channels),
            remedy: "save the labels as one channel of 8, 16 or 32 bits".into(),
        });
    }
    let mut labels: Vec<u32> = Vec::with_capacity(width as usize * info.height as usize);
    file.read_bands(page, super::BAND_PX, &mut |band| {
        let first = labels.len();
        append(&band.samples, &mut labels).map_err(|(at, value)| {
            let pixel = (first + at) as u64;
            let mut place = place();
            place.pixel = Some(((pixel / u64::from(width)) as u32, (pixel % u64::from(width)) as u32));
            let (what, expected) = ("label".to_string(), format!("an integer from 0 to {}", u32::MAX));
            Error::Corrupt { place, what, expected, found: value.to_string() }
        })
    })?;
    labels.truncate(width as usize * height as usize);
    Ok(LabelMap { width: width as usize, height: height as usize, labels })
}

/// Adds the labels of a band; else the first value that is none, and where.
fn append(samples: &Samples, labels: &mut Vec<u32>) -> Result<(), (usize, f64)> {
    fn all<T: Copy + Into<f64>>(values: &[T], labels: &mut Vec<u32>) -> Result<(), (usize, f64)> {
        for (at, &value) in values.iter().enumerate() {
            let value: f64 = value.into();
            let label = value as u32;
            if f64::from(label) != value {
                return Err((at, value));
            }
            labels.push(label);
        }
        Ok(())
    }
    match samples {
        Samples::U8(values) => labels.extend(values.iter().map(|&value| u32::from(value))),
        Samples::U16(values) => labels.extend(values.iter().map(|&value| u32::from(value))),
        Samples::U32(values) => labels.extend_from_slice(values),
        Samples::I8(values) => all(values, labels)?,
        Samples::I16(values) => all(values, labels)?,
        Samples::I32(values) => all(values, labels)?,
        Samples::F32(values) => all(values, labels)?,
        Samples::F64(values) => all(values, labels)?,
    }
    Ok(())
}
