//! The entry points of the fuzz targets (`fuzz/`): the readers without threads and files. Not for other use.

use std::{cell::Cell, path::Path, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{
    Error, IngestConfig,
    cram::{self, Reference},
    decode::{Customs, Decoder, MateNames, Mismatch, Work},
    frame::{TextFramer, bam::BamFramer, split_head},
    overlaps::stored,
    shard::ShardFile,
    sniff::Format,
    source::{InputStream, Workers},
};

/// The text formats.
#[derive(Clone, Copy, Debug)]
pub enum Text {
    /// FASTQ.
    Fastq,
    /// FASTA.
    Fasta,
}

/// Reads FASTQ or FASTA text. The first byte determines how the text arrives and how bad records are treated.
pub fn text(bytes: &[u8], format: Text) {
    let Some((&how, text)) = bytes.split_first() else { return };
    let format = match format {
        Text::Fastq => Format::Fastq,
        Text::Fasta => Format::Fasta,
    };
    let (interleaved, goes_on) = (how & 1 != 0, how & 2 != 0);
    let source = InputStream::of_blocks(Path::new("x"), text.chunks(usize::from(how / 4) + 1));
    let decoder = decoder(goes_on);
    let customs = Customs::default();
    let mut framer = TextFramer::new((source, Vec::new()), Arc::default(), format, 0, interleaved, goes_on);
    while let Ok(Some(slab)) = framer.next_slab() {
        let num_records = slab.records.len();
        let work = if interleaved { Work::Interleaved(slab, customs) } else { Work::Single(slab, customs) };
        check(&decoder, work, num_records);
    }
}

/// Reads decompressed BAM. The first byte determines how it arrives and whether mates can wait.
pub fn bam(bytes: &[u8]) {
    let Some((&how, stream)) = bytes.split_first() else { return };
    let source = InputStream::of_blocks(Path::new("x"), stream.chunks(usize::from(how / 4) + 1));
    alignments(source, if how & 1 == 0 { 1 << 20 } else { 300 });
}

/// Reads CRAM without a reference.
pub fn cram(bytes: &[u8]) {
    let source = InputStream::of_blocks(Path::new("x"), bytes.chunks(1 << 16));
    alignments(cram::convert(source, Vec::new(), Reference::none()), 1 << 20);
}

/// Reads a compressed input.
pub fn stored(bytes: &[u8]) {
    let mut source = InputStream::of(Path::new("x"), Box::new(std::io::Cursor::new(bytes.to_vec())), &workers());
    while let Ok(Some(_)) = source.next_block() {}
}

/// Pairs two heads, separated by a line end.
pub fn mates(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else { return };
    let (first, second) = (&bytes[..end], &bytes[end + 1..]);
    let names = MateNames::of(first, second);
    let result = names.check(first, second);
    let stored = [first, second].map(|head| {
        let (name, comment) = split_head(head);
        names.stored(name, comment).0
    });
    // Mates recognised by the ending of their names are stored under the same name.
    let share_name = !matches!(names, MateNames::Ending(_)) || result.is_err() || stored[0] == stored[1];
    assert!(share_name, "{names:?} {stored:?}");
    // The other way round they are not mates, unless nothing distinguishes them.
    let turned = MateNames::of(second, first).check(second, first);
    assert!(names == MateNames::Alike || result.is_err() || turned == Err(Mismatch::Swapped), "{names:?} {turned:?}");
}

/// Opens a shard and reads everything in it.
pub fn shard(bytes: &[u8]) {
    thread_local! {
        static DIRECTORY: Cell<Option<tempfile::TempDir>> = const { Cell::new(None) };
    }
    let directory = DIRECTORY.take().unwrap_or_else(|| tempfile::tempdir().expect("a temporary directory"));
    let path = directory.path().join("x");
    std::fs::write(&path, bytes).expect("room for a file");
    if let Ok(shard) = ShardFile::open(&path) {
        read_everything(&shard);
    }
    DIRECTORY.set(Some(directory));
}

/// Reads bytes as stored overlaps: once as they are, which the checksum seldom accepts, and once with a correct
/// checksum appended.
pub fn overlaps(bytes: &[u8]) {
    let digest = Sha256::digest(bytes);
    for bytes in [bytes, &[bytes, &digest[..]].concat()] {
        if let Ok((overlaps, made_of)) = stored::from_bytes(bytes) {
            assert!((0..overlaps.num_reads()).all(|read| overlaps.component(read).is_none_or(|c| {
                overlaps.members(c).contains(&(read as u32))
                    && overlaps.homologs(overlaps.probable_genome(c)).is_sorted()
            })));
            assert_eq!(stored::to_bytes(&overlaps, &made_of), bytes, "overlaps are written as they were read");
        }
    }
}

fn read_everything(shard: &ShardFile) {
    let _ = shard.reference_names();
    for row in 0..shard.num_rows() {
        let _ = (shard.name(row), shard.description(row), shard.alignment(row), shard.mate(row));
        let _ = (shard.gc(row), shard.mean_quality(row), shard.source(row), shard.length_bp(row));
        if let Ok(sequence) = shard.sequence(row) {
            sequence.to_codes();
        }
    }
}

fn alignments(source: InputStream, waiting_bytes: u64) {
    let scratch = std::env::temp_dir();
    let Ok(mut framer) = BamFramer::new(source, Vec::new(), &workers(), 0, (waiting_bytes, &scratch)) else { return };
    let decoder = decoder(true);
    while let Ok(Some(slab)) = framer.next_slab() {
        let num_records = slab.fragments.iter().map(|f| 1 + usize::from(f.second.is_some())).sum();
        check(&decoder, Work::Bam(slab), num_records);
    }
}

/// Every record is a row, or counted, or ends the reading with an error.
fn check(decoder: &Decoder, work: Work, num_records: usize) {
    let batch = decoder.decode(work);
    let counted: u64 = batch.counts.iter().map(|(_, counts)| counts.records).sum();
    let kept: u64 = batch.counts.iter().map(|(_, counts)| counts.kept).sum();
    assert_eq!(batch.rows.len() as u64, kept);
    assert!(batch.error.is_some() || counted == num_records as u64, "{counted} of {num_records} records");
    assert!(!matches!(batch.error, Some(Error::Interrupted { .. })));
}

fn decoder(goes_on: bool) -> Decoder {
    let config = IngestConfig { skip_bad_records: goes_on, ..IngestConfig::default() };
    let (paths, buffers) = (Arc::new(vec!["x".into()]), Arc::default());
    Decoder { config: Arc::new(config), paths, buffers, keeps_originals: false }
}

fn workers() -> Workers {
    thread_local! {
        static POOL: Arc<rayon::ThreadPool> =
            Arc::new(rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread"));
    }
    Workers { pool: POOL.with(Arc::clone), bytes_read: Arc::default(), buffers: Arc::default() }
}
