//! From tables to a dataset directory.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use invar_dataset::{
    Progress, check_memory,
    ingest::{self, InputIdentity, Key, Output, State},
    manifest::{self, Input, Manifest, SCHEMA_VERSION, Shard},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    DOMAIN, EdgeList, Error, Nodes, Source,
    adjacency::Adjacency,
    edges, nodes,
    shard::{self, Content},
    table::Table,
};

const SHARD: &str = "graph-000000.shard";

/// The tables of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// A row for each node.
    pub nodes: PathBuf,
    /// A row for each edge.
    pub edges: PathBuf,
}

/// How tables are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// Columns of numbers that are features, by name, or by how names begin (`f*`). Without any, the column `features`
    /// lists the features of each node that are not 0.
    pub features: Vec<String>,
    /// Whether features are brought to one scale: columns to mean 0 and standard deviation 1, lists to sums of 1.
    pub scale: bool,
    /// Whether another dataset at the output is replaced.
    #[serde(skip)]
    pub force: bool,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self { features: vec![], scale: true, force: false }
    }
}

/// A graph made of other data.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The nodes; their features are brought to one scale here.
    pub nodes: Nodes,
    /// The edges.
    pub edges: EdgeList,
    /// The key of each node in that data; empty if nodes get keys of their own.
    pub keys: Vec<u64>,
    /// The files that those nodes are from.
    pub sources: Vec<Source>,
    /// What a node is called, in the plural.
    pub noun: String,
}

/// The result of an ingest.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The manifest of the dataset.
    pub manifest: Manifest,
    /// Whether the dataset already existed, from the same inputs and parameters; nothing was written.
    pub already_done: bool,
}

impl Summary {
    /// What looks wrong, in sentences.
    pub fn warnings(&self) -> Vec<String> {
        let list = self.manifest.facts.get(WARNINGS).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

const WARNINGS: &str = "warnings";

/// Reads the tables of a graph and writes the dataset directory `out`. Takes the memory of the graph: 44 bytes an edge,
/// and the features.
///
/// # Errors
/// The first problem of the nodes, then of the edges; an output that holds something else; system errors. `out` is then
/// as if nothing had been written.
pub fn ingest(inputs: &Inputs, out: &Path, config: &IngestConfig, progress: &dyn Progress) -> Result<Summary, Error> {
    let parameters = serde_json::to_value(config).expect("the configuration is plain data");
    ingest_graph(&[inputs.nodes.clone(), inputs.edges.clone()], parameters, out, config.force, progress, || {
        progress.message("nodes");
        let (mut nodes, index) = nodes::read(&inputs.nodes, Table::open(&inputs.nodes)?, config)?;
        if config.scale {
            nodes.features.scale();
        }
        progress.message("edges");
        let edges = edges::read(Table::open(&inputs.edges)?, &index, &inputs.nodes)?;
        Ok(Graph { nodes, edges, keys: vec![], sources: vec![], noun: "nodes".into() })
    })
}

/// Writes the dataset directory `out` of a graph that `make` makes of `files`, of which the first is the one that its
/// nodes are from. `parameters` is all else that it depends on.
///
/// # Errors
/// Those of `make`; an output that holds something else; system errors. `out` is then as if nothing had been written.
///
/// # Panics
/// If there are no files, or the parts of the graph do not fit together.
pub fn ingest_graph<E: From<Error>>(
    files: &[PathBuf],
    parameters: Value,
    out: &Path,
    force: bool,
    progress: &dyn Progress,
    make: impl FnOnce() -> Result<Graph, E>,
) -> Result<Summary, E> {
    let identities = files.iter().map(|file| InputIdentity::of(file)).collect::<Result<Vec<_>, _>>();
    let key =
        Key { tool_version: env!("CARGO_PKG_VERSION").into(), parameters, inputs: identities.map_err(Error::from)? };
    let output = match Output::<Checkpoint>::prepare(out, key, force).map_err(Error::from)? {
        State::Done(manifest) => return Ok(Summary { manifest: *manifest, already_done: true }),
        State::Open(output) => *output,
    };
    let made = make().and_then(|graph| Ok(written(&graph, files, &output, progress)?));
    match made {
        Ok(manifest) => {
            let manifest = output.write(manifest).and_then(ingest::Written::publish).map_err(Error::from)?;
            Ok(Summary { manifest, already_done: false })
        }
        Err(error) => {
            output.give_up(false);
            Err(error)
        }
    }
}

/// Writes the shard, and returns the manifest.
fn written(
    graph: &Graph,
    files: &[PathBuf],
    output: &Output<Checkpoint>,
    progress: &dyn Progress,
) -> Result<Manifest, Error> {
    let Graph { nodes, edges, keys, sources, noun } = graph;
    let num_nodes = nodes.ids.len();
    assert!(keys.is_empty() || keys.len() == num_nodes, "{} keys of {num_nodes} nodes", keys.len());
    let needed = edges::memory_bytes(edges.edges.len());
    check_memory(needed, || "the neighbours of all nodes".into(), || "give fewer edges".into())?;
    progress.message("neighbours");
    let adjacency = Adjacency::of(num_nodes, &edges.edges);
    if progress.is_cancelled() {
        return Err(Error::Interrupted { path: output.target().into() });
    }
    output.announce([SHARD.to_owned()])?;
    let content = Content { nodes, adjacency: &adjacency, keys, sources, noun };
    let shard = shard::write(&output.directory().join(SHARD), &content)?;
    output.push(&Checkpoint { shard: shard.clone() })?;
    let num_edges = adjacency.neighbors.len() as u64 / 2;
    let degrees = || adjacency.starts.windows(2).map(|two| two[1] - two[0]);
    let alone = degrees().filter(|&degree| degree == 0).count() as u64;
    let counts = BTreeMap::from([
        ("nodes".to_owned(), num_nodes as u64),
        ("edges".to_owned(), num_edges),
        ("self_loops_left_out".to_owned(), edges.num_loops),
        ("repeated_edges_left_out".to_owned(), adjacency.num_repeated),
        ("nodes_without_edges".to_owned(), alone),
        ("most_edges_of_a_node".to_owned(), degrees().max().unwrap_or(0)),
        ("features".to_owned(), nodes.features.num_features() as u64),
        ("components".to_owned(), adjacency.components().iter().max().map_or(0, |&last| u64::from(last) + 1)),
    ]);
    let mut warnings = vec![];
    if num_edges == 0 && num_nodes > 0 {
        warnings.push(format!("no two {noun} are joined: each is known by its own features alone"));
    }
    let input = |(number, file): (usize, &PathBuf)| -> Result<Input, Error> {
        let (size_bytes, sha256) = manifest::file_digest(file)?;
        let of_first = [("nodes".to_owned(), num_nodes as u64)];
        let counts = of_first.into_iter().filter(|_| number == 0).collect();
        Ok(Input { counts, ..Input::new(file, size_bytes, sha256) })
    };
    Ok(Manifest {
        schema_version: SCHEMA_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").into(),
        domain: DOMAIN.into(),
        parameters: output.key().parameters.clone(),
        inputs: files.iter().enumerate().map(input).collect::<Result<_, _>>()?,
        shards: vec![shard],
        counts,
        files: vec![],
        skipped: vec![],
        facts: BTreeMap::from([(WARNINGS.to_owned(), json!(warnings))]),
    })
}

/// The shard, when it is finished.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Checkpoint {
    shard: Shard,
}

impl ingest::Checkpoint for Checkpoint {
    const DOMAIN: &'static str = DOMAIN;

    fn shard(&self) -> Option<&Shard> {
        Some(&self.shard)
    }

    /// None: a graph is written at once.
    fn kept(_: Vec<Self>, _: &dyn Fn(&Self) -> bool) -> Vec<Self> {
        vec![]
    }
}

#[cfg(test)]
mod tests;
