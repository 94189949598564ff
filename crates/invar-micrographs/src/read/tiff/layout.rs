//! How the pixels of a TIFF page are laid out, checked against the length of the file.

use crate::{
    Error, Place, SampleType,
    read::{
        Source,
        palette::{Palette, Purpose},
        samples::Stored,
        tiff::directory::{Directory, Header, tag},
    },
};

/// Compression schemes that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
    Zstd,
}

/// What is done to the numbers of a row before compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Predictor {
    None,
    Horizontal,
    Float,
}

/// Where the pixels of a page are and how they are stored.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) page: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Values a pixel in the file.
    pub(crate) num_stored: u16,
    /// Values a pixel that are handed over: the first of the stored.
    pub(crate) channels: u16,
    /// Bits a value in the file.
    pub(crate) bits: u16,
    pub(crate) stored: Stored,
    pub(crate) big_endian: bool,
    pub(crate) is_planar: bool,
    pub(crate) is_rgb: bool,
    pub(crate) reversed_bits: bool,
    pub(crate) compression: Compression,
    pub(crate) predictor: Predictor,
    /// Size of a strip or tile.
    pub(crate) chunk_width: u32,
    pub(crate) chunk_height: u32,
    pub(crate) is_tiled: bool,
    pub(crate) jpeg_tables: Option<Vec<u8>>,
    /// Where the pixels are indices whose colours are wanted.
    pub(crate) palette: Option<Palette>,
    chunks: Chunks,
}

/// Offset and length of each strip or tile.
#[derive(Clone, Debug)]
enum Chunks {
    /// As two tags say.
    Tags { directory: Directory, header: Header },
    /// The whole page in one piece.
    Whole { offset: u64, len: u64 },
}

impl Layout {
    /// Reads the tags of a page.
    pub(crate) fn read(
        source: &Source,
        header: &Header,
        directory: &Directory,
        purpose: Purpose,
    ) -> Result<Self, Error> {
        let reader = Reader { source, header, directory };
        let width = reader.size(tag::WIDTH, "ImageWidth")?;
        let height = reader.size(tag::HEIGHT, "ImageLength")?;
        let num_stored = reader.in_range(tag::SAMPLES, 1, 1..=u64::from(u16::MAX), "SamplesPerPixel")? as u16;
        let compression = reader.compression()?;
        let photometric = reader.number(tag::PHOTOMETRIC, 1)?;
        reader.check_photometric(photometric, compression)?;
        reader.check_depth()?;
        let bits = reader.bits()?;
        let stored = reader.stored(bits)?;
        let is_planar = reader.in_range(tag::PLANAR, 1, 1..=2, "PlanarConfiguration")? == 2 && num_stored > 1;
        let is_tiled = directory.has(tag::TILE_OFFSETS);
        let (chunk_width, chunk_height) = if is_tiled {
            (reader.size(tag::TILE_WIDTH, "TileWidth")?, reader.size(tag::TILE_HEIGHT, "TileLength")?)
        } else {
            let rows = reader.number(tag::ROWS_PER_STRIP, u64::from(height))?;
            if rows == 0 {
                return Err(reader.corrupt("RowsPerStrip", "at least 1", 0));
            }
            (width, rows.min(u64::from(height)) as u32)
        };
        let layout = Self {
            page: directory.page,
            width,
            height,
            num_stored,
            channels: reader.channels(num_stored, photometric)?,
            bits,
            stored,
            big_endian: header.big_endian,
            is_planar,
            is_rgb: photometric == 2,
            // A JPEG has an order of its own (as libtiff and tifffile have it).
            reversed_bits: reader.number(tag::FILL_ORDER, 1)? == 2 && compression != Compression::Jpeg,
            compression,
            predictor: reader.predictor(stored, bits, compression)?,
            chunk_width,
            chunk_height,
            is_tiled,
            jpeg_tables: directory.bytes(source, tag::JPEG_TABLES)?.filter(|_| compression == Compression::Jpeg),
            palette: match photometric {
                3 if purpose == Purpose::Picture && directory.has(tag::COLOUR_MAP) => {
                    Some(reader.palette(num_stored, stored, bits)?)
                }
                _ => None,
            },
            chunks: Chunks::Tags { directory: directory.clone(), header: *header },
        };
        layout.check(source)?;
        Ok(layout)
    }

    /// The same layout for pixels in one piece elsewhere in the file.
    pub(crate) fn at(&self, offset: u64, page: u32) -> Self {
        let len = self.page_bytes();
        Self { page, chunk_height: self.height, chunks: Chunks::Whole { offset, len }, ..self.clone() }
    }

    /// Where the pixels begin, if they lie in the file uncompressed and in one piece.
    pub(crate) fn start_if_contiguous(&self, source: &Source) -> Result<Option<u64>, Error> {
        if self.compression != Compression::None || self.is_tiled || self.is_planar {
            return Ok(None);
        }
        let chunks = self.chunks(source)?;
        let is_contiguous = chunks.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0);
        Ok(chunks.first().filter(|_| is_contiguous).map(|chunk| chunk.0))
    }

    /// Bytes of the page uncompressed.
    pub(crate) fn page_bytes(&self) -> u64 {
        let planes = if self.is_planar { u64::from(self.num_stored) } else { 1 };
        self.row_bytes().saturating_mul(planes).saturating_mul(u64::from(self.height))
    }

    /// Values a stored pixel of one plane.
    pub(crate) fn per_pixel(&self) -> u64 {
        if self.is_planar { 1 } else { u64::from(self.num_stored) }
    }

    /// Bytes of a row of a strip or tile, one plane.
    pub(crate) fn row_bytes(&self) -> u64 {
        (u64::from(self.chunk_width) * self.per_pixel() * u64::from(self.bits)).div_ceil(8)
    }

    pub(crate) fn num_planes(&self) -> u64 {
        if self.is_planar { u64::from(self.num_stored) } else { 1 }
    }

    pub(crate) fn chunks_across(&self) -> u64 {
        u64::from(self.width.div_ceil(self.chunk_width))
    }

    pub(crate) fn chunks_down(&self) -> u64 {
        u64::from(self.height.div_ceil(self.chunk_height))
    }

    pub(crate) fn place(&self, source: &Source) -> Place {
        Place::page(source.path(), self.page)
    }

    /// Offset and length of each strip or tile.
    pub(crate) fn chunks(&self, source: &Source) -> Result<Vec<(u64, u64)>, Error> {
        match &self.chunks {
            Chunks::Whole { offset, len } => {
                source.check_range(*offset, *len, "the pixels of a page")?;
                Ok(vec![(*offset, *len)])
            }
            Chunks::Tags { directory, header } => self.chunks_of_tags(source, directory, header),
        }
    }

    fn chunks_of_tags(
        &self,
        source: &Source,
        directory: &Directory,
        header: &Header,
    ) -> Result<Vec<(u64, u64)>, Error> {
        let (offsets_tag, lens_tag, what) = match self.is_tiled {
            true => (tag::TILE_OFFSETS, tag::TILE_BYTES, "tile"),
            false => (tag::STRIP_OFFSETS, tag::STRIP_BYTES, "strip"),
        };
        let expected = self.chunks_across() * self.chunks_down() * self.num_planes();
        let found = directory.count(offsets_tag);
        if found < expected {
            let what = format!("the number of {what}s");
            return Err(source.corrupt_at(self.place(source), what, expected.to_string(), found));
        }
        let offsets = directory.unsigned(source, header, offsets_tag)?.unwrap_or_default();
        let lens = directory.unsigned(source, header, lens_tag)?;
        let is_said = lens.as_ref().is_some_and(|lens| lens.iter().take(expected as usize).any(|&len| len > 0));
        let lens = match lens {
            // The lengths of large pages in one piece are often wrong, and those of ImageJ beyond 4 GB wrap.
            Some(_) if expected == 1 && self.compression == Compression::None => {
                vec![self.chunk_rows(0) * self.row_bytes()]
            }
            Some(lens) if lens.len() as u64 >= expected && is_said => lens,
            Some(lens) if !is_said && lens.len() as u64 >= expected && self.compression != Compression::None => {
                self.lens_to_next(source, directory, &offsets[..expected as usize])
            }
            // Some writers leave the lengths out; the sizes tell them, or what comes next in the file.
            _ if self.compression == Compression::None => {
                (0..expected).map(|index| self.chunk_rows(index) * self.row_bytes()).collect()
            }
            None => self.lens_to_next(source, directory, &offsets[..expected as usize]),
            lens => {
                let what = format!("the number of {what} lengths");
                let found = lens.map_or(0, |lens| lens.len());
                return Err(source.corrupt_at(self.place(source), what, expected.to_string(), found));
            }
        };
        let mut total = 0u64;
        for (index, (&offset, len)) in offsets.iter().zip(&lens).take(expected as usize).enumerate() {
            source.check_range(offset, *len, &format!("{what} {index} of page {}", self.page))?;
            total = total.saturating_add(*len);
        }
        if total > source.len() {
            let what = format!("the length of all {what}s");
            let expected = format!("at most the {} bytes of the file", source.len());
            return Err(source.corrupt_at(self.place(source), what, expected, format!("{total} (they overlap)")));
        }
        Ok(offsets.into_iter().zip(lens).take(expected as usize).collect())
    }

    /// Lengths of compressed strips or tiles of which only the offsets are known: each at most to the next, to the
    /// directory, or to the end of the file. Decompression ends by itself.
    fn lens_to_next(&self, source: &Source, directory: &Directory, offsets: &[u64]) -> Vec<u64> {
        let mut starts: Vec<u64> = offsets.iter().copied().chain([directory.offset(), source.len()]).collect();
        starts.sort_unstable();
        let next = |offset: u64| starts[starts.partition_point(|&start| start <= offset).min(starts.len() - 1)];
        offsets.iter().map(|&offset| next(offset).saturating_sub(offset)).collect()
    }

    /// Rows of a strip or tile that are stored.
    pub(crate) fn chunk_rows(&self, index: u64) -> u64 {
        if self.is_tiled {
            return u64::from(self.chunk_height);
        }
        let first = index % self.chunks_down() * u64::from(self.chunk_height);
        (u64::from(self.height) - first).min(u64::from(self.chunk_height))
    }

    /// Holds what the header claims against what the file can hold.
    fn check(&self, source: &Source) -> Result<(), Error> {
        let chunks = self.chunks(source)?;
        let place = || self.place(source);
        let rows = |index: usize| self.chunk_rows(index as u64);
        for (index, &(_, len)) in chunks.iter().enumerate() {
            let needed = self.row_bytes().saturating_mul(rows(index));
            let possible = len.saturating_mul(self.compression.max_ratio()).saturating_add(64);
            if self.compression == Compression::None && len < needed || needed > possible {
                let what = format!("the length of {} {index}", if self.is_tiled { "tile" } else { "strip" });
                return Err(source.corrupt_at(place(), what, format!("room for {needed} bytes of pixels"), len));
            }
        }
        Ok(())
    }
}

impl Compression {
    /// More than the scheme can shrink anything.
    fn max_ratio(self) -> u64 {
        match self {
            Self::None => 1,
            Self::PackBits => 64,
            Self::Deflate => 1040,
            Self::Lzw => 2800,
            Self::Jpeg => 4096,
            Self::Zstd => 44_000,
        }
    }
}

/// Reads tags, naming them where they are wrong.
struct Reader<'a> {
    source: &'a Source,
    header: &'a Header,
    directory: &'a Directory,
}

impl Reader<'_> {
    fn corrupt(&self, what: &str, expected: &str, found: impl std::fmt::Display) -> Error {
        self.source.corrupt_at(Place::page(self.source.path(), self.directory.page), what, expected, found)
    }

    fn unsupported(&self, feature: impl Into<String>, remedy: &str) -> Error {
        let place = Box::new(Place::page(self.source.path(), self.directory.page));
        Error::Unsupported { place, feature: feature.into(), remedy: remedy.into() }
    }

    fn number(&self, tag: u16, default: u64) -> Result<u64, Error> {
        Ok(self.directory.number(self.source, self.header, tag)?.unwrap_or(default))
    }

    fn in_range(&self, tag: u16, default: u64, range: std::ops::RangeInclusive<u64>, what: &str) -> Result<u64, Error> {
        let number = self.number(tag, default)?;
        if range.contains(&number) {
            return Ok(number);
        }
        Err(self.corrupt(what, &format!("{} to {}", range.start(), range.end()), number))
    }

    fn size(&self, tag: u16, what: &str) -> Result<u32, Error> {
        // Images are addressed with i32 in many programs; none is larger.
        Ok(self.in_range(tag, 0, 1..=i32::MAX as u64, what)? as u32)
    }

    fn compression(&self) -> Result<Compression, Error> {
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

    fn check_photometric(&self, photometric: u64, compression: Compression) -> Result<(), Error> {
        let remedy = "convert it to grey or RGB";
        match photometric {
            // Grey, of which 0 is white or black, RGB, indices of a palette, masks: the stored values.
            0..=4 | 32803 | 34892 => Ok(()),
            6 if compression == Compression::Jpeg => Ok(()),
            5 => Err(self.unsupported("CMYK colour", remedy)),
            6 => Err(self.unsupported("YCbCr colour without JPEG compression", remedy)),
            8..=10 => Err(self.unsupported("CIE L*a*b* colour", remedy)),
            32844 | 32845 => Err(self.unsupported("LogLuv colour", remedy)),
            other => Err(self.unsupported(format!("photometric interpretation {other}"), remedy)),
        }
    }

    /// Volumes, of which slices lie in the strips of one directory. Philips writes the tag for flat pictures.
    fn check_depth(&self) -> Result<(), Error> {
        let depth = self.number(tag::DEPTH, 1)?;
        let software = self.directory.text(self.source, tag::SOFTWARE).unwrap_or_default();
        if depth <= 1 || software.starts_with("Philips") {
            return Ok(());
        }
        Err(self
            .unsupported(format!("a volume under one directory (ImageDepth {depth})"), "save a page for each slice"))
    }

    /// The colours of the ColorMap, of which a value has 16 bits, or 8 where an old program wrote it.
    fn palette(&self, num_stored: u16, stored: Stored, bits: u16) -> Result<Palette, Error> {
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

    fn bits(&self) -> Result<u16, Error> {
        let bits = self.directory.unsigned(self.source, self.header, tag::BITS)?.unwrap_or_else(|| vec![1]);
        let first = *bits.first().ok_or_else(|| self.corrupt("BitsPerSample", "a number", "none"))?;
        if bits.iter().any(|&other| other != first) {
            return Err(self.unsupported(format!("channels of different depths ({bits:?} bits)"), ""));
        }
        Ok(first.min(u64::from(u16::MAX)) as u16)
    }

    fn stored(&self, bits: u16) -> Result<Stored, Error> {
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

    fn predictor(&self, stored: Stored, bits: u16, compression: Compression) -> Result<Predictor, Error> {
        let predictor = self.number(tag::PREDICTOR, 1)?;
        let is_float = matches!(stored, Stored::F16 | Stored::As(SampleType::F32 | SampleType::F64));
        match predictor {
            1 => Ok(Predictor::None),
            // Where nothing is compressed, nothing is predicted, whatever the tag says.
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

    /// The values that are handed over: without alpha.
    fn channels(&self, num_stored: u16, photometric: u64) -> Result<u16, Error> {
        let extra = self.directory.unsigned(self.source, self.header, tag::EXTRA_SAMPLES)?.unwrap_or_default();
        let num_alpha = extra.iter().filter(|&&kind| kind == 1 || kind == 2).count();
        let colours = if matches!(photometric, 2 | 6) { 3 } else { 1 };
        if num_stored < colours {
            return Err(self.corrupt("SamplesPerPixel", &format!("at least {colours}"), num_stored));
        }
        // Alpha is last, wherever a program writes it.
        let alpha_is_last = extra.last().is_some_and(|&kind| kind == 1 || kind == 2) && num_alpha == 1;
        Ok(if alpha_is_last && num_stored > colours { num_stored - 1 } else { num_stored })
    }
}
