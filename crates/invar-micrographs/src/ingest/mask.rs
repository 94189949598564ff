//! Masks and class maps that were made elsewhere: checked against their image, and interpreted.

use std::path::Path;

use self::kind::Kind;
use crate::{Error, ImageFile, LabelMap, MaskFacts, MaskKind, MaskReading, Place, label_map, parts::Parts, read};

mod grey;
mod kind;

/// A mask and the image that it belongs to.
pub(super) struct MaskFile<'a> {
    pub path: &'a Path,
    /// The image, as named in messages.
    pub image: &'a str,
    /// Page of the image, 0-based.
    pub page: usize,
    /// Number of pages of the image.
    pub num_pages: usize,
    /// `[height, width]` of the cropped image.
    pub size: [u32; 2],
    /// Number of rows that were cropped.
    pub cropped_px: u32,
}

/// How to read masks.
#[derive(Clone, Copy)]
pub(super) struct How<'a> {
    pub kind: MaskKind,
    /// Values that are not grains; empty for 0 and what is detected as background.
    pub background: &'a [u32],
}

/// The grains of a mask.
#[derive(Debug, PartialEq)]
pub(super) struct Grains {
    pub map: LabelMap,
    /// The original value of each pixel, if grains of several classes were separated by connectivity.
    pub classes: Option<LabelMap>,
    pub facts: MaskFacts,
}

impl MaskFile<'_> {
    /// The values of the page that belongs to the page of the image: the same one, or the only one.
    ///
    /// # Errors
    /// If the file cannot be read, is not a mask, has another number of pages, or another size. A mask with the size of
    /// the uncropped image is cropped as well.
    pub fn values(&self) -> Result<LabelMap, Error> {
        let (mut file, page) = self.open()?;
        if file.pages()[page].is_lossy {
            let feature = "a class map in JPEG, which changes values,".into();
            let remedy = "save it as PNG or TIFF".into();
            return Err(Error::Unsupported { place: Box::new(Place::file(self.path)), feature, remedy });
        }
        Ok(self.cropped(label_map::of_page(&mut file, self.path, page)?))
    }

    /// The grains of that page.
    ///
    /// # Errors
    /// Those of [`Self::values`]; [`Error::Unsupported`] for a picture in grey levels that cannot be separated into
    /// black and white.
    pub fn grains(&self, how: How<'_>) -> Result<Grains, Error> {
        let (mut file, page) = self.open()?;
        let is_lossy = file.pages()[page].is_lossy;
        let map = if is_lossy {
            grey::of_page(&mut file, self.path, page)?
        } else {
            label_map::of_page(&mut file, self.path, page)?
        };
        grains(self.cropped(map), how, is_lossy).map_err(|Grey { num_values }| Error::Unsupported {
            place: Box::new(Place {
                path: self.path.into(),
                page: (file.pages().len() > 1).then_some(page as u32 + 1),
                ..Place::default()
            }),
            feature: format!("a mask in {num_values} grey levels without black and white"),
            remedy:
                "expected a label for each grain, or two values; --mask-kind instances takes every value for a label"
                    .into(),
        })
    }

    fn open(&self) -> Result<(ImageFile, usize), Error> {
        let file = read::open_labels(self.path)?;
        let found = file.pages().len();
        let page = if found == 1 { 0 } else { self.page };
        if found != self.num_pages && found != 1 {
            let (what, expected) =
                ("pages of the mask".into(), format!("1 or {}, as {} has", self.num_pages, self.image));
            return Err(Error::Corrupt {
                place: Box::new(Place::file(self.path)),
                what,
                expected,
                found: found.to_string(),
            });
        }
        let info = &file.pages()[page];
        let [height, width] = self.size;
        if info.width != width || (info.height != height && info.height != height + self.cropped_px) {
            return Err(Error::MaskSize {
                path: self.path.into(),
                mask: format!("{} x {}", info.height, info.width),
                image: self.image.into(),
                size: format!("{} x {}", height + self.cropped_px, width),
            });
        }
        Ok((file, page))
    }

    fn cropped(&self, mut map: LabelMap) -> LabelMap {
        let [height, width] = self.size.map(|side| side as usize);
        map.labels.truncate(width * height);
        map.height = height;
        map
    }
}

/// Parts of class maps are specks if the median part is this many times larger.
const SPECKS_A_MEDIAN: u64 = 50;

/// A picture instead of a mask.
struct Grey {
    num_values: usize,
}

fn grains(mut map: LabelMap, how: How<'_>, is_lossy: bool) -> Result<Grains, Grey> {
    let values = if how.background.is_empty() { None } else { Some(set_background(&mut map, how.background)) };
    let name = |value: u32| values.filter(|&(old, new)| value == new && old != new).map_or(value, |(old, _)| old);
    let mut facts = MaskFacts::default();
    if how.kind == MaskKind::Instances && !is_lossy {
        return Ok(Grains { map, classes: None, facts });
    }
    let mut parts = Parts::of(&map, false);
    let has_many = |parts: &Parts| how.kind == MaskKind::Auto && parts.is_grey();
    if is_lossy || has_many(&parts) {
        let num_values = parts.num_values();
        let threshold = grey::threshold(&parts).ok_or(Grey { num_values })?;
        map.labels.iter_mut().for_each(|value| *value = u32::from(*value > threshold));
        parts = Parts::of(&map, false);
        facts.reading = MaskReading::Grey;
        facts.threshold = Some(threshold);
        facts.notes.push(format!(
            "{num_values} grey levels, left by lossy compression or resampling of black and white: pixels above \
             {threshold} are grains, parts of fewer than {} px are dropped",
            grey::MIN_PART_PX
        ));
    }
    let is_guessed = values.is_none();
    match kind::of(&map, &parts, how.kind, is_guessed) {
        Kind::Instances { notes } => {
            facts.notes.extend(notes);
            Ok(Grains { map, classes: None, facts })
        }
        Kind::Parts { background, boundaries, is_binary, mut notes } => {
            let is_grain = |value: u32| !background.contains(&value) && !boundaries.contains(&value);
            let areas = parts.areas(is_grain);
            let has_specks =
                areas.get(areas.len() / 2).is_some_and(|&median| median >= SPECKS_A_MEDIAN * grey::MIN_PART_PX);
            let min_px = match facts.reading {
                MaskReading::Grey => grey::MIN_PART_PX,
                _ if !is_binary && has_specks => grey::MIN_PART_PX,
                _ => 1,
            };
            let num_specks = areas.iter().filter(|&&area| area < min_px).count();
            if num_specks > 0 && facts.reading != MaskReading::Grey {
                notes.push(format!("parts of fewer than {min_px} px dropped as specks: {num_specks}"));
            }
            let labels = parts.labels(|value, area| is_grain(value) && area >= min_px);
            let num_classes = parts.values().filter(|&value| is_grain(value)).count();
            if facts.reading != MaskReading::Grey {
                facts.reading = if is_binary { MaskReading::BlackAndWhite } else { MaskReading::Classes };
            }
            facts.background = background.into_iter().map(name).collect();
            facts.boundaries = boundaries.into_iter().map(name).collect();
            facts.notes.append(&mut notes);
            let parted = LabelMap { width: map.width, height: map.height, labels };
            let classes = (num_classes > 1).then_some(map);
            Ok(Grains { map: parted, classes, facts })
        }
    }
}

/// Sets the values of `background` to 0, and 0 to another value if it is not one of them; returns which: `(0, its new
/// value)`.
fn set_background(map: &mut LabelMap, background: &[u32]) -> (u32, u32) {
    let zero = match background.contains(&0) {
        true => 0,
        false => map.labels.iter().copied().max().unwrap_or(0).saturating_add(1),
    };
    for value in &mut map.labels {
        *value = match *value {
            0 => zero,
            other if background.contains(&other) => 0,
            other => other,
        };
    }
    (0, zero)
}

/// For the fuzz target: every reading of a mask, in which every label is one of `1..=n` if it was divided into parts.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_mask(bytes: &[u8]) {
    let Some((&width, labels)) = bytes.split_first() else { return };
    let width = usize::from(width).max(1);
    let height = labels.len() / width;
    let labels: Vec<u32> = labels[..width * height].iter().map(|&label| label.into()).collect();
    for kind in [MaskKind::Auto, MaskKind::Instances, MaskKind::Classes] {
        for (background, is_lossy) in [(&[][..], false), (&[][..], true), (&[1, 2][..], false)] {
            let map = LabelMap { width, height, labels: labels.clone() };
            if let Ok(grains) = grains(map, How { kind, background }, is_lossy) {
                assert_eq!(grains.map.labels.len(), width * height);
            }
        }
    }
}

#[cfg(test)]
mod tests;
