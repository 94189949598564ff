//! Sequencing reads: FASTQ, FASTA, BAM and CRAM to shards, and positive pairs of reads.

pub mod error_model;
pub mod kmer;
pub mod packed;
pub mod pairs;
pub mod reads;
pub mod views;

mod config_error;

pub use config_error::ConfigError;
pub use packed::{PackedSequence, PackedSlice};
pub use pairs::{PairsError, ReadPairs, ReadPairsConfig};
pub use reads::{Alignment, MemoryReads, Read, Reads};
pub use views::{EmbedConfig, ReadViews, Representation};
