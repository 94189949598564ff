//! The views of nodes as they are embedded: all of their edges and features, up to a number of neighbours.

use std::sync::Arc;

use invar_dataset::{
    Dataset as _, DatasetError, View, ViewShape, ViewSource,
    neighborhood::{GraphView, Look, check_fanout},
    seed::mix,
};
use serde::{Deserialize, Serialize};

use crate::{
    Error, GraphDataset,
    surroundings::{Glance, shape},
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
        view.check().map_err(Error::out_of_range("view"))?;
        check_fanout(config.fanout).map_err(Error::out_of_range("embed"))?;
        Ok(Self { graph, view: view.clone(), config: config.clone() })
    }

    fn glance(&self, seed: u64, fanout: usize, drop_edges: f64) -> Glance {
        let look = Look { hops: self.view.hops, fanout, seed: mix(EMBED_SEED, seed), drop_edges };
        Glance { look, mask_features: 0.0 }
    }
}

impl ViewSource for GraphViews {
    fn len(&self) -> usize {
        self.graph.len()
    }

    fn view_shape(&self) -> ViewShape {
        shape(&self.view, &self.graph)
    }

    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
        Ok(vec![View::Node(self.glance(0, self.config.fanout, 0.0).at(&self.graph, index))])
    }

    fn symmetries(&self) -> Vec<String> {
        vec!["other neighbours drawn, as many as in training".into(), "a tenth of the edges left out".into()]
    }

    fn transformed(&self, index: usize, symmetry: usize) -> Result<Vec<View>, DatasetError> {
        let glance = match symmetry {
            0 => self.glance(1, self.view.fanout, 0.0),
            1 => self.glance(2, self.config.fanout, 0.1),
            _ => panic!("symmetry {symmetry} of 2"),
        };
        Ok(vec![View::Node(glance.at(&self.graph, index))])
    }
}
