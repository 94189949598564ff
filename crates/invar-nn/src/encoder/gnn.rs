//! Message passing over graphs: each node learns from its neighbours layer by layer, and the nodes are pooled into the
//! embedding of the graph (Hamilton, Ying and Leskovec, *Inductive representation learning on large graphs*, 2017, with
//! weighted means and residual layers).

use invar_dataset::ViewShape;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, nn};

use super::{Encoded, Encoder, Mode, TokenShape, check_dropout, check_positive, unit_length};
use crate::{
    Batch, Error,
    batch::Graphs,
    error::describe_shape,
    layers::{LayerNorm, Linear},
};

/// Its name in a recipe.
pub const NAME: &str = "gnn";

/// Settings of [`Gnn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GnnConfig {
    /// Hidden features per node, `C`.
    pub width: usize,
    /// Layers: over how many edges a node receives information.
    pub depth: usize,
    /// Embedding dimensions, `D`.
    pub dim: usize,
    /// Probability that a value inside a layer is dropped in training.
    pub dropout: f64,
}

impl Default for GnnConfig {
    fn default() -> Self {
        Self { width: 128, depth: 3, dim: 128, dropout: 0.0 }
    }
}

impl GnnConfig {
    /// Builds the network for graphs.
    ///
    /// # Errors
    /// If the views are not graphs, or a setting is out of range.
    pub fn init(&self, path: &nn::Path, shape: &ViewShape) -> Result<Gnn, Error> {
        let num_features = match shape {
            ViewShape::Graph { num_features } if *num_features > 0 => *num_features,
            other => {
                let expected = "graphs with features at their nodes".into();
                return Err(Error::Shape { encoder: NAME, expected, found: describe_shape(other) });
            }
        };
        for (key, size) in [("encoder.width", self.width), ("encoder.dim", self.dim)] {
            check_positive(key, size)?;
        }
        check_dropout(self.dropout)?;
        Ok(Gnn {
            config: self.clone(),
            num_features: num_features as i64,
            stem: Linear::new(path / "stem", num_features, self.width),
            layers: (0..self.depth).map(|i| Layer::new(&(path / format!("layer{i}")), self.width)).collect(),
            norm: LayerNorm::new(path / "norm", self.width),
            out: Linear::new(path / "out", 2 * self.width, self.dim),
        })
    }
}

/// `nodes [N, F] -> stem -> layers -> mean and max over the nodes of a graph -> linear -> [B, D]`, unit length. The
/// order of nodes and edges does not matter, except for rounding.
#[derive(Debug)]
pub struct Gnn {
    config: GnnConfig,
    num_features: i64,
    stem: Linear,
    layers: Vec<Layer>,
    norm: LayerNorm,
    out: Linear,
}

impl Encoder for Gnn {
    fn encode(&self, batch: &Batch, mode: Mode) -> Result<Encoded, Error> {
        let graphs = batch.graphs(NAME, self.num_features)?;
        let dropout = if mode.train { self.config.dropout } else { 0.0 };
        let mut x = self.stem.forward(graphs.x); // [N, C]
        for layer in &self.layers {
            x = layer.forward(&x, &graphs, dropout);
        }
        let x = self.norm.forward(&x);
        let (num_graphs, width) = (graphs.sizes.size()[0], x.size()[1]);
        let sum = x.new_zeros([num_graphs, width], (Kind::Float, x.device())).index_add(0, graphs.graphs, &x);
        let mean = sum / graphs.sizes.to_kind(Kind::Float).unsqueeze(1);
        let nodes = padded(&x, &graphs); // [B, L, C]
        let positions = Tensor::arange(nodes.size()[1], (Kind::Int64, x.device())).unsqueeze(0);
        let missing = positions.ge_tensor(&graphs.sizes.unsqueeze(1)).unsqueeze(2); // [B, L, 1]
        let largest = nodes.masked_fill(&missing, f64::NEG_INFINITY).amax([1i64], false);
        let pooled = Tensor::cat(&[mean, largest], 1); // [B, 2C]
        let tokens = mode.tokens.then_some(nodes);
        Ok(Encoded {
            embedding: unit_length(&self.out.forward(&pooled)),
            pooled,
            tokens,
            grid: None,
            attention: vec![],
        })
    }

    fn dim(&self) -> usize {
        self.config.dim
    }

    fn num_pooled(&self) -> usize {
        2 * self.config.width
    }

    fn tokens(&self) -> Option<TokenShape> {
        Some(TokenShape { features: self.config.width, stride: 1 })
    }
}

/// `x + update(relu(own(norm(x)) + neighbours(mean of norm(x) over the edges that lead here)))`.
#[derive(Debug)]
struct Layer {
    norm: LayerNorm,
    own: Linear,
    neighbours: Linear,
    update: Linear,
}

impl Layer {
    fn new(path: &nn::Path, width: usize) -> Self {
        Self {
            norm: LayerNorm::new(path / "norm", width),
            own: Linear::new(path / "own", width, width),
            neighbours: Linear::new(path / "neighbours", width, width),
            update: Linear::new(path / "update", width, width),
        }
    }

    fn forward(&self, x: &Tensor, graphs: &Graphs<'_>, dropout: f64) -> Tensor {
        let y = self.norm.forward(x); // [N, C]
        let (sources, targets) = (graphs.edges.get(0), graphs.edges.get(1));
        let weights = graphs.weights.unsqueeze(1); // [E, 1]
        let messages = y.index_select(0, &sources) * &weights;
        let sum = y.zeros_like().index_add(0, &targets, &messages);
        let total = y.new_zeros([y.size()[0], 1], (Kind::Float, y.device())).index_add(0, &targets, &weights);
        // A node without incoming edges receives nothing.
        let heard = sum / total.masked_fill(&total.eq(0.0), 1.0);
        let mut inner = (self.own.forward(&y) + self.neighbours.forward(&heard)).relu();
        if dropout > 0.0 {
            inner = inner.dropout(dropout, true);
        }
        x + self.update.forward(&inner)
    }
}

/// The nodes of each graph in a row, with zeros after the last: `[N, C] -> [B, L, C]`.
fn padded(x: &Tensor, graphs: &Graphs<'_>) -> Tensor {
    let (num_graphs, longest) = (graphs.sizes.size()[0], graphs.sizes.max().int64_value(&[]));
    let firsts = graphs.sizes.cumsum(0, Kind::Int64) - graphs.sizes; // [B]
    let places = Tensor::arange(x.size()[0], (Kind::Int64, x.device())) - firsts.index_select(0, graphs.graphs);
    let flat = graphs.graphs * longest + places;
    let zeros = x.new_zeros([num_graphs * longest, x.size()[1]], (Kind::Float, x.device()));
    zeros.index_add(0, &flat, x).view([num_graphs, longest, -1])
}

#[cfg(test)]
mod tests {
    use invar_dataset::View;
    use tch::Device;

    use super::*;
    use crate::EncoderConfig;

    /// A ring of `n` nodes whose features are `of(node)`, edges in both directions.
    fn ring(n: u32, of: impl Fn(u32) -> f32) -> View {
        let edges = (0..n).flat_map(|node| [(node, (node + 1) % n), ((node + 1) % n, node)]).collect();
        let x = (0..n).flat_map(|node| [of(node), 1.0]).collect();
        View::Graph { x, num_features: 2, edge_index: edges, edge_weight: None }
    }

    /// Its weights are others every time, because tests share a generator.
    fn encoder() -> Box<dyn Encoder> {
        let store = nn::VarStore::new(Device::Cpu);
        let config = EncoderConfig::Gnn(GnnConfig { width: 16, depth: 2, dim: 8, dropout: 0.0 });
        config.init(&store.root(), &ViewShape::Graph { num_features: 2 }).unwrap()
    }

    fn encoded(encoder: &dyn Encoder, views: &[&View]) -> Encoded {
        let mode = Mode { tokens: true, ..Mode::EMBED };
        tch::no_grad(|| encoder.encode(&Batch::collate(views).unwrap(), mode).unwrap())
    }

    /// The largest difference, in units of the largest value: a product of another shape is summed in another order,
    /// and which order that is differs between processors.
    fn largest(a: &Tensor, b: &Tensor) -> f64 {
        let scale = b.abs().max().double_value(&[]);
        assert!(scale > 0.0);
        (a - b).abs().max().double_value(&[]) / scale
    }

    #[test]
    fn a_graph_is_the_same_alone_and_among_others_and_in_any_order() {
        let views = [ring(5, |node| node as f32), ring(3, |node| -(node as f32)), ring(7, |_| 0.5)];
        let encoder = encoder();
        let together = encoded(&*encoder, &views.each_ref());
        assert_eq!((together.embedding.size(), together.tokens.as_ref().unwrap().size()), (vec![3, 8], vec![3, 7, 16]));
        for (row, view) in views.iter().enumerate() {
            let alone = encoded(&*encoder, &[view]);
            assert!(largest(&alone.embedding.get(0), &together.embedding.get(row as i64)) < 1e-5, "{row}");
            let length = alone.tokens.as_ref().unwrap().size()[1];
            let (own, all) = (alone.tokens.unwrap().get(0), together.tokens.as_ref().unwrap().get(row as i64));
            assert!(largest(&own, &all.narrow(0, 0, length)) < 1e-5, "{row}");
            assert_eq!(all.narrow(0, length, 7 - length).abs().sum(Kind::Float).double_value(&[]), 0.0);
        }
        // The nodes numbered the other way round.
        let View::Graph { edge_index, .. } = ring(5, |_| 0.0) else { unreachable!() };
        let edge_index = edge_index.into_iter().map(|(a, b)| (4 - a, 4 - b)).rev().collect();
        let x = (0..5).rev().flat_map(|node| [node as f32, 1.0]).collect();
        let turned = encoded(&*encoder, &[&View::Graph { x, num_features: 2, edge_index, edge_weight: None }]);
        assert!(largest(&turned.embedding.get(0), &together.embedding.get(0)) < 1e-5);
    }

    #[test]
    fn edges_and_their_weights_matter_and_a_lone_node_is_finite() {
        let with = |edges: Vec<(u32, u32)>, weights: Option<Vec<f32>>| View::Graph {
            x: vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.5],
            num_features: 2,
            edge_index: edges,
            edge_weight: weights,
        };
        let views = [
            with(vec![(0, 2), (1, 2)], None),
            with(vec![(0, 2), (1, 2)], Some(vec![1.0, 1.0])),
            with(vec![(0, 2), (1, 2)], Some(vec![3.0, 1.0])),
            with(vec![], None),
        ];
        let encoder = encoder();
        let found = encoded(&*encoder, &views.each_ref()).embedding;
        assert!(largest(&found.get(0), &found.get(1)) < 1e-6);
        assert!(largest(&found.get(0), &found.get(2)) > 1e-3 && largest(&found.get(0), &found.get(3)) > 1e-3);
        let lone = View::Graph { x: vec![1.0, 2.0], num_features: 2, edge_index: vec![], edge_weight: None };
        let alone = encoded(&*encoder, &[&lone]);
        assert!(alone.embedding.isfinite().all().int64_value(&[]) == 1);
    }

    #[test]
    fn other_views_are_refused() {
        let store = nn::VarStore::new(Device::Cpu);
        let error = GnnConfig::default().init(&store.root(), &ViewShape::Dense(vec![3])).unwrap_err();
        let expected = "encoder gnn reads graphs with features at their nodes, but the views are dense [3]";
        assert_eq!(error.to_string(), expected);
    }
}
