use std::sync::Arc;

use crate::{DatasetError, Pair, PairSource, SampleId, SampleName, ViewShape, seed};

/// A source whose pairs have more than two views: as many pairs of the sample as needed, one after the other.
pub struct ManyViews {
    source: Arc<dyn PairSource>,
    num_views: usize,
}

impl ManyViews {
    /// `num_views` views of each sample of `source`, the first of which are those of its pair.
    pub fn new(source: Arc<dyn PairSource>, num_views: usize) -> Self {
        Self { source, num_views }
    }
}

impl PairSource for ManyViews {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn view_shapes(&self) -> Vec<ViewShape> {
        self.source.view_shapes()
    }

    fn pair(&self, index: usize, pair_seed: u64) -> Result<Pair, DatasetError> {
        let mut pair = self.source.pair(index, pair_seed)?;
        let mut round = 0;
        while pair.views.len() < self.num_views {
            round += 1;
            let more = self.source.pair(index, seed::mix(pair_seed, round))?.views;
            if more.is_empty() {
                break;
            }
            pair.views.extend(more);
        }
        pair.views.truncate(self.num_views);
        Ok(pair)
    }

    fn split_key(&self, index: usize) -> SampleId {
        self.source.split_key(index)
    }

    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        self.source.sample_name(index)
    }

    fn label(&self, index: usize) -> Option<String> {
        self.source.label(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::View;

    /// Views that contain the seed that drew them.
    struct Seeds;

    impl PairSource for Seeds {
        fn len(&self) -> usize {
            3
        }
        fn view_shapes(&self) -> Vec<ViewShape> {
            vec![ViewShape::Dense(vec![2])]
        }
        fn pair(&self, index: usize, seed: u64) -> Result<Pair, DatasetError> {
            let view = |number: f32| View::features(vec![number, seed as f32]);
            // The second view is of another sample.
            let views = vec![(SampleId(index as u64), view(1.0)), (SampleId(seed), view(2.0))];
            Ok(Pair { views, links: None, group: None, related: vec![], classes: vec![] })
        }
        fn split_key(&self, index: usize) -> SampleId {
            SampleId(index as u64)
        }
    }

    #[test]
    fn views_are_those_of_several_pairs() {
        for num_views in [2, 3, 5] {
            let pair = ManyViews::new(Arc::new(Seeds), num_views).pair(1, 9).unwrap();
            let seeds = [9, seed::mix(9, 1), seed::mix(9, 2)];
            let all = seeds.map(|seed| Seeds.pair(1, seed).unwrap().views).concat();
            assert_eq!(pair.views.as_slice(), &all[..num_views]);
        }
        // No two pairs are drawn alike.
        let pair = ManyViews::new(Arc::new(Seeds), 4).pair(1, 9).unwrap();
        assert!(pair.views[0] != pair.views[2] && pair.views[1] != pair.views[3]);
    }
}
