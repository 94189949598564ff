use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, QualityEncoding};

/// How reads are filtered and stored in the dataset (`[ingest]` in a recipe).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// Reads with fewer bases are dropped (`too_short`). Reads without any base are always dropped (`empty`).
    pub min_length_bp: u32,
    /// Reads with more bases are dropped (`too_long`). No limit by default.
    pub max_length_bp: Option<u32>,
    /// Reads with a lower mean quality (Phred) are dropped (`low_quality`). The mean is taken over the error
    /// probabilities, `-10 log10(mean(10^(-q/10)))`, as basecallers and NanoFilt compute it, not over the Phred values.
    /// Reads without qualities pass.
    pub min_mean_quality: Option<f32>,
    /// Whether secondary and supplementary alignments of BAM and CRAM are dropped (`not_primary`).
    pub primary_only: bool,
    /// Whether a record that cannot be read is counted, listed and skipped instead of ending the ingest.
    pub skip_bad_records: bool,
    /// A shard is closed when it holds this many bases.
    pub shard_bp: u64,
    /// A shard is closed when it holds this many reads.
    pub shard_rows: u32,
    /// Bytes of BAM or CRAM records that wait in memory for their mate. Beyond that, the older half is moved to an
    /// unnamed file in the output directory until the input ends; all mates are found, those last. Values below 64 KiB
    /// count as that.
    pub pending_mates_bytes: u64,
    /// How the qualities of FASTQ are encoded.
    pub quality_encoding: QualityEncoding,
    /// Whether the records at the same position in two mate files, or in an interleaved one, are mates whatever their
    /// names.
    pub mates_by_order: bool,
    /// Whether to replace an existing dataset at the output. Not a property of the dataset: never stored.
    #[serde(skip)]
    pub force: bool,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            min_length_bp: 1,
            max_length_bp: None,
            min_mean_quality: None,
            primary_only: true,
            skip_bad_records: false,
            shard_bp: 64_000_000,
            shard_rows: 250_000,
            pending_mates_bytes: 64 << 20,
            quality_encoding: QualityEncoding::Auto,
            mates_by_order: false,
            force: false,
        }
    }
}

impl IngestConfig {
    /// Checks that the values are consistent.
    ///
    /// # Errors
    /// [`Error::Config`], naming the field, what is allowed and what was given.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse =
            |what: &str, expected: String, found: String| Err(Error::Config { what: what.into(), expected, found });
        if let Some(max) = self.max_length_bp.filter(|&max| max < self.min_length_bp) {
            return refuse(
                "max_length_bp",
                format!("at least min_length_bp = {}", self.min_length_bp),
                max.to_string(),
            );
        }
        if let Some(quality) = self.min_mean_quality.filter(|q| !(0.0..=93.0).contains(q)) {
            return refuse("min_mean_quality", "a Phred value from 0 to 93".into(), quality.to_string());
        }
        if !(1..=MAX_SHARD_BP).contains(&self.shard_bp) {
            return refuse("shard_bp", format!("1 to {MAX_SHARD_BP}"), self.shard_bp.to_string());
        }
        if self.shard_rows == 0 {
            return refuse("shard_rows", "at least 1".into(), "0".into());
        }
        Ok(())
    }
}

/// Offsets in a shard are 32 bits, and a shard may exceed its target by one record.
const MAX_SHARD_BP: u64 = 1 << 30;

/// Which files are read, and how their records are paired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// The files, in the order in which their reads are stored; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// How mates are found.
    #[serde(default)]
    pub pairing: Pairing,
    /// FASTA (plain, gzip, BGZF or zstd) with the sequences that CRAM files were compressed against.
    #[serde(default)]
    pub reference: Option<PathBuf>,
    /// Metadata of each file from a sample sheet, by column; empty without one. See [`Inputs::of_sheet`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<BTreeMap<String, Value>>,
}

impl Inputs {
    /// Unpaired files without a reference.
    pub fn files(files: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        let files = files.into_iter().map(Into::into).collect();
        Self { files, pairing: Pairing::default(), reference: None, columns: vec![] }
    }
}

/// How the two reads of one fragment are recognised. Mates become adjacent rows, R1 then R2. Filters act on the
/// fragment: if one mate is dropped, so is the other (`mate_dropped`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pairing {
    /// By the flags of BAM and CRAM records; FASTQ and FASTA records are single reads.
    #[default]
    Flags,
    /// The files are R1, R2, R1, R2, ...: record `i` of the first is the mate of record `i` of the second.
    Files,
    /// Records 1 and 2, 3 and 4, ... of each file are mates.
    Interleaved,
}
