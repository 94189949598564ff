//! Edges: which nodes are joined, and how strongly.

use std::{collections::HashMap, path::Path};

use invar_dataset::check_memory;

use crate::{Error, table::Table};

const FROM: [&str; 6] = ["source", "source_id", "from", "src", "a", "node1"];
const TO: [&str; 6] = ["target", "target_id", "to", "dst", "b", "node2"];
const WEIGHT: [&str; 2] = ["weight", "w"];
/// Rows between two looks at the memory.
const LOOK_EVERY: usize = 1 << 20;

/// Edges between numbered nodes, as they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EdgeList {
    /// The two nodes of each edge, 0-based, and its weight, more than 0.
    pub edges: Vec<(u32, u32, f32)>,
    /// Edges from a node to itself, which are left out.
    pub num_loops: u64,
}

/// Reads a table of edges between the nodes of `index`; `nodes` is the table that names those.
///
/// # Errors
/// The first row that cannot be used, or a column that is missing.
pub(crate) fn read(mut table: Table, index: &HashMap<Box<str>, u32>, nodes: &Path) -> Result<EdgeList, Error> {
    let (from, to, weight) = (table.needed(&FROM)?, table.needed(&TO)?, table.column(&WEIGHT));
    let mut list = EdgeList::default();
    while let Some(row) = table.next()? {
        let node = |at: usize| {
            let missing = || row.bad(at, format!("a node of {}", nodes.display()));
            index.get(row.text(at)).copied().ok_or_else(missing)
        };
        let (a, b) = (node(from)?, node(to)?);
        let weight = match weight {
            None => 1.0,
            Some(at) => {
                let value = row.number(at)?;
                if value <= 0.0 {
                    return Err(row.bad(at, "a number above 0"));
                }
                value
            }
        };
        if a == b {
            list.num_loops += 1;
            continue;
        }
        list.edges.push((a, b, weight));
        if list.edges.len().is_multiple_of(LOOK_EVERY) {
            check_memory(memory_bytes(list.edges.len()), || "a table of edges".into(), || "give fewer edges".into())?;
        }
    }
    Ok(list)
}

/// Memory that an ingest takes for a number of edges: the list, and both directions of each, sorted and not.
pub(crate) fn memory_bytes(num_edges: usize) -> usize {
    num_edges * (12 + 2 * 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(text: &str) -> Result<EdgeList, Error> {
        let path = Path::new("edges.tsv");
        let index = ["x", "y", "z"].into_iter().map(Box::from).zip(0..).collect();
        read(Table::of(path, std::io::Cursor::new(text.to_owned()))?, &index, Path::new("nodes.tsv"))
    }

    #[test]
    fn edges_are_numbered_and_loops_counted() {
        let found = edges("a\tb\tweight\nx\ty\t2\ny\ty\t1\nz\tx\t0.5\n").unwrap();
        assert_eq!(found, EdgeList { edges: vec![(0, 1, 2.0), (2, 0, 0.5)], num_loops: 1 });
        assert_eq!(edges("source,target\n").unwrap(), EdgeList::default());
    }

    #[test]
    fn what_cannot_be_is_named_with_its_line() {
        for (text, expected) in [
            ("a\tb\nx\ty\nx\tq\n", "line 3, column b: expected a node of nodes.tsv, found \"q\""),
            ("a\tb\tw\nx\ty\t0\n", "line 2, column w: expected a number above 0, found \"0\""),
            ("a\tb\tw\nx\ty\tNaN\n", "line 2, column w: expected a finite number, found \"NaN\""),
            (
                "a\tc\n",
                "header: expected a column `target` or `target_id` or `to` or `dst` or `b` or `node2`, found a, c",
            ),
        ] {
            assert_eq!(edges(text).unwrap_err().to_string(), format!("edges.tsv: {expected}"));
        }
    }
}
