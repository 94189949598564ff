//! Image files to pixels: TIFF, OME-TIFF, PNG, JPEG, MRC, DM3 and DM4, told apart by content.
//!
//! A file is opened once: every page is then known with its size, number type and pixel size, and every length that
//! the headers claim has been held against the length of the file. Pixels come in bands from the top, so that a page
//! of many GB needs the memory of a band.

use std::path::Path;

use crate::{Error, PageInfo, Samples};

mod dm;
mod mrc;
mod ome;
mod raster;
mod raw;
mod samples;
mod sniff;
mod source;
#[cfg(test)]
mod tests;
mod tiff;
mod units;

use source::Source;

/// What a file is, by its content.
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
    /// The name people know it by.
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

/// Rows of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// The first of them, 0-based.
    pub first_row: u32,
    /// How many.
    pub num_rows: u32,
    /// Their pixels, `[num_rows, width, channels]`.
    pub samples: Samples,
}

/// An open image file.
#[derive(Debug)]
pub struct ImageFile {
    format: Format,
    pages: Vec<PageInfo>,
    source: Source,
    pixels: Pixels,
}

/// Where the pixels of the pages lie.
#[derive(Debug)]
enum Pixels {
    Tiff(Vec<tiff::Layout>),
    Raster,
    Raw(Vec<raw::Plane>),
}

/// Opens an image file, whatever it is called.
///
/// # Errors
/// When it cannot be read, is no image that is read, contradicts itself or its own length, or uses a feature that is
/// not read.
pub fn open(path: &Path) -> Result<ImageFile, Error> {
    ImageFile::new(Source::open(path)?)
}

impl ImageFile {
    fn new(source: Source) -> Result<Self, Error> {
        let format = sniff::format(&source)?;
        let (format, pages, pixels) = match format {
            Format::Tiff | Format::OmeTiff => {
                let file = tiff::open(&source)?;
                (file.format, file.pages, Pixels::Tiff(file.layouts))
            }
            Format::Png | Format::Jpeg => (format, vec![raster::page(&source, format)?], Pixels::Raster),
            Format::Mrc => {
                let (pages, planes) = mrc::open(&source)?;
                (format, pages, Pixels::Raw(planes))
            }
            Format::Dm3 | Format::Dm4 => {
                let (pages, planes) = dm::open(&source, format)?;
                (format, pages, Pixels::Raw(planes))
            }
        };
        Ok(Self { format, pages, source, pixels })
    }

    /// What it is.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its pictures: pages of a TIFF, slices of a stack; smaller copies of a picture are left out.
    pub fn pages(&self) -> &[PageInfo] {
        &self.pages
    }

    /// Hands over the pixels of a page (0-based) in bands from the top, each of about `max_pixels` pixels at most, but at
    /// least of one row, or of one row of tiles.
    ///
    /// # Errors
    /// Those of the file, and those of `sink`, which end the reading.
    ///
    /// # Panics
    /// When there is no such page.
    pub fn read_bands(
        &mut self,
        page: usize,
        max_pixels: u64,
        sink: &mut dyn FnMut(Band) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let info = &self.pages[page];
        match &self.pixels {
            Pixels::Tiff(layouts) => tiff::read_bands(&self.source, &layouts[page], max_pixels, sink),
            Pixels::Raster => raster::read_bands(&self.source, self.format, info, max_pixels, sink),
            Pixels::Raw(planes) => raw::read_bands(&self.source, info, &planes[page], max_pixels, sink),
        }
    }
}

/// Reads a file in memory to the end, for the fuzz targets: the values of all pages.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn read_bytes(bytes: Vec<u8>, max_pixels: u64) -> Result<Vec<Vec<u8>>, Error> {
    let mut file = ImageFile::new(Source::of_bytes(bytes))?;
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
