use std::iter;

use invar_dataset::{GroupId, Related, SampleId};

/// The sample of each view of a batch, `[V, B]`, and the group of each pair, `[B]`, on the host.
///
/// The views of one pair can be of several samples: two reads that overlap. These share a group, if groups are known.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleIds {
    /// View after view.
    ids: Vec<SampleId>,
    num_views: usize,
    /// One per pair; empty if no pair has one.
    groups: Vec<Option<GroupId>>,
    /// Relations to other samples stated by each pair; empty if there are none.
    related: Vec<Vec<Related>>,
}

impl SampleIds {
    /// Ids of `num_views` views: the first view of every pair, then the second, and so on. No pair has a group.
    ///
    /// # Panics
    /// If there are no views, or their numbers of ids differ.
    pub fn new(num_views: usize, ids: Vec<SampleId>) -> Self {
        assert!(num_views > 0 && ids.len().is_multiple_of(num_views), "{} ids of {num_views} views", ids.len());
        Self { ids, num_views, groups: vec![], related: vec![] }
    }

    /// The same, with the groups of the pairs. An empty list means `None` for each pair.
    ///
    /// # Panics
    /// If there are groups, but not as many as pairs.
    pub fn with_groups(self, groups: Vec<Option<GroupId>>) -> Self {
        let num_pairs = self.num_pairs();
        assert!(groups.is_empty() || groups.len() == num_pairs, "{} groups of {num_pairs} pairs", groups.len());
        let groups = if groups.iter().all(Option::is_none) { vec![] } else { groups };
        Self { groups, ..self }
    }

    /// The same, with the relations that each pair states to samples of other pairs. An empty list means none for each
    /// pair.
    ///
    /// # Panics
    /// If the list is not empty, but not as long as the number of pairs.
    pub fn with_related(self, related: Vec<Vec<Related>>) -> Self {
        let num_pairs = self.num_pairs();
        assert!(related.is_empty() || related.len() == num_pairs, "{} lists of {num_pairs} pairs", related.len());
        let related = if related.iter().all(Vec::is_empty) { vec![] } else { related };
        Self { related, ..self }
    }

    /// Ids of pairs whose views are all of the pair's own sample.
    ///
    /// # Panics
    /// If there are no views.
    pub fn of_pairs(num_views: usize, pairs: &[SampleId]) -> Self {
        Self::new(num_views, pairs.repeat(num_views))
    }

    /// Views per pair, `V`.
    pub fn num_views(&self) -> usize {
        self.num_views
    }

    /// Number of pairs, `B`.
    pub fn num_pairs(&self) -> usize {
        self.ids.len() / self.num_views
    }

    /// The sample of view `view` of pair `pair`.
    ///
    /// # Panics
    /// If there is no such view or pair.
    pub fn get(&self, view: usize, pair: usize) -> SampleId {
        self.view(view)[pair]
    }

    /// The sample of row `view * B + pair`.
    pub(crate) fn of_row(&self, row: u32) -> SampleId {
        self.ids[row as usize]
    }

    /// The sample of view `view` of each pair, `[B]`.
    ///
    /// # Panics
    /// If there is no such view.
    pub fn view(&self, view: usize) -> &[SampleId] {
        let num_pairs = self.num_pairs();
        &self.ids[view * num_pairs..(view + 1) * num_pairs]
    }

    /// All ids, view after view.
    pub fn iter(&self) -> impl Iterator<Item = SampleId> {
        self.ids.iter().copied()
    }

    /// The group of pair `pair`.
    pub fn group(&self, pair: usize) -> Option<GroupId> {
        self.groups.get(pair).copied().flatten()
    }

    /// The groups of the pairs, `[B]`; empty if no pair has one.
    pub fn groups(&self) -> &[Option<GroupId>] {
        &self.groups
    }

    /// The relations to samples of other pairs that each pair states, `[B]`; empty if there are none.
    pub fn related(&self) -> &[Vec<Related>] {
        &self.related
    }

    /// The pairs of several chunks, one after the other.
    ///
    /// # Panics
    /// If there is no chunk, or their numbers of views differ.
    pub fn concat<'a>(chunks: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let num_views = chunks.clone().next().expect("a chunk").num_views;
        let ids = (0..num_views).flat_map(|view| chunks.clone().flat_map(move |chunk| chunk.view(view)));
        let groups = chunks.clone().flat_map(|chunk| {
            let without = chunk.num_pairs() - chunk.groups.len();
            chunk.groups.iter().copied().chain(iter::repeat_n(None, without))
        });
        let related = chunks.clone().flat_map(|chunk| {
            let without = chunk.num_pairs() - chunk.related.len();
            chunk.related.iter().cloned().chain(iter::repeat_n(vec![], without))
        });
        Self::new(num_views, ids.copied().collect()).with_groups(groups.collect()).with_related(related.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[u64]) -> Vec<SampleId> {
        numbers.iter().map(|&number| SampleId(number)).collect()
    }

    #[test]
    fn chunks_are_joined_view_by_view() {
        let chunks = [SampleIds::new(2, ids(&[1, 2, 8, 9])), SampleIds::new(2, ids(&[3, 7]))];
        let all = SampleIds::concat(chunks.iter());
        assert_eq!((all.num_views(), all.num_pairs()), (2, 3));
        assert_eq!((all.view(0), all.view(1)), (&ids(&[1, 2, 3])[..], &ids(&[8, 9, 7])[..]));
        assert_eq!(all.get(1, 2), SampleId(7));
        assert_eq!(SampleIds::of_pairs(3, &ids(&[4, 5])).view(2), ids(&[4, 5]));
        assert_eq!(all.groups(), []);
    }

    #[test]
    fn chunks_with_and_without_groups_are_joined() {
        let group = |number| Some(GroupId(number));
        let without = SampleIds::new(2, ids(&[1, 2, 8, 9]));
        let with = SampleIds::new(2, ids(&[3, 4, 3, 5])).with_groups(vec![group(u64::MAX), None]);
        let joined = |chunks: &[&SampleIds]| SampleIds::concat(chunks.iter().copied()).groups().to_vec();
        assert_eq!(joined(&[&without, &with]), [None, None, group(u64::MAX), None]);
        assert_eq!(joined(&[&with, &without]), [group(u64::MAX), None, None, None]);
        assert_eq!(joined(&[&without, &without]), []);
        assert_eq!(without.clone().with_groups(vec![None, None]), without);
    }

    #[test]
    fn what_pairs_say_is_joined() {
        let said = vec![Related { sample: SampleId(7), weight: 0.5 }];
        let silent = SampleIds::of_pairs(2, &ids(&[1, 2]));
        let some = SampleIds::of_pairs(2, &ids(&[3])).with_related(vec![said.clone()]);
        assert_eq!(SampleIds::concat([&silent, &some].into_iter()).related(), [vec![], vec![], said]);
        assert_eq!(silent.clone().with_related(vec![vec![], vec![]]), silent);
    }
}
