//! Prints the content of image files, one line of JSON per page: shape, number type, SHA-256 of the little-endian
//! values, pixel size. Compared with other readers by `benches/quality/readers.py`.
//!
//! ```text
//! dump FILE...           metadata and checksum
//! dump --time FILE...    seconds to read all pixels
//! dump --raw FILE        the values of all pages to stdout
//! ```
#![allow(clippy::print_stdout)]

use std::{io::Write, path::Path, time::Instant};

use invar_micrographs::{Band, Error, Samples, open};
use serde_json::json;
use sha2::{Digest, Sha256};

const MAX_PIXELS: u64 = 4 << 20;

fn main() {
    let mut mode = String::new();
    for argument in std::env::args().skip(1) {
        if argument.starts_with("--") {
            mode = argument;
            continue;
        }
        let path = Path::new(&argument);
        let result = match mode.as_str() {
            "--time" => time(path),
            "--raw" => raw(path),
            _ => dump(path),
        };
        if let Err(error) = result {
            println!("{}", json!({ "file": argument, "error": error.to_string() }));
        }
    }
}

fn dump(path: &Path) -> Result<(), Error> {
    let mut file = open(path)?;
    for index in 0..file.pages().len() {
        let mut hash = Sha256::new();
        file.read_bands(index, MAX_PIXELS, &mut |band: Band| {
            hash.update(little_endian(band.samples));
            Ok(())
        })?;
        let page = &file.pages()[index];
        let line = json!({
            "file": path, "format": file.format().name(), "page": index, "name": page.name,
            "shape": [page.height, page.width, u32::from(page.channels)], "type": page.sample_type.name(),
            "sha256": hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            "pixel_size": page.pixel_size,
        });
        println!("{line}");
    }
    Ok(())
}

fn raw(path: &Path) -> Result<(), Error> {
    let mut file = open(path)?;
    for index in 0..file.pages().len() {
        file.read_bands(index, MAX_PIXELS, &mut |band: Band| {
            std::io::stdout().write_all(&little_endian(band.samples)).map_err(Error::io("stdout"))
        })?;
    }
    Ok(())
}

fn time(path: &Path) -> Result<(), Error> {
    let start = Instant::now();
    let mut file = open(path)?;
    let mut num_values = 0;
    for index in 0..file.pages().len() {
        file.read_bands(index, MAX_PIXELS, &mut |band: Band| {
            num_values += band.samples.len();
            Ok(())
        })?;
    }
    println!("{}", json!({ "file": path, "values": num_values, "seconds": start.elapsed().as_secs_f64() }));
    Ok(())
}

fn little_endian(samples: Samples) -> Vec<u8> {
    match samples {
        Samples::U8(values) => values,
        Samples::I8(values) => values.into_iter().flat_map(i8::to_le_bytes).collect(),
        Samples::U16(values) => values.into_iter().flat_map(u16::to_le_bytes).collect(),
        Samples::I16(values) => values.into_iter().flat_map(i16::to_le_bytes).collect(),
        Samples::U32(values) => values.into_iter().flat_map(u32::to_le_bytes).collect(),
        Samples::I32(values) => values.into_iter().flat_map(i32::to_le_bytes).collect(),
        Samples::U64(values) => values.into_iter().flat_map(u64::to_le_bytes).collect(),
        Samples::I64(values) => values.into_iter().flat_map(i64::to_le_bytes).collect(),
        Samples::F32(values) => values.into_iter().flat_map(f32::to_le_bytes).collect(),
        Samples::F64(values) => values.into_iter().flat_map(f64::to_le_bytes).collect(),
    }
}
