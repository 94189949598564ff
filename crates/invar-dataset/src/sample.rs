use std::fmt;

/// Stable identity of a sample: the same input bytes give the same id on every machine and in every run.
///
/// It is a 64-bit FNV-1a hash of the sample's name, so that a memory bank or a positive list can carry it as a
/// plain number. Two views of one sample share it; it is not an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SampleId(pub u64);

impl SampleId {
    /// The id of a sample of this name.
    ///
    /// FNV-1a, 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv).
    pub fn from_name(name: &[u8]) -> Self {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        Self(name.iter().fold(OFFSET, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME)))
    }
}

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Test vectors of the FNV reference distribution.
    #[test]
    fn fnv_1a_vectors() {
        assert_eq!(SampleId::from_name(b"").0, 0xcbf2_9ce4_8422_2325);
        assert_eq!(SampleId::from_name(b"a").0, 0xaf63_dc4c_8601_ec8c);
        assert_eq!(SampleId::from_name(b"foobar").0, 0x8594_4171_f739_67e8);
    }
}
