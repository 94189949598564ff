use crate::{DatasetError, View, ViewShape};

/// A finite collection of samples with random access. Streams are first ingested into shards.
pub trait Dataset: Send + Sync {
    /// The domain's type of a sample.
    type Sample;

    /// Number of samples.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sample `index`, 0-based.
    ///
    /// # Errors
    /// If the stored bytes of the sample are damaged.
    ///
    /// # Panics
    /// If `index >= len()`.
    fn get(&self, index: usize) -> Result<Self::Sample, DatasetError>;
}

/// Provides the views of a sample as they are embedded: nothing random, nothing augmented.
pub trait ViewSource: Send + Sync {
    /// Number of samples.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of every view.
    fn view_shape(&self) -> ViewShape;

    /// The views of sample `index` (one, or the windows of a long sample), at least one. The embedding of the sample is
    /// the normalised mean of theirs.
    ///
    /// # Errors
    /// If the sample cannot be read.
    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError>;

    /// Names of the symmetries that the embedding should be invariant to ("reverse complement", "rotated by 15
    /// degrees").
    fn symmetries(&self) -> Vec<String>;

    /// The views of sample `index` after symmetry number `symmetry` has acted on the sample.
    ///
    /// # Errors
    /// If the sample cannot be read.
    ///
    /// # Panics
    /// If `symmetry >= symmetries().len()`.
    fn transformed(&self, index: usize, symmetry: usize) -> Result<Vec<View>, DatasetError>;
}
