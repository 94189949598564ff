//! Positive pairs of nodes: one node, seen twice, each time with other edges and features left out (Zhu et al., *Deep
//! graph contrastive representation learning*, GRACE, 2020).
//!
//! ```toml
//! [source.pairs]
//! drop_edges = [0.2, 0.4]
//! mask_features = [0.3, 0.4]
//! neighbors = "positives"
//! ```

use std::sync::Arc;

use invar_dataset::{
    Dataset as _, DatasetError, Pair, PairSource, SampleId, SampleName, View, ViewShape,
    neighborhood::{GraphView, Look, NeighborRole, check_left_out, seed_of_view},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error, GraphDataset,
    surroundings::{Glance, shape},
};

/// How pairs are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GraphPairsConfig {
    /// The fraction of the edges that are left out of the first and of the second view, in `[0, 0.95]`.
    pub drop_edges: [f64; 2],
    /// The fraction of the features that are 0 in all nodes of the first and of the second view, in `[0, 0.95]`.
    pub mask_features: [f64; 2],
    /// What the neighbours of a node are to it, where they are in the same batch.
    pub neighbors: NeighborRole,
    /// How much a neighbour counts beside the node itself, if neighbours are positives.
    pub neighbor_weight: f32,
}

impl Default for GraphPairsConfig {
    fn default() -> Self {
        Self {
            drop_edges: [0.2, 0.4],
            mask_features: [0.3, 0.4],
            neighbors: NeighborRole::Negatives,
            neighbor_weight: 1.0,
        }
    }
}

/// Draws pairs from a graph.
pub struct GraphPairs {
    graph: Arc<GraphDataset>,
    config: GraphPairsConfig,
    view: GraphView,
}

impl GraphPairs {
    /// Prepares to draw.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn new(graph: Arc<GraphDataset>, config: &GraphPairsConfig, view: &GraphView) -> Result<Self, Error> {
        view.check().map_err(Error::out_of_range("view"))?;
        for (key, fractions) in [("drop_edges", config.drop_edges), ("mask_features", config.mask_features)] {
            for fraction in fractions {
                check_left_out(key, fraction).map_err(Error::out_of_range("pairs"))?;
            }
        }
        if !(config.neighbor_weight.is_finite() && config.neighbor_weight > 0.0) {
            return Err(Error::config("pairs.neighbor_weight", "a number above 0", config.neighbor_weight));
        }
        Ok(Self { graph, config: config.clone(), view: view.clone() })
    }

    /// The pair that [`PairSource::pair`] returns for `(index, seed)`, as text.
    ///
    /// # Errors
    /// As `pair`.
    pub fn describe(&self, index: usize, seed: u64) -> Result<String, DatasetError> {
        let pair = self.pair(index, seed)?;
        let mut text = format!("node {:?}, with {} edges:", self.graph.id(index), self.graph.neighbors(index).len());
        for view in pair.views() {
            if let View::Node(around) = view {
                text += &format!(" a view of {} nodes and {} edges,", around.nodes.len(), around.edge_index.len());
            }
        }
        text += &format!(" {}\n", self.config.neighbors.in_words(pair.related.len()));
        Ok(text)
    }

    fn glance(&self, pair_seed: u64, view: usize) -> Glance {
        let look = Look {
            hops: self.view.hops,
            fanout: self.view.fanout,
            seed: seed_of_view(pair_seed, view),
            drop_edges: self.config.drop_edges[view],
        };
        Glance { look, mask_features: self.config.mask_features[view] }
    }
}

impl PairSource for GraphPairs {
    fn len(&self) -> usize {
        self.graph.len()
    }

    fn view_shapes(&self) -> Vec<ViewShape> {
        vec![shape(&self.view, &self.graph)]
    }

    fn pair(&self, index: usize, seed: u64) -> Result<Pair, DatasetError> {
        let views = [0, 1].map(|view| View::Node(self.glance(seed, view).at(&self.graph, index)));
        let (role, weight) = (self.config.neighbors, self.config.neighbor_weight);
        let related = role.related(&*self.graph, index, weight, seed, |node| self.graph.sample_id(node));
        Ok(Pair { related, ..Pair::of(self.graph.sample_id(index), views) })
    }

    /// The node alone: what is held out is seen in training as a neighbour of others, as it is when it is embedded.
    fn split_key(&self, index: usize) -> SampleId {
        self.graph.sample_id(index)
    }

    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        Ok(self.graph.sample_name(index))
    }
}

#[cfg(test)]
mod tests;
