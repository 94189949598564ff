//! What the domains of DNA share: bases at two bits each ([`packed`]), and the composition of a stretch of them,
//! whichever strand was read ([`kmer`]). Where sequences come from, and what counts as a sample, is up to each domain.
//!
//! ```
//! use invar_bases::{PackedSequence, kmer::{KmerConfig, KmerProfiler}};
//! let profiler = KmerProfiler::new(&KmerConfig { ks: vec![4], ..KmerConfig::default() }).unwrap();
//! let profile = |letters: &[u8]| {
//!     profiler.profile(PackedSequence::from_ascii(letters).unwrap().as_slice(), 0..letters.len())
//! };
//! assert_eq!(profile(b"ACGTTGCA"), profile(b"TGCAACGT"));
//! ```

pub mod kmer;
pub mod packed;

mod config_error;

pub use config_error::ConfigError;
pub use packed::{PackedSequence, PackedSlice};
