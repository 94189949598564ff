//! Which files an ingest reads, what the sample sheet says of them, which mask is whose, and what images are called.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{Error, IngestConfig, Inputs};

/// Extensions that are looked for in directories; what is named or matched by a pattern is read whatever its name.
const EXTENSIONS: [&str; 16] = [
    "tif", "tiff", "btf", "tf8", "png", "jpg", "jpeg", "mrc", "mrcs", "map", "rec", "st", "ali", "dm3", "dm4", "preali",
];

/// What masks are called beside the name of their image.
const MASK_SUFFIXES: [&str; 9] =
    ["", "_mask", "_masks", "_cp_masks", "_label", "_labels", "_seg", "_segmentation", "_segmap"];

/// An image file and what is said of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Source {
    pub path: PathBuf,
    pub mask: Option<PathBuf>,
    pub classes: Option<PathBuf>,
    pub pixel_size_nm: Option<f64>,
    pub columns: BTreeMap<String, Value>,
}

/// All image files in order: as they were given, those of a directory sorted by path.
///
/// # Errors
/// When nothing is found, or the sheet or the masks do not fit.
pub(super) fn resolve(inputs: &Inputs, config: &IngestConfig, out: &Path) -> Result<Vec<Source>, Error> {
    let mut sources: Vec<Source> = Vec::new();
    for path in &inputs.paths {
        let files = expand(path, out)?;
        sources.extend(files.into_iter().map(|path| Source { path, ..Source::default() }));
    }
    if let Some(sheet) = &inputs.sheet {
        sources = with_sheet(sources, sheet)?;
    }
    if let Some(labels) = &config.labels {
        sources = with_maps(sources, labels, "mask", |source| &mut source.mask, out)?;
    }
    if let Some(classes) = &config.classes {
        sources = with_maps(sources, classes, "class map", |source| &mut source.classes, out)?;
    }
    if sources.is_empty() {
        let found = match inputs.paths.as_slice() {
            [] => "none".into(),
            paths => format!("none in {}", paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" ")),
        };
        return Err(Error::Config { what: "inputs".into(), expected: "at least one image".into(), found });
    }
    Ok(sources)
}

/// Names for the pages of all files: `(file, page, of pages)` gives one each, unique and without the extension; as many
/// directories before it as it takes to tell files apart, and `-p2` for a page of several.
pub(super) fn names(files: &[(&Path, usize)]) -> Vec<Vec<String>> {
    let stems: Vec<Vec<String>> = files.iter().map(|(path, _)| parts(path)).collect();
    let mut depth = vec![1usize; files.len()];
    let name_of = |file: usize, depth: usize| stems[file][stems[file].len().saturating_sub(depth)..].join("/");
    loop {
        let mut seen: HashMap<String, Vec<usize>> = HashMap::new();
        for (file, &depth) in depth.iter().enumerate() {
            seen.entry(name_of(file, depth)).or_default().push(file);
        }
        let mut is_done = true;
        for same in seen.into_values().filter(|same| same.len() > 1) {
            for file in same {
                if depth[file] < stems[file].len() {
                    depth[file] += 1;
                    is_done = false;
                }
            }
        }
        if is_done {
            break;
        }
    }
    let mut taken = HashMap::new();
    let mut unique = |name: String| {
        let count = taken.entry(name.clone()).or_insert(0u32);
        *count += 1;
        if *count == 1 { name } else { format!("{name}~{count}") }
    };
    let of_file = |(file, &(_, num_pages)): (usize, &(&Path, usize))| {
        let name = unique(name_of(file, depth[file]));
        (1..=num_pages).map(|page| if num_pages == 1 { name.clone() } else { format!("{name}-p{page}") }).collect()
    };
    files.iter().enumerate().map(of_file).collect()
}

/// The directories and the stem of a path; no `.` and `..`, so that they can be directories below another.
fn parts(path: &Path) -> Vec<String> {
    use std::path::Component;
    let normal = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    };
    let mut parts: Vec<String> = path.components().filter_map(normal).collect();
    if let Some(last) = parts.last_mut() {
        *last = stem(path);
    }
    if parts.is_empty() { vec!["image".into()] } else { parts }
}

/// The name of a file without `.tif`, also without `.ome.tif`.
fn stem(path: &Path) -> String {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match name.strip_suffix(".ome") {
        Some(stem) if !stem.is_empty() => stem.into(),
        _ => name,
    }
}

fn expand(path: &Path, out: &Path) -> Result<Vec<PathBuf>, Error> {
    if path.is_dir() {
        let mut files = Vec::new();
        walk(path, out, &mut files)?;
        files.sort();
        return Ok(files);
    }
    let text = path.to_string_lossy();
    if path.exists() || !text.contains(['*', '?', '[']) {
        return Ok(vec![path.into()]);
    }
    let bad = |found: String| Error::Config {
        what: "inputs".into(),
        expected: "a path, or a pattern with * and ?".into(),
        found,
    };
    let matches = glob::glob(&text).map_err(|error| bad(format!("{text}: {error}")))?;
    let mut files = Vec::new();
    for found in matches {
        let found = found.map_err(|error| Error::io(error.path().to_path_buf())(error.into()))?;
        if found.is_file() {
            files.push(found);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(bad(format!("{text}, which matches no file")));
    }
    Ok(files)
}

/// Image files below a directory, but none that are hidden or lie in the output.
fn walk(directory: &Path, out: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    if same_place(directory, out) {
        return Ok(());
    }
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let path = entry.map_err(Error::io(directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if name.starts_with('.') {
            continue;
        }
        // A link to a directory could lead back here.
        if path.is_dir() && !path.is_symlink() {
            walk(&path, out, files)?;
        } else if path.is_file() && EXTENSIONS.iter().any(|ext| name.ends_with(&format!(".{ext}"))) {
            files.push(path);
        }
    }
    Ok(())
}

fn same_place(a: &Path, b: &Path) -> bool {
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

/// Reads the sample sheet. Without other inputs its rows are the images; with, each row says more of one of them.
fn with_sheet(mut sources: Vec<Source>, sheet: &Path) -> Result<Vec<Source>, Error> {
    let bad = |what: String, expected: &str, found: String| Error::Sheet {
        path: sheet.into(),
        what,
        expected: expected.into(),
        found,
    };
    let text = fs::read_to_string(sheet).map_err(Error::io(sheet))?;
    let text = text.trim_start_matches('\u{feff}');
    let header = text.lines().next().unwrap_or_default();
    let delimiter = if header.contains('\t') {
        b'\t'
    } else if header.contains(',') {
        b','
    } else {
        b';'
    };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).from_reader(text.as_bytes());
    let names: Vec<String> = match reader.headers() {
        Ok(names) => names.iter().map(str::to_owned).collect(),
        Err(error) => return Err(bad("header".into(), "names of columns", error.to_string())),
    };
    if let Some(name) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)).map(|(_, name)| name) {
        return Err(bad("header".into(), "each column once", format!("{name:?} twice")));
    }
    let Some(image) = names.iter().position(|name| name == "image" || name == "file") else {
        return Err(bad("header".into(), "a column `image` or `file`", names.join(", ")));
    };
    let is_alone = sources.is_empty();
    let mut rows = Vec::new();
    for (row, record) in reader.records().enumerate() {
        let line = format!("row {}", row + 2);
        let record = record.map_err(|error| bad(line.clone(), "as many values as columns", error.to_string()))?;
        let value = |name: &str| {
            let place = names.iter().position(|column| column == name)?;
            record.get(place).filter(|value| !value.is_empty())
        };
        let file = record.get(image).filter(|value| !value.is_empty());
        let file = file.ok_or_else(|| bad(line.clone(), "the name of an image", "nothing".into()))?;
        let pixel_size = value("pixel_size_nm").map(|text| {
            let size = text.parse().ok().filter(|size: &f64| size.is_finite() && *size > 0.0);
            size.ok_or_else(|| bad(format!("{line}, pixel_size_nm"), "a number above 0, or nothing", text.into()))
        });
        let source = Source {
            path: beside(sheet, file),
            mask: value("mask").map(|mask| beside(sheet, mask)),
            classes: value("classes").map(|map| beside(sheet, map)),
            pixel_size_nm: pixel_size.transpose()?,
            columns: names
                .iter()
                .enumerate()
                .filter(|(place, name)| {
                    *place != image && !["mask", "classes", "pixel_size_nm"].contains(&name.as_str())
                })
                .map(|(place, name)| (name.clone(), Value::from(record.get(place).unwrap_or_default())))
                .collect(),
        };
        if is_alone {
            if rows.iter().any(|other: &Source| other.path == source.path) {
                return Err(bad(line, "each image once", format!("{file} again")));
            }
            rows.push(source);
            continue;
        }
        let matching: Vec<usize> = (0..sources.len()).filter(|&i| is_file_of(&sources[i].path, &source.path)).collect();
        match matching.as_slice() {
            [one] => sources[*one] = Source { path: sources[*one].path.clone(), ..source },
            [] => return Err(bad(line, "one of the inputs", format!("{file}, which is none"))),
            several => {
                return Err(bad(line, "one of the inputs", format!("{file}, which is {} of them", several.len())));
            }
        }
    }
    let mut sources = if is_alone { rows } else { sources };
    make_numbers(&mut sources);
    Ok(sources)
}

/// A path of the sheet: from its directory, or as it stands where there is nothing.
fn beside(sheet: &Path, file: &str) -> PathBuf {
    let path = sheet.parent().unwrap_or(Path::new("")).join(file);
    if path.exists() { path } else { file.into() }
}

/// Whether a row's path means an input: the same file, or the same name where it names no file.
fn is_file_of(input: &Path, row: &Path) -> bool {
    if row.exists() { same_place(input, row) } else { input.file_name() == row.file_name() || stem(input) == stem(row) }
}

/// Columns of numbers become numbers, and nothing becomes null.
fn make_numbers(sources: &mut [Source]) {
    let names: Vec<String> = sources.iter().flat_map(|source| source.columns.keys().cloned()).collect();
    for name in names.iter().collect::<std::collections::BTreeSet<_>>() {
        let number = |value: &Value| value.as_str()?.parse::<f64>().ok().filter(|number| number.is_finite());
        let values = || sources.iter().filter_map(|source| source.columns.get(name));
        let all_numbers = values().all(|value| value == "" || number(value).is_some());
        for value in sources.iter_mut().filter_map(|source| source.columns.get_mut(name)) {
            if value == "" {
                *value = Value::Null;
            } else if all_numbers {
                *value = number(value).into();
            }
        }
    }
}

/// Gives each image its mask or class map, by name. Maps that lie among the images are no images.
fn with_maps(
    sources: Vec<Source>,
    maps: &Path,
    what: &str,
    map_of: fn(&mut Source) -> &mut Option<PathBuf>,
    out: &Path,
) -> Result<Vec<Source>, Error> {
    let masks = expand(maps, out)?;
    let bad = |image: &Path, found: String| Error::Sheet {
        path: maps.into(),
        what: format!("{what} of {}", image.display()),
        expected: "one file of the same name".into(),
        found,
    };
    let mut by_stem: HashMap<String, Vec<&PathBuf>> = HashMap::new();
    for mask in &masks {
        by_stem.entry(stem(mask)).or_default().push(mask);
    }
    let of = |path: &Path| {
        let candidates = MASK_SUFFIXES.iter().filter_map(|suffix| by_stem.get(&format!("{}{suffix}", stem(path))));
        let mut found: Vec<&PathBuf> = candidates.flatten().copied().collect();
        found.retain(|mask| !same_place(mask, path));
        found
    };
    let canonical = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let of_others: HashSet<PathBuf> =
        sources.iter().flat_map(|source| of(&source.path)).map(|mask| canonical(mask)).collect();
    let mut kept: Vec<Source> =
        sources.into_iter().filter(|source| !of_others.contains(&canonical(&source.path))).collect();
    let is_one_each = kept.len() == 1 && masks.len() == 1;
    for source in &mut kept {
        if map_of(source).is_some() {
            continue;
        }
        let found = if is_one_each { masks.iter().collect() } else { of(&source.path) };
        *map_of(source) = match found.as_slice() {
            [one] => Some((*one).clone()),
            [] => return Err(bad(&source.path, format!("none among {} files", masks.len()))),
            [one, two, ..] => {
                return Err(bad(&source.path, format!("{} and {}", one.display(), two.display())));
            }
        };
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(files: &[(&str, usize)]) -> Vec<Vec<String>> {
        names(&files.iter().map(|&(path, pages)| (Path::new(path), pages)).collect::<Vec<_>>())
    }

    #[test]
    fn names_are_short_and_unique() {
        assert_eq!(named(&[("a/x.tif", 1), ("b/y.ome.tif", 2)]), [vec!["x"], vec!["y-p1", "y-p2"]]);
        assert_eq!(named(&[("r/a/x.tif", 1), ("r/b/x.tif", 1), ("r/y.png", 1)]), [["a/x"], ["b/x"], ["y"]]);
        // The same file twice, and two that differ in their extension only.
        assert_eq!(named(&[("x.tif", 1), ("x.png", 1)]), [["x"], ["x~2"]]);
        assert_eq!(named(&[("../d/x.tif", 1), ("/d/x.tif", 1)]), [["d/x"], ["d/x~2"]]);
    }
}
