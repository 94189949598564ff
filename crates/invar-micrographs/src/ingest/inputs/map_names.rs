//! The names of masks, class maps and other results of programs, relative to the name of their image.

use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

/// Suffixes after the name of the image and a `_`, `-`, `.` or space: handmade, or from StarDist, Cellpose, ilastik,
/// NIST's tools.
const MAP_SUFFIXES: [&str; 15] = [
    "mask",
    "masks",
    "cp_masks",
    "label",
    "labels",
    "labelled",
    "seg",
    "segmentation",
    "segmented",
    "segmap",
    "segmaps",
    "simple_segmentation",
    "object_predictions",
    "object_identities",
    "objects",
];

/// Prefixes before the name of the image, likewise: handmade, or from ImageJ.
const MAP_PREFIXES: [&str; 4] = ["mask", "mask_of", "masks", "label"];

/// Pictures that programs save next to images and that are neither images nor masks: from Cellpose, ilastik.
const RESULT_SUFFIXES: [&str; 12] = [
    "cp_output",
    "cp_outlines",
    "outlines",
    "outlines_cp_masks",
    "flows",
    "flows_cp_masks",
    "cp_flows",
    "probabilities",
    "pixel_probabilities",
    "object_probabilities",
    "uncertainty",
    "features",
];

/// Directories that hold masks with the names of the images.
const MAP_DIRECTORIES: [&str; 10] =
    ["mask", "masks", "label", "labels", "seg", "segmentation", "segmentations", "segmaps", "annotations", "outlines"];

/// The name of a file without `.tif`, also without `.ome.tif`.
pub(super) fn stem(path: &Path) -> String {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = name.len().saturating_sub(4);
    match name.get(bytes..) {
        Some(end) if bytes > 0 && end.eq_ignore_ascii_case(".ome") => name[..bytes].into(),
        _ => name,
    }
}

/// A name without differences that some file systems ignore: composed, in lower case.
pub(super) fn letters(name: &str) -> String {
    name.nfc().flat_map(char::to_lowercase).collect()
}

/// A name in its form for matching: its letters, and one kind of separator between words.
pub(super) fn folded(name: &str) -> String {
    letters(name).replace([' ', '-', '.'], "_")
}

/// The forms of an image's name in the names of its maps: without its extensions, with `.ome`, with all of them.
pub(super) fn bases(image: &Path) -> Vec<String> {
    let name = |name: Option<&std::ffi::OsStr>| folded(&name.unwrap_or_default().to_string_lossy());
    let mut bases = vec![folded(&stem(image)), name(image.file_stem()), name(image.file_name())];
    bases.dedup();
    bases
}

/// All names, folded and without extension, under which maps of `image` are looked for.
pub(super) fn of_image(image: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for base in bases(image) {
        names.extend(MAP_SUFFIXES.iter().map(|suffix| format!("{base}_{suffix}")));
        names.extend(MAP_PREFIXES.iter().map(|prefix| format!("{prefix}_{base}")));
        names.push(base);
    }
    names
}

/// The possible names of the images, folded, of which this file is a map or another result according to its name.
pub(super) fn images_of_result(path: &Path) -> Vec<String> {
    let name = folded(&stem(path));
    let before = |suffix: &&str| Some(name.strip_suffix(*suffix)?.strip_suffix('_')?.to_owned());
    let after = |prefix: &&str| Some(name.strip_prefix(*prefix)?.strip_prefix('_')?.to_owned());
    let suffixes = MAP_SUFFIXES.iter().chain(&RESULT_SUFFIXES).filter_map(before);
    suffixes.chain(MAP_PREFIXES.iter().filter_map(after)).filter(|base| !base.is_empty()).collect()
}

/// Whether a file is, according to its name, a picture that a program saved next to the image, and not a map.
pub(super) fn is_other_result(path: &Path) -> bool {
    let name = folded(&stem(path));
    RESULT_SUFFIXES.iter().any(|suffix| name.strip_suffix(*suffix).is_some_and(|base| base.ends_with('_')))
}

pub(super) fn is_in_map_directory(path: &Path) -> bool {
    let directory = path.parent().and_then(Path::file_name).unwrap_or_default();
    MAP_DIRECTORIES.contains(&folded(&directory.to_string_lossy()).as_str())
}

/// The three files whose names are most similar to those that maps of `image` have.
pub(super) fn nearest(image: &Path, files: &[PathBuf]) -> Vec<String> {
    let base = folded(&stem(image));
    let likeness = |path: &PathBuf| strsim::normalized_levenshtein(&base, &folded(&stem(path)));
    let mut files: Vec<(f64, &PathBuf)> = files.iter().map(|path| (likeness(path), path)).collect();
    files.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let name = |(_, path): &(f64, &PathBuf)| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    files.iter().take(3).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_many_programs_are_known() {
        let names = of_image(Path::new("d/My image.ome.tif"));
        let is_found = |file: &str| names.contains(&folded(&stem(Path::new(file))));
        for file in [
            "My image.tif",
            "My image_mask.png",
            "My image_MASK.TIF",
            "my_image-labels.tif",
            "My image.ome_cp_masks.tif",
            "My image.ome_Simple Segmentation.tiff",
            "My image_Object Identities.tif",
            "Mask of My image.tif",
            "My image.ome.tif_masks.png",
        ] {
            assert!(is_found(file), "{file}");
        }
        for file in ["My image 2.tif", "My image_cp_output.png", "My.tif", "My image_flows.tif"] {
            assert!(!is_found(file), "{file}");
        }
        assert_eq!(images_of_result(Path::new("a_cp_masks.tif")), ["a_cp", "a"]);
        assert!(is_other_result(Path::new("a_outlines_cp_masks.png")) && !is_other_result(Path::new("a_cp_masks.png")));
        // A composed letter and its parts.
        assert_eq!(folded("K\u{f6}rner"), folded("Ko\u{308}rner"));
        let nearest = nearest(Path::new("b1.tif"), &["x.tif", "b12_mask.tif", "b2.tif", "zz9.png"].map(PathBuf::from));
        assert_eq!(nearest[0], "b2.tif");
    }
}
