//! The tags of a page that describe how its pixels are stored.

use super::{Compression, Predictor};
use crate::{
    Error, Place, SampleType,
    read::{
        ByteSource,
        palette::Palette,
        samples::Stored,
        tiff::directory::{Directory, Header, tag},
    },
};

/// Reads tags, naming them if they are invalid.
pub(super) struct Reader<'a> {
    pub(super) source: &'a ByteSource,
    pub(super) header: &'a Header,
    pub(super) directory: &'a Directory,
}

impl Reader<'_> {
    pub(super) fn corrupt(&self, what: &str, expected: &str, found: impl std::fmt::Display) -> Error {
        self.source.corrupt_at(Place::page(self.source.path(), self.directory.page), what, expected, found)
    }

    pub(super) fn unsupported(&self, feature: impl Into<String>, remedy: &str) -> Error {
        let place = Box::new(Place::page(self.source.path(), self.directory.page));
        Error::Unsupported { place, feature: feature.into(), remedy: remedy.into() }
    }

    pub(super) fn number(&self, tag: u16, default: u64) -> Result<u64, Error> {
        Ok(self.directory.number(self.source, self.header, tag)?.unwrap_or(default))
    }

    pub(super) fn in_range(
        &self,
        tag: u16,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
        what: &str,
    ) -> Result<u64, Error> {
        let number = self.number(tag, default)?;
        if range.contains(&number) {
            return Ok(number);
        }
        Err(self.corrupt(what, &format!("{} to {}", range.start(), range.end()), number))
    }

    pub(super) fn size(&self, tag: u16, what: &str) -> Result<u32, Error> {
        // Many programs address images with i32; none is larger.
        Ok(self.in_range(tag, 0, 1..=i32::MAX as u64, what)? as u32)
    }

    pub(super) fn compression(&self) -> Result<Compression, Error> {
        let remedy = "save it uncompressed or with LZW, deflate, PackBits or zstd";
        Ok(match self.number(tag::COMPRESSION, 1)? {
            1 => Compression::None,
            5 => Compression::Lzw,
            7 => Compression::Jpeg,
            8 | 32946 => Compression::Deflate,
            32773 => Compression::PackBits,
            50000 | 34926 => Compression::Zstd,
            2 => return Err(self.unsupported("CCITT modified Huffman compression", remedy)),
            3 => return Err(self.unsupported("CCITT Group 3 fax compression", remedy)),
            4 => return Err(self.unsupported("CCITT Group 4 fax compression", remedy)),
            6 => return Err(self.unsupported("old-style JPEG compression", remedy)),
            33003 | 33005 | 34712 => return Err(self.unsupported("JPEG 2000 compression", remedy)),
            34925 => return Err(self.unsupported("LZMA compression", remedy)),
            50001 => return Err(self.unsupported("WebP compression", remedy)),
            50002 | 52546 => return Err(self.unsupported("JPEG XL compression", remedy)),
            34887 => return Err(self.unsupported("LERC compression", remedy)),
            other => return Err(self.unsupported(format!("compression scheme {other}"), remedy)),
        })
    }

    pub(super) fn check_photometric(&self, photometric: u64, compression: Compression) -> Result<(), Error> {
        let remedy = "convert it to grey or RGB";
        match photometric {
            // Grey with 0 as white or black, RGB, indices of a palette, masks: the stored values.
            0..=4 | 32803 | 34892 => Ok(()),
            6 if compression == Compression::Jpeg => Ok(()),
            5 => Err(self.unsupported("CMYK colour", remedy)),
            6 => Err(self.unsupported("YCbCr colour without JPEG compression", remedy)),
            8..=10 => Err(self.unsupported("CIE L*a*b* colour", remedy)),
            32844 | 32845 => Err(self.unsupported("LogLuv colour", remedy)),
            other => Err(self.unsupported(format!("photometric interpretation {other}"), remedy)),
        }
    }

    /// Volumes whose slices are in the strips of one directory. Philips writes the tag for flat pictures.
    pub(super) fn check_depth(&self) -> Result<(), Error> {
        let depth = self.number(tag::DEPTH, 1)?;
        let software = self.directory.text(self.source, tag::SOFTWARE).unwrap_or_default();
        if depth <= 1 || software.starts_with("Philips") {
            return Ok(());
        }
        Err(self
            .unsupported(format!("a volume under one directory (ImageDepth {depth})"), "save a page for each slice"))
    }

    /// The colours of the ColorMap, whose values have 16 bits, or 8 if written by an old program.
    pub(super) fn palette(&self, num_stored: u16, stored: Stored, bits: u16) -> Result<Palette, Error> {
        let values = self.directory.unsigned(self.source, self.header, tag::COLOUR_MAP)?.unwrap_or_default();
        let num_colours = values.len() / 3;
        let is_index = matches!(stored, Stored::As(SampleType::U8 | SampleType::U16));
        if num_stored != 1 || !is_index || num_colours < 1 << bits.min(16) {
            let found = format!("{} values for {num_stored} x {bits} bits a pixel", values.len());
            return Err(self.corrupt("ColorMap", "three values for every index", found));
        }
        let shift = if values.iter().all(|&value| value < 256) { 0 } else { 8 };
        let colour = |index: usize| [0, 1, 2].map(|channel| (values[channel * num_colours + index] >> shift) as u8);
        Ok(Palette::new((0..num_colours).map(colour).collect()))
    }

    pub(super) fn bits(&self) -> Result<u16, Error> {
        let bits = self.directory.unsigned(self.source, self.header, tag::BITS)?.unwrap_or_else(|| vec![1]);
        let first = *bits.first().ok_or_else(|| self.corrupt("BitsPerSample", "a number", "none"))?;
        if bits.iter().any(|&other| other != first) {
            return Err(self.unsupported(format!("channels of different depths ({bits:?} bits)"), ""));
        }
        Ok(first.min(u64::from(u16::MAX)) as u16)
    }

    pub(super) fn stored(&self, bits: u16) -> Result<Stored, Error> {
        let formats = self.directory.unsigned(self.source, self.header, tag::SAMPLE_FORMAT)?;
        let format = formats.as_ref().and_then(|formats| formats.first()).copied().unwrap_or(1);
        if formats.is_some_and(|formats| formats.iter().any(|&other| other != format)) {
            return Err(self.unsupported("channels of different number types", ""));
        }
        let remedy = "convert it to 8, 16 or 32 bits";
        Ok(match (format, bits) {
            (1 | 4, 1..=8) => Stored::As(SampleType::U8),
            (1 | 4, 9..=16) => Stored::As(SampleType::U16),
            (1 | 4, 32) => Stored::As(SampleType::U32),
            (2, 8) => Stored::As(SampleType::I8),
            (2, 16) => Stored::As(SampleType::I16),
            (1 | 4, 64) => Stored::As(SampleType::U64),
            (2, 32) => Stored::As(SampleType::I32),
            (2, 64) => Stored::As(SampleType::I64),
            (3, 16) => Stored::F16,
            (3, 32) => Stored::As(SampleType::F32),
            (3, 64) => Stored::As(SampleType::F64),
            (1 | 4, 17..=64) => return Err(self.unsupported(format!("{bits}-bit unsigned integers"), remedy)),
            (2, 1..=64) => return Err(self.unsupported(format!("{bits}-bit signed integers"), remedy)),
            (3, 1..=64) => return Err(self.unsupported(format!("{bits}-bit floating point"), remedy)),
            (5 | 6, _) => return Err(self.unsupported("complex numbers", "save the magnitude")),
            (1..=4, _) => return Err(self.corrupt("BitsPerSample", "1 to 64", bits)),
            _ => return Err(self.corrupt("SampleFormat", "1 to 6", format)),
        })
    }

    pub(super) fn predictor(&self, stored: Stored, bits: u16, compression: Compression) -> Result<Predictor, Error> {
        let predictor = self.number(tag::PREDICTOR, 1)?;
        let is_float = matches!(stored, Stored::F16 | Stored::As(SampleType::F32 | SampleType::F64));
        match predictor {
            1 => Ok(Predictor::None),
            // If nothing is compressed, nothing is predicted, whatever the tag says.
            2 | 3 if matches!(compression, Compression::None | Compression::PackBits | Compression::Jpeg) => {
                Ok(Predictor::None)
            }
            2 if bits.is_multiple_of(8) => Ok(Predictor::Horizontal),
            2 => Err(self.unsupported(format!("a horizontal predictor of {bits}-bit numbers"), "")),
            3 if is_float => Ok(Predictor::Float),
            3 => Err(self.corrupt("the number type of the floating-point predictor", "floating point", "integers")),
            other => Err(self.unsupported(format!("predictor {other}"), "")),
        }
    }

    /// The number of values that are returned: without alpha.
    pub(super) fn channels(&self, num_stored: u16, photometric: u64) -> Result<u16, Error> {
        let extra = self.directory.unsigned(self.source, self.header, tag::EXTRA_SAMPLES)?.unwrap_or_default();
        let num_alpha = extra.iter().filter(|&&kind| kind == 1 || kind == 2).count();
        let colours = if matches!(photometric, 2 | 6) { 3 } else { 1 };
        if num_stored < colours {
            return Err(self.corrupt("SamplesPerPixel", &format!("at least {colours}"), num_stored));
        }
        // Alpha is last, wherever a program declares it.
        let alpha_is_last = extra.last().is_some_and(|&kind| kind == 1 || kind == 2) && num_alpha == 1;
        Ok(if alpha_is_last && num_stored > colours { num_stored - 1 } else { num_stored })
    }
}
