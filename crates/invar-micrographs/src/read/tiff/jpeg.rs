//! JPEG in TIFF (Technical Note 2): the tables may be in a separate tag.

use std::io::Cursor;

use image::{ColorType, ImageDecoder, codecs::jpeg::JpegDecoder};

use crate::read::{
    jpeg::{Damage, check},
    tiff::layout::Layout,
};

/// An Adobe segment stating that the colours are plain red, green and blue.
const ADOBE_RGB: &[u8] = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00";

/// Decodes a strip or tile to 8-bit pixels, or returns what is wrong with it.
pub(crate) fn decode(layout: &Layout, stored: &[u8], out: &mut [u8]) -> Result<(), String> {
    let stream = with_tables(layout, stored)?;
    let decoder = JpegDecoder::new(Cursor::new(stream.as_slice())).map_err(|error| error.to_string())?;
    let channels = match decoder.color_type() {
        ColorType::L8 => 1,
        ColorType::Rgb8 => 3,
        other => return Err(format!("{other:?} pixels")),
    };
    let (width, height) = decoder.dimensions();
    let rows = out.len() as u64 / layout.row_bytes();
    let found = (u64::from(width), channels);
    let expected = (u64::from(layout.chunk_width), layout.per_pixel());
    if layout.bits != 8 || found != expected || u64::from(height) < rows {
        return Err(format!("a JPEG of {width} x {height} pixels of {channels} channels"));
    }
    check(&stream).map_err(|Damage { what, expected, found, .. }| format!("{what}: {found}, not {expected}"))?;
    let mut pixels = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut pixels).map_err(|error| error.to_string())?;
    out.copy_from_slice(&pixels[..out.len()]);
    Ok(())
}

/// A self-contained stream: start marker, tables, then the rest of the strip.
fn with_tables(layout: &Layout, stored: &[u8]) -> Result<Vec<u8>, String> {
    let body = stored.strip_prefix(b"\xff\xd8").ok_or("no start of a JPEG")?;
    let mut stream = b"\xff\xd8".to_vec();
    if layout.is_rgb {
        stream.extend_from_slice(ADOBE_RGB);
    }
    if let Some(tables) = &layout.jpeg_tables {
        let tables = tables.strip_prefix(b"\xff\xd8").unwrap_or(tables);
        stream.extend_from_slice(tables.strip_suffix(b"\xff\xd9").unwrap_or(tables));
    }
    stream.extend_from_slice(body);
    Ok(stream)
}
