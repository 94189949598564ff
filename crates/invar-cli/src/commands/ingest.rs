//! `invar ingest`

mod contigs;
mod graphs;
mod image_table;
mod micrographs;
mod segmented;

pub use contigs::{contigs, take_in as ingest_contigs};
pub use graphs::{grain_graph, graph, ingest_tables as ingest_graph};
pub use micrographs::ingest_images as ingest_micrographs;
pub use micrographs::{images, micrographs};

use std::path::Path;

use anyhow::Result;
use invar_dataset::{manifest::Manifest, path, sheet::SAMPLE};
use invar_reads::{IngestConfig, Inputs, Pairing};
use serde_json::json;

use crate::{
    cli::{Common, IngestReads},
    exit::Usage,
    ui::{DONE_BEFORE, Summary, Ui, Unit, counted, thousands},
};

/// `invar ingest reads`
pub fn reads(args: &IngestReads, common: &Common, ui: &Ui) -> Result<Summary> {
    if args.mates && !args.inputs.len().is_multiple_of(2) {
        return Err(Usage(format!("--mates needs R1 R2 (R1 R2 ...), {} files were given", args.inputs.len())).into());
    }
    if args.mates_by_order && !(args.mates || args.interleaved || args.sample_sheet.is_some()) {
        return Err(Usage("--mates-by-order says how mates are found: give --mates or --interleaved too".into()).into());
    }
    let pairing = match (args.mates, args.interleaved) {
        (true, _) => Pairing::Files,
        (_, true) => Pairing::Interleaved,
        _ => Pairing::Flags,
    };
    let inputs = match &args.sample_sheet {
        Some(sheet) => of_sheet(sheet, &args.sample, pairing)?,
        None => Inputs { pairing, ..Inputs::files(&args.inputs) },
    };
    let inputs = Inputs { reference: args.reference.clone(), ..inputs };
    let defaults = IngestConfig::default();
    let config = IngestConfig {
        min_length_bp: args.min_length.unwrap_or(defaults.min_length_bp),
        max_length_bp: args.max_length,
        min_mean_quality: args.min_quality,
        primary_only: !args.all_alignments,
        skip_bad_records: args.skip_bad_records,
        quality_encoding: args.quality_encoding.into(),
        mates_by_order: args.mates_by_order,
        pending_mates_bytes: args.pending_mates_bytes.unwrap_or(defaults.pending_mates_bytes),
        force: common.force,
        ..defaults
    };
    take_in_reads(&inputs, &args.out, &config, ui)
}

/// The files named in a sheet. They are paired as the sheet says, else by `pairing`.
///
/// # Errors
/// All errors in the sheet; also if its files are in pairs but declared to be interleaved.
pub fn of_sheet(sheet: &Path, samples: &[String], pairing: Pairing) -> Result<Inputs> {
    let inputs = Inputs::of_sheet(sheet, samples)?;
    match (inputs.pairing, pairing) {
        (Pairing::Flags, Pairing::Flags | Pairing::Interleaved) => Ok(Inputs { pairing, ..inputs }),
        (_, Pairing::Interleaved) => {
            let both = format!("{}: mates are in `fastq_2`, but also declared to be interleaved", sheet.display());
            Err(Usage(both).into())
        }
        (Pairing::Flags, Pairing::Files) => Err(Usage(format!(
            "{}: mates are declared to be in separate files, but there is no `fastq_2`",
            sheet.display()
        ))
        .into()),
        _ => Ok(inputs),
    }
}

/// Ingests reads into a dataset directory.
///
/// # Errors
/// As the domain.
pub fn take_in_reads(inputs: &Inputs, out: &Path, config: &IngestConfig, ui: &Ui) -> Result<Summary> {
    let summary = {
        let bar = ui.bar("ingest", Unit::Bytes);
        invar_reads::ingest(inputs, out, config, &bar).map_err(|error| of_sample(error, inputs))?
    };
    summary.warnings().into_iter().for_each(|warning| ui.warn(warning));
    warn_of_nothing(&summary.manifest, out, "read", ui);
    Ok(describe(&summary, out))
}

/// The error, and which sample of a sheet it is about.
fn of_sample(error: invar_reads::Error, inputs: &Inputs) -> anyhow::Error {
    let text = error.to_string();
    let is_about = |path: &Path| text.strip_prefix(&*path.to_string_lossy()).is_some_and(|rest| rest.starts_with(':'));
    let mut named = inputs.files.iter().zip(&inputs.columns);
    let sample = named.find(|(file, _)| is_about(file)).and_then(|(_, columns)| columns.get(SAMPLE)?.as_str());
    match sample {
        Some(sample) => anyhow::Error::new(error).context(format!("sample {sample}")),
        None => error.into(),
    }
}

/// Warns of an empty dataset, which is what was requested, but hardly what was meant.
fn warn_of_nothing(manifest: &Manifest, out: &Path, sample: &str, ui: &Ui) {
    if manifest.num_rows() == 0 {
        ui.warn(&format!("{}: no {sample} was kept; the counts show why", out.display()));
    }
}

/// What was kept, and what was dropped and why.
fn describe(summary: &invar_reads::Summary, out: &Path) -> Summary {
    let manifest = &summary.manifest;
    let mut text = format!(
        "{}: {} in {}",
        out.display(),
        counted(manifest.num_rows(), "read"),
        counted(manifest.shards.len() as u64, "shard")
    );
    if summary.already_done {
        text += &format!(", {DONE_BEFORE}");
    }
    for (name, count) in &manifest.counts {
        text += &format!("\n  {name:<20} {:>14}", thousands(*count));
    }
    for skipped in &manifest.skipped {
        text += &format!("\n  left out: {skipped}");
    }
    let json = json!({
        "out": path::text(out), "num_rows": manifest.num_rows(), "counts": manifest.counts, "skipped": manifest.skipped,
        "warnings": summary.warnings(), "done_before": summary.already_done,
    });
    Summary { text, json }
}
