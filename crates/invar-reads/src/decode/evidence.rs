use crate::quality::QualityRange;

/// What is wrong with an input is often seen only in all of its records: gathered from each, looked at in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// Quality characters; numbers (BAM) as the characters that Phred+33 writes.
    pub qualities: QualityRange,
    /// Pairs of mates in FASTQ and FASTA.
    pub num_pairs: u64,
    /// Those of which both mates have the same sequence.
    pub num_equal_pairs: u64,
}

/// Of how many records the qualities of one are looked at, past the first ones of each piece of work.
const SAMPLED: usize = 16;

impl Evidence {
    /// Whether the qualities of a record with this place in its piece of work are looked at: a part of them tells as much as
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
