//! Shard files: reads as columns, to be memory-mapped.
//!
//! ```text
//! magic "INVREADS" | version u32 | sections u32 | rows u64 | bases u64
//! section table:     id u32 | 0 u32 | offset u64 | length u64     for each section, by ascending id
//! sections:          each begins at a multiple of 64 bytes; the gaps are zero
//! ```
//! All numbers are little-endian. Row `i` of a section of bytes, text or runs is what lies between `ends[i - 1]` (0 for
//! the first row) and `ends[i]` of its section of ends (u32); if all rows are empty, both sections are. Two shards of
//! the same rows are the same bytes.

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

/// The content of a section; the discriminant is its id in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Section {
    /// u32 per row.
    LengthBp = 1,
    /// Bases at 2 bits, see [`crate::packed`].
    Packed,
    PackedEnds,
    /// `start` u32, `len` u32 per run.
    NRuns,
    NRunEnds,
    /// f32 per row, a probability; NaN for none.
    MeanError,
    /// f32 per row.
    Gc,
    /// u8 per row: bits 0 and 1 mate number, bit 2 aligned, bit 3 reverse strand.
    Flags,
    Names,
    NameEnds,
    Descriptions,
    DescriptionEnds,
    /// u32 per row: index of the input in the manifest.
    Source,
    /// u32 per row: index of the reference in this shard's dictionary. This section and the ones below exist only if
    /// some row is aligned.
    Reference,
    /// u32 per row, 1-based; 0 for a row that is not aligned.
    Position,
    /// u32 per row.
    SpanBp,
    /// u8 per row, 255 for none.
    MappingQuality,
    ReferenceNames,
    /// u32 per reference sequence.
    ReferenceNameEnds,
}

const NUM_SECTIONS: usize = 19;

#[cfg(test)]
mod tests;
