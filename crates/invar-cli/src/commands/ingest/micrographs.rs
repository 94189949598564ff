//! `invar ingest micrographs`: the dataset, and the tables of grains and of touching grains beside it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use invar_dataset::{Column, ColumnData, Dataset, SampleTable, manifest::Manifest};
use invar_embeddings::{InputChecksum, Provenance, write_facts};
use invar_micrographs::{
    GRAINS_TABLE, GrainDataset, IngestConfig, Inputs, NEIGHBORS_TABLE, OtsuConfig, Segmentation, WatershedConfig,
};
use serde_json::{Value, json};

use crate::{
    cli::{Common, IngestMicrographs, Segment},
    ui::{Summary, Ui, Unit, thousands},
};

/// Rows of a table that are in memory at once.
const BLOCK_ROWS: usize = 65_536;
/// Images that are listed one by one.
const LISTED_IMAGES: usize = 12;

/// `invar ingest micrographs`
pub fn micrographs(args: &IngestMicrographs, common: &Common, ui: &Ui) -> Result<Summary> {
    let inputs = Inputs { paths: args.inputs.clone(), sheet: args.sample_sheet.clone() };
    let defaults = IngestConfig::default();
    let config = IngestConfig {
        segment: segmentation(args),
        labels: args.labels.clone(),
        classes: args.classes.clone(),
        crop_bottom_px: args.crop_bottom.unwrap_or(defaults.crop_bottom_px),
        detect_banner: !args.no_banner,
        pixel_size_nm: args.pixel_size,
        min_area_px: args.min_area.unwrap_or(defaults.min_area_px),
        skip_bad_images: args.skip_bad_images,
        force: common.force,
        ..defaults
    };
    take_in(&inputs, &args.out, &config, ui)
}

/// Images into a dataset directory, with the tables beside the shards.
///
/// # Errors
/// Those of the domain, and of writing the tables.
pub fn take_in(inputs: &Inputs, out: &Path, config: &IngestConfig, ui: &Ui) -> Result<Summary> {
    let summary = {
        let bar = ui.bar("ingest", Unit::Items);
        invar_micrographs::ingest(inputs, out, config, &bar)?
    };
    let tables = [GRAINS_TABLE, NEIGHBORS_TABLE].map(|name| out.join(name));
    if !(summary.already_done && tables.iter().all(|path| path.is_file())) {
        write_tables(out)?;
    }
    Ok(describe(&summary, out))
}

/// Writes the grains and the neighbours of a dataset directory to Parquet files in it.
///
/// # Errors
/// When the dataset is damaged or the disk is full.
fn write_tables(out: &Path) -> Result<()> {
    let dataset = GrainDataset::open(&[PathBuf::from(out)])?;
    let mut provenance = Provenance::new(env!("CARGO_PKG_VERSION"), 0);
    for (_, manifest) in dataset.manifests() {
        provenance.extra.insert("ingest".into(), manifest.parameters.clone());
        let checksum = |input: &invar_dataset::manifest::Input| InputChecksum {
            path: input.path.clone(),
            sha256: input.sha256.clone(),
        };
        provenance.inputs.extend(manifest.inputs.iter().map(checksum));
    }
    let (mut next, mut is_first) = (0, true);
    write_facts(&out.join(GRAINS_TABLE), &provenance, || -> Result<Option<Vec<Column>>> {
        if next == dataset.len() && !is_first {
            return Ok(None);
        }
        let rows = next..dataset.len().min(next + BLOCK_ROWS);
        (next, is_first) = (rows.end, false);
        Ok(Some(dataset.columns(rows)?))
    })?;
    let mut next = 0;
    write_facts(&out.join(NEIGHBORS_TABLE), &provenance, || -> Result<Option<Vec<Column>>> {
        if next == dataset.num_images() && next > 0 {
            return Ok(None);
        }
        let mut edges = Edges::default();
        while next < dataset.num_images() && edges.image.len() < BLOCK_ROWS {
            edges.add(&dataset, next);
            next += 1;
        }
        // A dataset of no image is one block without rows.
        next = next.max(1).min(dataset.num_images().max(1));
        Ok(Some(edges.columns()))
    })?;
    Ok(())
}

/// One line for each image of a manifest, the first of them, and its warnings.
pub fn images(manifest: &Manifest) -> String {
    let list = |name: &str| manifest.facts.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (images, mut text) = (list("images"), String::new());
    for image in images.iter().take(LISTED_IMAGES) {
        text += &format!(
            "  {}: {} x {} px, {} grains, {} at the border",
            image["image"].as_str().unwrap_or_default(),
            image["width_px"],
            image["height_px"],
            image["grains"],
            image["border_grains"],
        );
        match (image["mean_area_um2"].as_f64(), image["mean_area_px"].as_f64()) {
            (Some(um2), _) => text += &format!(", mean area {um2:.4} um2"),
            (_, Some(px)) => text += &format!(", mean area {px:.1} px"),
            _ => {}
        }
        for (method, size) in image["grain_size"].as_object().into_iter().flatten() {
            text += &grain_size(method, size);
        }
        if let Some(banner) = image["banner"].as_str() {
            text += &format!("\n    {} rows cut off: {banner}", image["crop_bottom_px"]);
        }
        text += "\n";
    }
    if images.len() > LISTED_IMAGES {
        text += &format!("  and {} images more (manifest.json has them all)\n", images.len() - LISTED_IMAGES);
    }
    for warning in list("warnings") {
        text += &format!("  note: {}\n", warning.as_str().unwrap_or_default());
    }
    text
}

/// `, G 8.21 [8.05, 8.37] by intercept (E112)`
fn grain_size(method: &str, size: &Value) -> String {
    let Some(number) = size["number"].as_f64() else { return String::new() };
    let interval = match (size["number_low"].as_f64(), size["number_high"].as_f64()) {
        (Some(low), Some(high)) => format!(" [{low:.2}, {high:.2}]"),
        _ => String::new(),
    };
    format!(", E112 {method} G {number:.2}{interval}")
}

fn segmentation(args: &IngestMicrographs) -> Segmentation {
    if args.labels.is_some() {
        return Segmentation::Labels {};
    }
    if args.whole_image {
        return Segmentation::WholeImage {};
    }
    match (args.tiles, args.segment) {
        (Some(size_px), _) => Segmentation::Tiles { size_px, overlap_px: args.overlap.unwrap_or(0) },
        (None, Segment::Watershed) => Segmentation::Watershed(WatershedConfig::default()),
        (None, Segment::Otsu) => Segmentation::Otsu(OtsuConfig::default()),
    }
}

fn describe(summary: &invar_micrographs::Summary, out: &Path) -> Summary {
    let manifest = &summary.manifest;
    let counts = &manifest.counts;
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    let mut text = format!(
        "{}: {} grains on {} images\n",
        out.display(),
        thousands(manifest.num_rows()),
        thousands(count("images"))
    );
    for (name, count) in counts {
        text += &format!("  {name:<26} {:>14}\n", thousands(*count));
    }
    text += &images(manifest);
    for skipped in &manifest.skipped {
        text += &format!("  left out: {skipped}\n");
    }
    let json = json!({
        "out": out, "num_rows": manifest.num_rows(), "counts": counts, "skipped": manifest.skipped,
        "images": manifest.facts.get("images"), "warnings": manifest.facts.get("warnings"),
        "done_before": summary.already_done,
    });
    Summary { text, json }
}

/// The edge list of touching grains.
#[derive(Default)]
struct Edges {
    image: Vec<Option<String>>,
    a: Vec<Option<u32>>,
    b: Vec<Option<u32>>,
    boundary_px: Vec<Option<i64>>,
    boundary_um: Vec<Option<f64>>,
}

impl Edges {
    fn add(&mut self, dataset: &GrainDataset, index: usize) {
        let image = dataset.image(index);
        for edge in image.neighbors() {
            self.image.push(Some(image.name.clone()));
            self.a.push(Some(edge.a));
            self.b.push(Some(edge.b));
            self.boundary_px.push(i64::try_from(edge.boundary_px).ok());
            self.boundary_um.push(image.pixel_um().map(|um| edge.boundary_px as f64 * um));
        }
    }

    fn columns(self) -> Vec<Column> {
        let columns = [
            ("image", ColumnData::Str(self.image)),
            ("a", ColumnData::U32(self.a)),
            ("b", ColumnData::U32(self.b)),
            ("boundary_px", ColumnData::I64(self.boundary_px)),
            ("boundary_um", ColumnData::F64(self.boundary_um)),
        ];
        columns.into_iter().map(|(name, data)| Column { name: name.into(), data }).collect()
    }
}
