//! Recognises a file by its first bytes, never by its name.

use std::path::Path;

use crate::Error;

/// How the bytes of a file are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    /// RFC 1952, any number of members.
    Gzip,
    /// Gzip members of at most 64 KiB that state their size (SAM specification, section 4.1).
    Bgzf,
    /// RFC 8878, any number of frames.
    Zstd,
}

/// What the decompressed bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Fastq,
    Fasta,
    Bam,
    Cram,
}

/// Bytes that [`compression`] needs to see.
pub(crate) const COMPRESSION_PREFIX: usize = 18;

/// Bytes that [`format`] needs to see, past blank lines.
pub(crate) const FORMAT_PREFIX: usize = 16;

/// Recognises the compression from the first bytes (fewer than [`COMPRESSION_PREFIX`] only if the file is shorter).
pub(crate) fn compression(prefix: &[u8]) -> Compression {
    match prefix {
        [0x1f, 0x8b, 8, flags, _, _, _, _, _, _, _, _, b'B', b'C', 2, 0, ..] if flags & 4 != 0 => Compression::Bgzf,
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        // Skippable frames, which pzstd writes first.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// Recognises the format from the first decompressed bytes; blank lines before the first record are skipped.
///
/// # Errors
/// [`Error::NotAReadFile`], naming what it looks like instead.
pub(crate) fn format(path: &Path, prefix: &[u8]) -> Result<Format, Error> {
    const SAM_HEADERS: [&[u8]; 5] = [b"@HD\t", b"@SQ\t", b"@RG\t", b"@PG\t", b"@CO\t"];
    if prefix.starts_with(b"BAM\x01") {
        return Ok(Format::Bam);
    }
    if let Some([major, minor, ..]) = prefix.strip_prefix(b"CRAM") {
        if *major == 3 {
            return Ok(Format::Cram);
        }
        let found =
            format!("CRAM {major}.{minor}: convert it with `samtools view -O cram,version=3.0` (3.0 and 3.1 are read)");
        return Err(Error::NotAReadFile { path: path.into(), found });
    }
    let text = prefix.trim_ascii_start();
    if matches!(text.first(), Some(b'@' | b'>')) && ends_lines_in_cr(text) {
        let found = "text whose lines end in CR alone, as on old Macintoshes: convert it with `tr '\\r' '\\n'`";
        return Err(Error::NotAReadFile { path: path.into(), found: found.into() });
    }
    if !SAM_HEADERS.iter().any(|header| text.starts_with(header)) {
        match text.first() {
            Some(b'@') => return Ok(Format::Fastq),
            Some(b'>') => return Ok(Format::Fasta),
            _ => {}
        }
    }
    Err(Error::NotAReadFile { path: path.into(), found: describe(text) })
}

/// The mark that some editors put before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Removes a byte order mark from the beginning of an input.
pub(crate) fn strip_byte_order_mark(start: &mut Vec<u8>) {
    if start.starts_with(BYTE_ORDER_MARK) {
        start.drain(..BYTE_ORDER_MARK.len());
    }
}

/// Whether lines of text end in CR, with no LF anywhere.
pub(crate) fn ends_lines_in_cr(text: &[u8]) -> bool {
    memchr::memchr(b'\r', text).is_some_and(|at| at + 1 < text.len()) && memchr::memchr(b'\n', text).is_none()
}

fn describe(prefix: &[u8]) -> String {
    let known: [(&[u8], &str); 15] = [
        (b"\xff\xfe", "text in UTF-16: convert it with `iconv -f UTF-16 -t UTF-8`"),
        (b"\xfe\xff", "text in UTF-16: convert it with `iconv -f UTF-16 -t UTF-8`"),
        (b"@HD\t", "SAM text: convert it with `samtools view -b`"),
        (b"@SQ\t", "SAM text: convert it with `samtools view -b`"),
        (b"@", "SAM text: convert it with `samtools view -b`"),
        (b"PK\x03\x04", "a zip archive: unpack it first"),
        (b"BZh", "bzip2: decompress it first"),
        (b"\xfd7zXZ", "xz: decompress it first"),
        (b"\x1f\x8b", "gzip inside gzip: decompress it once"),
        (b"\x89HDF", "HDF5 (FAST5 signal): basecall it first"),
        (b"\x8bPOD", "POD5 signal: basecall it first"),
        (b"NCBI.sra", "an SRA archive: convert it with `fasterq-dump`"),
        (b".sff", "SFF: convert it to FASTQ first"),
        (b"PAR1", "Parquet"),
        (b"LOCUS", "GenBank: convert it to FASTA first"),
    ];
    match known.iter().find(|(magic, _)| prefix.starts_with(magic)) {
        Some((_, name)) => (*name).into(),
        None => format!("a file that begins with {:?}", String::from_utf8_lossy(&prefix[..prefix.len().min(16)])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_are_told_apart() {
        // The BGZF end-of-file block of the SAM specification, section 4.1.2.
        let eof = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0\x42\x43\x02\0\x1b\0\x03\0\0\0\0\0\0\0\0\0";
        assert_eq!(compression(eof), Compression::Bgzf);
        assert_eq!(compression(b"\x1f\x8b\x08\0\0\0\0\0\0\x03"), Compression::Gzip);
        assert_eq!(compression(b"\x28\xb5\x2f\xfd\x24"), Compression::Zstd);
        assert_eq!(compression(b"@read\n"), Compression::None);
        assert_eq!(compression(b""), Compression::None);
    }

    #[test]
    fn formats_are_told_apart() {
        let of = |bytes: &[u8]| format(Path::new("x"), bytes);
        assert_eq!(of(b"@read 1\nACGT").unwrap(), Format::Fastq);
        assert_eq!(of(b"\r\n\n>read 1\nACGT").unwrap(), Format::Fasta);
        assert_eq!(of(b"BAM\x01\0\0").unwrap(), Format::Bam);
        assert_eq!(of(b"CRAM\x03\0").unwrap(), Format::Cram);
        assert_eq!(of(b"@read 1\r\nACGT").unwrap(), Format::Fastq);
        let cases: [(&[u8], &str); 6] = [
            (b"@HD\tVN:1.6\n", "SAM"),
            (b"PK\x03\x04", "zip"),
            (b"hello", "hello"),
            (b"CRAM\x02\x01", "found CRAM 2.1"),
            (b"@read 1\rACGT\r+\r", "CR alone"),
            (b"\xff\xfe>\0r\0", "UTF-16"),
        ];
        for (bytes, expected) in cases {
            let error = of(bytes).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
