//! TIFF 6.0 and BigTIFF.
//!
//! The pixels are those that are stored: where 0 is white they are not turned round, and of an image with a palette
//! they are the indices, as `tifffile` has it. Smaller copies of a picture (pyramids, thumbnails) and transparency masks
//! are left out.

use crate::{
    Error, PageInfo,
    read::{Format, Source, ome::Ome},
};

mod bands;
mod decompress;
mod directory;
mod jpeg;
mod layout;
mod rows;
mod vendor;

pub(crate) use bands::read_bands;
pub(crate) use layout::Layout;
#[cfg(feature = "fuzzing")]
pub(crate) use vendor::any as any_vendor_text;

use directory::{Directory, Header, tag};
use vendor::{ImageJ, Tags};

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
    let description = directories[0].text(source, tag::DESCRIPTION).unwrap_or_default();
    let file_name = source.path().file_name().unwrap_or_default().to_string_lossy();
    let ome = Ome::parse(&description, &file_name, directories.len() as u64);
    let format = if ome.is_some() { Format::OmeTiff } else { Format::Tiff };
    let mut file = TiffFile { format, pages: Vec::new(), layouts: Vec::new() };
    for directory in kept(source, &header, &directories)? {
        let layout = Layout::read(source, &header, directory)?;
        let said = ome.as_ref().map(|ome| ome.page(u64::from(directory.page) - 1)).unwrap_or_default();
        let name = said.name.or_else(|| directory.text(source, tag::PAGE_NAME));
        let of_vendor = || Tags { source, header: &header, directory, width: layout.width }.pixel_size();
        file.pages.push(PageInfo {
            name: name.filter(|name| !name.is_empty()),
            width: layout.width,
            height: layout.height,
            channels: layout.channels,
            sample_type: layout.stored.sample_type(),
            pixel_size: said.pixel_size.or_else(of_vendor),
        });
        file.layouts.push(layout);
    }
    if let Some(stack) = ImageJ::parse(&description) {
        file.unroll(source, directories.len(), &stack)?;
    }
    Ok(file)
}

impl TiffFile {
    /// ImageJ writes a stack of more than 4 GB under one directory, picture after picture.
    fn unroll(&mut self, source: &Source, num_directories: usize, stack: &ImageJ) -> Result<(), Error> {
        let num_images = stack.num_images.unwrap_or(1);
        let Some(first) = self.layouts.first().filter(|_| num_directories == 1 && num_images > 1) else {
            return Ok(());
        };
        let Some(start) = first.start_if_contiguous(source)? else { return Ok(()) };
        let page_bytes = first.page_bytes();
        let total = page_bytes.saturating_mul(num_images);
        source.check_range(start, total, &format!("{num_images} pictures of {page_bytes} bytes"))?;
        let at = |index: u64| first.at(start + index * page_bytes, index as u32 + 1);
        self.layouts = (0..num_images).map(at).collect();
        self.pages = vec![self.pages[0].clone(); self.layouts.len()];
        Ok(())
    }
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
