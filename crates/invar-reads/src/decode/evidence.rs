use crate::quality::QualityRange;

/// Many problems of an input only show in all of its records together: collected from each, evaluated at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// Quality characters; BAM's numbers as the corresponding Phred+33 characters.
    pub qualities: QualityRange,
    /// Pairs of mates in FASTQ and FASTA.
    pub num_pairs: u64,
    /// Those whose mates have the same sequence.
    pub num_equal_pairs: u64,
}

/// One in this many records has its qualities sampled, after the first ones of each piece of work.
const SAMPLED: usize = 16;

impl Evidence {
    /// Whether to sample the qualities of the record at this index in its piece of work: a part is as informative as
    /// all, and costs less.
    /// all, and costs less.
    pub fn samples(index: usize) -> bool {
        index < 4 * SAMPLED || index.is_multiple_of(SAMPLED)
    }

    pub fn add(&mut self, other: &Self) {
        self.qualities.merge(&other.qualities);
        self.num_pairs += other.num_pairs;
        self.num_equal_pairs += other.num_equal_pairs;
    }
}
