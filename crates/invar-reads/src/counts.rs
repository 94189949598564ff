//! How many records of an input were kept or dropped, and why.

use std::collections::BTreeMap;

/// Why a record is not in the dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Zero bases.
    Empty,
    TooShort,
    TooLong,
    LowQuality,
    /// No known base.
    NoAcgt,
    /// A secondary or supplementary alignment.
    NotPrimary,
    /// A BAM record whose sequence is stored elsewhere (`*`).
    NoSequence,
    /// The other mate was dropped.
    MateDropped,
    /// The record cannot be read, and bad records are skipped.
    Bad,
}

const NAMES: [&str; 9] = [
    "empty",
    "too_short",
    "too_long",
    "low_quality",
    "no_acgt",
    "not_primary",
    "no_sequence",
    "mate_dropped",
    "bad_record",
];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Records read.
    pub records: u64,
    /// Rows written, and their bases.
    pub kept: u64,
    pub kept_bp: u64,
    /// Paired records of BAM and CRAM whose mate was missing.
    pub singletons: u64,
    dropped: [u64; NAMES.len()],
}

impl Counts {
    pub fn drop_for(&mut self, reason: Reason) {
        self.dropped[reason as usize] += 1;
    }

    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.kept += other.kept;
        self.kept_bp += other.kept_bp;
        self.singletons += other.singletons;
        for (sum, number) in self.dropped.iter_mut().zip(other.dropped) {
            *sum += number;
        }
    }

    /// By name: `records`, `kept` and `kept_bp` always, the others only if they are not 0.
    pub fn to_map(&self) -> BTreeMap<String, u64> {
        let always = [("records", self.records), ("kept", self.kept), ("kept_bp", self.kept_bp)];
        let dropped = NAMES.into_iter().zip(self.dropped);
        let others = dropped.chain([("singletons", self.singletons)]).filter(|&(_, number)| number > 0);
        always.into_iter().chain(others).map(|(name, number)| (name.to_string(), number)).collect()
    }
}
