use std::ops::Range;

use invar_dataset::SampleId;

use crate::SampleIds;

/// The relation of one row of a batch, a view of a pair, to another: a view of this or another pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Relation {
    /// View of the other row.
    pub view: usize,
    /// Pair of the other row.
    pub pair: usize,
    /// How much it counts among the row's positives; 0: neither positive nor negative.
    pub weight: f32,
}

/// How the rows of a batch relate to each other: a sparse weighted list, on the host, that every loss reads.
///
/// A row is a view of a pair, and belongs to a sample; the views of one pair can belong to two (two reads that
/// overlap). A row's list contains
///
/// - the other views of its pair, with weight 1;
/// - other rows of its sample, with weight 1;
/// - rows whose sample is among the samples of its pair, and those whose pair has its sample among theirs, with weight
///   0: all of them belong to what the loss draws near;
/// - relations stated by pairs ([`invar_dataset::Pair::related`]), with the given weight, in both directions. They take
///   precedence over the weights above; if two pairs state one for the same rows, the larger weight counts.
///
/// All others are negatives, except those of one group, which are not negatives either: they are too many for a list
/// (see [`SampleIds::groups`]). A loss with a single positive uses the views of the pair and leaves the others out.
///
/// A process lists only its *own* rows, those of the pairs it holds, against all rows of the batch.
#[derive(Clone, Debug)]
pub struct Relations {
    samples: SampleIds,
    own: Range<usize>,
    list: Vec<Relation>,
    /// Where the list of each own row begins, view after view, and where the last one ends.
    starts: Vec<usize>,
    by_sample: BySample,
}

impl Relations {
    /// The relations in a batch for the rows of pairs `own`.
    ///
    /// # Panics
    /// If the batch does not have that many pairs.
    pub fn new(samples: SampleIds, own: Range<usize>) -> Self {
        assert!(own.end <= samples.num_pairs(), "pairs {own:?} of {}", samples.num_pairs());
        let by_sample = BySample::new(&samples);
        let said = said(&samples, &by_sample, &own);
        let (mut list, mut starts, mut said) = (vec![], vec![0], said.as_slice());
        for (view, pair) in (0..samples.num_views()).flat_map(|view| own.clone().map(move |pair| (view, pair))) {
            let first = list.len();
            list.extend(by_default(&samples, &by_sample, view, pair));
            let row = (view * samples.num_pairs() + pair) as u32;
            let (of_row, rest) = said.split_at(said.partition_point(|other| other.row <= row));
            said = rest;
            if !of_row.is_empty() {
                let is_said = |default: &Relation| of_row.iter().any(|said| said.is_of(default, samples.num_pairs()));
                let mut merged: Vec<Relation> = list.drain(first..).filter(|default| !is_said(default)).collect();
                merged.extend(of_row.iter().map(|said| said.relation(samples.num_pairs())));
                merged.sort_unstable_by_key(|relation| (relation.view, relation.pair));
                list.extend(merged);
            }
            starts.push(list.len());
        }
        Self { samples, own, list, starts, by_sample }
    }

    /// The relations in a batch that belongs entirely to this process.
    pub fn of_all(samples: SampleIds) -> Self {
        let own = 0..samples.num_pairs();
        Self::new(samples, own)
    }

    /// The sample of each row, and the group of each pair.
    pub fn samples(&self) -> &SampleIds {
        &self.samples
    }

    /// The pairs of this process.
    pub fn own(&self) -> Range<usize> {
        self.own.clone()
    }

    /// The relations of view `view` of pair `pair` to other rows, by view and pair.
    ///
    /// # Panics
    /// If there is no such view, or the pair is not an own one.
    pub fn of(&self, view: usize, pair: usize) -> &[Relation] {
        assert!(view < self.samples.num_views() && self.own.contains(&pair), "view {view} of pair {pair}");
        let row = view * self.own.len() + pair - self.own.start;
        &self.list[self.starts[row]..self.starts[row + 1]]
    }

    /// View and pair of each row of a sample.
    pub fn rows_of(&self, sample: SampleId) -> impl Iterator<Item = (usize, usize)> {
        let num_pairs = self.samples.num_pairs();
        self.by_sample.rows(sample).map(move |row| (row as usize / num_pairs, row as usize % num_pairs))
    }
}

/// The rows of a batch, `view * B + pair`, by sample.
#[derive(Clone, Debug)]
struct BySample(Vec<(SampleId, u32)>);

impl BySample {
    fn new(samples: &SampleIds) -> Self {
        let mut rows: Vec<(SampleId, u32)> = samples.iter().zip(0..).collect();
        rows.sort_unstable();
        Self(rows)
    }

    fn rows(&self, sample: SampleId) -> impl Iterator<Item = u32> {
        let first = self.0.partition_point(|&(other, _)| other < sample);
        self.0[first..].iter().take_while(move |&&(other, _)| other == sample).map(|&(_, row)| row)
    }
}

/// A row's relations to others that follow from the samples alone, by view and pair.
fn by_default(samples: &SampleIds, by_sample: &BySample, view: usize, pair: usize) -> impl Iterator<Item = Relation> {
    let (num_pairs, num_views) = (samples.num_pairs(), samples.num_views());
    let own = samples.get(view, pair);
    let row = (view * num_pairs + pair) as u32;
    let views_of = move |pair: u32| (0..num_views as u32).map(move |view| view * num_pairs as u32 + pair);
    let mut rows: Vec<u32> = views_of(pair as u32).flat_map(|row| by_sample.rows(samples.of_row(row))).collect();
    let paired = by_sample.rows(own).map(|row| row % num_pairs as u32);
    let mut rows_of_paired: Vec<u32> = paired.flat_map(views_of).collect();
    rows.append(&mut rows_of_paired);
    rows.sort_unstable();
    rows.dedup();
    let relation = move |other: u32| {
        let (view, other_pair) = (other as usize / num_pairs, other as usize % num_pairs);
        let is_positive = other_pair == pair || samples.get(view, other_pair) == own;
        Relation { view, pair: other_pair, weight: if is_positive { 1.0 } else { 0.0 } }
    };
    rows.into_iter().filter(move |&other| other != row).map(relation)
}

/// A relation between two rows stated by a pair, in one direction.
#[derive(Clone, Copy)]
struct Said {
    row: u32,
    other: u32,
    weight: f32,
}

impl Said {
    fn relation(&self, num_pairs: usize) -> Relation {
        let (view, pair) = (self.other as usize / num_pairs, self.other as usize % num_pairs);
        Relation { view, pair, weight: self.weight }
    }

    fn is_of(&self, relation: &Relation, num_pairs: usize) -> bool {
        self.other as usize == relation.view * num_pairs + relation.pair
    }
}

/// The relations of the own rows stated by pairs, by row and other row, each once.
fn said(samples: &SampleIds, by_sample: &BySample, own: &Range<usize>) -> Vec<Said> {
    let num_pairs = samples.num_pairs();
    let is_own = |row: u32| own.contains(&(row as usize % num_pairs));
    let mut all = vec![];
    for (pair, related) in samples.related().iter().enumerate() {
        for related in related {
            for row in by_sample.rows(related.sample).filter(|&row| row as usize % num_pairs != pair) {
                for view in 0..samples.num_views() {
                    let other = (view * num_pairs + pair) as u32;
                    let weight = related.weight;
                    let both = [Said { row, other, weight }, Said { row: other, other: row, weight }];
                    all.extend(both.into_iter().filter(|said| is_own(said.row)));
                }
            }
        }
    }
    // For the same rows the largest weight first.
    all.sort_unstable_by(|a, b| (a.row, a.other).cmp(&(b.row, b.other)).then(b.weight.total_cmp(&a.weight)));
    all.dedup_by_key(|said| (said.row, said.other));
    all
}

#[cfg(test)]
mod tests {
    use invar_dataset::Related;
    use proptest::prelude::*;

    use super::*;

    fn ids(numbers: &[u64]) -> Vec<SampleId> {
        numbers.iter().map(|&number| SampleId(number)).collect()
    }

    fn rows(relations: &Relations, view: usize, pair: usize) -> Vec<(usize, usize, f32)> {
        relations.of(view, pair).iter().map(|r| (r.view, r.pair, r.weight)).collect()
    }

    #[test]
    fn the_partner_of_a_walk_is_related_to_its_own_row() {
        // Pair 0 walks from read 10 to read 11, which is the anchor of pair 1; pair 2 walks to read 11 too.
        let relations = Relations::of_all(SampleIds::new(2, ids(&[10, 11, 12, 11, 20, 11])));
        // Read 10: its partner; the partner's own row, and the same partner in another pair.
        assert_eq!(rows(&relations, 0, 0), [(0, 1, 0.0), (1, 0, 1.0), (1, 2, 0.0)]);
        // Read 11 as a partner: read 10; its own row, and all that it is paired with.
        assert_eq!(rows(&relations, 1, 0), [(0, 0, 1.0), (0, 1, 1.0), (0, 2, 0.0), (1, 1, 0.0), (1, 2, 1.0)]);
        // Read 20, the partner of read 11: read 11 wherever it is.
        assert_eq!(rows(&relations, 1, 1), [(0, 1, 1.0), (1, 0, 0.0), (1, 2, 0.0)]);
        assert_eq!(relations.rows_of(SampleId(11)).collect::<Vec<_>>(), [(0, 1), (1, 0), (1, 2)]);
        assert_eq!(relations.rows_of(SampleId(13)).count(), 0);
    }

    #[test]
    fn what_a_pair_says_counts_in_both_directions_and_before_what_its_samples_say() {
        let related = |sample, weight| Related { sample: SampleId(sample), weight };
        let samples = SampleIds::of_pairs(2, &ids(&[1, 2, 1, 4]));
        // Pair 0 states that it is near sample 4, for which pair 3 states less, and near one that is not in the batch;
        // pair 2 is of the sample of pair 0, but is declared not to count.
        let said = vec![vec![related(4, 0.5), related(9, 1.0)], vec![], vec![related(1, 0.0)], vec![related(1, 0.25)]];
        let relations = Relations::of_all(samples.with_related(said));
        let half = [(0, 2, 0.0), (0, 3, 0.5), (1, 0, 1.0), (1, 2, 0.0), (1, 3, 0.5)];
        assert_eq!(rows(&relations, 0, 0), half);
        assert_eq!(rows(&relations, 1, 1), [(0, 1, 1.0)]);
        // Pair 2 is of sample 1 too: pair 3 states 0.25 for it.
        let of_last = [(0, 0, 0.5), (0, 2, 0.25), (1, 0, 0.5), (1, 2, 0.25), (1, 3, 1.0)];
        assert_eq!(rows(&relations, 0, 3), of_last);
    }

    proptest! {
        /// Each process lists what a single process would for the same rows; the list is symmetric; and it holds what
        /// the samples imply.
        #[test]
        fn parts_are_those_of_the_whole(
            numbers in prop::collection::vec(0u64..12, 6..30),
            said in prop::collection::vec((0u64..12, 0.0f32..2.0), 0..5),
            num_views in 2usize..4,
        ) {
            let num_pairs = numbers.len() / num_views;
            let samples = SampleIds::new(num_views, ids(&numbers[..num_pairs * num_views]));
            let mut related = vec![vec![]; num_pairs];
            for (at, &(sample, weight)) in said.iter().enumerate() {
                related[at % num_pairs].push(Related { sample: SampleId(sample), weight });
            }
            let samples = samples.with_related(related);
            let whole = Relations::of_all(samples.clone());
            let cut = num_pairs / 2;
            let parts = [0..cut, cut..num_pairs].map(|own| Relations::new(samples.clone(), own));
            for (view, pair) in (0..num_views).flat_map(|view| (0..num_pairs).map(move |pair| (view, pair))) {
                let own = whole.of(view, pair);
                prop_assert_eq!(parts[usize::from(pair >= cut)].of(view, pair), own);
                prop_assert!(own.is_sorted_by(|a, b| (a.view, a.pair) < (b.view, b.pair)));
                for other in own {
                    let back = Relation { view, pair, weight: other.weight };
                    prop_assert!(whole.of(other.view, other.pair).contains(&back));
                }
                for (u, j) in (0..num_views).flat_map(|view| (0..num_pairs).map(move |pair| (view, pair))) {
                    let of_pair = |pair: usize| (0..num_views).map(move |view| (view, pair));
                    let related = of_pair(pair).any(|(w, i)| samples.get(w, i) == samples.get(u, j))
                        || of_pair(j).any(|(w, i)| samples.get(w, i) == samples.get(view, pair));
                    let listed = own.iter().any(|other| (other.view, other.pair) == (u, j));
                    prop_assert!(!related || listed || (u, j) == (view, pair));
                    prop_assert!(!listed || (u, j) != (view, pair));
                    prop_assert!(!said.is_empty() || related || !listed || j == pair);
                }
            }
        }
    }
}
