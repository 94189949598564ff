//! Sequencing reads: FASTQ, FASTA, BAM and CRAM to shards, and positive pairs of reads.
//!
//! A sequencer reads a fragment of DNA from one end (a *read*), or from both (two *mates*), on a random strand. It
//! writes a name, the bases and, for each base, the probability that it is wrong:
//!
//! ```text
//! FASTQ   @name comment        FASTA   >name comment       a quality is a character: Q = -10 log10(error) is its code
//!         ACGTN                        ACGTN               less 33 (Phred+33; less 64 before 2011). Lower case and U
//!         +                            ACG                 are read too; R, Y and other letters for several bases are N
//!         IIII#
//! BAM     records of numbers in blocks of gzip (BGZF); may be aligned to a reference. One on the reverse strand is stored
//!         as the reference goes, and turned back here
//! CRAM    the same, less the bases that the reference has already
//! ```
//!
//! [`ingest()`] reads any of them once into *shards*: columns in memory-mapped files, bases at 2 bits each. A
//! [`ReadDataset`] is one or more directories of shards; whatever needs reads takes a `&dyn` [`Reads`]. [`ReadPairs`]
//! then draws two views that count as the same (two windows of a read, the two mates, reads that overlap:
//! [`Overlaps`]), and [`ReadViews`] provides the views of every read, with its reverse complement as the symmetry that
//! an embedding must ignore.
//!
//! ```
//! use invar_dataset::NoProgress;
//! use invar_reads::{IngestConfig, Inputs, ReadDataset, Reads, ingest};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let (fastq, data) = (directory.path().join("reads.fastq"), directory.path().join("data"));
//! std::fs::write(&fastq, "@one first\nACGTN\n+\nIIII#\n@two\nGGC\n+\nIII\n")?;
//!
//! let config = IngestConfig { min_length_bp: 4, ..IngestConfig::default() };
//! let summary = ingest(&Inputs::files([&fastq]), &data, &config, &NoProgress)?;
//! assert_eq!((summary.manifest.counts["kept"], summary.manifest.counts["too_short"]), (1, 1));
//!
//! let reads = ReadDataset::open(&[data])?;
//! assert_eq!((reads.len(), reads.name(0)?), (1, "one"));
//! assert_eq!(reads.sequence(0)?.to_ascii(), b"ACGTN");
//! assert_eq!(reads.sequence(0)?.reverse_complement().as_slice().to_ascii(), b"NACGT");
//! # Ok(())
//! # }
//! ```

pub mod error_model;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod overlaps;
pub mod pairs;
pub mod reads;
pub mod views;

mod bgzf;
mod config;
mod counts;
mod cram;
mod dataset;
mod decode;
mod error;
mod frame;
mod identify;
mod ingest;
mod quality;
mod rows;
mod shard;
mod sheet;
mod sniff;
mod source;
mod table;

pub use bgzf::BgzfFiles;
pub use config::{IngestConfig, Inputs, Pairing};
pub use dataset::ReadDataset;
pub use error::{Error, ErrorKind, MateProblem, Place};
pub use identify::{Identity, identify};
pub use ingest::{DOMAIN, Summary, ingest, originals};
pub use invar_bases::{ConfigError, PackedSequence, PackedSlice, kmer, packed};
pub use overlaps::{KeptOverlaps, Overlaps, OverlapsConfig};
pub use pairs::{PairsError, ReadPairs, ReadPairsConfig};
pub use quality::QualityEncoding;
pub use reads::{Alignment, MemoryReads, Read, Reads};
pub use table::ReadTable;
pub use views::{EmbedConfig, ReadViews, Representation};
