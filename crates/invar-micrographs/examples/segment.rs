//! Segments images: `segment CONFIG.json OUT_DIR IMAGE... [--repeat N]`. CONFIG.json is a `[segment]` table as JSON.
//! Writes OUT_DIR/NAME.tif, a label map, for each image, and prints its name, the number of grains, and the best times
//! of segmentation and grain table in seconds. For benches/quality/segmentation.py and benches/segment.py.
#![allow(clippy::print_stdout)]

use std::{path::Path, time::Instant};

use invar_micrographs::{ImageRef, Levels, PixelsRef, Segmentation, Segments, regions, segment, write_label_map};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut repeat = 1;
    if let Some(at) = arguments.iter().position(|argument| argument == "--repeat") {
        repeat = arguments.get(at + 1).ok_or("--repeat N")?.parse()?;
        arguments.drain(at..at + 2);
    }
    let [config, out, images @ ..] = arguments.as_slice() else { return Err("segment CONFIG OUT IMAGE...".into()) };
    let config: Segmentation = serde_json::from_slice(&std::fs::read(config)?)?;
    for path in images {
        let rgb = image::open(path)?.into_rgb8();
        let (width, height) = (rgb.width() as usize, rgb.height() as usize);
        let grey = rgb.pixels().all(|pixel| pixel.0[0] == pixel.0[1] && pixel.0[1] == pixel.0[2]);
        let channels = if grey { 1 } else { 3 };
        let plane = |channel: usize| rgb.as_raw().iter().skip(channel).step_by(3).copied();
        let pixels: Vec<u8> = (0..channels).flat_map(plane).collect();
        let image = ImageRef { width, height, channels, pixels: PixelsRef::U8(&pixels) };
        let (mut best, mut table, mut labels) = (f64::INFINITY, f64::INFINITY, None);
        for _ in 0..repeat {
            let start = Instant::now();
            labels = match segment(image, levels(&pixels), &config)? {
                Segments::Labels(map) => Some(map),
                Segments::Boxes(_) => return Err("boxes are no label map".into()),
            };
            best = best.min(start.elapsed().as_secs_f64());
            let start = Instant::now();
            labels.iter().for_each(|map| drop(regions(map, Some(image))));
            table = table.min(start.elapsed().as_secs_f64());
        }
        let Some(map) = labels else { return Err("--repeat 1 at least".into()) };
        let name = Path::new(path).with_extension("tif");
        write_label_map(Path::new(out).join(name.file_name().ok_or("no file name")?), &map)?;
        let count = map.labels.iter().max().copied().unwrap_or(0);
        println!("{path}\t{count}\t{best:.6}\t{table:.6}");
    }
    Ok(())
}

/// 1st and 99th percentile, at least 1 apart.
fn levels(pixels: &[u8]) -> Levels {
    let mut counts = [0usize; 256];
    pixels.iter().for_each(|&pixel| counts[usize::from(pixel)] += 1);
    let at = |share: f64| {
        let mut left = (share * (pixels.len().max(1) - 1) as f64) as usize;
        (0..255)
            .find(|&value| {
                left < counts[value] || {
                    left -= counts[value];
                    false
                }
            })
            .unwrap_or(255)
    };
    let (low, high) = (at(0.01), at(0.99));
    Levels { low: low as f32, high: high.max(low + 1) as f32 }
}
