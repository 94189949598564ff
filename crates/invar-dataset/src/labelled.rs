use std::sync::Arc;

use crate::{DatasetError, Pair, PairSource, SampleId, SampleName, ViewShape};

/// A source whose samples have external labels.
///
/// Labels are for monitoring, never for learning: the pairs and the split are those of the source.
pub struct Labelled {
    source: Arc<dyn PairSource>,
    labels: Vec<Option<String>>,
}

impl Labelled {
    /// Attaches `labels`, one per sample, to the samples of `source`. A sample without one keeps the source's label.
    ///
    /// # Panics
    /// If the numbers of labels and samples differ.
    pub fn new(source: Arc<dyn PairSource>, labels: Vec<Option<String>>) -> Self {
        assert_eq!(labels.len(), source.len(), "a label, or none, for each sample");
        Self { source, labels }
    }
}

impl PairSource for Labelled {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn view_shapes(&self) -> Vec<ViewShape> {
        self.source.view_shapes()
    }

    fn pair(&self, index: usize, seed: u64) -> Result<Pair, DatasetError> {
        self.source.pair(index, seed)
    }

    fn split_key(&self, index: usize) -> SampleId {
        self.source.split_key(index)
    }

    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        self.source.sample_name(index)
    }

    fn label(&self, index: usize) -> Option<String> {
        self.labels[index].clone().or_else(|| self.source.label(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{View, split};

    /// Samples "0" to "9", of which the source itself calls the last "nine"; sample 3 is damaged. Groups of two.
    struct Numbers;

    impl PairSource for Numbers {
        fn len(&self) -> usize {
            10
        }
        fn view_shapes(&self) -> Vec<ViewShape> {
            vec![ViewShape::Dense(vec![1])]
        }
        fn pair(&self, index: usize, seed: u64) -> Result<Pair, DatasetError> {
            if index == 3 {
                return Err(DatasetError::Sample { id: "3".into(), reason: "damaged".into() });
            }
            Ok(Pair::of(id(index), [View::features(vec![seed as f32])]))
        }
        fn split_key(&self, index: usize) -> SampleId {
            SampleId(index as u64 / 2)
        }
        fn label(&self, index: usize) -> Option<String> {
            (index == 9).then(|| "nine".into())
        }
    }

    fn id(index: usize) -> SampleId {
        SampleId(1_000 + index as u64)
    }

    fn labelled() -> Labelled {
        let mut labels = vec![None; 10];
        for (index, label) in [(0, "zero"), (3, "three"), (4, "four")] {
            labels[index] = Some(label.to_owned());
        }
        Labelled::new(Arc::new(Numbers), labels)
    }

    #[test]
    fn labels_go_with_their_samples() {
        let source = labelled();
        let labels: Vec<Option<String>> = (0..source.len()).map(|index| source.label(index)).collect();
        let mut expected = vec![None; 10];
        for (index, label) in [(0, "zero"), (3, "three"), (4, "four"), (9, "nine")] {
            expected[index] = Some(label.to_owned());
        }
        assert_eq!(labels, expected);
    }

    #[test]
    fn all_else_is_the_source() {
        let source = labelled();
        assert_eq!((source.len(), source.view_shapes()), (10, vec![ViewShape::Dense(vec![1])]));
        assert_eq!(source.pair(5, 8).unwrap(), Numbers.pair(5, 8).unwrap());
        assert_eq!(source.split_key(5), SampleId(2));
        assert!(source.pair(3, 0).is_err());
    }

    #[test]
    fn a_part_keeps_the_labels_of_its_samples() {
        let source = Arc::new(labelled());
        let (training, validation) = split::split(source.clone(), 0.5, 1).unwrap();
        assert!(!training.is_empty() && !validation.is_empty());
        for part in [training, validation] {
            for index in 0..part.len() {
                let Ok(pair) = part.pair(index, 0) else { continue };
                let whole = (0..10).find(|&index| id(index) == pair.views[0].0).unwrap();
                assert_eq!(part.label(index), source.label(whole));
            }
        }
    }
}
