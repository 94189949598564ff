//! A picture made of pixels: rectangles, text, and views of a micrograph.

use std::path::Path;

use anyhow::{Context, Result};
use font8x8::UnicodeFonts;
use image::{
    ImageEncoder, RgbImage,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
};
use invar_dataset::atomic::AtomicFile;
use invar_micrographs::{ImageRef, Levels, PixelsRef, StoredImage, sign_png};

use crate::palette::Rgb;

/// Side of a letter, in pixels.
pub const LETTER_PX: u32 = 8;

/// Out of 100: keeps what a person sees of a texture.
const JPEG_QUALITY: u8 = 80;

/// A picture being drawn. Whatever falls outside is ignored.
pub struct Picture {
    pixels: RgbImage,
}

impl Picture {
    /// A picture of one colour.
    pub fn new(width: u32, height: u32, background: Rgb) -> Self {
        Self { pixels: RgbImage::from_pixel(width.max(1), height.max(1), image::Rgb(background)) }
    }

    /// Columns.
    pub fn width(&self) -> u32 {
        self.pixels.width()
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.pixels.height()
    }

    /// The colour at a place.
    #[cfg(test)]
    pub fn at(&self, x: u32, y: u32) -> Rgb {
        self.pixels.get_pixel(x, y).0
    }

    /// Colours one pixel.
    pub fn set(&mut self, x: u32, y: u32, colour: Rgb) {
        if let Some(pixel) = self.pixels.get_pixel_mut_checked(x, y) {
            pixel.0 = colour;
        }
    }

    /// Fills a rectangle.
    pub fn fill(&mut self, x: u32, y: u32, width: u32, height: u32, colour: Rgb) {
        for row in y..y + height {
            (x..x + width).for_each(|column| self.set(column, row, colour));
        }
    }

    /// Writes one line with its upper left corner at `(x, y)`, in letters of 8 x 8 pixels. A letter that the font lacks
    /// becomes a question mark.
    pub fn text(&mut self, x: u32, y: u32, text: &str, colour: Rgb) {
        for (number, letter) in text.chars().enumerate() {
            let glyph = font8x8::BASIC_FONTS
                .get(letter)
                .or_else(|| font8x8::LATIN_FONTS.get(letter))
                .or_else(|| font8x8::GREEK_FONTS.get(letter))
                .or_else(|| font8x8::BASIC_FONTS.get('?'))
                .unwrap_or_default();
            let left = x + number as u32 * LETTER_PX;
            for (row, bits) in (y..).zip(glyph) {
                (0..LETTER_PX).filter(|bit| bits >> bit & 1 == 1).for_each(|bit| self.set(left + bit, row, colour));
            }
        }
    }

    /// Writes it as PNG, atomically.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        self.write_png_to(AtomicFile::create(path).with_context(|| path.display().to_string())?)
    }

    /// The same, to a file that was already started.
    ///
    /// # Errors
    /// As [`Picture::write_png`].
    pub fn write_png_to(&self, file: AtomicFile) -> Result<()> {
        let path = file.path().to_path_buf();
        let mut bytes = Vec::new();
        let (width, height) = self.pixels.dimensions();
        PngEncoder::new(&mut bytes)
            .write_image(&self.pixels, width, height, image::ExtendedColorType::Rgb8)
            .with_context(|| format!("{}: drawing the picture", path.display()))?;
        file.finish_with(&sign_png(bytes)).with_context(|| path.display().to_string())
    }

    /// As JPEG, small enough to be one of many in a page.
    ///
    /// # Errors
    /// If it is larger than JPEG allows.
    pub fn to_jpeg(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let (width, height) = self.pixels.dimensions();
        JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
            .write_image(&self.pixels, width, height, image::ExtendedColorType::Rgb8)
            .context("drawing a picture")?;
        Ok(bytes)
    }
}

/// An image as shown to people: its levels become black and white, three channels become colours.
pub struct Look<'a> {
    image: ImageRef<'a>,
    levels: Levels,
}

/// Maximum number of points per side that are averaged.
const MAX_POINTS: u32 = 8;

impl<'a> Look<'a> {
    /// A view of an image.
    pub fn at_image(image: &'a StoredImage) -> Self {
        Self { image: image.pixels(), levels: image.levels }
    }

    /// The colour of a square of side `extent` around `(x, y)`, all in pixels of the image, with pixel centres at
    /// halves: the average of a large one, linearly interpolated for a small one. `None` outside of the image.
    pub fn colour(&self, x: f64, y: f64, extent: f64) -> Option<Rgb> {
        let (width, height) = (self.image.width as f64, self.image.height as f64);
        if x < 0.0 || y < 0.0 || x >= width || y >= height {
            return None;
        }
        let shade = |channel| {
            let value = if extent > 1.0 { self.average(channel, x, y, extent) } else { self.between(channel, x, y) };
            (value * 255.0).round() as u8
        };
        Some(match self.image.channels {
            3 => [shade(0), shade(1), shade(2)],
            _ => [shade(0); 3],
        })
    }

    fn average(&self, channel: usize, x: f64, y: f64, extent: f64) -> f32 {
        let points = (extent.ceil() as u32).clamp(1, MAX_POINTS);
        let offset = |point: u32| ((f64::from(point) + 0.5) / f64::from(points) - 0.5) * extent;
        let places = (0..points * points).map(|at| (x + offset(at % points), y + offset(at / points)));
        let sum: f32 = places.map(|(x, y)| self.value(channel, x.floor() as i64, y.floor() as i64)).sum();
        sum / (points * points) as f32
    }

    fn between(&self, channel: usize, x: f64, y: f64) -> f32 {
        let (x, y) = (x - 0.5, y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let value = |dx, dy| self.value(channel, left as i64 + dx, top as i64 + dy);
        let (fx, fy) = ((x - left) as f32, (y - top) as f32);
        let row = |dy| value(0, dy) * (1.0 - fx) + value(1, dy) * fx;
        row(0) * (1.0 - fy) + row(1) * fy
    }

    /// From 0 (black) to 1 (white); places outside get the value of the nearest pixel.
    fn value(&self, channel: usize, column: i64, row: i64) -> f32 {
        let column = column.clamp(0, self.image.width as i64 - 1) as usize;
        let row = row.clamp(0, self.image.height as i64 - 1) as usize;
        let at = (channel * self.image.height + row) * self.image.width + column;
        let value = match self.image.pixels {
            PixelsRef::U8(values) => f32::from(values[at]),
            PixelsRef::U16(values) => f32::from(values[at]),
            PixelsRef::F32(values) => values[at],
        };
        ((value - self.levels.low) / (self.levels.high - self.levels.low)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use invar_micrographs::{GrainDataset, MemoryImage, Pixels};

    #[test]
    fn text_is_where_it_is_put_and_clipped() {
        let mut picture = Picture::new(40, 10, [0; 3]);
        picture.text(8, 1, "I\u{4e2d}", [255; 3]);
        let lit = |x: u32| (0..10).any(|y| picture.at(x, y) != [0; 3]);
        assert!((0..8).all(|x| !lit(x)) && (8..16).any(lit) && (16..24).any(lit) && (24..40).all(|x| !lit(x)));
        picture.text(36, 8, "wide", [255; 3]);
        picture.fill(38, 8, 10, 10, [1, 2, 3]);
        assert_eq!(picture.at(39, 9), [1, 2, 3]);
    }

    #[test]
    fn a_look_averages_and_interpolates() {
        // 0 and 255 in alternate columns: levels are 0 and 255.
        let pixels = Pixels::U8((0..64).map(|at| if at % 2 == 0 { 0 } else { 255 }).collect());
        let image = MemoryImage { name: "a".into(), size: [1, 8, 8], pixels, labels: None, pixel_size: None };
        let dataset = GrainDataset::from_images(vec![image]);
        let look = Look::at_image(dataset.image(0));
        assert_eq!(look.colour(0.5, 0.5, 1.0), Some([0; 3]));
        assert_eq!(look.colour(1.5, 3.5, 1.0), Some([255; 3]));
        assert_eq!(look.colour(1.0, 3.5, 0.5), Some([128; 3]));
        assert_eq!(look.colour(4.0, 4.0, 4.0), Some([128; 3]));
        assert_eq!((look.colour(-0.1, 4.0, 4.0), look.colour(4.0, 8.0, 1.0)), (None, None));
    }
}
