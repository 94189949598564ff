//! What surrounds a node, as an encoder sees it.

use std::collections::HashMap;

use invar_dataset::{NodeFeatures, Surroundings, ViewShape, order::Permutation, seed::mix};
use serde::{Deserialize, Serialize};

use crate::{Error, GraphDataset, shard::Row};

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

impl GraphView {
    /// The shape of the views of a graph.
    pub(crate) fn shape(&self, graph: &GraphDataset) -> ViewShape {
        ViewShape::Node { num_features: graph.num_features(), hops: self.hops }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// Names the first that is out of range.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if !(1..=16).contains(&self.hops) {
            return Err(Error::config("view.hops", "1 to 16", self.hops));
        }
        check_fanout("view.fanout", self.fanout)
    }
}

/// Rejects a number of neighbours out of range.
pub(crate) fn check_fanout(key: &str, fanout: usize) -> Result<(), Error> {
    if (1..=1 << 20).contains(&fanout) { Ok(()) } else { Err(Error::config(key, "1 to 1048576", fanout)) }
}

/// How a node is looked at. Everything is a function of these and of the graph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Look {
    pub hops: usize,
    /// Most neighbours of each node.
    pub fanout: usize,
    /// Decides which neighbours, edges and features.
    pub seed: u64,
    /// The fraction of the edges that are left out, each in both directions.
    pub drop_edges: f64,
    /// The fraction of the features that are 0 in all nodes.
    pub mask_features: f64,
}

/// Parts of a look's seed.
const NEIGHBORS: u64 = 1;
const EDGES: u64 = 2;
const FEATURES: u64 = 3;

impl Look {
    /// The surroundings of node `index`.
    pub fn at(&self, graph: &GraphDataset, index: usize) -> Surroundings {
        let mut nodes = vec![index];
        let mut numbers: HashMap<usize, u32> = HashMap::from([(index, 0)]);
        let (mut edge_index, mut edge_weight) = (vec![], vec![]);
        let mut done = 0;
        for _ in 0..self.hops {
            // The nodes that were found over the last edges.
            let found = nodes.len();
            for target in done..found {
                let (stored, node) = graph.place(nodes[target]);
                let scale = stored.shard.scale(node);
                self.neighbors(graph, nodes[target], &mut |other, weight| {
                    let source = *numbers.entry(other).or_insert_with(|| {
                        nodes.push(other);
                        nodes.len() as u32 - 1
                    });
                    edge_index.push((source, target as u32));
                    edge_weight.push(weight * scale);
                });
            }
            done = found;
        }
        Surroundings {
            features: self.features(graph, &nodes),
            nodes: nodes.iter().map(|&node| mix(self.seed, node as u64)).collect(),
            num_features: graph.num_features(),
            edge_index,
            edge_weight,
        }
    }

    /// Gives the neighbours of node `index` that are seen, at most `fanout`, and the weights of the edges.
    pub fn neighbors(&self, graph: &GraphDataset, index: usize, give: &mut dyn FnMut(usize, f32)) {
        let (stored, node) = graph.place(index);
        let (neighbors, weights) = stored.shard.neighbors(node);
        let mut given = 0;
        let mut offer = |at: usize| {
            let other = stored.first + neighbors[at] as usize;
            if given < self.fanout && !self.is_dropped(index, other) {
                given += 1;
                give(other, weights[at]);
            }
            given < self.fanout
        };
        if neighbors.len() <= self.fanout {
            (0..neighbors.len()).all(&mut offer);
        } else {
            let order = Permutation::new(neighbors.len() as u64, mix(mix(self.seed, NEIGHBORS), index as u64));
            (0..neighbors.len() as u64).map(|place| order.get(place) as usize).all(&mut offer);
        }
    }

    fn is_dropped(&self, a: usize, b: usize) -> bool {
        let edge = || mix(mix(mix(self.seed, EDGES), a.min(b) as u64), a.max(b) as u64);
        self.drop_edges > 0.0 && unit(edge()) < self.drop_edges
    }

    fn features(&self, graph: &GraphDataset, nodes: &[usize]) -> NodeFeatures {
        let base = mix(self.seed, FEATURES);
        let is_masked =
            |feature: u32| self.mask_features > 0.0 && unit(mix(base, u64::from(feature))) < self.mask_features;
        let masked: Vec<bool> = match nodes.first().map(|&node| graph.place(node)) {
            Some((stored, _)) if !stored.shard.metadata().is_sparse => {
                (0..graph.num_features() as u32).map(is_masked).collect()
            }
            _ => vec![],
        };
        let (mut dense, mut ends, mut columns, mut values) = (vec![], vec![], vec![], vec![]);
        for &node in nodes {
            let (stored, node) = graph.place(node);
            match stored.shard.features(node) {
                Row::Dense(row) => {
                    dense.extend(
                        row.iter().zip(&masked).map(|(&value, &is_masked)| if is_masked { 0.0 } else { value }),
                    );
                }
                Row::Sparse(features, of_features) => {
                    for (&feature, &value) in
                        features.iter().zip(of_features).filter(|(feature, _)| !is_masked(**feature))
                    {
                        columns.push(feature);
                        values.push(value);
                    }
                    ends.push(values.len() as u32);
                }
            }
        }
        if masked.is_empty() { NodeFeatures::Sparse { ends, columns, values } } else { NodeFeatures::Dense(dense) }
    }
}

/// A number in `[0, 1)` of the upper 53 bits of a hash.
fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 * 2f64.powi(-53)
}

/// The seed of view number `view` of all pairs drawn under `pair_seed`: what they share is seen alike.
pub(crate) fn seed_of_view(pair_seed: u64, view: usize) -> u64 {
    mix(pair_seed, view as u64)
}

#[cfg(test)]
pub(crate) mod tests;
