//! Which files an ingest reads, their metadata from the sample sheet, which mask belongs to which image, and the names
//! of images.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
};

use invar_dataset::object;
use serde_json::Value;

use self::walk::{Identity, LeftOut, Reason};
use crate::{Error, IngestConfig, Inputs, MaskKind};

mod map_names;
mod maps;
mod names;
mod sheet;
mod walk;

pub(super) use names::names;

/// An image file and its metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ImageInput {
    pub path: PathBuf,
    pub mask: Option<PathBuf>,
    pub classes: Option<PathBuf>,
    /// How the mask is read, if the sheet says so.
    pub mask_kind: Option<MaskKind>,
    pub pixel_size_nm: Option<f64>,
    pub columns: BTreeMap<String, Value>,
}

/// The inputs of an ingest.
#[derive(Debug)]
pub(super) struct Resolved {
    /// All image files in order: as given, those of a directory sorted by path.
    pub sources: Vec<ImageInput>,
    /// What was left out and why, in sentences.
    pub notes: Vec<String>,
}

/// Finds all image files.
///
/// # Errors
/// If nothing is found, or the sheet or the masks do not fit.
pub(super) fn resolve(inputs: &Inputs, config: &IngestConfig, out: &Path) -> Result<Resolved, Error> {
    let mut left_out = LeftOut::default();
    let mut files = Vec::new();
    for path in &inputs.paths {
        let found = walk::expand(path, out, &mut left_out)?;
        // Files in a directory are judged by their names; explicitly named files are always used.
        files.extend(if walk::is_directory(path) { walk::without_maps(found, &mut left_out) } else { found });
    }
    let mut seen = HashSet::new();
    let (files, again): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|path: &PathBuf| seen.insert(Identity::of(path)));
    again.iter().for_each(|path| left_out.add(Reason::Again, path));
    let mut sources: Vec<ImageInput> =
        files.into_iter().map(|path| ImageInput { path, ..ImageInput::default() }).collect();
    if let Some(sheet) = &inputs.sheet {
        sources = sheet::with_sheet(sources, sheet, &inputs.samples)?;
    }
    if let Some(labels) = &config.labels {
        sources = maps::with_maps(sources, labels, "mask", |source| &mut source.mask, out)?;
    }
    if let Some(classes) = &config.classes {
        sources = maps::with_maps(sources, classes, "class map", |source| &mut source.classes, out)?;
    }
    let sources = without_maps_of_others(sources);
    let maps = sources.iter().flat_map(|source| source.mask.iter().chain(&source.classes));
    object::look_at_all(sources.iter().map(|source| &source.path).chain(maps).map(PathBuf::as_path));
    let mut notes = left_out.notes();
    if sources.is_empty() {
        let mut found = match inputs.paths.as_slice() {
            [] => "none".into(),
            paths => format!("none in {}", paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" ")),
        };
        notes.iter().for_each(|note| found += &format!("; {note}"));
        return Err(Error::Config { what: "inputs".into(), expected: "at least one image".into(), found });
    }
    let num_masks = sources.iter().filter(|source| source.mask.is_some()).count();
    if num_masks > 0 && num_masks < sources.len() {
        notes.push(format!(
            "{num_masks} of {} images have a mask, the others are processed as if there were none",
            sources.len()
        ));
    }
    Ok(Resolved { sources, notes })
}

/// Removes files that are the mask or the class map of another image: the sheet may give them any names.
fn without_maps_of_others(mut sources: Vec<ImageInput>) -> Vec<ImageInput> {
    let maps: HashMap<Identity, PathBuf> = sources
        .iter()
        .flat_map(|source| {
            [&source.mask, &source.classes].map(|map| Some((Identity::of(map.as_ref()?), source.path.clone())))
        })
        .flatten()
        .collect();
    sources.retain(|source| maps.get(&Identity::of(&source.path)).is_none_or(|image| *image == source.path));
    sources
}

/// For the fuzz target: a sheet without other inputs, and one with metadata for an image.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_sheet(bytes: &[u8]) {
    let image = ImageInput { path: "a.tif".into(), ..ImageInput::default() };
    for sources in [vec![], vec![image]] {
        let _ = sheet::of_bytes(sources, Path::new("sheet.csv"), &[], bytes);
    }
}
