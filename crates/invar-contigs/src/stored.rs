//! Inputs as they are stored: read once, from front to back, with their checksum taken on the way.

use std::{
    io::{self, BufRead, BufReader, Cursor, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::read::MultiGzDecoder;
use invar_dataset::{
    input,
    manifest::{self, Input},
};
use sha2::{Digest, Sha256};

use crate::{Error, error::Place};

const BUFFER_BYTES: usize = 1 << 16;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The bytes of an input; clones share its position, so that whoever decodes them can own one.
#[derive(Clone)]
pub(crate) struct Stored {
    shared: Arc<Mutex<Source>>,
    /// Stored bytes read so far.
    pub num_read: Arc<AtomicU64>,
}

struct Source {
    bytes: Box<dyn Read + Send>,
    hasher: Sha256,
}

impl Stored {
    /// Opens a file or an object.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self::of(input::open(path).map_err(Error::io(path))?))
    }

    fn of(bytes: Box<dyn Read + Send>) -> Self {
        let source = Source { bytes, hasher: Sha256::new() };
        Self { shared: Arc::new(Mutex::new(source)), num_read: Arc::default() }
    }

    /// The input as listed in the manifest. What no decoder asked for is read now.
    pub fn finish(mut self, path: &Path) -> Result<Input, Error> {
        io::copy(&mut self, &mut io::sink()).map_err(Error::io(path))?;
        let digest = self.lock().hasher.clone().finalize();
        Ok(Input::new(path, self.num_read.load(Ordering::Relaxed), manifest::hex(&digest)))
    }

    fn lock(&self) -> MutexGuard<'_, Source> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut source = self.lock();
        let num = source.bytes.read(buffer)?;
        source.hasher.update(&buffer[..num]);
        drop(source);
        self.num_read.fetch_add(num as u64, Ordering::Relaxed);
        Ok(num)
    }
}

/// The first bytes of a file, decompressed if it is compressed by gzip, BGZF or zstd.
pub(crate) fn head(path: &Path) -> Result<Vec<u8>, Error> {
    const MOST: u64 = 1 << 12;
    let mut head = Vec::new();
    let mut text = decompressed(path, Stored::open(path)?)?.take(MOST);
    // What is damaged is told when the file is read.
    match text.read_to_end(&mut head) {
        Err(error) if head.is_empty() => Err(Error::reading(Place::file(path))(error)),
        _ => Ok(head),
    }
}

fn decompressed(path: &Path, mut source: Stored) -> Result<Box<dyn BufRead + Send>, Error> {
    let mut head = Vec::new();
    source.by_ref().take(ZSTD.len() as u64).read_to_end(&mut head).map_err(Error::io(path))?;
    let (is_zstd, is_gzip) = (head == ZSTD, head.starts_with(&GZIP));
    let all = Cursor::new(head).chain(source);
    Ok(if is_zstd {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, zstd::Decoder::new(all).map_err(Error::io(path))?))
    } else if is_gzip {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(BufReader::new(all))))
    } else {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, all))
    })
}

/// The lines of a text, plain or compressed by gzip, BGZF or zstd.
pub(crate) struct Lines {
    path: PathBuf,
    stored: Option<Stored>,
    text: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    /// Opens a text; how it is compressed is told by its first bytes.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let stored = Stored::open(path)?;
        let text = decompressed(path, stored.clone())?;
        Ok(Self { path: path.into(), stored: Some(stored), text, line: vec![], number: 0 })
    }

    /// The lines of bytes in memory, for tests and fuzz targets.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn of_bytes(path: &str, bytes: &[u8]) -> Self {
        let text = Box::new(Cursor::new(bytes.to_vec()));
        Self { path: path.into(), stored: None, text, line: vec![], number: 0 }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The place of the line last read.
    pub fn place(&self) -> Place {
        Place::line(&self.path, self.number)
    }

    /// The next line, without its end.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, Error> {
        self.line.clear();
        let num = self.text.read_until(b'\n', &mut self.line);
        self.number += 1;
        match num.map_err(Error::reading(Place::line(&self.path, self.number)))? {
            0 => Ok(None),
            _ => Ok(Some(self.line.trim_ascii_end())),
        }
    }

    /// The next line that is not blank, as text, with its number.
    pub fn next_text(&mut self) -> Result<Option<(u64, String)>, Error> {
        loop {
            let Some(line) = self.next_line()? else { return Ok(None) };
            if line.is_empty() {
                continue;
            }
            let text = String::from_utf8(line.to_vec()).map_err(|error| {
                Error::bad(Place::line(&self.path, self.number), "text", "UTF-8", error.utf8_error())
            })?;
            return Ok(Some((self.number, text)));
        }
    }

    /// The input as listed in the manifest.
    ///
    /// # Panics
    /// If the lines are those of bytes in memory.
    pub fn finish(self) -> Result<Input, Error> {
        self.stored.expect("a file").finish(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(path: &Path) -> (Vec<String>, Input) {
        let mut lines = Lines::open(path).unwrap();
        let mut all = vec![];
        while let Some((_, text)) = lines.next_text().unwrap() {
            all.push(text);
        }
        (all, lines.finish().unwrap())
    }

    #[test]
    fn text_is_the_same_however_it_is_compressed_and_the_checksum_that_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let text = b"one\n\ntwo\r\nthree";
        let gzip = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        // Two members, and what gzip ignores after them.
        let several = [gzip(&text[..5]), gzip(&text[5..])].concat();
        for bytes in [text.to_vec(), gzip(text), several, zstd::encode_all(&text[..], 1).unwrap()] {
            std::fs::write(&path, &bytes).unwrap();
            let (all, input) = lines(&path);
            assert_eq!(all, ["one", "two", "three"]);
            assert_eq!((input.size_bytes, input.sha256), manifest::file_digest(&path).unwrap());
        }
    }

    #[test]
    fn damage_is_the_fault_of_the_file_and_names_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.gz");
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        encoder.write_all(b"one\ntwo\n").unwrap();
        let bytes = encoder.finish().unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
        let mut lines = Lines::open(&path).unwrap();
        let error = std::iter::from_fn(|| lines.next_text().transpose()).find_map(Result::err).unwrap();
        assert!(error.is_bad_input() && error.to_string().contains("x.gz, line"), "{error}");
    }
}
