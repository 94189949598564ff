//! The tag tree of DM3 and DM4: a big-endian structure whose values have the byte order of the machine that wrote them.
//! <https://www.er-c.org/cbb/info/dmformat/>

use crate::{Error, Place, read::ByteSource};

/// Maximum depth of nested groups; a file of Digital Micrograph has about ten.
const MAX_DEPTH: u32 = 64;
/// Longer arrays are recorded, but not read.
const MAX_TEXT: u64 = 1024;

/// A branch or leaf of the tree.
#[derive(Clone, Debug)]
pub(crate) enum Tag {
    Group(Vec<(String, Tag)>),
    Number(f64),
    /// Text is an array of 16-bit numbers like any other, so a short one is interpreted as both.
    Array {
        offset: u64,
        num_bytes: u64,
        text: String,
    },
}

impl Tag {
    /// The first child with that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Tag> {
        match self {
            Self::Group(tags) => tags.iter().find(|(other, _)| other == name).map(|(_, tag)| tag),
            _ => None,
        }
    }

    /// A descendant.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Tag> {
        path.iter().try_fold(self, |tag, name| tag.get(name))
    }

    pub(crate) fn children(&self) -> impl Iterator<Item = &Tag> {
        match self {
            Self::Group(tags) => tags.as_slice(),
            _ => &[],
        }
        .iter()
        .map(|(_, tag)| tag)
    }

    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Array { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// The tree of a file and the byte order of its values.
pub(crate) fn read(source: &ByteSource, is_dm4: bool) -> Result<(Tag, bool), Error> {
    let mut reader = Reader { source, is_dm4, little_endian: true, next: 4, window: Vec::new(), window_start: 0 };
    reader.word()?;
    reader.little_endian = reader.uint(4)? == 1;
    let root = reader.group(0)?;
    Ok((root, !reader.little_endian))
}

struct Reader<'a> {
    source: &'a ByteSource,
    is_dm4: bool,
    little_endian: bool,
    next: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Result<&[u8], Error> {
        let end = self.window_start + self.window.len() as u64;
        if self.next < self.window_start || self.next.saturating_add(len as u64) > end {
            self.source.check_range(self.next, len as u64, "a tag")?;
            let window = (self.source.len() - self.next).min(1 << 14).max(len as u64);
            self.window = self.source.bytes_at(self.next, window, "a tag")?;
            self.window_start = self.next;
        }
        let start = (self.next - self.window_start) as usize;
        self.next += len as u64;
        Ok(&self.window[start..start + len])
    }

    fn skip(&mut self, len: u64) -> Result<(), Error> {
        self.source.check_range(self.next, len, "a tag")?;
        self.next += len;
        Ok(())
    }

    /// A big-endian number of the structure.
    fn uint(&mut self, len: usize) -> Result<u64, Error> {
        Ok(self.take(len)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// 4 bytes in DM3, 8 in DM4.
    fn word(&mut self) -> Result<u64, Error> {
        self.uint(if self.is_dm4 { 8 } else { 4 })
    }

    fn corrupt(&self, what: &str, expected: &str, found: impl std::fmt::Display) -> Error {
        let place = Place { offset: Some(self.next), ..Place::file(self.source.path()) };
        self.source.corrupt_at(place, what, expected, found)
    }

    fn group(&mut self, depth: u32) -> Result<Tag, Error> {
        if depth > MAX_DEPTH {
            return Err(self.corrupt("the depth of the tag tree", &format!("at most {MAX_DEPTH}"), depth));
        }
        self.skip(2)?;
        let num_tags = self.word()?;
        // A tag takes at least 4 bytes.
        if num_tags > self.source.len() / 4 {
            return Err(self.corrupt("the number of tags", "as many as fit the file", num_tags));
        }
        let mut tags = Vec::new();
        for _ in 0..num_tags {
            let kind = self.uint(1)?;
            let name_len = self.uint(2)? as usize;
            let name = String::from_utf8_lossy(self.take(name_len)?).into_owned();
            if self.is_dm4 {
                self.skip(8)?;
            }
            tags.push(match kind {
                20 => (name, self.group(depth + 1)?),
                21 => (name, self.value()?),
                other => return Err(self.corrupt("the kind of a tag", "20 or 21", other)),
            });
        }
        Ok(Tag::Group(tags))
    }

    fn value(&mut self) -> Result<Tag, Error> {
        let mark = self.take(4)?;
        if mark != b"%%%%" {
            let found = format!("{mark:?}");
            return Err(self.corrupt("the mark before a value", "%%%%", found));
        }
        let num_infos = self.word()?;
        let kind = self.word()?;
        match (num_infos, kind) {
            (1, kind) => self.simple(kind),
            (2, 18) => {
                let num_bytes = self.word()?;
                let offset = self.next;
                self.skip(num_bytes)?;
                Ok(Tag::Array { offset, num_bytes, text: String::new() })
            }
            (3.., 15 | 20) => self.array_or_struct(kind),
            _ => Err(self.corrupt("the description of a value", "a number, text, structure or array", kind)),
        }
    }

    fn array_or_struct(&mut self, kind: u64) -> Result<Tag, Error> {
        if kind == 15 {
            let offset = self.next;
            let num_bytes = self.struct_bytes()?;
            self.skip(num_bytes)?;
            return Ok(Tag::Array { offset, num_bytes, text: String::new() });
        }
        let element = self.word()?;
        let size = match element {
            15 => self.struct_bytes()?,
            18 => self.word()?,
            20 => {
                let inner = self.word()?;
                let size = self.size_of(inner)?;
                size.saturating_mul(self.word()?)
            }
            simple => self.size_of(simple)?,
        };
        let num_bytes = self.word()?.saturating_mul(size);
        let offset = self.next;
        let mut text = String::new();
        if element == 4 && num_bytes <= 2 * MAX_TEXT {
            let bytes = self.take(num_bytes as usize)?.to_vec();
            text = self.utf16(&bytes);
        } else {
            self.skip(num_bytes)?;
        }
        Ok(Tag::Array { offset, num_bytes, text })
    }

    fn utf16(&self, bytes: &[u8]) -> String {
        let unit = |bytes: &[u8]| {
            let bytes = [bytes[0], bytes[1]];
            if self.little_endian { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }
        };
        char::decode_utf16(bytes.chunks_exact(2).map(unit)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    }

    fn struct_bytes(&mut self) -> Result<u64, Error> {
        self.word()?;
        let num_fields = self.word()?;
        if num_fields > self.source.len() / 8 {
            return Err(self.corrupt("the number of fields", "as many as fit the file", num_fields));
        }
        let mut num_bytes = 0;
        for _ in 0..num_fields {
            self.word()?;
            let kind = self.word()?;
            num_bytes += self.size_of(kind)?;
        }
        Ok(num_bytes)
    }

    fn size_of(&self, kind: u64) -> Result<u64, Error> {
        Ok(match kind {
            8..=10 => 1,
            2 | 4 => 2,
            3 | 5 | 6 => 4,
            7 | 11 | 12 => 8,
            other => return Err(self.corrupt("the type of a value", "2 to 12", other)),
        })
    }

    fn simple(&mut self, kind: u64) -> Result<Tag, Error> {
        let size = self.size_of(kind)? as usize;
        let little_endian = self.little_endian;
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(self.take(size)?);
        if !little_endian {
            bytes[..size].reverse();
        }
        let word = u64::from_le_bytes(bytes);
        Ok(Tag::Number(match kind {
            2 => f64::from(word as i16),
            3 => f64::from(word as i32),
            6 => f64::from(f32::from_bits(word as u32)),
            7 => f64::from_bits(word),
            9 | 10 => f64::from(word as i8),
            11 => word as i64 as f64,
            _ => word as f64,
        }))
    }
}
