//! The work of the workers: parse the records that were cut, filter them and turn them into rows.

use std::{path::PathBuf, sync::Arc};

use crate::{
    Error, IngestConfig,
    counts::{Counts, Reason},
    frame::{Slab, bam::BamSlab},
    quality::{self, Encoding},
    rows::Rows,
    source::Buffers,
};

mod alignment;
mod evidence;
mod mates;
mod originals;
mod text;

pub(crate) use evidence::Evidence;
pub(crate) use mates::{MateNames, Mismatch};
pub(crate) use originals::Originals;

/// Conventions recognised from the first records of a text input, which apply to all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Customs {
    pub encoding: Encoding,
    pub names: MateNames,
}

/// Records for one worker.
pub(crate) enum Work {
    /// Single reads.
    Single(Slab, Customs),
    /// Records 1 and 2, 3 and 4, ... are mates.
    Interleaved(Slab, Customs),
    /// Records with the same number are mates; both hold equally many.
    Mates(Slab, Slab, Customs),
    /// BAM records, with mates already joined.
    Bam(BamSlab),
}

impl Work {
    /// Memory used, in bytes.
    pub fn num_bytes(&self) -> usize {
        match self {
            Self::Single(slab, _) | Self::Interleaved(slab, _) => slab.text.len(),
            Self::Mates(first, second, _) => first.text.len() + second.text.len(),
            Self::Bam(slab) => slab.num_bytes(),
        }
    }
}

/// The result of one piece of work.
#[derive(Default)]
pub(crate) struct Decoded {
    pub rows: Rows,
    /// The records that the rows were made from, if they are kept.
    pub originals: Originals,
    /// By index of the input.
    pub counts: Vec<(u32, Counts)>,
    /// Observations that only make sense over all records together.
    pub evidence: Evidence,
    /// Bad records that were skipped, as text; at most [`MAX_LISTED`].
    pub skipped: Vec<String>,
    /// Why the ingest must stop here.
    pub error: Option<Error>,
}

/// Maximum number of bad records listed.
pub(crate) const MAX_LISTED: usize = 100;

/// The result for one record.
type Outcome = Result<Option<Reason>, Box<Error>>;

/// Turns records into rows.
#[derive(Clone)]
pub(crate) struct Decoder {
    pub config: Arc<IngestConfig>,
    /// Paths of the inputs, by index.
    pub paths: Arc<Vec<PathBuf>>,
    /// Where the text buffers are returned.
    pub buffers: Arc<Buffers>,
    /// Whether the original records are passed on along with the rows.
    pub keeps_originals: bool,
}

impl Decoder {
    /// Decodes all records of `work`, up to the first bad one unless those are skipped.
    pub fn decode(&self, work: Work) -> Decoded {
        let mut batch = Decoded::default();
        let result = match work {
            Work::Single(mut slab, customs) => {
                let result = self.single(&mut slab, customs, &mut batch);
                self.buffers.put_shared(slab.text);
                result
            }
            Work::Interleaved(mut slab, customs) => {
                let result = self.interleaved(&mut slab, customs, &mut batch);
                self.buffers.put_shared(slab.text);
                result
            }
            Work::Mates(mut first, mut second, customs) => {
                let result = self.mates(&mut first, &mut second, customs, &mut batch);
                self.buffers.put_shared(first.text);
                self.buffers.put_shared(second.text);
                result
            }
            Work::Bam(slab) => {
                let result = self.alignments(&slab, &mut batch);
                self.buffers.put(slab.into_buffer());
                result
            }
        };
        batch.error = result.err().map(|error| *error);
        batch
    }

    /// Finishes a fragment of one or two records, whose rows (those of the kept ones) begin at `first_row`.
    fn settle<const N: usize>(
        &self,
        batch: &mut Decoded,
        first_row: usize,
        inputs: [u32; N],
        outcomes: [Outcome; N],
    ) -> Result<(), Box<Error>> {
        let all_kept = outcomes.iter().all(|outcome| matches!(outcome, Ok(None)));
        if all_kept {
            for (i, input) in inputs.into_iter().enumerate() {
                let length_bp = batch.rows.lengths_bp[first_row + i];
                let counts = batch.counts_of(input);
                counts.records += 1;
                counts.kept += 1;
                counts.kept_bp += u64::from(length_bp);
            }
            return Ok(());
        }
        for (input, outcome) in inputs.into_iter().zip(outcomes) {
            let reason = match outcome {
                Ok(reason) => reason.unwrap_or(Reason::MateDropped),
                Err(error) if self.config.skip_bad_records => {
                    if batch.skipped.len() < MAX_LISTED {
                        batch.skipped.push(error.to_string());
                    }
                    Reason::Bad
                }
                Err(error) => {
                    batch.truncate(first_row);
                    return Err(error);
                }
            };
            let counts = batch.counts_of(input);
            counts.records += 1;
            counts.drop_for(reason);
        }
        batch.truncate(first_row);
        Ok(())
    }

    /// The filters that do not need the bases, and the mean error probability.
    fn filter(&self, length_bp: usize, mean_error: impl FnOnce() -> Option<f32>) -> (Option<Reason>, Option<f32>) {
        if length_bp == 0 {
            return (Some(Reason::Empty), None);
        }
        if length_bp < self.config.min_length_bp as usize {
            return (Some(Reason::TooShort), None);
        }
        if self.config.max_length_bp.is_some_and(|max| length_bp > max as usize) {
            return (Some(Reason::TooLong), None);
        }
        let mean_error = mean_error();
        let is_low = self.config.min_mean_quality.zip(mean_error).is_some_and(|(min, mean)| quality::phred(mean) < min);
        (is_low.then_some(Reason::LowQuality), mean_error)
    }
}

impl Decoded {
    fn counts_of(&mut self, input: u32) -> &mut Counts {
        let index = match self.counts.iter().position(|(number, _)| *number == input) {
            Some(index) => index,
            None => {
                self.counts.push((input, Counts::default()));
                self.counts.len() - 1
            }
        };
        &mut self.counts[index].1
    }
}
