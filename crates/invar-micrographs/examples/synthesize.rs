//! Writes synthetic micrographs with known grains:
//! `synthesize OUT [--training] [--count N] [--side PX] [--seed S] [--enlarged TIMES]`.
//!
//! By default 200 pictures of 384 x 384, in turn of the kinds that the boundary network was not trained on; with
//! `--training` of those that it was. Writes OUT/images/KIND-NUMBER.png and OUT/labels/KIND-NUMBER.tif (0 outside
//! grains, grains from 1), and OUT/index.tsv: name, kind, what separates the grains, number of grains. `--enlarged 4`
//! writes the same pictures four times as large, smoothly, as from a finer microscope. The same seed writes the same
//! files.
#![allow(clippy::print_stdout)]

use std::{fmt::Write as _, fs, path::PathBuf};

use image::imageops::FilterType;
use invar_micrographs::{
    LabelMap,
    synthetic::{NewKind, SyntheticMicrograph, new_micrograph, training_micrograph},
    write_label_map,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = None;
    let (mut training, mut count, mut side, mut seed, mut times) = (false, 200usize, 384usize, 20_261_129u64, 1u32);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--training" => training = true,
            "--count" => count = value()?.parse()?,
            "--side" => side = value()?.parse()?,
            "--seed" => seed = value()?.parse()?,
            "--enlarged" => times = value()?.parse()?,
            _ => out = Some(PathBuf::from(argument)),
        }
    }
    let out = out.ok_or("usage: synthesize OUT [--training] [--count N] [--side PX] [--seed S] [--enlarged TIMES]")?;
    fs::create_dir_all(out.join("images"))?;
    fs::create_dir_all(out.join("labels"))?;
    let mut index = String::from("name\tkind\tlines\tgrains\n");
    for number in 0..count {
        let kind = NewKind::ALL[number % NewKind::ALL.len()];
        let (name, picture): (&str, SyntheticMicrograph) = if training {
            ("training", training_micrograph(side, seed, number as u64))
        } else {
            (kind.name(), new_micrograph(kind, side, seed, number as u64))
        };
        let file = format!("{name}-{number:03}");
        let bytes: Vec<u8> = picture.grey.iter().map(|&grey| (255.0 * grey).round() as u8).collect();
        let size = picture.side_px as u32;
        let grey = image::GrayImage::from_raw(size, size, bytes).ok_or("a picture is not square")?;
        image::imageops::resize(&grey, times * size, times * size, FilterType::CatmullRom)
            .save(out.join(format!("images/{file}.png")))?;
        write_label_map(out.join(format!("labels/{file}.tif")), &enlarged(&picture.labels, times as usize))?;
        let grains = picture.labels.labels.iter().max().copied().unwrap_or(0);
        writeln!(index, "{file}\t{name}\t{:?}\t{grains}", picture.lines)?;
    }
    fs::write(out.join("index.tsv"), index)?;
    println!("{count} pictures in {}", out.display());
    Ok(())
}

/// Each pixel as a square of pixels.
fn enlarged(map: &LabelMap, times: usize) -> LabelMap {
    let (width, height) = (times * map.width, times * map.height);
    let label = |i: usize| map.labels[i / width / times * map.width + i % width / times];
    LabelMap { width, height, labels: (0..width * height).map(label).collect() }
}
