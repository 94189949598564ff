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

use noodles::fasta;

use crate::{Error, error::Place, frame::split_head, source::SourceReader};

/// Bases of the reference that are kept in memory before all are forgotten and read again as needed.
const CACHED_BP: u64 = 64_000_000;

/// The sequences that CRAM files were compressed against. Cheap to clone; clones share what was read.
#[derive(Clone)]
pub(crate) struct Reference {
    repository: fasta::Repository,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    cached_bp: AtomicU64,
    missing: Mutex<Option<(String, String)>>,
}

impl State {
    fn missing(&self) -> MutexGuard<'_, Option<(String, String)>> {
        self.missing.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
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
                        return Err(Error::BadMarker { place, expected: '>', found });
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

    /// Name of the first sequence that was asked for and is not here, and what is here instead.
    pub fn missing(&self) -> Option<(String, String)> {
        self.state.missing().clone()
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
    fn lack(&self, name: &[u8], found: String) -> io::Error {
        let name = String::from_utf8_lossy(name).into_owned();
        self.state.missing().get_or_insert((name, found));
        io::Error::new(io::ErrorKind::NotFound, "missing reference sequence")
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
        let definition = fasta::record::Definition::new(name, None);
        Some(Self::read(spool, place).map(|letters| fasta::Record::new(definition, letters.into())))
    }
}
