//! Graphs, with random access to their nodes.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use invar_dataset::{
    Column, ColumnData, Dataset, DatasetError, FigureRule, GroupFigure, GroupFigures, SampleId, SampleName,
    SampleTable, Shortcuts,
    keys::{self, KeyRange, Opened},
    manifest::{self, Manifest},
    neighborhood::{Neighborhood, Neighborhoods},
};

use crate::{ColumnKind, DOMAIN, shard::ShardFile};

/// The nodes of one or several dataset directories, in the order given. Everything stays on disk and is mapped; no edge
/// leads from one directory to another.
pub struct GraphDataset {
    graphs: Vec<StoredGraph>,
    /// Nodes in graphs `0..=i`.
    ends: Vec<u64>,
    directories: Vec<(PathBuf, Manifest)>,
}

pub(crate) struct StoredGraph {
    pub shard: ShardFile,
    /// Of nodes without keys of their own.
    keys: KeyRange,
    /// The file that they are from.
    source: String,
    /// The number of the first node.
    pub first: usize,
}

impl GraphDataset {
    /// Opens the union of dataset directories.
    ///
    /// # Errors
    /// If a directory does not hold a finished dataset of graphs, a file does not match the manifest, a directory is
    /// given twice, two of them were made from one file, or their nodes have different features.
    pub fn open(directories: &[PathBuf]) -> Result<Self, DatasetError> {
        let (mut shards, mut opened) = (vec![], vec![]);
        for path in directories {
            let manifest = Manifest::read(path)?;
            if manifest.domain != DOMAIN {
                return Err(DatasetError::corrupt(path, "domain", DOMAIN, &manifest.domain));
            }
            let [stored] = manifest.shards.as_slice() else {
                return Err(DatasetError::corrupt(path, "number of shards", 1, manifest.shards.len()));
            };
            let shard = ShardFile::open(path, stored)?;
            shards.push(shard);
            opened.push((path.clone(), manifest));
        }
        let of_first = |shard: &ShardFile, manifest: &Manifest| {
            let others = vec![0; manifest.inputs.len().saturating_sub(1)];
            [vec![shard.num_nodes() as u64], others].concat()
        };
        let counted: Vec<Opened> = shards
            .iter()
            .zip(&opened)
            .map(|(shard, (path, manifest))| Opened { path, manifest, num_samples: of_first(shard, manifest) })
            .collect();
        let keys = keys::key_ranges(&counted)?;
        let (mut graphs, mut ends, mut first) = (Vec::<StoredGraph>::new(), vec![], 0);
        for ((shard, keys), (path, manifest)) in shards.into_iter().zip(keys).zip(&opened) {
            if let Some(before) = graphs.first() {
                let features = |shard: &ShardFile| {
                    let metadata = shard.metadata();
                    let names = metadata.feature_names.join(", ");
                    format!(
                        "{} features {}",
                        metadata.num_features,
                        if metadata.is_sparse { "in lists" } else { &names }
                    )
                };
                let [expected, found] = [&before.shard, &shard].map(features);
                if expected != found {
                    let what = format!("features, which must be those of {}", opened[0].0.display());
                    return Err(DatasetError::corrupt(path, &what, expected, found));
                }
            }
            let source = manifest.inputs.first().map_or_else(String::new, |input| input.path.clone());
            let keys = keys.first().copied().unwrap_or_default();
            graphs.push(StoredGraph { keys, source, first, shard });
            first += graphs[graphs.len() - 1].shard.num_nodes();
            ends.push(first as u64);
        }
        Ok(Self { graphs, ends, directories: opened })
    }

    /// The directories and their manifests.
    pub fn manifests(&self) -> impl Iterator<Item = (&Path, &Manifest)> {
        self.directories.iter().map(|(path, manifest)| (path.as_path(), manifest))
    }

    /// Number of features per node.
    pub fn num_features(&self) -> usize {
        self.graphs.first().map_or(0, |graph| graph.shard.metadata().num_features as usize)
    }

    /// The neighbours of node `index`, and the weights of the edges to them as they came.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn neighbors(&self, index: usize) -> impl ExactSizeIterator<Item = (usize, f32)> {
        let (graph, node) = self.place(index);
        let (neighbors, weights) = graph.shard.neighbors(node);
        neighbors.iter().zip(weights).map(move |(&other, &weight)| (graph.first + other as usize, weight))
    }

    /// The name of node `index`.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn id(&self, index: usize) -> &str {
        let (graph, node) = self.place(index);
        graph.shard.id(node)
    }

    /// The key of node `index`.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn key(&self, index: usize) -> u64 {
        let (graph, node) = self.place(index);
        graph.shard.keys().get(node).copied().unwrap_or_else(|| graph.keys.key(node as u64))
    }

    /// The identity of node `index` in training.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn sample_id(&self, index: usize) -> SampleId {
        let (graph, node) = self.place(index);
        graph.shard.keys().get(node).map_or_else(|| graph.keys.id(node as u64), |&key| SampleId(key))
    }

    /// The name of node `index` in outputs.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn sample_name(&self, index: usize) -> SampleName {
        let (graph, node) = self.place(index);
        let (source, source_number) = graph.source_of(node);
        SampleName {
            id: graph.shard.id(node).to_owned(),
            source: source.to_owned(),
            source_number,
            key: self.key(index),
        }
    }

    /// The graph of node `index`, and its number there.
    pub(crate) fn place(&self, index: usize) -> (&StoredGraph, usize) {
        let (graph, node) = manifest::locate(&self.ends, index as u64);
        (&self.graphs[graph], node as usize)
    }

    /// What a node is called, in the plural.
    fn noun(&self) -> &str {
        self.graphs.first().map_or("nodes", |graph| &graph.shard.metadata().noun)
    }

    /// The columns that are carried along, of all graphs: text if they are of different kinds.
    fn carried(&self) -> Vec<(String, ColumnKind)> {
        let mut all: Vec<(String, ColumnKind)> = vec![];
        for (name, kind) in self.graphs.iter().flat_map(|graph| &graph.shard.metadata().columns) {
            match all.iter_mut().find(|(other, _)| other == name) {
                None => all.push((name.clone(), *kind)),
                Some((_, other)) if other != kind => *other = ColumnKind::Text,
                Some(_) => {}
            }
        }
        all
    }

    fn values(&self, name: &str, kind: ColumnKind, range: Range<usize>) -> ColumnData {
        let text = |index: usize| {
            let (graph, node) = self.place(index);
            let column = graph.shard.metadata().columns.iter().position(|(other, _)| other == name)?;
            Some(graph.shard.value(column, node)).filter(|value| !value.is_empty())
        };
        let values = range.map(text);
        match kind {
            ColumnKind::Integer => ColumnData::I64(values.map(|value| value?.parse().ok()).collect()),
            ColumnKind::Number => ColumnData::F64(values.map(|value| value?.parse().ok()).collect()),
            ColumnKind::Text => ColumnData::Str(values.map(|value| value.map(str::to_owned)).collect()),
        }
    }
}

impl StoredGraph {
    /// The file of a node, and its number.
    fn source_of(&self, node: usize) -> (&str, u64) {
        let mut end = 0;
        let sources = &self.shard.metadata().sources;
        let own = sources.iter().find(|source| {
            end += source.num_nodes;
            (node as u64) < end
        });
        own.map_or((self.source.as_str(), self.keys.source_number()), |source| (&source.path, source.number))
    }
}

impl Dataset for GraphDataset {
    type Sample = usize;

    fn len(&self) -> usize {
        self.ends.last().map_or(0, |&end| end as usize)
    }

    /// The node's number; see the methods of [`GraphDataset`] for what is known of it.
    fn get(&self, index: usize) -> Result<usize, DatasetError> {
        assert!(index < self.len(), "node {index} of {}", self.len());
        Ok(index)
    }
}

impl Neighborhoods for GraphDataset {
    fn neighborhood(&self, node: usize) -> Neighborhood<'_> {
        let (graph, node) = self.place(node);
        let (others, weights) = graph.shard.neighbors(node);
        Neighborhood { first: graph.first, others, weights, scale: graph.shard.scale(node) }
    }
}

impl SampleTable for GraphDataset {
    /// `id`, `source`, `key`, `degree` (its edges), `component` (0 is the largest), then the columns of the table of
    /// nodes that are no features.
    fn columns(&self, range: Range<usize>) -> Result<Vec<Column>, DatasetError> {
        let names: Vec<SampleName> = range.clone().map(|index| self.sample_name(index)).collect();
        let degree = range.clone().map(|index| u32::try_from(self.neighbors(index).len()).ok()).collect();
        let component = range.clone().map(|index| {
            let (graph, node) = self.place(index);
            Some(graph.shard.component(node))
        });
        let mut columns: Vec<Column> = [
            ("id", ColumnData::Str(names.iter().map(|name| Some(name.id.clone())).collect())),
            ("source", ColumnData::Str(names.iter().map(|name| Some(name.source.clone())).collect())),
            ("key", ColumnData::I64(names.iter().map(|name| i64::try_from(name.key).ok()).collect())),
            ("degree", ColumnData::U32(degree)),
            ("component", ColumnData::U32(component.collect())),
        ]
        .into_iter()
        .map(|(name, data)| Column { name: name.into(), data })
        .collect();
        for (name, kind) in self.carried() {
            let data = self.values(&name, kind, range.clone());
            columns.push(Column { name, data });
        }
        Ok(columns)
    }

    fn shortcuts(&self) -> Shortcuts {
        Shortcuts { suspects: vec!["source".into()], group: "source".into() }
    }

    fn group_figures(&self) -> GroupFigures {
        let mean = FigureRule::Mean { column: "degree".into(), weight: None };
        GroupFigures { noun: self.noun().into(), figures: vec![GroupFigure::new("mean_degree", mean)] }
    }
}
