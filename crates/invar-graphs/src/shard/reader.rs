use std::{
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
};

use bytemuck::{AnyBitPattern, try_cast_slice};
use invar_dataset::DatasetError;
use memmap2::Mmap;

use super::{ENTRY_BYTES, HEADER_BYTES, MAGIC, Metadata, NUM_SECTIONS, Section, VERSION};

/// A shard, memory-mapped. Nothing in the file is trusted: everything is checked at opening.
pub(crate) struct ShardFile {
    path: PathBuf,
    bytes: Bytes,
    sections: [Range<usize>; NUM_SECTIONS],
    num_nodes: usize,
    metadata: Metadata,
}

enum Bytes {
    Mapped(Mmap),
    #[cfg(any(test, feature = "fuzzing"))]
    InMemory(Vec<u64>, usize),
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            #[cfg(any(test, feature = "fuzzing"))]
            Self::InMemory(words, len) => &bytemuck::cast_slice(words)[..*len],
        }
    }
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
    /// Maps the file and checks it.
    ///
    /// # Errors
    /// If it cannot be mapped or is not a whole shard of this version.
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let file = File::open(path).map_err(DatasetError::stored(path))?;
        // SAFETY: shards are written once, under a temporary name, and never changed; should another program change the
        // file, numbers get other values, and those that are used as indices are checked by the slices they are used
        // in.
        let map = unsafe { Mmap::map(&file) }.map_err(DatasetError::io(path))?;
        Self::of(path, Bytes::Mapped(map))
    }

    /// The same from memory.
    ///
    /// # Errors
    /// As [`ShardFile::open`].
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, DatasetError> {
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self::of(Path::new("memory"), Bytes::InMemory(words, bytes.len()))
    }

    fn of(path: &Path, bytes: Bytes) -> Result<Self, DatasetError> {
        let metadata = Metadata {
            noun: String::new(),
            num_features: 0,
            is_sparse: false,
            feature_names: vec![],
            columns: vec![],
            sources: vec![],
        };
        let mut shard =
            Self { path: path.into(), bytes, sections: [const { 0..0 }; NUM_SECTIONS], num_nodes: 0, metadata };
        shard.read_layout()?;
        shard.metadata = serde_json::from_slice(shard.section(Section::Metadata))
            .map_err(|error| shard.corrupt("metadata", "JSON of a graph", error))?;
        shard.check()?;
        Ok(shard)
    }

    pub fn size_bytes(&self) -> u64 {
        self.bytes.get().len() as u64
    }

    pub fn num_nodes(&self) -> usize {
        self.num_nodes
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
        self.text(Section::Columns, Section::ColumnEnds, column * self.num_nodes + node)
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
        std::str::from_utf8(&self.section(texts)[own]).unwrap_or_default()
    }

    fn read_layout(&mut self) -> Result<(), DatasetError> {
        let bytes = self.bytes.get();
        let (size, head) = (bytes.len(), HEADER_BYTES + ENTRY_BYTES * NUM_SECTIONS);
        if size < head {
            return Err(self.corrupt("size in bytes", format!("at least {head}"), size));
        }
        if bytes[..8] != *MAGIC {
            let found = format!("{:?}", String::from_utf8_lossy(&bytes[..8]));
            return Err(self.corrupt("magic", String::from_utf8_lossy(MAGIC), found));
        }
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let word = u64_at(8);
        let (version, sections) = (word as u32, (word >> 32) as u32);
        if version != VERSION {
            return Err(self.corrupt("shard version", VERSION, version));
        }
        if sections as usize != NUM_SECTIONS {
            return Err(self.corrupt("sections", NUM_SECTIONS, sections));
        }
        let num_nodes = u64_at(16);
        if num_nodes > u64::from(u32::MAX) {
            return Err(self.corrupt("nodes", format!("at most {}", u32::MAX), num_nodes));
        }
        let mut ranges = [const { 0..0 }; NUM_SECTIONS];
        for (number, range) in ranges.iter_mut().enumerate() {
            let entry = HEADER_BYTES + ENTRY_BYTES * number;
            let (offset, len) = (u64_at(entry), u64_at(entry + 8));
            let Some(end) = offset.checked_add(len).filter(|&end| end <= size as u64) else {
                let what = format!("end of section {number}");
                return Err(self.corrupt(&what, format!("at most {size}"), format!("{offset} + {len}")));
            };
            *range = offset as usize..end as usize;
        }
        (self.sections, self.num_nodes) = (ranges, num_nodes as usize);
        Ok(())
    }

    fn check(&self) -> Result<(), DatasetError> {
        let (nodes, num_features) = (self.num_nodes, self.metadata.num_features as usize);
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
            let ends = self.checked::<u64>(ends, num)?;
            self.check_ends(ends, self.section(texts).len(), what)?;
            // Whole, and between any two texts.
            let text = std::str::from_utf8(self.section(texts)).map_err(|error| self.corrupt(what, "UTF-8", error))?;
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
        let bytes = self.section(section);
        let misplaced = |_| self.corrupt(&format!("section {section:?}"), "whole, aligned numbers", bytes.len());
        let numbers: &[T] = if bytes.is_empty() { &[] } else { try_cast_slice(bytes).map_err(misplaced)? };
        match num {
            Some(num) if num != numbers.len() => {
                Err(self.corrupt(&format!("numbers in section {section:?}"), num, numbers.len()))
            }
            _ => Ok(numbers),
        }
    }

    /// The numbers of a section that was checked.
    fn numbers<T: AnyBitPattern>(&self, section: Section) -> &[T] {
        let bytes = self.section(section);
        if bytes.is_empty() { &[] } else { try_cast_slice(bytes).expect("checked at opening") }
    }

    fn section(&self, section: Section) -> &[u8] {
        &self.bytes.get()[self.sections[section as usize].clone()]
    }

    fn corrupt(&self, what: &str, expected: impl ToString, found: impl ToString) -> DatasetError {
        DatasetError::Corrupt {
            path: self.path.clone(),
            what: what.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
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
        shard::writer::{Content, write_to},
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
        let mut bytes = vec![];
        write_to(&mut bytes, &content).unwrap();
        bytes
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
        let entry = HEADER_BYTES + ENTRY_BYTES * Section::Neighbors as usize;
        let at = u64::from_le_bytes(bytes[entry..entry + 8].try_into().unwrap()) as usize;
        bytes[at] = 9;
        let error = ShardFile::of_bytes(&bytes).err().unwrap().to_string();
        assert!(error.ends_with("a neighbour: expected below 3, found 9"), "{error}");
    }
}
