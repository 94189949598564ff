//! The neighbours of each node.

/// Each node's neighbours in both directions, without repetitions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Adjacency {
    /// Where the list of each node begins, and where the last one ends.
    pub starts: Vec<u64>,
    /// The neighbours of all nodes, ascending in each list.
    pub neighbors: Vec<u32>,
    /// The weight of each edge, as it came.
    pub weights: Vec<f32>,
    /// Edges that were there already, and were left out.
    pub num_repeated: u64,
}

impl Adjacency {
    /// Of edges between different nodes, taken in both directions. Of an edge that is there more often, in whichever
    /// direction, the largest weight counts.
    pub fn of(num_nodes: usize, edges: &[(u32, u32, f32)]) -> Self {
        let mut starts = vec![0u64; num_nodes + 1];
        for &(a, b, _) in edges {
            starts[a as usize + 1] += 1;
            starts[b as usize + 1] += 1;
        }
        for node in 0..num_nodes {
            starts[node + 1] += starts[node];
        }
        let mut next = starts.clone();
        let mut lists = vec![(0u32, 0f32); 2 * edges.len()];
        for &(a, b, weight) in edges {
            for (node, other) in [(a, b), (b, a)] {
                lists[next[node as usize] as usize] = (other, weight);
                next[node as usize] += 1;
            }
        }
        drop(next);
        let mut kept = Self { starts: vec![0], neighbors: vec![], weights: vec![], num_repeated: 0 };
        for node in 0..num_nodes {
            let list = &mut lists[starts[node] as usize..starts[node + 1] as usize];
            // The largest weight first among equals.
            list.sort_unstable_by(|x, y| x.0.cmp(&y.0).then(y.1.total_cmp(&x.1)));
            for (at, &(other, weight)) in list.iter().enumerate() {
                if at == 0 || list[at - 1].0 != other {
                    kept.neighbors.push(other);
                    kept.weights.push(weight);
                }
            }
            kept.starts.push(kept.neighbors.len() as u64);
        }
        kept.num_repeated = edges.len() as u64 - kept.neighbors.len() as u64 / 2;
        kept
    }

    /// What the weights of each node's edges are multiplied by so that they are 1 on average; 0 for a node without.
    pub fn scales(&self) -> Vec<f32> {
        let scale = |two: &[u64]| {
            let weights = &self.weights[two[0] as usize..two[1] as usize];
            let sum: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            if sum > 0.0 { (weights.len() as f64 / sum) as f32 } else { 0.0 }
        };
        self.starts.windows(2).map(scale).collect()
    }

    /// The connected part that each node is in: 0 is the largest, and of two of one size the one whose first node comes
    /// first has the lower number.
    pub fn components(&self) -> Vec<u32> {
        const UNSEEN: u32 = u32::MAX;
        let num_nodes = self.starts.len() - 1;
        let mut parts = vec![UNSEEN; num_nodes];
        let mut sizes: Vec<u64> = vec![];
        let mut open = vec![];
        for first in 0..num_nodes {
            if parts[first] != UNSEEN {
                continue;
            }
            let part = sizes.len() as u32;
            sizes.push(0);
            parts[first] = part;
            open.push(first as u32);
            while let Some(node) = open.pop() {
                sizes[part as usize] += 1;
                let node = node as usize;
                for &other in &self.neighbors[self.starts[node] as usize..self.starts[node + 1] as usize] {
                    if parts[other as usize] == UNSEEN {
                        parts[other as usize] = part;
                        open.push(other);
                    }
                }
            }
        }
        let mut by_size: Vec<u32> = (0..sizes.len() as u32).collect();
        by_size.sort_by_key(|&part| std::cmp::Reverse(sizes[part as usize]));
        let mut numbers = vec![0; sizes.len()];
        by_size.iter().zip(0..).for_each(|(&part, number)| numbers[part as usize] = number);
        parts.iter_mut().for_each(|part| *part = numbers[*part as usize]);
        parts
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lists_are_those_of_a_map(edges in prop::collection::vec((0u32..12, 0u32..12, 1u8..9), 0..60)) {
            let edges: Vec<(u32, u32, f32)> =
                edges.into_iter().filter(|(a, b, _)| a != b).map(|(a, b, w)| (a, b, f32::from(w))).collect();
            let mut maps = vec![BTreeMap::<u32, f32>::new(); 12];
            for &(a, b, weight) in &edges {
                for (node, other) in [(a, b), (b, a)] {
                    let kept = maps[node as usize].entry(other).or_insert(weight);
                    *kept = kept.max(weight);
                }
            }
            let found = Adjacency::of(12, &edges);
            for (node, map) in maps.iter().enumerate() {
                let own = found.starts[node] as usize..found.starts[node + 1] as usize;
                prop_assert!(found.neighbors[own.clone()].iter().eq(map.keys()));
                prop_assert!(found.weights[own.clone()].iter().eq(map.values()));
                let scale = found.scales()[node];
                let mean = map.values().sum::<f32>() * scale / map.len().max(1) as f32;
                prop_assert!((mean - f32::from(u8::from(!map.is_empty()))).abs() < 1e-5);
            }
            let distinct: BTreeSet<_> = edges.iter().map(|&(a, b, _)| (a.min(b), a.max(b))).collect();
            prop_assert_eq!(found.num_repeated as usize, edges.len() - distinct.len());
            // Two joined nodes are in one part, and parts are numbered by size.
            let parts = found.components();
            prop_assert!(edges.iter().all(|&(a, b, _)| parts[a as usize] == parts[b as usize]));
            let size = |part: u32| parts.iter().filter(|&&other| other == part).count();
            let num = parts.iter().max().unwrap() + 1;
            prop_assert!((1..num).all(|part| size(part) > 0 && size(part) <= size(part - 1)));
        }
    }

    #[test]
    fn parts_of_paths_and_points() {
        let found = Adjacency::of(6, &[(4, 5, 1.0), (5, 1, 1.0), (0, 2, 1.0)]);
        assert_eq!(found.components(), [1, 0, 1, 2, 0, 0]);
    }
}
