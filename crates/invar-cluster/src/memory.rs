//! How much memory a method needs, estimated before it begins: its peak including the rows, in bytes.

use invar_dataset::check_memory;

use crate::{ClusterError, HdbscanConfig, LeidenConfig, UmapConfig, neighbors};

/// A neighbour in a list: its index and how near it is.
const NEIGHBOR: usize = 8;
/// An edge of a graph of rows, then in transfer to the Leiden library, then inside it, with both of its ends.
const LEIDEN_EDGE: usize = 16 + 24 + 32;
/// Maximum number of edges per neighbour of a row: those of all rows, and of two pairs of halves.
const LEIDEN_GRAPHS: usize = 3;
/// Edges of the spanning tree, before and after they are combined.
const TREE_EDGE: usize = 2 * 12;
/// Joins, and where each row leaves the tree.
const TREE_ROW: usize = 100;
/// The memberships of UMAP: those of a row, the reverse ones, their union, and the graph of these.
const FUZZY_EDGE: usize = 8 + 16 + 24 + 16;
/// The lists that hold them, and places.
const FUZZY_ROW: usize = 120;

impl LeidenConfig {
    /// Refuses this many rows if they do not fit into memory.
    pub(crate) fn check_memory(&self, num_rows: usize, dim: usize) -> Result<(), ClusterError> {
        let sampled = self.sample.min(num_rows);
        let gathered = if sampled < num_rows { values(sampled, dim) } else { 0 };
        let listed = 2 * self.neighbors;
        let graphs = sampled * (listed * NEIGHBOR + self.neighbors * LEIDEN_GRAPHS * LEIDEN_EDGE);
        let needed = values(num_rows, dim) + gathered + graphs.max(neighbors::memory_bytes(sampled, dim, listed));
        check("leiden", num_rows, dim, needed, "cluster fewer rows, or take a smaller `sample` or fewer `neighbors`")
    }
}

impl HdbscanConfig {
    /// Refuses this many rows with this many neighbours if they do not fit into memory.
    pub(crate) fn check_memory(num_rows: usize, dim: usize, listed: usize) -> Result<(), ClusterError> {
        let tree = num_rows * (listed * (NEIGHBOR + TREE_EDGE) + TREE_ROW);
        let needed = values(num_rows, dim) + tree.max(neighbors::memory_bytes(num_rows, dim, listed));
        check("hdbscan", num_rows, dim, needed, "cluster fewer rows, or take fewer `min_samples`")
    }
}

impl UmapConfig {
    /// Refuses this many rows if they do not fit into memory. `known` neighbours of each already exist.
    pub(crate) fn check_memory(&self, num_rows: usize, dim: usize, known: Option<usize>) -> Result<(), ClusterError> {
        let listed = known.unwrap_or(self.neighbors);
        let searched = if known.is_some() { 0 } else { neighbors::memory_bytes(num_rows, dim, listed) };
        let graph = num_rows * (listed * NEIGHBOR + self.neighbors * FUZZY_EDGE + FUZZY_ROW);
        let needed = values(num_rows, dim) + graph.max(searched);
        check("umap", num_rows, dim, needed, "project fewer rows, take fewer `neighbors`, or the method `pca`")
    }
}

fn values(num_rows: usize, dim: usize) -> usize {
    num_rows * dim * size_of::<f32>()
}

fn check(method: &str, num_rows: usize, dim: usize, needed: usize, remedy: &str) -> Result<(), ClusterError> {
    let what = || format!("{method} of {num_rows} rows of {dim} values");
    Ok(check_memory(needed, what, || remedy.into())?)
}

#[cfg(test)]
mod tests {
    use invar_dataset::{Fault, FaultClass};

    use super::*;

    /// Rows that fit into no machine, and rows that fit into every machine that the tests run on.
    const TOO_MANY: usize = 1_000_000_000_000;
    const FEW: usize = 10_000;

    /// Too many rows are refused with the size of the data, both figures and a remedy; a few are not.
    fn judge(check: impl Fn(usize) -> Result<(), ClusterError>, method: &str, megabytes: usize, remedy: &str) {
        check(FEW).unwrap();
        if invar_dataset::host_memory().is_none() {
            return;
        }
        let error = check(TOO_MANY).unwrap_err();
        let expected = format!(
            "{method} of {TOO_MANY} rows of 128 values takes about {megabytes} MB of memory, this machine has "
        );
        let text = error.to_string();
        assert!(text.starts_with(&expected) && text.ends_with(remedy), "{text}");
        assert_eq!(error.class(), FaultClass::Failed);
    }

    #[test]
    fn leiden_that_does_not_fit_is_refused_with_both_figures() {
        let config = LeidenConfig { sample: usize::MAX, ..LeidenConfig::default() };
        // 512 bytes of values; 30 neighbours of 8 and three times 15 edges of 72.
        judge(
            |rows| config.check_memory(rows, 128),
            "leiden",
            512_000_000 + 240_000_000 + 3_240_000_000,
            "`neighbors`",
        );
        // The graph of a sample takes the sample's memory, and the rows themselves are few enough.
        let sampled = LeidenConfig { sample: FEW, ..config };
        sampled.check_memory(4_000_000, 16).unwrap();
    }

    #[test]
    fn hdbscan_that_does_not_fit_is_refused_with_both_figures() {
        // 512 bytes of values, once more while 15 neighbours are searched for, with three lists of 12 bytes each and
        // 200: the tree takes less.
        let few = |rows| HdbscanConfig::check_memory(rows, 128, 15);
        judge(few, "hdbscan", 512_000_000 + 512_000_000 + 540_000_000 + 200_000_000, "`min_samples`");
        let many = |rows| HdbscanConfig::check_memory(rows, 128, 99);
        judge(many, "hdbscan", 512_000_000 + 512_000_000 + 3_564_000_000 + 200_000_000, "`min_samples`");
    }

    #[test]
    fn umap_that_does_not_fit_is_refused_with_both_figures() {
        let config = UmapConfig::default();
        // The search for 15 neighbours takes more than what follows.
        let alone = |rows| config.check_memory(rows, 128, None);
        judge(alone, "umap", 512_000_000 + 512_000_000 + 540_000_000 + 200_000_000, "`pca`");
        // 30 existing neighbours of 8 bytes, 15 edges of 64 and 120 bytes per row.
        let after_leiden = |rows| config.check_memory(rows, 128, Some(30));
        judge(after_leiden, "umap", 512_000_000 + 240_000_000 + 960_000_000 + 120_000_000, "`pca`");
    }
}
