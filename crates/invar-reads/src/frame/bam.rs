//! Cuts a decompressed BAM stream into records (SAM specification, section 4.2) and joins mates by name.
//!
//! Written here rather than taken from noodles, whose reader copies every record into a type of its own: here the
//! workers decode a whole buffer of records in place, an error names the record and its byte, and mates are joined
//! before decoding.

use std::{path::Path, sync::Arc};

use super::{MAX_RECORD_BYTES, mates::Waiting};
use crate::{
    Error,
    error::Place,
    source::{InputStream, Workers},
};

/// Bytes of records that waited for their mate given to one worker at a time, unless one is longer.
const SLAB_BYTES: usize = 1 << 20;

/// Bytes of the fixed part of a record, after its size.
pub(crate) const FIXED_BYTES: usize = 32;

pub(crate) const PAIRED: u16 = 0x1;
pub(crate) const UNMAPPED: u16 = 0x4;
pub(crate) const REVERSE: u16 = 0x10;
pub(super) const FIRST: u16 = 0x40;
pub(super) const LAST: u16 = 0x80;
/// Secondary or supplementary.
pub(crate) const NOT_PRIMARY: u16 = 0x900;

/// A record in a [`BamSlab`], without its size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BamSpan {
    start: u32,
    len: u32,
    /// Whether it is in the bytes that waited.
    has_waited: bool,
    /// Number in the input, 1-based.
    pub record: u64,
}

/// One read, or the two mates of a fragment, R1 first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment {
    pub first: BamSpan,
    pub second: Option<BamSpan>,
    /// A paired read whose mate was not found.
    pub is_singleton: bool,
}

/// Complete records, each long enough for what its fixed part states.
pub(crate) struct BamSlab {
    /// A part of the stream.
    bytes: Vec<u8>,
    /// Records from earlier parts that waited for their mate.
    waited: Vec<u8>,
    pub fragments: Vec<Fragment>,
    /// Index of the input.
    pub input: u32,
    /// Number of reference sequences in the header.
    pub num_references: u32,
}

impl BamSlab {
    /// The bytes of a record, from its fixed part on.
    pub fn record(&self, span: BamSpan) -> &[u8] {
        let bytes = if span.has_waited { &self.waited } else { &self.bytes };
        &bytes[span.start as usize..][..span.len as usize]
    }

    /// Memory used, in bytes.
    pub fn num_bytes(&self) -> usize {
        self.bytes.len() + self.waited.len()
    }

    /// The buffer, for reuse.
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds a record that waited.
    pub(super) fn push_waited(&mut self, record: &[u8], number: u64) -> BamSpan {
        let start = self.waited.len() as u32;
        self.waited.extend_from_slice(record);
        BamSpan { start, len: record.len() as u32, has_waited: true, record: number }
    }
}

/// The fields of a record that are needed to locate the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fixed {
    pub reference: i32,
    pub position: i32,
    pub name_len: usize,
    pub mapping_quality: u8,
    pub num_cigar_ops: usize,
    pub flags: u16,
    pub length_bp: usize,
}

impl Fixed {
    /// Reads the fixed part of a record (at least [`FIXED_BYTES`] long).
    pub fn of(record: &[u8]) -> Self {
        let word = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().expect("four bytes"));
        let half = |at: usize| u16::from_le_bytes([record[at], record[at + 1]]);
        Self {
            reference: word(0).cast_signed(),
            position: word(4).cast_signed(),
            name_len: usize::from(record[8]),
            mapping_quality: record[9],
            num_cigar_ops: usize::from(half(12)),
            flags: half(14),
            length_bp: word(16) as usize,
        }
    }

    /// Where the CIGAR operations begin.
    pub fn cigar_start(&self) -> usize {
        FIXED_BYTES + self.name_len
    }

    /// Where the bases begin.
    pub fn sequence_start(&self) -> usize {
        self.cigar_start() + 4 * self.num_cigar_ops
    }

    /// Where the qualities begin.
    pub fn quality_start(&self) -> usize {
        self.sequence_start() + self.length_bp.div_ceil(2)
    }

    /// Where the tags begin.
    pub fn end(&self) -> usize {
        self.quality_start() + self.length_bp
    }
}

/// A record's name without the NUL at its end.
pub(crate) fn name(record: &[u8]) -> &[u8] {
    let end = FIXED_BYTES + usize::from(record[8]).saturating_sub(1);
    &record[FIXED_BYTES..end]
}

/// Cuts one input.
pub(crate) struct BamFramer {
    source: InputStream,
    workers: Workers,
    input: u32,
    references: Arc<Vec<String>>,
    buffer: Vec<u8>,
    /// Where the next record begins in the buffer, and the buffer in the stream.
    position: usize,
    buffer_offset: u64,
    num_records: u64,
    waiting: Waiting,
    /// Number of fragments in the last slab: the next will have about as many.
    num_fragments: usize,
    finished: bool,
}

impl BamFramer {
    /// Reads the header from `source`; `start` are the bytes already taken from it. Records of at most `waiting_bytes`
    /// wait in memory for their mate, others in an unnamed file in directory `scratch`.
    ///
    /// # Errors
    /// If the header is truncated or inconsistent.
    pub fn new(
        source: InputStream,
        start: Vec<u8>,
        workers: &Workers,
        input: u32,
        (waiting_bytes, scratch): (u64, &Path),
    ) -> Result<Self, Error> {
        let mut framer = Self {
            source,
            workers: workers.clone(),
            input,
            references: Arc::default(),
            buffer: start,
            position: 0,
            buffer_offset: 0,
            num_records: 0,
            waiting: Waiting::new(waiting_bytes, scratch),
            num_fragments: 0,
            finished: false,
        };
        framer.references = Arc::new(framer.read_header()?);
        Ok(framer)
    }

    pub fn source(&self) -> &InputStream {
        &self.source
    }

    /// Names of the reference sequences in the header.
    pub fn references(&self) -> &Arc<Vec<String>> {
        &self.references
    }

    /// Records so far.
    pub fn num_records(&self) -> u64 {
        self.num_records
    }

    /// The next records; `None` at the end.
    ///
    /// # Errors
    /// If the stream is truncated or a record is inconsistent.
    pub fn next_slab(&mut self) -> Result<Option<BamSlab>, Error> {
        let mut slab = BamSlab {
            bytes: Vec::new(),
            waited: Vec::new(),
            fragments: Vec::with_capacity(self.num_fragments + self.num_fragments / 8),
            input: self.input,
            num_references: self.references.len() as u32,
        };
        // The current content of the buffer, at least one record, becomes the slab.
        let mut is_first = true;
        while !self.finished && slab.waited.len() < SLAB_BYTES {
            let Some(size) = self.next_record_size(is_first)? else { break };
            is_first = false;
            self.num_records += 1;
            let start = self.position + 4;
            self.position = start + size;
            let span = BamSpan { start: start as u32, len: size as u32, has_waited: false, record: self.num_records };
            self.waiting.take(&self.buffer[start..self.position], span, &mut slab)?;
        }
        if self.finished {
            while slab.waited.len() < SLAB_BYTES && self.waiting.release(&mut slab)? {}
        }
        self.num_fragments = slab.fragments.len();
        let rest = self.workers.buffers.copy_of(&self.buffer[self.position..]);
        slab.bytes = std::mem::replace(&mut self.buffer, rest);
        self.buffer_offset += self.position as u64;
        self.position = 0;
        Ok((!slab.fragments.is_empty() || !self.finished).then_some(slab))
    }

    /// Size of the next record, once it is in the buffer with everything its fixed part announces. `None` at the end,
    /// or if it is not in the buffer and `may_read` is not set.
    fn next_record_size(&mut self, may_read: bool) -> Result<Option<usize>, Error> {
        let left = self.buffer.len() - self.position;
        if !may_read && (left < 4 || left < 4 + self.word(0) as usize) {
            return Ok(None);
        }
        if may_read && !self.need(1)? {
            self.finished = true;
            return Ok(None);
        }
        self.require(4, "the size of a record")?;
        let size = self.word(0) as usize;
        if size < FIXED_BYTES {
            return Err(self.corrupt("record size in bytes", format!("at least {FIXED_BYTES}"), size));
        }
        if size > MAX_RECORD_BYTES {
            return Err(Error::TooLong { place: self.place().into(), limit_bytes: MAX_RECORD_BYTES as u64 });
        }
        self.require(4 + size, "the rest of a record")?;
        let fixed = Fixed::of(&self.buffer[self.position + 4..]);
        if fixed.name_len == 0 {
            return Err(self.corrupt("length of a read name", "at least 1", 0));
        }
        if fixed.end() > size {
            return Err(self.corrupt("record size in bytes", format!("at least {}", fixed.end()), size));
        }
        Ok(Some(size))
    }

    fn read_header(&mut self) -> Result<Vec<String>, Error> {
        self.require(8, "the BAM header")?;
        self.position += 4;
        self.skip_sized("the text of the BAM header")?;
        self.require(4, "the number of reference sequences")?;
        let num_references = self.word(0);
        if num_references > i32::MAX as u32 {
            return Err(self.corrupt("number of reference sequences", "at least 0", num_references.cast_signed()));
        }
        self.position += 4;
        let mut references = Vec::new();
        for _ in 0..num_references {
            let name = self.skip_sized("the name of a reference sequence")?;
            references.push(String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(&name)).into_owned());
            self.require(4, "the length of a reference sequence")?;
            self.position += 4;
        }
        Ok(references)
    }

    /// Skips bytes that are preceded by their number.
    fn skip_sized(&mut self, what: &str) -> Result<Vec<u8>, Error> {
        self.require(4, what)?;
        let len = self.word(0);
        if len > i32::MAX as u32 {
            return Err(self.corrupt(what, "a size of at least 0", len.cast_signed()));
        }
        self.require(4 + len as usize, what)?;
        let start = self.position + 4;
        self.position = start + len as usize;
        Ok(self.buffer[start..self.position].to_vec())
    }

    fn word(&self, at: usize) -> u32 {
        let start = self.position + at;
        u32::from_le_bytes(self.buffer[start..start + 4].try_into().expect("four bytes"))
    }

    /// Reads until `len` bytes follow the position; `false` if the stream ends before the first of them.
    fn need(&mut self, len: usize) -> Result<bool, Error> {
        while self.buffer.len() - self.position < len {
            let Some(block) = self.source.next_block()? else { return Ok(self.buffer.len() > self.position) };
            if self.position > 0 {
                self.buffer.drain(..self.position);
                self.buffer_offset += self.position as u64;
                self.position = 0;
            }
            if self.buffer.is_empty() {
                self.workers.buffers.put(std::mem::replace(&mut self.buffer, block));
            } else {
                self.buffer.extend_from_slice(&block);
                self.workers.buffers.put(block);
            }
        }
        Ok(true)
    }

    fn require(&mut self, len: usize, what: &str) -> Result<(), Error> {
        self.need(len)?;
        let found = self.buffer.len() - self.position;
        if found >= len {
            return Ok(());
        }
        Err(Error::Truncated {
            place: self.place().into(),
            expected: format!("{len} bytes for {what}"),
            found: format!("{found}"),
        })
    }

    fn corrupt(&self, what: &str, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Error {
        Error::corrupt(self.place(), what, expected, found)
    }

    fn place(&self) -> Place {
        Place {
            record: Some(self.num_records + 1),
            offset: Some(self.buffer_offset + self.position as u64),
            ..Place::file(self.source.path())
        }
    }
}
