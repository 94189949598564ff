//! The thread that opens the inputs one after the other, cuts them into records and passes these to the workers.

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{
    Unit,
    warning::{self, UnitEnd},
};
use crate::{
    Error, Inputs, Pairing, cram,
    decode::{Customs, Decoded, Decoder, MateNames, Work},
    frame::{Slab, TextFramer, bam::BamFramer},
    quality::{Encoding, QualityRange},
    sniff::{self, Format},
    source::{InputDigest, InputStream, Workers},
};

/// Bytes of records being decoded or waiting to be collected, unless a single piece is larger.
const BYTES_AHEAD: usize = 48 << 20;

/// Less would cut the records waiting for their mates into too many pieces.
const MIN_PENDING_BYTES: u64 = 1 << 16;

/// The messages of the feeding thread, in the order of the inputs.
pub(super) enum Message {
    /// Decoded records, when they are ready.
    Records(Receiver<Decoded>, Permit),
    /// Names of the reference sequences of the input whose records follow.
    References(Arc<Vec<String>>),
    /// All records of a unit have been sent.
    UnitEnd(UnitEnd),
    /// The inputs end here, with an error.
    Failed(Error),
    /// All units have been sent.
    End,
}

/// Everything the feeding thread needs.
pub(super) struct Reader {
    pub units: Vec<Unit>,
    pub inputs: Inputs,
    pub decoder: Decoder,
    pub workers: Workers,
    /// A directory for unnamed files.
    pub scratch: PathBuf,
    pub reference: OnceCell<cram::Reference>,
}

/// Why feeding ends early.
enum Stop {
    Failed(Error),
    /// Nobody is listening any more.
    Unwanted,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Reader {
    /// Starts the thread. It ends with the inputs, at the first error, or when the receiver is dropped.
    pub fn start(self, sender: Sender<Message>) {
        let work = move || {
            let line = Line { sender, budget: Arc::default() };
            let last = match self.units.iter().try_for_each(|&unit| self.unit(unit, &line)) {
                Ok(()) => Message::End,
                Err(Stop::Failed(error)) => Message::Failed(error),
                Err(Stop::Unwanted) => return,
            };
            let _ = line.send(last);
        };
        std::thread::Builder::new().name("invar-feed".into()).spawn(work).expect("the system gives a thread");
    }

    fn unit(&self, unit: Unit, line: &Line) -> Result<(), Stop> {
        let end = match unit {
            Unit::One(input) => self.one(input, line)?,
            Unit::Two(first, second) => self.two(first, second, line)?,
        };
        line.send(Message::UnitEnd(end))
    }

    fn one(&self, input: u32, line: &Line) -> Result<UnitEnd, Stop> {
        let opened = self.open(input)?;
        match opened.format {
            Format::Fastq | Format::Fasta => self.text(opened, input, line),
            Format::Bam => self.alignments(opened.source, opened.start, input, line),
            Format::Cram => {
                let source = cram::convert(opened.source, opened.start, self.reference()?);
                self.alignments(source, Vec::new(), input, line)
            }
        }
    }

    fn text(&self, opened: Opened, input: u32, line: &Line) -> Result<UnitEnd, Stop> {
        let interleaved = self.inputs.pairing == Pairing::Interleaved;
        let mut framer = self.text_framer(opened, input, interleaved);
        let mut customs = None;
        while let Some(slab) = framer.next_slab()? {
            let (customs, _) = *customs.get_or_insert_with(|| {
                let pairs = (0..slab.records.len() / 2).map(|pair| (slab.head(2 * pair), slab.head(2 * pair + 1)));
                self.customs(&[&slab], pairs)
            });
            let work = if interleaved { Work::Interleaved(slab, customs) } else { Work::Single(slab, customs) };
            self.submit(work, line)?;
        }
        let digest = digest_of(framer.source(), framer.num_records(), "no record")?;
        self.text_end(&[input], customs, vec![digest])
    }

    fn alignments(&self, source: InputStream, start: Vec<u8>, input: u32, line: &Line) -> Result<UnitEnd, Stop> {
        if self.inputs.pairing != Pairing::Flags {
            return Err(super::alignments_are_paired(source.path()).into());
        }
        let waiting_bytes = self.decoder.config.pending_mates_bytes.max(MIN_PENDING_BYTES);
        let waiting = (waiting_bytes, self.scratch.as_path());
        let mut framer = BamFramer::new(source, start, &self.workers, input, waiting)?;
        line.send(Message::References(Arc::clone(framer.references())))?;
        while let Some(slab) = framer.next_slab()? {
            self.submit(Work::Bam(slab), line)?;
        }
        let digest = digest_of(framer.source(), framer.num_records(), "a header without records")?;
        let warnings = warning::of_end(framer.source().path(), &digest, true)?;
        Ok(UnitEnd { digests: vec![digest], encoding: Encoding::Raw, warnings })
    }

    /// The conventions that the first records of a unit show; `pairs` are the heads of those that should be mates.
    fn customs<'a>(
        &self,
        slabs: &[&Slab],
        mut pairs: impl Iterator<Item = (Option<&'a [u8]>, Option<&'a [u8]>)>,
    ) -> (Customs, QualityRange) {
        let mut range = QualityRange::default();
        slabs.iter().flat_map(|slab| slab.qualities()).for_each(|values| range.add(values));
        let (encoding, _) = self.decoder.config.quality_encoding.decide(&range);
        let names = match self.inputs.pairing {
            Pairing::Flags => MateNames::Alike,
            _ if self.decoder.config.mates_by_order => MateNames::Unread,
            _ => pairs.find_map(|(first, second)| Some(MateNames::of(first?, second?))).unwrap_or_default(),
        };
        (Customs { encoding, names }, range)
    }

    /// The reference of CRAM files, read at the first of them.
    fn reference(&self) -> Result<cram::Reference, Error> {
        if let Some(reference) = self.reference.get() {
            return Ok(reference.clone());
        }
        // Its bytes do not count as bytes of the inputs.
        let workers = Workers { bytes_read: Arc::default(), ..self.workers.clone() };
        let open = |path: &Path| InputStream::open(path, &workers);
        let reference = cram::open_reference(self.inputs.reference.as_deref(), open, &self.scratch)?;
        Ok(self.reference.get_or_init(|| reference).clone())
    }

    fn two(&self, first: u32, second: u32, line: &Line) -> Result<UnitEnd, Stop> {
        let mut framers = [self.mate_framer(first)?, self.mate_framer(second)?];
        let [one, two] = &mut framers;
        let mut slabs: [Option<Slab>; 2] = [None, None];
        let mut customs = None;
        loop {
            for (slab, framer) in slabs.iter_mut().zip([&mut *one, &mut *two]) {
                if slab.as_ref().is_none_or(|slab| slab.records.is_empty()) {
                    *slab = framer.next_slab()?;
                }
            }
            match &mut slabs {
                [Some(slab_1), Some(slab_2)] => {
                    let n = slab_1.records.len().min(slab_2.records.len());
                    let (customs, _) = *customs.get_or_insert_with(|| {
                        let pairs = (0..n).map(|pair| (slab_1.head(pair), slab_2.head(pair)));
                        self.customs(&[slab_1, slab_2], pairs)
                    });
                    self.submit(Work::Mates(slab_1.split_off_front(n), slab_2.split_off_front(n), customs), line)?;
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
        let digest = |framer: &TextFramer| digest_of(framer.source(), framer.num_records(), "no record");
        let digests = framers.iter().map(digest).collect::<Result<Vec<_>, _>>()?;
        if digests[0].sha256 == digests[1].sha256 {
            let [path, mate_path] = framers.map(|framer| framer.source().path().to_path_buf());
            return Err(Error::EqualMateFiles { path, mate_path }.into());
        }
        self.text_end(&[first, second], customs, digests)
    }

    /// The end of text files, with any oddities.
    fn text_end(
        &self,
        inputs: &[u32],
        customs: Option<(Customs, QualityRange)>,
        digests: Vec<InputDigest>,
    ) -> Result<UnitEnd, Stop> {
        let paths: Vec<&Path> = inputs.iter().map(|&input| self.inputs.files[input as usize].as_path()).collect();
        let mut warnings = Vec::new();
        for (path, digest) in paths.iter().zip(&digests) {
            warnings.extend(warning::of_end(path, digest, false)?);
        }
        let (customs, range) = customs.unwrap_or_default();
        if self.decoder.config.quality_encoding.decide(&range).1 {
            warnings.push(warning::read_as(&paths, customs.encoding, &range));
        }
        Ok(UnitEnd { digests, encoding: customs.encoding, warnings })
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

    /// Opens an input and inspects its first bytes.
    fn open(&self, input: u32) -> Result<Opened, Error> {
        let path = &self.inputs.files[input as usize];
        let mut source = InputStream::open(path, &self.workers)?;
        let mut start = Vec::new();
        while start.trim_ascii_start().len() < sniff::FORMAT_PREFIX {
            match source.next_block() {
                Ok(Some(block)) => start.extend_from_slice(&block),
                Ok(None) => break,
                Err(error) => return Err(error),
            }
            sniff::strip_byte_order_mark(&mut start);
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
        line.send(Message::Records(receiver, permit))
    }
}

struct Opened {
    source: InputStream,
    start: Vec<u8>,
    format: Format,
}

/// The checksum of an input that was read to its end, if it contained anything.
fn digest_of(source: &InputStream, num_records: u64, otherwise: &str) -> Result<InputDigest, Stop> {
    if num_records == 0 {
        return Err(Error::Empty { path: source.path().into(), found: otherwise.into() }.into());
    }
    let missing = || Error::io(source.path())(std::io::Error::other("the end was not reached"));
    source.digest().cloned().ok_or_else(missing).map_err(Stop::Failed)
}

/// The channel to the collecting thread.
struct Line {
    sender: Sender<Message>,
    budget: Arc<Budget>,
}

impl Line {
    fn send(&self, fed: Message) -> Result<(), Stop> {
        self.sender.send(fed).map_err(|_| Stop::Unwanted)
    }
}

/// The budget for bytes in flight.
#[derive(Default)]
struct Budget {
    taken: Mutex<usize>,
    freed: Condvar,
}

/// A part of the budget, returned when dropped.
pub(super) struct Permit {
    budget: Arc<Budget>,
    num_bytes: usize,
}

impl Permit {
    /// Waits until there is room, or nothing else is in flight.
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
