use std::{collections::HashMap, sync::Arc};

use crate::{DatasetError, Pair, PairSource, Related, SampleId, SampleName, ViewShape, seed};

/// A source some of whose samples have a class, in one or several columns of labels, that is to be learned.
///
/// Those are drawn more often, so that each batch has some however few they are. In a batch, samples of one class are no
/// negatives of each other; losses that allow several positives take them for positives.
pub struct Classified {
    source: Arc<dyn PairSource>,
    /// For each sample its class in each column.
    classes: Vec<Vec<Option<u32>>>,
    /// Samples that are drawn once more for each time that they are listed.
    again: Vec<u32>,
    /// The samples of each class of the first column, and their ids.
    members: HashMap<u32, Vec<(u32, SampleId)>>,
}

/// The most samples of its class that a pair names as no negatives.
const MOST_RELATED: usize = 256;

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
        let mut members = HashMap::<u32, Vec<(u32, SampleId)>>::new();
        for &index in &known {
            // What cannot be drawn is an error when it is trained on.
            let drawn = source.pair(index as usize, 0);
            let id = drawn.ok().and_then(|pair| pair.views.first().map(|(id, _)| *id));
            if let (Some(&Some(class)), Some(id)) = (classes[index as usize].first(), id) {
                members.entry(class).or_default().push((index, id));
            }
        }
        let again = (1..times).flat_map(|_| known.iter().copied()).collect();
        Self { source, classes, again, members }
    }

    /// The samples of the class that this one is of; none if it is not known.
    fn alike(&self, sample: usize) -> &[(u32, SampleId)] {
        let class = self.classes[sample].first().copied().flatten();
        class.and_then(|class| self.members.get(&class)).map_or(&[], Vec::as_slice)
    }

    /// The others of the class, as many as a pair may name, from a place on that the seed determines.
    fn related(&self, sample: usize, pair_seed: u64) -> Vec<Related> {
        let alike = self.alike(sample);
        let first = (seed::mix(pair_seed, sample as u64) % alike.len().max(1) as u64) as usize;
        let others = alike[first..].iter().chain(&alike[..first]).filter(|(index, _)| *index as usize != sample);
        others.take(MOST_RELATED).map(|&(_, sample)| Related { sample, weight: 1.0 }).collect()
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
        let mut pair = self.source.pair(sample, own_seed)?;
        pair.related.extend(self.related(sample, own_seed));
        Ok(Pair { classes: self.classes[sample].clone(), ..pair })
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
            let view = |number: f32| View::features(vec![index as f32, seed as f32 + number]);
            Ok(Pair::of(SampleId(index as u64), [view(0.0), view(0.5)]))
        }
        fn split_key(&self, index: usize) -> SampleId {
            SampleId(index as u64)
        }
    }

    /// The first `known` of two classes, alternating.
    fn classified(known: usize, most: usize) -> Classified {
        let classes = (0..100).map(|index| vec![(index < known).then_some(index as u32 % 2), None]).collect();
        Classified::new(Arc::new(Numbers), classes, 0.25, most)
    }

    #[test]
    fn few_that_are_known_come_often_and_differently_and_are_no_negatives_of_their_class() {
        // 90 others are three quarters of 120: 10 known ones three times.
        let source = classified(10, 50);
        assert_eq!(source.len(), 120);
        let pairs: Vec<Pair> = (0..120).map(|index| source.pair(index, 7).unwrap()).collect();
        assert_eq!(pairs.iter().filter(|pair| pair.classes[0].is_some()).count(), 30);
        for (index, pair) in pairs.iter().enumerate() {
            let sample = if index < 100 { index } else { (index - 100) % 10 };
            assert_eq!((source.split_key(index), pair.views[0].0), (SampleId(sample as u64), SampleId(sample as u64)));
            let is_known = sample < 10;
            assert_eq!(pair.classes, [is_known.then_some(sample as u32 % 2), None]);
            // All others of the class, and nobody else.
            let mut related: Vec<u64> = pair.related.iter().map(|related| related.sample.0).collect();
            related.sort_unstable();
            let of_class =
                (0..10).filter(|&other| is_known && other != sample as u64 && other % 2 == sample as u64 % 2);
            assert_eq!(related, of_class.collect::<Vec<_>>());
        }
        assert_eq!(pairs[50], Pair { classes: vec![None, None], ..Numbers.pair(50, 7).unwrap() });
        assert!(pairs[5].views[0] != pairs[105].views[0] && pairs[105].views != pairs[115].views);
    }

    #[test]
    fn repeats_are_bounded_and_where_many_are_known_there_are_none() {
        let source = classified(1, 5);
        assert_eq!((source.len(), source.pair(103, 7).unwrap().related.len()), (104, 0));
        assert_eq!((classified(60, 5).len(), classified(0, 5).len()), (100, 100));
    }
}
