//! Marks pictures drawn by Invar, so that they are not mistaken for micrographs later.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use tiff::{decoder::Decoder, tags::Tag};

/// The value of the keyword `Software` in PNG and TIFF.
pub(crate) const SOFTWARE: &str = "invar";

/// Signature and the chunk IHDR, which is first.
const PNG_HEAD: usize = 8 + 12 + 13;

/// Marks a PNG as drawn by Invar: a chunk `tEXt` after the header. Anything but a PNG is unchanged.
pub fn sign_png(png: Vec<u8>) -> Vec<u8> {
    if png.len() < PNG_HEAD || !png.starts_with(b"\x89PNG\r\n\x1a\n") {
        return png;
    }
    let (head, rest) = png.split_at(PNG_HEAD);
    [head, &text_chunk(), rest].concat()
}

/// Whether a file is a PNG that Invar drew.
pub(crate) fn is_own_png(path: &Path) -> bool {
    let chunk = text_chunk();
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take((PNG_HEAD + chunk.len()) as u64).read_to_end(&mut head));
    read.is_ok() && head.starts_with(b"\x89PNG") && head.get(PNG_HEAD..) == Some(chunk.as_slice())
}

/// Whether a file is a label map that Invar wrote.
pub(crate) fn is_own_label_map(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let Ok(mut decoder) = Decoder::new(BufReader::new(file)) else { return false };
    decoder.get_tag_ascii_string(Tag::Software).is_ok_and(|software| software == SOFTWARE)
}

/// `length | tEXt | Software 0 invar | checksum` (PNG specification, 11.3.3).
fn text_chunk() -> Vec<u8> {
    let text = [b"Software\0", SOFTWARE.as_bytes()].concat();
    let typed = [b"tEXt", text.as_slice()].concat();
    let mut checksum = flate2::Crc::new();
    checksum.update(&typed);
    [&(text.len() as u32).to_be_bytes(), typed.as_slice(), &checksum.sum().to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, RgbImage};

    use super::*;

    #[test]
    fn a_signed_picture_is_known_and_still_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.png");
        let mut bytes = std::io::Cursor::new(Vec::new());
        RgbImage::from_pixel(5, 4, image::Rgb([1, 2, 3])).write_to(&mut bytes, ImageFormat::Png).unwrap();
        std::fs::write(&path, bytes.get_ref()).unwrap();
        assert!(!is_own_png(&path));
        std::fs::write(&path, sign_png(bytes.into_inner())).unwrap();
        assert!(is_own_png(&path) && !is_own_label_map(&path));
        assert_eq!(image::open(&path).unwrap().to_rgb8().get_pixel(4, 3).0, [1, 2, 3]);
        let map = crate::LabelMap { width: 2, height: 1, labels: vec![1, 2] };
        let labels = directory.path().join("a.tif");
        crate::write_label_map(&labels, &map).unwrap();
        assert!(is_own_label_map(&labels) && !is_own_png(&labels));
        assert_eq!(sign_png(b"no".to_vec()), b"no");
    }
}
