//! Decides which matches are overlaps: of two reads over the same stretch of one genome.
//!
//! An overlap is a dovetail or a containment: the match continues until one of the reads ends, except for what is
//! missing at the ends because no k-mer happened to be error-free there. And as many k-mers are shared as in other
//! overlaps of the same sample: two reads of one place differ only by sequencing errors, two species, or two copies of
//! a repeat, by more.

use rayon::prelude::*;

use super::matches::{MIN_HITS, Match};

/// Minimum fraction of shared k-mers, relative to the usual one for overlaps of the sample. With k-mers of 16 bases 0.8
/// is a difference of 1.4 %.
const MIN_RELATIVE: f64 = 0.8;
/// The same for two genomes that differ by 5 %, where species begin to differ (`0.95^16`): no match of theirs should
/// reach an overlap's fraction by chance, hence this many standard deviations above.
const SISTER_RELATIVE: f64 = 0.44;
const DEVIATIONS: f64 = 3.0;
/// Longest unmatched end: this fraction of the overlap, and this many times the usual distance of shared k-mers.
const END_SHARE: f64 = 0.05;
const END_DISTANCES: f64 = 5.0;
/// Minimum length of an overlap, relative to the shorter read.
const MIN_LENGTH_SHARE: f64 = 0.1;
/// Number of shared k-mers that an overlap would usually have, for fewer to mean that the reads are unlike.
const ENOUGH: f64 = 20.0;
const UNLIKE_DEVIATIONS: f64 = 1.0;
/// Lengths of overlaps at which it is asked how likely they are found, and the least of what is found: below that, how much
/// is missing is not known.
const STEPS: u32 = 32;
const LEAST_FOUND: f64 = 0.1;
/// How often the usual fraction is recomputed from the overlaps that it selects.
const ROUNDS: usize = 5;

/// The properties of overlaps in this sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// Fraction of the k-mers of one read shared by the other, where they overlap: `(1 - e)^(2k)` for an error rate
    /// `e`.
    pub usual_share: f64,
}

impl Rule {
    /// Derived from the matches of a sample; `None` if none could be an overlap.
    pub fn new(matches: &[Match], lengths: &[u32]) -> Option<Self> {
        // Where a match begins and ends is first judged by its own fraction, since the usual one is not known yet.
        let is_candidate =
            |m: &&Match| is_dovetail(m, lengths, f64::from(m.num_shared) / f64::from(m.num_in_core.max(1)));
        let mut found: Vec<(u32, f64)> = matches
            .par_iter()
            .filter(is_candidate)
            .map(|m| (overlap_bp(m, lengths), f64::from(m.num_shared) / f64::from(m.num_expected.max(1))))
            .collect();
        let by_length = |a: &(u32, f64), b: &(u32, f64)| a.0.cmp(&b.0);
        let middle = found.len() / 2;
        let (_, median, _) = (!found.is_empty()).then(|| found.select_nth_unstable_by(middle, by_length))?;
        let long = median.0;
        let mut shares: Vec<f64> =
            found.iter().filter(|(length, _)| *length >= long).map(|(_, share)| *share).collect();
        shares.sort_unstable_by(f64::total_cmp);
        // The median of those that are like overlaps. With sister species half of all matches can be between the two,
        // which are of another kind: hence not the median of all, but what it converges to from the upper quartile.
        let mut usual_share = shares[shares.len() * 3 / 4];
        for _ in 0..ROUNDS {
            let like = &shares[shares.partition_point(|&share| share < MIN_RELATIVE * usual_share)..];
            usual_share = like[like.len() / 2];
        }
        Some(Self { usual_share })
    }

    /// Whether a match is an overlap.
    pub fn is_overlap(&self, m: &Match, lengths: &[u32]) -> bool {
        self.has_usual_share(m.num_shared, m.num_expected) && is_dovetail(m, lengths, self.usual_share)
    }

    /// Whether a match would be an overlap if it were more alike.
    pub fn is_akin(&self, m: &Match, lengths: &[u32]) -> bool {
        !self.has_usual_share(m.num_shared, m.num_expected) && is_dovetail(m, lengths, self.usual_share)
    }

    /// Whether the reads of a match differ by more than those of an overlap can by chance.
    pub fn is_unlike(&self, m: &Match) -> bool {
        let usual = self.usual_share * f64::from(m.num_expected);
        usual >= ENOUGH && f64::from(m.num_shared) < MIN_RELATIVE * usual - UNLIKE_DEVIATIONS * usual.sqrt()
    }

    /// Whether reads match as overlaps do, but only in the middle: both continue, and differently.
    pub fn parts(&self, m: &Match, lengths: &[u32]) -> bool {
        self.has_usual_share(m.num_shared, m.num_in_core) && !is_dovetail(m, lengths, self.usual_share)
    }

    /// How long an end of a match may be unmatched by chance, in bases.
    pub fn longest_end(&self, m: &Match, lengths: &[u32]) -> f64 {
        longest_end(m, lengths, self.usual_share)
    }

    /// The fraction of the bases of a read, covered by reads of its length that begin anywhere, that the overlaps found
    /// cover: of a short overlap too few shared k-mers are used, one in `every`.
    pub fn share_found(&self, length: u32, k: u32, every: u32) -> f32 {
        // Shared k-mers come in clumps, where a stretch has no error: variance over mean of their number.
        let intact = self.usual_share.powf(1.0 / f64::from(k));
        let clumped: f64 = (1..k).map(|apart| intact.powi(apart as i32) - self.usual_share).sum();
        let dispersion = 1.0 + 2.0 * clumped / f64::from(every);
        let (mut all, mut found) = (0.0, 0.0);
        for step in 0..STEPS {
            let share = (f64::from(step) + 0.5) / f64::from(STEPS);
            let usual = self.usual_share * share * f64::from(length) / f64::from(every);
            all += share;
            if share >= MIN_LENGTH_SHARE {
                found += share * at_least((least_shared(usual) / dispersion).ceil() as u32, usual / dispersion);
            }
        }
        (found / all).max(LEAST_FOUND) as f32
    }

    fn has_usual_share(&self, num_shared: u16, num_expected: u16) -> bool {
        f64::from(num_shared) >= least_shared(self.usual_share * f64::from(num_expected))
    }
}

/// How many k-mers an overlap must share that usually shares this many.
fn least_shared(usual: f64) -> f64 {
    let sister = SISTER_RELATIVE * usual;
    (MIN_RELATIVE * usual).max(sister + DEVIATIONS * sister.sqrt()).max(MIN_HITS as f64)
}

/// The probability that a number of Poisson's distribution with this mean is at least `least`.
fn at_least(least: u32, mean: f64) -> f64 {
    // Beyond, no term can be represented, and the distribution is narrow.
    if mean > 700.0 {
        return if f64::from(least) <= mean { 1.0 } else { 0.0 };
    }
    let mut term = (-mean).exp();
    let mut below = 0.0;
    for number in 0..least {
        below += term;
        term *= mean / f64::from(number + 1);
    }
    (1.0 - below).max(0.0)
}

/// Length of the overlap, on the read where it is shorter.
pub(super) fn overlap_bp(m: &Match, lengths: &[u32]) -> u32 {
    let length = |i| {
        let [start, end] = m.extent(i, lengths);
        end - start
    };
    length(0).min(length(1))
}

/// How long an unmatched end may be by chance.
fn longest_end(m: &Match, lengths: &[u32], share: f64) -> f64 {
    let length = f64::from(overlap_bp(m, lengths));
    (END_SHARE * length + END_DISTANCES * f64::from(m.every_bp) / share).min(length / 2.0)
}

fn is_dovetail(m: &Match, lengths: &[u32], share: f64) -> bool {
    let shorter = f64::from(lengths[m.reads[0] as usize].min(lengths[m.reads[1] as usize]));
    let most = longest_end(m, lengths, share);
    f64::from(overlap_bp(m, lengths)) >= MIN_LENGTH_SHARE * shorter
        && m.unmatched(lengths).iter().all(|&end| f64::from(end) <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Values by SciPy.
    #[test]
    fn the_upper_tail_of_poisson_is_right() {
        for (least, mean, expected) in [
            (0, 3.0, 1.0),
            (3, 2.0, 0.323_323_58),
            (12, 11.0, 0.420_733_1),
            (100, 119.0, 0.965_947),
            (800, 1_000.0, 1.0),
        ] {
            let found = at_least(least, mean);
            assert!((found - expected).abs() < 1e-3 * expected, "{least} {mean}: {found} instead of {expected}");
        }
    }

    #[test]
    fn more_kmers_find_more_and_without_errors_only_the_shortest_overlaps_are_missed() {
        let shares = [16, 4].map(|every| Rule { usual_share: 0.03 }.share_found(10_000, 14, every));
        assert!(LEAST_FOUND as f32 <= shares[0] && shares[0] < shares[1] && shares[1] < 1.0, "{shares:?}");
        // A tenth of the length is a hundredth of the bases.
        let found = Rule { usual_share: 1.0 }.share_found(10_000, 16, 16);
        assert!((found - 0.99).abs() < 0.005, "{found}");
    }
}
