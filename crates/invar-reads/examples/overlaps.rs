//! Measures the quality of the overlaps of simulated reads:
//! `cargo run --release -p invar-reads --example overlaps -- READS.fastq.gz [TRUTH.tsv]`.
//!
//! The truth has one line per read: id, species, genome, sequence, start, end, strand (as written by
//! `benches/quality/make_mixture.py`). An overlap is wrong if it is between two species, and misplaced if it is between
//! two reads of one genome that do not touch in it.
#![allow(clippy::print_stdout)]

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use invar_dataset::NoProgress;
use invar_reads::{IngestConfig, Inputs, Overlaps, OverlapsConfig, ReadDataset, Reads, ingest};

/// Maximum distance in bases at which reads still count as overlapping: insertions and deletions move their ends.
const SLACK_BP: i64 = 300;

/// Minimum number of reads of a component that is listed.
const LARGE: usize = 50;

#[derive(Clone, Default)]
struct Truth {
    species: String,
    genome: String,
    sequence: String,
    start: i64,
    end: i64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [fastq, rest @ ..] = arguments.as_slice() else {
        return Err("give a FASTQ file, and a TSV of the truth".into());
    };
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    ingest(&Inputs::files([fastq]), &data, &IngestConfig::default(), &NoProgress)?;
    let reads = ReadDataset::open(&[data])?;
    let (started, cpu) = (Instant::now(), cpu_s());
    let overlaps = Overlaps::find(&reads, &OverlapsConfig::default())?;
    println!(
        "{} reads: {:.2} s, {:.2} s of CPU; error rate {:.3}; {} reads in {} components; peak {} MB",
        reads.len(),
        started.elapsed().as_secs_f64(),
        cpu_s() - cpu,
        overlaps.error_rate().unwrap_or(f64::NAN),
        overlaps.num_joined(),
        overlaps.num_components(),
        peak_mb(),
    );
    let sizes: Vec<usize> = (0..overlaps.num_components().min(12) as u32).map(|c| overlaps.members(c).len()).collect();
    println!("largest {sizes:?}");
    let mut depths: Vec<f32> = (0..reads.len()).map(|read| overlaps.depth(read)).collect();
    depths.sort_unstable_by(f32::total_cmp);
    println!("depth: median {:.1}, 90 % below {:.1}", depths[depths.len() / 2], depths[depths.len() * 9 / 10]);
    match rest {
        [truth, ..] => score(&reads, &overlaps, truth),
        [] => Ok(()),
    }
}

fn score(reads: &ReadDataset, overlaps: &Overlaps, path: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut of_name = HashMap::new();
    for line in std::fs::read_to_string(path)?.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, species, genome, sequence, start, end, ..] = fields.as_slice() else { return Err(line.into()) };
        let (start, end) = (start.parse()?, end.parse()?);
        let texts = [*species, *genome, *sequence].map(str::to_owned);
        let [species, genome, sequence] = texts;
        of_name.insert((*name).to_owned(), Truth { species, genome, sequence, start, end });
    }
    let truth: Vec<Truth> = (0..reads.len())
        .map(|read| Ok(of_name.get(reads.name(read)?).cloned().unwrap_or_default()))
        .collect::<Result<_, invar_dataset::DatasetError>>()?;
    let (mut kept, mut wrong, mut misplaced) = (0, 0, 0);
    let mut between: BTreeMap<(String, String), usize> = BTreeMap::new();
    for read in 0..reads.len() {
        for &other in overlaps.neighbours(read) {
            let (a, b) = (&truth[read], &truth[other as usize]);
            kept += 1;
            if a.species != b.species {
                wrong += 1;
                let (a, b) = (a.species.clone(), b.species.clone());
                *between.entry(if a < b { (a, b) } else { (b, a) }).or_default() += 1;
            } else if a.genome == b.genome
                && (a.sequence != b.sequence || a.start.max(b.start) > a.end.min(b.end) + SLACK_BP)
            {
                misplaced += 1;
            }
        }
    }
    println!("{} overlaps, {} between species, {} misplaced", kept / 2, wrong / 2, misplaced / 2);
    for ((a, b), number) in between {
        println!("  {a} and {b}: {}", number / 2);
    }
    let mut pure = 0;
    let mut largest: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for component in 0..overlaps.num_components() as u32 {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for &read in overlaps.members(component) {
            *counts.entry(&truth[read as usize].species).or_default() += 1;
        }
        let (species, most) = counts.iter().max_by_key(|(_, count)| **count).map_or(("", 0), |(s, c)| (*s, *c));
        pure += most;
        largest.entry(species).or_default().push(overlaps.members(component).len());
    }
    println!("purity of components {:.5}", pure as f64 / overlaps.num_joined().max(1) as f64);
    let species_of = |component: u32| {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for &read in overlaps.members(component) {
            *counts.entry(&truth[read as usize].species).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map_or("", |(species, _)| species)
    };
    let (mut probable, mut right) = (0, 0);
    for component in (0..overlaps.num_components() as u32).filter(|&c| overlaps.probable_genome(c) != c) {
        let genome = species_of(overlaps.probable_genome(component));
        let members = overlaps.members(component);
        probable += members.len();
        right += members.iter().filter(|&&read| truth[read as usize].species == genome).count();
    }
    println!("{probable} reads of components that probably belong to the genome of another, {right} rightly");
    let large = (0..overlaps.num_components() as u32).take_while(|&c| overlaps.members(c).len() >= LARGE);
    for component in large {
        let mut genomes: BTreeMap<&str, usize> = BTreeMap::new();
        for &read in overlaps.members(component) {
            *genomes.entry(&truth[read as usize].genome).or_default() += 1;
        }
        let (genome, homologs) = (overlaps.probable_genome(component), overlaps.homologs(component));
        println!("  component {component} of genome {genome}, beside {homologs:?}: {genomes:?}");
    }
    let mut totals: BTreeMap<&str, (usize, f64, f64)> = BTreeMap::new();
    for (read, place) in truth.iter().enumerate() {
        let total = totals.entry(&place.species).or_default();
        total.0 += 1;
        total.1 += f64::from(overlaps.depth(read));
        total.2 += (place.end - place.start + 1) as f64;
    }
    for (species, (number, depth, bases)) in totals {
        let sizes = largest.remove(species).unwrap_or_default();
        println!(
            "  {species}: {number} reads, {bases} bases, mean depth {:.1}, {} components: {:?}",
            depth / number as f64,
            sizes.len(),
            &sizes[..sizes.len().min(5)],
        );
    }
    Ok(())
}

/// Seconds of CPU time used by this process.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks =
        |field: usize| after_name.split_whitespace().nth(field).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}
