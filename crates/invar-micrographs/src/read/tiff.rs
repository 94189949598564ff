//! TIFF 6.0 and BigTIFF.
//!
//! The pixels are returned as stored: if 0 is white they are not inverted. Smaller copies of a picture (pyramids,
//! thumbnails), transparency masks and photographs of a slide's label are left out.

use crate::{
    Error, LeftOut, Note, Orientation, PageInfo, SampleType,
    read::{ByteSource, Format, Opened, Pixels, ome::Ome, palette::Purpose},
};

mod bands;
mod decompress;
mod directory;
mod jpeg;
mod layout;
mod previews;
mod rows;
mod stack;
mod vendor;

pub(crate) use bands::read_bands;
pub(crate) use layout::Layout;
#[cfg(feature = "fuzzing")]
pub(crate) use vendor::any as any_vendor_text;

use directory::{Directory, Header, tag};
use vendor::Tags;

/// Reads the metadata of all pages.
pub(crate) fn open(source: &ByteSource, purpose: Purpose) -> Result<Opened, Error> {
    let header = Header::read(source)?;
    let (directories, broken) = header.directories(source)?;
    let description = directories[0].text(source, tag::DESCRIPTION).unwrap_or_default();
    let file_name = source.path().file_name().unwrap_or_default().to_string_lossy();
    let ome = Ome::parse(&description, &file_name, directories.len() as u64);
    let format = if ome.is_some() { Format::OmeTiff } else { Format::Tiff };
    let mut notes: Vec<Note> = broken.map(|offset| Note::BrokenChain { offset }).into_iter().collect();
    notes.extend(ome.as_ref().and_then(|ome| ome.missing_pictures(directories.len() as u64)));
    let previews = previews::find(source, &header, &directories)?;
    let (mut pages, mut layouts, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for (directory, preview) in directories.iter().zip(previews) {
        let preview = match preview {
            previews::Kind::LeftOut(what) => {
                let size = |tag| Ok::<_, Error>(directory.number(source, &header, tag)?.unwrap_or(0) as u32);
                left_out.push(LeftOut {
                    page: directory.page,
                    width: size(tag::WIDTH)?,
                    height: size(tag::HEIGHT)?,
                    what,
                });
                continue;
            }
            previews::Kind::Copy { of } => Some(Note::LooksLikeCopy { of }),
            previews::Kind::Picture => None,
        };
        let said = ome.as_ref().map(|ome| ome.page(u64::from(directory.page) - 1)).unwrap_or_default();
        let (mut page, layout) = page(source, &header, directory, purpose)?;
        page.name = said.name.or(page.name).filter(|name| !name.is_empty());
        if let Some(size) = said.pixel_size {
            page.pixel_size = Some(size);
            page.notes.extend(said.is_square_assumed.then_some(Note::SquarePixels));
        }
        page.notes.extend(preview);
        let orientation = directory.number(source, &header, tag::ORIENTATION)?.unwrap_or(1);
        pages.push(page.turned(Orientation::of_tag(orientation)));
        layouts.push(layout);
    }
    if let [directory] = directories.as_slice() {
        stack::unroll(source, directory, (&mut pages, &mut layouts), &mut notes)?;
    } else if directories.iter().any(|directory| directory.count(tag::UIC2) > 1) {
        return Err(source.unsupported("a MetaMorph stack of several directories", "save one TIFF page per plane"));
    }
    Ok(Opened { format, pages, left_out, notes, pixels: Pixels::Tiff(layouts) })
}

/// The picture described by a directory, as stored.
fn page(
    source: &ByteSource,
    header: &Header,
    directory: &Directory,
    purpose: Purpose,
) -> Result<(PageInfo, Layout), Error> {
    let layout = Layout::read(source, header, directory, purpose)?;
    let palette = layout.palette.as_ref();
    let page = PageInfo {
        name: directory.text(source, tag::PAGE_NAME),
        width: layout.width,
        height: layout.height,
        channels: palette.map_or(layout.channels, |palette| palette.channels()),
        sample_type: palette.map_or(layout.stored.sample_type(), |_| SampleType::U8),
        pixel_size: Tags { source, header, directory, width: layout.width }.pixel_size(),
        is_lossy: layout.compression == layout::Compression::Jpeg,
        orientation: Orientation::UPRIGHT,
        notes: palette.map(|_| Note::Palette).into_iter().collect(),
    };
    Ok((page, layout))
}
