//! ASTM grain-size numbers of a label mask: `grain_size MASK PIXEL_SIZE_NM`.
#![allow(clippy::print_stdout)]

use invar_micrographs::{
    GrainSize, PixelSize, PixelSizeSource, TestLines, chords_um, grain_size_by_counting, grain_size_by_intercepts,
    intercepts, planimetric_fields, read_label_map,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mask, size] = arguments.as_slice() else { return Err("usage: grain_size MASK PIXEL_SIZE_NM".into()) };
    let size: f64 = size.parse()?;
    let pixel_size = PixelSize { x_nm: size, y_nm: size, source: PixelSizeSource::User };
    let map = read_label_map(mask, 1)?;
    let print = |name: &str, size: Option<GrainSize>| match size {
        Some(s) => println!(
            "{name}\tG {:.3} ({:.3} to {:.3})\tmean {:.4}\t%RA {:.1}\tcount {}",
            s.number,
            s.number_low.unwrap_or(f64::NAN),
            s.number_high.unwrap_or(f64::NAN),
            s.mean,
            s.relative_accuracy_percent.unwrap_or(f64::NAN),
            s.count
        ),
        None => println!("{name}\tnone"),
    };
    print("planimetric", grain_size_by_counting(&planimetric_fields(&map, pixel_size, 3)));
    for (name, lines) in [
        ("horizontal", TestLines::Horizontal(20)),
        ("vertical", TestLines::Vertical(20)),
        ("diagonal", TestLines::Diagonal(10)),
        ("circles", TestLines::Circles),
    ] {
        print(name, grain_size_by_intercepts(&intercepts(&map, pixel_size, lines)));
        let chords = chords_um(&map, pixel_size, lines);
        println!("{name} chords\t{}\tmean {:.4}", chords.len(), chords.iter().sum::<f64>() / chords.len() as f64);
    }
    Ok(())
}
