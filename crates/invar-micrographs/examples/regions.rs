//! The grain table of a label mask as tab-separated text: `regions MASK [IMAGE] [--repeat N]`. The image is a TIFF or
//! PNG readable by the crate `image`; with `--repeat` the best time is printed on stderr. For
//! benches/quality/regionprops.py.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::time::Instant;

use invar_micrographs::{ImageRef, PixelsRef, read_label_map, regions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut paths: Vec<String> = std::env::args().skip(1).collect();
    let mut repeat = 1;
    if let Some(at) = paths.iter().position(|argument| argument == "--repeat") {
        repeat = paths.get(at + 1).ok_or("--repeat N")?.parse()?;
        paths.drain(at..at + 2);
    }
    let map = read_label_map(paths.first().ok_or("usage: regions MASK [IMAGE]")?, 1)?;
    let image = paths.get(1).map(image::open).transpose()?.map(|image| image.into_luma16());
    let image = image.as_ref().map(|image| ImageRef {
        width: image.width() as usize,
        height: image.height() as usize,
        channels: 1,
        pixels: PixelsRef::U16(image.as_raw()),
    });
    let mut best = f64::INFINITY;
    let mut found = Vec::new();
    for _ in 0..repeat {
        let start = Instant::now();
        found = regions(&map, image);
        best = best.min(start.elapsed().as_secs_f64());
    }
    eprintln!("regions\t{best:.6}");
    println!(
        "label\ttop\tleft\tbottom\tright\tarea\trow\tcolumn\tequivalent_diameter\tmajor\tminor\teccentricity\torientation\t\
         perimeter\tsolidity\tmean\tmin\tmax\tborder\tneighbors"
    );
    for r in found {
        let [top, left, bottom, right] = r.bbox_px;
        let [row, column] = r.centroid_px;
        println!(
            "{}\t{top}\t{left}\t{bottom}\t{right}\t{}\t{row}\t{column}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            r.label,
            r.area_px,
            r.equivalent_diameter_px,
            r.major_axis_px,
            r.minor_axis_px,
            r.eccentricity,
            r.orientation_rad,
            r.perimeter_px,
            r.solidity,
            r.mean_intensity,
            r.min_intensity,
            r.max_intensity,
            u8::from(r.touches_border),
            r.num_neighbors
        );
    }
    Ok(())
}
