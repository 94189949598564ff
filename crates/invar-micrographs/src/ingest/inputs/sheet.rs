//! The sample sheet: what a table says of each image.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Source, map_names,
    walk::{Identity, same_place},
};
use crate::{Error, MaskKind};

mod text;

/// Columns that are used, not kept, in any capitals; the image has either of two.
const IMAGE: [&str; 2] = ["image", "file"];
const MASK: &str = "mask";
const CLASSES: &str = "classes";
const PIXEL_SIZE: &str = "pixel_size_nm";
const MASK_KIND: &str = "mask_kind";

/// A sheet that is being read.
struct Sheet<'a> {
    path: &'a Path,
    names: Vec<String>,
    /// Whether numbers may have a decimal comma.
    has_commas: bool,
}

/// Reads the sample sheet. Without other inputs its rows are the images; with, each row says more of one of them.
///
/// # Errors
/// [`Error::Sheet`], naming the row: a table that cannot be read, an image that is not there or not one of the inputs, one
/// image twice, a value that is none.
pub(super) fn with_sheet(sources: Vec<Source>, path: &Path) -> Result<Vec<Source>, Error> {
    of_bytes(sources, path, &fs::read(path).map_err(Error::io(path))?)
}

/// The same of the bytes of the sheet.
pub(super) fn of_bytes(mut sources: Vec<Source>, path: &Path, bytes: &[u8]) -> Result<Vec<Source>, Error> {
    let bad = |what: String, expected: &str, found: String| sheet_error(path, what, expected, found);
    let table = text::Table::of(bytes, &IMAGE).map_err(|found| bad("text".into(), "CSV", found))?;
    let mut reader =
        csv::ReaderBuilder::new().delimiter(table.delimiter).trim(csv::Trim::All).from_reader(table.text.as_bytes());
    let names: Vec<String> = match reader.headers() {
        Ok(names) => names.iter().map(str::to_owned).collect(),
        Err(error) => return Err(bad("header".into(), "names of columns", error.to_string())),
    };
    let of_name = |name: &String| (!name.is_empty()).then(|| name.to_lowercase());
    let mut seen = BTreeSet::new();
    if let Some(name) = names.iter().find(|name| of_name(name).is_some_and(|name| !seen.insert(name))) {
        return Err(bad("header".into(), "each column once", format!("{name:?} twice")));
    }
    let Some(image) = names.iter().position(|name| IMAGE.contains(&name.to_lowercase().as_str())) else {
        return Err(bad("header".into(), "a column `image` or `file`", names.join(", ")));
    };
    let sheet = Sheet { path, names, has_commas: table.delimiter != b',' };
    let is_alone = sources.is_empty();
    let mut rows: Vec<(Identity, Source)> = Vec::new();
    let mut row_of = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| bad("row".into(), "as many values as columns", error.to_string()))?;
        let number = record.position().map_or(0, |position| position.line()) + table.lines_before;
        let line = format!("row {number}");
        // Spreadsheets write rows that only look empty.
        if record.iter().all(str::is_empty) {
            continue;
        }
        let file = record.get(image).filter(|value| !value.is_empty());
        let file = file.ok_or_else(|| bad(line.clone(), "the name of an image", "nothing".into()))?;
        let source = sheet.source(&record, image, &line)?;
        if is_alone {
            if !source.path.is_file() {
                return Err(bad(line, "an image", format!("{file}, which is not there")));
            }
            let identity = Identity::of(&source.path);
            if let Some((_, other)) = rows.iter().find(|(other, _)| *other == identity) {
                return Err(bad(line, "each image once", format!("{file} again, as {}", other.path.display())));
            }
            rows.push((identity, source));
            continue;
        }
        let matching: Vec<usize> = (0..sources.len()).filter(|&i| is_file_of(&sources[i].path, &source.path)).collect();
        match matching.as_slice() {
            [one] => {
                if let Some(other) = row_of.insert(*one, number) {
                    return Err(bad(line, "each image once", format!("{file} again, as in row {other}")));
                }
                sources[*one] = Source { path: sources[*one].path.clone(), ..source };
            }
            [] => {
                let paths: Vec<PathBuf> = sources.iter().map(|source| source.path.clone()).collect();
                let nearest = map_names::nearest(Path::new(file), &paths).join(", ");
                return Err(bad(line, "one of the inputs", format!("{file}, which is none; nearest: {nearest}")));
            }
            several => {
                return Err(bad(line, "one of the inputs", format!("{file}, which is {} of them", several.len())));
            }
        }
    }
    let mut sources = if is_alone { rows.into_iter().map(|(_, source)| source).collect() } else { sources };
    make_numbers(&mut sources, sheet.has_commas);
    Ok(sources)
}

impl Sheet<'_> {
    /// What a row says; column `image` has the name of the image.
    fn source(&self, record: &csv::StringRecord, image: usize, line: &str) -> Result<Source, Error> {
        let bad = |what: String, expected: &str, found: String| sheet_error(self.path, what, expected, found);
        let place = |name: &str| self.names.iter().position(|column| column.to_lowercase() == name);
        let value = |name: &str| place(name).and_then(|place| record.get(place)).filter(|value| !value.is_empty());
        let map = |name: &str| match value(name) {
            None => Ok(None),
            Some(file) => match beside(self.path, file) {
                path if path.is_file() => Ok(Some(path)),
                _ => Err(bad(format!("{line}, {name}"), "a file, or nothing", format!("{file}, which is not there"))),
            },
        };
        let pixel_size = value(PIXEL_SIZE).map(|text| {
            let size = number(text, self.has_commas).filter(|size| *size > 0.0);
            size.ok_or_else(|| bad(format!("{line}, {PIXEL_SIZE}"), "a number above 0, or nothing", text.into()))
        });
        let mask_kind = value(MASK_KIND).map(|text| {
            MaskKind::from_name(&text.to_lowercase())
                .ok_or_else(|| bad(format!("{line}, {MASK_KIND}"), "auto, instances, classes, or nothing", text.into()))
        });
        let is_kept = |name: &str| ![MASK, CLASSES, PIXEL_SIZE, MASK_KIND].contains(&name.to_lowercase().as_str());
        let mut columns = BTreeMap::new();
        for (place, name) in self.names.iter().enumerate().filter(|(place, name)| *place != image && is_kept(name)) {
            let value = record.get(place).unwrap_or_default();
            match (name.is_empty(), value.is_empty()) {
                (false, _) => drop(columns.insert(name.clone(), Value::from(value))),
                (true, true) => {}
                (true, false) => {
                    let expected = format!("a name for column {} in the header", place + 1);
                    return Err(bad(line.into(), &expected, format!("{value:?} without one")));
                }
            }
        }
        Ok(Source {
            path: beside(self.path, record.get(image).unwrap_or_default()),
            mask: map(MASK)?,
            classes: map(CLASSES)?,
            mask_kind: mask_kind.transpose()?,
            pixel_size_nm: pixel_size.transpose()?,
            columns,
        })
    }
}

fn sheet_error(path: &Path, what: String, expected: &str, found: String) -> Error {
    Error::Sheet { path: path.into(), what, expected: expected.into(), found }
}

/// A path of the sheet: from its directory, or as it stands where there is nothing; written on Windows or not.
fn beside(sheet: &Path, file: &str) -> PathBuf {
    let directory = sheet.parent().unwrap_or(Path::new(""));
    let slashes = file.replace('\\', "/");
    let candidates = [directory.join(file), file.into(), directory.join(&slashes), PathBuf::from(&slashes)];
    candidates.into_iter().find(|path| path.exists()).unwrap_or_else(|| slashes.into())
}

/// Whether a row's path means an input: the same file, or the same name where it names no file.
fn is_file_of(input: &Path, row: &Path) -> bool {
    if row.exists() {
        return same_place(input, row);
    }
    let name = |path: &Path| map_names::letters(&path.file_name().unwrap_or_default().to_string_lossy());
    name(input) == name(row) || map_names::letters(&map_names::stem(input)) == map_names::letters(&map_names::stem(row))
}

/// The number that a value is. Codes that only look like numbers are none: with zeros before (`001`), or of more digits
/// than a number holds.
fn number(text: &str, has_commas: bool) -> Option<f64> {
    let digits = text.trim_start_matches(['+', '-']);
    let is_code = digits.len() > 1 && digits.starts_with('0') && digits[1..].starts_with(|c: char| c.is_ascii_digit());
    let is_long = digits.len() > 15 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = digits.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | ','));
    if is_code || is_long || !is_plain {
        return None;
    }
    let text = if has_commas && !text.contains('.') { text.replacen(',', ".", 1) } else { text.into() };
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Columns of numbers become numbers, and nothing becomes null.
fn make_numbers(sources: &mut [Source], has_commas: bool) {
    let names: BTreeSet<String> = sources.iter().flat_map(|source| source.columns.keys().cloned()).collect();
    let number = |value: &Value| number(value.as_str()?, has_commas);
    for name in &names {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_no_numbers() {
        for (text, expected) in [("1", 1.0), ("-2.5", -2.5), ("0.5", 0.5), ("0", 0.0), ("1e3", 1000.0), (".5", 0.5)] {
            assert_eq!(number(text, false), Some(expected), "{text}");
        }
        for text in ["001", "-01", "00", "12345678901234567", "inf", "NaN", "1,5", "1 000", "a", ""] {
            assert_eq!(number(text, false), None, "{text}");
        }
        assert_eq!((number("12,5", true), number("1.000,5", true)), (Some(12.5), None));
    }
}
