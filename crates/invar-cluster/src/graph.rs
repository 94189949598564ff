//! Undirected weighted graphs over rows, and their modularity.

use crate::neighbors::Neighbors;

/// By how much less a cosine is that takes an edge of weighed rows down to 1 / e: about the temperature at which encoders
/// learn to tell rows apart.
const BANDWIDTH: f64 = 0.1;

/// An edge between two nodes, or from a node to itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Edge {
    /// The smaller node.
    pub a: u32,
    /// The larger node, or the same.
    pub b: u32,
    /// Weight, above 0. A self-edge stands for all edges within what the node was contracted from.
    pub weight: f64,
}

/// Nodes `0..num_nodes` and the edges between them, each pair once, ascending. 16 bytes per edge.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Graph {
    pub num_nodes: usize,
    pub edges: Vec<Edge>,
}

impl Graph {
    /// The symmetric graph of the `k` nearest neighbours: an edge of weight 1 wherever one of two rows is among the `k`
    /// nearest of the other. `neighbors` are those of every row, nearest first, at least as many as are used.
    ///
    /// `places` selects rows: the node of a row, or `None`. A row without a node is skipped in the lists of the others,
    /// whose next neighbour takes its place, so that the graph of a part of the rows is that of *their* `k` nearest as
    /// far as the lists reach.
    pub fn of_neighbors(neighbors: &Neighbors, k: usize, places: &[Option<u32>]) -> Self {
        let mut pairs = Vec::with_capacity(places.len() * k);
        for (list, own) in neighbors.indices.chunks(neighbors.k.max(1)).zip(places) {
            let Some(own) = *own else { continue };
            let others = list.iter().filter_map(|&row| places[row as usize]).take(k);
            pairs.extend(others.map(|other| (own.min(other), own.max(other))));
        }
        pairs.sort_unstable();
        pairs.dedup();
        let edges = pairs.into_iter().map(|(a, b)| Edge { a, b, weight: 1.0 }).collect();
        Self { num_nodes: places.iter().flatten().count(), edges }
    }

    /// The same of rows that weigh differently. A row's neighbours are the nearest that together weigh `least`, at most
    /// `k`, and it shares its weight among the edges to them: a heavy row needs few neighbours, and what a community's
    /// edges weigh follows from what its rows do, not from how many there are. Of its share an edge has
    /// `exp((cosine - 1) / BANDWIDTH)`, because a row of a small community has neighbours in others too, but far away. Weights
    /// are in units of their mean.
    ///
    /// # Panics
    /// If there is not one weight per row.
    pub fn of_weighed_neighbors(
        neighbors: &Neighbors,
        k: usize,
        places: &[Option<u32>],
        weights: &[f64],
        least: f64,
    ) -> Self {
        assert_eq!(weights.len(), places.len(), "weights of rows");
        let num_nodes = places.iter().flatten().count();
        let of_nodes = places.iter().zip(weights).filter(|(place, _)| place.is_some()).map(|(_, weight)| weight);
        let mean = of_nodes.sum::<f64>() / num_nodes.max(1) as f64;
        let mut edges = Vec::new();
        let lists = neighbors.indices.chunks(neighbors.k.max(1)).zip(neighbors.values.chunks(neighbors.k.max(1)));
        for (((list, cosines), own), weight) in lists.zip(places).zip(weights) {
            let Some(own) = *own else { continue };
            let mut sum = 0.0;
            let mut near = Vec::with_capacity(k);
            for (&row, &cosine) in list.iter().zip(cosines) {
                let Some(other) = places[row as usize] else { continue };
                if near.len() == k || (sum >= least && !near.is_empty()) {
                    break;
                }
                sum += weights[row as usize];
                near.push((other, ((f64::from(cosine) - 1.0) / BANDWIDTH).exp()));
            }
            let share = weight / mean / near.len().max(1) as f64;
            let edge = |&(other, nearness): &(u32, f64)| Edge {
                a: own.min(other),
                b: own.max(other),
                weight: share * nearness,
            };
            edges.extend(near.iter().map(edge));
        }
        let whole = Self { num_nodes, edges };
        // Adds the weights of a pair that each found the other.
        whole.contracted(&(0..num_nodes as u32).collect::<Vec<_>>(), num_nodes)
    }

    /// The graph in which every node is replaced by `nodes[node]`: the weights of parallel edges are added, and edges
    /// that end up within a node become self-edges. A partition of it has the same modularity as the corresponding
    /// partition of this graph.
    ///
    /// # Panics
    /// If there is not one number below `num_nodes` per node.
    pub fn contracted(&self, nodes: &[u32], num_nodes: usize) -> Self {
        assert_eq!(nodes.len(), self.num_nodes, "what each node becomes");
        let moved = |edge: &Edge| {
            let (a, b) = (nodes[edge.a as usize], nodes[edge.b as usize]);
            assert!((a.max(b) as usize) < num_nodes, "node {} of {num_nodes}", a.max(b));
            Edge { a: a.min(b), b: a.max(b), weight: edge.weight }
        };
        let mut edges: Vec<Edge> = self.edges.iter().map(moved).collect();
        // Stable, so that the weights of a pair are always added in the same order.
        edges.sort_by_key(|edge| (edge.a, edge.b));
        edges.dedup_by(|next, kept| {
            let is_same = (next.a, next.b) == (kept.a, kept.b);
            if is_same {
                kept.weight += next.weight;
            }
            is_same
        });
        Self { num_nodes, edges }
    }

    /// Sum of the weights of the edges at each node; a self-edge counts twice.
    pub fn degrees(&self) -> Vec<f64> {
        let mut degrees = vec![0.0; self.num_nodes];
        for edge in &self.edges {
            degrees[edge.a as usize] += edge.weight;
            degrees[edge.b as usize] += edge.weight;
        }
        degrees
    }

    /// Fraction of the weight at each node that leads to its own community; 1 if it has no edge.
    pub fn shares_within(&self, labels: &[i32]) -> Vec<f32> {
        let degrees = self.degrees();
        let mut within = vec![0.0; self.num_nodes];
        for edge in self.edges.iter().filter(|edge| labels[edge.a as usize] == labels[edge.b as usize]) {
            within[edge.a as usize] += edge.weight;
            within[edge.b as usize] += edge.weight;
        }
        let share = |(within, degree): (f64, f64)| if degree > 0.0 { (within / degree) as f32 } else { 1.0 };
        within.into_iter().zip(degrees).map(share).collect()
    }

    /// The communities, each split into its connected parts: numbers `0..`, by first node.
    ///
    /// Moving nodes one by one can remove the last bridge of a community. Splitting what remains never lowers the
    /// modularity, because no edge is cut.
    pub fn connected(&self, labels: &[i32]) -> Vec<i32> {
        let mut parents: Vec<u32> = (0..self.num_nodes as u32).collect();
        fn root(parents: &mut [u32], mut node: u32) -> u32 {
            while parents[node as usize] != node {
                parents[node as usize] = parents[parents[node as usize] as usize];
                node = parents[node as usize];
            }
            node
        }
        for edge in self.edges.iter().filter(|edge| labels[edge.a as usize] == labels[edge.b as usize]) {
            let (a, b) = (root(&mut parents, edge.a), root(&mut parents, edge.b));
            parents[a.max(b) as usize] = a.min(b);
        }
        let mut numbers = vec![-1; self.num_nodes];
        let mut next = 0;
        (0..self.num_nodes as u32)
            .map(|node| {
                let number = &mut numbers[root(&mut parents, node) as usize];
                if *number < 0 {
                    *number = next;
                    next += 1;
                }
                *number
            })
            .collect()
    }

    /// The communities, with those of a size of at most `most` merged into the one that most of the weight of their edges
    /// leads to, smallest first: numbers `0..`, by first node. `sizes` are those of the nodes, the numbers of their rows
    /// say. One without edges stays.
    ///
    /// A row has more neighbours than such a community has other rows, so most of what is near it is elsewhere.
    pub fn without_small(&self, labels: &[i32], sizes: &[f64], most: f64) -> Vec<i32> {
        let mut labels = labels.to_vec();
        let num = labels.iter().max().map_or(0, |&label| label as usize + 1);
        let mut rows = vec![0.0; num];
        labels.iter().zip(sizes).for_each(|(&label, &size)| rows[label as usize] += size);
        let mut is_asked = vec![false; num];
        let is_small = |size: f64| size > 0.0 && size <= most;
        while let Some(small) =
            (0..num).filter(|&of| !is_asked[of] && is_small(rows[of])).min_by(|&a, &b| rows[a].total_cmp(&rows[b]))
        {
            is_asked[small] = true;
            let mut weights = vec![0.0; num];
            for edge in &self.edges {
                let (a, b) = (labels[edge.a as usize] as usize, labels[edge.b as usize] as usize);
                match (a == small, b == small) {
                    (true, false) => weights[b] += edge.weight,
                    (false, true) => weights[a] += edge.weight,
                    _ => {}
                }
            }
            let nearest = (0..num)
                .filter(|&of| weights[of] > 0.0)
                .max_by(|&a, &b| weights[a].total_cmp(&weights[b]).then(b.cmp(&a)));
            if let Some(nearest) = nearest {
                rows[nearest] += std::mem::take(&mut rows[small]);
                labels.iter_mut().filter(|label| **label as usize == small).for_each(|label| *label = nearest as i32);
            }
        }
        let mut numbers = vec![-1; num];
        let mut next = 0;
        let mut number = |label: i32| {
            let number = &mut numbers[label as usize];
            if *number < 0 {
                *number = next;
                next += 1;
            }
            *number
        };
        labels.into_iter().map(&mut number).collect()
    }

    /// Modularity of a partition at a resolution (Newman and Girvan 2004; Reichardt and Bornholdt 2006, with the
    /// configuration model): `sum over communities of e / m - resolution (d / 2m)^2`, with `e` the weight within, `d`
    /// the sum of degrees, `m` the weight of all edges. 0 without edges.
    #[cfg(test)]
    pub fn modularity(&self, labels: &[i32], resolution: f64) -> f64 {
        let num = labels.iter().max().map_or(0, |&most| most as usize + 1);
        let (mut within, mut degrees) = (vec![0.0; num], vec![0.0; num]);
        for edge in self.edges.iter().filter(|edge| labels[edge.a as usize] == labels[edge.b as usize]) {
            within[labels[edge.a as usize] as usize] += edge.weight;
        }
        for (degree, &label) in self.degrees().iter().zip(labels) {
            degrees[label as usize] += degree;
        }
        let m: f64 = self.edges.iter().map(|edge| edge.weight).sum();
        let of = |(within, degree): (&f64, &f64)| within / m - resolution * (degree / (2.0 * m)).powi(2);
        if m > 0.0 { within.iter().zip(&degrees).map(of).sum() } else { 0.0 }
    }
}

#[cfg(test)]
mod tests;
