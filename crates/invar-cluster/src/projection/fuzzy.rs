//! How strongly each row belongs to the neighbourhood of every other (McInnes, Healy and Melville 2018, section 3.1).

use rayon::prelude::*;

use crate::neighbors::Neighbors;

/// Number of bisections to find the scale.
const HALVINGS: usize = 64;
/// Tolerance for the sum of memberships.
const TOLERANCE: f32 = 1e-5;
/// Minimum scale, as a fraction of the mean distance: if all neighbours were equally far, the scale would be zero.
const LEAST_SCALE: f32 = 1e-3;

/// The memberships of the nearest rows in the neighbourhood of one row.
pub(super) struct Memberships {
    /// `exp(-(d - nearest) / scale)` for the distance `d` of each, with a scale such that they sum to the binary
    /// logarithm of their number: 1 for the nearest.
    pub weights: Vec<f32>,
}

impl Memberships {
    /// From the cosines, nearest first. Distances are those of unit-length rows, `sqrt(2 - 2 cos)`.
    pub fn of(cosines: &[f32]) -> Self {
        let distances: Vec<f32> = cosines.iter().map(|cosine| (2.0 - 2.0 * cosine).max(0.0).sqrt()).collect();
        // Copies of the row are not part of its neighbourhood.
        let nearest = distances.iter().copied().find(|&distance| distance > 0.0).unwrap_or(0.0);
        let target = (distances.len() as f32).log2();
        let at = |scale: f32| distances.iter().map(move |distance| membership(distance - nearest, scale));
        let (mut low, mut high, mut scale) = (0f32, f32::INFINITY, 1f32);
        for _ in 0..HALVINGS {
            let sum: f32 = at(scale).sum();
            if (sum - target).abs() < TOLERANCE {
                break;
            }
            if sum > target {
                high = scale;
            } else {
                low = scale;
            }
            scale = if high.is_infinite() { scale * 2.0 } else { (low + high) / 2.0 };
        }
        let mean = distances.iter().sum::<f32>() / distances.len().max(1) as f32;
        Self { weights: at(scale.max(LEAST_SCALE * mean)).collect() }
    }
}

fn membership(beyond: f32, scale: f32) -> f32 {
    if beyond > 0.0 { (-beyond / scale).exp() } else { 1.0 }
}

/// An undirected graph by node, in compressed rows: each edge is stored at both of its ends.
pub(super) struct FuzzyGraph {
    /// Where the edges of each node begin, and where those of the last end; `[n + 1]`.
    pub starts: Vec<usize>,
    /// Other end and weight of each edge, in `(0, 1]`.
    pub edges: Vec<(u32, f32)>,
}

impl FuzzyGraph {
    /// The fuzzy union of the neighbourhoods of the `k` nearest: `p + q - p q` for two rows that are in each other's
    /// neighbourhood by `p` and `q`.
    pub fn new(near: &Neighbors, k: usize) -> Self {
        let lists = near.indices.par_chunks(near.k).zip(near.values.par_chunks(near.k));
        let directed: Vec<Vec<(u32, f32)>> = lists
            .map(|(rows, cosines)| {
                let weights = Memberships::of(&cosines[..k]).weights;
                let mut list: Vec<(u32, f32)> = rows.iter().copied().zip(weights).filter(|edge| edge.1 > 0.0).collect();
                list.sort_unstable_by_key(|edge| edge.0);
                list
            })
            .collect();
        let mut back: Vec<Vec<(u32, f32)>> = vec![vec![]; directed.len()];
        // In the order of the nodes, so that each list is sorted.
        for (node, list) in directed.iter().enumerate() {
            list.iter().for_each(|&(other, weight)| back[other as usize].push((node as u32, weight)));
        }
        let merged: Vec<Vec<(u32, f32)>> = directed.par_iter().zip(&back).map(|(out, back)| union(out, back)).collect();
        let mut starts = Vec::with_capacity(merged.len() + 1);
        starts.push(0);
        starts.extend(merged.iter().scan(0, |end, list| {
            *end += list.len();
            Some(*end)
        }));
        Self { starts, edges: merged.concat() }
    }

    /// The edges of a node.
    pub fn of(&self, node: usize) -> &[(u32, f32)] {
        &self.edges[self.starts[node]..self.starts[node + 1]]
    }
}

/// The union of both lists, ascending by node; weights of a node that is in both are combined.
fn union(mut a: &[(u32, f32)], mut b: &[(u32, f32)]) -> Vec<(u32, f32)> {
    let mut union = Vec::with_capacity(a.len().max(b.len()) * 3 / 2);
    while let (Some(&(node_a, p)), Some(&(node_b, q))) = (a.first(), b.first()) {
        match node_a.cmp(&node_b) {
            std::cmp::Ordering::Less => (union.push((node_a, p)), a = &a[1..]).0,
            std::cmp::Ordering::Greater => (union.push((node_b, q)), b = &b[1..]).0,
            std::cmp::Ordering::Equal => {
                union.push((node_a, p + q - p * q));
                (a, b) = (&a[1..], &b[1..]);
            }
        }
    }
    union.extend_from_slice(a);
    union.extend_from_slice(b);
    union
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Unless many are as near as the nearest, or all are nearly equally far.
        #[test]
        fn memberships_add_up_to_the_logarithm(gaps in prop::collection::vec(0.01f32..0.05, 2..31)) {
            let cosines: Vec<f32> = gaps
                .iter()
                .scan(0.0, |angle, gap| {
                    *angle += gap;
                    Some(f32::cos(*angle))
                })
                .collect();
            let weights = Memberships::of(&cosines).weights;
            let sum: f32 = weights.iter().sum();
            prop_assert!((sum - (gaps.len() as f32).log2()).abs() < 1e-3, "{} {}", sum, gaps.len());
            prop_assert_eq!(weights[0], 1.0);
            prop_assert!(weights.is_sorted_by(|a, b| a >= b));
        }
    }

    #[test]
    fn copies_and_equal_distances_are_full_members() {
        assert_eq!(Memberships::of(&[1.0; 5]).weights, [1.0; 5]);
        assert_eq!(Memberships::of(&[0.5; 5]).weights, [1.0; 5]);
        assert_eq!(Memberships::of(&[0.5]).weights, [1.0]);
        assert!(Memberships::of(&[]).weights.is_empty());
    }

    #[test]
    fn a_union_by_hand() {
        // Two neighbours each: 0 has 1 and 2; 1 has 2 and 0; 2 has 1 and 0. The nearer has weight 1, the other what is
        // missing to log2 2 = 1: nothing, up to the tolerance.
        let near = Neighbors {
            k: 2,
            indices: vec![1, 2, 2, 0, 1, 0],
            values: vec![0.9, 0.1, 0.9, 0.2, 0.9, 0.1],
            recall: 1.0,
        };
        let graph = FuzzyGraph::new(&near, 2);
        assert_eq!(graph.starts, [0, 2, 4, 6]);
        let others: Vec<Vec<u32>> = (0..3).map(|node| graph.of(node).iter().map(|edge| edge.0).collect()).collect();
        assert_eq!(others, [vec![1, 2], vec![0, 2], vec![0, 1]]);
        assert_eq!(union(&[(1, 0.5), (4, 1.0)], &[(1, 0.5), (2, 0.25)]), [(1, 0.75), (2, 0.25), (4, 1.0)]);
        assert!((graph.of(1)[1].1 - 1.0).abs() < 1e-6);
    }
}
