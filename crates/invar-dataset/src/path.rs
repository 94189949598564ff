//! Paths as text: in JSON, in a column, in a summary read by programs.
//!
//! On Unix a path may contain any bytes but 0, while text is UTF-8. A path in UTF-8 is written as it is; a byte that is
//! not part of a UTF-8 character is written as `\x` and two hexadecimal digits, and so is a backslash before an `x`, so
//! that every text stands for exactly one path and can be read back.
//!
//! ```
//! use std::path::Path;
//! use invar_dataset::path;
//! assert_eq!(path::text(Path::new("lane 1/größe.fq")), "lane 1/größe.fq");
//! assert_eq!(path::parse(&path::text(Path::new(r"a\x41"))), Path::new(r"a\x41"));
//! ```
//!
//! With serde: `#[serde(with = "invar_dataset::path")]`, and `path::option` for an `Option<PathBuf>`.

use std::{
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serializer};

/// The path as text, losslessly.
pub fn text(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text += &chunk.valid().replace(r"\x", r"\x5cx");
        for byte in chunk.invalid() {
            text += &format!(r"\x{byte:02x}");
        }
    }
    text
}

/// The path from which [`text`] made this text. Text of another origin is taken as a path unchanged.
pub fn parse(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(r"\x") {
        let (before, escape) = rest.split_at(start);
        bytes.extend_from_slice(before.as_bytes());
        match escape.get(2..4).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &escape[4..];
            }
            None => {
                bytes.extend_from_slice(br"\x");
                rest = &escape[2..];
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    from_bytes(bytes).into()
}

/// The path from a directory to `to`, so that both can be moved together; `to` in full if there is none.
///
/// ```
/// use std::path::Path;
/// use invar_dataset::path;
/// let dir = tempfile::tempdir()?;
/// std::fs::create_dir_all(dir.path().join("run/maps"))?;
/// std::fs::create_dir(dir.path().join("embeddings"))?;
/// let way = path::relative(&dir.path().join("run/maps"), &dir.path().join("embeddings"))?;
/// assert_eq!(way, Path::new("../../embeddings"));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// If either does not exist.
pub fn relative(from: &Path, to: &Path) -> io::Result<PathBuf> {
    let here = if from.as_os_str().is_empty() { Path::new(".") } else { from };
    let (from, to) = (fs::canonicalize(here)?, fs::canonicalize(to)?);
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    // On Windows two drives have nothing in common.
    if common == 0 {
        return Ok(to);
    }
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    Ok(up.chain(to.components().skip(common)).collect())
}

#[cfg(unix)]
fn from_bytes(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

#[cfg(not(unix))]
fn from_bytes(bytes: Vec<u8>) -> OsString {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// Writes a path as [`text`].
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(path))
}

/// Reads what [`serialize`] wrote.
///
/// # Errors
/// If there is no text.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Ok(parse(&String::deserialize(deserializer)?))
}

/// For fields that may be absent, of recipes too, where people write URLs.
pub mod option {
    use super::{Deserialize, Deserializer, PathBuf, Serializer, parse, text};
    use crate::object;

    /// Writes a path as [`text`], or nothing.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        match path {
            Some(path) => serializer.serialize_some(&text(path)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads what [`serialize`] wrote. A URL becomes its [name](object::named), so that a signature in it is not written
    /// again.
    ///
    /// # Errors
    /// If there is a value that is not text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(|text| object::named(&parse(&text))))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use proptest::prelude::*;

    use super::*;

    fn path(bytes: &[u8]) -> PathBuf {
        OsString::from_vec(bytes.to_vec()).into()
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped_and_the_escape_is_unambiguous() {
        assert_eq!(text(&path(b"run\xff/a.fq")), r"run\xff/a.fq");
        // The same text as a name of its own is another path, and so is another text.
        assert_eq!(text(&path(br"run\xff/a.fq")), r"run\x5cxff/a.fq");
        assert_eq!(text(Path::new("größe \\n")), "größe \\n");
        assert_eq!(parse(r"\x\xg0\x4"), path(br"\x\xg0\x4"));
    }

    #[test]
    fn serde_reads_back_what_it_wrote() {
        #[derive(Debug, PartialEq, serde::Serialize, Deserialize)]
        struct Both {
            #[serde(with = "super")]
            path: PathBuf,
            #[serde(with = "super::option")]
            option: Option<PathBuf>,
        }
        for option in [None, Some(path(b"\xfe"))] {
            let both = Both { path: path(b"a\xff"), option };
            let json = serde_json::to_string(&both).unwrap();
            assert_eq!(serde_json::from_str::<Both>(&json).unwrap(), both);
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read_back(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\\'), Just(b'x')], 0..20)) {
            prop_assert_eq!(parse(&text(&path(&bytes))), path(&bytes));
        }

        #[test]
        fn ordinary_names_stay_as_they_are(name in "[a-zA-Z0-9 ._/äé-]{0,20}") {
            prop_assert_eq!(text(Path::new(&name)), name);
        }
    }
}
