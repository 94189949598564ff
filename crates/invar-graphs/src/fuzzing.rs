//! The entry points of the fuzz targets (`fuzz/`): the readers on bytes in memory. Not for other use.

use std::{io::Cursor, path::Path};

use crate::{IngestConfig, adjacency::Adjacency, edges, nodes, shard::ShardFile, table::Table};

/// Reads a table of nodes and one of edges, divided by the first byte 0. The very first byte decides where features
/// are.
pub fn tables(bytes: &[u8]) {
    let Some((&how, bytes)) = bytes.split_first() else { return };
    let mut parts = bytes.splitn(2, |&byte| byte == 0);
    let [of_nodes, of_edges] = [(); 2].map(|()| Cursor::new(parts.next().unwrap_or_default().to_vec()));
    let path = Path::new("table");
    let features = if how.is_multiple_of(2) { vec![] } else { vec!["f*".to_owned()] };
    let config = IngestConfig { features, ..IngestConfig::default() };
    let Ok(table) = Table::of(path, of_nodes) else { return };
    let Ok((mut nodes, index)) = nodes::read(path, table, &config) else { return };
    nodes.features.scale();
    let Ok(table) = Table::of(path, of_edges) else { return };
    let Ok(list) = edges::read(table, &index, path) else { return };
    let adjacency = Adjacency::of(nodes.ids.len(), &list.edges);
    assert_eq!(adjacency.components().len(), nodes.ids.len());
}

/// Opens a shard, and reads all of it.
pub fn shard(bytes: &[u8]) {
    let Ok(shard) = ShardFile::of_bytes(bytes) else { return };
    for node in 0..shard.num_nodes() {
        let _ = (shard.id(node), shard.features(node), shard.neighbors(node), shard.scale(node), shard.component(node));
        for column in 0..shard.metadata().columns.len() {
            let _ = shard.value(column, node);
        }
    }
}
