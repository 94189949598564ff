//! Records that wait for their mate on disk.
//!
//! They are written to an unnamed file in runs, each sorted by name. At the end the runs are merged, which brings mates
//! together: all pairs are found, however far apart, with only a part of each run in memory.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::bam::{Fixed, name};
use crate::Error;

/// A record and its number in the input.
pub(super) type Numbered = (u64, Vec<u8>);

/// Bytes before a record: its length and its number.
const PREFIX_BYTES: usize = 12;

/// Minimum number of bytes read from a run at a time.
const MIN_READ_BYTES: u64 = 1 << 12;

/// The file, while records are being written.
pub(super) struct Spill {
    scratch: PathBuf,
    file: File,
    /// Where each run ends.
    ends: Vec<u64>,
}

impl Spill {
    /// Opens an unnamed file in directory `scratch`.
    ///
    /// # Errors
    /// If the system fails.
    pub fn new(scratch: &Path) -> Result<Self, Error> {
        let file = tempfile::tempfile_in(scratch).map_err(Error::io(scratch))?;
        Ok(Self { scratch: scratch.into(), file, ends: Vec::new() })
    }

    /// Writes a run of records.
    ///
    /// # Errors
    /// If the disk is full, or writing fails otherwise.
    pub fn put(&mut self, mut records: Vec<Numbered>) -> Result<(), Error> {
        records.sort_unstable_by(|one, two| key(one).cmp(&key(two)));
        let mut end = self.ends.last().copied().unwrap_or(0);
        let mut writer = BufWriter::with_capacity(1 << 18, &mut self.file);
        for (number, record) in &records {
            let record = without_tags(record);
            let mut write = |bytes: &[u8]| writer.write_all(bytes);
            write(&(record.len() as u32).to_le_bytes())
                .and_then(|()| write(&number.to_le_bytes()))
                .and_then(|()| write(record))
                .map_err(Error::io(&self.scratch))?;
            end += (PREFIX_BYTES + record.len()) as u64;
        }
        writer.flush().map_err(Error::io(&self.scratch))?;
        drop(writer);
        self.ends.push(end);
        Ok(())
    }

    /// All records, by name and then by number. Reading them takes about `memory_bytes`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn merge(self, memory_bytes: u64) -> Result<Merge, Error> {
        let read_bytes = (memory_bytes / self.ends.len().max(1) as u64).clamp(MIN_READ_BYTES, 1 << 20) as usize;
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let runs = starts.zip(&self.ends).map(|(offset, &end)| Run { offset, end, buffer: vec![], used: 0 }).collect();
        let mut merge = Merge { scratch: self.scratch, file: self.file, read_bytes, runs, heads: BinaryHeap::new() };
        for run in 0..merge.runs.len() {
            merge.push_head(run)?;
        }
        Ok(merge)
    }
}

/// Name and number, the sort key of records.
fn key((number, record): &Numbered) -> (&[u8], u64) {
    (name(record), *number)
}

/// A record up to its tags, which are not needed.
fn without_tags(record: &[u8]) -> &[u8] {
    &record[..Fixed::of(record).end()]
}

/// The merged runs.
pub(super) struct Merge {
    scratch: PathBuf,
    file: File,
    read_bytes: usize,
    runs: Vec<Run>,
    heads: BinaryHeap<Reverse<Head>>,
}

/// The remainder of a run.
struct Run {
    /// Offset of the first byte that is not in the buffer.
    offset: u64,
    end: u64,
    buffer: Vec<u8>,
    used: usize,
}

/// The next record of a run.
#[derive(PartialEq, Eq)]
struct Head {
    record: Numbered,
    run: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        key(&self.record).cmp(&key(&other.record))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Merge {
    /// The next record.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next(&mut self) -> Result<Option<Numbered>, Error> {
        let Some(Reverse(head)) = self.heads.pop() else { return Ok(None) };
        self.push_head(head.run)?;
        Ok(Some(head.record))
    }

    fn push_head(&mut self, run: usize) -> Result<(), Error> {
        let next = self.runs[run].next(&mut self.file, self.read_bytes).map_err(Error::io(&self.scratch))?;
        self.heads.extend(next.map(|record| Reverse(Head { record, run })));
        Ok(())
    }
}

impl Run {
    fn next(&mut self, file: &mut File, read_bytes: usize) -> io::Result<Option<Numbered>> {
        if self.used == self.buffer.len() && self.offset == self.end {
            self.buffer = Vec::new();
            return Ok(None);
        }
        self.need(PREFIX_BYTES, file, read_bytes)?;
        let prefix = &self.buffer[self.used..self.used + PREFIX_BYTES];
        let len = u32::from_le_bytes(prefix[..4].try_into().expect("four bytes")) as usize;
        let number = u64::from_le_bytes(prefix[4..].try_into().expect("eight bytes"));
        self.need(PREFIX_BYTES + len, file, read_bytes)?;
        let start = self.used + PREFIX_BYTES;
        self.used = start + len;
        Ok(Some((number, self.buffer[start..self.used].to_vec())))
    }

    /// Reads until `len` bytes are in the buffer.
    fn need(&mut self, len: usize, file: &mut File, read_bytes: usize) -> io::Result<()> {
        let left = self.buffer.len() - self.used;
        if left >= len {
            return Ok(());
        }
        self.buffer.drain(..self.used);
        self.used = 0;
        let wanted = (read_bytes.max(len - left) as u64).min(self.end - self.offset);
        file.seek(SeekFrom::Start(self.offset))?;
        let found = file.take(wanted).read_to_end(&mut self.buffer)?;
        self.offset += found as u64;
        if self.buffer.len() < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
