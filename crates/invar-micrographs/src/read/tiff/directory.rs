//! The structure of a TIFF: header, directories, and the values of tags. Classic and BigTIFF, both byte orders.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Error, Place,
    read::{ByteSource, samples},
};

/// Numbers of the tags that are used (from TIFF 6.0 and vendors).
#[allow(missing_docs)]
pub(crate) mod tag {
    pub(crate) const SUBFILE_TYPE: u16 = 254;
    pub(crate) const OLD_SUBFILE_TYPE: u16 = 255;
    pub(crate) const WIDTH: u16 = 256;
    pub(crate) const HEIGHT: u16 = 257;
    pub(crate) const BITS: u16 = 258;
    pub(crate) const COMPRESSION: u16 = 259;
    pub(crate) const PHOTOMETRIC: u16 = 262;
    pub(crate) const FILL_ORDER: u16 = 266;
    pub(crate) const DESCRIPTION: u16 = 270;
    pub(crate) const MAKE: u16 = 271;
    pub(crate) const STRIP_OFFSETS: u16 = 273;
    pub(crate) const ORIENTATION: u16 = 274;
    pub(crate) const SAMPLES: u16 = 277;
    pub(crate) const ROWS_PER_STRIP: u16 = 278;
    pub(crate) const STRIP_BYTES: u16 = 279;
    pub(crate) const X_RESOLUTION: u16 = 282;
    pub(crate) const Y_RESOLUTION: u16 = 283;
    pub(crate) const PLANAR: u16 = 284;
    pub(crate) const PAGE_NAME: u16 = 285;
    pub(crate) const RESOLUTION_UNIT: u16 = 296;
    pub(crate) const SOFTWARE: u16 = 305;
    pub(crate) const PREDICTOR: u16 = 317;
    pub(crate) const COLOUR_MAP: u16 = 320;
    pub(crate) const TILE_WIDTH: u16 = 322;
    pub(crate) const TILE_HEIGHT: u16 = 323;
    pub(crate) const TILE_OFFSETS: u16 = 324;
    pub(crate) const TILE_BYTES: u16 = 325;
    pub(crate) const SUB_DIRECTORIES: u16 = 330;
    pub(crate) const EXTRA_SAMPLES: u16 = 338;
    pub(crate) const SAMPLE_FORMAT: u16 = 339;
    pub(crate) const JPEG_TABLES: u16 = 347;
    pub(crate) const DEPTH: u16 = 32997;
    pub(crate) const UIC1: u16 = 33628;
    pub(crate) const UIC2: u16 = 33629;
    pub(crate) const NDPI_LENS: u16 = 65421;
}

/// The first bytes of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) big_endian: bool,
    pub(crate) is_big: bool,
    first: u64,
}

/// A directory of tags: the description of a page.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    /// Index in the chain, 1-based.
    pub(crate) page: u32,
    /// Its offset.
    offset: u64,
    entries: BTreeMap<u16, Entry>,
    next: u64,
    /// One past its last byte and those of the values of its tags.
    tags_end: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: u16,
    count: u64,
    /// Offset of the values.
    offset: u64,
}

impl Header {
    pub(crate) fn read(source: &ByteSource) -> Result<Self, Error> {
        let mut head = [0; 8];
        source.read_at(0, &mut head, "the header")?;
        let big_endian = head[0] == b'M';
        let mut header = Self { big_endian, is_big: false, first: 0 };
        header.is_big = header.u16(&head[2..]) == 43;
        if header.is_big {
            if header.u16(&head[4..]) != 8 {
                return Err(source.corrupt("the offset size of BigTIFF", "8", header.u16(&head[4..])));
            }
            source.read_at(8, &mut head, "the header")?;
            header.first = header.u64(&head);
        } else {
            header.first = u64::from(header.u32(&head[4..]));
        }
        Ok(header)
    }

    fn u16(&self, bytes: &[u8]) -> u16 {
        let bytes = [bytes[0], bytes[1]];
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    pub(crate) fn u32(&self, bytes: &[u8]) -> u32 {
        let bytes = [0, 1, 2, 3].map(|i| bytes[i]);
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn u64(&self, bytes: &[u8]) -> u64 {
        let bytes = [0, 1, 2, 3, 4, 5, 6, 7].map(|i| bytes[i]);
        if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
    }

    /// All directories of the chain; and where the chain leads, if that is not a directory and nothing else is missing.
    ///
    /// # Errors
    /// If the file ends within the chain, or the chain is circular or claims more than the file can hold.
    pub(crate) fn directories(&self, source: &ByteSource) -> Result<(Vec<Directory>, Option<u64>), Error> {
        let mut seen = BTreeSet::new();
        let mut directories: Vec<Directory> = Vec::new();
        let mut num_bytes = 0;
        let mut offset = self.first;
        while offset != 0 {
            let page = directories.len() as u32 + 1;
            let place = || Place { offset: Some(offset), ..Place::page(source.path(), page) };
            if !seen.insert(offset) {
                return Err(source.corrupt_at(place(), "the next directory", "one not yet seen", "a cycle"));
            }
            let is_rubbish = || !directories.is_empty() && !self.is_cut(source, offset, &directories);
            let directory = match self.directory(source, offset, page) {
                Ok(directory) if directory.is_picture() || !is_rubbish() => directory,
                Err(error) if !is_rubbish() => return Err(error),
                _ => return Ok((directories, Some(offset))),
            };
            num_bytes += directory.entries.len() as u64 * 12;
            if num_bytes > source.len() {
                return Err(source.corrupt_at(place(), "the directories", "no overlap", "directories that overlap"));
            }
            offset = directory.next;
            directories.push(directory);
        }
        if directories.is_empty() {
            return Err(source.corrupt("the first directory", "an offset", 0));
        }
        Ok((directories, None))
    }

    /// Whether what is missing at `offset` was probably there once: the file continues beyond everything that the
    /// directories refer to, and a program would have put the next directory there. If a chain ends in garbage, neither
    /// is true.
    fn is_cut(&self, source: &ByteSource, offset: u64, directories: &[Directory]) -> bool {
        let end = directories.iter().map(|directory| directory.end(source, self)).max().unwrap_or(0);
        // Directories and pixels begin at even offsets.
        source.len() > end + 1 && offset >= end && offset.is_multiple_of(2)
    }

    fn directory(&self, source: &ByteSource, offset: u64, page: u32) -> Result<Directory, Error> {
        let what = "a directory";
        let (count_len, entry_len, inline_len) = if self.is_big { (8, 20, 8) } else { (2, 12, 4) };
        let count = source.bytes_at(offset, count_len, what)?;
        let count = if self.is_big { self.u64(&count) } else { u64::from(self.u16(&count)) };
        let start = offset + count_len;
        let place = || Place { offset: Some(offset), ..Place::page(source.path(), page) };
        if count == 0 || count > u64::from(u16::MAX) {
            return Err(source.corrupt_at(place(), "the number of tags", "1 to 65535", count));
        }
        let bytes = source.bytes_at(start, count * entry_len + inline_len, what)?;
        let mut entries = BTreeMap::new();
        let mut tags_end = start + bytes.len() as u64;
        for (index, entry) in bytes.chunks_exact(entry_len as usize).take(count as usize).enumerate() {
            let kind = self.u16(&entry[2..]);
            let count = if self.is_big { self.u64(&entry[4..]) } else { u64::from(self.u32(&entry[4..])) };
            let Some(size) = size_of_kind(kind) else { continue };
            let value = &entry[(entry_len - inline_len) as usize..];
            let here = start + (index as u64 + 1) * entry_len - inline_len;
            let offset = match count.checked_mul(size) {
                Some(len) if len <= inline_len => here,
                _ if self.is_big => self.u64(value),
                _ => u64::from(self.u32(value)),
            };
            let end = offset.saturating_add(count.saturating_mul(size));
            tags_end = tags_end.max(if end <= source.len() { end } else { 0 });
            entries.entry(self.u16(entry)).or_insert(Entry { kind, count, offset });
        }
        let next = &bytes[(count * entry_len) as usize..];
        let next = if self.is_big { self.u64(next) } else { u64::from(self.u32(next)) };
        Ok(Directory { page, offset, entries, next, tags_end })
    }
}

/// Bytes per value of a field type.
fn size_of_kind(kind: u16) -> Option<u64> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16 | 17 | 18 => Some(8),
        _ => None,
    }
}

impl Directory {
    pub(crate) fn has(&self, tag: u16) -> bool {
        self.entries.contains_key(&tag)
    }

    /// Its byte offset.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether it states the size of its picture and the location of its pixels.
    fn is_picture(&self) -> bool {
        let has_pixels = self.has(tag::STRIP_OFFSETS) || self.has(tag::TILE_OFFSETS);
        self.has(tag::WIDTH) && self.has(tag::HEIGHT) && has_pixels
    }

    /// One past the last byte of the directory and the values of its tags.
    pub(crate) fn tags_end(&self) -> u64 {
        self.tags_end
    }

    /// One past the last byte of everything it refers to, including pixels.
    fn end(&self, source: &ByteSource, header: &Header) -> u64 {
        let values = |tag| self.unsigned(source, header, tag).ok().flatten().unwrap_or_default();
        let ends = [(tag::STRIP_OFFSETS, tag::STRIP_BYTES), (tag::TILE_OFFSETS, tag::TILE_BYTES)]
            .into_iter()
            .flat_map(|(offsets, lens)| values(offsets).into_iter().zip(values(lens)))
            .map(|(offset, len)| offset.saturating_add(len));
        ends.filter(|&end| end <= source.len()).max().unwrap_or(0).max(self.tags_end)
    }

    /// Number of values of a tag.
    pub(crate) fn count(&self, tag: u16) -> u64 {
        self.entries.get(&tag).map_or(0, |entry| entry.count)
    }

    /// Byte offset of the values of a tag.
    pub(crate) fn values_at(&self, tag: u16) -> Option<u64> {
        self.entries.get(&tag).map(|entry| entry.offset)
    }

    /// The bytes of a tag as stored; never more than the file has.
    pub(crate) fn bytes(&self, source: &ByteSource, tag: u16) -> Result<Option<Vec<u8>>, Error> {
        let Some(entry) = self.entries.get(&tag) else { return Ok(None) };
        let len = size_of_kind(entry.kind).and_then(|size| size.checked_mul(entry.count)).unwrap_or(u64::MAX);
        source.bytes_at(entry.offset, len, &format!("tag {tag}")).map(Some)
    }

    /// The values of an integer tag.
    pub(crate) fn unsigned(&self, source: &ByteSource, header: &Header, tag: u16) -> Result<Option<Vec<u64>>, Error> {
        let Some(bytes) = self.bytes(source, tag)? else { return Ok(None) };
        let kind = self.entries[&tag].kind;
        let values = match kind {
            1 | 7 => bytes.iter().map(|&byte| u64::from(byte)).collect(),
            3 => bytes.chunks_exact(2).map(|bytes| u64::from(header.u16(bytes))).collect(),
            4 | 13 => bytes.chunks_exact(4).map(|bytes| u64::from(header.u32(bytes))).collect(),
            16 | 18 => bytes.chunks_exact(8).map(|bytes| header.u64(bytes)).collect(),
            6 | 8 | 9 | 17 => return self.signed(source, header, tag, &bytes),
            _ => {
                let place = Place::page(source.path(), self.page);
                return Err(source.corrupt_at(place, format!("the type of tag {tag}"), "a whole number", kind));
            }
        };
        Ok(Some(values))
    }

    /// The values of a tag that some programs write as signed numbers, though none is negative.
    fn signed(&self, source: &ByteSource, header: &Header, tag: u16, bytes: &[u8]) -> Result<Option<Vec<u64>>, Error> {
        let values: Vec<i64> = match self.entries[&tag].kind {
            6 => bytes.iter().map(|&byte| i64::from(byte as i8)).collect(),
            8 => bytes.chunks_exact(2).map(|bytes| i64::from(header.u16(bytes) as i16)).collect(),
            9 => bytes.chunks_exact(4).map(|bytes| i64::from(header.u32(bytes) as i32)).collect(),
            _ => bytes.chunks_exact(8).map(|bytes| header.u64(bytes) as i64).collect(),
        };
        let place = || Place::page(source.path(), self.page);
        let negative = |value| source.corrupt_at(place(), format!("tag {tag}"), "no negative number", value);
        values
            .into_iter()
            .map(|value| u64::try_from(value).map_err(|_| negative(value)))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// The first value of an integer tag.
    pub(crate) fn number(&self, source: &ByteSource, header: &Header, tag: u16) -> Result<Option<u64>, Error> {
        Ok(self.unsigned(source, header, tag)?.and_then(|values| values.first().copied()))
    }

    /// The first value of any numeric tag; `None` if it is not a number.
    pub(crate) fn real(&self, source: &ByteSource, header: &Header, tag: u16) -> Option<f64> {
        let mut bytes = self.bytes(source, tag).ok()??;
        let value = match self.entries[&tag].kind {
            5 if bytes.len() >= 8 => f64::from(header.u32(&bytes)) / f64::from(header.u32(&bytes[4..])),
            11 if bytes.len() >= 4 => f64::from(f32::from_bits(header.u32(&bytes))),
            12 if bytes.len() >= 8 => {
                samples::to_native(&mut bytes[..8], 8, header.big_endian);
                f64::from_ne_bytes(bytes[..8].try_into().ok()?)
            }
            _ => self.number(source, header, tag).ok()?? as f64,
        };
        value.is_finite().then_some(value)
    }

    /// The text of a tag, up to the first NUL; UTF-8 or else Latin-1.
    pub(crate) fn text(&self, source: &ByteSource, tag: u16) -> Option<String> {
        let bytes = self.bytes(source, tag).ok()??;
        Some(decode_text(bytes.split(|&byte| byte == 0).next()?))
    }
}

/// UTF-8, or else Latin-1, which vendors use for the micro sign.
pub(crate) fn decode_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}
