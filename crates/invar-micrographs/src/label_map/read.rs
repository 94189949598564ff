use std::{
    fs::File,
    io::{BufReader, Cursor, ErrorKind, Read},
    path::Path,
};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};
use tiff::{
    ColorType, TiffError,
    decoder::{Decoder, DecodingResult, Limits},
};

use crate::{Error, LabelMap, Place};

/// Reads page `page` (from 1) of a label mask: TIFF or PNG, integers of any width, or floating-point numbers that are
/// whole; one value a pixel, or several that are equal. Labels stay as they are, 0 being background. Whether the size is
/// that of the image is for the caller to check.
///
/// # Errors
/// [`Error::Io`]; [`Error::NotAnImage`], [`Error::Truncated`], [`Error::Corrupt`] (also for a label that is negative,
/// no whole number or 2^32 and more, naming the pixel, and for a page that is not there) and [`Error::Unsupported`].
pub fn read_label_map(path: impl AsRef<Path>, page: u32) -> Result<LabelMap, Error> {
    let path = path.as_ref();
    let mut file = File::open(path).map_err(Error::io(path))?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    let mut magic = Vec::new();
    file.by_ref().take(8).read_to_end(&mut magic).map_err(Error::io(path))?;
    let reader = || File::open(path).map(BufReader::new).map_err(Error::io(path));
    let context =
        Context { place: Place::page(path, page), most_bytes: LEAST_BYTES.max(length.saturating_mul(MOST_RATIO)) };
    match magic[..] {
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => context.read_tiff(reader()?, page),
        [0x89, b'P', b'N', b'G', ..] => {
            if page != 1 {
                return Err(context.corrupt("page of a PNG", "1", page));
            }
            context.read_png(path)
        }
        [] => Err(Error::NotAnImage { path: path.into(), found: "an empty file".into() }),
        _ => Err(Error::NotAnImage { path: path.into(), found: format!("a mask that begins {:?}", Bytes(&magic)) }),
    }
}

/// No compression that is read does better, by a wide margin: a header that promises more lies.
const MOST_RATIO: u64 = 20_000;
const LEAST_BYTES: u64 = 1 << 26;

struct Bytes<'a>(&'a [u8]);

impl std::fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

struct Context {
    place: Place,
    most_bytes: u64,
}

impl Context {
    fn corrupt(&self, what: &str, expected: impl ToString, found: impl ToString) -> Error {
        self.corrupt_at(self.place.clone(), what, expected, found)
    }

    fn corrupt_at(&self, place: Place, what: &str, expected: impl ToString, found: impl ToString) -> Error {
        let (expected, found) = (expected.to_string(), found.to_string());
        Error::Corrupt { place: Box::new(place), what: what.into(), expected, found }
    }

    fn unsupported(&self, feature: impl ToString, remedy: &str) -> Error {
        Error::Unsupported { place: Box::new(self.place.clone()), feature: feature.to_string(), remedy: remedy.into() }
    }

    fn truncated(&self, found: impl ToString) -> Error {
        let expected = "a whole label mask".into();
        Error::Truncated { place: Box::new(self.place.clone()), expected, found: found.to_string() }
    }

    fn read_tiff(&self, reader: BufReader<File>, page: u32) -> Result<LabelMap, Error> {
        let tiff = |error: TiffError| self.tiff_error(error);
        let mut decoder = Decoder::new(reader).map_err(tiff)?;
        for number in 1..page {
            if !decoder.more_images() {
                return Err(self.corrupt("page of a label mask", format!("1 to {number}"), page));
            }
            decoder.next_image().map_err(tiff)?;
        }
        let (width, height) = decoder.dimensions().map_err(tiff)?;
        let color = decoder.colortype().map_err(tiff)?;
        let bits = match color {
            ColorType::Gray(bits) => bits,
            other => return Err(self.unsupported(format!("a label mask of {other:?}"), ONE_CHANNEL)),
        };
        let bytes = (u64::from(width) * u64::from(height)).saturating_mul(u64::from(bits).div_ceil(8));
        self.check_size(width, height, bytes)?;
        let mut limits = Limits::default();
        limits.decoding_buffer_size = bytes as usize;
        limits.intermediate_buffer_size = limits.intermediate_buffer_size.max(bytes as usize);
        let samples = decoder.with_limits(limits).read_image().map_err(tiff)?;
        self.label_map(width as usize, height as usize, bits, samples)
    }

    fn check_size(&self, width: u32, height: u32, bytes: u64) -> Result<(), Error> {
        if width == 0 || height == 0 {
            return Err(self.corrupt("size of a label mask", "at least 1 x 1", format!("{width} x {height}")));
        }
        if bytes > self.most_bytes {
            let expected = format!("at most {} bytes of pixels in a file of this size", self.most_bytes);
            return Err(self.corrupt("size of a label mask", expected, format!("{width} x {height}, {bytes} bytes")));
        }
        Ok(())
    }

    fn label_map(&self, width: usize, height: usize, bits: u8, samples: DecodingResult) -> Result<LabelMap, Error> {
        let labels = match samples {
            DecodingResult::U8(v) if bits < 8 => unpack(&v, width, height, bits),
            DecodingResult::U8(v) => v.into_iter().map(u32::from).collect(),
            DecodingResult::U16(v) => v.into_iter().map(u32::from).collect(),
            DecodingResult::U32(v) => v,
            DecodingResult::U64(v) => self.whole(&v, width, |x| x.try_into().ok())?,
            DecodingResult::I8(v) => self.whole(&v, width, |x| x.try_into().ok())?,
            DecodingResult::I16(v) => self.whole(&v, width, |x| x.try_into().ok())?,
            DecodingResult::I32(v) => self.whole(&v, width, |x| x.try_into().ok())?,
            DecodingResult::I64(v) => self.whole(&v, width, |x| x.try_into().ok())?,
            DecodingResult::F16(v) => self.whole(&v, width, |x| label_of(f64::from(x.to_f32())))?,
            DecodingResult::F32(v) => self.whole(&v, width, |x| label_of(f64::from(x)))?,
            DecodingResult::F64(v) => self.whole(&v, width, label_of)?,
        };
        if labels.len() != width * height {
            return Err(self.corrupt("values of a label mask", width * height, labels.len()));
        }
        Ok(LabelMap { width, height, labels })
    }

    fn whole<T: Copy + std::fmt::Display>(
        &self,
        values: &[T],
        width: usize,
        label: impl Fn(T) -> Option<u32>,
    ) -> Result<Vec<u32>, Error> {
        let read = |(index, &value): (usize, &T)| {
            label(value).ok_or_else(|| {
                let pixel = Some(((index / width) as u32, (index % width) as u32));
                let place = Place { pixel, ..self.place.clone() };
                self.corrupt_at(place, "a label", "a whole number from 0 to 4294967295", value)
            })
        };
        values.iter().enumerate().map(read).collect()
    }

    fn read_png(&self, path: &Path) -> Result<LabelMap, Error> {
        let error = |error: ImageError| self.image_error(error);
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
        let mut decoder = reader.into_decoder().map_err(error)?;
        let (width, height) = decoder.dimensions();
        self.check_size(width, height, decoder.total_bytes())?;
        let mut limits = image::Limits::no_limits();
        limits.max_alloc = Some(self.most_bytes);
        decoder.set_limits(limits).map_err(error)?;
        let labels = match DynamicImage::from_decoder(decoder).map_err(error)? {
            DynamicImage::ImageLuma8(image) => image.into_raw().into_iter().map(u32::from).collect(),
            DynamicImage::ImageLuma16(image) => image.into_raw().into_iter().map(u32::from).collect(),
            DynamicImage::ImageLumaA8(image) => image.pixels().map(|pixel| u32::from(pixel.0[0])).collect(),
            DynamicImage::ImageLumaA16(image) => image.pixels().map(|pixel| u32::from(pixel.0[0])).collect(),
            DynamicImage::ImageRgb8(image) => self.grey(image.pixels().map(|pixel| &pixel.0[..3]))?,
            DynamicImage::ImageRgba8(image) => self.grey(image.pixels().map(|pixel| &pixel.0[..3]))?,
            DynamicImage::ImageRgb16(image) => self.grey(image.pixels().map(|pixel| &pixel.0[..3]))?,
            DynamicImage::ImageRgba16(image) => self.grey(image.pixels().map(|pixel| &pixel.0[..3]))?,
            other => return Err(self.unsupported(format!("a label mask of {:?}", other.color()), ONE_CHANNEL)),
        };
        Ok(LabelMap { width: width as usize, height: height as usize, labels })
    }

    /// The labels of colour pixels that are all grey.
    fn grey<'a, T: Copy + PartialEq + Into<u32> + 'a>(
        &self,
        pixels: impl Iterator<Item = &'a [T]>,
    ) -> Result<Vec<u32>, Error> {
        pixels
            .map(|p| {
                if p[0] == p[1] && p[1] == p[2] {
                    Ok(p[0].into())
                } else {
                    Err(self.unsupported("a label mask in colour", ONE_CHANNEL))
                }
            })
            .collect()
    }

    fn tiff_error(&self, error: TiffError) -> Error {
        match error {
            TiffError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => self.truncated("its end"),
            TiffError::IoError(error) if error.kind() == ErrorKind::Other || error.kind() == ErrorKind::InvalidData => {
                self.corrupt("TIFF", "a readable label mask", error)
            }
            TiffError::IoError(error) => Error::io(&self.place.path)(error),
            TiffError::UnsupportedError(error) => self.unsupported(error, ""),
            other => self.corrupt("TIFF", "a readable label mask", other),
        }
    }

    fn image_error(&self, error: ImageError) -> Error {
        match error {
            ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => self.truncated("its end"),
            ImageError::IoError(error) => self.corrupt("PNG", "a readable label mask", error),
            ImageError::Unsupported(error) => self.unsupported(error, ""),
            other => self.corrupt("PNG", "a readable label mask", other),
        }
    }
}

const ONE_CHANNEL: &str = "save the mask with one value a pixel";

fn label_of(value: f64) -> Option<u32> {
    (value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value)).then_some(value as u32)
}

/// Pixels of fewer than 8 bits, each row beginning a byte.
fn unpack(bytes: &[u8], width: usize, height: usize, bits: u8) -> Vec<u32> {
    let bits = usize::from(bits);
    let mask = (1u32 << bits) - 1;
    let per_byte = 8 / bits.max(1);
    let row_bytes = width.div_ceil(per_byte);
    let at = |row: usize, column: usize| {
        let byte = bytes.get(row * row_bytes + column / per_byte).copied().unwrap_or(0);
        (u32::from(byte) >> (8 - bits * (column % per_byte + 1))) & mask
    };
    (0..height).flat_map(|row| (0..width).map(move |column| (row, column))).map(|(r, c)| at(r, c)).collect()
}
