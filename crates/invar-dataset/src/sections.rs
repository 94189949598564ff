//! A container of columns, to be memory-mapped: what shards and other large files of a dataset are written in.
//!
//! ```text
//! magic [u8; 8] | version u32 | sections u32 | rows u64
//! section table:     id u32 | 0 u32 | offset u64 | length u64     for each section, by ascending id
//! sections:          each begins at a multiple of 64 bytes; the gaps are zero
//! ```
//! All numbers are little-endian. Two files of the same rows are the same bytes.
//!
//! ```
//! use invar_dataset::sections::{self, Format, Sections, column};
//!
//! const FORMAT: Format = Format { magic: *b"EXAMPLE1", version: 1 };
//! let mut bytes = vec![];
//! sections::write_to(&mut bytes, &FORMAT, 3, &[(1, column(&[0.5f32, 1.0, 2.0]))]).unwrap();
//! let file = Sections::of_bytes(&bytes, &FORMAT).unwrap();
//! assert_eq!((file.num_rows(), file.column::<f32>(1, 3).unwrap()), (3, &[0.5, 1.0, 2.0][..]));
//! ```

use std::{
    fs::File,
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use bytemuck::{AnyBitPattern, NoUninit};
use memmap2::Mmap;
use sha2::{Digest, Sha256};

use crate::{
    DatasetError,
    atomic::AtomicFile,
    manifest::{self, Shard},
};

const HEADER_BYTES: usize = 24;
const ENTRY_BYTES: usize = 24;
const ALIGNMENT: usize = 64;
const MOST_SECTIONS: usize = 64;

// Numbers are written and read in place.
const _: () = assert!(cfg!(target_endian = "little"), "files are little-endian");

/// What a file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The kind of file; no other kind has it.
    pub magic: [u8; 8],
    /// Version of the sections. A reader refuses a file of another version.
    pub version: u32,
}

/// The bytes of a column.
pub fn column<T: NoUninit>(values: &[T]) -> &[u8] {
    bytemuck::cast_slice(values)
}

/// Writes the file `path`, completely or not at all. `sections` are pairs of id and bytes.
///
/// # Errors
/// If it cannot be written.
///
/// # Panics
/// As [`write_to`]; also if `path` has no name.
pub fn write(path: &Path, format: &Format, num_rows: u64, sections: &[(u32, &[u8])]) -> Result<Shard, DatasetError> {
    let write = || -> io::Result<(u64, String)> {
        let mut out = Hashing { out: AtomicFile::create(path)?, hasher: Sha256::new(), size_bytes: 0 };
        write_to(&mut out, format, num_rows, sections)?;
        out.out.commit()?;
        Ok((out.size_bytes, manifest::hex(&out.hasher.finalize())))
    };
    let (size_bytes, sha256) = write().map_err(DatasetError::io(path))?;
    let file = path.file_name().expect("a file").to_string_lossy().into_owned();
    Ok(Shard { file, num_rows, size_bytes, sha256 })
}

/// Writes the bytes of a file.
///
/// # Errors
/// Those of the writer.
///
/// # Panics
/// If there are more than 64 sections, or their ids do not ascend.
pub fn write_to(mut out: impl Write, format: &Format, num_rows: u64, sections: &[(u32, &[u8])]) -> io::Result<()> {
    assert!(sections.len() <= MOST_SECTIONS, "{} sections of at most {MOST_SECTIONS}", sections.len());
    assert!(sections.is_sorted_by(|(one, _), (next, _)| one < next), "the ids of sections ascend");
    let mut head = [format.magic.as_slice(), &format.version.to_le_bytes()].concat();
    head.extend((sections.len() as u32).to_le_bytes());
    head.extend(num_rows.to_le_bytes());
    let mut end = HEADER_BYTES + ENTRY_BYTES * sections.len();
    for (id, bytes) in sections {
        let start = end.next_multiple_of(ALIGNMENT);
        head.extend(u64::from(*id).to_le_bytes());
        head.extend((start as u64).to_le_bytes());
        head.extend((bytes.len() as u64).to_le_bytes());
        end = start + bytes.len();
    }
    let mut end = head.len();
    out.write_all(&head)?;
    for (_, bytes) in sections {
        let start = end.next_multiple_of(ALIGNMENT);
        out.write_all(&[0; ALIGNMENT][..start - end])?;
        out.write_all(bytes)?;
        end = start + bytes.len();
    }
    out.flush()
}

/// A writer that takes size and checksum on the way.
struct Hashing {
    out: AtomicFile,
    hasher: Sha256,
    size_bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let num = self.out.write(bytes)?;
        self.hasher.update(&bytes[..num]);
        self.size_bytes += num as u64;
        Ok(num)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A file of columns, mapped. Nothing in it is trusted.
#[derive(Debug)]
pub struct Sections {
    path: PathBuf,
    bytes: Bytes,
    table: Table,
    num_rows: usize,
}

/// The ids of the sections, ascending, and where each lies.
type Table = Vec<(u32, Range<usize>)>;

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    /// Words, so that numbers are aligned, and the number of bytes.
    InMemory(Vec<u64>, usize),
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::InMemory(words, len) => &bytemuck::cast_slice(words)[..*len],
        }
    }
}

impl Sections {
    /// Maps a file and checks its layout.
    ///
    /// # Errors
    /// If it cannot be mapped or is not a file of this format.
    pub fn open(path: &Path, format: &Format) -> Result<Self, DatasetError> {
        let file = File::open(path).map_err(DatasetError::stored(path))?;
        // SAFETY: files are written once, under a temporary name, and never changed; should another program change one,
        // numbers get other values, and those that are used as indices are checked by the slices they are used in.
        let map = unsafe { Mmap::map(&file) }.map_err(DatasetError::io(path))?;
        Self::of(path, Bytes::Mapped(map), format)
    }

    /// The same from memory, for tests and fuzz targets.
    ///
    /// # Errors
    /// If it is not a file of this format.
    pub fn of_bytes(bytes: &[u8], format: &Format) -> Result<Self, DatasetError> {
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self::of(Path::new("memory"), Bytes::InMemory(words, bytes.len()), format)
    }

    fn of(path: &Path, bytes: Bytes, format: &Format) -> Result<Self, DatasetError> {
        let mut sections = Self { path: path.into(), bytes, table: vec![], num_rows: 0 };
        (sections.table, sections.num_rows) = sections.read_table(format)?;
        Ok(sections)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// Size of the file.
    pub fn size_bytes(&self) -> u64 {
        self.bytes.get().len() as u64
    }

    /// Compares size and rows with what the manifest says of this file.
    ///
    /// # Errors
    /// If one differs.
    pub fn check(&self, shard: &Shard) -> Result<(), DatasetError> {
        if self.size_bytes() != shard.size_bytes {
            return Err(self.corrupt("size in bytes", shard.size_bytes, self.size_bytes()));
        }
        if self.num_rows as u64 != shard.num_rows {
            return Err(self.corrupt("number of rows", shard.num_rows, self.num_rows));
        }
        Ok(())
    }

    /// A section of `len` values.
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
        let at = self.table.binary_search_by_key(&id, |(id, _)| *id);
        let at = at.map_err(|_| self.corrupt(&format!("section {id}"), "it to be there", "none"))?;
        let bytes = &self.bytes.get()[self.table[at].1.clone()];
        bytemuck::try_cast_slice(bytes)
            .map_err(|error| self.corrupt(&format!("section {id}"), "whole, aligned values", error))
    }

    /// What lies between `ends[row - 1]` (0 for the first) and `ends[row]` of a section of items.
    ///
    /// # Errors
    /// If the ends are not ascending, or exceed the section.
    ///
    /// # Panics
    /// If `row` is not below the number of ends.
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
    ///
    /// # Panics
    /// As [`Self::item`].
    pub fn text(&self, id: u32, ends: &[u32], row: usize) -> Result<&str, DatasetError> {
        std::str::from_utf8(self.item(id, ends, row)?)
            .map_err(|error| self.corrupt(&format!("item {row} of section {id}"), "UTF-8", error))
    }

    /// An error about this file.
    pub fn corrupt(&self, what: &str, expected: impl ToString, found: impl ToString) -> DatasetError {
        DatasetError::corrupt(&self.path, what, expected, found)
    }

    /// The places of all sections, and the number of rows.
    fn read_table(&self, format: &Format) -> Result<(Table, usize), DatasetError> {
        let bytes = self.bytes.get();
        let size = bytes.len();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        if size < HEADER_BYTES {
            return Err(self.corrupt("size in bytes", format!("at least {HEADER_BYTES}"), size));
        }
        if bytes[..8] != format.magic {
            let found = format!("{:?}", String::from_utf8_lossy(&bytes[..8]));
            return Err(self.corrupt("magic", format!("{:?}", String::from_utf8_lossy(&format.magic)), found));
        }
        if word(8) != format.version {
            let expected = format!("{}, which this program writes: ingest the data again", format.version);
            return Err(self.corrupt("version of the layout", expected, word(8)));
        }
        let num_sections = word(12) as usize;
        if num_sections > MOST_SECTIONS || HEADER_BYTES + ENTRY_BYTES * num_sections > size {
            return Err(self.corrupt("number of sections", format!("at most {MOST_SECTIONS}"), num_sections));
        }
        let num_rows = usize::try_from(long(16)).ok().filter(|&rows| rows <= size);
        let num_rows = num_rows.ok_or_else(|| self.corrupt("number of rows", format!("at most {size}"), long(16)))?;
        let mut table = Table::with_capacity(num_sections);
        for number in 0..num_sections {
            let entry = HEADER_BYTES + ENTRY_BYTES * number;
            let (id, offset, len) = (word(entry), long(entry + 8), long(entry + 16));
            if let Some((before, _)) = table.last().filter(|(before, _)| *before >= id) {
                return Err(self.corrupt("id of a section", format!("above {before}"), id));
            }
            let Some(end) = offset.checked_add(len).filter(|&end| end <= size as u64) else {
                let what = format!("end of section {id}");
                return Err(self.corrupt(&what, format!("at most {size}"), format!("{offset} + {len}")));
            };
            table.push((id, offset as usize..end as usize));
        }
        Ok((table, num_rows))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMAT: Format = Format { magic: *b"INVTEST1", version: 7 };

    fn written() -> Vec<u8> {
        let (numbers, ends) = ([1.5f32, -2.0, f32::MAX], [2u32, 2, 5]);
        let sections: [(u32, &[u8]); 4] = [(1, column(&numbers)), (3, b"abcde"), (4, column(&ends)), (9, &[])];
        let mut bytes = vec![];
        write_to(&mut bytes, &FORMAT, 3, &sections).unwrap();
        bytes
    }

    fn refusal(bytes: &[u8], format: &Format) -> String {
        Sections::of_bytes(bytes, format).unwrap_err().to_string()
    }

    #[test]
    fn columns_come_back() {
        let file = Sections::of_bytes(&written(), &FORMAT).unwrap();
        assert_eq!(file.num_rows(), 3);
        assert_eq!(file.column::<f32>(1, 3).unwrap(), [1.5, -2.0, f32::MAX]);
        let ends: &[u32] = file.column(4, 3).unwrap();
        let texts: Vec<&str> = (0..3).map(|row| file.text(3, ends, row).unwrap()).collect();
        assert_eq!(texts, ["ab", "", "cde"]);
        assert!(file.all::<u64>(9).unwrap().is_empty());
        assert!(file.column::<f32>(2, 3).is_err() && file.column::<f32>(1, 2).is_err() && file.all::<u32>(3).is_err());
        assert!(file.item::<u8>(3, &[9, 2, 5], 0).is_err() && file.item::<u8>(3, &[4, 2, 5], 1).is_err());
    }

    #[test]
    fn a_file_on_disk_is_what_the_manifest_says_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let sections: [(u32, &[u8]); 2] = [(1, b"abc"), (2, &[])];
        let shard = write(&path, &FORMAT, 3, &sections).unwrap();
        assert_eq!((shard.size_bytes, shard.sha256.clone()), manifest::file_digest(&path).unwrap());
        assert_eq!((shard.file.as_str(), shard.num_rows), ("x", 3));
        let file = Sections::open(&path, &FORMAT).unwrap();
        assert_eq!(file.all::<u8>(1).unwrap(), b"abc");
        file.check(&shard).unwrap();
        for other in [Shard { num_rows: 4, ..shard.clone() }, Shard { size_bytes: 9, ..shard.clone() }] {
            assert!(file.check(&other).is_err());
        }
    }

    #[test]
    fn a_file_of_another_kind_or_version_is_refused_with_both() {
        let bytes = written();
        let other = Format { magic: *b"INVTEST2", ..FORMAT };
        assert_eq!(refusal(&bytes, &other), r#"memory: magic: expected "INVTEST2", found "INVTEST1""#);
        let expected =
            "memory: version of the layout: expected 8, which this program writes: ingest the data again, found 7";
        assert_eq!(refusal(&bytes, &Format { version: 8, ..FORMAT }), expected);
        let mut swapped = bytes.clone();
        swapped[HEADER_BYTES] = 3;
        assert_eq!(refusal(&swapped, &FORMAT), "memory: id of a section: expected above 3, found 3");
    }

    #[test]
    #[should_panic(expected = "ids of sections ascend")]
    fn sections_of_one_id_are_a_mistake() {
        let _ = write_to(vec![], &FORMAT, 0, &[(1, b""), (1, b"")]);
    }

    #[test]
    fn what_is_cut_off_is_missed() {
        let whole = written();
        // The last section is empty.
        for at in 0..whole.len() {
            assert!(Sections::of_bytes(&whole[..at], &FORMAT).is_err(), "{at}");
        }
    }

    proptest! {
        #[test]
        fn damage_is_refused_or_read_without_a_panic(at in 0usize..1000, value: u8, row in 0usize..3) {
            let mut bytes = written();
            let at = at % bytes.len();
            bytes[at] = value;
            if let Ok(file) = Sections::of_bytes(&bytes, &FORMAT) {
                let _ = (file.column::<f32>(1, 3), file.all::<u64>(4), file.all::<[u32; 3]>(9));
                if let Ok(ends) = file.column(4, 3) {
                    let _ = file.text(3, ends, row);
                }
            }
        }
    }
}
