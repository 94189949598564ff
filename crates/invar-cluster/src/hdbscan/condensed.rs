//! The condensed tree: the clusters of a minimum size that persist as the density rises (Campello, Moulavi and Sander
//! 2013, section 3), and the selection of clusters with the largest excess of mass. Ties and single clusters are
//! handled as in McInnes's `hdbscan`.

use super::{HdbscanConfig, spanning::Edge};

/// Density of identical rows, in place of infinity, which cannot be compared.
const MOST_DENSE: f64 = 1e12;

/// A cluster of the tree.
struct Cluster {
    parent: Option<usize>,
    children: Vec<usize>,
    /// The density at which it appears.
    birth: f64,
    /// The largest density at which a row leaves it, or it splits.
    death: f64,
    /// Excess of mass: the sum over rows of the density range in which each stays.
    stability: f64,
}

/// The clusters, parents first, the root at 0, and where and at what density each row leaves.
pub(super) struct CondensedTree {
    clusters: Vec<Cluster>,
    /// The smallest cluster that the row was in, and the density at which it left; `[n]`.
    rows: Vec<(usize, f64)>,
}

/// Two nodes that are joined: numbers below `n` are rows, others earlier joins.
struct Join {
    nodes: [usize; 2],
    density: f64,
    size: usize,
}

impl CondensedTree {
    /// From a spanning tree of `n` rows, shortest edge first.
    pub fn new(edges: &[Edge], n: usize, min_cluster_size: usize) -> Self {
        let joins = joins(edges, n);
        let size = |node: usize| if node < n { 1 } else { joins[node - n].size };
        let root = Cluster { parent: None, children: vec![], birth: 0.0, death: 0.0, stability: 0.0 };
        let mut tree = Self { clusters: vec![root], rows: vec![(0, 0.0); n] };
        let mut open = vec![((n + joins.len()).saturating_sub(1), 0)];
        while let Some((node, cluster)) = open.pop() {
            let Some(join) = node.checked_sub(n).map(|at| &joins[at]) else {
                // A cluster of one row, which exists only if there is a single row.
                tree.leave(node, cluster, MOST_DENSE);
                continue;
            };
            let are_large = join.nodes.map(|node| size(node) >= min_cluster_size);
            for (&child, is_large) in join.nodes.iter().zip(are_large) {
                match (is_large, are_large == [true; 2]) {
                    (true, true) => {
                        let new = tree.split(cluster, size(child), join.density);
                        open.push((child, new));
                    }
                    (true, false) => open.push((child, cluster)),
                    (false, _) => {
                        let mut leaving = vec![child];
                        while let Some(node) = leaving.pop() {
                            match node.checked_sub(n) {
                                Some(at) => leaving.extend(joins[at].nodes),
                                None => tree.leave(node, cluster, join.density),
                            }
                        }
                    }
                }
            }
        }
        tree
    }

    fn leave(&mut self, row: usize, cluster: usize, density: f64) {
        self.rows[row] = (cluster, density);
        self.lose(cluster, 1, density);
    }

    fn split(&mut self, parent: usize, size: usize, density: f64) -> usize {
        let new = self.clusters.len();
        self.clusters.push(Cluster {
            parent: Some(parent),
            children: vec![],
            birth: density,
            death: 0.0,
            stability: 0.0,
        });
        self.clusters[parent].children.push(new);
        self.lose(parent, size, density);
        new
    }

    fn lose(&mut self, cluster: usize, size: usize, density: f64) {
        let cluster = &mut self.clusters[cluster];
        cluster.death = cluster.death.max(density);
        cluster.stability += size as f64 * (density - cluster.birth);
    }

    /// Cluster (-1: noise) and membership of each row.
    pub fn clusters(&self, config: &HdbscanConfig) -> (Vec<i32>, Vec<f32>) {
        let is_selected = self.selected(config);
        let only_root = is_selected[0];
        // Parents come first.
        let mut owners: Vec<Option<usize>> = vec![None; self.clusters.len()];
        let mut num = 0;
        let mut labels = vec![-1; self.clusters.len()];
        for at in 0..self.clusters.len() {
            owners[at] = match is_selected[at] {
                true => Some(at),
                false => self.clusters[at].parent.and_then(|parent| owners[parent]),
            };
            if is_selected[at] {
                labels[at] = num;
                num += 1;
            }
        }
        let of_row = |&(cluster, density): &(usize, f64)| {
            let Some(owner) = owners[cluster] else { return (-1, 0.0) };
            let death = self.clusters[owner].death;
            // All rows are in the root: a single cluster contains those at least as dense as the point where it splits.
            let least = if config.epsilon > 0.0 { 1.0 / config.epsilon } else { death };
            if only_root && density < least {
                return (-1, 0.0);
            }
            let membership = if death > 0.0 { density.min(death) / death } else { 1.0 };
            (labels[owner], membership as f32)
        };
        self.rows.iter().map(of_row).unzip()
    }

    /// The clusters whose excess of mass is not less than that of the clusters they split into.
    fn selected(&self, config: &HdbscanConfig) -> Vec<bool> {
        let mut best: Vec<f64> = self.clusters.iter().map(|cluster| cluster.stability).collect();
        let mut is_selected = vec![false; self.clusters.len()];
        let first = usize::from(!config.allow_single_cluster);
        for at in (first..self.clusters.len()).rev() {
            let below: f64 = self.clusters[at].children.iter().map(|&child| best[child]).sum();
            if below > best[at] {
                best[at] = below;
            } else {
                is_selected[at] = true;
            }
        }
        self.keep_highest(&mut is_selected);
        if config.epsilon > 0.0 && !is_selected[0] {
            self.merge_near(&mut is_selected, config);
        }
        is_selected
    }

    /// Deselects everything below a selected cluster.
    fn keep_highest(&self, is_selected: &mut [bool]) {
        let mut is_below = vec![false; self.clusters.len()];
        for at in 1..self.clusters.len() {
            let parent = self.clusters[at].parent.unwrap_or(0);
            is_below[at] = is_below[parent] || is_selected[parent];
            is_selected[at] &= !is_below[at];
        }
    }

    /// Replaces clusters that appear at a distance below epsilon by the first above them that does not.
    fn merge_near(&self, is_selected: &mut [bool], config: &HdbscanConfig) {
        let distance = |at: usize| 1.0 / self.clusters[at].birth;
        for at in 1..self.clusters.len() {
            if !is_selected[at] || distance(at) >= config.epsilon {
                continue;
            }
            let mut above = at;
            while let Some(parent) = self.clusters[above].parent {
                if parent == 0 && !config.allow_single_cluster {
                    break;
                }
                above = parent;
                if parent == 0 || distance(parent) > config.epsilon {
                    break;
                }
            }
            is_selected[at] = false;
            is_selected[above] = true;
        }
        self.keep_highest(is_selected);
    }
}

/// The single-linkage tree of a spanning tree.
fn joins(edges: &[Edge], n: usize) -> Vec<Join> {
    let mut parents: Vec<usize> = (0..n + edges.len()).collect();
    let mut joins: Vec<Join> = Vec::with_capacity(edges.len());
    for edge in edges {
        let nodes = [edge.a, edge.b].map(|row| {
            let mut node = row as usize;
            while parents[node] != node {
                parents[node] = parents[parents[node]];
                node = parents[node];
            }
            node
        });
        let size = nodes.iter().map(|&node| if node < n { 1 } else { joins[node - n].size }).sum();
        let new = n + joins.len();
        nodes.iter().for_each(|&node| parents[node] = new);
        joins.push(Join { nodes, density: (1.0 / f64::from(edge.length)).min(MOST_DENSE), size });
    }
    joins
}
