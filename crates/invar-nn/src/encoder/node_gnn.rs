//! A node of a graph by what it and the nodes around it are: in each layer every node takes the mean of its neighbours,
//! as in GCN (Kipf and Welling, *Semi-supervised classification with graph convolutional networks*, 2017; with the mean
//! of Hamilton, Ying and Leskovec, *Inductive representation learning on large graphs*, 2017, section 3.3, instead of
//! roots of degrees, which a sample of neighbours does not tell) or in GraphSAGE (ibid., section 3.1).

use invar_dataset::ViewShape;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use super::{Encoded, Encoder, Mode, check_dropout, check_positive, unit_length};
use crate::{
    Batch, Error, Weights,
    batch::{NodeValues, Nodes},
    error::describe_shape,
    layers::{LayerNorm, Linear},
};

/// Its name in a recipe.
pub const NAME: &str = "node-gnn";

/// Settings of [`NodeGnn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeGnnConfig {
    /// Hidden features per node, `C`.
    pub width: usize,
    /// Layers: over how many edges a node receives information.
    pub depth: usize,
    /// Embedding dimensions, `D`.
    pub dim: usize,
    /// How a node and its neighbours are joined.
    pub aggregate: NodeAggregate,
    /// Whether what a node is inside is normalised before its activation.
    pub norm: bool,
    /// Probability that a value inside a layer is dropped in training.
    pub dropout: f64,
}

impl Default for NodeGnnConfig {
    fn default() -> Self {
        Self { width: 256, depth: 2, dim: 128, aggregate: NodeAggregate::Gcn, norm: false, dropout: 0.0 }
    }
}

/// How a node and its neighbours are joined in a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeAggregate {
    /// Their mean, in which the node counts as one neighbour: the closer nodes are alike, the better.
    #[default]
    Gcn,
    /// The mean of the neighbours beside the node itself, with weights of their own.
    Mean,
}

impl NodeGnnConfig {
    /// Builds the network for nodes in their surroundings.
    ///
    /// # Errors
    /// If the views are others, show less than the layers reach, or a setting is out of range.
    pub fn init(&self, path: &nn::Path, shape: &ViewShape) -> Result<NodeGnn, Error> {
        let num_features = match shape {
            ViewShape::Node { num_features, hops } if *num_features > 0 && *hops >= self.depth => *num_features,
            other => {
                let expected = format!("nodes with features and what is up to {} edges away", self.depth);
                return Err(Error::Shape { encoder: NAME, expected, found: describe_shape(other) });
            }
        };
        for (key, size) in [("encoder.width", self.width), ("encoder.dim", self.dim)] {
            check_positive(key, size)?;
        }
        if self.depth < 2 {
            return Err(Error::config("encoder.depth", "at least 2", self.depth));
        }
        check_dropout(self.dropout)?;
        let layer = |number: usize| {
            let num_in = if number == 0 { num_features } else { self.width };
            let path = path / format!("layer{number}");
            let norm = self.norm.then(|| LayerNorm::new(&path / "norm", self.width));
            (Layer::new(&path, num_in, self.width, self.aggregate), norm)
        };
        Ok(NodeGnn {
            config: self.clone(),
            num_features: num_features as i64,
            layers: (0..self.depth - 1).map(layer).collect(),
            out: Linear::new(path / "out", self.aggregate.num_joined() * self.width, self.dim),
        })
    }
}

impl NodeAggregate {
    /// Vectors that a node and its neighbours are after they are joined.
    fn num_joined(self) -> usize {
        match self {
            Self::Gcn => 1,
            Self::Mean => 2,
        }
    }
}

/// `nodes [N, F] -> layers [N, C] -> node and neighbours joined [B, C or 2C] -> linear -> [B, D]`, unit length. What is
/// farther from a node than there are layers does not matter to it, nor does the order of nodes and edges, except for
/// rounding.
#[derive(Debug)]
pub struct NodeGnn {
    config: NodeGnnConfig,
    num_features: i64,
    layers: Vec<(Layer, Option<LayerNorm>)>,
    out: Linear,
}

impl Encoder for NodeGnn {
    fn encode(&self, batch: &Batch, mode: Mode) -> Result<Encoded, Error> {
        let nodes = batch.nodes(NAME, self.num_features)?;
        let mut x: Option<Tensor> = None;
        for (layer, norm) in &self.layers {
            let mut y = layer.forward(x.as_ref(), nodes, self.config.aggregate); // [N, C]
            if let Some(norm) = norm {
                y = norm.forward(&y);
            }
            y = y.relu();
            if mode.train && self.config.dropout > 0.0 {
                y = y.dropout(self.config.dropout, true);
            }
            x = Some(y);
        }
        let Some(x) = x else { return Err(Error::config("encoder.depth", "at least 2", 1)) };
        // The nodes that the views are of come first.
        let views = nodes.num_views;
        let (own, around) = (x.narrow(0, 0, views), nodes.incoming.first(views).sums(&x));
        let totals = nodes.totals.narrow(0, 0, views);
        let pooled = match self.config.aggregate {
            NodeAggregate::Gcn => mean_with(&own, &around, &totals),
            NodeAggregate::Mean => Tensor::cat(&[own, mean(&around, &totals)], 1),
        };
        let embedding = unit_length(&self.out.forward(&pooled));
        Ok(Encoded { embedding, pooled, tokens: None, grid: None, attention: vec![] })
    }

    fn dim(&self) -> usize {
        self.config.dim
    }

    fn num_pooled(&self) -> usize {
        self.config.aggregate.num_joined() * self.config.width
    }
}

/// `relu` of what a node and the mean of its neighbours are after matrices, plus a bias. Features are multiplied before
/// they are averaged: most are 0, and there are more of them than the layer is wide.
#[derive(Debug)]
struct Layer {
    bias: Weights,
    around: Weights,
    own: Option<Weights>,
}

impl Layer {
    fn new(path: &nn::Path, num_in: usize, num_out: usize, aggregate: NodeAggregate) -> Self {
        // As in `Linear`, transposed: rows can be looked up.
        let (of_bias, of_weight) = (1.0 / (num_in as f64).sqrt(), (6.0 / num_in as f64).sqrt());
        let uniform = |bound: f64| nn::Init::Uniform { lo: -bound, up: bound };
        let extents = [num_in as i64, num_out as i64];
        let weight = |name: &str| path.var(name, &extents, uniform(of_weight)).into();
        Self {
            bias: path.var("bias", &extents[1..], uniform(of_bias)).into(),
            around: weight("around"),
            own: (aggregate == NodeAggregate::Mean).then(|| weight("own")),
        }
    }

    /// `x` `[N, in]`, or the features of the nodes; `[N, out]`.
    fn forward(&self, x: Option<&Tensor>, nodes: &Nodes, aggregate: NodeAggregate) -> Tensor {
        let times = |weight: &Tensor| match (x, &nodes.features) {
            (Some(x), _) | (None, NodeValues::Dense(x)) => x.matmul(weight),
            (None, NodeValues::Sparse(bags, _)) => bags.sums(weight),
        };
        let y = times(&self.around);
        let around = nodes.incoming.sums(&y);
        let joined = match (aggregate, &self.own) {
            (NodeAggregate::Mean, Some(own)) => times(own) + mean(&around, &nodes.totals),
            _ => mean_with(&y, &around, &nodes.totals),
        };
        joined + &*self.bias
    }
}

/// From the sum over the neighbours, and the weights, of each node to the mean; 0 where there are none.
fn mean(around: &Tensor, totals: &Tensor) -> Tensor {
    around / totals.masked_fill(&totals.eq(0.0), 1.0).unsqueeze(1)
}

/// The mean over a node, which has weight 1, and its neighbours.
fn mean_with(own: &Tensor, around: &Tensor, totals: &Tensor) -> Tensor {
    (own + around) / (totals + 1.0).unsqueeze(1)
}

#[cfg(test)]
mod tests {
    use invar_dataset::{NodeFeatures, Surroundings, View};
    use tch::{Device, Kind};

    use super::*;
    use crate::EncoderConfig;

    const SHAPE: ViewShape = ViewShape::Node { num_features: 3, hops: 2 };

    /// Features of node `node` of a ring: two of three are not 0.
    fn row(node: u64) -> [f32; 3] {
        let x = ((node * 7 + 3) % 11) as f32 / 11.0;
        if node.is_multiple_of(2) { [x, 0.0, 1.0] } else { [0.0, x, -1.0] }
    }

    /// What `node` of a ring of `n` sees up to two edges away.
    fn in_ring(n: u64, node: u64, is_sparse: bool) -> View {
        let nodes: Vec<u64> = [0, 1, n - 1, 2, n - 2].map(|off| (node + off) % n).to_vec();
        let edge_index = vec![(1, 0), (2, 0), (0, 1), (3, 1), (0, 2), (4, 2)];
        let edge_weight = edge_index
            .iter()
            .map(|&(a, b): &(u32, u32)| 1.0 + ((nodes[a as usize] + nodes[b as usize]) % 3) as f32)
            .collect();
        let rows: Vec<[f32; 3]> = nodes.iter().map(|&node| row(node)).collect();
        let mut sparse = (vec![], vec![], vec![]);
        for row in &rows {
            for (column, &value) in row.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                sparse.1.push(column as u32);
                sparse.2.push(value);
            }
            sparse.0.push(sparse.1.len() as u32);
        }
        let features = if is_sparse {
            NodeFeatures::Sparse { ends: sparse.0, columns: sparse.1, values: sparse.2 }
        } else {
            NodeFeatures::Dense(rows.concat())
        };
        View::Node(Surroundings { nodes, features, num_features: 3, edge_index, edge_weight })
    }

    fn encoder(store: &nn::VarStore, aggregate: NodeAggregate, norm: bool) -> Box<dyn Encoder> {
        let config = NodeGnnConfig { width: 8, dim: 5, aggregate, norm, ..NodeGnnConfig::default() };
        EncoderConfig::NodeGnn(config).init(&store.root(), &SHAPE).unwrap()
    }

    fn encoded(encoder: &dyn Encoder, views: &[View]) -> Encoded {
        let views: Vec<&View> = views.iter().collect();
        tch::no_grad(|| encoder.encode(&Batch::collate(&views).unwrap(), Mode::EMBED).unwrap())
    }

    fn largest(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    /// The network over the whole ring with dense matrices.
    fn oracle(store: &nn::VarStore, n: u64, aggregate: NodeAggregate, norm: bool) -> Tensor {
        let variables = store.variables();
        let of = |name: &str| variables[name].shallow_clone();
        let x = Tensor::from_slice(&(0..n).flat_map(row).collect::<Vec<_>>()).view([n as i64, 3]);
        let weights = Tensor::zeros([n as i64, n as i64], (Kind::Float, Device::Cpu));
        for node in 0..n {
            for other in [(node + 1) % n, (node + n - 1) % n] {
                let weight = 1.0 + ((node + other) % 3) as f64;
                let _ = weights.get(node as i64).get(other as i64).fill_(weight);
            }
        }
        let with_own = &weights + Tensor::eye(n as i64, (Kind::Float, Device::Cpu));
        let mean = |w: &Tensor| w / w.sum_dim_intlist(1, true, Kind::Float);
        let active = |h: Tensor| match norm {
            false => h.relu(),
            true => {
                let off = &h - h.mean_dim(1, true, Kind::Float);
                (&off / ((&off * &off).mean_dim(1, true, Kind::Float) + 1e-5).sqrt()).relu()
            }
        };
        let out = |pooled: &Tensor| unit_length(&pooled.linear(&of("out.weight"), Some(of("out.bias"))));
        match aggregate {
            NodeAggregate::Gcn => {
                let w = mean(&with_own);
                let h = active(w.matmul(&x).matmul(&of("layer0.around")) + of("layer0.bias"));
                out(&w.matmul(&h))
            }
            NodeAggregate::Mean => {
                let w = mean(&weights);
                let h = x.matmul(&of("layer0.own")) + w.matmul(&x).matmul(&of("layer0.around")) + of("layer0.bias");
                let h = active(h);
                out(&Tensor::cat(&[h.shallow_clone(), w.matmul(&h)], 1))
            }
        }
    }

    #[test]
    fn agrees_with_dense_matrices_over_the_whole_graph() {
        for aggregate in [NodeAggregate::Gcn, NodeAggregate::Mean] {
            for (is_sparse, norm) in [(false, false), (true, false), (true, true)] {
                let store = nn::VarStore::new(Device::Cpu);
                let encoder = encoder(&store, aggregate, norm);
                let n = 9;
                let views: Vec<View> = (0..n).map(|node| in_ring(n, node, is_sparse)).collect();
                let expected = tch::no_grad(|| oracle(&store, n, aggregate, norm));
                // Each alone, some, and all together.
                let all = encoded(&*encoder, &views);
                assert!(largest(&all.embedding, &expected) < 1e-5, "{aggregate:?}");
                assert_eq!(all.pooled.size(), [n as i64, encoder.num_pooled() as i64]);
                for node in 0..n {
                    let alone = encoded(&*encoder, &views[node as usize..][..1]).embedding;
                    assert!(largest(&alone, &expected.narrow(0, node as i64, 1)) < 1e-5, "{aggregate:?} {node}");
                }
                let some = encoded(&*encoder, &[views[3].clone(), views[7].clone(), views[3].clone()]).embedding;
                let order = Tensor::from_slice(&[3i64, 7, 3]);
                assert!(largest(&some, &expected.index_select(0, &order)) < 1e-5, "{aggregate:?}");
            }
        }
    }

    #[test]
    fn gradients_reach_every_weight_and_a_lone_node_is_finite() {
        for (aggregate, norm) in [(NodeAggregate::Gcn, false), (NodeAggregate::Mean, true)] {
            let store = nn::VarStore::new(Device::Cpu);
            let encoder = encoder(&store, aggregate, norm);
            let views: Vec<View> = (0..5).map(|node| in_ring(5, node, true)).collect();
            let batch = Batch::collate(&views.iter().collect::<Vec<_>>()).unwrap();
            let found = encoder.encode(&batch, Mode::TRAIN).unwrap();
            (found.embedding * Tensor::arange(5, (Kind::Float, Device::Cpu))).sum(Kind::Float).backward();
            for (name, tensor) in store.variables() {
                let slope = tensor.grad().abs().max().double_value(&[]);
                assert!(slope > 0.0 && slope.is_finite(), "{aggregate:?} {name}: {slope}");
            }
            let lone = View::Node(Surroundings {
                nodes: vec![4],
                features: NodeFeatures::Sparse { ends: vec![0], columns: vec![], values: vec![] },
                num_features: 3,
                edge_index: vec![],
                edge_weight: vec![],
            });
            let alone = encoded(&*encoder, &[lone]).embedding;
            assert_eq!(alone.isfinite().all().int64_value(&[]), 1);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |config: NodeGnnConfig, shape: &ViewShape| {
            let store = nn::VarStore::new(Device::Cpu);
            config.init(&store.root(), shape).unwrap_err().to_string()
        };
        let deep = NodeGnnConfig { depth: 3, ..NodeGnnConfig::default() };
        assert_eq!(
            refused(deep, &SHAPE),
            "encoder node-gnn reads nodes with features and what is up to 3 edges away, but the views are nodes with 3 \
             features and what is up to 2 edges away"
        );
        let error = refused(NodeGnnConfig::default(), &ViewShape::Graph { num_features: 3 });
        assert!(error.ends_with("but the views are a graph with 3 features per node"), "{error}");
        let flat = NodeGnnConfig { depth: 1, ..NodeGnnConfig::default() };
        assert_eq!(refused(flat, &SHAPE), "encoder.depth must be at least 2, got 1");
    }
}
