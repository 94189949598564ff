//! Files of columns, to be memory-mapped: contigs, the depth of a sample, the assembly graph.
//!
//! ```text
//! magic [u8; 8] | version u32 | sections u32 | rows u64
//! section table:     id u32 | 0 u32 | offset u64 | length u64     for each section, by ascending id
//! sections:          each begins at a multiple of 64 bytes; the gaps are zero
//! ```
//! All numbers are little-endian. Two files of the same rows are the same bytes.

use std::{
    fs::File,
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use bytemuck::{AnyBitPattern, NoUninit};
use invar_dataset::{
    DatasetError,
    atomic::AtomicFile,
    manifest::{self, Shard},
};
use memmap2::Mmap;
use sha2::{Digest, Sha256};

use crate::Error;

const VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;
const ENTRY_BYTES: usize = 24;
const ALIGNMENT: usize = 64;
const MOST_SECTIONS: usize = 64;

// Numbers are written and read in place.
const _: () = assert!(cfg!(target_endian = "little"), "files are little-endian");

/// The bytes of a column.
pub(crate) fn column<T: NoUninit>(values: &[T]) -> &[u8] {
    bytemuck::cast_slice(values)
}

/// Writes `file` of `directory`, completely or not at all. `sections` are in ascending order of their ids.
pub(crate) fn write(
    directory: &Path,
    file: &str,
    magic: &[u8; 8],
    num_rows: u64,
    sections: &[(u32, &[u8])],
) -> Result<Shard, Error> {
    let path = directory.join(file);
    let write = || -> io::Result<(u64, String)> {
        let mut out = AtomicFile::create(&path)?;
        let (mut hasher, mut size) = (Sha256::new(), 0usize);
        let mut put = |bytes: &[u8]| {
            hasher.update(bytes);
            size += bytes.len();
            out.write_all(bytes)
        };
        let mut head = [magic.as_slice(), &VERSION.to_le_bytes(), &(sections.len() as u32).to_le_bytes()].concat();
        head.extend(num_rows.to_le_bytes());
        let mut offset = HEADER_BYTES + ENTRY_BYTES * sections.len();
        for (id, bytes) in sections {
            offset = offset.next_multiple_of(ALIGNMENT);
            head.extend(u64::from(*id).to_le_bytes());
            head.extend((offset as u64).to_le_bytes());
            head.extend((bytes.len() as u64).to_le_bytes());
            offset += bytes.len();
        }
        let mut end = head.len();
        put(&head)?;
        for (_, bytes) in sections {
            put(&[0; ALIGNMENT][..end.next_multiple_of(ALIGNMENT) - end])?;
            put(bytes)?;
            end = end.next_multiple_of(ALIGNMENT) + bytes.len();
        }
        out.commit()?;
        Ok((size as u64, manifest::hex(&hasher.finalize())))
    };
    let (size_bytes, sha256) = write().map_err(Error::io(&path))?;
    Ok(Shard { file: file.into(), num_rows, size_bytes, sha256 })
}

/// A file of columns, mapped. Nothing in it is trusted.
#[derive(Debug)]
pub(crate) struct Sections {
    path: PathBuf,
    map: Mmap,
    table: Vec<(u32, Range<usize>)>,
    num_rows: usize,
}

impl Sections {
    /// Maps a file and checks its layout.
    ///
    /// # Errors
    /// If it cannot be mapped or is not a file of this kind and version.
    pub fn open(path: &Path, magic: &[u8; 8]) -> Result<Self, DatasetError> {
        let file = File::open(path).map_err(DatasetError::stored(path))?;
        // SAFETY: files are written once, under a temporary name, and never changed; should another program change one,
        // every value is checked again when it is used, so that a wrong one is an error.
        let map = unsafe { Mmap::map(&file) }.map_err(DatasetError::io(path))?;
        let mut sections = Self { path: path.into(), map, table: vec![], num_rows: 0 };
        sections.read_table(magic)?;
        Ok(sections)
    }

    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// Size of the file.
    pub fn size_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// A column of `len` values.
    ///
    /// # Errors
    /// If it is missing, or has another length.
    pub fn column<T: AnyBitPattern>(&self, id: u32, len: usize) -> Result<&[T], DatasetError> {
        let values = self.all(id)?;
        if values.len() == len {
            Ok(values)
        } else {
            Err(self.corrupt(&format!("length of section {id}"), len, values.len()))
        }
    }

    /// All values of a section.
    ///
    /// # Errors
    /// If it is missing, or no whole number of values.
    pub fn all<T: AnyBitPattern>(&self, id: u32) -> Result<&[T], DatasetError> {
        let bytes = self.bytes(id)?;
        bytemuck::try_cast_slice(bytes)
            .map_err(|error| self.corrupt(&format!("section {id}"), "whole, aligned values", error))
    }

    /// What lies between `ends[row - 1]` and `ends[row]` of a section of items.
    ///
    /// # Errors
    /// If the ends are not ascending, or exceed the section.
    pub fn item<T: AnyBitPattern>(&self, id: u32, ends: &[u32], row: usize) -> Result<&[T], DatasetError> {
        let (start, end) = (if row == 0 { 0 } else { ends[row - 1] }, ends[row]);
        let items = self.all(id)?;
        items.get(start as usize..end as usize).ok_or_else(|| {
            let what = format!("item {row} of section {id}");
            self.corrupt(&what, format!("inside 0..{}", items.len()), format!("{start}..{end}"))
        })
    }

    /// An item as text.
    ///
    /// # Errors
    /// As [`Self::item`]; also if it is not UTF-8.
    pub fn text(&self, id: u32, ends: &[u32], row: usize) -> Result<&str, DatasetError> {
        std::str::from_utf8(self.item(id, ends, row)?)
            .map_err(|error| self.corrupt(&format!("item {row} of section {id}"), "UTF-8", error))
    }

    /// An error about this file.
    pub fn corrupt(&self, what: &str, expected: impl ToString, found: impl ToString) -> DatasetError {
        corrupt(&self.path, what, expected, found)
    }

    fn bytes(&self, id: u32) -> Result<&[u8], DatasetError> {
        match self.table.iter().find(|(there, _)| *there == id) {
            Some((_, range)) => Ok(&self.map[range.clone()]),
            None => Err(self.corrupt(&format!("section {id}"), "it to be there", "none")),
        }
    }

    fn read_table(&mut self, magic: &[u8; 8]) -> Result<(), DatasetError> {
        let size = self.map.len();
        let word = |at: usize| u32::from_le_bytes(self.map[at..at + 4].try_into().expect("4 bytes"));
        let long = |at: usize| u64::from_le_bytes(self.map[at..at + 8].try_into().expect("8 bytes"));
        if size < HEADER_BYTES {
            return Err(self.corrupt("size in bytes", format!("at least {HEADER_BYTES}"), size));
        }
        if self.map[..8] != *magic {
            let found = String::from_utf8_lossy(&self.map[..8]).into_owned();
            return Err(self.corrupt("magic", String::from_utf8_lossy(magic), format!("{found:?}")));
        }
        if word(8) != VERSION {
            return Err(self.corrupt("version", VERSION, word(8)));
        }
        let num_sections = word(12) as usize;
        if num_sections > MOST_SECTIONS || HEADER_BYTES + ENTRY_BYTES * num_sections > size {
            return Err(self.corrupt("number of sections", format!("at most {MOST_SECTIONS}"), num_sections));
        }
        let num_rows = usize::try_from(long(16)).ok().filter(|&rows| rows <= size);
        let num_rows = num_rows.ok_or_else(|| self.corrupt("number of rows", format!("at most {size}"), long(16)))?;
        let mut table = Vec::with_capacity(num_sections);
        for number in 0..num_sections {
            let entry = HEADER_BYTES + ENTRY_BYTES * number;
            let (id, offset, len) = (word(entry), long(entry + 8), long(entry + 16));
            let Some(end) = offset.checked_add(len).filter(|&end| end <= size as u64) else {
                let what = format!("end of section {id}");
                return Err(self.corrupt(&what, format!("at most {size}"), format!("{offset} + {len}")));
            };
            table.push((id, offset as usize..end as usize));
        }
        self.table = table;
        self.num_rows = num_rows;
        Ok(())
    }
}

/// An error about a stored file.
pub(crate) fn corrupt(path: &Path, what: &str, expected: impl ToString, found: impl ToString) -> DatasetError {
    DatasetError::Corrupt {
        path: path.into(),
        what: what.into(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: &[u8; 8] = b"INVTEST1";

    #[test]
    fn columns_come_back_and_damage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (numbers, ends) = ([1.5f32, -2.0, f32::MAX], [2u32, 2, 5]);
        let sections: [(u32, &[u8]); 3] = [(1, column(&numbers)), (3, b"abcde"), (4, column(&ends))];
        let shard = write(dir.path(), "x", MAGIC, 3, &sections).unwrap();
        let path = dir.path().join("x");
        assert_eq!((shard.size_bytes, shard.sha256.clone()), manifest::file_digest(&path).unwrap());
        let file = Sections::open(&path, MAGIC).unwrap();
        assert_eq!(file.num_rows(), 3);
        assert_eq!(file.column::<f32>(1, 3).unwrap(), numbers);
        let ends: &[u32] = file.column(4, 3).unwrap();
        let texts: Vec<&str> = (0..3).map(|row| file.text(3, ends, row).unwrap()).collect();
        assert_eq!(texts, ["ab", "", "cde"]);
        assert!(file.column::<f32>(2, 3).is_err() && file.column::<f32>(1, 2).is_err() && file.all::<u32>(3).is_err());
        assert!(file.item::<u8>(3, &[9, 2, 5], 0).is_err() && file.item::<u8>(3, &[4, 2, 5], 1).is_err());
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            std::fs::write(&path, &damaged).unwrap();
            // Either refused, or read without a panic.
            if let Ok(file) = Sections::open(&path, MAGIC) {
                let _ = (file.column::<f32>(1, 3), file.text(3, &[2, 2, 5], 2), file.all::<u64>(4));
            }
            std::fs::write(&path, &whole[..at]).unwrap();
            let cut = Sections::open(&path, MAGIC).and_then(|file| file.column::<u32>(4, 3).map(<[u32]>::to_vec));
            assert!(cut.is_err(), "{at}");
        }
    }
}
