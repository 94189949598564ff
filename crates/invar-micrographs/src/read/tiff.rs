//! TIFF 6.0 and BigTIFF.
//!
//! The pixels are those that are stored: where 0 is white they are not turned round, and of an image with a palette
//! they are the indices, as `tifffile` has it. Smaller copies of a picture (pyramids, thumbnails) and transparency masks
//! are left out.

use crate::{
    Error, PageInfo,
    read::{Format, Source},
};

mod bands;
mod decompress;
mod directory;
mod jpeg;
mod layout;
mod rows;

pub(crate) use bands::read_bands;
pub(crate) use directory::{Directory, Header, tag};
pub(crate) use layout::Layout;

/// The pages of a file.
#[derive(Debug)]
pub(crate) struct TiffFile {
    pub(crate) format: Format,
    pub(crate) pages: Vec<PageInfo>,
    pub(crate) layouts: Vec<Layout>,
}

/// Reads all that is said of the pages.
pub(crate) fn open(source: &Source) -> Result<TiffFile, Error> {
    let header = Header::read(source)?;
    let directories = header.directories(source)?;
    let mut file = TiffFile { format: Format::Tiff, pages: Vec::new(), layouts: Vec::new() };
    for directory in kept(source, &header, &directories)? {
        let layout = Layout::read(source, &header, directory)?;
        file.pages.push(PageInfo {
            name: directory.text(source, tag::PAGE_NAME).filter(|name| !name.is_empty()),
            width: layout.width,
            height: layout.height,
            channels: layout.channels,
            sample_type: layout.stored.sample_type(),
            pixel_size: None,
        });
        file.layouts.push(layout);
    }
    Ok(file)
}

/// The pages that are pictures of their own.
fn kept<'a>(source: &Source, header: &Header, all: &'a [Directory]) -> Result<Vec<&'a Directory>, Error> {
    let mut kept = Vec::new();
    for directory in all {
        // Bit 0: a smaller copy of another page; bit 2: a mask of another page.
        if directory.number(source, header, tag::SUBFILE_TYPE)?.unwrap_or(0) & 0b101 == 0 {
            kept.push(directory);
        }
    }
    Ok(if kept.is_empty() { all.iter().take(1).collect() } else { kept })
}
