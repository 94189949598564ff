//! Masks and class maps that were made elsewhere, checked against their image.

use std::path::Path;

use crate::{Error, LabelMap, Place, label_map, read, segment::each_neighbor};

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
    let mut file = read::open_labels(path)?;
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

/// Where all that is not background has one label, as in a mask of black and white, makes a grain of each 4-connected part:
/// labels `1..=n` by first pixel.
pub(super) fn part_if_binary(map: &mut LabelMap) {
    let mut labels = map.labels.iter().copied().filter(|&label| label != 0);
    let Some(white) = labels.next() else { return };
    if labels.any(|label| label != white) {
        return;
    }
    let (width, height) = (map.width, map.height);
    let mut parts = vec![0; map.labels.len()];
    let (mut num_parts, mut stack) = (0, Vec::new());
    for first in 0..parts.len() {
        if map.labels[first] == 0 || parts[first] != 0 {
            continue;
        }
        num_parts += 1;
        parts[first] = num_parts;
        stack.push(first);
        while let Some(pixel) = stack.pop() {
            each_neighbor(pixel, width, height, |next| {
                if map.labels[next] != 0 && parts[next] == 0 {
                    parts[next] = num_parts;
                    stack.push(next);
                }
            });
        }
    }
    map.labels = parts;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_black_and_white_are_grains_and_labels_stay() {
        // The two at the upper right touch at a corner only.
        let white = [255, 0, 0, 255, 255, 0, 255, 0, 0, 0, 255, 255];
        let map = |labels: &[u32]| LabelMap { width: 4, height: 3, labels: labels.to_vec() };
        let mut binary = map(&white);
        part_if_binary(&mut binary);
        assert_eq!(binary.labels, [1, 0, 0, 2, 1, 0, 3, 0, 0, 0, 3, 3]);
        let mut labels = map(&white);
        labels.labels[3] = 7;
        let before = labels.clone();
        part_if_binary(&mut labels);
        assert_eq!(labels, before);
        let mut empty = map(&[0; 12]);
        part_if_binary(&mut empty);
        assert_eq!(empty.labels, [0; 12]);
    }
}
