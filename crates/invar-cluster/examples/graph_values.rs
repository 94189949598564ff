//! What is built on the graph of nearest neighbours, from a file of raw little-endian f32 values, for side-by-side
//! timing with other programs: `graph_values FILE DIM OUT STAGE...`, where a stage is `umap`, `leiden` (resolution 1;
//! runs its own search) or `hdbscan` (clusters of at least 50 rows, with 10 samples). For the search, and for each
//! stage, prints a line with name, wall seconds, CPU seconds and remarks; writes `OUT.knn` (u32 rows) and `OUT.STAGE`.
#![allow(clippy::print_stdout)]

use std::{env, error::Error, fs, sync::Mutex, time::Instant};

use invar_cluster::{
    HdbscanConfig, LeidenConfig, ProjectionConfig, Resolution, Rows, hdbscan, leiden,
    neighbors::{self, Metric},
};
use invar_dataset::{NoProgress, Progress};

const K: usize = 15;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, dim, out, stages @ ..] = arguments.as_slice() else {
        return Err("usage: graph_values FILE DIM OUT STAGE...".into());
    };
    let values: Vec<f32> =
        fs::read(file)?.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("4 bytes"))).collect();
    let rows = Rows::new(&values, dim.parse()?)?;
    let clock = Clock::start();
    let near = neighbors::of_all(rows, K, Metric::Cosine, &NoProgress)?;
    clock.stop("neighbors", &format!("recall {:.4}", near.recall));
    fs::write(format!("{out}.knn"), near.indices.iter().flat_map(|row| row.to_le_bytes()).collect::<Vec<u8>>())?;
    for stage in stages {
        let clock = Clock::start();
        let bytes: Vec<u8> = match stage.as_str() {
            "umap" => {
                let (x, y) = ProjectionConfig::default().project(rows, Some(&near), &NoProgress)?;
                clock.stop(stage, "");
                x.iter().zip(&y).flat_map(|(x, y)| [x.to_le_bytes(), y.to_le_bytes()]).flatten().collect()
            }
            "leiden" => {
                let config =
                    LeidenConfig { resolution: Resolution::Fixed(1.0), sample: usize::MAX, ..Default::default() };
                let began = Began(Mutex::new(0.0));
                let found = leiden(rows, None, &config, &began)?;
                let clustering = cpu_seconds() - began.0.into_inner()?;
                clock.stop(stage, &format!("{} communities, {clustering:.1} s without the search", found.num_clusters));
                found.labels.iter().flat_map(|label| label.to_le_bytes()).collect()
            }
            "hdbscan" => {
                let config = HdbscanConfig { min_cluster_size: 50, min_samples: Some(10), ..Default::default() };
                let found = hdbscan(rows, &config, &NoProgress)?;
                clock.stop(stage, &format!("{} clusters", found.num_clusters));
                found.labels.iter().flat_map(|label| label.to_le_bytes()).collect()
            }
            _ => return Err(format!("no stage {stage:?}").into()),
        };
        fs::write(format!("{out}.{stage}"), bytes)?;
    }
    Ok(())
}

/// CPU time at the end of the search for neighbours.
struct Began(Mutex<f64>);

impl Progress for Began {
    fn set_total(&self, _: u64) {}

    fn advance(&self, _: u64) {}

    fn message(&self, text: &str) {
        if text == "clustering" {
            *self.0.lock().expect("no thread panics while it holds this") = cpu_seconds();
        }
    }
}

/// Wall and CPU time.
struct Clock(Instant, f64);

impl Clock {
    fn start() -> Self {
        Self(Instant::now(), cpu_seconds())
    }

    fn stop(&self, name: &str, said: &str) {
        println!("{name}\t{:.2}\t{:.2}\t{said}", self.0.elapsed().as_secs_f64(), cpu_seconds() - self.1);
    }
}

/// CPU time of this process on Linux: fields 14 and 15 of its line, in hundredths of a second.
fn cpu_seconds() -> f64 {
    let line = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = line.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
