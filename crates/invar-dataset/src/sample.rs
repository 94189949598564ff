use std::fmt;

/// Identity of a sample in training: rows of one id are never negatives of each other.
///
/// A number over everything that is opened together (see [`crate::keys`]), so that a memory bank or a list of positives
/// can carry it. It does not depend on paths or on the order in which datasets are given. All that is one specimen
/// shares it: the mates of a fragment, copies of a file in one dataset directory. It is not an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SampleId(pub u64);

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How outputs name a sample: their columns `id`, `source` and `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleName {
    /// What a person calls it; need not be unique.
    pub id: String,
    /// The input file that it came from, as the user gave it.
    pub source: String,
    /// Number of that input, see [`crate::keys::source_number`].
    pub source_number: u64,
    /// Unique over everything that is opened together.
    pub key: u64,
}

impl SampleName {
    /// Of sample `index` of a source that has no names: `number 3`.
    pub fn number(index: usize) -> Self {
        Self { id: format!("number {index}"), source: String::new(), source_number: 0, key: index as u64 }
    }
}
