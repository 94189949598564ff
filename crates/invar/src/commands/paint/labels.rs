//! Label maps as TIFF.

use std::{fs::File, io::BufWriter, path::Path};

use anyhow::{Context, Result};
use invar_dataset::atomic::AtomicFile;
use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, colortype::Gray32};

/// Writes labels `[height, width]` as a TIFF of 32-bit integers, deflated: what napari opens as labels. Strip by strip.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, width: usize, height: usize, labels: impl Iterator<Item = u32>) -> Result<()> {
    let name = || path.display().to_string();
    let file = AtomicFile::create(path).with_context(name)?;
    {
        let sink = BufWriter::new(File::options().write(true).open(file.partial_path()).with_context(name)?);
        let compression = Compression::Deflate(DeflateLevel::Balanced);
        let mut encoder = TiffEncoder::new(sink).with_context(name)?.with_compression(compression);
        let mut image =
            encoder.new_image::<Gray32>(u32::try_from(width)?, u32::try_from(height)?).with_context(name)?;
        let mut labels = labels;
        while image.next_strip_sample_count() > 0 {
            let strip: Vec<u32> = labels.by_ref().take(image.next_strip_sample_count() as usize).collect();
            image.write_strip(&strip).with_context(name)?;
        }
        image.finish().with_context(name)?;
    }
    file.commit().with_context(name)?;
    Ok(())
}
