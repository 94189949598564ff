use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use bytemuck::cast_slice;
use invar_dataset::{
    DatasetError,
    atomic::AtomicFile,
    manifest::{self, Shard},
};

use super::{ALIGNMENT, ENTRY_BYTES, HEADER_BYTES, MAGIC, Metadata, NUM_SECTIONS, Source, VERSION};
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
    let atomic = AtomicFile::create(path).map_err(DatasetError::io(path))?;
    let partial = atomic.partial_path().to_path_buf();
    let file = File::options().write(true).truncate(true).open(&partial).map_err(DatasetError::io(path))?;
    write_to(BufWriter::new(file), content).map_err(DatasetError::io(path))?;
    let (size_bytes, sha256) = manifest::file_digest(&partial)?;
    atomic.commit().map_err(DatasetError::io(path))?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Shard { file, num_rows: content.nodes.ids.len() as u64, size_bytes, sha256 })
}

/// The bytes of a shard.
///
/// # Errors
/// As the writer.
pub(crate) fn write_to(mut out: impl Write, content: &Content) -> io::Result<()> {
    if cfg!(target_endian = "big") {
        return Err(io::Error::other("shards are little-endian, and so must the machine be"));
    }
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
    let json = serde_json::to_vec(&metadata).map_err(io::Error::other)?;
    let (scales, components) = (adjacency.scales(), adjacency.components());
    let sections: [&[u8]; NUM_SECTIONS] = [
        &nodes.ids.bytes,
        cast_slice(&nodes.ids.ends),
        cast_slice(values),
        cast_slice(features),
        cast_slice(feature_ends),
        cast_slice(&adjacency.starts),
        cast_slice(&adjacency.neighbors),
        cast_slice(&adjacency.weights),
        cast_slice(&scales),
        cast_slice(&components),
        cast_slice(keys),
        &columns,
        cast_slice(&column_ends),
        &json,
    ];
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&(NUM_SECTIONS as u32).to_le_bytes())?;
    out.write_all(&(nodes.ids.len() as u64).to_le_bytes())?;
    let mut end = HEADER_BYTES + ENTRY_BYTES * NUM_SECTIONS;
    for bytes in sections {
        let start = end.next_multiple_of(ALIGNMENT);
        out.write_all(&(start as u64).to_le_bytes())?;
        out.write_all(&(bytes.len() as u64).to_le_bytes())?;
        end = start + bytes.len();
    }
    let mut end = HEADER_BYTES + ENTRY_BYTES * NUM_SECTIONS;
    for bytes in sections {
        let start = end.next_multiple_of(ALIGNMENT);
        out.write_all(&[0; ALIGNMENT][..start - end])?;
        out.write_all(bytes)?;
        end = start + bytes.len();
    }
    out.flush()
}
