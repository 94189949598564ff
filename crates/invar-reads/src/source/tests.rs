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
    let mut source = InputStream::open(&path, &workers()).unwrap();
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

/// The BGZF block that marks the end.
const END_BYTES: usize = 28;

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

/// Text that compresses, but not to almost nothing.
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
        for len in [stored.len() - 1, stored.len() / 2, stored.len() - END_BYTES - 1, 20] {
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
    // The header of a block in the middle of others.
    let blocks = [bgzip(b"one"), bgzip(b"two")];
    let mut stored = blocks.concat();
    stored[blocks[0].len() + 1] ^= 0x55;
    assert_eq!(read_all(&stored).1.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn members_of_all_kinds_follow_each_other() {
    let (one, two, three) = (text(200_000), text(70), text(90_001));
    for compress in [[gzip, bgzip, gzip], [bgzip, gzip, bgzip], [bgzip, gzip, gzip], [gzip, gzip, bgzip]] {
        let stored = [compress[0](&one), compress[1](&two), compress[2](&three)].concat();
        let (bytes, digest) = read_all(&stored);
        assert!(bytes == [&one[..], &two, &three].concat());
        assert_eq!(digest.unwrap().oddities, []);
        for cut in [1, 20] {
            let kind = read_all(&stored[..stored.len() - cut]).1.unwrap_err().kind();
            assert_eq!(kind, ErrorKind::Truncated, "{cut}");
        }
    }
    // An empty BGZF file, as from a lane without reads, before gzip.
    assert_eq!(read_all(&[bgzip(b""), gzip(b"one")].concat()).0, b"one");
    // Extra fields other than those of BGZF.
    let mut extra = flate2::GzBuilder::new().extra(b"XX\x02\0ab".to_vec()).write(Vec::new(), Level::fast());
    extra.write_all(b"two").unwrap();
    assert_eq!(read_all(&[bgzip(b"one "), extra.finish().unwrap()].concat()).0, b"one two");
}

#[test]
fn what_follows_the_last_member_is_told() {
    for compress in [gzip, bgzip] {
        let whole = compress(b"one");
        let oddities = |rest: &[u8]| {
            let (bytes, digest) = read_all(&[&whole[..], rest].concat());
            assert_eq!(bytes, b"one");
            let digest = digest.unwrap();
            assert_eq!(digest.size_bytes, (whole.len() + rest.len()) as u64);
            digest.oddities
        };
        assert_eq!(oddities(&[0; 100_000]), []);
        let garbage = |size_bytes| [Oddity::Garbage { offset: whole.len() as u64, size_bytes }];
        assert_eq!(oddities(b"garbage"), garbage(7));
        assert_eq!(oddities(&[0, 0, 7]), garbage(3));
        assert_eq!(oddities(&text(200_000)), garbage(200_000));
        // The beginning of a member is not a member.
        for rest in [&b"\x1f"[..], b"\x1f\x8b", b"\x1f\x8b\x08\0\0"] {
            assert_eq!(read_all(&[&whole[..], rest].concat()).1.unwrap_err().kind(), ErrorKind::Truncated);
        }
    }
    let stored = bgzip(&text(200_000));
    let (bytes, digest) = read_all(&stored[..stored.len() - END_BYTES]);
    assert!(bytes == text(200_000));
    assert_eq!(digest.unwrap().oddities, [Oddity::NoEndBlock]);
}

#[test]
fn a_missing_file_is_named() {
    let error = InputStream::open(Path::new("no/such.fastq"), &workers()).err().unwrap();
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
