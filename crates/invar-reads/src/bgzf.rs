//! Many compressed files written side by side, in BGZF (SAM specification, section 4.1): gzip that every program can
//! read, in blocks that can be compressed in parallel and located again.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

use noodles::bgzf;
use rayon::prelude::*;

use crate::Error;

/// Bytes that a thread compresses at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes waiting to be compressed, over all files.
const WAITING_BYTES: usize = 64 << 20;
/// The files of one directory. What is pushed waits in memory, at most 64 MiB plus one record, and is then compressed
/// by all threads; block boundaries depend only on what was pushed.
pub struct BgzfFiles {
    directory: PathBuf,
    /// The waiting bytes, by name.
    waiting: BTreeMap<String, Vec<u8>>,
    num_waiting: usize,
}

impl BgzfFiles {
    /// No files yet, in an existing directory.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.into(), waiting: BTreeMap::new(), num_waiting: 0 }
    }

    /// Appends to the file `name`, creating it if necessary.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn push(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        match self.waiting.get_mut(name) {
            Some(waiting) => waiting.extend_from_slice(bytes),
            None => {
                self.waiting.insert(name.to_owned(), bytes.to_vec());
            }
        }
        self.num_waiting += bytes.len();
        if self.num_waiting >= WAITING_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes the waiting bytes, and the end of every file.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn finish(mut self) -> Result<(), Error> {
        self.flush()?;
        let end = bgzf::io::Writer::new(Vec::new()).finish().map_err(Error::io(&self.directory))?;
        self.waiting.keys().try_for_each(|name| self.append(name, &end))
    }

    fn flush(&mut self) -> Result<(), Error> {
        let pieces: Vec<(&String, &[u8])> = self
            .waiting
            .iter()
            .flat_map(|(name, waiting)| waiting.chunks(PIECE_BYTES).map(move |piece| (name, piece)))
            .collect();
        let compressed: Vec<_> = pieces.into_par_iter().map(|(name, piece)| (name, blocks(piece))).collect();
        for (name, blocks) in compressed {
            self.append(name, &blocks.map_err(Error::io(&self.directory))?)?;
        }
        self.waiting.values_mut().for_each(Vec::clear);
        self.num_waiting = 0;
        Ok(())
    }

    fn append(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.directory.join(name);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(bytes)).map_err(Error::io(&path))
    }
}

/// Compresses bytes into blocks, without the end-of-file block.
fn blocks(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = bgzf::io::Writer::new(Vec::new());
    writer.write_all(bytes)?;
    writer.flush()?;
    Ok(writer.into_inner())
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read as _};

    use super::*;

    /// Incompressible bytes: the worst case for a block.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1u64;
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect()
    }

    #[test]
    fn noodles_and_flate2_read_what_was_pushed() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = BgzfFiles::new(dir.path());
        let (one, two) = (noise(3 * PIECE_BYTES + 5), b"ACGT\n".repeat(40_000));
        for piece in one.chunks(100_001) {
            files.push("one.gz", piece).unwrap();
        }
        files.push("two.gz", &two).unwrap();
        files.flush().unwrap();
        files.push("two.gz", b"end").unwrap();
        files.push("none.gz", b"").unwrap();
        files.finish().unwrap();
        let two = [&two[..], b"end"].concat();
        for (name, expected) in [("one.gz", &one[..]), ("two.gz", &two), ("none.gz", b"")] {
            let bytes = fs::read(dir.path().join(name)).unwrap();
            let (mut by_noodles, mut by_flate2) = (Vec::new(), Vec::new());
            bgzf::io::Reader::new(&bytes[..]).read_to_end(&mut by_noodles).unwrap();
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut by_flate2).unwrap();
            assert!(by_noodles == expected && by_flate2 == expected, "{name}");
            // The empty block that marks the end (SAM specification, section 4.1.2).
            assert!(bytes.ends_with(&[0x1b, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]), "{name}");
        }
        assert_eq!(dir.path().read_dir().unwrap().count(), 3);
    }
}
