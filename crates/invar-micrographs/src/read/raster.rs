//! PNG and JPEG, by the crate `image`.

use std::io::Cursor;

use image::{
    ColorType, DynamicImage, ExtendedColorType, ImageDecoder, ImageError, Limits,
    codecs::{jpeg::JpegDecoder, png::PngDecoder},
};

use crate::{
    Error, PageInfo, Place, SampleType, Samples,
    read::{Band, Format, Source, raw::rows_per_band},
};

/// More than any data can be compressed by deflate (1032) or by the Huffman codes of a baseline JPEG.
const MAX_RATIO: u64 = 1100;

/// What the header says.
pub(crate) fn page(source: &Source, format: Format) -> Result<PageInfo, Error> {
    let (info, needed) = match format {
        Format::Png => {
            let decoder = png(source)?;
            (info(source, &decoder)?, decoder.total_bytes())
        }
        _ => {
            check_jpeg(source)?;
            let decoder = jpeg(source)?;
            (info(source, &decoder)?, decoder.total_bytes())
        }
    };
    if needed / MAX_RATIO > source.len() {
        let expected = format!("at most {MAX_RATIO} times the {} bytes of the file", source.len());
        return Err(source.corrupt("the size of the image", expected, format!("{needed} bytes")));
    }
    Ok(info)
}

/// Decodes the whole and hands it over in bands.
pub(crate) fn read_bands(
    source: &Source,
    format: Format,
    info: &PageInfo,
    max_pixels: u64,
    sink: &mut dyn FnMut(Band) -> Result<(), Error>,
) -> Result<(), Error> {
    let image = match format {
        Format::Png => DynamicImage::from_decoder(png(source)?),
        _ => DynamicImage::from_decoder(jpeg(source)?),
    };
    let samples = match image.map_err(|error| damaged(source, error))? {
        DynamicImage::ImageLuma8(image) => Samples::U8(image.into_raw()),
        DynamicImage::ImageRgb8(image) => Samples::U8(image.into_raw()),
        DynamicImage::ImageLumaA8(image) => Samples::U8(without_alpha::<_, 2>(&image)),
        DynamicImage::ImageRgba8(image) => Samples::U8(without_alpha::<_, 4>(&image)),
        DynamicImage::ImageLuma16(image) => Samples::U16(image.into_raw()),
        DynamicImage::ImageRgb16(image) => Samples::U16(image.into_raw()),
        DynamicImage::ImageLumaA16(image) => Samples::U16(without_alpha::<_, 2>(&image)),
        DynamicImage::ImageRgba16(image) => Samples::U16(without_alpha::<_, 4>(&image)),
        other => return Err(source.unsupported(format!("{:?} pixels", other.color()), "")),
    };
    let rows_per_band = rows_per_band(info.width, max_pixels);
    if rows_per_band >= info.height {
        return sink(Band { first_row: 0, num_rows: info.height, samples });
    }
    let row_len = info.width as usize * usize::from(info.channels);
    let mut first_row = 0;
    while first_row < info.height {
        let num_rows = rows_per_band.min(info.height - first_row);
        let range = first_row as usize * row_len..(first_row + num_rows) as usize * row_len;
        let samples = match &samples {
            Samples::U16(values) => Samples::U16(values[range].to_vec()),
            Samples::U8(values) => Samples::U8(values[range].to_vec()),
            _ => return Err(source.unsupported("these pixels", "")),
        };
        sink(Band { first_row, num_rows, samples })?;
        first_row += num_rows;
    }
    Ok(())
}

fn without_alpha<T: Copy, const N: usize>(values: &[T]) -> Vec<T> {
    values.chunks_exact(N).flat_map(|pixel| &pixel[..N - 1]).copied().collect()
}

fn info(source: &Source, decoder: &impl ImageDecoder) -> Result<PageInfo, Error> {
    if matches!(decoder.original_color_type(), ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16) {
        return Err(source.unsupported("CMYK colour", "convert the file to RGB"));
    }
    let (channels, sample_type) = match decoder.color_type() {
        ColorType::L8 | ColorType::La8 => (1, SampleType::U8),
        ColorType::Rgb8 | ColorType::Rgba8 => (3, SampleType::U8),
        ColorType::L16 | ColorType::La16 => (1, SampleType::U16),
        ColorType::Rgb16 | ColorType::Rgba16 => (3, SampleType::U16),
        other => return Err(source.unsupported(format!("{other:?} pixels"), "")),
    };
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(source.corrupt("the size of the image", "at least 1 x 1", format!("{width} x {height}")));
    }
    Ok(PageInfo { name: None, width, height, channels, sample_type, pixel_size: None })
}

fn png(source: &Source) -> Result<PngDecoder<Cursor<Vec<u8>>>, Error> {
    let bytes = source.bytes_at(0, source.len(), "the file")?;
    PngDecoder::with_limits(Cursor::new(bytes), Limits::no_limits()).map_err(|error| damaged(source, error))
}

fn jpeg(source: &Source) -> Result<JpegDecoder<Cursor<Vec<u8>>>, Error> {
    let bytes = source.bytes_at(0, source.len(), "the file")?;
    JpegDecoder::new(Cursor::new(bytes)).map_err(|error| damaged(source, error))
}

/// Walks the segments: the decoder fills what is missing with grey, and fails late on four colours.
fn check_jpeg(source: &Source) -> Result<(), Error> {
    let bytes = source.bytes_at(0, source.len(), "the file")?;
    match jpeg_segments(&bytes) {
        Ok(1 | 3) => Ok(()),
        Ok(4) => Err(source.unsupported("CMYK colour", "convert the file to RGB")),
        Ok(other) => Err(source.corrupt("the number of colours", "1, 3 or 4", other)),
        Err(expected) => Err(Error::Truncated {
            place: Box::new(Place { offset: Some(source.len()), ..Place::file(source.path()) }),
            expected: expected.into(),
            found: "the end of the file".into(),
        }),
    }
}

/// The number of colours, where the image is there to its end marker; else what is missing.
fn jpeg_segments(bytes: &[u8]) -> Result<u8, &'static str> {
    let mut num_colours = 0;
    let mut rest = &bytes[2..];
    let mut in_scan = false;
    while let Some(at) = rest.iter().position(|&byte| byte == 0xff) {
        let Some(&marker) = rest.get(at + 1) else { break };
        match marker {
            0xff => rest = &rest[at + 1..],
            0 | 1 | 0xd0..=0xd8 => rest = &rest[at + 2..],
            0xd9 if in_scan => return Ok(num_colours),
            0xd9 => break,
            _ => {
                let Some(&[high, low]) = rest.get(at + 2..at + 4) else { break };
                let Some(segment) = rest.get(at + 4..at + 2 + usize::from(u16::from_be_bytes([high, low])).max(2))
                else {
                    break;
                };
                if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
                    num_colours = segment.get(5).copied().unwrap_or(0);
                }
                in_scan |= marker == 0xda;
                rest = &rest[at + 4 + segment.len()..];
            }
        }
    }
    Err(if in_scan { "the end marker (EOI)" } else { "a scan (SOS)" })
}

fn damaged(source: &Source, error: ImageError) -> Error {
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
