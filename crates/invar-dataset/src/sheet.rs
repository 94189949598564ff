//! Sample sheets: tables of metadata for each input, as written by spreadsheets and pipelines. The same for every
//! domain, which names the columns that it uses; all others are kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

use serde_json::Value;
use thiserror::Error;

use crate::{Column, ColumnData, DatasetError, input, object};

mod text;

/// The column that names samples, in every domain.
pub const SAMPLE: &str = "sample";

/// Everything that is wrong with a sample sheet, in the order of the lines.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", told(.path, .problems))]
pub struct SheetError {
    /// The sheet.
    pub path: PathBuf,
    /// At least one.
    pub problems: Vec<SheetProblem>,
}

/// Something that is wrong with a sample sheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SheetProblem {
    /// The line, and the column in it.
    pub place: String,
    /// What is required.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for SheetProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.place, self.expected, self.found)
    }
}

fn told(path: &Path, problems: &[SheetProblem]) -> String {
    match problems {
        [one] => format!("{}: {one}", path.display()),
        many => {
            let lines = many.iter().map(|problem| format!("\n  {problem}")).collect::<String>();
            format!("{}: {} things are wrong:{lines}", path.display(), many.len())
        }
    }
}

/// A sheet: columns in any order and any capitalisation, one row per input.
#[derive(Clone, Debug)]
pub struct Sheet {
    path: PathBuf,
    names: Vec<String>,
    rows: Vec<SheetRow>,
    /// Whether numbers may have a decimal comma.
    has_commas: bool,
    problems: Vec<SheetProblem>,
}

/// A row that is not empty.
#[derive(Clone, Debug)]
pub struct SheetRow {
    /// Its line in the file, 1-based.
    pub line: u64,
    values: Vec<String>,
}

impl SheetRow {
    /// How messages refer to it.
    pub fn place(&self) -> String {
        format!("row {}", self.line)
    }
}

impl Sheet {
    /// Reads a sheet that must have a column for each of `needed`, under one of its names.
    ///
    /// # Errors
    /// If the file cannot be read, is not a table, or a column is missing or duplicated. Problems with single rows are
    /// kept for [`Sheet::finish`].
    pub fn read(path: &Path, needed: &[&[&str]]) -> Result<Self, DatasetError> {
        Ok(Self::of_bytes(path, &input::read(path).map_err(DatasetError::io(path))?, needed)?)
    }

    /// The same from the bytes of the file.
    ///
    /// # Errors
    /// As [`Sheet::read`].
    pub fn of_bytes(path: &Path, bytes: &[u8], needed: &[&[&str]]) -> Result<Self, SheetError> {
        let bad = |place: &str, expected: &str, found: String| SheetError {
            path: path.into(),
            problems: vec![SheetProblem { place: place.into(), expected: expected.into(), found }],
        };
        let table = text::Table::of(bytes, &needed.concat()).map_err(|found| bad("text", "CSV", found))?;
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(table.delimiter)
            .trim(csv::Trim::All)
            .flexible(true)
            .from_reader(table.text.as_bytes());
        let names: Vec<String> = match reader.headers() {
            Ok(names) => names.iter().map(str::to_owned).collect(),
            Err(error) => return Err(bad("header", "names of columns", error.to_string())),
        };
        let of_name = |name: &String| (!name.is_empty()).then(|| name.to_lowercase());
        let mut seen = BTreeSet::new();
        if let Some(name) = names.iter().find(|name| of_name(name).is_some_and(|name| !seen.insert(name))) {
            return Err(bad("header", "each column once", format!("{name:?} twice")));
        }
        let has_commas = table.delimiter != b',';
        let mut sheet = Self { path: path.into(), names, rows: vec![], has_commas, problems: vec![] };
        for column in needed {
            if sheet.place(column).is_none() {
                let words: Vec<String> = column.iter().map(|name| format!("`{name}`")).collect();
                return Err(bad("header", &format!("a column {}", words.join(" or ")), sheet.names.join(", ")));
            }
        }
        for record in reader.records() {
            let record = record.map_err(|error| bad("row", "text", error.to_string()))?;
            let line = record.position().map_or(0, |position| position.line()) + table.lines_before;
            sheet.take(line, &record);
        }
        Ok(sheet)
    }

    /// Adds a row, or notes what is wrong with its shape.
    fn take(&mut self, line: u64, record: &csv::StringRecord) {
        // Spreadsheets write rows that only look empty.
        if record.iter().all(str::is_empty) {
            return;
        }
        let row = SheetRow { line, values: record.iter().map(str::to_owned).collect() };
        if row.values.len() != self.names.len() {
            let expected = format!("{} values, as many as columns", self.names.len());
            self.bad(row.place(), expected, row.values.len());
            return;
        }
        let nameless = (0..self.names.len()).find(|&at| self.names[at].is_empty() && !row.values[at].is_empty());
        if let Some(at) = nameless {
            let expected = format!("a name for column {} in the header", at + 1);
            self.bad(row.place(), expected, format!("{:?} without one", row.values[at]));
        }
        self.rows.push(row);
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The rows that are not empty.
    pub fn rows(&self) -> Vec<SheetRow> {
        self.rows.clone()
    }

    /// The rows of some samples, or all rows if none are named. A sample without a row is noted as a problem, along
    /// with the existing samples.
    pub fn rows_of(&mut self, samples: &[String]) -> Vec<SheetRow> {
        let names: BTreeSet<String> =
            self.rows.iter().filter_map(|row| self.value(row, &[SAMPLE])).map(str::to_owned).collect();
        for sample in samples.iter().filter(|sample| !names.contains(*sample)) {
            let found = if names.is_empty() { "none".into() } else { Vec::from_iter(names.clone()).join(", ") };
            self.bad("column sample", format!("{sample:?} in a row"), found);
        }
        let is_wanted = |row: &SheetRow| match self.value(row, &[SAMPLE]) {
            _ if samples.is_empty() => true,
            sample => sample.is_some_and(|sample| samples.iter().any(|wanted| wanted == sample)),
        };
        self.rows.iter().filter(|row| is_wanted(row)).cloned().collect()
    }

    /// The index of the column that has one of these names, in lower case.
    pub fn place(&self, names: &[&str]) -> Option<usize> {
        self.names.iter().position(|column| names.contains(&column.to_lowercase().as_str()))
    }

    /// The value of a row in the column of one of these names; `None` if there is no such column, or the cell is empty.
    pub fn value<'a>(&self, row: &'a SheetRow, names: &[&str]) -> Option<&'a str> {
        let value = &row.values[self.place(names)?];
        (!value.is_empty()).then_some(value)
    }

    /// The same for a cell that must not be empty; an empty one is noted as a problem.
    pub fn needed<'a>(&mut self, row: &'a SheetRow, names: &[&str], what: &str) -> Option<&'a str> {
        let value = self.value(row, names);
        if value.is_none() {
            self.bad(row.place(), what, "nothing");
        }
        value
    }

    /// The columns of a row other than those `used`, as text; empty cells too.
    pub fn others(&self, row: &SheetRow, used: &[&str]) -> BTreeMap<String, Value> {
        let columns = self.names.iter().zip(&row.values);
        let others = columns.filter(|(name, _)| !name.is_empty() && !used.contains(&name.to_lowercase().as_str()));
        others.map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect()
    }

    /// A path in the sheet: relative to its directory, or as it is if nothing is there; whether or not it was written
    /// on Windows. Or a URL, also relative to that of the sheet.
    pub fn beside(&self, file: &str) -> PathBuf {
        let named = object::named(Path::new(file));
        if object::is_url(&named) || named != Path::new(file) {
            return named;
        }
        if object::is_url(&self.path) && !Path::new(file).is_absolute() {
            return object::join(&self.path, file);
        }
        let directory = self.path.parent().unwrap_or(Path::new(""));
        let slashes = file.replace('\\', "/");
        let candidates = [directory.join(file), file.into(), directory.join(&slashes), PathBuf::from(&slashes)];
        candidates.into_iter().find(|path| path.exists()).unwrap_or_else(|| slashes.into())
    }

    /// The number in a cell. Codes that only look like numbers are not: with leading zeros (`001`), or with more digits
    /// than a number can hold.
    pub fn number(&self, text: &str) -> Option<f64> {
        number(text, self.has_commas)
    }

    /// Notes a problem.
    pub fn bad(&mut self, place: impl Into<String>, expected: impl Into<String>, found: impl ToString) {
        self.problems.push(SheetProblem { place: place.into(), expected: expected.into(), found: found.to_string() });
    }

    /// Reports all problems found.
    ///
    /// # Errors
    /// If there are any.
    pub fn finish(self) -> Result<(), SheetError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let mut problems = self.problems;
        let line = |problem: &SheetProblem| {
            let digits = problem.place.strip_prefix("row ").unwrap_or_default();
            digits.split(',').next().and_then(|digits| digits.parse::<u64>().ok())
        };
        problems.sort_by_key(line);
        Err(SheetError { path: self.path, problems })
    }

    /// Columns of numbers become numbers, and empty cells become null.
    pub fn make_numbers(&self, rows: &mut [&mut BTreeMap<String, Value>]) {
        let names: BTreeSet<String> = rows.iter().flat_map(|row| row.keys().cloned()).collect();
        let number = |value: &Value| number(value.as_str()?, self.has_commas);
        for name in &names {
            let values = || rows.iter().filter_map(|row| row.get(name));
            let all_numbers = values().all(|value| value == "" || number(value).is_some());
            for value in rows.iter_mut().filter_map(|row| row.get_mut(name)) {
                if value == "" {
                    *value = Value::Null;
                } else if all_numbers {
                    *value = number(value).into();
                }
            }
        }
    }
}

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

/// The columns that sample sheets add to the samples of a dataset, and whether all values of each are numbers.
#[derive(Clone, Debug, Default)]
pub struct SheetColumns(BTreeMap<String, bool>);

impl SheetColumns {
    /// The columns of all inputs together.
    pub fn of<'a>(inputs: impl IntoIterator<Item = &'a BTreeMap<String, Value>>) -> Self {
        let mut columns = BTreeMap::new();
        for (name, value) in inputs.into_iter().flatten() {
            *columns.entry(name.clone()).or_insert(true) &= value.is_number() || value.is_null();
        }
        Self(columns)
    }

    /// Their names next to existing columns: `sheet_NAME` if NAME is taken.
    pub fn names(&self, others: &[Column]) -> Vec<String> {
        self.0.keys().map(|name| sheet_name(name, others)).collect()
    }

    /// Adds them to the columns of samples; for each sample, `inputs` gives the sheet's values for its input.
    pub fn add_to<'a>(
        &self,
        columns: &mut Vec<Column>,
        inputs: impl Iterator<Item = Option<&'a BTreeMap<String, Value>>> + Clone,
    ) {
        for (name, &is_number) in &self.0 {
            let values = inputs.clone().map(|input| input?.get(name).filter(|value| !value.is_null()));
            let data = if is_number {
                ColumnData::F64(values.map(|value| value.and_then(Value::as_f64)).collect())
            } else {
                ColumnData::Str(values.map(|value| value.map(text_of)).collect())
            };
            columns.push(Column { name: sheet_name(name, columns), data });
        }
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Columns that later stages add to those of samples.
const RESERVED: [&str; 1] = ["embedding"];

fn sheet_name(name: &str, others: &[Column]) -> String {
    let is_taken = RESERVED.contains(&name) || others.iter().any(|column| column.name == name);
    if is_taken { format!("sheet_{name}") } else { name.to_owned() }
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

    #[test]
    fn all_that_is_wrong_is_told_by_line() {
        let text = "sample,file,\na,x,\n,y,\nb,z\n,,\nc,w,5\n";
        let mut sheet = Sheet::of_bytes(Path::new("s.csv"), text.as_bytes(), &[&["sample"], &["file"]]).unwrap();
        for row in sheet.rows() {
            sheet.needed(&row, &["sample"], "a name");
        }
        assert_eq!(
            sheet.finish().unwrap_err().to_string(),
            "s.csv: 3 things are wrong:\n  row 3: expected a name, found nothing\n  \
             row 4: expected 3 values, as many as columns, found 2\n  \
             row 6: expected a name for column 3 in the header, found \"5\" without one"
        );
        let error = Sheet::of_bytes(Path::new("s.csv"), b"sample,fastq1\n", &[&["fastq_1"]]).unwrap_err();
        assert_eq!(error.to_string(), "s.csv: header: expected a column `fastq_1`, found sample, fastq1");
    }
}
