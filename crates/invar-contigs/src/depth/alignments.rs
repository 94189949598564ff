//! The depth of a sample from sorted BAM or CRAM, in one pass.

use std::{
    io::{self, BufReader, Cursor, Read},
    num::NonZero,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use invar_bases::packed::CODE_N;
use invar_dataset::{Progress, guarded, manifest::Input};
use noodles::{
    bam, bgzf, cram, fasta,
    sam::{
        self,
        alignment::{
            RecordBuf,
            record::{cigar::op::Kind, data::field::Tag},
        },
    },
};

use super::{
    DepthConfig, SampleDepth,
    cigar::{Aligned, Counter, ReadLength},
    sample_name,
};
use crate::{
    Error,
    contigs::{Contigs, Names},
    error::Place,
    stored::Stored,
};

/// Alignments between two looks at the clock.
const CHECKED_RECORDS: u64 = 1 << 14;
/// Bases of contigs that the decoder of CRAM keeps in memory.
pub(crate) const CACHED_BP: u64 = 64_000_000;
/// What a whole BAM file ends with (SAM specification, section 4.1.2), as far as it is always the same.
const BGZF_END: &[u8] = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0\x1b\0\x03\0\0\0\0\0\0\0\0\0";

/// What was measured of a sample.
pub(crate) struct Measured {
    pub depth: SampleDepth,
    /// The file, with its counts.
    pub input: Input,
    /// What looked wrong with it.
    pub warnings: Vec<String>,
}

/// What alignments are measured against.
pub(crate) struct Against<'a> {
    pub names: &'a Names,
    pub contigs: &'a Arc<Contigs>,
    pub config: &'a DepthConfig,
    /// Threads that inflate BAM.
    pub num_threads: usize,
}

/// Measures the depth of all contigs in the sample of `path`.
///
/// # Errors
/// If the file is damaged, not sorted by position, or aligned to something else than these contigs.
pub(crate) fn measure(path: &Path, against: &Against<'_>, progress: &dyn Progress) -> Result<Measured, Error> {
    let stored = Stored::open(path)?;
    let tail = Arc::new(Mutex::new(Vec::new()));
    let mut source = Tailed { stored: stored.clone(), tail: Arc::clone(&tail) };
    let mut magic = Vec::new();
    source.by_ref().take(4).read_to_end(&mut magic).map_err(Error::io(path))?;
    let is_cram = magic == b"CRAM";
    let all = Cursor::new(magic.clone()).chain(source);
    let pass = Pass::new(path, against, progress, Arc::clone(&stored.num_read));
    let mut pass = if is_cram {
        pass.of_cram(BufReader::with_capacity(1 << 18, all))?
    } else if magic.starts_with(&[0x1f, 0x8b]) {
        pass.of_bam(all)?
    } else {
        let found = format!("a file that begins with {:?}", String::from_utf8_lossy(&magic));
        return Err(Error::bad(Place::file(path), "format", "BAM or CRAM", found));
    };
    let mut input = stored.finish(path)?;
    let is_whole = is_cram || tail.lock().is_ok_and(|tail| tail.as_slice() == BGZF_END);
    if !is_whole {
        pass.warnings.push(format!("{}: the block that ends a BAM file is missing: it may be cut off", path.display()));
    }
    pass.progress.advance(input.size_bytes.saturating_sub(pass.told));
    let Tally { records, counted, dissimilar } = pass.tally;
    input.counts =
        [("alignments", records), ("counted", counted), ("dissimilar", dissimilar)].map(|(n, c)| (n.into(), c)).into();
    if counted == 0 {
        pass.warnings
            .push(format!("{}: none of its {records} records counts: the depth is 0 everywhere", path.display()));
    }
    Ok(Measured { depth: pass.depth, input, warnings: pass.warnings })
}

/// Passes bytes on and remembers the last of them.
struct Tailed {
    stored: Stored,
    tail: Arc<Mutex<Vec<u8>>>,
}

impl Read for Tailed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let num = self.stored.read(buffer)?;
        if let Ok(mut tail) = self.tail.lock() {
            let new = &buffer[num.saturating_sub(BGZF_END.len())..num];
            tail.extend(new);
            let surplus = tail.len().saturating_sub(BGZF_END.len());
            tail.drain(..surplus);
        }
        Ok(num)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    records: u64,
    counted: u64,
    dissimilar: u64,
}

/// A reference of the alignments.
#[derive(Clone, Copy, Debug)]
struct Target {
    length_bp: u32,
    /// The contig; `None` if it was too short to be kept.
    row: Option<u32>,
}

/// The alignments of a file, up to a record.
struct Pass<'a> {
    path: &'a Path,
    against: &'a Against<'a>,
    progress: &'a dyn Progress,
    num_read: Arc<AtomicU64>,
    told: u64,
    targets: Vec<Target>,
    /// The target whose alignments are being counted.
    current: Option<usize>,
    /// Where the last record begins.
    last: Option<(usize, u32)>,
    counter: Counter,
    reads: ReadLength,
    tally: Tally,
    depth: SampleDepth,
    warnings: Vec<String>,
    codes: Vec<u8>,
}

/// What the flags and the place of a record tell.
struct Head {
    flags: u16,
    target: Option<usize>,
    /// 0-based.
    start: Option<u32>,
    mapping_quality: u8,
    read_bp: u32,
}

const UNMAPPED: u16 = 0x4;
/// Secondary, failed quality control, duplicate.
const NOT_COUNTED: u16 = 0x100 | 0x200 | 0x400;

impl<'a> Pass<'a> {
    fn new(path: &'a Path, against: &'a Against<'a>, progress: &'a dyn Progress, num_read: Arc<AtomicU64>) -> Self {
        let name = path.to_string_lossy();
        Self {
            path,
            against,
            progress,
            num_read,
            told: 0,
            targets: vec![],
            current: None,
            last: None,
            counter: Counter::default(),
            reads: ReadLength::default(),
            tally: Tally::default(),
            depth: SampleDepth::new(sample_name(&name), against.names.num_kept()),
            warnings: vec![],
            codes: vec![],
        }
    }

    fn of_bam(mut self, source: impl Read + Send + 'static) -> Result<Self, Error> {
        match NonZero::new(self.against.num_threads).filter(|threads| threads.get() > 1) {
            Some(threads) => self.read_bam(bgzf::io::MultithreadedReader::with_worker_count(threads, source))?,
            None => self.read_bam(bgzf::io::Reader::new(source))?,
        }
        Ok(self)
    }

    fn read_bam(&mut self, inflated: impl Read) -> Result<(), Error> {
        let mut reader = bam::io::Reader::from(inflated);
        let header = guarded(|| reader.read_header()).map_err(|panic| self.bad("header", "one of BAM", panic))?;
        self.begin(&header.map_err(Error::reading(Place::file(self.path)))?)?;
        let (mut record, mut aligned) = (bam::Record::default(), Aligned::default());
        loop {
            let read =
                guarded(|| reader.read_record(&mut record)).map_err(|panic| self.bad("record", "one of BAM", panic))?;
            if read.map_err(Error::reading(self.place(None)))? == 0 {
                return self.end();
            }
            let head = guarded(|| head_of_bam(&record)).map_err(|panic| self.bad("record", "one of BAM", panic))?;
            let head = head.map_err(Error::reading(self.place(None)))?;
            let name = || record.name().map(|name| String::from_utf8_lossy(name).into_owned());
            if let Some(target) = self.take(&head, name)? {
                aligned.start = head.start.unwrap_or(0);
                let filled = guarded(|| fill_from_bam(&mut aligned, &record));
                let filled = filled.map_err(|panic| self.bad("record", "one of BAM", panic))?;
                filled.map_err(Error::reading(self.place(name())))?;
                let base = |at: usize| record.sequence().get(at);
                self.count(&aligned, target, name, base)?;
            }
        }
    }

    fn of_cram(mut self, source: impl Read) -> Result<Self, Error> {
        let sequences = Sequences {
            contigs: Arc::clone(self.against.contigs),
            rows: self.against.names.rows(),
            cached_bp: Arc::default(),
        };
        let cached_bp = Arc::clone(&sequences.cached_bp);
        let repository = fasta::Repository::new(sequences);
        let builder = cram::io::reader::Builder::default().set_reference_sequence_repository(repository.clone());
        let mut reader = builder.build_from_reader(source);
        let header = guarded(|| reader.read_header()).map_err(|panic| self.bad("header", "one of CRAM", panic))?;
        let header = header.map_err(Error::reading(Place::file(self.path)))?;
        self.begin(&header)?;
        let mut records = reader.records(&header);
        let mut aligned = Aligned::default();
        loop {
            let record = guarded(|| records.next()).map_err(|panic| self.bad("record", "one of CRAM", panic))?;
            let Some(record) = record else { break };
            let record = record.map_err(Error::reading(self.place(None)))?;
            let head = head_of(&record);
            let name = || record.name().map(ToString::to_string);
            if let Some(target) = self.take(&head, name)? {
                aligned.start = head.start.unwrap_or(0);
                fill_from(&mut aligned, &record);
                let bases: &[u8] = record.sequence().as_ref();
                self.count(&aligned, target, name, |at| bases.get(at).copied())?;
            }
            if cached_bp.load(Ordering::Relaxed) > CACHED_BP {
                repository.clear();
                cached_bp.store(0, Ordering::Relaxed);
            }
        }
        drop(records);
        self.end()?;
        Ok(self)
    }

    /// Compares the references of the alignments with the contigs.
    fn begin(&mut self, header: &sam::Header) -> Result<(), Error> {
        let names = self.against.names;
        let mut is_there = vec![false; names.num_kept()];
        let mut strange = vec![];
        for (name, reference) in header.reference_sequences() {
            let name = String::from_utf8_lossy(name).into_owned();
            let Some(known) = names.get(&name) else {
                strange.push(name);
                continue;
            };
            let length = usize::from(reference.length());
            if length != known.length_bp as usize {
                let expected = format!("{} bp, as in {}, line {}", known.length_bp, names.path.display(), known.line);
                let found = format!("{length} bp: were the reads mapped to another assembly?");
                return Err(Error::bad(Place::file(self.path).named(name), "length of the contig", expected, found));
            }
            if let Some(row) = known.row {
                is_there[row as usize] = true;
            }
            self.targets.push(Target { length_bp: known.length_bp, row: known.row });
        }
        let remedy = "give the FASTA that the reads were mapped to (--min-length leaves out short contigs)";
        if !strange.is_empty() {
            let of = header.reference_sequences().len();
            let (path, other) = (self.path.into(), names.path.clone());
            return Err(Error::Unmatched { path, other, what: "references", names: strange, of, remedy });
        }
        let missing = names.missing(&is_there);
        if !missing.is_empty() {
            let (path, other, of) = (names.path.clone(), self.path.into(), names.num_kept());
            return Err(Error::Unmatched { path, other, what: "contigs", names: missing, of, remedy });
        }
        Ok(())
    }

    /// Takes note of a record; the target that it counts for, as far as that does not depend on its bases.
    fn take(&mut self, head: &Head, name: impl Fn() -> Option<String>) -> Result<Option<Target>, Error> {
        self.tally.records += 1;
        if self.tally.records.is_multiple_of(CHECKED_RECORDS) {
            let now = self.num_read.load(Ordering::Relaxed);
            self.progress.advance(now.saturating_sub(self.told));
            self.told = now;
            if self.progress.is_cancelled() {
                return Err(Error::Interrupted { path: self.path.into() });
            }
        }
        self.reads.add(head.read_bp);
        let (Some(number), Some(start)) = (head.target, head.start) else { return Ok(None) };
        let Some(&target) = self.targets.get(number) else {
            let expected = format!("below {}", self.targets.len());
            return Err(Error::bad(self.place(name()), "number of the reference", expected, number));
        };
        if let Some((before, last)) = self.last
            && (number, start) < (before, last)
        {
            let expected = format!("at or after base {} of reference {before}", last + 1);
            let found = format!("base {} of reference {number}: sort the file (`samtools sort`)", start + 1);
            return Err(Error::bad(self.place(name()), "position of the record, in order", expected, found));
        }
        self.last = Some((number, start));
        if head.flags & (UNMAPPED | NOT_COUNTED) != 0 || head.mapping_quality < self.against.config.min_mapping_quality
        {
            return Ok(None);
        }
        if self.current != Some(number) {
            self.close();
            self.counter.reset(target.length_bp);
            self.current = Some(number);
        }
        Ok(Some(target))
    }

    /// Counts an alignment, if it is similar enough. `base` is the read's base at a position, in letters.
    fn count(
        &mut self,
        aligned: &Aligned,
        target: Target,
        name: impl Fn() -> Option<String>,
        base: impl Fn(usize) -> Option<u8>,
    ) -> Result<(), Error> {
        let tally = aligned.tally();
        let end = tally.and_then(|tally| aligned.start.checked_add(tally.span)).filter(|&end| end <= target.length_bp);
        let (Some(tally), Some(_)) = (tally, end) else {
            let expected = format!("by base {}, the last of the contig", target.length_bp);
            let found = format!("base {} and more", u64::from(aligned.start) + tally.map_or(0, |t| u64::from(t.span)));
            return Err(Error::bad(self.place(name()), "end of the alignment", expected, found));
        };
        let Some(row) = target.row else { return Ok(()) };
        let num_unequal = match aligned.edit_distance {
            Some(distance) => tally.unequal_by(distance),
            None => self.num_unequal(aligned, row, base)?,
        };
        if tally.identity(num_unequal) < self.against.config.min_identity {
            self.tally.dissimilar += 1;
            return Ok(());
        }
        self.tally.counted += 1;
        aligned.covered().for_each(|(start, len)| self.counter.add(start, len));
        Ok(())
    }

    /// Bases under M that differ from the contig. A read without bases has none.
    fn num_unequal(&mut self, aligned: &Aligned, row: u32, base: impl Fn(usize) -> Option<u8>) -> Result<u32, Error> {
        let sequence = self.against.contigs.sequence(row as usize)?;
        let (mut of_read, mut of_contig, mut unequal) = (0usize, aligned.start as usize, 0);
        for &(kind, len) in &aligned.ops {
            let len = len as usize;
            if kind == Kind::Match {
                sequence.unpack_codes(of_contig..of_contig + len, &mut self.codes);
                let differs = |(at, &code): (usize, &u8)| {
                    let letter = base(of_read + at);
                    letter.is_some_and(|letter| code == CODE_N || !letter.eq_ignore_ascii_case(&b"ACGT"[code as usize]))
                };
                unequal += self.codes.iter().enumerate().filter(|&pair| differs(pair)).count() as u32;
            }
            of_read += if kind.consumes_read() { len } else { 0 };
            of_contig += if kind.consumes_reference() { len } else { 0 };
        }
        Ok(unequal)
    }

    /// Stores the depth of the contig that was read.
    fn close(&mut self) {
        let Some(number) = self.current else { return };
        let Some(row) = self.targets[number].row.map(|row| row as usize) else { return };
        let depth = self.counter.depth(self.reads.end_bp(self.against.config));
        (self.depth.mean[row], self.depth.variance[row]) = (depth.mean, depth.variance);
        self.depth.breadth[row] = depth.breadth;
    }

    fn end(&mut self) -> Result<(), Error> {
        self.close();
        if let Some(mean) = self.reads.mean() {
            self.depth.read_bp = mean;
        }
        Ok(())
    }

    fn place(&self, name: Option<String>) -> Place {
        Place { record: Some(self.tally.records.max(1)), name, ..Place::file(self.path) }
    }

    fn bad(&self, what: &str, expected: &str, panic: String) -> Error {
        Error::bad(self.place(None), what, expected, panic)
    }
}

fn head_of_bam(record: &bam::Record) -> io::Result<Head> {
    let start = record.alignment_start().transpose()?.map(|start| usize::from(start) as u32 - 1);
    Ok(Head {
        flags: record.flags().bits(),
        target: record.reference_sequence_id().transpose()?,
        start,
        mapping_quality: record.mapping_quality().map_or(u8::MAX, u8::from),
        read_bp: record.sequence().len() as u32,
    })
}

fn fill_from_bam(aligned: &mut Aligned, record: &bam::Record) -> io::Result<()> {
    aligned.ops.clear();
    for op in record.cigar().iter() {
        let op = op?;
        aligned.ops.push((op.kind(), op.len() as u32));
    }
    aligned.read_bp = record.sequence().len() as u32;
    let distance = record.data().get(&Tag::EDIT_DISTANCE).transpose()?;
    aligned.edit_distance = distance.and_then(|value| value.as_int()).and_then(|value| u32::try_from(value).ok());
    Ok(())
}

fn head_of(record: &RecordBuf) -> Head {
    Head {
        flags: record.flags().bits(),
        target: record.reference_sequence_id(),
        start: record.alignment_start().map(|start| usize::from(start) as u32 - 1),
        mapping_quality: record.mapping_quality().map_or(u8::MAX, u8::from),
        read_bp: record.sequence().len() as u32,
    }
}

fn fill_from(aligned: &mut Aligned, record: &RecordBuf) {
    aligned.ops.clear();
    aligned.ops.extend(record.cigar().as_ref().iter().map(|op| (op.kind(), op.len() as u32)));
    aligned.read_bp = record.sequence().len() as u32;
    let distance = record.data().get(&Tag::EDIT_DISTANCE);
    aligned.edit_distance = distance.and_then(|value| value.as_int()).and_then(|value| u32::try_from(value).ok());
}

/// The contigs, for the decoder of CRAM. Those that were too short to be kept are unknown bases: what is aligned to them
/// counts for nothing.
struct Sequences {
    contigs: Arc<Contigs>,
    rows: std::collections::HashMap<String, (u32, Option<u32>)>,
    cached_bp: Arc<AtomicU64>,
}

impl fasta::repository::Adapter for Sequences {
    fn get(&mut self, name: &[u8]) -> Option<io::Result<fasta::Record>> {
        let (length_bp, row) = *self.rows.get(std::str::from_utf8(name).ok()?)?;
        self.cached_bp.fetch_add(u64::from(length_bp), Ordering::Relaxed);
        let letters = match row {
            Some(row) => match self.contigs.sequence(row as usize) {
                Ok(sequence) => sequence.to_ascii(),
                Err(error) => return Some(Err(io::Error::other(error))),
            },
            None => vec![b'N'; length_bp as usize],
        };
        Some(Ok(fasta::Record::new(fasta::record::Definition::new(name, None), letters.into())))
    }
}
