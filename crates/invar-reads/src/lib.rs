//! Sequencing reads: FASTQ, FASTA, BAM and CRAM to shards, and positive pairs of reads.

pub mod packed;
pub mod reads;

mod config;
mod counts;
mod cram;
mod dataset;
mod decode;
mod error;
mod frame;
mod ingest;
mod journal;
mod quality;
mod rows;
mod shard;
mod sniff;
mod source;

pub use config::{IngestConfig, Inputs, Pairing};
pub use dataset::ReadDataset;
pub use error::{Error, ErrorKind, Place};
pub use ingest::{Summary, ingest};
pub use packed::{PackedSequence, PackedSlice};
pub use reads::{Alignment, MemoryReads, Read, Reads};
