//! Cuts the text of FASTQ and FASTA into records, one after the other; workers then parse them.
//!
//! Everything that depends on what came before happens here (where a record begins, its number and line, what follows a
//! bad one), using only memory searches, so that one thread can feed many workers.

use std::{path::Path, sync::Arc};

use crate::{
    Error,
    error::Place,
    sniff::Format,
    source::{Buffers, InputStream},
};

pub(crate) mod bam;
mod fasta;
mod fastq;
mod mates;
mod spill;
mod wrapped;

/// Text given to one worker at a time, unless a record is longer.
const SLAB_BYTES: usize = 1 << 20;

/// Size of the longest record that is held in memory.
pub(crate) const MAX_RECORD_BYTES: usize = 256 << 20;

/// The parts of a record in its slab. Line ends are not included, except inside a FASTA sequence and in wrapped FASTQ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// The head line without its marker.
    pub head: (u32, u32),
    /// The bases; in FASTA with the line ends between them.
    pub sequence: (u32, u32),
    /// The qualities; empty in FASTA.
    pub quality: (u32, u32),
    /// Line of the head, 1-based.
    pub line: u64,
    /// Whether sequence and qualities contain line ends.
    pub is_wrapped: bool,
}

/// Complete records of one input.
pub(crate) struct Slab {
    pub text: Arc<Vec<u8>>,
    pub records: Vec<Result<Span, Box<Error>>>,
    pub format: Format,
    /// Index of the input.
    pub input: u32,
    /// Number of the first record in its input, 0-based.
    pub first_record: u64,
}

impl Slab {
    /// The head of a record, if it could be read.
    pub fn head(&self, record: usize) -> Option<&[u8]> {
        let span = self.records.get(record)?.as_ref().ok()?;
        Some(&self.text[span.head.0 as usize..span.head.1 as usize])
    }

    /// The qualities of all records, including any line ends.
    pub fn qualities(&self) -> impl Iterator<Item = &[u8]> {
        let spans = self.records.iter().filter_map(|record| record.as_ref().ok());
        spans.map(|span| &self.text[span.quality.0 as usize..span.quality.1 as usize])
    }

    /// Removes and returns the first `n` records.
    pub fn split_off_front(&mut self, n: usize) -> Self {
        let rest = self.records.split_off(n);
        let records = std::mem::replace(&mut self.records, rest);
        let front = Self { text: Arc::clone(&self.text), records, ..*self };
        self.first_record += n as u64;
        front
    }
}

/// The result of scanning a format at a position of the text.
enum Scan {
    /// The record continues past the end of the buffer.
    More,
    /// Only blank lines remain.
    End,
    /// A record, the position after it, and the number of lines up to there.
    Record(Span, usize, u64),
    /// A bad record, and where to continue.
    Bad(Box<Error>, usize, u64),
}

/// The text being scanned.
struct Window<'a> {
    path: &'a Path,
    text: &'a [u8],
    /// Whether it is the end of the input.
    is_last: bool,
    /// Whether to continue after a bad record.
    goes_on: bool,
}

impl Window<'_> {
    fn place(&self, record: u64, head: Option<&[u8]>, line: u64) -> Place {
        let name = head.map(|head| String::from_utf8_lossy(split_head(head).0).into_owned());
        Place { path: self.path.into(), record: Some(record), name, line: Some(line), offset: None }
    }
}

/// Splits a head into the name up to the first space or tab, and the rest.
pub(crate) fn split_head(head: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr2(b' ', b'\t', head) {
        Some(end) => (&head[..end], &head[end + 1..]),
        None => (head, &[]),
    }
}

/// Cuts one input.
pub(crate) struct TextFramer {
    source: InputStream,
    buffers: Arc<Buffers>,
    format: Format,
    input: u32,
    /// Whether slabs contain whole pairs of records.
    interleaved: bool,
    goes_on: bool,
    /// Starts at the beginning of a record.
    buffer: Vec<u8>,
    is_last: bool,
    /// Lines before the buffer.
    num_lines: u64,
    num_records: u64,
    finished: bool,
    failure: Option<Error>,
}

impl TextFramer {
    /// Frames the content of the source; `start` holds the bytes already taken from it.
    pub fn new(
        (source, start): (InputStream, Vec<u8>),
        buffers: Arc<Buffers>,
        format: Format,
        input: u32,
        interleaved: bool,
        goes_on: bool,
    ) -> Self {
        Self {
            source,
            buffers,
            format,
            input,
            interleaved,
            goes_on,
            buffer: start,
            is_last: false,
            num_lines: 0,
            num_records: 0,
            finished: false,
            failure: None,
        }
    }

    pub fn source(&self) -> &InputStream {
        &self.source
    }

    /// Records so far.
    pub fn num_records(&self) -> u64 {
        self.num_records
    }

    /// The next records; `None` at the end.
    ///
    /// # Errors
    /// The source's error, after all complete records before it; a pair without its second half. A bad record is not an
    /// error here, but ends its slab unless the reading continues.
    pub fn next_slab(&mut self) -> Result<Option<Slab>, Error> {
        let mut wanted = SLAB_BYTES;
        while !self.finished {
            self.fill(wanted);
            let mut slab = self.scan();
            if self.interleaved && slab.records.len() % 2 == 1 && self.is_last && !self.stops(&slab) {
                let path = self.source.path().to_path_buf();
                let mate_count = self.num_records / 2;
                let error =
                    Error::MateCountMismatch { path: path.clone(), count: mate_count + 1, mate_path: path, mate_count };
                slab.records.pop();
                self.failure = Some(error);
            }
            if !slab.records.is_empty() {
                return Ok(Some(slab));
            }
            if let Some(error) = self.failure.take() {
                self.finished = true;
                return Err(error);
            }
            // Grows in proportion, so that a long record is not searched again and again.
            wanted = self.buffer.len() + SLAB_BYTES.max(self.buffer.len() / 4);
            if self.buffer.len() > MAX_RECORD_BYTES {
                self.finished = true;
                let place = Place {
                    record: Some(self.num_records + 1),
                    line: Some(self.num_lines + 1),
                    ..Place::file(self.source.path())
                };
                return Err(Error::TooLong { place: place.into(), limit_bytes: MAX_RECORD_BYTES as u64 });
            }
        }
        match self.failure.take() {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    /// Reads until the buffer holds `wanted` bytes or the source ends.
    fn fill(&mut self, wanted: usize) {
        while self.buffer.len() < wanted && !self.is_last && self.failure.is_none() {
            match self.source.next_block() {
                Ok(Some(block)) if self.buffer.is_empty() => {
                    self.buffers.put(std::mem::replace(&mut self.buffer, block));
                }
                Ok(Some(block)) => {
                    self.buffer.extend_from_slice(&block);
                    self.buffers.put(block);
                }
                Ok(None) => self.is_last = true,
                Err(error) => self.failure = Some(error),
            }
        }
    }

    fn stops(&self, slab: &Slab) -> bool {
        !self.goes_on && matches!(slab.records.last(), Some(Err(_)))
    }

    /// Takes the complete records off the buffer.
    fn scan(&mut self) -> Slab {
        let text = std::mem::take(&mut self.buffer);
        let window = Window { path: self.source.path(), text: &text, is_last: self.is_last, goes_on: self.goes_on };
        let first_record = self.num_records;
        let mut records = Vec::new();
        let (mut position, mut num_lines) = (0, self.num_lines);
        // Where the last record begins, to put it back if its mate has not been read yet.
        let mut last_start = (0, num_lines);
        let more = loop {
            let number = first_record + records.len() as u64 + 1;
            let scan = match self.format {
                Format::Fasta => fasta::scan(&window, position, number, num_lines),
                _ => fastq::scan(&window, position, number, num_lines),
            };
            let (record, next, lines) = match scan {
                Scan::More => break true,
                Scan::End => break false,
                Scan::Record(span, next, lines) => (Ok(span), next, lines),
                Scan::Bad(error, next, lines) => (Err(error), next, lines),
            };
            last_start = (position, num_lines);
            (position, num_lines) = (next, num_lines + lines);
            let stop = record.is_err() && !self.goes_on;
            records.push(record);
            if stop {
                self.finished = true;
                break false;
            }
        };
        let is_at_end = self.is_last && !more;
        if self.interleaved && records.len() % 2 == 1 && !self.finished && !is_at_end {
            records.pop();
            (position, num_lines) = last_start;
        }
        if is_at_end {
            self.finished = true;
        }
        self.num_lines = num_lines;
        self.num_records = first_record + records.len() as u64;
        if !self.finished {
            self.buffer = self.buffers.copy_of(&text[position..]);
        }
        Slab { text: Arc::new(text), records, format: self.format, input: self.input, first_record }
    }
}

/// The line that begins at `start`: its end without the line end, and where the next one begins. `None` if the line end
/// is not in the text (the last line may lack it).
fn line(window: &Window<'_>, start: usize) -> Option<(usize, usize)> {
    match memchr::memchr(b'\n', &window.text[start..]) {
        Some(len) => Some((trim_return(window.text, start, start + len), start + len + 1)),
        None if window.is_last => Some((trim_return(window.text, start, window.text.len()), window.text.len())),
        None => None,
    }
}

fn trim_return(text: &[u8], start: usize, end: usize) -> usize {
    if end > start && text[end - 1] == b'\r' { end - 1 } else { end }
}

/// The position after blank lines, and how many there were; `None` if more of them may follow.
fn skip_blank_lines(window: &Window<'_>, mut position: usize) -> (usize, u64) {
    let mut lines = 0;
    loop {
        match window.text[position..] {
            [b'\n', ..] => position += 1,
            [b'\r', b'\n', ..] => position += 2,
            [b'\r'] if window.is_last => position += 1,
            _ => return (position, lines),
        }
        lines += 1;
    }
}

/// The beginning of a line, for a message.
fn excerpt(line: &[u8]) -> String {
    let end = line.len().min(30);
    String::from_utf8_lossy(&line[..end]).into_owned()
}

#[cfg(test)]
mod tests;
