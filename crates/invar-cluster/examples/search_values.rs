//! Search among many rows, from files of raw little-endian f32 values, for side-by-side timing with other programs:
//! `search_values BASE QUERIES DIM OUT`. Prints lines with name, wall seconds, CPU seconds and remarks: for building
//! the index, writing and reading it, all queries by cells, some queries exactly, and one exactly. Writes `OUT.near`
//! (the ten nearest of each query, u32 rows).
#![allow(clippy::print_stdout)]

use std::{env, error::Error, fs, path::Path, time::Instant};

use invar_cluster::{
    Rows,
    neighbors::{Index, Request},
};
use invar_dataset::NoProgress;

const K: usize = 10;
const EXACT_QUERIES: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [base, queries, dim, out] = arguments.as_slice() else {
        return Err("usage: search_values BASE QUERIES DIM OUT".into());
    };
    let dim: usize = dim.parse()?;
    let queries = read(queries.as_ref())?;
    let clock = Clock::start();
    let made = Index::build(read(base.as_ref())?, dim, &NoProgress)?;
    let said: Vec<String> =
        made.depths().iter().map(|d| format!("{} cells for {} neighbours ({:.4})", d.probes, d.k, d.recall)).collect();
    clock.stop("build", &format!("{} cells, to look into {}", made.num_cells(), said.join(", ")));
    let stored = format!("{out}.index");
    let clock = Clock::start();
    let mut bytes = std::io::BufWriter::new(fs::File::create(&stored)?);
    made.write("", &mut bytes)?;
    drop((bytes, made));
    clock.stop("write", &format!("{} bytes", fs::metadata(&stored)?.len()));
    let clock = Clock::start();
    let (index, _) = Index::read(&mut fs::File::open(&stored)?, fs::metadata(&stored)?.len())?;
    clock.stop("read", "");
    let ask = |name: &str, queries: &[f32], exact: bool| -> Result<Vec<u32>, Box<dyn Error>> {
        let clock = Clock::start();
        let found = index.search(Rows::new(queries, dim)?, &Request { k: K, own: &[], exact }, &NoProgress)?;
        let rate = (queries.len() / dim) as f64 / clock.0.elapsed().as_secs_f64();
        clock.stop(name, &format!("{} queries, {rate:.0} a second", queries.len() / dim));
        Ok(found.indices)
    };
    let found = ask("cells", &queries, false)?;
    ask("exact", &queries[..queries.len().min(EXACT_QUERIES * dim)], true)?;
    ask("exact one", &queries[..dim], true)?;
    fs::write(format!("{out}.near"), found.iter().flat_map(|row| row.to_le_bytes()).collect::<Vec<u8>>())?;
    Ok(())
}

fn read(path: &Path) -> Result<Vec<f32>, Box<dyn Error>> {
    let bytes = fs::read(path)?;
    Ok(bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("4 bytes"))).collect())
}

/// Wall and CPU time.
struct Clock(Instant, f64);

impl Clock {
    fn start() -> Self {
        Self(Instant::now(), cpu_seconds())
    }

    fn stop(&self, name: &str, said: &str) {
        println!("{name}\t{:.3}\t{:.2}\t{said}", self.0.elapsed().as_secs_f64(), cpu_seconds() - self.1);
    }
}

/// CPU time of this process on Linux: fields 14 and 15 of its line, in hundredths of a second.
fn cpu_seconds() -> f64 {
    let line = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = line.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
