//! Nodes in their surroundings, merged: what several views show of one graph is in the batch once.

use std::collections::HashMap;

use invar_dataset::{NodeFeatures, Surroundings, View};
use tch::{Kind, Tensor};

use super::Batch;
use crate::Error;

/// Nodes of one graph: first those that the views are of, one after the other, then what surrounds them.
#[derive(Debug)]
pub struct Nodes {
    /// Features of the nodes, `N` of them.
    pub features: NodeValues,
    /// The edges that lead to each node: the sources of the edges.
    pub incoming: Bags,
    /// The sum of the weights of the edges that lead to each node `[N]`, f32.
    pub totals: Tensor,
    /// Number of views, `B`.
    pub num_views: i64,
}

/// Features of nodes, on the host or on a device.
#[derive(Debug)]
pub enum NodeValues {
    /// `[N, F]`, f32.
    Dense(Tensor),
    /// The columns of the values other than 0, out of `F`.
    Sparse(Bags, i64),
}

/// A list of weighted numbers for each of `N` rows.
#[derive(Debug)]
pub struct Bags {
    /// The numbers of all rows, one row after the other `[E]`, i64.
    pub items: Tensor,
    /// Where each row begins, and where the last one ends `[N + 1]`, i64.
    pub starts: Tensor,
    /// The weight of each number `[E]`, f32.
    pub weights: Tensor,
}

impl Bags {
    /// For each row the weighted sum of the rows of `table` `[M, C]` that it lists: `[N, C]`.
    pub fn sums(&self, table: &Tensor) -> Tensor {
        const SUM: i64 = 0;
        let weights = self.weights.to_kind(table.kind());
        Tensor::embedding_bag(table, &self.items, &self.starts, false, SUM, false, Some(weights), true).0
    }

    /// The first `num_rows` rows.
    pub fn first(&self, num_rows: i64) -> Self {
        let end = self.starts.int64_value(&[num_rows]);
        Self {
            items: self.items.narrow(0, 0, end),
            starts: self.starts.narrow(0, 0, num_rows + 1),
            weights: self.weights.narrow(0, 0, end),
        }
    }

    fn of(lists: &[Vec<(u32, f32)>]) -> Self {
        let items: Vec<i64> = lists.iter().flatten().map(|&(item, _)| i64::from(item)).collect();
        let weights: Vec<f32> = lists.iter().flatten().map(|&(_, weight)| weight).collect();
        let mut end = 0;
        let ends = lists.iter().map(|list| {
            end += list.len() as i64;
            end
        });
        let starts: Vec<i64> = [0].into_iter().chain(ends).collect();
        let [items, starts] = [items, starts].map(|values| Tensor::from_slice(&values));
        Self { items, starts, weights: Tensor::from_slice(&weights) }
    }

    fn each(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        Self { items: f(&self.items), starts: f(&self.starts), weights: f(&self.weights) }
    }

    /// How many numbers each row lists.
    fn lengths(&self) -> Tensor {
        let num_rows = self.starts.size()[0] - 1;
        self.starts.narrow(0, 1, num_rows) - self.starts.narrow(0, 0, num_rows)
    }

    /// The rows `order`.
    fn taken(&self, order: &Tensor) -> Self {
        let lengths = self.lengths().index_select(0, order);
        let starts =
            Tensor::cat(&[lengths.new_zeros([1], (Kind::Int64, order.device())), lengths.cumsum(0, None::<Kind>)], 0);
        let firsts = (self.starts.index_select(0, order) - starts.narrow(0, 0, lengths.size()[0]))
            .repeat_interleave_self_tensor(&lengths, 0, None::<i64>);
        let places = Tensor::arange(firsts.size()[0], (Kind::Int64, order.device())) + firsts;
        Self { items: self.items.index_select(0, &places), starts, weights: self.weights.index_select(0, &places) }
    }
}

impl Nodes {
    /// Applies `f` to each of the tensors.
    pub(super) fn each(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        let features = match &self.features {
            NodeValues::Dense(x) => NodeValues::Dense(f(x)),
            NodeValues::Sparse(bags, num_features) => NodeValues::Sparse(bags.each(&f), *num_features),
        };
        Self { features, incoming: self.incoming.each(&f), totals: f(&self.totals), num_views: self.num_views }
    }

    /// One of the tensors.
    pub(super) fn any(&self) -> &Tensor {
        &self.totals
    }

    pub(super) fn num_features(&self) -> i64 {
        match &self.features {
            NodeValues::Dense(x) => x.size()[1],
            NodeValues::Sparse(_, num_features) => *num_features,
        }
    }

    /// The views `times` times, each time with nodes of its own.
    pub(super) fn repeated(&self, times: i64) -> Self {
        let (num_nodes, views) = (self.totals.size()[0], self.num_views);
        let all = Tensor::arange(num_nodes, (Kind::Int64, self.totals.device()));
        let part = |first, count: i64| all.narrow(0, first, count).repeat([times]);
        let order = Tensor::cat(&[part(0, views), part(views, num_nodes - views)], 0);
        // Which time each node of the new order belongs to, and where that time's copy of every node is.
        let time = |count: i64| {
            Tensor::arange(times, (Kind::Int64, order.device())).repeat_interleave_self_int(count, 0, None::<i64>)
        };
        let times_of = Tensor::cat(&[time(views), time(num_nodes - views)], 0);
        let of_view = all.lt(views);
        let base = all.where_self(&of_view, &(&all + (times - 1) * views));
        let stride = all.full_like(num_nodes - views).masked_fill(&of_view, views);
        let incoming = self.incoming.taken(&order);
        let row_times = times_of.repeat_interleave_self_tensor(&incoming.lengths(), 0, None::<i64>);
        let items = base.index_select(0, &incoming.items) + stride.index_select(0, &incoming.items) * row_times;
        let features = match &self.features {
            NodeValues::Dense(x) => NodeValues::Dense(x.index_select(0, &order)),
            NodeValues::Sparse(bags, num_features) => NodeValues::Sparse(bags.taken(&order), *num_features),
        };
        Self {
            features,
            incoming: Bags { items, ..incoming },
            totals: self.totals.index_select(0, &order),
            num_views: views * times,
        }
    }
}

/// Merges the surroundings of several nodes.
pub(super) fn collate(views: &[&View], num_features: usize) -> Result<Batch, Error> {
    let views: Vec<&Surroundings> = views.iter().map(|view| around(view)).collect();
    for (index, view) in views.iter().enumerate() {
        check(index, view, num_features)?;
    }
    let num_views = views.len();
    // The row of each node: those that the views are of have rows of their own, even if two views are of one node.
    let mut rows: HashMap<u64, u32> = HashMap::with_capacity(4 * num_views);
    for (row, view) in views.iter().enumerate() {
        rows.entry(view.nodes[0]).or_insert(row as u32);
    }
    // The view and the number there from which the features of each row are taken.
    let mut taken_from: Vec<(usize, usize)> = (0..num_views).map(|view| (view, 0)).collect();
    // The view that says which edges lead to each row.
    let mut said_by: Vec<usize> = (0..num_views).collect();
    let mut incoming: Vec<Vec<(u32, f32)>> = vec![vec![]; num_views];
    let mut own_rows = vec![];
    for (number, view) in views.iter().enumerate() {
        own_rows.clear();
        for (node, id) in view.nodes.iter().enumerate() {
            let row = if node == 0 { number as u32 } else { *rows.entry(*id).or_insert(taken_from.len() as u32) };
            if row as usize == taken_from.len() {
                taken_from.push((number, node));
                said_by.push(usize::MAX);
                incoming.push(vec![]);
            }
            own_rows.push(row);
        }
        for (&(source, target), &weight) in view.edge_index.iter().zip(&view.edge_weight) {
            let (source, target) = (own_rows[source as usize], own_rows[target as usize] as usize);
            if said_by[target] == usize::MAX {
                said_by[target] = number;
            }
            if said_by[target] == number {
                incoming[target].push((source, weight));
            }
        }
    }
    let totals: Vec<f32> = incoming.iter().map(|edges| edges.iter().map(|&(_, weight)| weight).sum()).collect();
    Ok(Batch::Nodes(Nodes {
        features: features(&views, &taken_from, num_features),
        incoming: Bags::of(&incoming),
        totals: Tensor::from_slice(&totals),
        num_views: num_views as i64,
    }))
}

fn around(view: &View) -> &Surroundings {
    match view {
        View::Node(around) => around,
        _ => unreachable!("the views are alike"),
    }
}

/// The features of each row, from node `taken_from[row].1` of view `taken_from[row].0`.
fn features(views: &[&Surroundings], taken_from: &[(usize, usize)], num_features: usize) -> NodeValues {
    if let NodeFeatures::Dense(_) = views[0].features {
        let mut x = Vec::with_capacity(taken_from.len() * num_features);
        for &(view, node) in taken_from {
            let NodeFeatures::Dense(values) = &views[view].features else { unreachable!("the views are alike") };
            x.extend_from_slice(&values[node * num_features..][..num_features]);
        }
        return NodeValues::Dense(Tensor::from_slice(&x).view([-1, num_features as i64]));
    }
    let row = |&(view, node): &(usize, usize)| -> Vec<(u32, f32)> {
        let NodeFeatures::Sparse { ends, columns, values } = &views[view].features else {
            unreachable!("the views are alike")
        };
        let own = if node == 0 { 0 } else { ends[node - 1] as usize }..ends[node] as usize;
        columns[own.clone()].iter().copied().zip(values[own].iter().copied()).collect()
    };
    NodeValues::Sparse(Bags::of(&taken_from.iter().map(row).collect::<Vec<_>>()), num_features as i64)
}

fn check(index: usize, view: &Surroundings, num_features: usize) -> Result<(), Error> {
    let bad = |what, expected: String, found: String| Err(Error::Graph { index, what, expected, found });
    let num_nodes = view.nodes.len();
    if num_nodes == 0 || num_features == 0 {
        return bad("nodes and their features", "one or more".into(), format!("{num_nodes} of {num_features}"));
    }
    match &view.features {
        NodeFeatures::Dense(x) if x.len() != num_nodes * num_features => {
            return bad("features", format!("{num_nodes} x {num_features}"), x.len().to_string());
        }
        NodeFeatures::Dense(_) => {}
        NodeFeatures::Sparse { ends, columns, values } => {
            let is_ordered = ends.is_sorted() && ends.last().map_or(0, |&end| end as usize) == values.len();
            if ends.len() != num_nodes || !is_ordered || columns.len() != values.len() {
                let found = format!("{} ends, {} columns, {} values", ends.len(), columns.len(), values.len());
                return bad("features", format!("those of {num_nodes} nodes, one after the other"), found);
            }
            if let Some(column) = columns.iter().find(|&&column| column as usize >= num_features) {
                return bad("a feature", format!("below {num_features}"), column.to_string());
            }
        }
    }
    if let Some(&(a, b)) = view.edge_index.iter().find(|&&(a, b)| a.max(b) as usize >= num_nodes) {
        return bad("an edge", format!("of nodes 0 to {}", num_nodes - 1), format!("{a} to {b}"));
    }
    if view.edge_weight.len() != view.edge_index.len() {
        return bad("weights of edges", view.edge_index.len().to_string(), view.edge_weight.len().to_string());
    }
    match view.edge_weight.iter().find(|weight| !(weight.is_finite() && **weight > 0.0)) {
        Some(weight) => bad("the weight of an edge", "more than 0".into(), weight.to_string()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path of nodes `first`, ..., whose features are their numbers, as node 0 of it sees it.
    fn path(nodes: &[u64], is_sparse: bool) -> View {
        let edges: Vec<(u32, u32)> = (1..nodes.len() as u32).map(|node| (node, node - 1)).collect();
        let values: Vec<f32> = nodes.iter().map(|&node| node as f32).collect();
        let features = if is_sparse {
            let ends = (1..=nodes.len() as u32).collect();
            NodeFeatures::Sparse { ends, columns: vec![1; nodes.len()], values }
        } else {
            NodeFeatures::Dense(values.iter().flat_map(|&value| [0.0, value]).collect())
        };
        View::Node(Surroundings {
            nodes: nodes.to_vec(),
            features,
            num_features: 2,
            edge_weight: edges.iter().map(|&(source, _)| nodes[source as usize] as f32).collect(),
            edge_index: edges,
        })
    }

    /// A node by its feature, the sources and weights of its edges, and the weight of all.
    type Part = (f32, Vec<(f32, f32)>, f32);

    fn parts(batch: &Batch) -> Vec<Part> {
        let nodes = batch.nodes("test", 2).unwrap();
        let dense = match &nodes.features {
            NodeValues::Dense(x) => x.shallow_clone(),
            NodeValues::Sparse(bags, features) => bags.sums(&Tensor::eye(*features, (Kind::Float, batch.device()))),
        };
        let name = Vec::<f32>::try_from(dense.select(1, 1)).unwrap();
        let integers = |t: &Tensor| Vec::<i64>::try_from(t).unwrap();
        let (items, starts) = (integers(&nodes.incoming.items), integers(&nodes.incoming.starts));
        let weights = Vec::<f32>::try_from(&nodes.incoming.weights).unwrap();
        let totals = Vec::<f32>::try_from(&nodes.totals).unwrap();
        let edges = |row: usize| {
            (starts[row] as usize..starts[row + 1] as usize).map(|e| (name[items[e] as usize], weights[e])).collect()
        };
        (0..name.len()).map(|row| (name[row], edges(row), totals[row])).collect()
    }

    #[test]
    fn what_two_views_show_is_there_once() {
        for is_sparse in [false, true] {
            // 3 is at the rim of the first view and within the second; 2 is what the third is of.
            let views = [path(&[1, 2, 3], is_sparse), path(&[7, 3, 4], is_sparse), path(&[2, 3, 4], is_sparse)];
            let batch = Batch::collate(&views.each_ref()).unwrap();
            assert_eq!(batch.len(), 3);
            let expected = vec![
                (1.0, vec![(2.0, 2.0)], 2.0),
                (7.0, vec![(3.0, 3.0)], 3.0),
                (2.0, vec![(3.0, 3.0)], 3.0),
                (3.0, vec![(4.0, 4.0)], 4.0),
                (4.0, vec![], 0.0),
            ];
            assert_eq!(parts(&batch), expected);
            // Repeating the batch gives that of views that share nothing.
            let twice = batch.repeated(2);
            assert_eq!(twice.len(), 6);
            let order = [0, 1, 2, 0, 1, 2, 3, 4, 3, 4];
            assert_eq!(parts(&twice), order.map(|row| expected[row].clone()));
            assert!(twice.num_bytes() as f64 > 1.8 * batch.num_bytes() as f64);
        }
    }

    #[test]
    fn two_views_of_one_node_are_two_rows() {
        let views = [path(&[1, 2], true), path(&[1, 2], true), path(&[5], true)];
        let found = parts(&Batch::collate(&views.each_ref()).unwrap());
        let one = (1.0, vec![(2.0, 2.0)], 2.0);
        assert_eq!(found, [one.clone(), one, (5.0, vec![], 0.0), (2.0, vec![], 0.0)]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let broken = |change: &dyn Fn(&mut Surroundings)| {
            let View::Node(mut around) = path(&[1, 2], true) else { unreachable!() };
            change(&mut around);
            Batch::collate(&[&path(&[3], true), &View::Node(around)]).unwrap_err().to_string()
        };
        let of_features = |change: fn(&mut Vec<u32>, &mut Vec<u32>)| {
            broken(&|around| {
                let NodeFeatures::Sparse { ends, columns, .. } = &mut around.features else { unreachable!() };
                change(ends, columns);
            })
        };
        for (error, expected) in [
            (broken(&|around| around.edge_index[0] = (1, 2)), "an edge: expected of nodes 0 to 1, found 1 to 2"),
            (broken(&|around| around.edge_weight[0] = 0.0), "the weight of an edge: expected more than 0, found 0"),
            (broken(&|around| around.edge_weight.clear()), "weights of edges: expected 1, found 0"),
            (broken(&|around| around.nodes.clear()), "nodes and their features: expected one or more, found 0 of 2"),
            (of_features(|_, columns| columns[1] = 2), "a feature: expected below 2, found 2"),
            (
                of_features(|ends, _| ends[0] = 3),
                "features: expected those of 2 nodes, one after the other, found 2 ends, 2 columns, 2 values",
            ),
        ] {
            assert_eq!(error, format!("collate: view 1: {expected}"));
        }
        let mixed = Batch::collate(&[&path(&[1], true), &path(&[1], false)]).unwrap_err().to_string();
        assert!(mixed.starts_with("collate: view 1 is a node with 2 features"), "{mixed}");
    }
}
