//! Graphs: tables of nodes and edges to a dataset, and nodes to positive pairs of what surrounds them.
//!
//! ```text
//! NODES, EDGES (TSV, CSV)  ->  Graph  ->  shard  ->  GraphDataset  ->  GraphPairs, GraphViews
//! ```
//! A sample is a *node*. It is seen in its *surroundings*: the nodes from which information can reach it over a few
//! edges, at each node over a bounded number of neighbours, so that a view is as large beside a million nodes as beside
//! a thousand, and one giant hub is no larger than others. Edges are taken in both directions; their weights say how
//! much a neighbour counts beside the other neighbours of the same node.
//!
//! What is drawn at random of a graph (neighbours, dropped edges, masked features) depends on the seed and the node
//! alone, not on where a walk came from: views that are drawn under one seed agree in what they share, which a batch
//! then holds once.
//!
//! ```
//! use invar_dataset::{NoProgress, PairSource as _, View};
//! use invar_graphs::{GraphDataset, GraphPairs, GraphPairsConfig, GraphView, IngestConfig, Inputs, ingest};
//!
//! # fn main() -> Result<(), invar_graphs::Error> {
//! # let dir = std::env::temp_dir().join(format!("invar-graphs-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir).unwrap();
//! let (nodes, edges, data) = (dir.join("nodes.tsv"), dir.join("edges.tsv"), dir.join("data"));
//! std::fs::write(&nodes, "id\tlabel\tfeatures\na\tone\t0,3\nb\ttwo\t1\nc\tone\t0\n").unwrap();
//! std::fs::write(&edges, "source\ttarget\na\tb\nb\tc\n").unwrap();
//! ingest(&Inputs { nodes, edges }, &data, &IngestConfig::default(), &NoProgress)?;
//!
//! let graph = std::sync::Arc::new(GraphDataset::open(&[data])?);
//! let pairs = GraphPairs::new(graph, &GraphPairsConfig::default(), &GraphView::default())?;
//! let pair = pairs.pair(0, 42)?;
//! let View::Node(around) = &pair.views[0].1 else { unreachable!() };
//! assert!(around.nodes.len() <= 3 && around.num_features == 4);
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # Ok(())
//! # }
//! ```

mod adjacency;
mod dataset;
mod edge_table;
mod edges;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod ingest;
mod nodes;
mod pairs;
mod shard;
mod surroundings;
mod table;
mod texts;
mod views;

pub use dataset::GraphDataset;
pub use edges::EdgeList;
pub use error::Error;
pub use ingest::{Graph, IngestConfig, Inputs, Summary, ingest, ingest_graph};
pub use invar_dataset::neighborhood::{GraphView, NeighborRole};
pub use nodes::{ColumnKind, Features, NodeColumn, Nodes};
pub use pairs::{GraphPairs, GraphPairsConfig};
pub use shard::Source;
pub use texts::Texts;
pub use views::{EmbedConfig, GraphViews};

/// The domain's name in manifests.
pub const DOMAIN: &str = "graphs";
