use std::fmt;

use crate::seed;

/// Identity of a sample in training: rows of one id are never negatives of each other.
///
/// A number that is unique over everything opened together, so that a memory bank or a list of positives can carry it.
/// It does not depend on paths or on the order in which datasets are given. Everything from one specimen shares it: the
/// mates of a fragment, several alignments of a read, copies of a file in one dataset directory. It is not an index,
/// and it is not always the [key](crate::keys), which no two rows share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SampleId(pub u64);

impl SampleId {
    /// The id shared by everything that one input calls by one name. A hash of 64 bits.
    pub fn of_name(source_number: u64, name: &[u8]) -> Self {
        Self(seed::mix(fnv_1a(name), source_number))
    }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv).
fn fnv_1a(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of a group of samples that are known to belong together, such as the reads of one overlap component.
///
/// In a batch, samples of one group that are not paired are neither positives nor negatives of each other, and to
/// samples of other groups a group is one negative, however many of its samples are present. Unique over everything
/// opened together, like [`SampleId`], and below 2^63.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u64);

impl GroupId {
    const ALIKE: u64 = 1 << 63;

    /// The same group, marked as having others like it (of sister species): each of its samples then counts as a full
    /// negative, because such groups differ little.
    pub fn alike(self) -> Self {
        Self(self.0 | Self::ALIKE)
    }

    /// Whether there are others like it.
    pub fn is_alike(self) -> bool {
        self.0 & Self::ALIKE != 0
    }
}

/// How outputs name a sample: their columns `id`, `source` and `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleName {
    /// A human-readable name; need not be unique.
    pub id: String,
    /// The input file it came from, as given by the user.
    pub source: String,
    /// Number of that input, see [`crate::keys::source_number`].
    pub source_number: u64,
    /// Unique over everything that is opened together.
    pub key: u64,
}

impl SampleName {
    /// The name of sample `index` of a source without names: `number 3`.
    pub fn number(index: usize) -> Self {
        Self { id: format!("number {index}"), source: String::new(), source_number: 0, key: index as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Test vectors of the FNV reference distribution.
    #[test]
    fn fnv_1a_vectors() {
        assert_eq!(fnv_1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv_1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_name_means_something_in_its_input_only() {
        assert_eq!(SampleId::of_name(7, b"contig_1"), SampleId::of_name(7, b"contig_1"));
        assert_ne!(SampleId::of_name(7, b"contig_1"), SampleId::of_name(8, b"contig_1"));
        assert_ne!(SampleId::of_name(7, b"contig_1"), SampleId::of_name(7, b"contig_2"));
    }
}
