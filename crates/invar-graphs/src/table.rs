//! Tables of text, read a row at a time: TSV or CSV with a header, plain or gzip.

use std::{
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use csv::{Position, StringRecord};
use flate2::bufread::MultiGzDecoder;
use invar_dataset::input;

use crate::Error;

/// A table that is being read.
pub(crate) struct Table {
    path: PathBuf,
    names: Vec<String>,
    reader: csv::Reader<Box<dyn BufRead + Send>>,
    record: StringRecord,
}

/// A row of a table.
pub(crate) struct Row<'a> {
    table: &'a Path,
    names: &'a [String],
    /// Its line in the file, 1-based.
    line: u64,
    values: &'a StringRecord,
}

impl Table {
    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be opened, or does not begin with a header.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::of(path, input::open(path).map_err(Error::io(path))?)
    }

    /// The table in these bytes, plain or compressed; `path` is what messages call it.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub fn of(path: &Path, bytes: impl Read + Send + 'static) -> Result<Self, Error> {
        let mut plain = BufReader::with_capacity(1 << 16, bytes);
        let head = plain.fill_buf().map_err(Error::io(path))?;
        let mut text: Box<dyn BufRead + Send> = if head.starts_with(&[0x1f, 0x8b]) {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        let head = text.fill_buf().map_err(|error| unreadable(path, 1, error))?;
        let other = match head {
            [b'P', b'A', b'R', b'1', ..] => Some(
                "Parquet: write it as CSV first, by `invar query NAME.parquet \"SELECT * FROM self\" --out NAME.csv`",
            ),
            [b'P', b'K', 3, 4, ..] | [0xd0, 0xcf, 0x11, 0xe0, ..] => Some("a workbook: save the sheet as CSV (UTF-8)"),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("text in UTF-16: save it as UTF-8"),
            [] => Some("an empty file"),
            _ => None,
        };
        if let Some(other) = other {
            return Err(Error::table(path, "header".into(), "TSV or CSV, plain or gzip", other));
        }
        if head.starts_with("\u{feff}".as_bytes()) {
            text.consume(3);
        }
        let first = text.fill_buf().map_err(|error| unreadable(path, 1, error))?;
        let first = first.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let count = |delimiter: u8| first.iter().filter(|&&byte| byte == delimiter).count();
        // A tab is in no name; of the others the one that is there more often.
        let delimiter = [b'\t', b',', b';'].into_iter().rev().max_by_key(|&delimiter| match delimiter {
            b'\t' => count(delimiter) * 1000,
            _ => count(delimiter),
        });
        let delimiter = delimiter.unwrap_or(b'\t');
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(delimiter != b'\t')
            .trim(csv::Trim::All)
            .from_reader(text);
        let names: Vec<String> = match reader.headers() {
            Ok(names) => names.iter().map(str::to_owned).collect(),
            Err(error) => return Err(bad_row(path, error)),
        };
        let twice = (0..names.len()).find(|&at| names[..at].contains(&names[at]));
        if let Some(at) = twice {
            return Err(Error::table(path, "header".into(), "each column once", format!("{:?} twice", names[at])));
        }
        Ok(Self { path: path.into(), names, reader, record: StringRecord::new() })
    }

    /// The names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The index of the column that has one of these names, in lower case.
    pub fn column(&self, names: &[&str]) -> Option<usize> {
        self.names.iter().position(|column| names.contains(&column.to_lowercase().as_str()))
    }

    /// The same for a column that must be there.
    ///
    /// # Errors
    /// If it is not.
    pub fn needed(&self, names: &[&str]) -> Result<usize, Error> {
        self.column(names).ok_or_else(|| {
            let words: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            Error::table(&self.path, "header".into(), format!("a column {}", words.join(" or ")), self.names.join(", "))
        })
    }

    /// The next row that is not empty; `None` at the end.
    ///
    /// # Errors
    /// If it has another number of values than the header, is no text, or the file cannot be read.
    pub fn next(&mut self) -> Result<Option<Row<'_>>, Error> {
        match self.reader.read_record(&mut self.record) {
            Err(error) => Err(bad_row(&self.path, error)),
            Ok(false) => Ok(None),
            Ok(true) => {
                let line = self.record.position().map_or(0, Position::line);
                Ok(Some(Row { table: &self.path, names: &self.names, line, values: &self.record }))
            }
        }
    }
}

impl<'a> Row<'a> {
    /// The value in column `at`, without spaces around it.
    pub fn text(&self, at: usize) -> &'a str {
        &self.values[at]
    }

    /// The value in column `at`, which must be a finite number.
    ///
    /// # Errors
    /// If it is none.
    pub fn number(&self, at: usize) -> Result<f32, Error> {
        let text = self.text(at);
        text.parse().ok().filter(|number: &f32| number.is_finite()).ok_or_else(|| self.bad(at, "a finite number"))
    }

    /// The value in column `at` is not what is required.
    pub fn bad(&self, at: usize, expected: impl Into<String>) -> Error {
        let found = match self.text(at) {
            "" => "nothing".into(),
            text => format!("{text:?}"),
        };
        let place = format!("line {}, column {}", self.line, self.names[at]);
        Error::table(self.table, place, expected, found)
    }

    pub fn line(&self) -> u64 {
        self.line
    }
}

fn bad_row(path: &Path, error: csv::Error) -> Error {
    let line = error.position().map_or(0, Position::line);
    let place = format!("line {line}");
    match error.into_kind() {
        csv::ErrorKind::Io(error) => unreadable(path, line, error),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            Error::table(path, place, format!("{expected_len} values, as many as columns"), len.to_string())
        }
        csv::ErrorKind::Utf8 { err, .. } => Error::table(path, place, "text in UTF-8", err.to_string()),
        other => Error::table(path, place, "a row of a table", format!("{other:?}")),
    }
}

/// A damaged gzip is the file's fault, anything else the system's.
fn unreadable(path: &Path, line: u64, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            let place = if line > 0 { format!("line {line}") } else { "inside".into() };
            Error::table(path, place, "whole gzip data", error.to_string())
        }
        _ => Error::io(path)(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn rows(bytes: &[u8]) -> Result<(Vec<String>, Vec<Vec<String>>), Error> {
        let mut table = Table::of(Path::new("t.tsv"), io::Cursor::new(bytes.to_vec()))?;
        let names = table.names().to_vec();
        let mut rows = vec![];
        while let Some(row) = table.next()? {
            rows.push((0..names.len()).map(|at| row.text(at).to_owned()).collect());
        }
        Ok((names, rows))
    }

    #[test]
    fn delimiters_and_gzip_are_recognised() {
        let expected = (vec!["id".to_owned(), "x".into()], vec![vec!["a".to_owned(), "1,2".into()]]);
        for text in ["id\tx\na\t1,2\n", "\u{feff}id\tx\r\na\t1,2", "id,x\na,\"1,2\"\n", "id;x\n a ;1,2\n\n"] {
            assert_eq!(rows(text.as_bytes()).unwrap(), expected, "{text:?}");
        }
        let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        gzip.write_all(b"id\tx\na\t1,2\n").unwrap();
        let gzip = gzip.finish().unwrap();
        assert_eq!(rows(&gzip).unwrap(), expected);
        // Two members, as bgzip and cat make them.
        let mut second = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        second.write_all(b"b\t3\n").unwrap();
        let both = [gzip.clone(), second.finish().unwrap()].concat();
        assert_eq!(rows(&both).unwrap().1.len(), 2);
        let error = rows(&gzip[..gzip.len() - 6]).unwrap_err();
        assert!(error.kind() == "Table" && error.to_string().contains("expected whole gzip data"), "{error}");
    }

    #[test]
    fn a_bad_table_is_named_with_its_line() {
        for (bytes, expected) in [
            (&b"id\tx\na\t1\nb\n"[..], "t.tsv: line 3: expected 2 values, as many as columns, found 1"),
            (b"id\tid\n", "t.tsv: header: expected each column once, found \"id\" twice"),
            (b"", "t.tsv: header: expected TSV or CSV, plain or gzip, found an empty file"),
            (b"id\tx\na\t\xff\n", "t.tsv: line 2: expected text in UTF-8, found "),
        ] {
            let error = rows(bytes).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let error = rows(b"PAR1....").unwrap_err().to_string();
        assert!(error.contains("found Parquet: write it as CSV first"), "{error}");
    }

    #[test]
    fn numbers_are_finite() {
        let mut table = Table::of(Path::new("t.csv"), &b"id,x\na,1e-3\nb,NaN\nc,\n"[..]).unwrap();
        assert_eq!(table.next().unwrap().unwrap().number(1).unwrap(), 1e-3);
        let error = table.next().unwrap().unwrap().number(1).unwrap_err().to_string();
        assert_eq!(error, "t.csv: line 3, column x: expected a finite number, found \"NaN\"");
        let error = table.next().unwrap().unwrap().number(1).unwrap_err().to_string();
        assert_eq!(error, "t.csv: line 4, column x: expected a finite number, found nothing");
    }
}
