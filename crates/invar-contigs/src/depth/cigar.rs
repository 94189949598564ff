//! Depth from alignments, one after the other in the order of their contigs.

use noodles::sam::alignment::record::cigar::op::Kind;

use super::{Depth, DepthConfig};

/// An alignment, in the form that its depth follows from.
#[derive(Clone, Debug, Default)]
pub(super) struct Aligned {
    /// First base, 0-based.
    pub start: u32,
    pub ops: Vec<(Kind, u32)>,
    /// Length of the read, as stored with the record.
    pub read_bp: u32,
    /// Unequal, inserted and deleted bases, where the record tells.
    pub edit_distance: Option<u32>,
}

/// What the operations of an alignment come to, in bases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Under M.
    pub matched: u32,
    /// Under =.
    pub equal: u32,
    /// Under X.
    pub unequal: u32,
    pub inserted: u32,
    pub deleted: u32,
    /// Of the contig, from the first to the last.
    pub span: u32,
}

impl Aligned {
    /// Sums of the operations; `None` if they exceed 32 bits.
    pub fn tally(&self) -> Option<Tally> {
        let mut tally = Tally::default();
        let mut add = |kind: Kind, len: u32| {
            let sum = match kind {
                Kind::Match => &mut tally.matched,
                Kind::SequenceMatch => &mut tally.equal,
                Kind::SequenceMismatch => &mut tally.unequal,
                Kind::Insertion => &mut tally.inserted,
                Kind::Deletion => &mut tally.deleted,
                _ => return Some(()),
            };
            *sum = sum.checked_add(len)?;
            Some(())
        };
        self.ops.iter().try_for_each(|&(kind, len)| add(kind, len))?;
        let along = self.ops.iter().filter(|(kind, _)| kind.consumes_reference());
        tally.span = u32::try_from(along.map(|(_, len)| u64::from(*len)).sum::<u64>()).ok()?;
        let sum = |values: &[u32]| values.iter().try_fold(0u32, |sum, &value| sum.checked_add(value));
        sum(&[tally.matched, tally.equal, tally.unequal, tally.inserted, tally.deleted]).map(|_| tally)
    }

    /// The stretches of the contig with M, = or X over them, as start and length.
    pub fn covered(&self) -> impl Iterator<Item = (u32, u32)> {
        let mut at = self.start;
        self.ops.iter().filter_map(move |&(kind, len)| {
            let from = at;
            if kind.consumes_reference() {
                at += len;
            }
            matches!(kind, Kind::Match | Kind::SequenceMatch | Kind::SequenceMismatch).then_some((from, len))
        })
    }
}

impl Tally {
    /// The fraction of equal bases, of the aligned, inserted and deleted ones. `num_unequal` are those under M.
    pub fn identity(&self, num_unequal: u32) -> f32 {
        let all = self.matched + self.equal + self.unequal + self.inserted + self.deleted;
        let equal = self.equal + self.matched.saturating_sub(num_unequal);
        if all == 0 { 0.0 } else { equal as f32 / all as f32 }
    }

    /// Unequal bases under M by the record's edit distance; one too small is taken for no unequal bases.
    pub fn unequal_by(&self, edit_distance: u32) -> u32 {
        edit_distance.saturating_sub(self.inserted).saturating_sub(self.deleted).saturating_sub(self.unequal)
    }
}

/// The depth of the bases of a contig.
#[derive(Debug, Default)]
pub(super) struct Counter {
    /// Alignments that begin at a base, less those that ended before it.
    changes: Vec<i32>,
}

impl Counter {
    /// Begins with a contig of `length_bp`.
    pub fn reset(&mut self, length_bp: u32) {
        self.changes.clear();
        self.changes.resize(length_bp as usize + 1, 0);
    }

    /// Adds a stretch inside the contig.
    pub fn add(&mut self, start: u32, len: u32) {
        self.changes[start as usize] += 1;
        self.changes[(start + len) as usize] -= 1;
    }

    /// The depth of the contig, `end_bp` bases at either end left out if more than one base remains.
    pub fn depth(&self, end_bp: u32) -> Depth {
        let len = self.changes.len().saturating_sub(1);
        let end_bp = end_bp as usize;
        let (start, end) = if len > 2 * end_bp + 1 { (end_bp, len - end_bp) } else { (0, len) };
        let n = end - start;
        if n <= 2 {
            return Depth::default();
        }
        let (mut depth, mut sum, mut squares, mut covered) = (0i64, 0u64, 0u128, 0u64);
        for (base, &change) in self.changes[..end].iter().enumerate() {
            depth += i64::from(change);
            if base >= start {
                let depth = depth as u64;
                sum += depth;
                squares += u128::from(depth * depth);
                covered += u64::from(depth > 0);
            }
        }
        let n = n as u64;
        // Exact: n^2 times the variance is an integer.
        let spread = u128::from(n) * squares - u128::from(sum) * u128::from(sum);
        Depth {
            mean: (sum as f64 / n as f64) as f32,
            variance: (spread as f64 / (n as f64 * (n - 1) as f64)) as f32,
            breadth: (covered as f64 / n as f64) as f32,
        }
    }
}

/// The mean length of the reads so far, in whole bases, as the end rule takes it.
#[derive(Debug, Default)]
pub(super) struct ReadLength {
    sum_bp: u64,
    num: u64,
}

impl ReadLength {
    pub fn add(&mut self, read_bp: u32) {
        self.sum_bp += u64::from(read_bp);
        self.num += 1;
    }

    pub fn mean(&self) -> Option<f32> {
        (self.num > 0).then(|| (self.sum_bp as f64 / self.num as f64) as f32)
    }

    /// Bases to leave out at either end.
    pub fn end_bp(&self, config: &DepthConfig) -> u32 {
        let mean = self.sum_bp.checked_div(self.num).unwrap_or(0);
        config.end_bp.min(u32::try_from(mean).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn depth_by_hand() {
        let mut counter = Counter::default();
        counter.reset(10);
        counter.add(0, 4);
        counter.add(2, 8);
        // 1 1 2 2 1 1 1 1 1 1: sum 12, squares 16; variance (16 - 144 / 10) / 9.
        let depth = counter.depth(0);
        assert_eq!((depth.mean, depth.variance, depth.breadth), (1.2, (1.6 / 9.0) as f32, 1.0));
        // Without two at either end 2 2 1 1 1 1: mean 4/3, squares 12, (12 - 64 / 6) / 5.
        let depth = counter.depth(2);
        assert_eq!((depth.mean, depth.variance), ((8.0 / 6.0) as f32, (4.0 / 15.0) as f32));
        // 10 bases less 2 x 5 are none left: the ends count.
        assert_eq!(counter.depth(5).mean, 1.2);
        counter.reset(2);
        counter.add(0, 2);
        assert_eq!(counter.depth(0), Depth::default());
        counter.reset(0);
        assert_eq!(counter.depth(75), Depth::default());
    }

    #[test]
    fn identity_by_hand() {
        let ops =
            vec![(Kind::SoftClip, 5), (Kind::Match, 90), (Kind::Insertion, 2), (Kind::Deletion, 3), (Kind::Match, 5)];
        let aligned = Aligned { start: 7, ops, ..Aligned::default() };
        let tally = aligned.tally().unwrap();
        assert_eq!(tally, Tally { matched: 95, inserted: 2, deleted: 3, span: 98, ..Tally::default() });
        assert_eq!(tally.unequal_by(9), 4);
        assert_eq!(tally.identity(4), 0.91); // 91 of 100
        assert_eq!(tally.unequal_by(1), 0);
        assert_eq!(aligned.covered().collect::<Vec<_>>(), [(7, 90), (100, 5)]);
        let explicit =
            Aligned { ops: vec![(Kind::SequenceMatch, 97), (Kind::SequenceMismatch, 3)], ..Aligned::default() };
        assert_eq!(explicit.tally().unwrap().identity(0), 0.97);
        assert!(0.97f32 >= DepthConfig::default().min_identity);
        assert_eq!(
            Aligned { ops: vec![(Kind::Deletion, u32::MAX), (Kind::Match, 9)], ..Aligned::default() }.tally(),
            None
        );
    }

    proptest! {
        #[test]
        fn depth_is_that_of_counting_base_by_base(
            length in 1u32..200, stretches in proptest::collection::vec((0u32..200, 0u32..80), 0..40), end_bp in 0u32..90,
        ) {
            let mut counter = Counter::default();
            counter.reset(length);
            let mut counts = vec![0f64; length as usize];
            for (start, len) in stretches {
                let start = start.min(length);
                let len = len.min(length - start);
                counter.add(start, len);
                counts[start as usize..(start + len) as usize].iter_mut().for_each(|count| *count += 1.0);
            }
            let whole = length <= 2 * end_bp + 1;
            let kept = if whole { &counts[..] } else { &counts[end_bp as usize..(length - end_bp) as usize] };
            let found = counter.depth(end_bp);
            if kept.len() <= 2 {
                prop_assert_eq!(found, Depth::default());
            } else {
                let n = kept.len() as f64;
                let mean = kept.iter().sum::<f64>() / n;
                let variance = kept.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / (n - 1.0);
                let breadth = kept.iter().filter(|&&count| count > 0.0).count() as f64 / n;
                for (found, expected) in [(found.mean, mean), (found.variance, variance), (found.breadth, breadth)] {
                    prop_assert!((f64::from(found) - expected).abs() <= 1e-6 * (1.0 + expected), "{found} {expected}");
                }
            }
        }
    }
}
