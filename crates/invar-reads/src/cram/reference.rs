use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use invar_dataset::manifest;
use md5::{Digest, Md5};
use noodles::{
    fasta,
    sam::{self, header::record::value::map::reference_sequence as sam_header},
};

use super::container::SliceReference;
use crate::{Error, error::Place, frame::split_head, sniff, source::InputReader};

/// Bases of the reference cached in memory; beyond that, all are dropped and read again as needed.
const CACHED_BP: u64 = 64_000_000;

/// The sequences that CRAM files were compressed against. Cheap to clone; clones share the cache.
#[derive(Clone)]
pub(crate) struct Reference {
    repository: fasta::Repository,
    state: Arc<State>,
    path: Option<PathBuf>,
}

fn refuse(state: &State, complaint: Complaint) -> io::Error {
    lock(&state.complaint).get_or_insert(complaint);
    io::Error::other("no such reference sequence")
}

/// Why a sequence could not be given to the decoder.
#[derive(Clone, Debug)]
pub(crate) enum Complaint {
    /// It is missing; what is there instead.
    Missing { name: String, found: String },
    /// It is not the one that the file was written against: what differs (MD5 or length), and both values.
    Another { what: String, expected: String, found: String },
}

#[derive(Default)]
struct State {
    cached_bp: AtomicU64,
    complaint: Mutex<Option<Complaint>>,
    /// What the header of the current file states about its sequences.
    expected: Mutex<HashMap<Vec<u8>, Expected>>,
    /// Number of `N`s appended to every sequence, for reads that extend past its end.
    padding_bp: AtomicUsize,
    /// Whether the records being decoded contain all of their bases: then the decoder, which requests a sequence all
    /// the same, is given one of nothing but padding.
    is_idle: AtomicBool,
}

/// The required properties of a sequence.
#[derive(Clone, Debug)]
struct Expected {
    length_bp: usize,
    /// Tag M5, hexadecimal.
    md5: Option<String>,
}

/// The content of a mutex, even if a thread that held it panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Reference {
    /// No sequences: enough for CRAM files that store their own, or whose records are unmapped.
    pub fn none() -> Self {
        Self::new(None)
    }

    /// Indexes the FASTA read from `stored`. Its sequences are written without line ends to an unnamed file in
    /// `scratch`, so that each can be read at once, even if the FASTA was compressed, came through a pipe or has uneven
    /// lines.
    pub fn read(stored: InputReader, path: &Path, scratch: &Path) -> Result<Self, Error> {
        let mut stored = BufReader::with_capacity(1 << 16, stored);
        let mut spool = BufWriter::new(tempfile::tempfile_in(scratch).map_err(Error::io(scratch))?);
        let mut index: HashMap<Vec<u8>, (u64, u64)> = HashMap::new();
        let (mut offset, mut current) = (0, None);
        let mut line = Vec::new();
        let mut is_first = true;
        loop {
            line.clear();
            if let Err(error) = stored.read_until(b'\n', &mut line) {
                return Err(stored.get_mut().failure.take().unwrap_or_else(|| Error::io(path)(error)));
            }
            if std::mem::take(&mut is_first) {
                sniff::strip_byte_order_mark(&mut line);
                if sniff::ends_lines_in_cr(&line) {
                    sniff::format(path, &line)?;
                }
            }
            let text = line.trim_ascii_end();
            match text {
                [b'>', head @ ..] => {
                    let name = split_head(head).0.to_vec();
                    index.insert(name.clone(), (offset, 0));
                    current = Some(name);
                }
                [] if line.is_empty() => break,
                [] => {}
                letters => {
                    let Some(entry) = current.as_ref().and_then(|name| index.get_mut(name)) else {
                        let found = String::from_utf8_lossy(&letters[..letters.len().min(30)]).into_owned();
                        let place = Place { line: Some(1), ..Place::file(path) };
                        return Err(Error::BadMarker { place: place.into(), expected: '>', found });
                    };
                    spool.write_all(letters).map_err(Error::io(scratch))?;
                    entry.1 += letters.len() as u64;
                    offset += letters.len() as u64;
                }
            }
        }
        if index.is_empty() {
            return Err(Error::Empty { path: path.into(), found: "no reference sequence".into() });
        }
        let file = spool.into_inner().map_err(|error| Error::io(scratch)(error.into_error()))?;
        Ok(Self::new(Some(Spool { file, index, path: path.to_path_buf() })))
    }

    fn new(file: Option<Spool>) -> Self {
        let state = Arc::new(State::default());
        let path = file.as_ref().map(|spool| spool.path.clone());
        let sequences = Sequences { file, state: Arc::clone(&state) };
        Self { repository: fasta::Repository::new(sequences), state, path }
    }

    pub fn repository(&self) -> fasta::Repository {
        self.repository.clone()
    }

    /// Frees the cached sequences once they have grown large.
    pub fn forget_old(&self) {
        if self.state.cached_bp.load(Ordering::Relaxed) > CACHED_BP {
            self.repository.clear();
            self.state.cached_bp.store(0, Ordering::Relaxed);
        }
    }

    /// Sets what a file's header requires of its sequences. The cache of an earlier file is dropped, so that it is
    /// checked again.
    pub fn expect(&self, header: &sam::Header) {
        let expected = header.reference_sequences().iter().map(|(name, map)| {
            let md5 = map.other_fields().get(&sam_header::tag::MD5_CHECKSUM);
            let md5 = md5.map(|md5| md5.to_string().to_ascii_lowercase());
            (name.to_vec(), Expected { length_bp: map.length().get(), md5 })
        });
        *lock(&self.state.expected) = expected.collect();
        self.state.padding_bp.store(0, Ordering::Relaxed);
        self.repository.clear();
    }

    /// Sets whether the following records need their sequences.
    pub fn set_needed(&self, is_needed: bool) {
        if self.state.is_idle.swap(!is_needed, Ordering::Relaxed) == is_needed {
            self.repository.clear();
        }
    }

    /// Number of bases of a sequence given to the decoder, without the padding.
    pub fn length_bp(&self, name: &[u8]) -> usize {
        let is_idle = self.state.is_idle.load(Ordering::Relaxed);
        if is_idle { 0 } else { lock(&self.state.expected).get(name).map_or(0, |expected| expected.length_bp) }
    }

    /// Number of bases that may be read past the end of a sequence, as `N`.
    pub fn padding_bp(&self) -> usize {
        self.state.padding_bp.load(Ordering::Relaxed)
    }

    /// Makes room for reads that extend this far past the end of a sequence.
    pub fn pad(&self, padding_bp: usize) {
        self.state.padding_bp.store(padding_bp, Ordering::Relaxed);
        self.repository.clear();
    }

    /// Compares the bases that a slice was written against with its checksum, up to the end of the sequence.
    ///
    /// # Errors
    /// If they differ (see [`Self::complaint`]).
    pub(super) fn check_slice(&self, header: &sam::Header, slice: &SliceReference) -> io::Result<()> {
        let Some(md5) = slice.md5.filter(|_| slice.embedded.is_none()) else { return Ok(()) };
        let Some((name, _)) = header.reference_sequences().get_index(slice.number) else { return Ok(()) };
        let Some(sequence) = self.repository.get(name).transpose()? else { return Ok(()) };
        let length_bp = self.length_bp(name);
        let (start, end) = (slice.start.saturating_sub(1), slice.start.saturating_sub(1).saturating_add(slice.span));
        let bases: &[u8] = sequence.as_ref().as_ref();
        let bases = bases.get(start.min(length_bp)..end.min(length_bp)).unwrap_or_default();
        let (expected, found) = (manifest::hex(&md5), manifest::hex(&Md5::digest(bases)));
        if expected == found {
            return Ok(());
        }
        let what = format!("MD5 of bases {} to {} of reference sequence {name:?}", start + 1, end);
        Err(refuse(&self.state, Complaint::Another { what, expected, found: self.found_in(&found) }))
    }

    /// A value, and the FASTA it was found in.
    fn found_in(&self, value: &str) -> String {
        match &self.path {
            Some(path) => format!("{value} in {}", path.display()),
            None => value.into(),
        }
    }

    /// The first problem with a requested sequence.
    pub fn complaint(&self) -> Option<Complaint> {
        lock(&self.state.complaint).clone()
    }
}

/// Sequences one after the other, without line ends.
struct Spool {
    file: File,
    /// Offset and length by name.
    index: HashMap<Vec<u8>, (u64, u64)>,
    path: PathBuf,
}

/// Fetches sequences for the decoder, which panics if one is simply absent.
struct Sequences {
    file: Option<Spool>,
    state: Arc<State>,
}

impl Sequences {
    fn lack(&self, name: &[u8], found: String) -> io::Error {
        refuse(&self.state, Complaint::Missing { name: String::from_utf8_lossy(name).into_owned(), found })
    }

    /// Checks the sequence against the header.
    fn check(&self, name: &[u8], letters: &[u8], path: &Path) -> io::Result<()> {
        let Some(expected) = lock(&self.state.expected).get(name).cloned() else { return Ok(()) };
        let another = |what: &str, expected: String, found: String| {
            let what = format!("{what} of reference sequence {:?}", String::from_utf8_lossy(name));
            let found = format!("{found} in {}", path.display());
            Err(refuse(&self.state, Complaint::Another { what, expected, found }))
        };
        if letters.len() != expected.length_bp {
            return another("length", expected.length_bp.to_string(), letters.len().to_string());
        }
        match expected.md5 {
            Some(expected) => {
                let found = manifest::hex(&Md5::digest(letters));
                if found == expected { Ok(()) } else { another("MD5", expected, found) }
            }
            None => Ok(()),
        }
    }

    fn read(spool: &mut Spool, (offset, len): (u64, u64)) -> io::Result<Vec<u8>> {
        let mut letters = vec![0; len as usize];
        spool.file.seek(SeekFrom::Start(offset))?;
        spool.file.read_exact(&mut letters)?;
        // Soft-masked references are in lower case.
        letters.make_ascii_uppercase();
        Ok(letters)
    }
}

impl fasta::repository::Adapter for Sequences {
    fn get(&mut self, name: &[u8]) -> Option<io::Result<fasta::Record>> {
        let padding_bp = self.state.padding_bp.load(Ordering::Relaxed);
        let record = |mut letters: Vec<u8>| {
            letters.resize(letters.len() + padding_bp, b'N');
            self.state.cached_bp.fetch_add(letters.len() as u64, Ordering::Relaxed);
            fasta::Record::new(fasta::record::Definition::new(name, None), letters.into())
        };
        if self.state.is_idle.load(Ordering::Relaxed) {
            return Some(Ok(record(Vec::new())));
        }
        let Some(spool) = &mut self.file else {
            return Some(Err(self.lack(name, "no reference (use --reference FASTA)".into())));
        };
        let Some(&place) = spool.index.get(name) else {
            let found = format!("{} without it", spool.path.display());
            return Some(Err(self.lack(name, found)));
        };
        let (letters, path) = (Self::read(spool, place), spool.path.clone());
        Some(letters.and_then(|letters| self.check(name, &letters, &path).map(|()| record(letters))))
    }
}
