use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use invar_dataset::manifest;
use md5::{Digest, Md5};
use noodles::{
    fasta,
    sam::{self, header::record::value::map::reference_sequence as sam_header},
};

use crate::{Error, error::Place, frame::split_head, source::SourceReader};

/// Bases of the reference that are kept in memory before all are forgotten and read again as needed.
const CACHED_BP: u64 = 64_000_000;

/// The sequences that CRAM files were compressed against. Cheap to clone; clones share what was read.
#[derive(Clone)]
pub(crate) struct Reference {
    repository: fasta::Repository,
    state: Arc<State>,
}

/// Why a sequence could not be given to the decoder.
#[derive(Clone, Debug)]
pub(crate) enum Complaint {
    /// It is not here; what is here instead.
    Missing { name: String, found: String },
    /// It is not the one that the header means: both checksums.
    Another { name: String, expected: String, found: String },
}

#[derive(Default)]
struct State {
    cached_bp: AtomicU64,
    complaint: Mutex<Option<Complaint>>,
    /// MD5 of the sequences in the header of the current file (tag M5), hexadecimal.
    checksums: Mutex<HashMap<Vec<u8>, String>>,
}

/// What a mutex guards, also when a thread that held it died.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Reference {
    /// No sequences: enough for CRAM files that store their own, or whose records are unmapped.
    pub fn none() -> Self {
        Self::new(None)
    }

    /// Indexes the FASTA that `stored` gives. Its sequences go without line ends to a nameless file in `scratch`, so
    /// that each can be read at once, also when the FASTA was compressed, came through a pipe or has uneven lines.
    pub fn read(stored: SourceReader, path: &Path, scratch: &Path) -> Result<Self, Error> {
        let mut stored = BufReader::with_capacity(1 << 16, stored);
        let mut spool = BufWriter::new(tempfile::tempfile_in(scratch).map_err(Error::io(scratch))?);
        let mut index: HashMap<Vec<u8>, (u64, u64)> = HashMap::new();
        let (mut offset, mut current) = (0, None);
        let mut line = Vec::new();
        loop {
            line.clear();
            if let Err(error) = stored.read_until(b'\n', &mut line) {
                return Err(stored.get_mut().failure.take().unwrap_or_else(|| Error::io(path)(error)));
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
        let sequences = Sequences { file, state: Arc::clone(&state) };
        Self { repository: fasta::Repository::new(sequences), state }
    }

    pub fn repository(&self) -> fasta::Repository {
        self.repository.clone()
    }

    /// Frees the cached sequences when they have grown large.
    pub fn forget_old(&self) {
        if self.state.cached_bp.load(Ordering::Relaxed) > CACHED_BP {
            self.repository.clear();
            self.state.cached_bp.store(0, Ordering::Relaxed);
        }
    }

    /// Takes the checksums of a file's header for those that the sequences must have. What was read for an earlier file
    /// is forgotten, so that it is compared anew.
    pub fn expect(&self, header: &sam::Header) {
        let checksums = header.reference_sequences().iter().filter_map(|(name, map)| {
            let checksum = map.other_fields().get(&sam_header::tag::MD5_CHECKSUM)?;
            Some((name.to_vec(), checksum.to_string().to_ascii_lowercase()))
        });
        *lock(&self.state.checksums) = checksums.collect();
        self.repository.clear();
    }

    /// The first thing that was wrong with a sequence that was asked for.
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

/// Fetches sequences for the decoder, which panics when one is simply absent.
struct Sequences {
    file: Option<Spool>,
    state: Arc<State>,
}

impl Sequences {
    fn refuse(&self, complaint: Complaint) -> io::Error {
        lock(&self.state.complaint).get_or_insert(complaint);
        io::Error::other("no such reference sequence")
    }

    fn lack(&self, name: &[u8], found: String) -> io::Error {
        self.refuse(Complaint::Missing { name: String::from_utf8_lossy(name).into_owned(), found })
    }

    /// Compares the sequence with the checksum in the header, if that has one.
    fn check(&self, name: &[u8], letters: &[u8]) -> io::Result<()> {
        let Some(expected) = lock(&self.state.checksums).get(name).cloned() else { return Ok(()) };
        let found = manifest::hex(&Md5::digest(letters));
        if found == expected {
            return Ok(());
        }
        let name = String::from_utf8_lossy(name).into_owned();
        Err(self.refuse(Complaint::Another { name, expected, found }))
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
        let Some(spool) = &mut self.file else {
            return Some(Err(self.lack(name, "no reference (use --reference FASTA)".into())));
        };
        let Some(&place) = spool.index.get(name) else {
            let found = format!("{} without it", spool.path.display());
            return Some(Err(self.lack(name, found)));
        };
        self.state.cached_bp.fetch_add(place.1, Ordering::Relaxed);
        let letters = match Self::read(spool, place) {
            Ok(letters) => letters,
            Err(error) => return Some(Err(error)),
        };
        let definition = fasta::record::Definition::new(name, None);
        Some(self.check(name, &letters).map(|()| fasta::Record::new(definition, letters.into())))
    }
}
