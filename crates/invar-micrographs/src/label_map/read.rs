use std::path::Path;

use crate::{Error, ImageFile, LabelMap, Place, Samples, read};

/// Pixels per band.
const BAND_PX: u64 = 1 << 22;

/// Reads page `page` (1-based) of a label mask (from Cellpose, StarDist, ilastik, or our own): any supported image
/// format, with integers of 8 to 64 bits or floating-point numbers that are whole; one value per pixel, or several
/// equal ones. Labels are unchanged, 0 being background.
///
/// # Errors
/// Those of [`crate::open`]; [`Error::Corrupt`] for a page that does not exist, and for a label that is negative, not a
/// whole number, or at least 2^32, naming the pixel; [`Error::Unsupported`] for a mask in colour.
pub fn read_label_map(path: impl AsRef<Path>, page: u32) -> Result<LabelMap, Error> {
    let path = path.as_ref();
    let mut file = read::open_labels(path)?;
    let num_pages = file.pages().len();
    match (page as usize).checked_sub(1).filter(|&index| index < num_pages) {
        Some(index) => of_page(&mut file, path, index),
        None => Err(Error::Corrupt {
            place: Box::new(Place::file(path)),
            what: "page of a label mask".into(),
            expected: format!("1 to {num_pages}"),
            found: page.to_string(),
        }),
    }
}

/// The labels of page `index` (0-based) of an open file.
pub(crate) fn of_page(file: &mut ImageFile, path: &Path, index: usize) -> Result<LabelMap, Error> {
    let info = &file.pages()[index];
    let (width, height, channels) = (info.width as usize, info.height as usize, usize::from(info.channels));
    let place = if file.pages().len() == 1 { Place::file(path) } else { Place::page(path, index as u32 + 1) };
    let mut labels: Vec<u32> = Vec::with_capacity(width * height);
    file.read_bands(index, BAND_PX, &mut |band| {
        let first = labels.len();
        append(&band.samples, channels, &mut labels).map_err(|bad| bad.into_error(&place, first, width))
    })?;
    Ok(LabelMap { width, height, labels })
}

/// A pixel of a band that has no label.
enum Bad {
    /// Its value is not a label.
    Value { pixel: usize, found: f64 },
    /// Its channels differ.
    Colour,
}

impl Bad {
    fn into_error(self, place: &Place, first: usize, width: usize) -> Error {
        match self {
            Self::Value { pixel, found } => {
                let at = first + pixel;
                let pixel = Some(((at / width) as u32, (at % width) as u32));
                Error::Corrupt {
                    place: Box::new(Place { pixel, ..place.clone() }),
                    what: "a label".into(),
                    expected: format!("a whole number from 0 to {}", u32::MAX),
                    found: found.to_string(),
                }
            }
            Self::Colour => Error::Unsupported {
                place: Box::new(place.clone()),
                feature: "a label mask in colour".into(),
                remedy: "save the mask with one value per pixel".into(),
            },
        }
    }
}

/// Adds the labels of a band.
fn append(samples: &Samples, channels: usize, labels: &mut Vec<u32>) -> Result<(), Bad> {
    match samples {
        Samples::U8(values) => add(values, channels, labels),
        Samples::I8(values) => add(values, channels, labels),
        Samples::U16(values) => add(values, channels, labels),
        Samples::I16(values) => add(values, channels, labels),
        Samples::U32(values) => add(values, channels, labels),
        Samples::I32(values) => add(values, channels, labels),
        Samples::U64(values) => add(values, channels, labels),
        Samples::I64(values) => add(values, channels, labels),
        Samples::F32(values) => add(values, channels, labels),
        Samples::F64(values) => add(values, channels, labels),
    }
}

/// A number that may be a label.
trait Value: Copy + PartialEq {
    /// The label, if it is one.
    fn label(self) -> Option<u32>;
    /// The number shown in messages.
    fn number(self) -> f64;
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn label(self) -> Option<u32> {
                u32::try_from(self).ok()
            }

            fn number(self) -> f64 {
                self as f64
            }
        }
    )*};
}

macro_rules! reals {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn label(self) -> Option<u32> {
                let label = self as u32;
                (f64::from(label) == f64::from(self)).then_some(label)
            }

            fn number(self) -> f64 {
                self.into()
            }
        }
    )*};
}

integers!(u8, i8, u16, i16, u32, i32, u64, i64);
reals!(f32, f64);

fn add<T: Value>(values: &[T], channels: usize, labels: &mut Vec<u32>) -> Result<(), Bad> {
    for (pixel, value) in values.chunks_exact(channels).enumerate() {
        let Some(label) = value[0].label() else { return Err(Bad::Value { pixel, found: value[0].number() }) };
        if value.iter().any(|other| *other != value[0]) {
            return Err(Bad::Colour);
        }
        labels.push(label);
    }
    Ok(())
}
