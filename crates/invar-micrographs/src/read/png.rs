//! PNG (ISO 15948), read strictly by the crate `png`: every checksum is verified.

use std::io::BufReader;

use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Limits, Transformations};

use crate::{
    Error, Note, Orientation, PageInfo, PixelSize, Place, SampleType, Samples,
    read::{
        Band, ByteSource,
        palette::{Palette, Purpose},
        raw::rows_per_band,
        samples,
        source::Stream,
        units,
    },
};

/// More than deflate can compress anything (1032).
const MAX_RATIO: u64 = 1040;

/// How the pixels are stored.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Values per pixel, including alpha.
    num_stored: usize,
    /// Bits per value.
    bits: u8,
    /// Numbers of fewer than 8 bits are scaled to 0 to 255, as in every image reader; labels are unchanged.
    is_scaled: bool,
    palette: Option<Palette>,
}

type Reader<'a> = png::Reader<BufReader<Stream<'a>>>;

/// The content of the chunks before the pixels.
pub(crate) fn open(source: &ByteSource, purpose: Purpose) -> Result<(PageInfo, Layout), Error> {
    let reader = reader(source)?;
    let info = reader.info();
    let (width, height) = info.size();
    let bits = info.bit_depth as u8;
    let num_stored = info.color_type.samples();
    let row_bytes = (u64::from(width) * num_stored as u64 * u64::from(bits)).div_ceil(8) + 1;
    let needed = row_bytes.saturating_mul(u64::from(height));
    if needed / MAX_RATIO > source.len() {
        let expected = format!("at most {MAX_RATIO} times the {} bytes of the file", source.len());
        return Err(source.corrupt("the size of the image", expected, format!("{needed} bytes")));
    }
    let mut notes = Vec::new();
    let mut palette = None;
    if info.color_type == ColorType::Indexed && purpose == Purpose::Picture {
        let colours = info.palette.as_deref().unwrap_or_default().as_chunks::<3>().0.to_vec();
        palette = Some(Palette::new(colours));
        notes.push(Note::Palette);
    }
    if let Some(num_frames) = info.animation_control().map(|control| u64::from(control.num_frames)).filter(|&n| n > 1) {
        notes.push(Note::FirstFrame { num_frames });
    }
    let channels = match (info.color_type, &palette) {
        (_, Some(palette)) => palette.channels(),
        (ColorType::Rgb | ColorType::Rgba, None) => 3,
        (_, None) => 1,
    };
    let page = PageInfo {
        name: None,
        width,
        height,
        channels,
        sample_type: if info.bit_depth == BitDepth::Sixteen { SampleType::U16 } else { SampleType::U8 },
        pixel_size: pixel_size(info),
        is_lossy: false,
        orientation: Orientation::UPRIGHT,
        notes,
    };
    let is_scaled = purpose == Purpose::Picture && info.color_type != ColorType::Indexed;
    Ok((page.turned(orientation(source)?), Layout { num_stored, bits, is_scaled, palette }))
}

/// Passes on the stored rows; row by row, but all at once if they are interlaced.
pub(crate) fn read_bands(
    source: &ByteSource,
    page: &PageInfo,
    layout: &Layout,
    max_pixels: u64,
    sink: &mut dyn FnMut(Band) -> Result<(), Error>,
) -> Result<(), Error> {
    let [height, width] = page.stored_size();
    let mut reader = reader(source)?;
    let row_bytes = (width as usize * layout.num_stored * usize::from(layout.bits)).div_ceil(8);
    let rows_per_band = rows_per_band(width, max_pixels);
    let mut hand_over = |first_row: u32, rows: Vec<u8>| {
        let num_rows = (rows.len() / row_bytes) as u32;
        sink(Band { first_row, num_rows, samples: layout.samples(source, rows, row_bytes, width as usize)? })
    };
    if rows_per_band >= height || reader.info().interlaced {
        let mut pixels = vec![0; row_bytes * height as usize];
        reader.next_frame(&mut pixels).map_err(|error| damaged(source, error))?;
        // The checksum of all pixels comes after the last.
        reader.finish().map_err(|error| damaged(source, error))?;
        if rows_per_band >= height {
            return hand_over(0, pixels);
        }
        let bands = pixels.chunks(row_bytes * rows_per_band as usize);
        return (0..height)
            .step_by(rows_per_band as usize)
            .zip(bands)
            .try_for_each(|(row, band)| hand_over(row, band.into()));
    }
    for first_row in (0..height).step_by(rows_per_band as usize) {
        let num_rows = rows_per_band.min(height - first_row);
        let mut rows = Vec::with_capacity(num_rows as usize * row_bytes);
        for row in first_row..first_row + num_rows {
            let stored = reader.next_row().map_err(|error| damaged(source, error))?;
            let stored = stored.ok_or_else(|| source.corrupt("the number of rows", height.to_string(), row))?;
            rows.extend_from_slice(stored.data());
        }
        hand_over(first_row, rows)?;
    }
    reader.finish().map_err(|error| damaged(source, error))
}

impl Layout {
    /// Converts stored rows to pixels without alpha.
    fn samples(&self, source: &ByteSource, rows: Vec<u8>, row_bytes: usize, width: usize) -> Result<Samples, Error> {
        let kept = if matches!(self.num_stored, 2 | 4) { self.num_stored - 1 } else { self.num_stored };
        if self.bits == 16 {
            let values = rows.as_chunks::<2>().0.iter().map(|&bytes| u16::from_be_bytes(bytes));
            return Ok(Samples::U16(without_alpha(values, self.num_stored, kept)));
        }
        let scale = if self.is_scaled { 255 / ((1u16 << self.bits) - 1) as u8 } else { 1 };
        let values: Vec<u8> = match self.bits {
            8 if kept == self.num_stored => rows,
            8 => without_alpha(rows.into_iter(), self.num_stored, kept),
            // Values with fewer bits have a single channel: grey, or indices of a palette.
            bits => {
                let of_row =
                    |row| (0..width).map(move |index| samples::bits_at(row, index * usize::from(bits), bits.into()));
                rows.chunks_exact(row_bytes).flat_map(of_row).map(|value| value as u8 * scale).collect()
            }
        };
        let samples = Samples::U8(values);
        let Some(palette) = &self.palette else { return Ok(samples) };
        palette
            .colours(&samples)
            .map_err(|index| palette.error(index, |what, expected, found| source.corrupt(what, expected, found)))
    }
}

fn without_alpha<T: Copy>(values: impl Iterator<Item = T>, num_stored: usize, kept: usize) -> Vec<T> {
    if num_stored == kept {
        return values.collect();
    }
    values.enumerate().filter(|(index, _)| index % num_stored < kept).map(|(_, value)| value).collect()
}

fn reader(source: &ByteSource) -> Result<Reader<'_>, Error> {
    let mut options = DecodeOptions::default();
    options.set_ignore_adler32(false);
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = Decoder::new_with_options(BufReader::new(source.stream(0, source.len())), options);
    decoder.set_limits(Limits { bytes: usize::MAX });
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.read_info().map_err(|error| damaged(source, error))
}

/// Used if it is finer than anything printed.
fn pixel_size(info: &png::Info<'_>) -> Option<PixelSize> {
    let dims = info.pixel_dims.filter(|dims| dims.unit == png::Unit::Meter)?;
    let length = |per_metre: u32| units::NM_PER_METRE / f64::from(per_metre);
    units::of_resolution(length(dims.xppu), length(dims.yppu))
}

/// Walks over the chunks to the end marker: EXIF data may precede or follow the pixels.
fn orientation(source: &ByteSource) -> Result<Orientation, Error> {
    let mut orientation = Orientation::UPRIGHT;
    let mut offset = SIGNATURE_BYTES;
    while offset + 12 <= source.len() {
        let head = source.bytes_at(offset, 8, "a chunk")?;
        let len = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
        if &head[4..] == b"eXIf" && len <= MAX_EXIF_BYTES && offset + 12 + len <= source.len() {
            orientation = super::exif_orientation(&source.bytes_at(offset + 8, len, "EXIF data")?);
        }
        if &head[4..] == b"IEND" {
            break;
        }
        offset += 12 + len;
    }
    Ok(orientation)
}

const SIGNATURE_BYTES: u64 = 8;
/// EXIF data are at most as long as a JPEG segment.
const MAX_EXIF_BYTES: u64 = 1 << 16;

fn damaged(source: &ByteSource, error: DecodingError) -> Error {
    let text = error.to_string();
    match error {
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Error::Truncated {
            place: Box::new(Place { offset: Some(source.len()), ..Place::file(source.path()) }),
            expected: "more data".into(),
            found: "the end of the file".into(),
        },
        _ => source.corrupt("the image data", "valid data", text),
    }
}
