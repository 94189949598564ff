//! JPEG (ITU T.81), decoded by the crate `image`, after our own check of the coded data: the decoder continues where
//! they are damaged, and leaves the rest grey.

use std::io::Cursor;

use image::{ColorType, DynamicImage, ExtendedColorType, ImageDecoder, ImageError, codecs::jpeg::JpegDecoder};

use crate::{
    Error, Orientation, PageInfo, Place, SampleType, Samples,
    read::{Band, ByteSource, exif_orientation, raw::rows_per_band},
};

mod bits;
mod block;
mod check;

pub(crate) use check::{Damage, check};

/// More than the Huffman codes of a baseline JPEG can compress anything.
const MAX_RATIO: u64 = 1100;

/// The content of the header.
pub(crate) fn open(source: &ByteSource) -> Result<PageInfo, Error> {
    let bytes = source.bytes_at(0, source.len(), "the file")?;
    let segments = Segments::read(&bytes).map_err(|expected| Error::Truncated {
        place: Box::new(Place { offset: Some(source.len()), ..Place::file(source.path()) }),
        expected: expected.into(),
        found: "the end of the file".into(),
    })?;
    match segments.num_colours {
        1 | 3 => {}
        4 => return Err(source.unsupported("CMYK colour", "convert the file to RGB")),
        other => return Err(source.corrupt("the number of colours", "1, 3 or 4", other)),
    }
    let decoder = decoder(source, bytes)?;
    if matches!(decoder.original_color_type(), ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16) {
        return Err(source.unsupported("CMYK colour", "convert the file to RGB"));
    }
    let channels = match decoder.color_type() {
        ColorType::L8 => 1,
        ColorType::Rgb8 => 3,
        other => return Err(source.unsupported(format!("{other:?} pixels"), "")),
    };
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(source.corrupt("the size of the image", "at least 1 x 1", format!("{width} x {height}")));
    }
    let needed = decoder.total_bytes();
    if needed / MAX_RATIO > source.len() {
        let expected = format!("at most {MAX_RATIO} times the {} bytes of the file", source.len());
        return Err(source.corrupt("the size of the image", expected, format!("{needed} bytes")));
    }
    let page = PageInfo {
        name: None,
        width,
        height,
        channels,
        sample_type: SampleType::U8,
        pixel_size: None,
        is_lossy: true,
        orientation: Orientation::UPRIGHT,
        notes: Vec::new(),
    };
    Ok(page.turned(segments.orientation))
}

/// Decodes the whole image and passes on the stored rows in bands.
pub(crate) fn read_bands(
    source: &ByteSource,
    info: &PageInfo,
    max_pixels: u64,
    sink: &mut dyn FnMut(Band) -> Result<(), Error>,
) -> Result<(), Error> {
    let bytes = source.bytes_at(0, source.len(), "the file")?;
    check(&bytes).map_err(|Damage { offset, what, expected, found }| {
        source.corrupt_at(Place { offset: Some(offset as u64), ..Place::file(source.path()) }, what, expected, found)
    })?;
    let image = DynamicImage::from_decoder(decoder(source, bytes)?).map_err(|error| undecodable(source, error))?;
    let values = match image {
        DynamicImage::ImageLuma8(image) => image.into_raw(),
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        other => return Err(source.unsupported(format!("{:?} pixels", other.color()), "")),
    };
    let [height, width] = info.stored_size();
    let row_len = width as usize * usize::from(info.channels);
    let rows_per_band = rows_per_band(width, max_pixels);
    if rows_per_band >= height {
        return sink(Band { first_row: 0, num_rows: height, samples: Samples::U8(values) });
    }
    for (index, rows) in values.chunks(row_len * rows_per_band as usize).enumerate() {
        let num_rows = (rows.len() / row_len) as u32;
        sink(Band { first_row: index as u32 * rows_per_band, num_rows, samples: Samples::U8(rows.to_vec()) })?;
    }
    Ok(())
}

fn decoder(source: &ByteSource, bytes: Vec<u8>) -> Result<JpegDecoder<Cursor<Vec<u8>>>, Error> {
    JpegDecoder::new(Cursor::new(bytes)).map_err(|error| undecodable(source, error))
}

/// The content of the segments before and between the scans.
struct Segments {
    num_colours: u8,
    orientation: Orientation,
}

impl Segments {
    /// Walks over the segments to the end marker; otherwise returns what is missing.
    fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut segments = Self { num_colours: 0, orientation: Orientation::UPRIGHT };
        let mut rest = &bytes[2..];
        let mut in_scan = false;
        while let Some(at) = rest.iter().position(|&byte| byte == 0xff) {
            let Some(&marker) = rest.get(at + 1) else { break };
            match marker {
                0xff => rest = &rest[at + 1..],
                0 | 1 | 0xd0..=0xd8 => rest = &rest[at + 2..],
                0xd9 if in_scan => return Ok(segments),
                0xd9 => break,
                _ => {
                    let Some(&[high, low]) = rest.get(at + 2..at + 4) else { break };
                    let len = usize::from(u16::from_be_bytes([high, low])).max(2);
                    let Some(segment) = rest.get(at + 4..at + 2 + len) else { break };
                    segments.take(marker, segment);
                    in_scan |= marker == 0xda;
                    rest = &rest[at + 4 + segment.len()..];
                }
            }
        }
        Err(if in_scan { "the end marker (EOI)" } else { "a scan (SOS)" })
    }

    fn take(&mut self, marker: u8, segment: &[u8]) {
        match marker {
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf => self.num_colours = segment.get(5).copied().unwrap_or(0),
            0xe1 => {
                if let Some(exif) = segment.strip_prefix(b"Exif\0\0") {
                    self.orientation = exif_orientation(exif);
                }
            }
            _ => {}
        }
    }
}

fn undecodable(source: &ByteSource, error: ImageError) -> Error {
    let text = error.to_string();
    match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Error::Truncated {
            place: Box::new(Place { offset: Some(source.len()), ..Place::file(source.path()) }),
            expected: "more data".into(),
            found: "the end of the file".into(),
        },
        ImageError::Unsupported(_) => source.unsupported(text, "convert the file to 8-bit or 16-bit PNG"),
        _ => source.corrupt("the image data", "valid data", text),
    }
}
