//! k-means of a file of raw little-endian f32 values, for side-by-side timing with other programs:
//! `kmeans_values FILE DIM K RESTARTS SEED LABELS_OUT` prints seconds, inertia and iterations, and writes i32 labels.
#![allow(clippy::print_stdout)]

use std::{env, error::Error, fs, time::Instant};

use invar_cluster::{KMeansConfig, NumClusters, Rows, kmeans};
use invar_dataset::NoProgress;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, dim, k, restarts, seed, out] = arguments.as_slice() else {
        return Err("usage: kmeans_values FILE DIM K RESTARTS SEED LABELS_OUT".into());
    };
    let values: Vec<f32> =
        fs::read(file)?.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("4 bytes"))).collect();
    let rows = Rows::new(&values, dim.parse()?)?;
    let config = KMeansConfig {
        k: NumClusters::Fixed(k.parse()?),
        restarts: restarts.parse()?,
        seed: seed.parse()?,
        ..Default::default()
    };
    let start = Instant::now();
    let found = kmeans(rows, &config, &NoProgress)?;
    println!("{} {} {}", start.elapsed().as_secs_f64(), found.inertia, found.iterations);
    fs::write(out, found.labels.iter().flat_map(|label| label.to_le_bytes()).collect::<Vec<u8>>())?;
    Ok(())
}
