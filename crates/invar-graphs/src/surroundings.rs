//! What surrounds a node, as an encoder sees it.

use invar_dataset::{
    NodeFeatures, Surroundings, ViewShape,
    neighborhood::{GraphView, Look, unit},
    seed::mix,
};

use crate::{GraphDataset, shard::Row};

/// How a node is looked at, and which of its features are seen. Everything is a function of these and of the graph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Glance {
    /// Which nodes and edges; its seed decides on the features too.
    pub look: Look,
    /// The fraction of the features that are 0 in all nodes.
    pub mask_features: f64,
}

/// The shape of the views of a graph.
pub(crate) fn shape(view: &GraphView, graph: &GraphDataset) -> ViewShape {
    ViewShape::Node { num_features: graph.num_features(), hops: view.hops }
}

/// Part of a look's seed, beside those of `invar_dataset::neighborhood`.
const FEATURES: u64 = 3;

impl Glance {
    /// The surroundings of node `index`.
    pub fn at(&self, graph: &GraphDataset, index: usize) -> Surroundings {
        let seen = self.look.at(graph, index);
        let features = self.features(graph, &seen.nodes);
        let nodes = seen.nodes.iter().map(|&node| mix(self.look.seed, node as u64)).collect();
        seen.surroundings(nodes, features, graph.num_features())
    }

    fn features(&self, graph: &GraphDataset, nodes: &[usize]) -> NodeFeatures {
        let base = mix(self.look.seed, FEATURES);
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

#[cfg(test)]
pub(crate) mod tests;
