//! Shard files: one graph, to be memory-mapped.
//!
//! A container of [`invar_dataset::sections`]; a row is a node. Text or list `i` is what lies between `ends[i - 1]` (0 for
//! the first) and `ends[i]` of its section of ends. Two shards of the same graph are the same bytes.

use invar_dataset::sections::Format;
use serde::{Deserialize, Serialize};

use crate::ColumnKind;

mod reader;
mod writer;

pub(crate) use reader::{Row, ShardFile};
pub(crate) use writer::{Content, write};

const FORMAT: Format = Format { magic: *b"INVGRAPH", version: 2 };

/// The content of a section; the discriminant is its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    /// Names of the nodes.
    Ids = 1,
    IdEnds,
    /// f32: `[nodes, features]`, or those that are not 0 if there are sections of lists.
    Values,
    /// u32 per value: its feature. With the ends (u64 per node) only for lists.
    Features,
    FeatureEnds,
    /// u64 per node and one more: where its neighbours begin.
    Starts,
    /// u32 per neighbour: its number.
    Neighbors,
    /// f32 per neighbour: the weight of the edge.
    Weights,
    /// f32 per node: what the weights of its edges are multiplied by.
    Scales,
    /// u32 per node: its component.
    Components,
    /// u64 per node: its key in the data that it is from; empty if it has none.
    Keys,
    /// Values of the columns, one column after the other.
    Columns,
    ColumnEnds,
    /// JSON.
    Metadata,
}

/// What is known of the graph as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metadata {
    /// What a node is called, in the plural.
    pub noun: String,
    /// Number of features per node.
    pub num_features: u32,
    /// Whether features are lists.
    pub is_sparse: bool,
    /// Names of the features; none for lists.
    pub feature_names: Vec<String>,
    /// The columns that are carried along.
    pub columns: Vec<(String, ColumnKind)>,
    /// The files of nodes that have keys of their own: path, number of the file and how many nodes are from it, in the
    /// order of the nodes.
    pub sources: Vec<Source>,
}

/// A file that nodes are from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// As named by the user.
    pub path: String,
    /// See `invar_dataset::keys`.
    pub number: u64,
    /// How many nodes are from it.
    pub num_nodes: u64,
}
