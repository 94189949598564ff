//! Sequencing reads: FASTQ, FASTA, BAM and CRAM to shards, and positive pairs of reads.

pub mod error_model;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod kmer;
pub mod packed;
pub mod pairs;
pub mod reads;
pub mod views;

mod config;
mod config_error;
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
mod sniff;
mod source;

pub use config::{IngestConfig, Inputs, Pairing};
pub use config_error::ConfigError;
pub use dataset::ReadDataset;
pub use error::{Error, ErrorKind, Place};
pub use identify::{Identity, identify};
pub use ingest::{Summary, ingest};
pub use packed::{PackedSequence, PackedSlice};
pub use pairs::{PairsError, ReadPairs, ReadPairsConfig};
pub use reads::{Alignment, MemoryReads, Read, Reads};
pub use views::{EmbedConfig, ReadViews, Representation};
