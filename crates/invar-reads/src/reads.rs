//! What the rest of the crate needs from a collection of reads, however it is stored.

use invar_dataset::{Dataset, DatasetError, SampleId, SampleName};

use crate::packed::{PackedSequence, PackedSlice};

/// Where a read lies on a reference, in the coordinates of its forward strand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// Index of the reference sequence, 0-based.
    pub reference: u32,
    /// First aligned base of the reference, 1-based.
    pub position: u32,
    /// Bases of the reference from the first aligned one to the last: CIGAR operations M, D, N, = and X.
    pub span_bp: u32,
    /// Whether the sequencer read the other strand.
    pub is_reverse: bool,
    /// Phred-scaled probability that the position is wrong; `None` if the aligner gave none (255).
    pub mapping_quality: Option<u8>,
}

impl Alignment {
    /// The base of the reference after the last aligned one, 1-based.
    pub fn end(&self) -> u32 {
        self.position.saturating_add(self.span_bp)
    }
}

/// A read, owned: the sample of a read dataset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    /// Name up to the first space or tab.
    pub name: String,
    /// The rest of the name line, empty if there is none.
    pub description: String,
    /// Bases in the order in which the sequencer read them, even if the alignment is on the reverse strand.
    pub sequence: PackedSequence,
    /// Phred quality of the mean error probability; `None` if the file has no qualities.
    pub mean_quality: Option<f32>,
    /// 1 or 2 for the mates of a pair if both are present.
    pub mate: Option<u8>,
    /// Where it lies on a reference, if aligned.
    pub alignment: Option<Alignment>,
}

/// Random access to reads. Indices are 0-based and below [`Reads::len`]; a larger one is a bug of the caller and
/// panics.
///
/// Sequences are in the sequencer's orientation: a BAM record with the reverse flag is reversed again at ingest.
pub trait Reads: Send + Sync {
    /// Number of reads; each mate is one.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Name of read `index`, up to the first space or tab.
    ///
    /// # Errors
    /// If the stored bytes are damaged.
    fn name(&self, index: usize) -> Result<&str, DatasetError>;

    /// Bases of read `index`.
    ///
    /// # Errors
    /// If the stored bytes are damaged.
    fn sequence(&self, index: usize) -> Result<PackedSlice<'_>, DatasetError>;

    /// Identity of the fragment of read `index`: [`SampleId::of_name`] of its first mate. Mates share it, and so do
    /// reads of one name in one input: further alignments of a read, and mates too far apart in a BAM to have been
    /// joined.
    ///
    /// # Errors
    /// If the stored bytes are damaged.
    fn sample_id(&self, index: usize) -> Result<SampleId, DatasetError>;

    /// The name of read `index` in outputs.
    ///
    /// # Errors
    /// If the stored bytes are damaged.
    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError>;

    /// Whether two reads are known to be of one molecule, i.e. share their [`Reads::sample_id`]. False for damaged
    /// reads.
    fn are_one_molecule(&self, a: usize, b: usize) -> bool;

    /// The other mate of the pair of read `index`, if it is present: `mate_of(mate_of(i)) == i`.
    fn mate_of(&self, index: usize) -> Option<usize>;

    /// Where read `index` lies on a reference, if it is aligned.
    fn alignment(&self, index: usize) -> Option<Alignment>;

    /// Name of a reference sequence, if it is known.
    fn reference_name(&self, reference: u32) -> Option<&str> {
        let _ = reference;
        None
    }
}

/// Reads in memory, for tests and small inputs.
#[derive(Clone, Debug, Default)]
pub struct MemoryReads {
    reads: Vec<Read>,
}

impl MemoryReads {
    /// Holds `reads`. A read with mate number 1 and a read with mate number 2 right after it are a pair.
    pub fn new(reads: Vec<Read>) -> Self {
        Self { reads }
    }

    fn mate_number(&self, index: usize) -> Option<u8> {
        self.reads.get(index).and_then(|read| read.mate)
    }
}

impl Reads for MemoryReads {
    fn len(&self) -> usize {
        self.reads.len()
    }

    fn name(&self, index: usize) -> Result<&str, DatasetError> {
        Ok(&self.reads[index].name)
    }

    fn sequence(&self, index: usize) -> Result<PackedSlice<'_>, DatasetError> {
        Ok(self.reads[index].sequence.as_slice())
    }

    fn sample_id(&self, index: usize) -> Result<SampleId, DatasetError> {
        let first = self.mate_of(index).map_or(index, |mate| mate.min(index));
        Ok(SampleId::of_name(0, self.reads[first].name.as_bytes()))
    }

    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        Ok(SampleName { id: self.reads[index].name.clone(), ..SampleName::number(index) })
    }

    fn are_one_molecule(&self, a: usize, b: usize) -> bool {
        self.mate_of(a) == Some(b) || self.reads[a].name == self.reads[b].name
    }

    fn mate_of(&self, index: usize) -> Option<usize> {
        let other = match self.mate_number(index)? {
            1 => index + 1,
            _ => index.checked_sub(1)?,
        };
        let numbers = [self.mate_number(index.min(other)), self.mate_number(index.max(other))];
        (numbers == [Some(1), Some(2)]).then_some(other)
    }

    fn alignment(&self, index: usize) -> Option<Alignment> {
        self.reads[index].alignment
    }
}

impl Dataset for MemoryReads {
    type Sample = Read;

    fn len(&self) -> usize {
        self.reads.len()
    }

    fn get(&self, index: usize) -> Result<Read, DatasetError> {
        Ok(self.reads[index].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mates_are_neighbours() {
        let with_mates = |mates: &[Option<u8>]| {
            MemoryReads::new(mates.iter().map(|&mate| Read { mate, ..Read::default() }).collect())
        };
        let mates_of = |reads: MemoryReads| (0..reads.reads.len()).map(|i| reads.mate_of(i)).collect::<Vec<_>>();
        let pairs = with_mates(&[Some(1), Some(2), None, Some(1), Some(2)]);
        assert_eq!(mates_of(pairs), [Some(1), Some(0), None, Some(4), Some(3)]);
        // A mate without its other half is not paired.
        assert_eq!(mates_of(with_mates(&[Some(2), Some(1)])), [None, None]);
        assert_eq!(mates_of(with_mates(&[Some(1), None, Some(2)])), [None, None, None]);
    }
}
