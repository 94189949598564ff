//! Shard files: reads as columns, to be memory-mapped.
//!
//! ```text
//! magic "INVREADS" | version u32 | sections u32 | rows u64 | bases u64
//! section table:     id u32 | 0 u32 | offset u64 | length u64     for each section, by ascending id
//! sections:          each begins at a multiple of 64 bytes; the gaps are zero
//! ```
//! All numbers are little-endian. Row `i` of a section of bytes, text or runs is what lies between `ends[i - 1]` (0 for
//! the first row) and `ends[i]` of its section of ends (u32); where all rows are empty, both sections are. Two shards of the same
//! rows are the same bytes.

mod reader;
mod writer;

pub(crate) use reader::{ShardAlignment, ShardFile};
pub(crate) use writer::{References, write};

const MAGIC: &[u8; 8] = b"INVREADS";

/// Version of this layout.
pub(crate) const VERSION: u32 = 1;

const HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 24;
const ALIGNMENT: usize = 64;

/// What a section holds; the discriminant is its id in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Section {
    /// u32 a row.
    LengthBp = 1,
    /// Bases at 2 bits, see [`crate::packed`].
    Packed,
    PackedEnds,
    /// `start` u32, `len` u32 a run.
    NRuns,
    NRunEnds,
    /// f32 a row, a probability; NaN for none.
    MeanError,
    /// f32 a row.
    Gc,
    /// u8 a row: bits 0 and 1 mate number, bit 2 aligned, bit 3 reverse strand.
    Flags,
    Names,
    NameEnds,
    Descriptions,
    DescriptionEnds,
    /// u32 a row: number of the input in the manifest.
    Source,
    /// u32 a row: number of the reference in this shard's dictionary. This section and the ones below are there only
    /// where a row is aligned.
    Reference,
    /// u32 a row, 1-based; 0 for a row that is not aligned.
    Position,
    /// u32 a row.
    SpanBp,
    /// u8 a row, 255 for none.
    MappingQuality,
    ReferenceNames,
    /// u32 a reference sequence.
    ReferenceNameEnds,
}

const NUM_SECTIONS: usize = 19;

#[cfg(test)]
mod tests;
