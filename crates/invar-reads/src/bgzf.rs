//! Many compressed files that are written side by side, in BGZF (SAM specification, section 4.1): gzip that every program
//! reads, in blocks that can be compressed in parallel and found again.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
};

use libdeflater::{CompressionLvl, Compressor, Crc};
use rayon::prelude::*;

use crate::Error;

/// Most bytes that a block may hold, so that even what does not compress fits into one (htslib's number).
const BLOCK_BYTES: usize = 0xff00;
/// Bytes that wait to be compressed, over all files.
const WAITING_BYTES: usize = 64 << 20;
/// The block without contents that marks the end.
const END: [u8; 28] =
    [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, 0x42, 0x43, 2, 0, 0x1b, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// zlib's default.
const LEVEL: i32 = 6;

/// Files of one directory. What is pushed waits in memory, at most 64 MiB of it and one record, and is then compressed by all
/// threads; where blocks end depends on what was pushed alone.
pub struct BgzfFiles {
    directory: PathBuf,
    /// By name, what waits.
    waiting: BTreeMap<String, Vec<u8>>,
    num_waiting: usize,
}

impl BgzfFiles {
    /// No files yet, in a directory that is there.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.into(), waiting: BTreeMap::new(), num_waiting: 0 }
    }

    /// Appends to the file `name`, which begins to exist.
    ///
    /// # Errors
    /// When a file cannot be written.
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

    /// Writes what waits, and the end of every file.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(mut self) -> Result<(), Error> {
        self.flush()?;
        self.waiting.keys().try_for_each(|name| self.append(name, &END))
    }

    fn flush(&mut self) -> Result<(), Error> {
        let blocks: Vec<&[u8]> = self.waiting.values().flat_map(|waiting| waiting.chunks(BLOCK_BYTES)).collect();
        let compressed: Vec<Vec<u8>> = blocks.into_par_iter().map_init(|| Compressor::new(level()), block).collect();
        let mut compressed = compressed.into_iter();
        for (name, waiting) in &self.waiting {
            let blocks: Vec<Vec<u8>> = compressed.by_ref().take(waiting.len().div_ceil(BLOCK_BYTES)).collect();
            if !blocks.is_empty() {
                self.append(name, &blocks.concat())?;
            }
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

fn level() -> CompressionLvl {
    CompressionLvl::new(LEVEL).expect("a level that there is")
}

/// One block: a gzip member whose extra field says how long it is.
fn block(compressor: &mut Compressor, bytes: &[u8]) -> Vec<u8> {
    const HEADER: usize = 18;
    let mut block = vec![0; HEADER + compressor.deflate_compress_bound(bytes.len())];
    let written = compressor.deflate_compress(bytes, &mut block[HEADER..]).expect("room for the worst case");
    block.truncate(HEADER + written);
    let size = HEADER + written + 8;
    block[..16].copy_from_slice(&END[..16]);
    block[16..HEADER].copy_from_slice(&(size as u16 - 1).to_le_bytes());
    let mut crc = Crc::new();
    crc.update(bytes);
    block.extend(crc.sum().to_le_bytes());
    block.extend((bytes.len() as u32).to_le_bytes());
    block
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read};

    use super::*;

    /// Bytes that do not compress: the worst case of a block.
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
        let (one, two) = (noise(3 * BLOCK_BYTES + 5), b"ACGT\n".repeat(40_000));
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
            noodles::bgzf::io::Reader::new(&bytes[..]).read_to_end(&mut by_noodles).unwrap();
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut by_flate2).unwrap();
            assert!(by_noodles == expected && by_flate2 == expected, "{name}");
            assert!(bytes.ends_with(&END), "{name}");
        }
        assert_eq!(dir.path().read_dir().unwrap().count(), 3);
    }
}
