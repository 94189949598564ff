//! Splits a source into training and validation parts, by group.

use std::sync::Arc;

use crate::{DatasetError, Pair, PairSource, SampleId, SampleName, ViewShape, seed};

/// A part of another source.
pub struct Subset {
    source: Arc<dyn PairSource>,
    indices: Vec<u32>,
}

/// Splits by [`PairSource::split_key`]: samples of one group always end up in the same part, and which part depends
/// only on the key and the seed, not on the other samples.
///
/// Returns `(training, validation)`. With too few keys, a part can be empty.
///
/// # Errors
/// If there are more samples than 32 bits can number.
pub fn split(
    source: Arc<dyn PairSource>,
    validation_fraction: f64,
    split_seed: u64,
) -> Result<(Subset, Subset), DatasetError> {
    let num_samples = index_bound("training", source.len())?;
    let threshold = (validation_fraction.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
    let (validation, training) =
        (0..num_samples).partition(|&index| seed::mix(split_seed, source.split_key(index as usize).0) < threshold);
    Ok((Subset { source: Arc::clone(&source), indices: training }, Subset { source, indices: validation }))
}

/// The number of samples, if each can be numbered in 32 bits, as `what` requires.
///
/// # Errors
/// [`DatasetError::TooMany`] if there are more.
pub fn index_bound(what: &str, num_samples: usize) -> Result<u32, DatasetError> {
    let most = u32::MAX;
    u32::try_from(num_samples).map_err(|_| DatasetError::TooMany {
        what: what.into(),
        most: most as usize,
        found: num_samples,
    })
}

impl PairSource for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn view_shapes(&self) -> Vec<ViewShape> {
        self.source.view_shapes()
    }

    fn pair(&self, index: usize, seed: u64) -> Result<Pair, DatasetError> {
        self.source.pair(self.indices[index] as usize, seed)
    }

    fn split_key(&self, index: usize) -> SampleId {
        self.source.split_key(self.indices[index] as usize)
    }

    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        self.source.sample_name(self.indices[index] as usize)
    }

    fn label(&self, index: usize) -> Option<String> {
        self.source.label(self.indices[index] as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::View;

    /// This many samples, in groups of ten.
    struct Groups(usize);

    impl PairSource for Groups {
        fn len(&self) -> usize {
            self.0
        }
        fn view_shapes(&self) -> Vec<ViewShape> {
            vec![ViewShape::Dense(vec![1])]
        }
        fn pair(&self, index: usize, _: u64) -> Result<Pair, DatasetError> {
            Ok(Pair::of(SampleId(index as u64), [View::features(vec![])]))
        }
        fn split_key(&self, index: usize) -> SampleId {
            SampleId(index as u64 / 10)
        }
    }

    #[test]
    fn groups_stay_whole_and_the_fraction_is_met() {
        let (training, validation) = split(Arc::new(Groups(10_000)), 0.2, 3).unwrap();
        assert_eq!(training.len() + validation.len(), 10_000);
        assert!((1_700..2_300).contains(&validation.len()), "{}", validation.len());
        let keys = |s: &Subset| (0..s.len()).map(|i| s.split_key(i)).collect::<std::collections::HashSet<_>>();
        assert!(keys(&training).is_disjoint(&keys(&validation)));
        // The pair is of the sample that the index refers to.
        assert_eq!(validation.pair(0, 0).unwrap().views[0].0.0 / 10, validation.split_key(0).0);
    }

    #[test]
    fn fraction_zero_leaves_validation_empty() {
        let (training, validation) = split(Arc::new(Groups(10_000)), 0.0, 3).unwrap();
        assert_eq!((training.len(), validation.len()), (10_000, 0));
    }

    #[test]
    fn more_samples_than_numbers_are_refused() {
        let error = split(Arc::new(Groups(1 << 32)), 0.2, 3).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "training takes at most 4294967295 samples, the dataset has 4294967296");
    }
}
