//! `invar ingest micrographs`: the dataset, and the tables of grains and of touching grains in it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use invar_dataset::{Column, Dataset, SampleTable, path, sheet::SheetColumns};
use invar_embeddings::{InputChecksum, Provenance, write_facts};
use invar_micrographs::{
    DatasetFacts, GRAINS_TABLE, GrainDataset, GrainLandscape, GrainSize, GrainSizes, GrainsConfig, IMAGES_TABLE,
    ImageFacts, IngestConfig, Inputs, MaskKind, NEIGHBORS_TABLE, OtsuConfig, Polarity, Segmentation, StoredImage,
    WatershedConfig,
};
use serde_json::json;

use super::{image_table, segmented};
use crate::{
    cli::{self, Common, IngestMicrographs, Segment},
    exit::Usage,
    ui::{DONE_BEFORE, Summary, Ui, Unit, counted, thousands},
};

/// Rows of a table in memory at a time.
const BLOCK_ROWS: usize = 65_536;
/// Maximum number of images that are listed individually.
const LISTED_IMAGES: usize = 12;

/// `invar ingest micrographs`
pub fn micrographs(args: &IngestMicrographs, common: &Common, ui: &Ui) -> Result<Summary> {
    let inputs = Inputs { paths: args.inputs.clone(), sheet: args.sample_sheet.clone(), samples: args.sample.clone() };
    let defaults = IngestConfig::default();
    let config = IngestConfig {
        segment: segmentation(args)?,
        labels: args.labels.clone(),
        mask_kind: mask_kind(args.mask_kind),
        mask_background: args.mask_background.clone(),
        classes: args.classes.clone(),
        crop_bottom_px: args.crop_bottom.unwrap_or(defaults.crop_bottom_px),
        detect_banner: !args.no_banner,
        pixel_size_nm: args.pixel_size,
        min_area_px: args.min_area.unwrap_or(defaults.min_area_px),
        segmented_pictures: args.pictures,
        skip_bad_images: args.skip_bad_images,
        force: common.force,
        ..defaults
    };
    ingest_images(&inputs, &args.out, &config, ui)
}

/// Ingests images into a dataset directory, with the tables next to the shards.
///
/// # Errors
/// As the domain, and errors in writing the tables.
pub fn ingest_images(inputs: &Inputs, out: &Path, config: &IngestConfig, ui: &Ui) -> Result<Summary> {
    let mut has_tables = true;
    let summary = {
        let bar = ui.bar("ingest", Unit::Items);
        invar_micrographs::ingest_with(inputs, out, config, &bar, |directory| {
            let tables = [GRAINS_TABLE, NEIGHBORS_TABLE, IMAGES_TABLE];
            has_tables = tables.iter().all(|name| directory.join(name).is_file());
            if !has_tables {
                write_tables(directory)?;
            }
            segmented::draw_missing(directory)
        })?
    };
    summary.facts.warnings.iter().for_each(|warning| ui.warn(warning));
    super::warn_of_nothing(&summary.manifest, out, "grain", ui);
    Ok(describe(&summary, has_tables, out))
}

/// Writes the grains and the neighbours of a dataset directory to Parquet files in it.
///
/// # Errors
/// If the dataset is damaged or the disk is full.
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
    let mut blocks = dataset.neighbor_blocks(BLOCK_ROWS);
    write_facts(&out.join(NEIGHBORS_TABLE), &provenance, || -> Result<Option<Vec<Column>>> { Ok(blocks.next()) })?;
    let images = (0..dataset.num_images()).map(|image| dataset.image(image));
    let known: Vec<(&ImageFacts, &StoredImage)> =
        images.filter_map(|image| Some((image.facts.as_ref()?, image.as_ref()))).collect();
    let mut columns = image_table::columns(&known.iter().map(|(facts, _)| *facts).collect::<Vec<_>>());
    let of_sheet = known.iter().map(|(_, image)| Some(&image.columns));
    SheetColumns::of(of_sheet.clone().flatten()).add_to(&mut columns, of_sheet);
    let mut images = Some(columns);
    write_facts(&out.join(IMAGES_TABLE), &provenance, || -> Result<Option<Vec<Column>>> { Ok(images.take()) })?;
    Ok(())
}

/// One line for each of the first images.
pub fn images(facts: &DatasetFacts) -> String {
    let mut text = String::new();
    for image in facts.images.iter().take(LISTED_IMAGES) {
        text += &format!(
            "  {}: {} x {} px, {}, {} at the border",
            image.image,
            image.width_px,
            image.height_px,
            counted(image.grains, "grain"),
            image.border_grains,
        );
        match (image.mean_area_um2, image.mean_area_px) {
            (Some(um2), _) => text += &format!(", mean area {um2:.4} um2"),
            (_, Some(px)) => text += &format!(", mean area {px:.1} px"),
            _ => {}
        }
        if let Some(sizes) = &image.grain_size {
            text += &grain_size("intercept", sizes.intercept.as_ref());
            text += &moved(sizes);
            text += &grain_size("planimetric", sizes.planimetric.as_ref());
        }
        if let Some(found) = &image.segmentation {
            text += &format!("\n    {}", found.reason);
            found.doubts.iter().for_each(|doubt| text += &format!("\n    not to be trusted: {doubt}"));
        }
        if let Some(banner) = &image.banner {
            text += &format!("\n    {} rows cut off: {banner}", image.crop_bottom_px);
        }
        text += "\n";
    }
    if facts.images.len() > LISTED_IMAGES {
        text += &format!("  and {} more images (all are in manifest.json)\n", facts.images.len() - LISTED_IMAGES);
    }
    text
}

/// `, E112 intercept G 8.21 [8.05, 8.37]`
fn grain_size(method: &str, size: Option<&GrainSize>) -> String {
    let Some(size) = size else { return String::new() };
    let interval = match (size.number_low, size.number_high) {
        (Some(low), Some(high)) => format!(" [{low:.2}, {high:.2}]"),
        _ => String::new(),
    };
    format!(", E112 {method} G {:.2}{interval}", size.number)
}

/// ` (8.40 and 8.05 with the threshold divided and multiplied by 1.25)`
fn moved(sizes: &GrainSizes) -> String {
    match sizes.intercept_numbers_moved {
        Some([over, times]) => format!(" ({over:.2} and {times:.2} with the threshold over and times 1.25)"),
        None => String::new(),
    }
}

fn mask_kind(kind: Option<cli::MaskKind>) -> MaskKind {
    match kind {
        None | Some(cli::MaskKind::Auto) => MaskKind::Auto,
        Some(cli::MaskKind::Instances) => MaskKind::Instances,
        Some(cli::MaskKind::Classes) => MaskKind::Classes,
    }
}

fn segmentation(args: &IngestMicrographs) -> Result<Segmentation> {
    let measures = args.labels.is_none() && !args.whole_image && args.tiles.is_none();
    let landscape = match args.segment {
        Segment::Auto => Some(GrainLandscape::Auto),
        Segment::Lines => Some(GrainLandscape::Lines),
        Segment::Steps => Some(GrainLandscape::Steps),
        Segment::Particles => Some(GrainLandscape::Particles),
        Segment::Learned => Some(GrainLandscape::Learned),
        Segment::Watershed | Segment::Otsu => None,
    };
    if (args.boundaries.is_some() || args.sigma.is_some()) && !(measures && landscape.is_some()) {
        let given = if measures { "of --segment watershed or otsu" } else { "of --labels, --whole-image or --tiles" };
        let expected = "expected with --segment auto, lines, steps, particles or learned";
        return Err(Usage(format!("--boundaries, --sigma: {expected}, instead {given}")).into());
    }
    Ok(match (args.tiles, landscape) {
        _ if args.labels.is_some() => Segmentation::Labels {},
        _ if args.whole_image => Segmentation::WholeImage {},
        (Some(size_px), _) => Segmentation::Tiles { size_px, overlap_px: args.overlap.unwrap_or(0) },
        (None, Some(landscape)) => Segmentation::Grains(GrainsConfig {
            landscape,
            boundaries: match args.boundaries {
                None => Polarity::Auto,
                Some(cli::Polarity::Dark) => Polarity::Dark,
                Some(cli::Polarity::Bright) => Polarity::Bright,
            },
            sigma_px: args.sigma,
            min_size_px: None,
        }),
        (None, None) if args.segment == Segment::Otsu => Segmentation::Otsu(OtsuConfig::default()),
        (None, None) => Segmentation::Watershed(WatershedConfig::default()),
    })
}

fn describe(summary: &invar_micrographs::Summary, had_tables: bool, out: &Path) -> Summary {
    let manifest = &summary.manifest;
    let counts = &manifest.counts;
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    let mut text = format!(
        "{}: {} on {}",
        out.display(),
        counted(manifest.num_rows(), "grain"),
        counted(count("images"), "image")
    );
    match (summary.already_done, had_tables) {
        (true, true) => text += &format!(", {DONE_BEFORE}"),
        (true, false) => text += ", done before, from the same inputs; its tables were missing and were written",
        (false, _) => {}
    }
    text += "\n";
    for (name, count) in counts {
        text += &format!("  {name:<26} {:>14}\n", thousands(*count));
    }
    text += &images(&summary.facts);
    for skipped in &manifest.skipped {
        text += &format!("  left out: {skipped}\n");
    }
    let json = json!({
        "out": path::text(out), "num_rows": manifest.num_rows(), "counts": counts, "skipped": manifest.skipped,
        "images": summary.facts.images, "warnings": summary.facts.warnings,
        "done_before": summary.already_done,
    });
    Summary { text, json }
}
