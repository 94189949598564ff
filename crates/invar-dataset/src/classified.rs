use std::sync::Arc;

use crate::{DatasetError, Pair, PairSource, SampleId, SampleName, ViewShape, seed};

/// A source some of whose samples have a class, in one or several columns of labels, that is to be learned. Those are
/// drawn more often, so that each batch has some however few they are.
pub struct Classified {
    source: Arc<dyn PairSource>,
    /// For each sample its class in each column.
    classes: Vec<Vec<Option<u32>>>,
    /// Samples that are drawn once more for each time that they are listed.
    again: Vec<u32>,
}

impl Classified {
    /// Attaches `classes`, one list per sample, to the samples of `source`. Those with a class are repeated until they
    /// are at least `share` of all, but at most `most` times.
    ///
    /// # Panics
    /// If the numbers of lists and samples differ, or `share` is not in `[0, 1)`.
    pub fn new(source: Arc<dyn PairSource>, classes: Vec<Vec<Option<u32>>>, share: f64, most: usize) -> Self {
        assert_eq!(classes.len(), source.len(), "a list of classes for each sample");
        assert!((0.0..1.0).contains(&share), "a part of all");
        let has_class = |index: &u32| classes[*index as usize].iter().any(Option::is_some);
        let known: Vec<u32> = (0..classes.len() as u32).filter(has_class).collect();
        let others = (classes.len() - known.len()) as f64;
        let wanted = (others * share / (1.0 - share)).ceil() as usize;
        let times = wanted.div_ceil(known.len().max(1)).clamp(1, most.max(1));
        let again = (1..times).flat_map(|_| known.iter().copied()).collect();
        Self { source, classes, again }
    }

    /// The sample that number `index` shows.
    fn sample(&self, index: usize) -> usize {
        index.checked_sub(self.source.len()).map_or(index, |repeat| self.again[repeat] as usize)
    }
}

impl PairSource for Classified {
    fn len(&self) -> usize {
        self.source.len() + self.again.len()
    }

    fn view_shapes(&self) -> Vec<ViewShape> {
        self.source.view_shapes()
    }

    fn pair(&self, index: usize, pair_seed: u64) -> Result<Pair, DatasetError> {
        let sample = self.sample(index);
        // A repeated sample has other views, also within one batch.
        let own_seed = if index == sample { pair_seed } else { seed::mix(pair_seed, index as u64) };
        Ok(Pair { classes: self.classes[sample].clone(), ..self.source.pair(sample, own_seed)? })
    }

    fn split_key(&self, index: usize) -> SampleId {
        self.source.split_key(self.sample(index))
    }

    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        self.source.sample_name(self.sample(index))
    }

    fn label(&self, index: usize) -> Option<String> {
        self.source.label(self.sample(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::View;

    /// A view contains its sample and the seed.
    struct Numbers;

    impl PairSource for Numbers {
        fn len(&self) -> usize {
            100
        }
        fn view_shapes(&self) -> Vec<ViewShape> {
            vec![ViewShape::Dense(vec![2])]
        }
        fn pair(&self, index: usize, seed: u64) -> Result<Pair, DatasetError> {
            Ok(Pair::of(SampleId(index as u64), [View::features(vec![index as f32, seed as f32])]))
        }
        fn split_key(&self, index: usize) -> SampleId {
            SampleId(index as u64)
        }
    }

    fn classified(known: usize, most: usize) -> Classified {
        let classes = (0..100).map(|index| vec![(index < known).then_some(index as u32), None]).collect();
        Classified::new(Arc::new(Numbers), classes, 0.25, most)
    }

    #[test]
    fn few_that_are_known_come_often_and_differently() {
        // 90 others are three quarters of 120: 10 known ones three times.
        let source = classified(10, 50);
        assert_eq!(source.len(), 120);
        let is_known = |pair: &Pair| pair.classes[0].is_some();
        let pairs: Vec<Pair> = (0..120).map(|index| source.pair(index, 7).unwrap()).collect();
        assert_eq!(pairs.iter().filter(|pair| is_known(pair)).count(), 30);
        assert_eq!(pairs[5], Pair { classes: vec![Some(5), None], ..Numbers.pair(5, 7).unwrap() });
        assert_eq!((pairs[105].classes[0], source.split_key(105)), (Some(5), SampleId(5)));
        assert!(pairs[5].views != pairs[105].views && pairs[105].views != pairs[115].views);
    }

    #[test]
    fn repeats_are_bounded_and_none_are_needed_where_many_are_known() {
        assert_eq!(classified(1, 5).len(), 104);
        assert_eq!(classified(60, 5).len(), 100);
        assert_eq!(classified(0, 5).len(), 100);
    }
}
