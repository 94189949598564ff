use std::{
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
};

use invar_dataset::DatasetError;
use memmap2::Mmap;

use super::{ENTRY_BYTES, HEADER_BYTES, MAGIC, NUM_SECTIONS, Section, VERSION};
use crate::{
    packed::{NRun, PackedSlice},
    quality,
    rows::{FLAG_ALIGNED, FLAG_MATE, FLAG_REVERSE, NO_MAPPING_QUALITY},
};

/// Sections with a fixed number of bytes per row.
const COLUMNS: [(Section, usize); 13] = [
    (Section::LengthBp, 4),
    (Section::PackedEnds, 4),
    (Section::NRunEnds, 4),
    (Section::MeanError, 4),
    (Section::Gc, 4),
    (Section::Flags, 1),
    (Section::NameEnds, 4),
    (Section::DescriptionEnds, 4),
    (Section::Source, 4),
    (Section::Reference, 4),
    (Section::Position, 4),
    (Section::SpanBp, 4),
    (Section::MappingQuality, 1),
];

/// Sections of ends that are empty if what they divide is.
const MAY_LACK: [(Section, Section); 2] =
    [(Section::NRunEnds, Section::NRuns), (Section::DescriptionEnds, Section::Descriptions)];

/// A shard, memory-mapped. Nothing in the file is trusted: what concerns the whole file is checked at opening, what
/// concerns a row when the row is read.
///
/// # Panics
/// All methods that take a row number panic if it is not below [`ShardFile::num_rows`].
pub(crate) struct ShardFile {
    path: PathBuf,
    map: Mmap,
    sections: [Option<Range<usize>>; NUM_SECTIONS + 1],
    num_rows: usize,
}

/// The alignment columns of a row; `reference` is an index into the dictionary of the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardAlignment {
    pub reference: u32,
    pub position: u32,
    pub span_bp: u32,
    pub is_reverse: bool,
    pub mapping_quality: Option<u8>,
}

impl ShardFile {
    /// Maps the file and checks its layout.
    ///
    /// # Errors
    /// If it cannot be mapped or is not a shard of this version.
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let file = File::open(path).map_err(DatasetError::stored(path))?;
        // SAFETY: shards are written once, under a temporary name, and never changed; should another program change the
        // file, every value is checked again when it is used, so that a wrong one is an error.
        let map = unsafe { Mmap::map(&file) }.map_err(DatasetError::io(path))?;
        let mut shard = Self { path: path.into(), map, sections: [const { None }; NUM_SECTIONS + 1], num_rows: 0 };
        shard.read_layout()?;
        Ok(shard)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    pub fn size_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    pub fn length_bp(&self, row: usize) -> u32 {
        self.word(Section::LengthBp, row)
    }

    pub fn mean_quality(&self, row: usize) -> Option<f32> {
        let error = f32::from_bits(self.word(Section::MeanError, row));
        (!error.is_nan()).then(|| quality::phred(error))
    }

    pub fn gc(&self, row: usize) -> f32 {
        f32::from_bits(self.word(Section::Gc, row))
    }

    /// 1 or 2 for mates.
    pub fn mate(&self, row: usize) -> Option<u8> {
        let mate = self.byte(Section::Flags, row) & FLAG_MATE;
        matches!(mate, 1 | 2).then_some(mate)
    }

    pub fn source(&self, row: usize) -> u32 {
        self.word(Section::Source, row)
    }

    pub fn name(&self, row: usize) -> Result<&str, DatasetError> {
        self.text(Section::Names, Section::NameEnds, row)
    }

    pub fn description(&self, row: usize) -> Result<&str, DatasetError> {
        self.text(Section::Descriptions, Section::DescriptionEnds, row)
    }

    pub fn sequence(&self, row: usize) -> Result<PackedSlice<'_>, DatasetError> {
        let bytes = self.item(Section::Packed, Section::PackedEnds, row, 1)?;
        let runs = self.item(Section::NRuns, Section::NRunEnds, row, size_of::<NRun>())?;
        let runs = NRun::slice_from_bytes(runs)
            .ok_or_else(|| self.corrupt("runs of N", "aligned to 4 bytes on a little-endian machine", "others"))?;
        PackedSlice::new(bytes, self.length_bp(row) as usize, runs)
            .map_err(|error| self.corrupt(&format!("sequence of row {row}"), "a packed sequence", error))
    }

    pub fn alignment(&self, row: usize) -> Option<ShardAlignment> {
        let flags = self.byte(Section::Flags, row);
        if flags & FLAG_ALIGNED == 0 || self.sections[Section::Reference as usize].is_none() {
            return None;
        }
        let mapping_quality = self.byte(Section::MappingQuality, row);
        Some(ShardAlignment {
            reference: self.word(Section::Reference, row),
            position: self.word(Section::Position, row),
            span_bp: self.word(Section::SpanBp, row),
            is_reverse: flags & FLAG_REVERSE != 0,
            mapping_quality: (mapping_quality != NO_MAPPING_QUALITY).then_some(mapping_quality),
        })
    }

    /// The dictionary of reference names.
    pub fn reference_names(&self) -> Result<Vec<&str>, DatasetError> {
        let num_names = self.section(Section::ReferenceNameEnds).len() / 4;
        (0..num_names).map(|name| self.text(Section::ReferenceNames, Section::ReferenceNameEnds, name)).collect()
    }

    fn read_layout(&mut self) -> Result<(), DatasetError> {
        let size = self.map.len();
        if size < HEADER_BYTES {
            return Err(self.corrupt("size in bytes", format!("at least {HEADER_BYTES}"), size));
        }
        if self.map[..8] != *MAGIC {
            let found = String::from_utf8_lossy(&self.map[..8]).into_owned();
            return Err(self.corrupt("magic", String::from_utf8_lossy(MAGIC), format!("{found:?}")));
        }
        let version = u32_at(&self.map, 8);
        if version != VERSION {
            return Err(self.corrupt("shard version", VERSION, version));
        }
        let (num_sections, num_rows) = (u32_at(&self.map, 12) as usize, u64_at(&self.map, 16));
        if num_sections > NUM_SECTIONS || HEADER_BYTES + ENTRY_BYTES * num_sections > size {
            return Err(self.corrupt("number of sections", format!("at most {NUM_SECTIONS}"), num_sections));
        }
        self.num_rows = usize::try_from(num_rows)
            .ok()
            .filter(|&rows| rows <= size)
            .ok_or_else(|| self.corrupt("number of rows", format!("at most {size}"), num_rows))?;
        for number in 0..num_sections {
            let entry = HEADER_BYTES + ENTRY_BYTES * number;
            let id = u32_at(&self.map, entry) as usize;
            let (offset, len) = (u64_at(&self.map, entry + 8), u64_at(&self.map, entry + 16));
            if !(1..=NUM_SECTIONS).contains(&id) || self.sections[id].is_some() {
                return Err(self.corrupt("section id", format!("1 to {NUM_SECTIONS}, each once"), id));
            }
            let Some(end) = offset.checked_add(len).filter(|&end| end <= size as u64) else {
                let what = format!("end of section {id}");
                return Err(self.corrupt(&what, format!("at most {size}"), format!("{offset} + {len}")));
            };
            self.sections[id] = Some(offset as usize..end as usize);
        }
        self.check_columns()
    }

    fn check_columns(&self) -> Result<(), DatasetError> {
        let is_aligned = self.sections[Section::Reference as usize].is_some();
        for (section, row_bytes) in COLUMNS {
            let is_needed = is_aligned || (section as u32) < Section::Reference as u32;
            let expected = if is_needed { self.num_rows.saturating_mul(row_bytes) } else { 0 };
            let found = self.section(section).len();
            if found == 0 && MAY_LACK.iter().any(|&(ends, items)| ends == section && self.section(items).is_empty()) {
                continue;
            }
            if found != expected {
                return Err(self.corrupt(&format!("size of section {section:?} in bytes"), expected, found));
            }
        }
        Ok(())
    }

    /// The bytes of a section; empty if the file lacks it.
    fn section(&self, section: Section) -> &[u8] {
        self.sections[section as usize].as_ref().map_or(&[], |range| &self.map[range.clone()])
    }

    fn word(&self, section: Section, row: usize) -> u32 {
        u32_at(self.section(section), 4 * row)
    }

    fn byte(&self, section: Section, row: usize) -> u8 {
        self.section(section)[row]
    }

    /// The bytes between two ends, which count units of `unit_bytes`.
    fn item(&self, section: Section, ends: Section, row: usize, unit_bytes: usize) -> Result<&[u8], DatasetError> {
        if self.section(ends).is_empty() {
            return Ok(&[]);
        }
        let start = if row == 0 { 0 } else { self.word(ends, row - 1) as usize };
        let end = self.word(ends, row) as usize;
        self.section(section).get(start * unit_bytes..end * unit_bytes).ok_or_else(|| {
            let expected = format!("0 to {} in order", self.section(section).len() / unit_bytes);
            self.corrupt(&format!("ends of row {row} in section {section:?}"), expected, format!("{start} to {end}"))
        })
    }

    fn text(&self, section: Section, ends: Section, row: usize) -> Result<&str, DatasetError> {
        let bytes = self.item(section, ends, row, 1)?;
        std::str::from_utf8(bytes)
            .map_err(|error| self.corrupt(&format!("text of row {row} in section {section:?}"), "UTF-8", error))
    }

    fn corrupt(&self, what: &str, expected: impl ToString, found: impl ToString) -> DatasetError {
        DatasetError::Corrupt {
            path: self.path.clone(),
            what: what.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
