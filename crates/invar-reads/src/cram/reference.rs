use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Seek, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use noodles::{
    core::Region,
    fasta::{self, fai},
};

use crate::{Error, error::Place, source::SourceReader};

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

    /// Indexes the FASTA that `stored` gives. The index stays in memory; the text goes to a nameless file in `scratch`,
    /// so that it can be read at any place also when it was compressed or came through a pipe.
    pub fn read(mut stored: SourceReader, path: &Path, scratch: &Path) -> Result<Self, Error> {
        let mut spool = BufWriter::new(tempfile::tempfile_in(scratch).map_err(Error::io(scratch))?);
        stored.copy_to(path, &mut spool)?;
        let mut file = spool.into_inner().map_err(|error| Error::io(scratch)(error.into_error()))?;
        file.flush().and_then(|()| file.rewind()).map_err(Error::io(scratch))?;
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let mut records = Vec::new();
        let mut indexer = fasta::io::Indexer::new(&mut reader);
        loop {
            match indexer.index_record() {
                Ok(Some(record)) => records.push(record),
                Ok(None) => break,
                Err(error) => {
                    let place = Place { record: Some(records.len() as u64 + 1), ..Place::file(path) };
                    return Err(Error::corrupt(place, "reference", "FASTA with lines of equal length", error));
                }
            }
        }
        if records.is_empty() {
            return Err(Error::Empty { path: path.into(), found: "no reference sequence".into() });
        }
        let reader = fasta::io::IndexedReader::new(reader, fai::Index::from(records));
        Ok(Self::new(Some((reader, path.to_path_buf()))))
    }

    fn new(file: Option<(fasta::io::IndexedReader<BufReader<File>>, PathBuf)>) -> Self {
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

/// Fetches sequences for the decoder, which panics when one is simply absent.
struct Sequences {
    file: Option<(fasta::io::IndexedReader<BufReader<File>>, PathBuf)>,
    state: Arc<State>,
}

impl Sequences {
    fn lack(&self, name: &[u8], found: String) -> io::Error {
        let name = String::from_utf8_lossy(name).into_owned();
        self.state.missing().get_or_insert((name, found));
        io::Error::new(io::ErrorKind::NotFound, "missing reference sequence")
    }
}

impl fasta::repository::Adapter for Sequences {
    fn get(&mut self, name: &[u8]) -> Option<io::Result<fasta::Record>> {
        let Some((reader, path)) = &mut self.file else {
            return Some(Err(self.lack(name, "no reference (use --reference FASTA)".into())));
        };
        if !reader.index().as_ref().iter().any(|record| *record.name() == *name) {
            let found = format!("{} without it", path.display());
            return Some(Err(self.lack(name, found)));
        }
        Some(reader.query(&Region::new(name, ..)).map(|record| {
            // Soft-masked references are in lower case.
            let letters = record.sequence().as_ref().to_ascii_uppercase();
            self.state.cached_bp.fetch_add(letters.len() as u64, Ordering::Relaxed);
            fasta::Record::new(record.definition().clone(), letters.into())
        }))
    }
}
