//! The text of a table as written by spreadsheets: its encoding, and its delimiter.

/// A decoded table.
#[derive(Debug, PartialEq)]
pub(super) struct Table {
    pub text: String,
    pub delimiter: u8,
    /// Lines that came before `text`.
    pub lines_before: u64,
}

impl Table {
    /// Decodes a table with a column named one of `columns`.
    ///
    /// # Errors
    /// What the bytes are instead.
    pub fn of(bytes: &[u8], columns: &[&str]) -> Result<Self, String> {
        let text = decode(bytes)?;
        // Excel's own way to name the delimiter.
        let named = text.lines().next().and_then(|line| line.trim_end().strip_prefix("sep="));
        if let Some(&[delimiter]) = named.map(str::as_bytes) {
            let rest = text.split_once('\n').map_or("", |(_, rest)| rest).to_owned();
            return Ok(Self { text: rest, delimiter, lines_before: 1 });
        }
        let header = |delimiter: u8| -> Vec<String> {
            let mut reader =
                csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).from_reader(text.as_bytes());
            reader.headers().map(|names| names.iter().map(str::to_lowercase).collect()).unwrap_or_default()
        };
        let headers = [b',', b';', b'\t'].map(|delimiter| (delimiter, header(delimiter)));
        let has_column = |names: &[String]| names.iter().any(|name| columns.contains(&name.as_str()));
        // Among those that find the column, the one with the most other columns: a header may contain a comma.
        let best = headers.iter().rev().max_by_key(|(_, names)| (has_column(names), names.len()));
        let delimiter = best.map_or(b',', |&(delimiter, _)| delimiter);
        Ok(Self { text, delimiter, lines_before: 0 })
    }
}

/// UTF-8, UTF-16, or else Windows-1252, in which any bytes are text.
fn decode(bytes: &[u8]) -> Result<String, String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units).collect::<Result<String, _>>().map_err(|error| format!("UTF-16 with an {error}"))
    };
    match bytes {
        [b'P', b'K', 3, 4, ..] | [0xd0, 0xcf, 0x11, 0xe0, ..] => {
            Err("a workbook: save the sheet as CSV (UTF-8)".into())
        }
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [_, 0, _, 0, ..] => utf16(bytes, u16::from_le_bytes),
        [0, _, 0, _, ..] => utf16(bytes, u16::from_be_bytes),
        _ => {
            let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
            match std::str::from_utf8(bytes) {
                Ok(text) => Ok(text.into()),
                Err(_) => Ok(bytes.iter().map(|&byte| windows_1252(byte)).collect()),
            }
        }
    }
}

/// <https://encoding.spec.whatwg.org/index-windows-1252.txt>
fn windows_1252(byte: u8) -> char {
    const FROM_128: [char; 32] = [
        '\u{20ac}', '\u{81}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2c6}',
        '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{8d}', '\u{17d}', '\u{8f}', '\u{90}', '\u{2018}', '\u{2019}',
        '\u{201c}', '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2dc}', '\u{2122}', '\u{161}', '\u{203a}',
        '\u{153}', '\u{9d}', '\u{17e}', '\u{178}',
    ];
    match byte {
        128..160 => FROM_128[usize::from(byte) - 128],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [&str; 2] = ["image", "file"];

    #[test]
    fn every_encoding_of_a_spreadsheet_is_read() {
        let text = "Image;Stahl;Gr\u{f6}\u{df}e, \u{b5}m\nK\u{f6}rner.tif;316L;\u{20ac}\n";
        let utf16: Vec<u16> = text.encode_utf16().collect();
        let le: Vec<u8> = utf16.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let be: Vec<u8> = utf16.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        // Python: text.encode('cp1252')
        let cp1252 = b"Image;Stahl;Gr\xf6\xdfe, \xb5m\nK\xf6rner.tif;316L;\x80\n";
        let files = [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            [b"\xff\xfe", le.as_slice()].concat(),
            [b"\xfe\xff", be.as_slice()].concat(),
            le,
            be,
            cp1252.to_vec(),
        ];
        for file in files {
            let table = Table::of(&file, &COLUMNS).unwrap();
            assert_eq!((table.text.as_str(), table.delimiter), (text, b';'));
        }
        assert!(Table::of(b"PK\x03\x04", &COLUMNS).unwrap_err().contains("CSV"));
        assert!(Table::of(b"\xff\xfe\x00\xd8a\x00", &COLUMNS).unwrap_err().contains("UTF-16"));
    }

    #[test]
    fn the_delimiter_is_that_which_finds_the_column() {
        let delimiter = |text: &str| Table::of(text.as_bytes(), &COLUMNS).unwrap().delimiter;
        assert_eq!(delimiter("image,a;b\nx,1\n"), b',');
        assert_eq!(delimiter("image;a,b\nx;1\n"), b';');
        assert_eq!(delimiter("a, b;FILE;c, d, e\n1;x;2\n"), b';');
        assert_eq!(delimiter("image\ta,b\nx\t1\n"), b'\t');
        assert_eq!(delimiter("image\nx\n"), b',');
        assert_eq!(delimiter("\"a;b\",image\n"), b',');
        let table = Table::of(b"sep=;\r\nimage;a\r\nx;1\r\n", &COLUMNS).unwrap();
        assert_eq!((table.text.as_str(), table.delimiter, table.lines_before), ("image;a\r\nx;1\r\n", b';', 1));
    }
}
