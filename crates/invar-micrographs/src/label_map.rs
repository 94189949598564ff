//! Label masks in files: reading those of other tools, and writing ours.

mod read;

pub(crate) use read::of_page;
pub use read::read_label_map;

use std::{
    io::{Seek, Write},
    path::Path,
};

use invar_dataset::atomic::AtomicFile;
use tiff::{
    TiffError,
    encoder::{Compression, DeflateLevel, TiffEncoder, TiffKind, colortype::Gray32},
    tags::{Predictor, Tag},
};

use crate::{Error, LabelMap, own_pictures::SOFTWARE};

/// Writes `map` as a 32-bit TIFF that napari opens as labels: deflate with the horizontal predictor, which turns the
/// interior of grains into zeros; BigTIFF if the labels take more than 3 GiB. The file is written completely or not at
/// all.
///
/// # Errors
/// [`Error::Io`], and [`Error::Config`] for a map without pixels, which TIFF cannot hold.
pub fn write_label_map(path: impl AsRef<Path>, map: &LabelMap) -> Result<(), Error> {
    let path = path.as_ref();
    if map.labels.is_empty() {
        let found = format!("{} x {}", map.width, map.height);
        return Err(Error::Config { what: "size of a label map".into(), expected: "at least 1 x 1".into(), found });
    }
    let io = |error: TiffError| Error::io(path)(into_io(error));
    let mut file = AtomicFile::create(path).map_err(Error::io(path))?;
    if map.labels.len() > BIG_PIXELS {
        encode(TiffEncoder::new_big(&mut file).map_err(io)?, map).map_err(io)?;
    } else {
        encode(TiffEncoder::new(&mut file).map_err(io)?, map).map_err(io)?;
    }
    file.commit().map_err(Error::io(path))
}

const BIG_PIXELS: usize = 3 << 28;

fn encode<W: Write + Seek, K: TiffKind>(encoder: TiffEncoder<W, K>, map: &LabelMap) -> Result<(), TiffError> {
    let mut encoder =
        encoder.with_compression(Compression::Deflate(DeflateLevel::Fast)).with_predictor(Predictor::Horizontal);
    let mut image = encoder.new_image::<Gray32>(map.width as u32, map.height as u32)?;
    image.rows_per_strip((STRIP_PIXELS / map.width.max(1)).clamp(1, map.height) as u32)?;
    image.encoder().write_tag(Tag::Software, SOFTWARE)?;
    image.write_data(&map.labels)
}

/// Pixels per strip: 1 MiB, so that readers can skip, and a strip compresses well.
const STRIP_PIXELS: usize = 1 << 18;

pub(crate) fn into_io(error: TiffError) -> std::io::Error {
    match error {
        TiffError::IoError(error) => error,
        other => std::io::Error::other(other),
    }
}

#[cfg(test)]
mod tests;
