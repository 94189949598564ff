//! Image files to pixels: TIFF, OME-TIFF, PNG, JPEG, MRC, DM3 and DM4, recognised by content.
//!
//! A file is opened once: then the size, number type and pixel size of every page are known, and every length that the
//! headers claim has been checked against the length of the file. Pixels come in bands from the top, so that a page of
//! many GB needs only the memory of a band.

use std::path::Path;

use crate::{Error, LeftOut, Note, Orientation, PageInfo, Samples};

mod dm;
mod jpeg;
mod mrc;
mod ome;
mod palette;
mod png;
mod raw;
mod samples;
mod sniff;
mod source;
#[cfg(test)]
mod tests;
mod tiff;
mod turn;
mod units;

use palette::Purpose;
use source::ByteSource;

/// The type of a file, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Format {
    Tiff,
    OmeTiff,
    Png,
    Jpeg,
    Mrc,
    Dm3,
    Dm4,
}

impl Format {
    /// Its common name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiff => "TIFF",
            Self::OmeTiff => "OME-TIFF",
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Mrc => "MRC",
            Self::Dm3 => "DM3",
            Self::Dm4 => "DM4",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Some rows of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// The first row, 0-based.
    pub first_row: u32,
    /// Number of rows.
    pub num_rows: u32,
    /// Their pixels, `[num_rows, width, channels]`.
    pub samples: Samples,
}

/// An open image file.
#[derive(Debug)]
pub struct ImageFile {
    format: Format,
    pages: Vec<PageInfo>,
    left_out: Vec<LeftOut>,
    notes: Vec<Note>,
    source: ByteSource,
    pixels: Pixels,
}

/// The location of the pixels of the pages.
#[derive(Debug)]
enum Pixels {
    Tiff(Vec<tiff::Layout>),
    Png(png::Layout),
    Jpeg,
    Raw(Vec<raw::Plane>),
}

/// What a reader finds out about a file.
#[derive(Debug)]
struct Opened {
    format: Format,
    pages: Vec<PageInfo>,
    left_out: Vec<LeftOut>,
    notes: Vec<Note>,
    pixels: Pixels,
}

impl Opened {
    fn new(format: Format, pages: Vec<PageInfo>, pixels: Pixels) -> Self {
        Self { format, pages, left_out: Vec::new(), notes: Vec::new(), pixels }
    }
}

/// Opens an image file, whatever its name, for viewing: pages are upright, and palettes are converted to colours.
///
/// # Errors
/// If it cannot be read, is not a supported image, is inconsistent with itself or its own length, or uses an
/// unsupported feature.
pub fn open(path: &Path) -> Result<ImageFile, Error> {
    ImageFile::new(ByteSource::open(path)?, Purpose::Picture)
}

/// Opens an image file whose pixels are labels: as [`open`], but for a palette the indices are returned, and grey
/// values of fewer than 8 bits are unchanged.
///
/// # Errors
/// Those of [`open`].
pub fn open_labels(path: &Path) -> Result<ImageFile, Error> {
    ImageFile::new(ByteSource::open(path)?, Purpose::Labels)
}

impl ImageFile {
    fn new(source: ByteSource, purpose: Purpose) -> Result<Self, Error> {
        let format = sniff::format(&source)?;
        let opened = match format {
            Format::Tiff | Format::OmeTiff => tiff::open(&source, purpose)?,
            Format::Png => {
                let (page, layout) = png::open(&source, purpose)?;
                Opened::new(format, vec![page], Pixels::Png(layout))
            }
            Format::Jpeg => Opened::new(format, vec![jpeg::open(&source)?], Pixels::Jpeg),
            Format::Mrc => mrc::open(&source)?,
            Format::Dm3 | Format::Dm4 => dm::open(&source, format)?,
        };
        let Opened { format, pages, left_out, notes, pixels } = opened;
        Ok(Self { format, pages, left_out, notes, source, pixels })
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its pictures: pages of a TIFF, slices of a stack; smaller copies of a picture are left out.
    pub fn pages(&self) -> &[PageInfo] {
        &self.pages
    }

    /// Pages that are not separate pictures: smaller copies, masks, labels of slides.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// What was decided in reading the file; for single pages, see [`PageInfo::notes`].
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Passes the pixels of a page (0-based) to `sink` in bands from the top, each of about `max_pixels` pixels at
    /// most, but at least one row, or one row of tiles.
    ///
    /// # Errors
    /// Those of the file, and those of `sink`, which end the reading.
    ///
    /// # Panics
    /// If there is no such page.
    pub fn read_bands(
        &mut self,
        page: usize,
        max_pixels: u64,
        sink: &mut dyn FnMut(Band) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let info = &self.pages[page];
        if info.orientation.is_upright() {
            return self.read_stored(page, max_pixels, sink);
        }
        turn::read_bands(&self.source, info, max_pixels, sink, |stored| self.read_stored(page, max_pixels, stored))
    }

    /// The rows as stored.
    fn read_stored(
        &self,
        page: usize,
        max_pixels: u64,
        sink: &mut dyn FnMut(Band) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let info = &self.pages[page];
        match &self.pixels {
            Pixels::Tiff(layouts) => tiff::read_bands(&self.source, &layouts[page], max_pixels, sink),
            Pixels::Png(layout) => png::read_bands(&self.source, info, layout, max_pixels, sink),
            Pixels::Jpeg => jpeg::read_bands(&self.source, info, max_pixels, sink),
            Pixels::Raw(planes) => raw::read_bands(&self.source, info, &planes[page], max_pixels, sink),
        }
    }
}

/// The orientation stated in EXIF data.
fn exif_orientation(exif: &[u8]) -> Orientation {
    let number = image::metadata::Orientation::from_exif_chunk(exif).map_or(1, image::metadata::Orientation::to_exif);
    Orientation::of_tag(number.into())
}

/// Reads a file in memory to the end, for the fuzz targets: the values of all pages.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn read_bytes(bytes: Vec<u8>, max_pixels: u64) -> Result<Vec<Vec<u8>>, Error> {
    let mut file = ImageFile::new(ByteSource::of_bytes(bytes), Purpose::Picture)?;
    let mut pages = Vec::new();
    for index in 0..file.pages.len() {
        let (height, row_len) = {
            let page = &file.pages[index];
            (page.height, page.width as usize * usize::from(page.channels))
        };
        let (mut values, mut next_row) = (Vec::new(), 0);
        file.read_bands(index, max_pixels, &mut |band| {
            assert_eq!((band.first_row, band.samples.len()), (next_row, row_len * band.num_rows as usize));
            next_row += band.num_rows;
            values.extend_from_slice(band.samples.as_ne_bytes());
            Ok(())
        })?;
        assert_eq!(next_row, height);
        pages.push(values);
    }
    Ok(pages)
}

#[cfg(feature = "fuzzing")]
pub(crate) use {ome::Ome, tiff::any_vendor_text};
