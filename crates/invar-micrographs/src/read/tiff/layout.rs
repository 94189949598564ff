//! How the pixels of a TIFF page are laid out, checked against the length of the file.

use crate::{
    Error, Place,
    read::{
        ByteSource,
        palette::{Palette, Purpose},
        samples::Stored,
        tiff::directory::{Directory, Header, tag},
    },
};

mod reader;

use reader::Reader;

/// Supported compression schemes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
    Zstd,
}

/// The transformation of the numbers of a row before compression.
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
    /// Values per pixel in the file.
    pub(crate) num_stored: u16,
    /// Values per pixel that are returned: the first of the stored ones.
    pub(crate) channels: u16,
    /// Bits per value in the file.
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
    /// Present if the pixels are indices whose colours are wanted.
    pub(crate) palette: Option<Palette>,
    chunks: Chunks,
}

/// Offset and length of each strip or tile.
#[derive(Clone, Debug)]
enum Chunks {
    /// As given in two tags.
    Tags { directory: Directory, header: Header },
    /// The whole page in one piece.
    Whole { offset: u64, len: u64 },
}

impl Layout {
    /// Reads the tags of a page.
    pub(crate) fn read(
        source: &ByteSource,
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
            // A JPEG has its own bit order (as in libtiff and tifffile).
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

    /// Where the pixels begin, if they are stored uncompressed and in one piece.
    pub(crate) fn start_if_contiguous(&self, source: &ByteSource) -> Result<Option<u64>, Error> {
        if self.compression != Compression::None || self.is_tiled || self.is_planar {
            return Ok(None);
        }
        let chunks = self.chunks(source)?;
        let is_contiguous = chunks.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0);
        Ok(chunks.first().filter(|_| is_contiguous).map(|chunk| chunk.0))
    }

    /// Size of the uncompressed page in bytes.
    pub(crate) fn page_bytes(&self) -> u64 {
        let planes = if self.is_planar { u64::from(self.num_stored) } else { 1 };
        self.row_bytes().saturating_mul(planes).saturating_mul(u64::from(self.height))
    }

    /// Values per stored pixel of one plane.
    pub(crate) fn per_pixel(&self) -> u64 {
        if self.is_planar { 1 } else { u64::from(self.num_stored) }
    }

    /// Bytes per row of a strip or tile, one plane.
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

    pub(crate) fn place(&self, source: &ByteSource) -> Place {
        Place::page(source.path(), self.page)
    }

    /// Offset and length of each strip or tile.
    pub(crate) fn chunks(&self, source: &ByteSource) -> Result<Vec<(u64, u64)>, Error> {
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
        source: &ByteSource,
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
            // The lengths of large pages in one piece are often wrong, and those of ImageJ beyond 4 GB overflow.
            Some(_) if expected == 1 && self.compression == Compression::None => {
                vec![self.chunk_rows(0) * self.row_bytes()]
            }
            Some(lens) if lens.len() as u64 >= expected && is_said => lens,
            Some(lens) if !is_said && lens.len() as u64 >= expected && self.compression != Compression::None => {
                self.lens_to_next(source, directory, &offsets[..expected as usize])
            }
            // Some writers omit the lengths; they follow from the sizes, or from what comes next in the file.
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

    /// Lengths of compressed strips or tiles of which only the offsets are known: each at most up to the next, to the
    /// directory, or to the end of the file. Decompression ends by itself.
    fn lens_to_next(&self, source: &ByteSource, directory: &Directory, offsets: &[u64]) -> Vec<u64> {
        let mut starts: Vec<u64> = offsets.iter().copied().chain([directory.offset(), source.len()]).collect();
        starts.sort_unstable();
        let next = |offset: u64| starts[starts.partition_point(|&start| start <= offset).min(starts.len() - 1)];
        offsets.iter().map(|&offset| next(offset).saturating_sub(offset)).collect()
    }

    /// Number of rows of a strip or tile that are stored.
    pub(crate) fn chunk_rows(&self, index: u64) -> u64 {
        if self.is_tiled {
            return u64::from(self.chunk_height);
        }
        let first = index % self.chunks_down() * u64::from(self.chunk_height);
        (u64::from(self.height) - first).min(u64::from(self.chunk_height))
    }

    /// Checks what the header claims against what the file can hold.
    fn check(&self, source: &ByteSource) -> Result<(), Error> {
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
    /// More than the scheme can compress anything.
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
