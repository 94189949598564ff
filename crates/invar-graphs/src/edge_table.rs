//! The edges as a table, with a score for each.

use invar_dataset::{Column, ColumnData, Dataset as _};

use crate::GraphDataset;

impl GraphDataset {
    /// Every edge once, the node that comes first first, as columns `source_id`, `source_key`, `target_id`,
    /// `target_key`, `weight` (as it came) and `score`: what `score` says of the two nodes' numbers. About `block_rows`
    /// rows at a time; at least one block.
    pub fn edge_blocks<'a>(
        &'a self,
        block_rows: usize,
        score: impl Fn(usize, usize) -> Option<f32> + 'a,
    ) -> impl Iterator<Item = Vec<Column>> + 'a {
        let (mut next, mut is_first) = (0, true);
        std::iter::from_fn(move || {
            if next == self.len() && !is_first {
                return None;
            }
            is_first = false;
            let mut edges: Vec<(usize, usize, f32)> = vec![];
            while next < self.len() && edges.len() < block_rows {
                let own = self.neighbors(next).filter(|&(other, _)| next < other);
                edges.extend(own.map(|(other, weight)| (next, other, weight)));
                next += 1;
            }
            let ids = |node: fn(&(usize, usize, f32)) -> usize| {
                ColumnData::Str(edges.iter().map(|edge| Some(self.id(node(edge)).to_owned())).collect())
            };
            let keys = |node: fn(&(usize, usize, f32)) -> usize| {
                ColumnData::I64(edges.iter().map(|edge| i64::try_from(self.key(node(edge))).ok()).collect())
            };
            let columns = [
                ("source_id", ids(|edge| edge.0)),
                ("source_key", keys(|edge| edge.0)),
                ("target_id", ids(|edge| edge.1)),
                ("target_key", keys(|edge| edge.1)),
                ("weight", ColumnData::F32(edges.iter().map(|edge| Some(edge.2)).collect())),
                ("score", ColumnData::F32(edges.iter().map(|edge| score(edge.0, edge.1)).collect())),
            ];
            Some(columns.into_iter().map(|(name, data)| Column { name: name.into(), data }).collect())
        })
    }
}
