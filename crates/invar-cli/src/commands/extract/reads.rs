//! The reads of each cluster in a separate file, in their original form.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use anyhow::Result;
use invar_dataset::manifest::Manifest;
use invar_embeddings::ClusterTable;
use invar_reads::{BgzfFiles, ReadDataset, Reads, originals};
use serde_json::json;

use super::Extracted;
use crate::{
    cli::Extract,
    commands::clustered::samples_of_keys,
    exit::BadInput,
    ui::{Ui, Unit, counted, thousands},
};

/// Number of files named in the summary.
const NAMED: usize = 20;

/// Writes all files into `out`.
pub fn write(table: &ClusterTable, args: &Extract, out: &Path, ui: &Ui) -> Result<Extracted> {
    let reads = Clusters::open(table, args)?;
    let files = write_files(&reads, args, out, ui)?;
    let num_reads: u64 = files.values().sum();
    let mut text = format!(
        "{} of {} in {}, as they came",
        counted(num_reads, "read"),
        thousands(reads.clusters.len() as u64),
        counted(files.len() as u64, "file"),
    );
    for (name, reads) in files.iter().take(NAMED) {
        text += &format!("\n  {name}  {}", counted(*reads, "read"));
    }
    if files.len() > NAMED {
        text += "\n  ...";
    }
    let num_others = reads.clusters.iter().filter(|cluster| cluster.is_none()).count() as u64;
    if num_others > 0 {
        text += &format!("\n  {} reads of the data are not in {}", thousands(num_others), args.of.clusters.display());
    }
    let listed: Vec<_> = files.iter().map(|(name, reads)| json!({"file": name, "reads": reads})).collect();
    let json = json!({"num_reads": num_reads, "files": listed, "num_not_clustered": num_others});
    Ok(Extracted { text, json })
}

/// The reads of the dataset directories, and the cluster of each: `None` if it was not clustered.
struct Clusters {
    dataset: ReadDataset,
    clusters: Vec<Option<i32>>,
    /// The directories and the index of their first read.
    directories: Vec<(PathBuf, usize)>,
}

impl Clusters {
    /// Opens them.
    ///
    /// # Errors
    /// If a row of the table does not name one of their reads.
    fn open(table: &ClusterTable, args: &Extract) -> Result<Self> {
        let mut directories = vec![];
        let mut first = 0;
        for directory in &args.of.data {
            directories.push((directory.clone(), first));
            first += usize::try_from(Manifest::read(directory)?.num_rows())?;
        }
        let dataset = ReadDataset::open(&args.of.data)?;
        let Some(keys) = &table.keys else {
            let reason =
                format!("{}: it has no column `key` to find the reads by: cluster again", args.of.clusters.display());
            return Err(BadInput(reason).into());
        };
        let by_key: HashMap<u64, usize> = (0..Reads::len(&dataset)).map(|read| (dataset.key(read), read)).collect();
        let name = |read| Ok(dataset.name(read)?.to_owned());
        let rows = samples_of_keys(&table.ids, keys, &by_key, name, "read", &args.of.clusters)?;
        let mut clusters = vec![None; Reads::len(&dataset)];
        rows.into_iter().zip(&table.clusters).for_each(|(row, &cluster)| clusters[row] = Some(cluster));
        Ok(Self { dataset, clusters, directories })
    }

    /// Name of the file for a read, without the format; `None` if it goes into none.
    fn stem(&self, read: usize, wanted: &[i32]) -> Option<String> {
        let cluster = self.clusters[read].filter(|cluster| wanted.is_empty() || wanted.contains(cluster))?;
        let group = if cluster < 0 { "ungrouped".into() } else { format!("group_{cluster:03}") };
        Some(match self.dataset.mate_of(read) {
            None => group,
            Some(mate) if self.clusters[mate] != Some(cluster) => format!("{group}_unpaired"),
            // Mates are neighbours, R1 first.
            Some(mate) => format!("{group}_{}", if read < mate { 1 } else { 2 }),
        })
    }
}

/// Writes all files; returns the number of reads in each.
fn write_files(reads: &Clusters, args: &Extract, out: &Path, ui: &Ui) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    let mut files = BgzfFiles::new(out);
    for (directory, first) in &reads.directories {
        let bar = ui.bar("extract", Unit::Bytes);
        originals(directory, out, &bar, |read, record| {
            if let Some(stem) = reads.stem(first + read, &args.cluster) {
                let format = if record.first() == Some(&b'@') { "fastq" } else { "fasta" };
                let name = format!("{stem}.{format}.gz");
                files.push(&name, record)?;
                *counts.entry(name).or_insert(0) += 1;
            }
            Ok(())
        })?;
    }
    files.finish()?;
    Ok(counts)
}
