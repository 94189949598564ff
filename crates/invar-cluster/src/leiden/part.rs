//! The rows, or a random half of them, as a graph in which rows that must stay together are one node.

use std::collections::HashMap;

use invar_dataset::seed;
use leiden_rs::{GraphData, GraphDataBuilder, Leiden, LeidenConfig as Settings, QualityType};

use super::{Quality, STREAM};
use crate::{ClusterError, Ties, graph::Graph, neighbors::Neighbors, sample};

/// Maximum number of passes of the algorithm, each from the communities of the last.
const PASSES: u64 = 10;
/// Modularity that a pass must gain for another to follow.
const LEAST_GAIN: f64 = 1e-9;

/// Some of the rows.
pub(super) struct Part {
    /// Their indices, ascending.
    pub rows: Vec<u32>,
    /// The node of each of them.
    nodes: Vec<u32>,
    /// The graph of the nodes.
    graph: Graph,
    /// Size of each node: the number of its rows, or what they weigh.
    sizes: Vec<f64>,
    /// Size up to which a community is merged into another.
    small: f64,
}

impl Part {
    /// All rows.
    pub fn whole(near: &Neighbors, neighbors: usize, ties: &Ties) -> Self {
        Self::new(near, neighbors, ties, (0..ties.together().len() as u32).collect())
    }

    /// A random half of the rows, and the other half.
    pub fn halves(near: &Neighbors, neighbors: usize, ties: &Ties, seed: u64, split: u64) -> [Self; 2] {
        let n = ties.together().len();
        sample::halves(&mut seed::rng(seed, STREAM + 1 + split), n).map(|half| Self::new(near, neighbors, ties, half))
    }

    fn new(near: &Neighbors, neighbors: usize, ties: &Ties, rows: Vec<u32>) -> Self {
        let together = ties.together();
        let mut places = vec![None; together.len()];
        rows.iter().zip(0..).for_each(|(&row, place)| places[row as usize] = Some(place));
        let (nodes, num_nodes) = nodes(rows.iter().map(|&row| together[row as usize]));
        let chosen: Vec<usize> = rows.iter().map(|&row| row as usize).collect();
        let weights = ties.weights().map(|weights| weights.of(&chosen));
        let graph = match (&weights, ties.weights()) {
            (Some(part), Some(all)) => Graph::of_weighed_neighbors(near, neighbors, &places, &all.of_rows, part.least),
            _ => Graph::of_neighbors(near, neighbors, &places),
        };
        let mut sizes = vec![0.0; num_nodes];
        for (at, &node) in nodes.iter().enumerate() {
            sizes[node as usize] += weights.as_ref().map_or(1.0, |weights| weights.of_rows[at]);
        }
        // A row has more neighbours than a community of so few rows has others.
        let small = weights.as_ref().map_or(neighbors as f64, |weights| weights.least.next_down());
        let mut graph = if num_nodes == rows.len() { graph } else { graph.contracted(&nodes, num_nodes) };
        if ties.num_apart() > 0 {
            let mut values = vec![None; num_nodes];
            rows.iter().zip(&nodes).for_each(|(&row, &node)| values[node as usize] = together[row as usize]);
            graph.edges.retain(|edge| !ties.are_apart(values[edge.a as usize], values[edge.b as usize]));
        }
        Self { rows, nodes, graph, sizes, small }
    }

    /// The graph in the library's format.
    pub fn prepared(&self) -> Result<GraphData, ClusterError> {
        let mut builder = GraphDataBuilder::new(self.graph.num_nodes);
        for edge in &self.graph.edges {
            builder.add_edge(edge.a as usize, edge.b as usize, edge.weight)?;
        }
        for (node, &size) in self.sizes.iter().enumerate() {
            builder.set_node_weight(node, size)?;
        }
        Ok(builder.build()?)
    }

    /// The community of each row of the part. `prepared` is its graph.
    pub fn communities(
        &self,
        prepared: &GraphData,
        quality: Quality,
        resolution: f64,
        seed: u64,
    ) -> Result<Vec<i32>, ClusterError> {
        let (quality, resolution) = match quality {
            Quality::Modularity => (QualityType::RBConfiguration, resolution),
            Quality::Cpm => {
                let weight: f64 = self.graph.edges.iter().map(|edge| edge.weight).sum();
                (QualityType::CPM, resolution * 2.0 * weight / self.sizes.iter().sum::<f64>().powi(2))
            }
        };
        let settings =
            |pass| Settings { resolution, seed: Some(seed::mix(seed, STREAM + pass)), quality, ..Settings::default() };
        let mut found = Leiden::new(settings(0)).run(prepared)?;
        // What was merged in a pass is never reconsidered in it: the next begins with the single nodes.
        for pass in 1..PASSES {
            let next = Leiden::new(settings(pass)).run_with_initial_partition(prepared, found.partition.clone())?;
            if next.quality <= found.quality + LEAST_GAIN {
                break;
            }
            found = next;
        }
        let community = |node| found.partition.community_of(node) as i32;
        let labels: Vec<i32> = (0..self.graph.num_nodes).map(community).collect();
        let labels = self.graph.connected(&labels);
        Ok(self.of_rows(&self.graph.without_small(&labels, &self.sizes, self.small)))
    }

    /// For each row the fraction of the weight of its node's edges that stays in its community; `labels` are those of
    /// the rows.
    pub fn shares_within(&self, labels: &[i32]) -> Vec<f32> {
        let mut of_nodes = vec![0; self.graph.num_nodes];
        self.nodes.iter().zip(labels).for_each(|(&node, &label)| of_nodes[node as usize] = label);
        self.of_rows(&self.graph.shares_within(&of_nodes))
    }

    fn of_rows<T: Copy>(&self, of_nodes: &[T]) -> Vec<T> {
        self.nodes.iter().map(|&node| of_nodes[node as usize]).collect()
    }
}

/// A number for each row, shared by rows of the same value, and how many there are.
fn nodes(values: impl Iterator<Item = Option<i64>>) -> (Vec<u32>, usize) {
    let mut numbers = HashMap::new();
    let mut num_nodes = 0u32;
    let mut next = || {
        num_nodes += 1;
        num_nodes - 1
    };
    let nodes = values
        .map(|value| match value {
            Some(value) => *numbers.entry(value).or_insert_with(&mut next),
            None => next(),
        })
        .collect();
    (nodes, num_nodes as usize)
}

#[cfg(test)]
mod tests;
