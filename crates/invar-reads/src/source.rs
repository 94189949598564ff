//! Inputs as ordered blocks of decompressed bytes, read and inflated ahead of their use.
//!
//! Each source has a thread that reads the stored bytes, counts them and updates their SHA-256. Gzip and zstd, which
//! can only be decompressed sequentially, are inflated in that thread too; the blocks of BGZF are inflated by the
//! workers, even if they are among members of plain gzip.

use std::{
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use invar_dataset::{input, manifest};
use sha2::{Digest, Sha256};

use crate::{
    Error,
    error::Place,
    sniff::{self, Compression},
};

mod bgzf;
mod buffers;
mod gzip;
mod stored;

pub(crate) use buffers::Buffers;
use stored::Stored;

/// Decompressed bytes per block.
const BLOCK_BYTES: usize = 1 << 20;

/// Number of blocks waiting to be used.
const BLOCKS_AHEAD: usize = 4;

/// Size and checksum of a stored input, and anything odd about its end.
#[derive(Clone, Debug)]
pub(crate) struct InputDigest {
    pub size_bytes: u64,
    pub sha256: String,
    pub oddities: Vec<Oddity>,
}

/// Something odd at the end of a compressed input. Whether it is an error depends on the content of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Oddity {
    /// The BGZF end-of-file block is missing, so it is unknown whether more blocks once followed.
    NoEndBlock,
    /// Bytes after the last gzip member that are neither another member nor zeros.
    Garbage { offset: u64, size_bytes: u64 },
}

/// What every source shares.
#[derive(Clone)]
pub(crate) struct Workers {
    /// Where BGZF blocks are inflated and records decoded.
    pub pool: Arc<rayon::ThreadPool>,
    /// Stored bytes read so far, of all inputs.
    pub bytes_read: Arc<AtomicU64>,
    /// Memory for blocks.
    pub buffers: Arc<Buffers>,
}

/// An input being read. Dropping it stops its thread.
pub(crate) struct InputStream {
    path: PathBuf,
    blocks: Receiver<Block>,
    digest: Option<InputDigest>,
}

/// What a reading thread sends.
pub(crate) enum Block {
    Ready(Vec<u8>),
    Pending(Receiver<Result<Vec<u8>, Error>>),
    Failed(Error),
    End(InputDigest),
}

impl InputStream {
    /// Opens `path` (`-` is standard input) and starts to read it.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path, workers: &Workers) -> Result<Self, Error> {
        let stored: Box<dyn Read + Send> =
            if path == Path::new("-") { Box::new(io::stdin()) } else { input::open(path).map_err(Error::io(path))? };
        Ok(Self::of(path, stored, workers))
    }

    /// Starts to read from `stored`.
    pub fn of(path: &Path, stored: Box<dyn Read + Send>, workers: &Workers) -> Self {
        let metered = Metered {
            inner: stored,
            hasher: Sha256::new(),
            size_bytes: 0,
            bytes_read: Arc::clone(&workers.bytes_read),
        };
        let (sender, workers, owned_path) = (Outlet::new(), workers.clone(), path.to_path_buf());
        let (outlet, blocks) = sender;
        spawn("invar-read", move || {
            if let Err(Stop::Failed(error)) = read_input(metered, &owned_path, &workers, &outlet) {
                let _ = outlet.0.send(Block::Failed(error));
            }
        });
        Self { path: path.into(), blocks, digest: None }
    }

    /// A source whose blocks are produced by `make` in a separate thread.
    pub fn generate(path: &Path, make: impl FnOnce(&Outlet) -> Result<InputDigest, Stop> + Send + 'static) -> Self {
        let (outlet, blocks) = Outlet::new();
        spawn("invar-convert", move || {
            let last = match make(&outlet) {
                Ok(digest) => Block::End(digest),
                Err(Stop::Failed(error)) => Block::Failed(error),
                Err(Stop::Unwanted) => return,
            };
            let _ = outlet.0.send(last);
        });
        Self { path: path.into(), blocks, digest: None }
    }

    /// A source of bytes in memory.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn of_blocks<'a>(path: &Path, blocks: impl Iterator<Item = &'a [u8]>) -> Self {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let blocks = blocks.map(|block| Block::Ready(block.to_vec()));
        let end = Block::End(InputDigest { size_bytes: 0, sha256: String::new(), oddities: Vec::new() });
        blocks.chain([end]).for_each(|block| sender.send(block).expect("the receiver is here"));
        Self { path: path.into(), blocks: receiver, digest: None }
    }

    /// The input as named by the user.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next decompressed bytes, never an empty block; `None` at the end.
    ///
    /// # Errors
    /// Errors of the reading thread.
    pub fn next_block(&mut self) -> Result<Option<Vec<u8>>, Error> {
        while self.digest.is_none() {
            let bytes = match self.blocks.recv() {
                Ok(Block::Ready(bytes)) => bytes,
                Ok(Block::Pending(inflated)) => inflated.recv().unwrap_or_else(|_| Err(self.died()))?,
                Ok(Block::Failed(error)) => return Err(error),
                Ok(Block::End(digest)) => {
                    self.digest = Some(digest);
                    return Ok(None);
                }
                Err(_) => return Err(self.died()),
            };
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Size and checksum, once the end has been reached.
    pub fn digest(&self) -> Option<&InputDigest> {
        self.digest.as_ref()
    }

    fn died(&self) -> Error {
        Error::Io { path: self.path.clone(), source: io::Error::other("the reading thread died") }
    }
}

/// Reads a source as a stream.
pub(crate) struct InputReader {
    source: InputStream,
    block: Vec<u8>,
    used: usize,
    /// The error of the source, which `io::Error` cannot carry.
    pub failure: Option<Error>,
}

impl InputReader {
    /// Continues after `block`, which was already taken from `source`.
    pub fn new(source: InputStream, block: Vec<u8>) -> Self {
        Self { source, block, used: 0, failure: None }
    }

    /// The source, for its digest.
    pub fn source(&self) -> &InputStream {
        &self.source
    }
}

impl Read for InputReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.block.len() {
            match self.source.next_block() {
                Ok(Some(block)) => (self.block, self.used) = (block, 0),
                Ok(None) => return Ok(0),
                Err(error) => {
                    let text = error.to_string();
                    self.failure = Some(error);
                    return Err(io::Error::other(text));
                }
            }
        }
        let n = buffer.len().min(self.block.len() - self.used);
        buffer[..n].copy_from_slice(&self.block[self.used..self.used + n]);
        self.used += n;
        Ok(n)
    }
}

/// Why a reading thread ends early.
pub(crate) enum Stop {
    Failed(Error),
    /// Nobody is listening any more.
    Unwanted,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Where a reading thread sends its blocks.
pub(crate) struct Outlet(Sender<Block>);

impl Outlet {
    fn new() -> (Self, Receiver<Block>) {
        let (sender, receiver) = bounded(BLOCKS_AHEAD);
        (Self(sender), receiver)
    }

    pub fn send(&self, block: Block) -> Result<(), Stop> {
        self.0.send(block).map_err(|_| Stop::Unwanted)
    }
}

/// Counts and hashes what is read through it.
struct Metered {
    inner: Box<dyn Read + Send>,
    hasher: Sha256,
    size_bytes: u64,
    bytes_read: Arc<AtomicU64>,
}

impl Metered {
    fn finish(self) -> InputDigest {
        InputDigest {
            size_bytes: self.size_bytes,
            sha256: manifest::hex(&self.hasher.finalize()),
            oddities: Vec::new(),
        }
    }
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.size_bytes += n as u64;
        self.bytes_read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name(name.into()).spawn(work).expect("the system gives a thread");
}

fn read_input(stored: Metered, path: &Path, workers: &Workers, outlet: &Outlet) -> Result<(), Stop> {
    let mut stored = BufReader::with_capacity(1 << 18, stored);
    let prefix = peek(&mut stored, sniff::COMPRESSION_PREFIX).map_err(Error::io(path))?;
    let compression = sniff::compression(&prefix);
    let mut stored = Stored::new(prefix, stored);
    let mut filler = Filler::new(workers, outlet);
    let mut oddities = Vec::new();
    let failure = match compression {
        Compression::None => filler.fill(&mut stored)?,
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(&mut stored).map_err(Error::io(path))?;
            filler.fill(&mut decoder)?
        }
        Compression::Gzip | Compression::Bgzf => {
            oddities = gzip::send_members(&mut stored, path, workers, outlet)?;
            None
        }
    };
    filler.flush()?;
    if let Some(error) = failure {
        return Err(decompression_error(path, stored.offset(), error).into());
    }
    outlet.send(Block::End(InputDigest { oddities, ..stored.into_inner().finish() }))
}

/// The first `len` bytes, or all if there are fewer.
fn peek(stored: &mut impl BufRead, len: usize) -> io::Result<Vec<u8>> {
    let mut prefix = Vec::with_capacity(len);
    stored.take(len as u64).read_to_end(&mut prefix)?;
    Ok(prefix)
}

/// Fills blocks from a stream, or from several consecutive ones, and sends the full ones.
struct Filler<'a> {
    workers: &'a Workers,
    outlet: &'a Outlet,
    block: Vec<u8>,
    filled: usize,
}

impl<'a> Filler<'a> {
    fn new(workers: &'a Workers, outlet: &'a Outlet) -> Self {
        Self { workers, outlet, block: Vec::new(), filled: 0 }
    }

    /// Reads `stream` to its end, or to the error that is returned.
    fn fill(&mut self, stream: &mut impl Read) -> Result<Option<io::Error>, Stop> {
        loop {
            if self.filled == self.block.len() {
                self.flush()?;
                self.block = self.workers.buffers.take(BLOCK_BYTES);
            }
            match stream.read(&mut self.block[self.filled..]) {
                Ok(0) => return Ok(None),
                Ok(n) => self.filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Some(error)),
            }
        }
    }

    /// Sends the current content. What could be read is sent before an error, so that an earlier error in it is the one
    /// that is reported.
    fn flush(&mut self) -> Result<(), Stop> {
        let mut block = std::mem::take(&mut self.block);
        block.truncate(self.filled);
        self.filled = 0;
        if block.is_empty() { Ok(()) } else { self.outlet.send(Block::Ready(block)) }
    }
}

/// Classifies a decoder's error: truncated, damaged, or the system's own error.
fn decompression_error(path: &Path, offset: u64, error: io::Error) -> Error {
    let place = Place { offset: Some(offset), ..Place::file(path) };
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Truncated {
            place: place.into(),
            expected: "the rest of the compressed stream".into(),
            found: "the end of the file".into(),
        },
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            Error::corrupt(place, "compressed data", "an intact stream", error)
        }
        // zstd reports damage as "other"; the system's own errors have a code.
        io::ErrorKind::Other if error.raw_os_error().is_none() => {
            Error::corrupt(place, "compressed data", "an intact stream", error)
        }
        _ => Error::Io { path: path.into(), source: error },
    }
}

#[cfg(test)]
mod tests;
