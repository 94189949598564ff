//! The views of nodes as they are embedded: all of their edges and features, up to a number of neighbours.

use std::sync::Arc;

use invar_dataset::{Dataset as _, DatasetError, View, ViewShape, ViewSource, seed::mix};
use serde::{Deserialize, Serialize};

use crate::{
    Error, GraphDataset, GraphView,
    surroundings::{Look, check_fanout},
};

/// How nodes are embedded (`[source.embed]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbedConfig {
    /// Most neighbours of each node; of more, always the same are drawn.
    pub fanout: usize,
}

impl Default for EmbedConfig {
    fn default() -> Self {
        Self { fanout: 32 }
    }
}

/// The views of nodes for embedding.
pub struct GraphViews {
    graph: Arc<GraphDataset>,
    view: GraphView,
    config: EmbedConfig,
}

/// Decides which neighbours are seen of a node with more than there may be.
const EMBED_SEED: u64 = 0x656d_6265;

impl GraphViews {
    /// The views of the nodes of a graph.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn new(graph: Arc<GraphDataset>, view: &GraphView, config: &EmbedConfig) -> Result<Self, Error> {
        view.validate()?;
        check_fanout("embed.fanout", config.fanout)?;
        Ok(Self { graph, view: view.clone(), config: config.clone() })
    }

    fn look(&self, seed: u64, fanout: usize, drop_edges: f64) -> Look {
        Look { hops: self.view.hops, fanout, seed: mix(EMBED_SEED, seed), drop_edges, mask_features: 0.0 }
    }
}

impl ViewSource for GraphViews {
    fn len(&self) -> usize {
        self.graph.len()
    }

    fn view_shape(&self) -> ViewShape {
        self.view.shape(&self.graph)
    }

    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
        Ok(vec![View::Node(self.look(0, self.config.fanout, 0.0).at(&self.graph, index))])
    }

    fn symmetries(&self) -> Vec<String> {
        vec!["other neighbours drawn, as many as in training".into(), "a tenth of the edges left out".into()]
    }

    fn transformed(&self, index: usize, symmetry: usize) -> Result<Vec<View>, DatasetError> {
        let look = match symmetry {
            0 => self.look(1, self.view.fanout, 0.0),
            1 => self.look(2, self.config.fanout, 0.1),
            _ => panic!("symmetry {symmetry} of 2"),
        };
        Ok(vec![View::Node(look.at(&self.graph, index))])
    }
}
