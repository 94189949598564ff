//! Grains cut out of their images.

use std::{
    io::{Seek, Write},
    path::Path,
};

use invar_dataset::atomic::AtomicFile;
use tiff::{
    TiffError,
    encoder::{
        Compression, DeflateLevel, Rational, TiffEncoder, TiffValue,
        colortype::{self, ColorType},
    },
    tags::ResolutionUnit,
};

use crate::{Error, Grain, ImageRef, PixelsRef, label_map::into_io};

/// Writes the window of the grain, with its original pixels, as TIFF: 8 and 16 bits and single precision, three
/// channels as RGB, any other number as one page each; deflate. The resolution is that of the image, if known. The file
/// is written completely or not at all.
///
/// # Errors
/// [`Error::Io`].
pub fn write_crop(path: impl AsRef<Path>, grain: &Grain) -> Result<(), Error> {
    let path = path.as_ref();
    let mut file = AtomicFile::create(path).map_err(Error::io(path))?;
    encode(&mut file, grain).map_err(|error| Error::io(path)(into_io(error)))?;
    file.commit().map_err(Error::io(path))
}

fn encode(out: &mut (impl Write + Seek), grain: &Grain) -> Result<(), TiffError> {
    let image = grain.image.pixels();
    let window = grain.region().bbox_px;
    let mut file = TiffEncoder::new(out)?.with_compression(Compression::Deflate(DeflateLevel::Fast));
    let mut page = Page { file: &mut file, window, grain };
    match image.pixels {
        PixelsRef::U8(values) if image.channels == 3 => page.write::<_, colortype::RGB8>(values, image, 0..3),
        PixelsRef::U16(values) if image.channels == 3 => page.write::<_, colortype::RGB16>(values, image, 0..3),
        PixelsRef::F32(values) if image.channels == 3 => page.write::<_, colortype::RGB32Float>(values, image, 0..3),
        pixels => (0..image.channels).try_for_each(|channel| match pixels {
            PixelsRef::U8(values) => page.write::<_, colortype::Gray8>(values, image, channel..channel + 1),
            PixelsRef::U16(values) => page.write::<_, colortype::Gray16>(values, image, channel..channel + 1),
            PixelsRef::F32(values) => page.write::<_, colortype::Gray32Float>(values, image, channel..channel + 1),
        }),
    }
}

/// What the pages of a file have in common.
struct Page<'a, W: Write + Seek> {
    file: &'a mut TiffEncoder<W>,
    window: [u32; 4],
    grain: &'a Grain,
}

impl<W: Write + Seek> Page<'_, W> {
    /// Writes some channels of the window, pixel by pixel.
    fn write<T: Copy, C: ColorType<Inner = T>>(
        &mut self,
        values: &[T],
        image: ImageRef<'_>,
        channels: std::ops::Range<usize>,
    ) -> Result<(), TiffError>
    where
        [T]: TiffValue,
    {
        let [top, left, bottom, right] = self.window;
        let plane = image.width * image.height;
        let value = |row: u32, column: u32, channel: usize| {
            values[channel * plane + row as usize * image.width + column as usize]
        };
        let pixels = (top..bottom).flat_map(|row| (left..right).map(move |column| (row, column)));
        let crop: Vec<T> = pixels
            .flat_map(|(row, column)| channels.clone().map(move |channel| (row, column, channel)))
            .map(|(row, column, channel)| value(row, column, channel))
            .collect();
        let mut page = self.file.new_image::<C>(right - left, bottom - top)?;
        if let Some(size) = self.grain.image.pixel_size {
            page.resolution_unit(ResolutionUnit::Centimeter);
            page.x_resolution(per_centimetre(size.x_nm));
            page.y_resolution(per_centimetre(size.y_nm));
        }
        page.write_data(&crop)
    }
}

/// Number of pixels of this size per centimetre, as a fraction of 32-bit numbers with as many digits as fit.
fn per_centimetre(nm: f64) -> Rational {
    let pixels = 1e7 / nm;
    let d = (f64::from(u32::MAX) / pixels).floor().clamp(1.0, 1e6);
    Rational { n: (pixels * d).round() as u32, d: d as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Band, GrainDataset, ImageFile, LabelMap, MemoryImage, PixelSize, PixelSizeSource, Pixels, Samples, open,
    };

    fn crops(pixels: Pixels, channels: usize) -> (tempfile::TempDir, std::path::PathBuf) {
        let labels = (0..6 * 8).map(|at| u32::from((1..4).contains(&(at / 8)) && (2..7).contains(&(at % 8)))).collect();
        let pixel_size = Some(PixelSize { x_nm: 12.5, y_nm: 12.5, source: PixelSizeSource::User });
        let labels = Some(LabelMap { width: 8, height: 6, labels });
        let image = MemoryImage { name: "a".into(), size: [channels, 6, 8], pixels, labels, pixel_size };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("crop.tif");
        write_crop(&path, &GrainDataset::from_images(vec![image]).grain(0)).unwrap();
        (dir, path)
    }

    /// The values of a page, `[rows, width, channels]`.
    fn page(file: &mut ImageFile, page: usize) -> Samples {
        let mut found = vec![];
        let mut keep = |band: Band| {
            found.push(band.samples);
            Ok(())
        };
        file.read_bands(page, 1 << 20, &mut keep).unwrap();
        found.remove(0)
    }

    #[test]
    fn a_crop_is_the_window_as_it_came() {
        for channels in [1, 2, 3] {
            let value = |channel: usize, at: usize| channel * 80 + at;
            let all = || (0..channels).flat_map(|channel| (0..48).map(move |at| value(channel, at)));
            for kind in 0..3 {
                let pixels = match kind {
                    0 => Pixels::U8(all().map(|value| value as u8).collect()),
                    1 => Pixels::U16(all().map(|value| value as u16 * 7).collect()),
                    _ => Pixels::F32(all().map(|value| value as f32 / 3.0).collect()),
                };
                let (_dir, path) = crops(pixels, channels);
                let mut file = open(&path).unwrap();
                let size = file.pages()[0].pixel_size.unwrap();
                assert!((size.x_nm - 12.5).abs() < 1e-6, "{size:?}");
                let pages = if channels == 3 { 1 } else { channels };
                assert_eq!(file.pages().len(), pages);
                for number in 0..pages {
                    let info = &file.pages()[number];
                    assert_eq!((info.width, info.height), (5, 3));
                    let planes = if channels == 3 { 0..3 } else { number..number + 1 };
                    let places = (1..4).flat_map(|row| (2..7).map(move |column| row * 8 + column));
                    let expected = places.flat_map(|at| planes.clone().map(move |channel| value(channel, at)));
                    let expected = match kind {
                        0 => Samples::U8(expected.map(|value| value as u8).collect()),
                        1 => Samples::U16(expected.map(|value| value as u16 * 7).collect()),
                        _ => Samples::F32(expected.map(|value| value as f32 / 3.0).collect()),
                    };
                    assert_eq!(page(&mut file, number), expected);
                }
            }
        }
    }

    #[test]
    fn resolutions_are_fractions_of_many_digits() {
        for nm in [0.0123, 12.5, 333.333, 250_000.0] {
            let Rational { n, d } = per_centimetre(nm);
            let found = f64::from(d) / f64::from(n) * 1e7;
            assert!((found / nm - 1.0).abs() < 1e-6, "{nm}: {found}");
        }
    }
}
