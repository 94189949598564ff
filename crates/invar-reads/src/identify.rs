use std::{fmt, path::Path, sync::Arc};

use crate::{
    Error,
    sniff::{self, Compression, Format},
    source::{InputStream, Workers},
};

/// What kind of file of reads it is, by its content: "FASTQ in BGZF".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    format: Format,
    compression: Compression,
}

/// Looks at the first bytes of a file of reads.
///
/// # Errors
/// If it cannot be opened, is empty, or is not in a format for reads.
pub fn identify(path: &Path) -> Result<Identity, Error> {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = threads.map_err(|error| Error::Io { path: path.into(), source: std::io::Error::other(error) })?;
    let workers = Workers { pool: Arc::new(pool), bytes_read: Arc::default(), buffers: Arc::default() };
    let mut source = InputStream::open(path, &workers)?;
    let Some(mut block) = source.next_block()? else {
        return Err(Error::Empty { path: path.into(), found: "an empty file".into() });
    };
    sniff::strip_byte_order_mark(&mut block);
    let format = sniff::format(path, &block)?;
    Ok(Identity { format, compression: stored(path)? })
}

impl Identity {
    /// Whether its records themselves identify their mates.
    pub(crate) fn is_alignments(self) -> bool {
        matches!(self.format, Format::Bam | Format::Cram)
    }
}

fn stored(path: &Path) -> Result<Compression, Error> {
    use std::io::Read;
    let file = invar_dataset::input::open(path).map_err(Error::io(path))?;
    let mut prefix = Vec::with_capacity(sniff::COMPRESSION_PREFIX);
    file.take(sniff::COMPRESSION_PREFIX as u64).read_to_end(&mut prefix).map_err(Error::io(path))?;
    Ok(sniff::compression(&prefix))
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.format {
            Format::Fastq => "FASTQ",
            Format::Fasta => "FASTA",
            Format::Bam => return f.write_str("BAM"),
            Format::Cram => return f.write_str("CRAM"),
        };
        match self.compression {
            Compression::None => f.write_str(format),
            Compression::Gzip => write!(f, "{format} in gzip"),
            Compression::Bgzf => write!(f, "{format} in BGZF"),
            Compression::Zstd => write!(f, "{format} in zstd"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_compressed() {
        let of = |bytes: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            identify(file.path()).map(|identity| identity.to_string())
        };
        assert_eq!(of(b"@r\nA\n+\nI\n").unwrap(), "FASTQ");
        assert_eq!(of(b"\xef\xbb\xbf@r\nA\n+\nI\n").unwrap(), "FASTQ");
        assert_eq!(of(&zstd::encode_all(&b">r\nA\n"[..], 3).unwrap()).unwrap(), "FASTA in zstd");
        assert!(matches!(of(b""), Err(Error::Empty { .. })));
        assert!(matches!(of(b"hello"), Err(Error::NotAReadFile { .. })));
    }
}
