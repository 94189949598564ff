/// The input of an encoder, on the host: a closed set of four shapes.
///
/// New domains are frequent and new shapes rare, so this is an enum, and the compiler lists what to change.
#[derive(Clone, Debug, PartialEq)]
pub enum View {
    /// A dense array, row-major: a k-mer profile `[F]`, an image `[C, H, W]`.
    Dense {
        /// Size of each dimension; their product is `data.len()`.
        shape: Vec<usize>,
        /// Values, row-major.
        data: Vec<f32>,
    },
    /// A sequence of token ids, of any length: bases, residues, words.
    Tokens {
        /// Token ids, `0 <= id < vocabulary`.
        ids: Vec<i32>,
        /// For a masked-token loss: the true token at each position, or -1 where there is no target.
        targets: Option<Vec<i32>>,
    },
    /// A graph: node features and directed edges.
    Graph {
        /// Node features `[num_nodes, num_features]`, row-major.
        x: Vec<f32>,
        /// Number of features per node.
        num_features: usize,
        /// `(source, target)` node indices, 0-based.
        edge_index: Vec<(u32, u32)>,
        /// One weight per edge.
        edge_weight: Option<Vec<f32>>,
    },
    /// A node of a graph that is too large to be shown whole, with what surrounds it.
    Node(Surroundings),
}

/// A node, which is number 0, and the nodes around it from which information can reach it.
///
/// Views that are collated together hold a node of one identity once. So nodes of one identity have the same features,
/// and in every view either no edge leads to them (they are at its rim) or the same edges do.
#[derive(Clone, Debug, PartialEq)]
pub struct Surroundings {
    /// Identity of each node, in this and in other views.
    pub nodes: Vec<u64>,
    /// Features of the nodes.
    pub features: NodeFeatures,
    /// Number of features per node.
    pub num_features: usize,
    /// `(source, target)` node indices, 0-based.
    pub edge_index: Vec<(u32, u32)>,
    /// One weight per edge, more than 0.
    pub edge_weight: Vec<f32>,
}

/// Features of some nodes, `[num_nodes, num_features]`.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeFeatures {
    /// All values, row-major.
    Dense(Vec<f32>),
    /// The values other than 0, one node after the other.
    Sparse {
        /// Where the values of each node end.
        ends: Vec<u32>,
        /// The feature of each value, 0-based.
        columns: Vec<u32>,
        /// The values.
        values: Vec<f32>,
    },
}

impl View {
    /// A token view without targets.
    pub fn tokens(ids: Vec<i32>) -> Self {
        Self::Tokens { ids, targets: None }
    }

    /// The cost of encoding it, for batches of bounded size: values of a dense view, tokens of a sequence, nodes plus
    /// edges of a graph or of surroundings.
    pub fn cost(&self) -> usize {
        match self {
            Self::Dense { data, .. } => data.len(),
            Self::Tokens { ids, .. } => ids.len(),
            Self::Graph { x, num_features, edge_index, .. } => x.len() / (*num_features).max(1) + edge_index.len(),
            Self::Node(around) => around.nodes.len() + around.edge_index.len(),
        }
    }

    /// A dense vector of features.
    pub fn features(data: Vec<f32>) -> Self {
        Self::Dense { shape: vec![data.len()], data }
    }
}

/// What all views of one source share, so that an encoder can be built before the first view is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewShape {
    /// Every view is [`View::Dense`] of this shape.
    Dense(Vec<usize>),
    /// Every view is [`View::Tokens`] with ids below `vocabulary`; lengths differ.
    Tokens {
        /// Number of different tokens.
        vocabulary: usize,
    },
    /// Every view is [`View::Graph`] with this many features per node.
    Graph {
        /// Number of features per node.
        num_features: usize,
    },
    /// Every view is [`View::Node`] with this many features per node.
    Node {
        /// Number of features per node.
        num_features: usize,
        /// From how many edges away information can reach the node.
        hops: usize,
    },
}
