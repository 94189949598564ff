//! Contact sheets: small pictures in rows.

use std::io::Cursor;

use anyhow::Result;
use image::{ImageFormat, Rgb, RgbImage, imageops};
use invar_dataset::{Pair, View};

/// Views are enlarged by an integer factor until they have at least this many pixels per side.
const LEAST_PX: usize = 112;
/// Gap between the views of a pair.
const THIN_PX: u32 = 2;
/// Gap between pairs.
const WIDE_PX: u32 = 14;
const BACKGROUND: Rgb<u8> = Rgb([24, 24, 32]);

/// The views of each pair side by side, as a PNG file. Values 0 to 1 become black to white; three planes are colours,
/// of any other number the first is shown.
///
/// # Errors
/// If the sheet is larger than a PNG file can be.
pub fn png(pairs: &[Pair], [channels, height, width]: [usize; 3]) -> Result<Vec<u8>> {
    let scale = LEAST_PX.div_ceil(height.min(width).max(1)).max(1) as u32;
    let [height, width] = [height as u32, width as u32];
    let views_a_pair = pairs.iter().map(|pair| pair.views.len()).max().unwrap_or(1) as u32;
    let pair_width = views_a_pair * (width * scale + THIN_PX) - THIN_PX + WIDE_PX;
    let pair_height = height * scale + WIDE_PX;
    // Width about four thirds of the height.
    let columns = (f64::from(pair_height) * pairs.len() as f64 * 4.0 / 3.0 / f64::from(pair_width)).sqrt();
    let columns = (columns.round() as u32).clamp(1, pairs.len().max(1) as u32);
    let rows = (pairs.len() as u32).div_ceil(columns);
    let mut sheet = RgbImage::from_pixel(columns * pair_width + WIDE_PX, rows * pair_height + WIDE_PX, BACKGROUND);
    for (number, pair) in pairs.iter().enumerate() {
        let (row, column) = (number as u32 / columns, number as u32 % columns);
        for (i, view) in pair.views().enumerate() {
            let View::Dense { data, .. } = view else { continue };
            let x = WIDE_PX + column * pair_width + i as u32 * (width * scale + THIN_PX);
            let tile = tile(data, channels, [height, width], scale);
            imageops::replace(&mut sheet, &tile, x.into(), (WIDE_PX + row * pair_height).into());
        }
    }
    let mut bytes = Cursor::new(Vec::new());
    sheet.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(invar_micrographs::sign_png(bytes.into_inner()))
}

fn tile(data: &[f32], channels: usize, [height, width]: [u32; 2], scale: u32) -> RgbImage {
    RgbImage::from_fn(width * scale, height * scale, |x, y| {
        let place = ((y / scale) * width + x / scale) as usize;
        let plane = |channel: usize| {
            let value = data[channel * (height * width) as usize + place];
            (value.clamp(0.0, 1.0) * 255.0).round() as u8
        };
        if channels == 3 { Rgb([plane(0), plane(1), plane(2)]) } else { Rgb([plane(0); 3]) }
    })
}

#[cfg(test)]
mod tests {
    use invar_dataset::SampleId;

    use super::*;

    fn pair(values: [f32; 2], channels: usize) -> Pair {
        let view = |value| View::Dense { shape: vec![channels, 10, 10], data: vec![value; channels * 100] };
        Pair::of(SampleId(0), values.map(view))
    }

    #[test]
    fn both_views_of_every_pair_are_on_the_sheet() {
        let pairs = [pair([0.0, 1.0], 1), pair([0.5, 2.0], 1), pair([0.25, -1.0], 1)];
        let sheet = image::load_from_memory(&png(&pairs, [1, 10, 10]).unwrap()).unwrap().to_rgb8();
        // By hand: tiles of 120 px, a pair of 242 with 14 next to it; three are as wide as high in one column.
        assert_eq!(sheet.dimensions(), (256 + 14, 3 * 134 + 14));
        let at = |x, y| sheet.get_pixel(x, y).0[0];
        assert_eq!([at(14, 14), at(133, 133), at(136, 14), at(255, 133)], [0, 0, 255, 255]);
        assert_eq!([at(20, 150), at(140, 150)], [128, 255]);
        assert_eq!([at(20, 290), at(140, 290)], [64, 0]);
        assert_eq!([at(134, 14), at(5, 5), at(20, 140)], [BACKGROUND.0[0]; 3]);
    }

    #[test]
    fn three_planes_are_colours() {
        let mut colour = pair([0.0, 0.0], 3);
        if let View::Dense { data, .. } = &mut colour.views[0].1 {
            data[100..200].fill(1.0);
        }
        let sheet = image::load_from_memory(&png(&[colour], [3, 10, 10]).unwrap()).unwrap().to_rgb8();
        assert_eq!(sheet.get_pixel(20, 20).0, [0, 255, 0]);
    }
}
