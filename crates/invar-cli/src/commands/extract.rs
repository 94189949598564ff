//! `invar extract`: the content of each cluster in its original form, for other programs.

mod micrographs;
mod reads;

use anyhow::Result;
use invar_dataset::{manifest::Manifest, path};
use invar_embeddings::ClusterTable;
use serde_json::{Value, json};

use super::listed::Listed;
use crate::{
    cli::{Common, Extract},
    exit::{BadInput, Usage},
    ui::{Summary, Ui},
};

/// The output directories with samples by cluster.
const EXTRACTED: Listed = Listed { command: "invar extract", list: "extracted.json" };

/// What was written.
struct Extracted {
    text: String,
    json: Value,
}

/// `invar extract`
pub fn run(args: &Extract, common: &Common, ui: &Ui) -> Result<Summary> {
    let out = EXTRACTED.hold(&args.out, common)?;
    let table = ClusterTable::read(&args.of.clusters)?;
    check_clusters(&table, args)?;
    let domain = domain(args)?;
    let Extracted { text, mut json } = out.write(|out| match domain.as_str() {
        "reads" => reads::write(&table, args, out, ui),
        "micrographs" => micrographs::write(args, out, ui),
        "contigs" => Err(Usage(format!("{}: contigs are written by `invar bins`", args.of.data[0].display())).into()),
        other => Err(BadInput(format!("{}: is of {other}, which is not extracted", args.of.data[0].display())).into()),
    })?;
    json["out"] = json!(path::text(&args.out));
    Ok(Summary { text: format!("{}: {text}", args.out.display()), json })
}

/// The domain of all of the data.
fn domain(args: &Extract) -> Result<String> {
    let mut known: Option<String> = None;
    for directory in &args.of.data {
        let domain = Manifest::read(directory)?.domain;
        if let Some(first) = known.replace(domain.clone()).filter(|first| *first != domain) {
            let (directory, before) = (directory.display(), args.of.data[0].display());
            return Err(BadInput(format!("{directory}: is of {domain}, and {before} of {first}")).into());
        }
    }
    Ok(known.unwrap_or_default())
}

/// Checks that the requested clusters exist.
fn check_clusters(table: &ClusterTable, args: &Extract) -> Result<()> {
    let num = table.clusters.iter().max().map_or(0, |&most| most + 1);
    match args.cluster.iter().find(|&&cluster| !(-1..num).contains(&cluster)) {
        Some(cluster) => {
            let there = if num > 0 { format!("0 to {}", num - 1) } else { "none".into() };
            let reason = format!("--cluster {cluster}: the clusters of {} are {there}", args.of.clusters.display());
            Err(Usage(reason).into())
        }
        None => Ok(()),
    }
}
