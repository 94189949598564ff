//! The minimum spanning tree by mutual reachability: the distance of two rows, or the core distance of either if that
//! is larger.

use invar_dataset::Progress;
use rayon::prelude::*;

use crate::{ClusterError, Rows, gemm, neighbors::Neighbors, rows};

/// Maximum number of pairs compared to join the components of the graph, in one round. Below it the nearest pair
/// between two components is exact.
const PAIRS: usize = 1 << 30;
/// Minimum number of rows of a component that look for the nearest row outside.
const LEAST_ASKED: usize = 16;
/// Steps from one component to the other and back that shorten an edge found from a subset of the rows.
const STEPS: usize = 8;
/// Rows per matrix product.
const ASKED: usize = 64;
const TILE: usize = 1024;

/// An edge of the tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Edge {
    pub a: u32,
    pub b: u32,
    /// Mutual reachability.
    pub length: f32,
}

/// Rows with the distance within which each has its `min_samples` neighbours, counting itself.
pub(super) struct Reachability<'a> {
    data: Rows<'a>,
    core: Vec<f32>,
    squared_norms: Vec<f32>,
}

impl<'a> Reachability<'a> {
    /// `near` are the nearest neighbours of every row by Euclidean distance, at least `min_samples - 1` (or as many as
    /// there are).
    pub fn new(data: Rows<'a>, near: &Neighbors, min_samples: usize) -> Self {
        let core = match min_samples.checked_sub(2) {
            Some(last) if near.k > 0 => near.values.chunks(near.k).map(|of| of[last.min(near.k - 1)]).collect(),
            _ => vec![0.0; data.len()],
        };
        let squared_norms = data.values().par_chunks(data.dim()).map(|row| rows::squared_norm(row) as f32).collect();
        Self { data, core, squared_norms }
    }

    fn between(&self, a: u32, b: u32, distance: f32) -> Edge {
        let length = distance.max(self.core[a as usize]).max(self.core[b as usize]);
        Edge { a: a.min(b), b: a.max(b), length }
    }

    fn edge(&self, a: u32, b: u32) -> Edge {
        let squared = rows::squared_distance(self.data.row(a as usize), self.data.row(b as usize));
        self.between(a, b, squared.sqrt())
    }

    /// The `n - 1` edges of the tree, shortest first: those of the graph of neighbours by Kruskal's algorithm, then the
    /// shortest edge out of each of its components, until there is only one (Boruvka's algorithm).
    ///
    /// # Errors
    /// If the user cancels.
    pub fn spanning_tree(&self, near: &Neighbors, progress: &dyn Progress) -> Result<Vec<Edge>, ClusterError> {
        let n = self.data.len();
        let lists = near.indices.par_chunks(near.k.max(1)).zip(near.values.par_chunks(near.k.max(1)));
        let mut edges: Vec<Edge> = lists
            .enumerate()
            .flat_map_iter(|(row, (others, distances))| {
                others.iter().zip(distances).map(move |(&other, &distance)| self.between(row as u32, other, distance))
            })
            .collect();
        let mut parts = Parts::new(n);
        let mut tree = Vec::with_capacity(n.saturating_sub(1));
        sort(&mut edges);
        tree.extend(edges.into_iter().filter(|edge| parts.join(edge.a, edge.b)));
        while tree.len() + 1 < n {
            if progress.is_cancelled() {
                return Err(ClusterError::Cancelled);
            }
            let mut bridges = self.bridges(&parts.numbered());
            sort(&mut bridges);
            tree.extend(bridges.into_iter().filter(|edge| parts.join(edge.a, edge.b)));
        }
        sort(&mut tree);
        Ok(tree)
    }

    /// For each component but the largest a short edge that leads out of it: the shortest, unless that takes too many
    /// comparisons.
    fn bridges(&self, parts: &[u32]) -> Vec<Edge> {
        let n = parts.len();
        let num = parts.iter().max().map_or(0, |&most| most as usize + 1);
        let mut members: Vec<Vec<u32>> = vec![vec![]; num];
        parts.iter().enumerate().for_each(|(row, &part)| members[part as usize].push(row as u32));
        let largest = (0..num).max_by_key(|&part| (members[part].len(), num - part)).unwrap_or(0);
        let limit = (PAIRS / n / num.max(2)).max(LEAST_ASKED);
        let is_exact = (n - members[largest].len()).saturating_mul(n) <= PAIRS;
        let asked: Vec<Vec<u32>> = (0..num)
            .map(|part| match &members[part] {
                _ if part == largest => vec![],
                rows if is_exact || rows.len() <= limit => rows.clone(),
                rows => self.outermost(rows, &members, part, limit),
            })
            .collect();
        let all: Vec<u32> = asked.concat();
        let found: Vec<Edge> = all.par_chunks(ASKED).flat_map_iter(|rows| self.nearest_outside(rows, parts)).collect();
        let mut found = found.into_iter();
        let shortest = |edges: Vec<Edge>| edges.into_iter().min_by(order);
        let bridges: Vec<(usize, Edge)> = asked
            .iter()
            .enumerate()
            .filter_map(|(part, rows)| Some((part, shortest(found.by_ref().take(rows.len()).collect())?)))
            .collect();
        let nearer = |&(part, edge): &(usize, Edge)| match asked[part].len() == members[part].len() {
            true => edge,
            false => self.shortened(edge, parts, &members),
        };
        bridges.par_iter().map(nearer).collect()
    }

    /// The members of `part` among `rows` that are nearest to the mean of another component.
    fn outermost(&self, rows: &[u32], members: &[Vec<u32>], part: usize, limit: usize) -> Vec<u32> {
        let dim = self.data.dim();
        let others = members.iter().enumerate().filter(|&(other, _)| other != part).map(|(_, members)| members);
        let means: Vec<Vec<f32>> = others
            .map(|members| {
                let mut sum = vec![0f64; dim];
                for &row in members {
                    sum.iter_mut().zip(self.data.row(row as usize)).for_each(|(sum, &x)| *sum += f64::from(x));
                }
                sum.into_iter().map(|sum| (sum / members.len() as f64) as f32).collect()
            })
            .collect();
        let gap = |&row: &u32| {
            let row = self.data.row(row as usize);
            means.iter().map(|mean| rows::squared_distance(row, mean)).fold(f32::INFINITY, f32::min)
        };
        let mut gaps: Vec<(f32, u32)> = rows.par_iter().map(|row| (gap(row), *row)).collect();
        gaps.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        gaps.into_iter().take(limit).map(|(_, row)| row).collect()
    }

    /// For each of `asked` the shortest edge to a row of another component.
    fn nearest_outside(&self, asked: &[u32], parts: &[u32]) -> Vec<Edge> {
        let dim = self.data.dim();
        let values: Vec<f32> = asked.iter().flat_map(|&row| self.data.row(row as usize).iter().copied()).collect();
        let none = Edge { a: 0, b: 0, length: f32::INFINITY };
        let mut best = vec![none; asked.len()];
        let mut products = Vec::new();
        for (tile, rows) in self.data.values().chunks(TILE * dim).enumerate() {
            let (first, width) = (tile * TILE, rows.len() / dim);
            products.resize(asked.len() * width, 0.0);
            gemm::products(&values, rows, dim, &mut products);
            for ((&row, best), products) in asked.iter().zip(&mut best).zip(products.chunks(width)) {
                let (own, part) = (self.squared_norms[row as usize], parts[row as usize]);
                for (other, product) in (first..).zip(products) {
                    // In nearly all cases the product alone, with a margin for rounding, shows that it is too far.
                    let squared = own + self.squared_norms[other] - 2.0 * product;
                    if parts[other] != part && squared.max(0.0).sqrt() * (1.0 - 1e-3) < best.length {
                        let edge = self.edge(row, other as u32);
                        if order(&edge, best).is_lt() {
                            *best = edge;
                        }
                    }
                }
            }
        }
        best
    }

    /// From one end to the nearest row of the other's component, and back.
    fn shortened(&self, mut edge: Edge, parts: &[u32], members: &[Vec<u32>]) -> Edge {
        for _ in 0..STEPS {
            let from = edge;
            for (end, other) in [(edge.a, edge.b), (edge.b, edge.a)] {
                let there = members[parts[other as usize] as usize].iter().map(|&row| self.edge(end, row));
                edge = there.chain([edge]).min_by(order).unwrap_or(edge);
            }
            if edge == from {
                break;
            }
        }
        edge
    }
}

fn order(a: &Edge, b: &Edge) -> std::cmp::Ordering {
    a.length.total_cmp(&b.length).then((a.a, a.b).cmp(&(b.a, b.b)))
}

fn sort(edges: &mut Vec<Edge>) {
    edges.par_sort_unstable_by(order);
    edges.dedup_by_key(|edge| (edge.a, edge.b));
}

/// Which rows are joined, directly or through others.
pub(super) struct Parts {
    parents: Vec<u32>,
    sizes: Vec<u32>,
}

impl Parts {
    pub fn new(n: usize) -> Self {
        Self { parents: (0..n as u32).collect(), sizes: vec![1; n] }
    }

    pub fn root(&mut self, mut row: u32) -> u32 {
        while self.parents[row as usize] != row {
            self.parents[row as usize] = self.parents[self.parents[row as usize] as usize];
            row = self.parents[row as usize];
        }
        row
    }

    /// Joins the components of two rows, and returns whether they were different.
    fn join(&mut self, a: u32, b: u32) -> bool {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return false;
        }
        let (larger, smaller) = if self.sizes[a as usize] >= self.sizes[b as usize] { (a, b) } else { (b, a) };
        self.parents[smaller as usize] = larger;
        self.sizes[larger as usize] += self.sizes[smaller as usize];
        true
    }

    /// The component of each row, numbered by its first row.
    fn numbered(&mut self) -> Vec<u32> {
        let mut numbers = vec![u32::MAX; self.parents.len()];
        let mut next = 0;
        (0..self.parents.len() as u32)
            .map(|row| {
                let number = &mut numbers[self.root(row) as usize];
                if *number == u32::MAX {
                    *number = next;
                    next += 1;
                }
                *number
            })
            .collect()
    }
}
