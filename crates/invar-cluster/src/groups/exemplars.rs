//! Representative members of a group.

use invar_dataset::seed;

use crate::{Rows, gemm, rows, sample};

/// Maximum number of representatives of a group.
pub const EXEMPLARS: usize = 5;
/// Maximum number of members of a group to choose from.
const LOOKED_AT: usize = 512;
/// Names the random stream for selecting these.
const STREAM: u64 = 0x6578_656d;

/// The medoid first, the member with the smallest sum of squared distances to all others: the nearest to their mean.
/// Then, one by one, the member that most reduces the distances of the members far from those chosen (the first part of
/// PAM, Kaufman and Rousseeuw 1990, chapter 2), from a random part of a large group. `distances` are those to the mean,
/// one per row.
pub(super) fn exemplars(data: Rows<'_>, members: &[usize], distances: &[f32]) -> Vec<usize> {
    let nearest = |a: &&usize, b: &&usize| distances[**a].total_cmp(&distances[**b]).then(a.cmp(b));
    let Some(&medoid) = members.iter().min_by(nearest) else { return vec![] };
    let mut looked_at = vec![medoid];
    let drawn = sample::subset(&mut seed::rng(STREAM, medoid as u64), members.len(), LOOKED_AT);
    looked_at.extend(drawn.into_iter().map(|at| members[at]).filter(|&row| row != medoid));
    let n = looked_at.len();
    let values = data.gather(&looked_at);
    let norms: Vec<f32> = values.chunks(data.dim()).map(|row| rows::squared_norm(row) as f32).collect();
    let mut products = vec![0.0; n * n];
    gemm::products(&values, &values, data.dim(), &mut products);
    let squared = |a: usize, b: usize| (norms[a] + norms[b] - 2.0 * products[a * n + b]).max(0.0);
    // Differences between equal rows are rounding.
    let least = 1e-5 * norms.iter().copied().fold(0.0, f32::max);
    let mut far: Vec<f32> = (0..n).map(|member| squared(0, member)).collect();
    let mut chosen = vec![medoid];
    while chosen.len() < EXEMPLARS {
        let gain = |candidate: usize| -> f64 {
            (0..n).map(|member| f64::from((far[member] - squared(candidate, member)).max(0.0))).sum()
        };
        let best = (0..n).map(|candidate| (gain(candidate), candidate)).reduce(|a, b| if b.0 > a.0 { b } else { a });
        let Some((_, best)) = best.filter(|&(_, best)| far[best] > least) else { break };
        chosen.push(looked_at[best]);
        far.iter_mut().enumerate().for_each(|(member, far)| *far = far.min(squared(best, member)));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_medoid_and_then_what_it_does_not_stand_for() {
        // Three heaps on a line: of four at 0, of three at 10, of one at 30; the mean is at 7.6.
        let values = [0.0, 0.1, 0.2, 0.1, 10.0, 10.1, 10.2, 30.0];
        let data = Rows::new(&values, 1).unwrap();
        let mean = values.iter().sum::<f32>() / 8.0;
        let distances = values.map(|value| (value - mean).abs());
        let found = exemplars(data, &[0, 1, 2, 3, 4, 5, 6, 7], &distances);
        assert_eq!(found[0], 4);
        assert_eq!(found[1], 7, "{found:?}");
        assert!([0, 1, 2, 3].contains(&found[2]), "{found:?}");
        assert_eq!(exemplars(data, &[], &distances), [0usize; 0]);
    }

    #[test]
    fn equal_members_have_one() {
        let values = [0.6, 0.8].repeat(2_000);
        let members: Vec<usize> = (0..2_000).collect();
        assert_eq!(exemplars(Rows::new(&values, 2).unwrap(), &members, &[0.0; 2_000]), [0]);
    }
}
