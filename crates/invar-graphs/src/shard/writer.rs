use std::path::Path;

use invar_dataset::{
    DatasetError,
    manifest::Shard,
    sections::{self, column},
};

use super::{FORMAT, Metadata, Section, Source};
use crate::{Features, Nodes, adjacency::Adjacency};

/// What a shard holds.
pub(crate) struct Content<'a> {
    pub nodes: &'a Nodes,
    pub adjacency: &'a Adjacency,
    /// Keys of the nodes in the data that they are from; empty if they have none.
    pub keys: &'a [u64],
    pub sources: &'a [Source],
    pub noun: &'a str,
}

/// Writes the shard `path`.
///
/// # Errors
/// System errors.
pub(crate) fn write(path: &Path, content: &Content) -> Result<Shard, DatasetError> {
    with_sections(content, |num_nodes, sections| sections::write(path, &FORMAT, num_nodes, sections))
}

/// Gives the number of nodes and the sections of a shard to `write`.
fn with_sections<T>(content: &Content, write: impl FnOnce(u64, &[(u32, &[u8])]) -> T) -> T {
    let Content { nodes, adjacency, keys, sources, noun } = content;
    let (mut columns, mut column_ends) = (vec![], vec![]);
    for column in &nodes.columns {
        let first = columns.len() as u64;
        columns.extend_from_slice(&column.values.bytes);
        column_ends.extend(column.values.ends.iter().map(|end| first + end));
    }
    let (values, features, feature_ends, feature_names): (&[f32], &[u32], &[u64], _) = match &nodes.features {
        Features::Dense { names, values } => (values, &[], &[], names.clone()),
        Features::Sparse { ends, columns, values, .. } => (values, columns, ends, vec![]),
    };
    let metadata = Metadata {
        noun: (*noun).to_owned(),
        num_features: nodes.features.num_features() as u32,
        is_sparse: matches!(nodes.features, Features::Sparse { .. }),
        feature_names,
        columns: nodes.columns.iter().map(|column| (column.name.clone(), column.kind)).collect(),
        sources: sources.to_vec(),
    };
    let json = serde_json::to_vec(&metadata).expect("metadata are plain data");
    let (scales, components) = (adjacency.scales(), adjacency.components());
    let sections: [(Section, &[u8]); 14] = [
        (Section::Ids, &nodes.ids.bytes),
        (Section::IdEnds, column(&nodes.ids.ends)),
        (Section::Values, column(values)),
        (Section::Features, column(features)),
        (Section::FeatureEnds, column(feature_ends)),
        (Section::Starts, column(&adjacency.starts)),
        (Section::Neighbors, column(&adjacency.neighbors)),
        (Section::Weights, column(&adjacency.weights)),
        (Section::Scales, column(&scales)),
        (Section::Components, column(&components)),
        (Section::Keys, column(keys)),
        (Section::Columns, &columns),
        (Section::ColumnEnds, column(&column_ends)),
        (Section::Metadata, &json),
    ];
    write(nodes.ids.len() as u64, &sections.map(|(section, bytes)| (section as u32, bytes)))
}

/// The bytes of a shard.
#[cfg(test)]
pub(super) fn bytes(content: &Content) -> Vec<u8> {
    let mut bytes = vec![];
    with_sections(content, |num_nodes, sections| sections::write_to(&mut bytes, &FORMAT, num_nodes, sections)).unwrap();
    bytes
}
