//! Sequencing reads: FASTQ, FASTA, BAM and CRAM to shards, and positive pairs of reads.

pub mod packed;
pub mod reads;

pub use packed::{PackedSequence, PackedSlice};
pub use reads::{Alignment, MemoryReads, Read, Reads};
