//! How often each base of a contig was sequenced in a sample: mean, variance and breadth.
//!
//! The rules are those of `jgi_summarize_bam_contig_depths` (MetaBAT 2.15), whose tables binners take:
//!
//! ```text
//! counted     alignments of at least 97 % identity and any mapping quality, supplementary ones too; no secondary ones,
//!             no duplicates, nothing that failed quality control
//! identity    equal bases / (bases under M, =, X + inserted + deleted bases); unequal ones by X, by NM, or, without it,
//!             by comparison with the contig
//! depth       of a base: counted alignments with M, = or X over it
//! ends        75 bp at either end are left out (the mean read length, if that is less) where more than one base remains
//! mean, variance (over n - 1) and breadth (fraction of depth 1 or more) of the bases in between; of 2 bases or less: 0
//! ```

mod alignments;
mod cigar;
mod table;

use std::path::Path;

use invar_dataset::{
    DatasetError,
    manifest::Shard,
    sections::{self, Format, Sections, column},
};
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    alignments::{Against, CACHED_BP, measure},
    table::parse,
};
use crate::Error;

/// Which alignments count, and which bases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DepthConfig {
    /// Minimum fraction of equal bases of an alignment that counts.
    pub min_identity: f32,
    /// Bases at either end of a contig that are left out.
    pub end_bp: u32,
    /// Minimum mapping quality of an alignment that counts.
    pub min_mapping_quality: u8,
}

impl Default for DepthConfig {
    fn default() -> Self {
        Self { min_identity: 0.97, end_bp: 75, min_mapping_quality: 0 }
    }
}

/// The depth of a contig in a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Depth {
    /// Mean over the bases.
    pub mean: f32,
    /// Variance over the bases.
    pub variance: f32,
    /// Fraction of the bases of depth 1 or more; NaN if it is not known.
    pub breadth: f32,
}

/// Length of reads where a table does not tell.
const USUAL_READ_BP: f32 = 150.0;

const FORMAT: Format = Format { magic: *b"INVDEPTH", version: 2 };
const NAME: u32 = 1;
const READ_BP: u32 = 2;
const MEAN: u32 = 3;
const VARIANCE: u32 = 4;
const BREADTH: u32 = 5;

/// The depth of all contigs in one sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SampleDepth {
    pub name: String,
    /// Mean length of the reads.
    pub read_bp: f32,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
    /// NaN where it is not known.
    pub breadth: Vec<f32>,
}

impl SampleDepth {
    /// A sample in which nothing was found.
    pub fn new(name: &str, num_contigs: usize) -> Self {
        let none = vec![0.0; num_contigs];
        let name = name.into();
        Self { name, read_bp: USUAL_READ_BP, mean: none.clone(), variance: none.clone(), breadth: none }
    }

    /// Writes it as `file` of `directory`.
    pub fn write(&self, directory: &Path, file: &str) -> Result<Shard, Error> {
        let sections: [(u32, &[u8]); 5] = [
            (NAME, self.name.as_bytes()),
            (READ_BP, column(std::slice::from_ref(&self.read_bp))),
            (MEAN, column(&self.mean)),
            (VARIANCE, column(&self.variance)),
            (BREADTH, column(&self.breadth)),
        ];
        Ok(sections::write(&directory.join(file), &FORMAT, self.mean.len() as u64, &sections)?)
    }
}

/// The stored depth of a sample.
#[derive(Debug)]
pub(crate) struct DepthFile {
    file: Sections,
    name: String,
    read_bp: f32,
}

impl DepthFile {
    /// Maps it.
    ///
    /// # Errors
    /// If it is damaged, or of another number of contigs.
    pub fn open(path: &Path, num_contigs: usize) -> Result<Self, DatasetError> {
        let file = Sections::open(path, &FORMAT)?;
        if file.num_rows() != num_contigs {
            return Err(file.corrupt("number of contigs", num_contigs, file.num_rows()));
        }
        let name = file.all::<u8>(NAME)?;
        let name = std::str::from_utf8(name).map_err(|error| file.corrupt("name", "UTF-8", error))?.to_owned();
        let read_bp = file.column::<f32>(READ_BP, 1)?[0];
        for id in [MEAN, VARIANCE] {
            let values = file.column::<f32>(id, num_contigs)?;
            if let Some(bad) = values.iter().find(|value| !(value.is_finite() && **value >= 0.0)) {
                return Err(file.corrupt(&format!("section {id}"), "finite values of at least 0", bad));
            }
        }
        file.column::<f32>(BREADTH, num_contigs)?;
        Ok(Self { file, name, read_bp })
    }

    /// The sample.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Mean length of its reads.
    pub fn read_bp(&self) -> f32 {
        self.read_bp
    }

    /// The depth of contig `row`.
    pub fn of(&self, row: usize) -> Depth {
        let value = |id| self.file.all::<f32>(id).expect("checked at opening")[row];
        Depth { mean: value(MEAN), variance: value(VARIANCE), breadth: value(BREADTH) }
    }
}

/// The name of a sample from that of its file or column: without folders, `.bam` and `.cram`.
pub(crate) fn sample_name(text: &str) -> &str {
    let name = text.rsplit('/').next().unwrap_or(text);
    name.strip_suffix(".bam").or_else(|| name.strip_suffix(".cram")).unwrap_or(name)
}

#[cfg(test)]
mod tests;
