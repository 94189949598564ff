//! `invar ingest contigs`

use std::path::Path;

use anyhow::Result;
use invar_contigs::{DepthConfig, IngestConfig, Inputs};
use invar_dataset::path;
use serde_json::json;

use super::warn_of_nothing;
use crate::{
    cli::{Common, IngestContigs},
    exit::Usage,
    ui::{DONE_BEFORE, Summary, Ui, Unit, counted, thousands},
};

/// `invar ingest contigs`
pub fn contigs(args: &IngestContigs, common: &Common, ui: &Ui) -> Result<Summary> {
    let defaults = DepthConfig::default();
    let min_identity = args.min_identity.unwrap_or(defaults.min_identity);
    if !(0.0..=1.0).contains(&min_identity) {
        return Err(Usage(format!("--min-identity {min_identity}: a share is between 0 and 1")).into());
    }
    let depth = DepthConfig {
        min_identity,
        min_mapping_quality: args.min_mapping_quality.unwrap_or(defaults.min_mapping_quality),
        ..defaults
    };
    let defaults = IngestConfig::default();
    let min_length_bp = args.min_length.unwrap_or(defaults.min_length_bp);
    let config = IngestConfig { min_length_bp, depth, force: common.force };
    let inputs = Inputs {
        fasta: args.fasta.clone(),
        alignments: args.bam.clone(),
        tables: args.depth.clone(),
        graph: args.gfa.clone(),
        paths: args.paths.clone(),
        markers: args.markers.clone(),
    };
    take_in(&inputs, &args.out, &config, ui)
}

/// Ingests contigs into a dataset directory.
///
/// # Errors
/// As the domain.
pub fn take_in(inputs: &Inputs, out: &Path, config: &IngestConfig, ui: &Ui) -> Result<Summary> {
    let summary = {
        let bar = ui.bar("ingest", Unit::Bytes);
        invar_contigs::ingest(inputs, out, config, &bar)?
    };
    summary.warnings().into_iter().for_each(|warning| ui.warn(warning));
    let manifest = &summary.manifest;
    warn_of_nothing(manifest, out, "contig", ui);
    let samples = manifest.counts.get("samples").copied().unwrap_or(0);
    let (contigs, samples) = (counted(manifest.num_rows(), "contig"), counted(samples, "sample"));
    let mut text = format!("{}: {contigs}, depth in {samples}", out.display());
    if summary.already_done {
        text += &format!(", {DONE_BEFORE}");
    }
    for (name, count) in &manifest.counts {
        text += &format!("\n  {name:<20} {:>14}", thousands(*count));
    }
    let json = json!({
        "out": path::text(out), "num_rows": manifest.num_rows(), "counts": manifest.counts,
        "warnings": summary.warnings(), "done_before": summary.already_done,
    });
    Ok(Summary { text, json })
}
