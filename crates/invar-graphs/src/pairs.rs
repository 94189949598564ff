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
    Dataset as _, DatasetError, Pair, PairSource, Related, SampleId, SampleName, View, ViewShape, order::Permutation,
    seed::mix,
};
use serde::{Deserialize, Serialize};

use crate::{
    Error, GraphDataset, GraphView,
    surroundings::{Look, seed_of_view},
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

/// What the neighbours of a node are to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeighborRole {
    /// Negatives like all others (GRACE).
    #[default]
    Negatives,
    /// Neither positives nor negatives.
    Ignored,
    /// Positives too, for losses that take several: Shen et al., *Neighbor contrastive learning on learnable graph
    /// augmentation* (NCLA, 2023).
    Positives,
}

/// Most neighbours that a pair names: those of a hub are drawn.
const MOST_RELATED: usize = 256;
/// Part of a pair's seed.
const RELATED: u64 = 0x72_656c;

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
        view.validate()?;
        for (key, fractions) in [("pairs.drop_edges", config.drop_edges), ("pairs.mask_features", config.mask_features)]
        {
            if let Some(fraction) = fractions.into_iter().find(|fraction| !(0.0..=0.95).contains(fraction)) {
                return Err(Error::config(key, "fractions from 0 to 0.95", fraction));
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
        match self.config.neighbors {
            NeighborRole::Negatives => text += " neighbours are negatives\n",
            NeighborRole::Ignored => text += &format!(" {} neighbours are ignored\n", pair.related.len()),
            NeighborRole::Positives => text += &format!(" {} neighbours are positives\n", pair.related.len()),
        }
        Ok(text)
    }

    fn look(&self, pair_seed: u64, view: usize) -> Look {
        Look {
            hops: self.view.hops,
            fanout: self.view.fanout,
            seed: seed_of_view(pair_seed, view),
            drop_edges: self.config.drop_edges[view],
            mask_features: self.config.mask_features[view],
        }
    }

    fn related(&self, index: usize, seed: u64) -> Vec<Related> {
        let weight = match self.config.neighbors {
            NeighborRole::Negatives => return vec![],
            NeighborRole::Ignored => 0.0,
            NeighborRole::Positives => self.config.neighbor_weight,
        };
        let (stored, node) = self.graph.place(index);
        let (neighbors, weights) = stored.shard.neighbors(node);
        let scale = stored.shard.scale(node);
        let related = |at: usize| Related {
            sample: self.graph.sample_id(stored.first + neighbors[at] as usize),
            weight: weight * weights[at] * scale,
        };
        if neighbors.len() <= MOST_RELATED {
            return (0..neighbors.len()).map(related).collect();
        }
        let order = Permutation::new(neighbors.len() as u64, mix(mix(seed, RELATED), index as u64));
        (0..MOST_RELATED as u64).map(|place| related(order.get(place) as usize)).collect()
    }
}

impl PairSource for GraphPairs {
    fn len(&self) -> usize {
        self.graph.len()
    }

    fn view_shapes(&self) -> Vec<ViewShape> {
        vec![self.view.shape(&self.graph)]
    }

    fn pair(&self, index: usize, seed: u64) -> Result<Pair, DatasetError> {
        let views = [0, 1].map(|view| View::Node(self.look(seed, view).at(&self.graph, index)));
        Ok(Pair { related: self.related(index, seed), ..Pair::of(self.graph.sample_id(index), views) })
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
