//! The data bar that electron microscopes burn into the bottom of their pictures.

use crate::{ImageRef, Levels, PixelsRef, parts::Parts};

/// A data bar at the bottom of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Banner {
    /// Rows to crop.
    pub rows_px: u32,
    /// What was seen, as text.
    pub reason: String,
}

/// Looks for a data bar: a band of at least 8 rows and at most a quarter of the image at its bottom, across its whole
/// width, of a single grey value with lines of writing on it, above which the picture begins abruptly. Returns `None`
/// if in doubt: a picture that ends in a uniform band without writing, or whose band fades in, is left whole.
pub fn find_banner(image: ImageRef<'_>, levels: Levels) -> Option<Banner> {
    let (width, height) = (image.width, image.height);
    if width < 64 || height < 32 || image.channels == 0 {
        return None;
    }
    let tolerance = TOLERANCE * (levels.high - levels.low);
    let most = height / 4;
    // One row at a time: a quarter of an image of many gigabytes is too much to hold.
    let (num_rows, top) = (most + 1, height - most - 1);
    let row = |number: usize| Row::of(image, top + number);
    // The most common value of the bottom: that of the band, if there is one.
    let mut values: Vec<f32> = (num_rows - MIN_ROWS..num_rows).flat_map(|number| row(number).values).collect();
    let middle = values.len() / 2;
    let background = *values.select_nth_unstable_by(middle, f32::total_cmp).1;
    let share = |number: usize| row(number).share(background, tolerance);
    // The band: rows from the bottom in which the background has its usual fraction, and letters and frames take the
    // rest.
    let mut shares: Vec<f32> = (0..num_rows).rev().map(share).take_while(|&share| share >= 0.3).collect();
    shares.reverse();
    let band = shares.len();
    if band < MIN_ROWS || band > most {
        return None;
    }
    let first = num_rows - band;
    let mean = shares.iter().sum::<f32>() / band as f32;
    let clear = shares.iter().filter(|&&share| share >= 0.98).count();
    let beyond = |number| row(number).share_beyond(background, 0.4 * (levels.high - levels.low));
    let ink = (first..num_rows).map(beyond).sum::<f32>() / band as f32;
    let above: Vec<f32> = (first.saturating_sub(3)..first).map(share).collect();
    let found = mean >= 0.6
        && clear >= 2
        && shares[..2].iter().any(|&share| share >= 0.9)
        && (0.005..0.4).contains(&ink)
        && above.iter().all(|&share| share < 0.15);
    // Writing stands on lines; specks of dust on a flat background do not.
    let is_ink = |number: usize| -> Vec<u32> {
        let beyond = |value: &f32| u32::from((value - background).abs() > 0.4 * (levels.high - levels.low));
        row(number).values.iter().map(beyond).collect()
    };
    let is_written = || is_writing(&Parts::of_rows((first..num_rows).map(is_ink), true), band as u32, width as u32);
    (found && is_written()).then(|| Banner {
        rows_px: band as u32,
        reason: format!(
            "the last {band} rows are {:.0} % of one grey value ({background}) with writing on {:.1} %; the row above has {:.0} %",
            100.0 * mean,
            100.0 * ink,
            100.0 * above.last().copied().unwrap_or(0.0)
        ),
    })
}

/// Whether most marks of a band are as high as letters and stand on a few common lines.
fn is_writing(ink: &Parts, band_px: u32, width_px: u32) -> bool {
    let is_letter = |[top, left, bottom, right]: &[u32; 4]| {
        bottom - top >= 3 && (bottom - top) * 5 <= band_px * 4 && (right - left) * 2 < width_px
    };
    let letters: Vec<[u32; 4]> = ink.boxes(1).into_iter().filter(is_letter).collect();
    let mut marks = vec![0usize; band_px as usize + 1];
    letters.iter().for_each(|letter| marks[letter[2] as usize] += 1);
    let (num_rows, reach) = (marks.len(), (band_px as usize / 40).max(1));
    let mut standing = 0;
    // Minimum number of letters, and the fraction of them on this many lines: marks at random places reach about half
    // of that.
    [(4, if letters.len() < 16 { 0.7 } else { 0.5 }), (10, 0.75), (16, 0.8), (24, 0.85)].into_iter().any(
        |(least, share)| {
            let around = |line: usize| line.saturating_sub(reach)..(line + reach + 1).min(num_rows);
            let on_line = |line: usize| marks[around(line)].iter().sum::<usize>();
            let best = (0..num_rows).max_by_key(|&line| (on_line(line), line)).unwrap_or(0);
            standing += on_line(best);
            marks[around(best)].fill(0);
            letters.len() >= least && standing as f64 >= share * letters.len() as f64
        },
    )
}

const MIN_ROWS: usize = 8;
/// How far pixels of a uniform band may deviate, as a fraction of the levels: lossy compression.
const TOLERANCE: f32 = 0.02;

/// Means of the channels.
struct Row {
    values: Vec<f32>,
}

impl Row {
    fn of(image: ImageRef<'_>, row: usize) -> Self {
        let plane = image.width * image.height;
        let value = |index: usize| match image.pixels {
            PixelsRef::U8(values) => f32::from(values[index]),
            PixelsRef::U16(values) => f32::from(values[index]),
            PixelsRef::F32(values) => values[index],
        };
        let mean = |column: usize| {
            let sum: f32 = (0..image.channels).map(|channel| value(channel * plane + row * image.width + column)).sum();
            sum / image.channels as f32
        };
        Self { values: (0..image.width).map(mean).collect() }
    }

    fn share(&self, value: f32, tolerance: f32) -> f32 {
        self.values.iter().filter(|&&v| (v - value).abs() <= tolerance).count() as f32 / self.values.len() as f32
    }

    fn share_beyond(&self, value: f32, distance: f32) -> f32 {
        self.values.iter().filter(|&&v| (v - value).abs() > distance).count() as f32 / self.values.len() as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: Levels = Levels { low: 0.0, high: 255.0 };

    /// A noisy picture over a bar of `bar` rows of value `paper`, with writing of value `ink` in its middle.
    fn picture(width: usize, height: usize, bar: usize, paper: u8, ink: u8) -> Vec<u8> {
        let noise = |i: usize| 60 + ((i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 57) as u8;
        let mut pixels: Vec<u8> = (0..width * height).map(noise).collect();
        for row in height - bar..height {
            for column in 0..width {
                let at = row - (height - bar);
                let written =
                    (bar / 4..3 * bar / 4).contains(&at) && column < width / 2 && (column / 3 + at).is_multiple_of(4);
                pixels[row * width + column] = if written { ink } else { paper };
            }
        }
        pixels
    }

    fn rows_of(pixels: &[u8], width: usize) -> Option<u32> {
        let image = ImageRef { width, height: pixels.len() / width, channels: 1, pixels: PixelsRef::U8(pixels) };
        find_banner(image, LEVELS).map(|banner| banner.rows_px)
    }

    #[test]
    fn bars_of_every_colour_and_height_are_found() {
        for (paper, ink) in [(0, 255), (255, 0), (20, 230)] {
            for bar in [16, 32, 60] {
                assert_eq!(
                    rows_of(&picture(256, 256, bar, paper, ink), 256),
                    Some(bar as u32),
                    "{bar} rows of {paper}"
                );
            }
        }
    }

    /// Marks of `size` at pseudo-random places on a flat lower fifth.
    fn specks(number: u64, size: usize, seed: u64) -> Vec<u8> {
        let mut pixels = picture(400, 300, 60, 0, 0);
        pixels[240 * 400..].fill(0);
        for speck in 0..number {
            let place = invar_dataset::seed::mix(seed, speck);
            let (row, column) = (252 + place as usize % (40 - size), 5 + (place >> 32) as usize % (390 - size));
            (row..row + size).for_each(|row| pixels[row * 400 + column..][..size].fill(255));
        }
        pixels
    }

    #[test]
    fn specks_on_a_flat_ground_are_no_writing() {
        for (number, size) in [(12, 4), (25, 6), (60, 6), (25, 12), (8, 10), (200, 4)] {
            for seed in 0..20 {
                assert_eq!(
                    rows_of(&specks(number, size, seed), 400),
                    None,
                    "{number} specks of {size} px, seed {seed}"
                );
            }
        }
    }

    /// Letters of 5 x 7 px in `lines` lines, on a bar divided into three by vertical lines.
    #[test]
    fn several_lines_of_writing_are_a_bar() {
        for lines in 1..=4 {
            let bar = 12 * lines + 6;
            let mut pixels = picture(400, 300, bar, 255, 255);
            pixels[(300 - bar) * 400..].fill(255);
            for (row, column) in (300 - bar..300).flat_map(|row| (0..400).map(move |column| (row, column))) {
                let (down, across) = (row + bar - 300, column % 8);
                let (line, within) = (down.saturating_sub(3) / 12, down.saturating_sub(3) % 12);
                // Some letters descend below their line.
                let height = if column / 8 % 7 == 3 { 9 } else { 7 };
                let is_letter =
                    down >= 3 && line < lines && within < height && (1..6).contains(&across) && column < 360;
                if (is_letter && (within == 0 || across == 1)) || column == 130 || column == 260 {
                    pixels[row * 400 + column] = 0;
                }
            }
            assert_eq!(rows_of(&pixels, 400), Some(bar as u32), "{lines} lines");
        }
    }

    #[test]
    fn pictures_without_bar_are_left_whole() {
        assert_eq!(rows_of(&picture(256, 256, 0, 0, 0), 256), None, "noise");
        assert_eq!(rows_of(&picture(256, 256, 32, 0, 0), 256), None, "a band without writing");
        assert_eq!(rows_of(&picture(256, 256, 100, 0, 255), 256), None, "more than a quarter");
        assert_eq!(rows_of(&picture(256, 256, 5, 0, 255), 256), None, "too thin");
        assert_eq!(rows_of(&[7; 256 * 256], 256), None, "all one value");
        assert_eq!(rows_of(&[7], 1), None, "one pixel");
        // Dark background with bright particles everywhere, including the bottom.
        let dots: Vec<u8> = (0..256 * 256).map(|i| if (i % 256 / 8 + i / 2048) % 5 == 0 { 250 } else { 3 }).collect();
        assert_eq!(rows_of(&dots, 256), None, "particles on a uniform ground");
    }
}
