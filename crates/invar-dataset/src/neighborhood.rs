//! What surrounds a node of a graph that is too large to be shown whole: the nodes from which information can reach it
//! over a few edges, at each node over a bounded number of neighbours.
//!
//! Everything drawn is a function of a seed and the node alone, not of where a walk came from: views that are drawn under
//! one seed agree in what they share, which a batch then holds once.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{NodeFeatures, Related, SampleId, Surroundings, order::Permutation, seed::mix};

/// A graph, by the neighbours of its nodes.
pub trait Neighborhoods {
    /// The neighbours of node `node`.
    ///
    /// # Panics
    /// If there is no such node.
    fn neighborhood(&self, node: usize) -> Neighborhood<'_>;
}

/// The neighbours of a node, each once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighborhood<'a> {
    /// What is added to each of `others`: the number of the first node of its part of the graph.
    pub first: usize,
    /// The neighbours.
    pub others: &'a [u32],
    /// How much each counts, more than 0; as many as `others`.
    pub weights: &'a [f32],
    /// What the weights are multiplied by where they count beside the node itself.
    pub scale: f32,
}

/// How much of a graph is shown of a node (`[source.view]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GraphView {
    /// From how many edges away information can reach the node: at least the encoder's `depth`.
    pub hops: usize,
    /// Most neighbours of each node in the views of training, drawn evenly anew for every batch.
    pub fanout: usize,
}

impl Default for GraphView {
    fn default() -> Self {
        Self { hops: 2, fanout: 10 }
    }
}

/// A setting that is out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: expected {expected}, found {found}")]
pub struct OutOfRange {
    /// The setting, without the table that it is in.
    pub key: &'static str,
    /// What it may be.
    pub expected: &'static str,
    /// What it is.
    pub found: String,
}

impl OutOfRange {
    fn unless(is_in: bool, key: &'static str, expected: &'static str, found: impl ToString) -> Result<(), Self> {
        if is_in { Ok(()) } else { Err(Self { key, expected, found: found.to_string() }) }
    }
}

impl GraphView {
    /// Checks the settings.
    ///
    /// # Errors
    /// Names the first that is out of range.
    pub fn check(&self) -> Result<(), OutOfRange> {
        OutOfRange::unless((1..=16).contains(&self.hops), "hops", "1 to 16", self.hops)?;
        check_fanout(self.fanout)
    }
}

/// Rejects a number of neighbours out of range.
///
/// # Errors
/// If it is.
pub fn check_fanout(fanout: usize) -> Result<(), OutOfRange> {
    OutOfRange::unless((1..=1 << 20).contains(&fanout), "fanout", "1 to 1048576", fanout)
}

/// Rejects a fraction to leave out of which too little would remain.
///
/// # Errors
/// If it is not in `[0, 0.95]`.
pub fn check_left_out(key: &'static str, fraction: f64) -> Result<(), OutOfRange> {
    OutOfRange::unless((0.0..=0.95).contains(&fraction), key, "fractions from 0 to 0.95", fraction)
}

/// How a node is looked at. What is seen is a function of these and of the graph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Over how many edges.
    pub hops: usize,
    /// Most neighbours of each node.
    pub fanout: usize,
    /// Decides which neighbours and edges.
    pub seed: u64,
    /// The fraction of the edges that are left out, each in both directions.
    pub drop_edges: f64,
}

/// Nodes and edges that are seen of a graph, the node that was looked at first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Numbers of the nodes in the graph.
    pub nodes: Vec<usize>,
    /// `(source, target)`, places in `nodes`.
    pub edge_index: Vec<(u32, u32)>,
    /// The weight of each edge beside the target, which has 1.
    pub edge_weight: Vec<f32>,
}

impl Seen {
    /// The view, of the identities and the features of its nodes.
    pub fn surroundings(self, nodes: Vec<u64>, features: NodeFeatures, num_features: usize) -> Surroundings {
        Surroundings { nodes, features, num_features, edge_index: self.edge_index, edge_weight: self.edge_weight }
    }
}

/// Parts of a look's seed.
const NEIGHBORS: u64 = 1;
const EDGES: u64 = 2;

impl Look {
    /// What is seen from node `index`.
    pub fn at(&self, graph: &impl Neighborhoods, index: usize) -> Seen {
        self.walk(graph, index, HashMap::from([(index, 0)]))
    }

    /// The same for something that has the edges of node `index` but is not that node (a part of it): where the node itself
    /// is seen, as a neighbour of its neighbours, it is another one.
    pub fn at_part_of(&self, graph: &impl Neighborhoods, index: usize) -> Seen {
        self.walk(graph, index, HashMap::new())
    }

    fn walk(&self, graph: &impl Neighborhoods, index: usize, mut numbers: HashMap<usize, u32>) -> Seen {
        let mut nodes = vec![index];
        let (mut edge_index, mut edge_weight) = (vec![], vec![]);
        let mut done = 0;
        for _ in 0..self.hops {
            // The nodes that were found over the last edges.
            let found = nodes.len();
            for target in done..found {
                self.neighbors(graph, nodes[target], &mut |other, weight| {
                    let source = *numbers.entry(other).or_insert_with(|| {
                        nodes.push(other);
                        nodes.len() as u32 - 1
                    });
                    edge_index.push((source, target as u32));
                    edge_weight.push(weight);
                });
            }
            done = found;
        }
        Seen { nodes, edge_index, edge_weight }
    }

    /// Gives the neighbours of node `index` that are seen, at most `fanout`, and how much each counts beside it.
    pub fn neighbors(&self, graph: &impl Neighborhoods, index: usize, give: &mut dyn FnMut(usize, f32)) {
        let own = graph.neighborhood(index);
        let num = own.others.len();
        let mut given = 0;
        let mut offer = |at: usize| {
            let other = own.first + own.others[at] as usize;
            if given < self.fanout && !self.is_dropped(index, other) {
                given += 1;
                give(other, own.weights[at] * own.scale);
            }
            given < self.fanout
        };
        if num <= self.fanout {
            (0..num).all(&mut offer);
        } else {
            let order = Permutation::new(num as u64, mix(mix(self.seed, NEIGHBORS), index as u64));
            (0..num as u64).map(|place| order.get(place) as usize).all(&mut offer);
        }
    }

    fn is_dropped(&self, a: usize, b: usize) -> bool {
        let edge = || mix(mix(mix(self.seed, EDGES), a.min(b) as u64), a.max(b) as u64);
        self.drop_edges > 0.0 && unit(edge()) < self.drop_edges
    }
}

/// A number in `[0, 1)` of the upper 53 bits of a hash.
pub fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 * 2f64.powi(-53)
}

/// What the neighbours of a node are to it, where they are in the same batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeighborRole {
    /// Negatives like all others (Zhu et al., *Deep graph contrastive representation learning*, GRACE, 2020).
    #[default]
    Negatives,
    /// Neither positives nor negatives.
    Ignored,
    /// Positives too, for losses that take several: Shen et al., *Neighbor contrastive learning on learnable graph
    /// augmentation* (NCLA, 2023).
    Positives,
}

/// Most neighbours that a pair names: those of a hub are drawn.
pub const MOST_RELATED: usize = 256;
/// Part of a pair's seed.
const RELATED: u64 = 0x72_656c;

impl NeighborRole {
    /// What the neighbours of node `index` are to its pair: `weight` times what each counts, where they are positives. `id`
    /// names them.
    pub fn related(
        self,
        graph: &impl Neighborhoods,
        index: usize,
        weight: f32,
        pair_seed: u64,
        id: impl Fn(usize) -> SampleId,
    ) -> Vec<Related> {
        let weight = match self {
            Self::Negatives => return vec![],
            Self::Ignored => 0.0,
            Self::Positives => weight,
        };
        let own = graph.neighborhood(index);
        let related = |at: usize| Related {
            sample: id(own.first + own.others[at] as usize),
            weight: weight * own.weights[at] * own.scale,
        };
        let num = own.others.len();
        if num <= MOST_RELATED {
            return (0..num).map(related).collect();
        }
        let order = Permutation::new(num as u64, mix(mix(pair_seed, RELATED), index as u64));
        (0..MOST_RELATED as u64).map(|place| related(order.get(place) as usize)).collect()
    }

    /// In words, of `num` neighbours.
    pub fn in_words(self, num: usize) -> String {
        match self {
            Self::Negatives => "neighbours are negatives".into(),
            Self::Ignored => format!("{num} neighbours are ignored"),
            Self::Positives => format!("{num} neighbours are positives"),
        }
    }
}

/// The seed of view number `view` of all pairs drawn under `pair_seed`: what they share is seen alike.
pub fn seed_of_view(pair_seed: u64, view: usize) -> u64 {
    mix(pair_seed, view as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring of nodes 10 to 14, the other nodes of which come before.
    struct Ring;

    impl Neighborhoods for Ring {
        fn neighborhood(&self, node: usize) -> Neighborhood<'_> {
            const OTHERS: [[u32; 2]; 5] = [[1, 4], [0, 2], [1, 3], [2, 4], [0, 3]];
            Neighborhood { first: 10, others: &OTHERS[node - 10], weights: &[1.0, 3.0], scale: 0.5 }
        }
    }

    const LOOK: Look = Look { hops: 2, fanout: 8, seed: 1, drop_edges: 0.0 };

    #[test]
    fn a_node_sees_itself_once_and_a_part_of_it_the_whole_beside() {
        let seen = LOOK.at(&Ring, 10);
        assert_eq!(seen.nodes, [10, 11, 14, 12, 13]);
        assert_eq!(seen.edge_index, [(1, 0), (2, 0), (0, 1), (3, 1), (0, 2), (4, 2)]);
        assert_eq!(seen.edge_weight, [0.5, 1.5, 0.5, 1.5, 0.5, 1.5]);
        let seen = LOOK.at_part_of(&Ring, 10);
        assert_eq!(seen.nodes, [10, 11, 14, 10, 12, 13]);
        assert_eq!(seen.edge_index, [(1, 0), (2, 0), (3, 1), (4, 1), (3, 2), (5, 2)]);
        // What only the whole sees is not shown: it is at the rim.
        assert!(seen.edge_index.iter().all(|&(_, target)| target != 3));
    }

    #[test]
    fn neighbours_are_named_with_their_weights() {
        let id = |node| SampleId(node as u64);
        let related = |role: NeighborRole| role.related(&Ring, 12, 2.0, 7, id);
        assert_eq!(related(NeighborRole::Negatives), []);
        let of = |weights: [f32; 2]| {
            [(11, weights[0]), (13, weights[1])].map(|(node, weight)| Related { sample: SampleId(node), weight })
        };
        assert_eq!(related(NeighborRole::Ignored), of([0.0, 0.0]));
        assert_eq!(related(NeighborRole::Positives), of([1.0, 3.0]));
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let error = GraphView { hops: 0, fanout: 1 }.check().unwrap_err();
        assert_eq!(error.to_string(), "hops: expected 1 to 16, found 0");
        assert!(check_left_out("drop_edges", f64::NAN).is_err() && check_left_out("drop_edges", 0.95).is_ok());
    }
}
