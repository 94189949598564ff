//! `invar bins`: the contigs of each cluster as a genome to be judged by other programs.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};
use invar_cluster::{
    groups::{figures_of, plain},
    markers::Judged,
};
use invar_contigs::ContigDataset;
use invar_dataset::{Progress, SampleTable, path};
use invar_embeddings::ClusterTable;
use serde_json::json;

use super::{clustered::samples_of_keys, listed::Listed};
use crate::{
    cli::{Bins, Common},
    exit::{BadInput, Interrupted},
    ui::{Summary, Ui, Unit, counted, thousands},
};

/// The output directories with bins.
const BINNED: Listed = Listed { command: "invar bins", list: "bins.json" };
/// Letters in a line of FASTA.
const LINE: usize = 80;
/// Number of bins named in the summary.
const NAMED: usize = 20;

/// A cluster that is large enough.
struct Bin {
    /// Its contigs, in the order of the dataset.
    contigs: Vec<usize>,
    /// The mean probability of its bases.
    purity_estimate: f64,
    bases: u64,
    /// What single-copy markers say, where they were looked for.
    judged: Option<Judged>,
}

/// `invar bins`
pub fn run(args: &Bins, common: &Common, ui: &Ui) -> Result<Summary> {
    let out = BINNED.hold(&args.out, common)?;
    let table = ClusterTable::read(&args.of.clusters)?;
    let dataset = ContigDataset::open(&args.of.data)?;
    let bins = bins(&table, &dataset, args)?;
    out.write(|out| write(&bins, &dataset, out, ui))?;
    let binned: u64 = bins.iter().map(|bin| bin.bases).sum();
    let all: u64 = (0..dataset.len()).map(|index| u64::from(dataset.length_bp(index))).sum();
    let share = 100.0 * binned as f64 / all.max(1) as f64;
    let mut text = format!(
        "{}: {} of {} bp or more, with {share:.1} % of the bases",
        args.out.display(),
        counted(bins.len() as u64, "bin"),
        thousands(args.min_bin_bp)
    );
    for (number, bin) in bins.iter().enumerate().take(NAMED) {
        let contigs = counted(bin.contigs.len() as u64, "contig");
        text += &format!("\n  {}  {:>12} bp in {contigs}", name(number), thousands(bin.bases));
        if let Some(Judged { completeness, contamination }) = bin.judged {
            let (found, twice) = (100.0 * completeness, 100.0 * contamination);
            text += &format!(", {found:.0} % of the markers, {twice:.0} % twice");
        }
    }
    if bins.len() > NAMED {
        text += "\n  ...";
    }
    let listed: Vec<_> = bins
        .iter()
        .enumerate()
        .map(|(number, bin)| {
            json!({
                "bin": name(number), "contigs": bin.contigs.len(), "bases": bin.bases,
                "purity_estimate": bin.purity_estimate,
                "marker_completeness": bin.judged.map(|judged| judged.completeness),
                "marker_contamination": bin.judged.map(|judged| judged.contamination),
            })
        })
        .collect();
    let json = json!({"out": path::text(&args.out), "bins": listed, "binned_bp": binned, "all_bp": all});
    Ok(Summary { text, json })
}

/// What can be done with clusters of contigs.
pub fn next_in_words(clusters: &Path, data: &Path, out: &Path) -> String {
    let (clusters, data, out) = (clusters.display(), data.display(), out.display());
    format!(
        "next: a FASTA for each bin, and a program that judges them by their genes, such as\n  \
         invar bins {clusters} --data {data} --out {out}\n  \
         checkm2 predict --input {out} -x fa --output-directory checkm2"
    )
}

fn name(number: usize) -> String {
    format!("bin_{number:03}")
}

/// The clusters of enough bases, the largest first.
fn bins(table: &ClusterTable, dataset: &ContigDataset, args: &Bins) -> Result<Vec<Bin>> {
    let path = &args.of.clusters;
    let Some(keys) = &table.keys else {
        let reason = "it has no column `key` to find the contigs by: cluster again";
        return Err(BadInput(format!("{}: {reason}", path.display())).into());
    };
    let by_key: HashMap<u64, usize> = (0..dataset.len()).map(|index| (dataset.key(index), index)).collect();
    let name = |index| Ok(dataset.name(index)?.to_owned());
    let contigs = samples_of_keys(&table.ids, keys, &by_key, name, "contig", path)?;
    let num = table.clusters.iter().max().map_or(0, |&most| (most + 1).max(0) as usize);
    let empty = || Bin { contigs: vec![], purity_estimate: 0.0, bases: 0, judged: None };
    let mut bins: Vec<Bin> = (0..num).map(|_| empty()).collect();
    for ((&index, &cluster), &probability) in contigs.iter().zip(&table.clusters).zip(&table.probability) {
        let Ok(cluster) = usize::try_from(cluster) else { continue };
        let length_bp = u64::from(dataset.length_bp(index));
        let bin = &mut bins[cluster];
        bin.contigs.push(index);
        bin.bases += length_bp;
        bin.purity_estimate += f64::from(probability) * length_bp as f64;
    }
    bins.retain(|bin| bin.bases >= args.min_bin_bp && !bin.contigs.is_empty());
    for bin in &mut bins {
        bin.contigs.sort_unstable();
        bin.purity_estimate /= (bin.bases as f64).max(1.0);
    }
    judge(&mut bins, dataset)?;
    bins.sort_by_key(|bin| (std::cmp::Reverse(bin.bases), bin.contigs[0]));
    Ok(bins)
}

/// Asks the single-copy markers of the dataset, if there are any.
fn judge(bins: &mut [Bin], dataset: &ContigDataset) -> Result<()> {
    let mut numbers = HashMap::new();
    let mut of_contigs = Vec::with_capacity(dataset.len());
    for index in 0..dataset.len() {
        let words = dataset.markers(index)?.unwrap_or_default().split_whitespace();
        let next = |word| {
            let next = numbers.len() as u32;
            *numbers.entry(word).or_insert(next)
        };
        of_contigs.push(words.map(next).collect::<Vec<u32>>());
    }
    if !numbers.is_empty() {
        for bin in bins {
            let found = bin.contigs.iter().flat_map(|&index| of_contigs[index].iter().copied());
            bin.judged = Some(Judged::of(found, numbers.len()));
        }
    }
    Ok(())
}

fn write(bins: &[Bin], dataset: &ContigDataset, out: &Path, ui: &Ui) -> Result<()> {
    let bar = ui.bar("bins", Unit::Items);
    bar.set_total(bins.len() as u64);
    let (asked, columns) = (dataset.group_figures(), dataset.columns(0..dataset.len())?);
    let names: String = figures_of(&asked, &columns, &[]).iter().map(|(name, _)| format!("\t{name}")).collect();
    let are_judged = bins.iter().any(|bin| bin.judged.is_some());
    let of_markers = if are_judged { "\tmarker_completeness\tmarker_contamination" } else { "" };
    let mut table = format!("bin\tcontigs{names}\tpurity_estimate{of_markers}\n");
    let mut contig2bin = String::new();
    for (number, bin) in bins.iter().enumerate() {
        if bar.is_cancelled() {
            return Err(Interrupted.into());
        }
        let name = name(number);
        let path = out.join(format!("{name}.fa"));
        write_fasta(&path, bin, dataset).with_context(|| path.display().to_string())?;
        let figures = figures_of(&asked, &columns, &bin.contigs).into_iter();
        let figures: String = figures.map(|(_, value)| format!("\t{}", value.map(plain).unwrap_or_default())).collect();
        let of_markers = bin.judged.map(|judged| {
            let Judged { completeness, contamination } = judged;
            format!("\t{}\t{}", plain(completeness), plain(contamination))
        });
        let purity = plain(bin.purity_estimate);
        table += &format!("{name}\t{}{figures}\t{purity}{}\n", bin.contigs.len(), of_markers.unwrap_or_default());
        for &index in &bin.contigs {
            contig2bin += &format!("{}\t{name}\n", dataset.name(index)?);
        }
        bar.advance(1);
    }
    for (file, text) in [("bins.tsv", table), ("contig2bin.tsv", contig2bin)] {
        let path = out.join(file);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn write_fasta(path: &Path, bin: &Bin, dataset: &ContigDataset) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for &index in &bin.contigs {
        let (name, description) = (dataset.name(index)?, dataset.description(index)?);
        let gap = if description.is_empty() { "" } else { " " };
        writeln!(file, ">{name}{gap}{description}")?;
        for line in dataset.sequence(index)?.to_ascii().chunks(LINE) {
            file.write_all(line)?;
            file.write_all(b"\n")?;
        }
    }
    Ok(file.flush()?)
}
