use std::io::Write;

use flate2::{Compression as Level, write::GzEncoder};
use noodles::bgzf;
use proptest::prelude::*;

use super::*;
use crate::ErrorKind;

fn workers() -> Workers {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    Workers { pool: Arc::new(pool), bytes_read: Arc::default(), buffers: Arc::default() }
}

fn read_all(stored: &[u8]) -> (Vec<u8>, Result<InputDigest, Error>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    std::fs::write(&path, stored).unwrap();
    let mut source = Source::open(&path, &workers()).unwrap();
    let mut bytes = Vec::new();
    loop {
        match source.next_block() {
            Ok(Some(block)) => bytes.extend(block),
            Ok(None) => return (bytes, Ok(source.digest().unwrap().clone())),
            Err(error) => return (bytes, Err(error)),
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bgzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = bgzf::io::Writer::new(Vec::new());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// With a checksum, as the command line tool writes it.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Text that compresses, but not to nothing.
fn text(len: usize) -> Vec<u8> {
    let mut rng = invar_dataset::seed::rng(1, 2);
    (0..len).map(|_| b"ACGT"[Rng::next_u32(&mut rng) as usize % 4]).collect()
}

type Compress = fn(&[u8]) -> Vec<u8>;

const ALL: [(&str, Compress); 4] = [("plain", <[u8]>::to_vec), ("gzip", gzip), ("bgzf", bgzip), ("zstd", zstd)];

#[test]
fn every_compression_gives_the_bytes_and_the_checksum_of_what_is_stored() {
    for len in [0, 1, 17, 70_000, 3_000_000] {
        for (name, compress) in ALL {
            let stored = compress(&text(len));
            let (bytes, digest) = read_all(&stored);
            assert!(bytes == text(len), "{name} {len}");
            let digest = digest.unwrap();
            assert_eq!(digest.size_bytes, stored.len() as u64);
            assert_eq!(digest.sha256, manifest::hex(&Sha256::digest(&stored)));
        }
    }
}

#[test]
fn members_and_frames_follow_each_other() {
    for (name, compress) in ALL {
        let stored = [compress(b"one "), compress(b"two "), compress(b"three")].concat();
        assert_eq!(read_all(&stored).0, b"one two three", "{name}");
    }
}

#[test]
fn what_is_cut_off_is_an_error() {
    for (name, compress) in &ALL[1..] {
        let stored = compress(&text(200_000));
        for len in [stored.len() - 1, stored.len() / 2, stored.len() - 28, 20] {
            let (bytes, result) = read_all(&stored[..len]);
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Truncated, "{name} {len} of {}", stored.len());
            assert!(text(200_000).starts_with(&bytes));
        }
    }
}

#[test]
fn what_is_damaged_is_an_error() {
    for (name, compress) in &ALL[1..] {
        let mut stored = compress(&text(200_000));
        // In the compressed data of the first block.
        stored[5_000] ^= 0x55;
        let kind = read_all(&stored).1.unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::Corrupt), "{name}: {kind:?}");
    }
    let garbage = [gzip(b"one"), b"garbage and more of it".to_vec()].concat();
    assert_eq!(read_all(&garbage).1.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_missing_file_is_named() {
    let error = Source::open(Path::new("no/such.fastq"), &workers()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().starts_with("no/such.fastq: "), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(stored in proptest::collection::vec(any::<u8>(), 0..300), magic in 0usize..4, at in 0usize..100) {
        let mut whole = ALL[magic].1(b"ACGTACGT");
        let at = at.min(whole.len());
        whole.splice(at..at, stored);
        let _ = read_all(&whole);
    }
}
