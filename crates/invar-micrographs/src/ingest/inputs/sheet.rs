//! The sample sheet: a table of metadata for each image.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use invar_dataset::{
    input, object,
    sheet::{Sheet, SheetRow},
};

use super::{
    ImageInput, map_names,
    walk::{Identity, same_place},
};
use crate::{Error, MaskKind};

/// Columns that are used, not kept, ignoring capitals; the image and its mask have two alternative names each.
const IMAGE: [&str; 2] = ["image", "file"];
const MASK: [&str; 2] = ["mask", "labels"];
const CLASSES: &str = "classes";
const PIXEL_SIZE: &str = "pixel_size_nm";
const MASK_KIND: &str = "mask_kind";

/// Reads the sample sheet; only the rows of `samples` if any are given. Without other inputs its rows are the images;
/// otherwise each row adds metadata to one of them.
///
/// # Errors
/// Everything that is wrong with its rows: an image that is missing or not one of the inputs, one image twice, an
/// invalid value. A table that cannot be read, or has no such sample.
pub(super) fn with_sheet(sources: Vec<ImageInput>, path: &Path, samples: &[String]) -> Result<Vec<ImageInput>, Error> {
    of_bytes(sources, path, samples, &input::read(path).map_err(Error::io(path))?)
}

/// The same from the bytes of the sheet.
pub(super) fn of_bytes(
    mut sources: Vec<ImageInput>,
    path: &Path,
    samples: &[String],
    bytes: &[u8],
) -> Result<Vec<ImageInput>, Error> {
    let mut sheet = Sheet::of_bytes(path, bytes, &[&IMAGE])?;
    let is_alone = sources.is_empty();
    let mut rows: Vec<ImageInput> = vec![];
    let mut row_of: HashMap<Identity, u64> = HashMap::new();
    let wanted = sheet.rows_of(samples);
    let named = |row| [&IMAGE[..], &MASK, &[CLASSES]].map(|names| sheet.value(row, names)).into_iter().flatten();
    let named: Vec<PathBuf> = wanted.iter().flat_map(named).map(|file| sheet.beside(file)).collect();
    object::look_at_all(named.iter().map(PathBuf::as_path));
    for row in &wanted {
        let place = row.place();
        let Some(file) = sheet.needed(row, &IMAGE, "the name of an image") else { continue };
        let source = source(&mut sheet, row, file)?;
        let file = &input::shown(file, &source.path);
        let at = if is_alone {
            if let Some(reason) = input::absence(&source.path).map_err(Error::io(&source.path))? {
                sheet.bad(place, "an image", format!("{file}, {reason}"));
                continue;
            }
            None
        } else {
            let is_it = |at: &usize| is_file_of(&sources[*at].path, &source.path);
            match (0..sources.len()).filter(is_it).collect::<Vec<_>>().as_slice() {
                [one] => Some(*one),
                [] => {
                    let paths: Vec<PathBuf> = sources.iter().map(|source| source.path.clone()).collect();
                    let nearest = map_names::nearest(Path::new(file), &paths).join(", ");
                    sheet.bad(place, "one of the inputs", format!("{file}, which is none; nearest: {nearest}"));
                    continue;
                }
                several => {
                    sheet.bad(place, "one of the inputs", format!("{file}, which is {} of them", several.len()));
                    continue;
                }
            }
        };
        let image = Identity::of(at.map_or(&source.path, |at| &sources[at].path));
        if let Some(other) = row_of.insert(image, row.line) {
            sheet.bad(place, "each image once", format!("{file} again, as in row {other}"));
            continue;
        }
        match at {
            None => rows.push(source),
            Some(at) => sources[at] = ImageInput { path: sources[at].path.clone(), ..source },
        }
    }
    let mut sources = if is_alone { rows } else { sources };
    sheet.make_numbers(&mut sources.iter_mut().map(|source| &mut source.columns).collect::<Vec<_>>());
    sheet.finish()?;
    Ok(sources)
}

/// The content of a row, where `file` is the image. Problems are noted.
///
/// # Errors
/// If the store of an object does not say whether it is there.
fn source(sheet: &mut Sheet, row: &SheetRow, file: &str) -> Result<ImageInput, Error> {
    let place = |name: &str| format!("{}, {name}", row.place());
    let mut map = |names: &[&str]| -> Result<Option<PathBuf>, Error> {
        let Some(file) = sheet.value(row, names) else { return Ok(None) };
        let path = sheet.beside(file);
        if let Some(reason) = input::absence(&path).map_err(Error::io(&path))? {
            let name = names.iter().copied().find(|name| sheet.place(&[*name]).is_some()).unwrap_or_default();
            sheet.bad(place(name), "a file, or nothing", format!("{}, {reason}", input::shown(file, &path)));
        }
        Ok(Some(path))
    };
    let (mask, classes) = (map(&MASK)?, map(&[CLASSES])?);
    let pixel_size_nm = sheet.value(row, &[PIXEL_SIZE]).and_then(|text| {
        let size = sheet.number(text).filter(|size| *size > 0.0);
        if size.is_none() {
            sheet.bad(place(PIXEL_SIZE), "a number above 0, or nothing", text);
        }
        size
    });
    let mask_kind = sheet.value(row, &[MASK_KIND]).and_then(|text| {
        let kind = MaskKind::from_name(&text.to_lowercase());
        if kind.is_none() {
            sheet.bad(place(MASK_KIND), "auto, instances, classes, or nothing", text);
        }
        kind
    });
    let used = [&IMAGE[..], &MASK, &[CLASSES, PIXEL_SIZE, MASK_KIND]].concat();
    let columns = sheet.others(row, &used);
    Ok(ImageInput { path: sheet.beside(file), mask, classes, mask_kind, pixel_size_nm, columns })
}

/// Whether a row's path refers to an input: the same file, or the same name if it does not exist.
fn is_file_of(input: &Path, row: &Path) -> bool {
    if row.exists() || object::is_url(row) {
        return same_place(input, row);
    }
    let name = |path: &Path| map_names::letters(&path.file_name().unwrap_or_default().to_string_lossy());
    name(input) == name(row) || map_names::letters(&map_names::stem(input)) == map_names::letters(&map_names::stem(row))
}
