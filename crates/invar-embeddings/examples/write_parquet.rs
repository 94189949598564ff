//! How long Invar and polars take to write the same embeddings: `write_parquet DIR [ROWS [DIM]]`.
//!
//! Prints one line for each, the best of three runs, in seconds of wall time, and its ratio to polars' writer with the
//! same compression and row groups.
#![allow(clippy::print_stdout)]

use std::{error::Error, fs, fs::File, path::Path, time::Instant};

use invar_dataset::{Column, ColumnData};
use invar_embeddings::{EmbeddingWriter, Precision, Provenance};
use polars::{
    datatypes::ReshapeDimension,
    prelude::{self as pl, IntoColumn, NamedFrom, NamedFromOwned},
};
use polars_io::prelude::{ParquetCompression, ParquetWriter};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const RUNS: usize = 3;
/// Rows passed at once, as in `invar embed`.
const BATCH: usize = 1024;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize, default| arguments.get(at).map_or(Ok(default), |text| text.parse::<usize>());
    let (rows, dim) = (number(2, 1_000_000)?, number(3, 128)?);
    let dir = Path::new(arguments.get(1).ok_or("a directory for the files")?);
    let values = unit_vectors(rows, dim);
    let polars = best(|| write_with_polars(&dir.join("polars.parquet"), &values, dim))?;
    println!("polars       {polars:.2} s");
    for (name, precision) in
        [("emb", Precision::Single), ("emb.parquet", Precision::Single), ("half.parquet", Precision::Half)]
    {
        let path = dir.join(name);
        let seconds = best(|| {
            if path.is_dir() {
                fs::remove_dir_all(&path)?
            } else {
                drop(fs::remove_file(&path))
            }
            write(&path, &values, dim, precision)
        })?;
        println!("{name:12} {seconds:.2} s, {:.2} times polars", seconds / polars);
    }
    Ok(())
}

/// Directions that do not compress, like those of networks.
fn unit_vectors(rows: usize, dim: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let mut values: Vec<f32> = (0..rows * dim).map(|_| next()).collect();
    for row in values.chunks_exact_mut(dim) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
    }
    values
}

fn best(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let started = Instant::now();
        run()?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn write(path: &Path, values: &[f32], dim: usize, precision: Precision) -> Result<()> {
    let provenance = Provenance { precision, ..Provenance::new("bench", dim) };
    let mut writer = EmbeddingWriter::create(path, provenance)?;
    for (batch, values) in values.chunks(BATCH * dim).enumerate() {
        let rows = batch * BATCH..batch * BATCH + values.len() / dim;
        let ids = rows.clone().map(|row| Some(format!("read_{row:08}"))).collect();
        let keys = rows.map(|row| i64::try_from(row).ok()).collect();
        let columns = [
            Column { name: "id".into(), data: ColumnData::Str(ids) },
            Column { name: "key".into(), data: ColumnData::I64(keys) },
        ];
        writer.write(&columns, values)?;
    }
    writer.finish(&Default::default())?;
    Ok(())
}

fn write_with_polars(path: &Path, values: &[f32], dim: usize) -> Result<()> {
    let rows = values.len() / dim;
    let ids: Vec<String> = (0..rows).map(|row| format!("read_{row:08}")).collect();
    let keys: Vec<i64> = (0..rows as i64).collect();
    let shape = [ReshapeDimension::Infer, ReshapeDimension::new_dimension(dim as u64)];
    let columns = vec![
        pl::Series::new("id".into(), ids).into_column(),
        pl::Series::from_vec("key".into(), keys).into_column(),
        pl::Series::from_vec("embedding".into(), values.to_vec()).reshape_array(&shape)?.into_column(),
    ];
    let mut frame = pl::DataFrame::new(rows, columns)?;
    ParquetWriter::new(File::create(path)?)
        .with_compression(ParquetCompression::Zstd(None))
        .with_row_group_size(Some(65_536))
        .finish(&mut frame)?;
    Ok(())
}
