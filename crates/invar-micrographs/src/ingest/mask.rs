//! Masks and class maps that were made elsewhere, checked against their image.

use std::path::Path;

use crate::{Error, LabelMap, Place, label_map, read};

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
    if found != num_pages {
        let (what, expected) = ("pages of the mask".into(), format!("{num_pages}, as {image} has"));
        return Err(Error::Corrupt { place: Box::new(Place::file(path)), what, expected, found: found.to_string() });
    }
    let info = &file.pages()[page];
    if info.width != width || (info.height != height && info.height != height + cropped_px) {
        return Err(Error::MaskSize {
            path: path.into(),
            mask: format!("{} x {}", info.height, info.width),
            image: image.into(),
            size: format!("{} x {}", height + cropped_px, width),
        });
    }
    let mut map = label_map::of_page(&mut file, path, page)?;
    map.labels.truncate(width as usize * height as usize);
    map.height = height as usize;
    Ok(map)
}
