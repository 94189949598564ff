//! A source without a domain: points around cloud centres; the two views of a sample are noisy copies of one point.
#![allow(dead_code, missing_docs)]

use invar_dataset::{
    DatasetError, GroupId, Link, Pair, PairSource, Related, SampleId, SampleName, View, ViewShape, ViewSource, seed,
};

pub const NUM_FEATURES: usize = 24;

pub struct Clouds {
    pub num_samples: usize,
    /// From this sample on, views contain values that are not numbers.
    pub poisoned_from: usize,
    /// Every view of every sample is the same.
    pub all_alike: bool,
    /// The second view of samples 0 and 1, 2 and 3, ... belongs to the other one of the two, as in pairs of two reads.
    pub in_twos: bool,
    /// Half of the samples are one group, and there are other groups of eight.
    pub has_groups: bool,
    /// A third of the pairs states one relation to samples of other pairs, and a third states two.
    pub says: bool,
    /// Points are sequences of four tokens, a third of which is hidden, and the positions of the two views of a pair
    /// are linked.
    pub as_tokens: bool,
    /// The second view of a pair is such a sequence with nothing hidden: from another instrument.
    pub of_two_kinds: bool,
}

impl Default for Clouds {
    fn default() -> Self {
        Self {
            num_samples: 500,
            poisoned_from: usize::MAX,
            all_alike: false,
            in_twos: false,
            has_groups: false,
            says: false,
            as_tokens: false,
            of_two_kinds: false,
        }
    }
}

impl Clouds {
    fn point(&self, index: usize, noise_seed: u64, noise: f32) -> Vec<f32> {
        if self.all_alike {
            return (0..NUM_FEATURES).map(|i| i as f32).collect();
        }
        let (mut own, mut noisy) = (seed::rng(11, index as u64), seed::rng(noise_seed, index as u64));
        (0..NUM_FEATURES).map(|_| uniform(&mut own) + noise * uniform(&mut noisy)).collect()
    }
}

/// A point as tokens 0 to 3; every third from `first` on is hidden as 4.
fn tokens(view: &View, first: usize) -> View {
    let View::Dense { data, .. } = view else { unreachable!("all views are dense") };
    let mut ids: Vec<i32> = data.iter().map(|x| ((x + 1.0) * 2.0).clamp(0.0, 3.0) as i32).collect();
    let mut targets = vec![-1; ids.len()];
    for at in (first..ids.len()).step_by(3) {
        targets[at] = std::mem::replace(&mut ids[at], 4);
    }
    View::Tokens { ids, targets: Some(targets) }
}

/// In `[-1, 1)`.
fn uniform(rng: &mut seed::Rng) -> f32 {
    use rand::Rng as _;
    (rng.next_u64() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

impl PairSource for Clouds {
    fn len(&self) -> usize {
        self.num_samples
    }
    fn view_shapes(&self) -> Vec<ViewShape> {
        let (dense, tokens) = (ViewShape::Dense(vec![NUM_FEATURES]), ViewShape::Tokens { vocabulary: 5 });
        match (self.of_two_kinds, self.as_tokens) {
            (true, _) => vec![dense, tokens],
            (false, true) => vec![tokens],
            (false, false) => vec![dense],
        }
    }
    fn pair(&self, index: usize, pair_seed: u64) -> Result<Pair, DatasetError> {
        let samples = [index, if self.in_twos { index ^ 1 } else { index }];
        let view = |number: usize| {
            let sample = samples[number];
            let view = View::features(self.point(sample, seed::mix(pair_seed, number as u64 + 1), 0.3));
            (SampleId(sample as u64), view)
        };
        let mut views = vec![view(0), view(1)];
        if index >= self.poisoned_from
            && let View::Dense { data, .. } = &mut views[0].1
        {
            data[0] = f32::NAN;
        }
        let group = match index / 2 % 4 {
            0 | 2 => Some(GroupId(u64::MAX / 2)),
            1 => Some(GroupId(index as u64 / 32)),
            _ => None,
        };
        if self.of_two_kinds {
            let View::Tokens { ids, .. } = tokens(&views[1].1, NUM_FEATURES) else { unreachable!("tokens") };
            views[1].1 = View::tokens(ids);
        }
        let mut links = None;
        if self.as_tokens {
            views.iter_mut().for_each(|(_, view)| *view = tokens(view, index % 3));
            // Pairs have different numbers of links, and of one kind that should be ignored.
            let link = |at: usize| Link { anchor: at as u32, key: at as u32, weight: (at % 4) as f32 / 2.0 };
            links = Some((index % 5..NUM_FEATURES).step_by(2).map(link).collect());
        }
        let said = |number: usize| Related {
            sample: SampleId(((index + 8 + 30 * number) % self.num_samples) as u64),
            weight: number as f32 / 2.0,
        };
        let related = (0..index % 3).filter(|_| self.says).map(said).collect();
        Ok(Pair { views, links, group: group.filter(|_| self.has_groups), related, classes: vec![] })
    }
    fn split_key(&self, index: usize) -> SampleId {
        SampleId(index as u64)
    }
    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        Ok(SampleName { id: format!("cloud {index}"), ..SampleName::number(index) })
    }
}

impl ViewSource for Clouds {
    fn len(&self) -> usize {
        self.num_samples
    }
    fn view_shape(&self) -> ViewShape {
        ViewShape::Dense(vec![NUM_FEATURES])
    }
    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
        Ok((0..1 + index as u64 % 3).map(|view| View::features(self.point(index, view, 0.1))).collect())
    }
    fn symmetries(&self) -> Vec<String> {
        vec!["scaled by 2".into(), "features turned round".into()]
    }
    fn transformed(&self, index: usize, symmetry: usize) -> Result<Vec<View>, DatasetError> {
        let mut views = self.views(index)?;
        for view in &mut views {
            let View::Dense { data, .. } = view else { unreachable!("all views are dense") };
            match symmetry {
                0 => data.iter_mut().for_each(|x| *x *= 2.0),
                _ => data.reverse(),
            }
        }
        Ok(views)
    }
}
