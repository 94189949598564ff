use std::cell::Cell;

use invar_dataset::{NodeFeatures, View};
use tch::{Device, Kind, Tensor};

use crate::{Error, error::describe_view};

mod nodes;

pub use nodes::{Bags, NodeValues, Nodes};

/// Views collated into tensors, on the host or on a device.
#[derive(Debug)]
pub enum Batch {
    /// Dense views of one shape, stacked.
    Dense {
        /// `[B, ...]`, f32.
        x: Tensor,
    },
    /// Token views, padded at the end to the longest.
    Tokens {
        /// Token ids `[B, L]`, i32; -1 is padding.
        ids: Tensor,
        /// Number of tokens of each view `[B]`, i32.
        lengths: Tensor,
        /// True tokens for a masked-token loss `[B, L]`, i32; -1 where there is no target.
        targets: Option<Tensor>,
    },
    /// Graphs, one after the other: their nodes are numbered consecutively, and no edge leads from one graph to
    /// another.
    Graph {
        /// Features of the nodes `[N, F]`, f32.
        x: Tensor,
        /// Source and target of each edge `[2, E]`, i64.
        edges: Tensor,
        /// Weight of each edge `[E]`, f32; 1 by default.
        weights: Tensor,
        /// The graph of each node `[N]`, i64, ascending.
        graphs: Tensor,
        /// Number of nodes of each graph `[B]`, i64.
        sizes: Tensor,
    },
    /// Nodes of one graph with what surrounds them.
    Nodes(Nodes),
}

impl Batch {
    /// Collates views on the host.
    ///
    /// # Errors
    /// If there is no view, the views are not alike, or one is inconsistent.
    pub fn collate(views: &[&View]) -> Result<Self, Error> {
        let Some(first) = views.first() else { return Err(Error::Empty) };
        for (index, view) in views.iter().enumerate() {
            if !alike(first, view) {
                return Err(Error::Unlike { index, first: describe_view(first), found: describe_view(view) });
            }
        }
        match first {
            View::Dense { shape, .. } => collate_dense(views, shape),
            View::Tokens { targets, .. } => Ok(collate_tokens(views, targets.is_some())),
            View::Graph { num_features, .. } => collate_graphs(views, *num_features),
            View::Node(around) => nodes::collate(views, around.num_features),
        }
    }

    /// Number of views.
    pub fn len(&self) -> usize {
        let rows = match self {
            Self::Dense { x } => x,
            Self::Tokens { ids, .. } => ids,
            Self::Graph { sizes, .. } => sizes,
            Self::Nodes(nodes) => return nodes.num_views as usize,
        };
        rows.size()[0] as usize
    }

    /// Whether there are no views; [`Batch::collate`] never returns such a batch.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The device of the tensors.
    pub fn device(&self) -> Device {
        match self {
            Self::Dense { x } | Self::Graph { x, .. } => x.device(),
            Self::Tokens { ids, .. } => ids.device(),
            Self::Nodes(nodes) => nodes.any().device(),
        }
    }

    /// The views repeated `times` times.
    pub fn repeated(&self, times: i64) -> Self {
        if let Self::Nodes(nodes) = self {
            return Self::Nodes(nodes.repeated(times));
        }
        let over = |t: &Tensor| {
            let mut times_over = vec![1; t.dim()];
            times_over[0] = times;
            t.repeat(times_over)
        };
        let Self::Graph { x, edges, weights, graphs, sizes } = self else { return self.each(over) };
        // Each repetition has its own nodes and graphs.
        let shifted =
            |t: &Tensor, by: i64, dim: i64| Tensor::cat(&(0..times).map(|time| t + time * by).collect::<Vec<_>>(), dim);
        Self::Graph {
            x: over(x),
            edges: shifted(edges, x.size()[0], 1),
            weights: over(weights),
            graphs: shifted(graphs, sizes.size()[0], 0),
            sizes: over(sizes),
        }
    }

    /// Size of its tensors in bytes.
    pub fn num_bytes(&self) -> usize {
        let bytes = Cell::new(0);
        self.each(|t| {
            bytes.set(bytes.get() + t.numel() * t.kind().elt_size_in_bytes());
            t.shallow_clone()
        });
        bytes.get()
    }

    /// The target of a masked-token loss at each position `[B, L]`, i32, -1 for none; `None` if there are no targets.
    pub fn targets(&self) -> Option<&Tensor> {
        match self {
            Self::Tokens { targets, .. } => targets.as_ref(),
            Self::Dense { .. } | Self::Graph { .. } | Self::Nodes(_) => None,
        }
    }

    /// Shares the same data, without copying.
    pub fn shallow_clone(&self) -> Self {
        self.each(Tensor::shallow_clone)
    }

    /// Moves the batch into page-locked memory if `device` is CUDA, so that the copy to it need not block.
    pub fn pin(self, device: Device) -> Self {
        if device.is_cuda() { self.each(|t| t.pin_memory(device)) } else { self }
    }

    /// Copies the batch to a device, without waiting for a copy out of page-locked memory.
    pub fn to_device(&self, device: Device) -> Self {
        self.each(|t| t.to_device_(device, t.kind(), device.is_cuda(), false))
    }

    /// The dense values `[B, F]`, for an encoder that reads vectors of `num_features`.
    ///
    /// # Errors
    /// If the batch has another shape.
    pub fn features(&self, encoder: &'static str, num_features: i64) -> Result<&Tensor, Error> {
        match self {
            Self::Dense { x } if x.dim() == 2 && x.size()[1] == num_features => Ok(x),
            other => {
                Err(Error::Shape { encoder, expected: format!("dense [{num_features}]"), found: other.describe() })
            }
        }
    }

    /// The dense values `[B, C, H, W]`, for an encoder that reads images of `shape`, `[C, H, W]`.
    ///
    /// # Errors
    /// If the batch has another shape.
    pub fn images(&self, encoder: &'static str, shape: [i64; 3]) -> Result<&Tensor, Error> {
        match self {
            Self::Dense { x } if x.dim() == 4 && x.size()[1..] == shape => Ok(x),
            other => Err(Error::Shape { encoder, expected: format!("dense {shape:?}"), found: other.describe() }),
        }
    }

    /// The tokens `[B, L]` and lengths `[B]`, for an encoder that reads sequences.
    ///
    /// # Errors
    /// If the batch has another shape.
    pub fn sequences(&self, encoder: &'static str) -> Result<(&Tensor, &Tensor), Error> {
        match self {
            Self::Tokens { ids, lengths, .. } => Ok((ids, lengths)),
            other => Err(Error::Shape { encoder, expected: "tokens".into(), found: other.describe() }),
        }
    }

    /// The graphs, for an encoder that reads nodes of `num_features`.
    ///
    /// # Errors
    /// If the batch has another shape.
    pub fn graphs(&self, encoder: &'static str, num_features: i64) -> Result<Graphs<'_>, Error> {
        match self {
            Self::Graph { x, edges, weights, graphs, sizes } if x.size()[1] == num_features => {
                Ok(Graphs { x, edges, weights, graphs, sizes })
            }
            other => Err(Error::Shape {
                encoder,
                expected: format!("graphs with {num_features} features per node"),
                found: other.describe(),
            }),
        }
    }

    /// The nodes, for an encoder that reads nodes of `num_features` in their surroundings.
    ///
    /// # Errors
    /// If the batch has another shape.
    pub fn nodes(&self, encoder: &'static str, num_features: i64) -> Result<&Nodes, Error> {
        match self {
            Self::Nodes(nodes) if nodes.num_features() == num_features => Ok(nodes),
            other => Err(Error::Shape {
                encoder,
                expected: format!("nodes with {num_features} features in their surroundings"),
                found: other.describe(),
            }),
        }
    }

    /// Applies `f` to each of its tensors: the one place that lists them.
    fn each(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        match self {
            Self::Dense { x } => Self::Dense { x: f(x) },
            Self::Nodes(nodes) => Self::Nodes(nodes.each(f)),
            Self::Graph { x, edges, weights, graphs, sizes } => {
                Self::Graph { x: f(x), edges: f(edges), weights: f(weights), graphs: f(graphs), sizes: f(sizes) }
            }
            Self::Tokens { ids, lengths, targets } => {
                Self::Tokens { ids: f(ids), lengths: f(lengths), targets: targets.as_ref().map(f) }
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Dense { x } => format!("dense {:?}", &x.size()[1..]),
            Self::Tokens { .. } => "tokens".into(),
            Self::Graph { x, .. } => format!("graphs with {} features per node", x.size()[1]),
            Self::Nodes(nodes) => format!("nodes with {} features in their surroundings", nodes.num_features()),
        }
    }
}

/// The parts of a [`Batch::Graph`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Graphs<'a> {
    pub x: &'a Tensor,
    pub edges: &'a Tensor,
    pub weights: &'a Tensor,
    pub graphs: &'a Tensor,
    pub sizes: &'a Tensor,
}

fn alike(a: &View, b: &View) -> bool {
    match (a, b) {
        (View::Dense { shape: a, .. }, View::Dense { shape: b, .. }) => a == b,
        (View::Tokens { targets: a, .. }, View::Tokens { targets: b, .. }) => a.is_some() == b.is_some(),
        (View::Graph { num_features: a, .. }, View::Graph { num_features: b, .. }) => a == b,
        (View::Node(a), View::Node(b)) => {
            let is_dense = |features: &NodeFeatures| matches!(features, NodeFeatures::Dense(_));
            a.num_features == b.num_features && is_dense(&a.features) == is_dense(&b.features)
        }
        _ => false,
    }
}

fn collate_dense(views: &[&View], shape: &[usize]) -> Result<Batch, Error> {
    let row: usize = shape.iter().product();
    let size: Vec<i64> = [views.len()].iter().chain(shape).map(|&extent| extent as i64).collect();
    let mut x = Tensor::empty(&size[..], (Kind::Float, Device::Cpu));
    let values = host_slice::<f32>(&mut x);
    for (index, view) in views.iter().enumerate() {
        let View::Dense { data, .. } = view else { unreachable!("the views are alike") };
        if data.len() != row {
            return Err(Error::Values { index, shape: shape.to_vec(), found: data.len() });
        }
        values[index * row..][..row].copy_from_slice(data);
    }
    Ok(Batch::Dense { x })
}

fn collate_tokens(views: &[&View], with_targets: bool) -> Batch {
    // At least one position, so that a batch of empty sequences is still a matrix.
    let longest = views.iter().map(|view| tokens(view).0.len()).max().unwrap_or(0).max(1);
    let pad = |rows: &dyn Fn(&View) -> &[i32]| {
        let mut tensor = Tensor::full([views.len() as i64, longest as i64], -1, (Kind::Int, Device::Cpu));
        for (view, row) in views.iter().zip(host_slice::<i32>(&mut tensor).chunks_exact_mut(longest)) {
            let values = rows(view);
            let length = values.len().min(longest);
            row[..length].copy_from_slice(&values[..length]);
        }
        tensor
    };
    let lengths: Vec<i32> = views.iter().map(|view| tokens(view).0.len() as i32).collect();
    Batch::Tokens {
        ids: pad(&|view| tokens(view).0),
        lengths: Tensor::from_slice(&lengths),
        targets: with_targets.then(|| pad(&|view| tokens(view).1)),
    }
}

fn collate_graphs(views: &[&View], num_features: usize) -> Result<Batch, Error> {
    let (mut values, mut ends, mut weighed, mut graphs, mut sizes) = (vec![], [vec![], vec![]], vec![], vec![], vec![]);
    let mut first = 0;
    for (index, view) in views.iter().enumerate() {
        let View::Graph { x, edge_index, edge_weight, .. } = view else { unreachable!("the views are alike") };
        let bad = |what, expected: String, found: String| Err(Error::Graph { index, what, expected, found });
        if num_features == 0 || !x.len().is_multiple_of(num_features) || x.is_empty() {
            let expected = format!("one node or more of {num_features}");
            return bad("features", expected, x.len().to_string());
        }
        let num_nodes = x.len() / num_features;
        if let Some(&(a, b)) = edge_index.iter().find(|&&(a, b)| a.max(b) as usize >= num_nodes) {
            return bad("an edge", format!("of nodes 0 to {}", num_nodes - 1), format!("{a} to {b}"));
        }
        if let Some(weights) = edge_weight.as_ref().filter(|weights| weights.len() != edge_index.len()) {
            return bad("weights of edges", edge_index.len().to_string(), weights.len().to_string());
        }
        values.extend_from_slice(x);
        for &(source, target) in edge_index {
            ends[0].push(first + i64::from(source));
            ends[1].push(first + i64::from(target));
        }
        match edge_weight {
            Some(weights) => weighed.extend_from_slice(weights),
            None => weighed.resize(weighed.len() + edge_index.len(), 1.0),
        }
        graphs.resize(graphs.len() + num_nodes, index as i64);
        sizes.push(num_nodes as i64);
        first += num_nodes as i64;
    }
    Ok(Batch::Graph {
        x: Tensor::from_slice(&values).view([-1, num_features as i64]),
        edges: Tensor::from_slice(&ends.concat()).view([2, -1]),
        weights: Tensor::from_slice(&weighed),
        graphs: Tensor::from_slice(&graphs),
        sizes: Tensor::from_slice(&sizes),
    })
}

/// The tokens and targets of a view known to consist of tokens.
fn tokens(view: &View) -> (&[i32], &[i32]) {
    match view {
        View::Tokens { ids, targets } => (ids, targets.as_deref().unwrap_or_default()),
        _ => unreachable!("the views are alike"),
    }
}

/// The values of a fresh, contiguous host tensor.
fn host_slice<T>(tensor: &mut Tensor) -> &mut [T] {
    debug_assert!(tensor.is_contiguous() && tensor.device() == Device::Cpu);
    debug_assert_eq!(tensor.kind().elt_size_in_bytes(), size_of::<T>());
    if tensor.numel() == 0 {
        return &mut [];
    }
    // SAFETY: the tensor is contiguous, on the host, of this element size, and borrowed mutably for as long as the
    // slice lives; the callers have just created it, so no other tensor shares its storage.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_views_are_stacked() {
        let views = [View::features(vec![1., 2.]), View::features(vec![3., 4.])];
        let Batch::Dense { x } = Batch::collate(&[&views[0], &views[1]]).unwrap() else { panic!("dense") };
        assert_eq!(x.size(), [2, 2]);
        assert_eq!(Vec::<f32>::try_from(x.flatten(0, 1)).unwrap(), [1., 2., 3., 4.]);
    }

    #[test]
    fn tokens_are_padded_at_the_end() {
        let views = [View::tokens(vec![0, 1, 2]), View::tokens(vec![]), View::tokens(vec![3])];
        let batch = Batch::collate(&views.each_ref()).unwrap();
        let (ids, lengths) = batch.sequences("test").unwrap();
        assert_eq!(Vec::<i32>::try_from(ids.flatten(0, 1)).unwrap(), [0, 1, 2, -1, -1, -1, 3, -1, -1]);
        assert_eq!(Vec::<i32>::try_from(lengths).unwrap(), [3, 0, 1]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let (a, b) = (View::features(vec![1., 2.]), View::features(vec![1.]));
        let error = Batch::collate(&[&a, &b]).unwrap_err();
        assert_eq!(error.to_string(), "collate: view 1 is dense [1], view 0 is dense [2]");
        assert!(matches!(Batch::collate(&[]), Err(Error::Empty)));
        let short = View::Dense { shape: vec![2, 2], data: vec![0.] };
        assert!(matches!(Batch::collate(&[&short]), Err(Error::Values { index: 0, found: 1, .. })));
        let graph = |x: Vec<f32>, edge_index, edge_weight| View::Graph { x, num_features: 2, edge_index, edge_weight };
        for (view, reason) in [
            (graph(vec![], vec![], None), "view 1: features: expected one node or more of 2, found 0"),
            (graph(vec![0.; 3], vec![], None), "view 1: features: expected one node or more of 2, found 3"),
            (graph(vec![0.; 4], vec![(0, 2)], None), "view 1: an edge: expected of nodes 0 to 1, found 0 to 2"),
            (graph(vec![0.; 4], vec![(0, 1)], Some(vec![])), "view 1: weights of edges: expected 1, found 0"),
        ] {
            let good = graph(vec![0.; 2], vec![], None);
            let error = Batch::collate(&[&good, &view]).unwrap_err();
            assert_eq!(error.to_string(), format!("collate: {reason}"));
        }
        let batch = Batch::collate(&[&a]).unwrap();
        let error = batch.features("kmer-mlp", 3).unwrap_err();
        assert_eq!(error.to_string(), "encoder kmer-mlp reads dense [3], but the views are dense [2]");
    }

    #[test]
    fn graphs_are_numbered_through() {
        let graph = |x: Vec<f32>, edge_index, edge_weight| View::Graph { x, num_features: 1, edge_index, edge_weight };
        let views = [
            graph(vec![1., 2.], vec![(0, 1), (1, 0)], None),
            graph(vec![3.], vec![], None),
            graph(vec![4., 5., 6.], vec![(0, 2)], Some(vec![0.5])),
        ];
        let batch = Batch::collate(&views.each_ref()).unwrap();
        assert_eq!(batch.len(), 3);
        let parts = |batch: &Batch| {
            let Graphs { x, edges, weights, graphs, sizes } = batch.graphs("test", 1).unwrap();
            let floats = |t: &Tensor| Vec::<f32>::try_from(t.flatten(0, -1)).unwrap();
            let integers = |t: &Tensor| Vec::<i64>::try_from(t.flatten(0, -1)).unwrap();
            (floats(x), integers(edges), floats(weights), integers(graphs), integers(sizes))
        };
        let (x, edges, weights, graphs, sizes) = parts(&batch);
        assert_eq!((x, weights), (vec![1., 2., 3., 4., 5., 6.], vec![1., 1., 0.5]));
        assert_eq!((edges, graphs, sizes), (vec![0, 1, 3, 1, 0, 5], vec![0, 0, 1, 2, 2, 2], vec![2, 1, 3]));
        assert_eq!(batch.num_bytes(), 6 * 4 + 6 * 8 + 3 * 4 + 6 * 8 + 3 * 8);
        // Repeating the batch gives the batch of the repeated views.
        let twice = Batch::collate(&[&views[0], &views[1], &views[2], &views[0], &views[1], &views[2]]).unwrap();
        assert_eq!(parts(&batch.repeated(2)), parts(&twice));
        let error = batch.graphs("gnn", 3).unwrap_err();
        assert_eq!(
            error.to_string(),
            "encoder gnn reads graphs with 3 features per node, but the views are graphs with 1 features per node"
        );
    }
}
