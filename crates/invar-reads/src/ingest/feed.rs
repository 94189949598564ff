//! The thread that opens the inputs one after the other, cuts them into records and hands these to the workers.

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{
    Error, Inputs, Pairing, cram,
    decode::{Batch, Decoder, Work},
    frame::{Slab, TextFramer, bam::BamFramer},
    sniff::{self, Format},
    source::{InputDigest, Source, Workers},
};

/// Bytes of records that are with the workers or wait to be collected, unless a single piece is larger.
const BYTES_AHEAD: usize = 48 << 20;

/// Inputs that are read together, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    One(u32),
    /// Files of first and second mates.
    Two(u32, u32),
}

/// What the feeding thread sends, in the order of the inputs.
pub(super) enum Fed {
    /// Decoded records, when they are ready.
    Decoded(Receiver<Batch>, Permit),
    /// Names of the reference sequences of the input whose records follow.
    References(Arc<Vec<String>>),
    /// All records of a unit were sent; the checksums of its files.
    UnitEnd(Vec<InputDigest>),
    /// The inputs end here.
    Failed(Error),
    /// All units were sent.
    End,
}

/// All that the feeding thread needs.
pub(super) struct Feed {
    pub units: Vec<Unit>,
    pub inputs: Inputs,
    pub decoder: Decoder,
    pub workers: Workers,
    /// A directory for nameless files.
    pub scratch: PathBuf,
    pub reference: OnceCell<cram::Reference>,
}

/// Why the feeding ends early.
enum Stop {
    Failed(Error),
    /// Nobody listens any more.
    Unwanted,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Feed {
    /// Starts the thread. It ends with the inputs, at the first error, or when the receiver is dropped.
    pub fn start(self, sender: Sender<Fed>) {
        let work = move || {
            let line = Line { sender, budget: Arc::default() };
            let last = match self.units.iter().try_for_each(|&unit| self.unit(unit, &line)) {
                Ok(()) => Fed::End,
                Err(Stop::Failed(error)) => Fed::Failed(error),
                Err(Stop::Unwanted) => return,
            };
            let _ = line.send(last);
        };
        std::thread::Builder::new().name("invar-feed".into()).spawn(work).expect("the system gives a thread");
    }

    fn unit(&self, unit: Unit, line: &Line) -> Result<(), Stop> {
        let digests = match unit {
            Unit::One(input) => self.one(input, line)?,
            Unit::Two(first, second) => self.two(first, second, line)?,
        };
        line.send(Fed::UnitEnd(digests))
    }

    fn one(&self, input: u32, line: &Line) -> Result<Vec<InputDigest>, Stop> {
        let opened = self.open(input)?;
        let digest = match opened.format {
            Format::Fastq | Format::Fasta => {
                let interleaved = self.inputs.pairing == Pairing::Interleaved;
                let mut framer = self.text_framer(opened, input, interleaved);
                while let Some(slab) = framer.next_slab()? {
                    let work = if interleaved { Work::Interleaved(slab) } else { Work::Single(slab) };
                    self.submit(work, line)?;
                }
                digest_of(framer.source(), framer.num_records(), "no record")?
            }
            Format::Bam => self.alignments(opened.source, opened.start, input, line)?,
            Format::Cram => {
                let source = cram::convert(opened.source, opened.start, self.reference()?);
                self.alignments(source, Vec::new(), input, line)?
            }
        };
        Ok(vec![digest])
    }

    fn alignments(&self, source: Source, start: Vec<u8>, input: u32, line: &Line) -> Result<InputDigest, Stop> {
        if self.inputs.pairing != Pairing::Flags {
            return Err(super::alignments_are_paired(source.path()).into());
        }
        let mut framer = BamFramer::new(source, start, &self.workers, input, self.decoder.config.pending_mates_bytes)?;
        line.send(Fed::References(Arc::clone(framer.references())))?;
        while let Some(slab) = framer.next_slab()? {
            self.submit(Work::Bam(slab), line)?;
        }
        digest_of(framer.source(), framer.num_records(), "a header without records")
    }

    /// The reference of CRAM files, read at the first of them.
    fn reference(&self) -> Result<cram::Reference, Error> {
        if let Some(reference) = self.reference.get() {
            return Ok(reference.clone());
        }
        // Its bytes are not among those of the inputs.
        let workers = Workers { bytes_read: Arc::default(), ..self.workers.clone() };
        let open = |path: &Path| Source::open(path, &workers);
        let reference = cram::open_reference(self.inputs.reference.as_deref(), open, &self.scratch)?;
        Ok(self.reference.get_or_init(|| reference).clone())
    }

    fn two(&self, first: u32, second: u32, line: &Line) -> Result<Vec<InputDigest>, Stop> {
        let mut framers = [self.mate_framer(first)?, self.mate_framer(second)?];
        let [one, two] = &mut framers;
        let mut slabs: [Option<Slab>; 2] = [None, None];
        loop {
            for (slab, framer) in slabs.iter_mut().zip([&mut *one, &mut *two]) {
                if slab.as_ref().is_none_or(|slab| slab.records.is_empty()) {
                    *slab = framer.next_slab()?;
                }
            }
            match &mut slabs {
                [Some(slab_1), Some(slab_2)] => {
                    let n = slab_1.records.len().min(slab_2.records.len());
                    self.submit(Work::Mates(slab_1.split_off_front(n), slab_2.split_off_front(n)), line)?;
                }
                [None, None] => break,
                _ => {
                    return Err(Error::MateCountMismatch {
                        path: one.source().path().into(),
                        count: one.num_records(),
                        mate_path: two.source().path().into(),
                        mate_count: two.num_records(),
                    }
                    .into());
                }
            }
        }
        framers.iter().map(|framer| digest_of(framer.source(), framer.num_records(), "no record")).collect()
    }

    fn mate_framer(&self, input: u32) -> Result<TextFramer, Stop> {
        let opened = self.open(input)?;
        if matches!(opened.format, Format::Bam | Format::Cram) {
            return Err(super::alignments_are_paired(opened.source.path()).into());
        }
        Ok(self.text_framer(opened, input, false))
    }

    fn text_framer(&self, opened: Opened, input: u32, interleaved: bool) -> TextFramer {
        let goes_on = self.decoder.config.skip_bad_records;
        let buffers = Arc::clone(&self.workers.buffers);
        TextFramer::new((opened.source, opened.start), buffers, opened.format, input, interleaved, goes_on)
    }

    /// Opens an input and looks at its first bytes.
    fn open(&self, input: u32) -> Result<Opened, Error> {
        let path = &self.inputs.files[input as usize];
        let mut source = Source::open(path, &self.workers)?;
        let mut start = Vec::new();
        while start.trim_ascii_start().len() < sniff::FORMAT_PREFIX {
            match source.next_block() {
                Ok(Some(block)) => start.extend_from_slice(&block),
                Ok(None) => break,
                Err(error) => return Err(error),
            }
        }
        if start.trim_ascii_start().is_empty() {
            let found = if start.is_empty() { "an empty file" } else { "blank lines only" };
            return Err(Error::Empty { path: path.clone(), found: found.into() });
        }
        let format = sniff::format(path, &start)?;
        Ok(Opened { source, start, format })
    }

    fn submit(&self, work: Work, line: &Line) -> Result<(), Stop> {
        let permit = Permit::new(&line.budget, work.num_bytes());
        let (sender, receiver) = bounded(1);
        let decoder = self.decoder.clone();
        self.workers.pool.spawn_fifo(move || {
            let _ = sender.send(decoder.decode(work));
        });
        line.send(Fed::Decoded(receiver, permit))
    }
}

struct Opened {
    source: Source,
    start: Vec<u8>,
    format: Format,
}

/// The checksum of an input that was read to its end, if anything was in it.
fn digest_of(source: &Source, num_records: u64, otherwise: &str) -> Result<InputDigest, Stop> {
    if num_records == 0 {
        return Err(Error::Empty { path: source.path().into(), found: otherwise.into() }.into());
    }
    let missing = || Error::io(source.path())(std::io::Error::other("the end was not reached"));
    source.digest().cloned().ok_or_else(missing).map_err(Stop::Failed)
}

/// The way to the collecting thread.
struct Line {
    sender: Sender<Fed>,
    budget: Arc<Budget>,
}

impl Line {
    fn send(&self, fed: Fed) -> Result<(), Stop> {
        self.sender.send(fed).map_err(|_| Stop::Unwanted)
    }
}

/// Bytes under way.
#[derive(Default)]
struct Budget {
    taken: Mutex<usize>,
    freed: Condvar,
}

/// A share of the bytes under way, given back when dropped.
pub(super) struct Permit {
    budget: Arc<Budget>,
    num_bytes: usize,
}

impl Permit {
    /// Waits until there is room, or nothing else is under way.
    fn new(budget: &Arc<Budget>, num_bytes: usize) -> Self {
        let is_full = |taken: &mut usize| *taken > 0 && *taken + num_bytes > BYTES_AHEAD;
        let taken = budget.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut taken = budget.freed.wait_while(taken, is_full).unwrap_or_else(std::sync::PoisonError::into_inner);
        *taken += num_bytes;
        Self { budget: Arc::clone(budget), num_bytes }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.budget.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner) -= self.num_bytes;
        self.budget.freed.notify_one();
    }
}
