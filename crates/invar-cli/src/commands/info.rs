//! `invar info`

use std::path::Path;

use anyhow::{Context, Result};
use invar_dataset::{manifest::Manifest, path::text as path_text};
use invar_micrographs::{DatasetFacts, ImageFile, Note, PageInfo};
use invar_reads::{KeptOverlaps, OverlapsConfig, ReadDataset};
use serde_json::{Value, json};

use crate::{
    cli::Info,
    commands::{
        evaluate::{COSINE_OF, MOVED, NUM_PROBED},
        federate, search,
    },
    ui::{Significant, Summary, Ui, counted, thousands},
};

/// `invar info`
pub fn run(args: &Info, ui: &Ui) -> Result<Summary> {
    let path = args.path.as_path();
    if Manifest::exists(path) {
        return dataset(path, args.verify, ui);
    }
    if let Some(index) = search::info(path, args.verify)? {
        return Ok(index);
    }
    if let Some(federated) = federate::info(path)? {
        return Ok(federated);
    }
    if path.is_dir() || is_parquet(path)? {
        return parquet(path);
    }
    // A file that is not an image may still be reads; a bad image is reported as an image.
    match invar_micrographs::open(path) {
        Ok(file) => return Ok(image(path, &file)),
        Err(invar_micrographs::Error::NotAnImage { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let format = invar_reads::identify(path)?;
    Ok(Summary {
        text: format!("{}: {format}", path.display()),
        json: json!({"path": path_text(path), "kind": format.to_string()}),
    })
}

fn dataset(path: &Path, verify: bool, ui: &Ui) -> Result<Summary> {
    let manifest = Manifest::read(path)?;
    if verify {
        ui.detail("reading every file");
        manifest.verify(path)?;
    }
    let mut text = format!(
        "{}: a dataset of {}, {} in {}, written by invar {}\n",
        path.display(),
        manifest.domain,
        counted(manifest.num_rows(), "sample"),
        counted(manifest.shards.len() as u64, "shard"),
        manifest.tool_version
    );
    for input in &manifest.inputs {
        text += &format!(
            "  from {} ({} bytes, SHA-256 {}...)\n",
            input.path,
            thousands(input.size_bytes),
            &input.sha256[..12.min(input.sha256.len())]
        );
    }
    for (name, count) in &manifest.counts {
        text += &format!("  {name:<20} {:>14}\n", thousands(*count));
    }
    for warning in manifest.facts.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        text += &format!("  warning: {}\n", warning.as_str().unwrap_or_default());
    }
    text += &super::ingest::images(&DatasetFacts::of(path, &manifest)?);
    let has_overlaps = verify && has_overlaps(path, &manifest)?;
    if has_overlaps {
        text += "  with the overlaps of its reads\n";
    }
    text += if verify { "  whole: every checksum is right" } else { "  finished (--verify reads every checksum)" };
    let num_without = manifest.files.iter().filter(|other| other.digest.is_none()).count() as u64;
    if verify && num_without > 0 {
        let without = counted(num_without, "file");
        text += &format!(", but {without} of a manifest of before they were taken of all: ingest again to have them");
    }
    let mut json = serde_json::to_value(&manifest)?;
    json["kind"] = Value::from("dataset");
    json["verified"] = Value::from(verify);
    if verify {
        json["has_overlaps"] = Value::from(has_overlaps);
    }
    Ok(Summary { text, json })
}

/// Whether overlaps of the reads as they are now are stored with them, intact.
fn has_overlaps(path: &Path, manifest: &Manifest) -> Result<bool> {
    if manifest.domain != invar_reads::DOMAIN {
        return Ok(false);
    }
    let reads = ReadDataset::open(&[path.to_owned()])?;
    let overlaps = KeptOverlaps::of(&reads, &OverlapsConfig::default());
    overlaps.verify()?;
    Ok(overlaps.read()?.is_some())
}

/// Pages, number type and pixel size of an image file.
fn image(path: &Path, file: &ImageFile) -> Summary {
    let pages = file.pages();
    let mut text = format!("{}: {}, {}", path.display(), file.format().name(), counted(pages.len() as u64, "page"));
    for (number, page) in pages.iter().enumerate().take(LISTED_PAGES) {
        let kind = page.sample_type.name();
        text += &format!("\n  {:>4}  {} x {} px, {} x {kind}", number + 1, page.width, page.height, page.channels);
        text += &match page.pixel_size {
            Some(size) if size.x_nm == size.y_nm => format!(", a pixel is {} nm ({})", size.x_nm, size.source.name()),
            Some(size) => format!(", a pixel is {} x {} nm ({})", size.x_nm, size.y_nm, size.source.name()),
            None => ", pixel size unknown".into(),
        };
        text += &page.name.as_ref().map_or(String::new(), |name| format!(", {name:?}"));
        for note in &page.notes {
            text += &format!("\n        {note}");
        }
    }
    if pages.len() > LISTED_PAGES {
        text += &format!("\n  and {} more", pages.len() - LISTED_PAGES);
    }
    for left_out in file.left_out().iter().take(LISTED_PAGES) {
        text += &format!("\n  {left_out}");
    }
    for note in file.notes() {
        text += &format!("\n  {note}");
    }
    let page = |page: &PageInfo| {
        json!({
            "name": page.name, "width": page.width, "height": page.height, "channels": page.channels,
            "sample_type": page.sample_type, "pixel_size": page.pixel_size, "is_lossy": page.is_lossy,
            "orientation": page.orientation, "notes": sentences(&page.notes),
        })
    };
    let pages: Vec<Value> = pages.iter().map(page).collect();
    let json = json!({
        "path": path_text(path), "kind": file.format().name(), "pages": pages, "left_out": file.left_out(),
        "notes": sentences(file.notes()),
    });
    Summary { text, json }
}

fn sentences(notes: &[Note]) -> Vec<String> {
    notes.iter().map(Note::to_string).collect()
}

/// Maximum number of pages that are printed.
const LISTED_PAGES: usize = 12;

fn parquet(path: &Path) -> Result<Summary> {
    let info = invar_embeddings::info(path)?;
    let kind = format!("{:?}", info.kind).to_lowercase();
    let mut text = format!(
        "{}: {kind}, {} in {}, {} bytes, whole\n",
        path.display(),
        counted(info.num_rows as u64, "row"),
        counted(info.num_parts as u64, "Parquet file"),
        thousands(info.size_bytes)
    );
    if let Some(provenance) = &info.provenance {
        text += &format!("  written by invar {}", provenance.tool_version);
        if let Some(sha256) = &provenance.model_sha256 {
            text += &format!(", model {}...", &sha256[..12.min(sha256.len())]);
        }
        if let Some(seed) = provenance.seed {
            text += &format!(", seed {seed}");
        }
        text += "\n";
        for input in &provenance.inputs {
            text += &format!("  from {}\n", input.path);
        }
        for (name, value) in provenance.invariance.iter().filter(|(name, _)| !name.starts_with(COSINE_OF)) {
            let value = if name == NUM_PROBED { thousands(*value as u64) } else { Significant(*value).to_string() };
            text += &format!("  {:<24} {value:>12}\n", name.replace('_', " "));
        }
        if provenance.extra.contains_key(MOVED) {
            text += "  every sample was moved by a random symmetry first\n";
        }
    }
    let columns: Vec<String> = info.columns.iter().map(|c| format!("{} {}", c.name, c.data_type)).collect();
    text += &format!("  columns: {}", columns.join(", "));
    let json = json!({
        "kind": kind, "num_rows": info.num_rows, "num_parts": info.num_parts, "size_bytes": info.size_bytes, "dim": info.dim,
        "columns": info.columns.iter().map(|c| json!({"name": c.name, "type": c.data_type})).collect::<Vec<_>>(),
        "provenance": info.provenance, "whole": true,
    });
    Ok(Summary { text, json })
}

/// Whether a file begins like Parquet.
///
/// # Errors
/// If it cannot be opened.
pub fn is_parquet(path: &Path) -> Result<bool> {
    use std::io::Read;
    let mut magic = [0; 4];
    let mut file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    Ok(file.read_exact(&mut magic).is_ok() && &magic == b"PAR1")
}
