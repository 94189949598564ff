use std::{ops::Range, path::Path};

use bytemuck::AnyBitPattern;
use invar_dataset::{DatasetError, manifest::Shard, sections::Sections};

use super::{FORMAT, Metadata, Section};

/// A shard, memory-mapped. Nothing in the file is trusted: everything is checked at opening.
pub(crate) struct ShardFile {
    file: Sections,
    metadata: Metadata,
}

/// Features of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Row<'a> {
    /// All of them.
    Dense(&'a [f32]),
    /// Those that are not 0, and their values.
    Sparse(&'a [u32], &'a [f32]),
}

impl ShardFile {
    /// Maps a shard and checks it.
    ///
    /// # Errors
    /// If it cannot be mapped, is not a whole shard of this version, or not what the manifest says.
    pub fn open(directory: &Path, shard: &Shard) -> Result<Self, DatasetError> {
        let file = Sections::open(&directory.join(&shard.file), &FORMAT)?;
        file.check(shard)?;
        Self::of(file)
    }

    /// The same from memory.
    ///
    /// # Errors
    /// As [`ShardFile::open`].
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, DatasetError> {
        Self::of(Sections::of_bytes(bytes, &FORMAT)?)
    }

    fn of(file: Sections) -> Result<Self, DatasetError> {
        if file.num_rows() > u32::MAX as usize {
            return Err(file.corrupt("nodes", format!("at most {}", u32::MAX), file.num_rows()));
        }
        let json = file.all::<u8>(Section::Metadata as u32)?;
        let metadata = serde_json::from_slice(json);
        let metadata = metadata.map_err(|error| file.corrupt("metadata", "JSON of a graph", error))?;
        let shard = Self { file, metadata };
        shard.check()?;
        Ok(shard)
    }

    pub fn num_nodes(&self) -> usize {
        self.file.num_rows()
    }

    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The name of a node.
    pub fn id(&self, node: usize) -> &str {
        self.text(Section::Ids, Section::IdEnds, node)
    }

    /// The value of a node in a column; empty for none.
    pub fn value(&self, column: usize, node: usize) -> &str {
        self.text(Section::Columns, Section::ColumnEnds, column * self.num_nodes() + node)
    }

    /// The features of a node.
    pub fn features(&self, node: usize) -> Row<'_> {
        let values = self.numbers::<f32>(Section::Values);
        if self.metadata.is_sparse {
            let own = between(self.numbers::<u64>(Section::FeatureEnds), node);
            Row::Sparse(&self.numbers(Section::Features)[own.clone()], &values[own])
        } else {
            let num = self.metadata.num_features as usize;
            Row::Dense(&values[node * num..][..num])
        }
    }

    /// The neighbours of a node, ascending, and the weights of the edges to them.
    pub fn neighbors(&self, node: usize) -> (&[u32], &[f32]) {
        let starts = self.numbers::<u64>(Section::Starts);
        let own = starts[node] as usize..starts[node + 1] as usize;
        (&self.numbers(Section::Neighbors)[own.clone()], &self.numbers(Section::Weights)[own])
    }

    /// What the weights of a node's edges are multiplied by so that they are 1 on average.
    pub fn scale(&self, node: usize) -> f32 {
        self.numbers(Section::Scales)[node]
    }

    pub fn component(&self, node: usize) -> u32 {
        self.numbers(Section::Components)[node]
    }

    /// The keys of the nodes in the data that they are from; empty if they have none.
    pub fn keys(&self) -> &[u64] {
        self.numbers(Section::Keys)
    }

    fn text(&self, texts: Section, ends: Section, index: usize) -> &str {
        let own = between(self.numbers::<u64>(ends), index);
        std::str::from_utf8(&self.numbers(texts)[own]).unwrap_or_default()
    }

    fn check(&self) -> Result<(), DatasetError> {
        let (nodes, num_features) = (self.num_nodes(), self.metadata.num_features as usize);
        let num_columns = self.metadata.columns.len();
        let neighbors = self.checked::<u32>(Section::Neighbors, None)?;
        let values = if self.metadata.is_sparse { None } else { nodes.checked_mul(num_features) };
        let values = self.checked::<f32>(Section::Values, values)?;
        let num_listed = if self.metadata.is_sparse { values.len() } else { 0 };
        let features = self.checked::<u32>(Section::Features, Some(num_listed))?;
        self.checked::<f32>(Section::Weights, Some(neighbors.len()))?;
        self.checked::<f32>(Section::Scales, Some(nodes))?;
        self.checked::<u32>(Section::Components, Some(nodes))?;
        if !self.checked::<u64>(Section::Keys, None)?.is_empty() {
            self.checked::<u64>(Section::Keys, Some(nodes))?;
            let of_sources = self.metadata.sources.iter().map(|source| u128::from(source.num_nodes)).sum::<u128>();
            if of_sources != nodes as u128 {
                return Err(self.corrupt("nodes of all files", nodes, of_sources));
            }
        }
        let starts = self.checked::<u64>(Section::Starts, Some(nodes + 1))?;
        if starts[0] != 0 {
            return Err(self.corrupt("start of the neighbours", 0, starts[0]));
        }
        self.check_ends(&starts[1..], neighbors.len(), "neighbours")?;
        let is_sparse = self.metadata.is_sparse;
        let ends = self.checked::<u64>(Section::FeatureEnds, Some(if is_sparse { nodes } else { 0 }))?;
        if is_sparse {
            self.check_ends(ends, features.len(), "features")?;
        } else if self.metadata.feature_names.len() != num_features {
            return Err(self.corrupt("names of features", num_features, self.metadata.feature_names.len()));
        }
        for (texts, ends, num, what) in [
            (Section::Ids, Section::IdEnds, Some(nodes), "names"),
            (Section::Columns, Section::ColumnEnds, nodes.checked_mul(num_columns), "values of columns"),
        ] {
            let (ends, text) = (self.checked::<u64>(ends, num)?, self.checked::<u8>(texts, None)?);
            self.check_ends(ends, text.len(), what)?;
            // Whole, and between any two texts.
            let text = std::str::from_utf8(text).map_err(|error| self.corrupt(what, "UTF-8", error))?;
            if let Some(end) = ends.iter().find(|&&end| !text.is_char_boundary(end as usize)) {
                return Err(self.corrupt(what, "ends between characters", end));
            }
        }
        if let Some(other) = neighbors.iter().find(|&&other| other as usize >= nodes) {
            return Err(self.corrupt("a neighbour", format!("below {nodes}"), other));
        }
        if let Some(feature) = features.iter().find(|&&feature| feature as usize >= num_features) {
            return Err(self.corrupt("a feature", format!("below {num_features}"), feature));
        }
        let of_weights = [self.numbers::<f32>(Section::Weights), self.numbers(Section::Scales)];
        let is_bad = |weight: &&f32| !(weight.is_finite() && **weight >= 0.0);
        if let Some(weight) = of_weights.into_iter().flatten().find(is_bad) {
            return Err(self.corrupt("a weight", "a finite number of at least 0", weight));
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(self.corrupt("the value of a feature", "a finite number", value)),
            None => Ok(()),
        }
    }

    fn check_ends(&self, ends: &[u64], len: usize, what: &str) -> Result<(), DatasetError> {
        let last = ends.last().copied().unwrap_or(0);
        if !ends.is_sorted() || last != len as u64 {
            let expected = format!("one after the other, up to {len}");
            return Err(self.corrupt(&format!("ends of {what}"), expected, format!("up to {last}")));
        }
        Ok(())
    }

    /// The numbers of a section, as many as there must be.
    fn checked<T: AnyBitPattern>(&self, section: Section, num: Option<usize>) -> Result<&[T], DatasetError> {
        match num {
            Some(num) => self.file.column(section as u32, num),
            None => self.file.all(section as u32),
        }
    }

    /// The numbers of a section that was checked.
    fn numbers<T: AnyBitPattern>(&self, section: Section) -> &[T] {
        self.file.all(section as u32).expect("checked at opening")
    }

    fn corrupt(&self, what: &str, expected: impl ToString, found: impl ToString) -> DatasetError {
        self.file.corrupt(what, expected, found)
    }
}

fn between(ends: &[u64], index: usize) -> Range<usize> {
    let start = if index == 0 { 0 } else { ends[index - 1] as usize };
    start..ends[index] as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Features, NodeColumn, Nodes, Texts,
        adjacency::Adjacency,
        shard::writer::{self, Content},
    };

    fn bytes(is_sparse: bool) -> Vec<u8> {
        let features = if is_sparse {
            Features::Sparse {
                num_features: 4,
                ends: vec![1, 1, 3],
                columns: vec![3, 0, 2],
                values: vec![0.5, 1.0, 2.0],
            }
        } else {
            Features::Dense { names: vec!["x".into(), "y".into()], values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] }
        };
        let columns = vec![NodeColumn::new("label", Texts::from_iter(["1", "", "22"]))];
        let nodes = Nodes { ids: Texts::from_iter(["a", "\u{e4}b", "c"]), features, columns };
        let adjacency = Adjacency::of(3, &[(0, 2, 3.0), (0, 1, 1.0)]);
        let content = Content { nodes: &nodes, adjacency: &adjacency, keys: &[], sources: &[], noun: "nodes" };
        writer::bytes(&content)
    }

    #[test]
    fn what_is_written_is_read() {
        let shard = ShardFile::of_bytes(&bytes(true)).unwrap();
        assert_eq!((shard.num_nodes(), shard.id(1), shard.value(0, 2), shard.value(0, 1)), (3, "\u{e4}b", "22", ""));
        assert_eq!(shard.features(2), Row::Sparse(&[0, 2], &[1.0, 2.0]));
        assert_eq!(shard.features(1), Row::Sparse(&[], &[]));
        assert_eq!(shard.neighbors(0), (&[1, 2][..], &[1.0, 3.0][..]));
        assert_eq!((shard.scale(0), shard.component(2), shard.keys().len()), (0.5, 0, 0));
        let shard = ShardFile::of_bytes(&bytes(false)).unwrap();
        assert_eq!(shard.features(1), Row::Dense(&[3.0, 4.0]));
    }

    proptest! {
        #[test]
        fn damage_is_an_error_or_harmless(is_sparse: bool, at in 0usize..4000, value: u8, cut in 0usize..4000) {
            let mut bytes = bytes(is_sparse);
            let at = at % bytes.len();
            bytes[at] = value;
            bytes.truncate(bytes.len() - cut % 8);
            if let Ok(shard) = ShardFile::of_bytes(&bytes) {
                for node in 0..shard.num_nodes() {
                    let _ = (shard.id(node), shard.features(node), shard.neighbors(node), shard.component(node));
                }
            }
        }
    }

    #[test]
    fn a_neighbour_that_is_not_there_is_named() {
        let mut bytes = bytes(true);
        // Those of node 0 begin with 1 and 2.
        let neighbors: Vec<u8> = [1u32, 2, 0].into_iter().flat_map(u32::to_le_bytes).collect();
        let at = bytes.windows(neighbors.len()).position(|window| window == neighbors).unwrap();
        bytes[at] = 9;
        let error = ShardFile::of_bytes(&bytes).err().unwrap().to_string();
        assert!(error.ends_with("a neighbour: expected below 3, found 9"), "{error}");
    }
}
