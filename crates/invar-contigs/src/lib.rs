//! Contigs: the stretches of DNA that an assembler made of overlapping reads, to be sorted by the genome they come from.
//!
//! Two properties tell genomes apart: composition (which k-mers are frequent), and how often the bases were sequenced in
//! each of several samples (*depth*), which follows the abundance of the organism. A third is the assembly graph, which
//! says which contigs may continue into which.
//!
//! ```text
//! FASTA    >k41_6 flag=1 multi=17.7          the contigs
//! BAM      reads of a sample on the contigs  depth: mean, variance, breadth (see depth.rs for the rules)
//! GFA      S 1 ACGT   L 1 + 2 - 97M          segments and links
//! ```
//! [`ingest()`] reads them into a dataset directory; [`ContigPairs`] draws views of a contig that count as the same, and
//! [`ContigViews`] provides the views that are embedded.
//!
//! ```
//! use invar_contigs::{ContigDataset, IngestConfig, Inputs, ingest};
//! use invar_dataset::NoProgress;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let (fasta, table) = (directory.path().join("contigs.fa"), directory.path().join("depth.txt"));
//! std::fs::write(&fasta, ">c1 flag=1\nACGTACGT\n>c2\nGGCC\n")?;
//! std::fs::write(&table, "Contig\tS1 Mean\tS1 Variance\nc1\t8.5\t9\nc2\t3\t3\n")?;
//!
//! let inputs = Inputs { fasta, tables: vec![table], ..Inputs::default() };
//! let config = IngestConfig { min_length_bp: 5, ..IngestConfig::default() };
//! let data = directory.path().join("data");
//! let summary = ingest(&inputs, &data, &config, &NoProgress)?;
//! assert_eq!((summary.manifest.counts["kept"], summary.manifest.counts["too_short"]), (1, 1));
//!
//! let contigs = ContigDataset::open(&[data])?;
//! assert_eq!((contigs.name(0)?, contigs.samples()), ("c1", &["S1".to_owned()][..]));
//! assert_eq!(contigs.depths(0).next().unwrap().mean, 8.5);
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

mod config;
mod contigs;
mod dataset;
mod depth;
mod draw;
mod error;
mod fasta;
mod graph;
mod ingest;
mod markers;
mod memory;
mod pairs;
mod shard;
mod stored;
mod surroundings;
mod views;

pub use config::{IngestConfig, Inputs};
pub use dataset::ContigDataset;
pub use depth::{Depth, DepthConfig};
pub use error::{Error, Place};
pub use ingest::{DOMAIN, Summary, ingest};
pub use memory::pairs_memory_bytes;
pub use pairs::{ContigPairs, ContigPairsConfig};
pub use views::{AssemblyView, ContigViews, FeatureConfig, Shown};
