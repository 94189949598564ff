//! Classification of samples by known labels: cross-entropy of a head over the embedding of each view.
//!
//! It is a *local* loss: each view is judged by itself, and only those whose sample has a label count. A table of labels
//! may have several columns, each with an output layer of its own over the common hidden layers. With `z = W h + b` over
//! the classes of a column and `w_k` the weight of class `k`:
//!
//! ```text
//! L = sum w_y [ ln sum_k e^z_k - z_y ] / sum w_y
//! ```
//!
//! Balanced, class `k` of `n_k` of `n` labels in `K` classes weighs `n / (K n_k)`: all classes weigh the same, however
//! many labels they have.

use invar_nn::{Asked, Encoded, Features, Outputs, layers::Linear};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, nn};

use crate::{Error, Local, Loss};

/// Its name in a recipe.
pub const NAME: &str = "classification";

/// Settings of [`Classification`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassificationConfig {
    /// Widths of the layers between the embedding and the classes, with ReLU; empty for a linear head.
    pub hidden: Vec<usize>,
    /// Whether all classes weigh the same, however many labels they have.
    pub balance: bool,
    /// The features of a view that it sees: those that samples are embedded with.
    pub features: Features,
    /// The columns of labels, from the table.
    pub columns: Vec<LabelColumn>,
}

impl Default for ClassificationConfig {
    fn default() -> Self {
        Self { hidden: vec![], balance: true, features: Features::default(), columns: vec![] }
    }
}

/// A column of labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelColumn {
    /// Its name.
    pub name: String,
    /// The labels; class `k` is the one at `k`.
    pub classes: Vec<String>,
    /// Number of samples with each label.
    pub counts: Vec<u64>,
}

impl LabelColumn {
    /// The weight of each class in the loss.
    pub fn weights(&self, balance: bool) -> Vec<f64> {
        let (total, num) = (self.counts.iter().sum::<u64>() as f64, self.counts.len() as f64);
        self.counts.iter().map(|&count| if balance { total / (num * count as f64) } else { 1.0 }).collect()
    }
}

impl ClassificationConfig {
    /// Builds the head over the features of an encoder.
    ///
    /// # Errors
    /// If there is no column of labels, a column has a single class or one without a label, or a width is 0.
    pub fn init(&self, path: &nn::Path, outputs: Outputs) -> Result<Classification, Error> {
        let bad = |expected, found: String| Err(Error::Config { key: "loss.columns", expected, found });
        if self.columns.is_empty() {
            return bad("columns of labels (`invar finetune` takes them from its table)", "none".into());
        }
        if self.hidden.contains(&0) {
            let expected = "widths of at least 1";
            return Err(Error::Config { key: "loss.hidden", expected, found: "0".into() });
        }
        for column in &self.columns {
            if column.classes.len() < 2 {
                return bad("at least 2 classes in each", format!("{} in {}", column.classes.len(), column.name));
            }
            if column.counts.len() != column.classes.len() || column.counts.contains(&0) {
                return bad("a label of each class", format!("{:?} in {}", column.counts, column.name));
            }
        }
        let mut width = self.features.dim_of(outputs.dim, outputs.num_pooled);
        let mut hidden = vec![];
        for (number, &next) in self.hidden.iter().enumerate() {
            hidden.push(Linear::new(path / format!("hidden{number}"), width, next));
            width = next;
        }
        let output = |(number, column): (usize, &LabelColumn)| Output {
            layer: Linear::new(path / format!("column{number}"), width, column.classes.len()),
            weights: column.weights(self.balance),
        };
        Ok(Classification {
            features: self.features,
            hidden,
            outputs: self.columns.iter().enumerate().map(output).collect(),
        })
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Classification {
    features: Features,
    hidden: Vec<Linear>,
    /// One per column.
    outputs: Vec<Output>,
}

#[derive(Debug)]
struct Output {
    layer: Linear,
    /// Of each class.
    weights: Vec<f64>,
}

impl Classification {
    /// The logits of each column, `[B, K]`, for features `[B, D]`.
    pub fn logits(&self, features: &Tensor) -> Vec<Tensor> {
        let mut x = features.shallow_clone();
        for layer in &self.hidden {
            x = layer.forward(&x).relu();
        }
        self.outputs.iter().map(|output| output.layer.forward(&x)).collect()
    }
}

impl Loss for Classification {
    fn is_local(&self) -> bool {
        true
    }

    fn needs_tokens(&self) -> bool {
        false
    }

    fn is_asked(&self, asked: &Asked<'_>) -> bool {
        !asked.classes.is_empty()
    }

    fn num_asked(&self, asked: &Asked<'_>) -> f64 {
        let weight = |(column, output): (usize, &Output)| {
            let of_view = |view: &Tensor| {
                let classes = Vec::<i64>::try_from(view.select(1, column as i64)).unwrap_or_default();
                let known = classes.into_iter().filter_map(|class| usize::try_from(class).ok());
                known.filter_map(|class| output.weights.get(class)).sum::<f64>()
            };
            asked.classes.iter().map(of_view).sum::<f64>()
        };
        self.outputs.iter().enumerate().map(weight).sum()
    }

    fn local(&self, views: &[Encoded], asked: &Asked<'_>) -> Result<Option<Local>, Error> {
        let mut all: Option<(Tensor, Tensor)> = None;
        for (view, classes) in views.iter().zip(&asked.classes) {
            if classes.size()[1] != self.outputs.len() as i64 {
                let (expected, found) = ("as many as columns of labels", classes.size()[1].to_string());
                return Err(Error::Config { key: "loss.columns", expected, found });
            }
            let device = view.embedding.device();
            for (column, logits) in self.logits(&self.features.of(view)).into_iter().enumerate() {
                let classes = classes.select(1, column as i64).to_device(device);
                let known = classes.ge(0).nonzero().view([-1]);
                if known.numel() == 0 {
                    continue;
                }
                let (classes, logits) = (classes.index_select(0, &known), logits.index_select(0, &known));
                let weights = &self.outputs[column].weights;
                let most = classes.max().int64_value(&[]);
                if most >= weights.len() as i64 {
                    let found = most.to_string();
                    return Err(Error::Config { key: "loss.columns", expected: "classes that are listed", found });
                }
                let weights = Tensor::from_slice(weights).to_kind(logits.kind()).to_device(device);
                let weights = weights.index_select(0, &classes);
                let picked = logits.log_softmax(-1, None::<Kind>).gather(1, &classes.view([-1, 1]), false);
                let sum = -(picked.view([-1]) * &weights).sum(None::<Kind>);
                let is_right = logits.detach().argmax(1, false).eq_tensor(&classes).to_kind(weights.kind());
                let hits = (is_right * weights).sum(None::<Kind>);
                all = Some(match all {
                    None => (sum, hits),
                    Some((sums, all_hits)) => (sums + sum, all_hits + hits),
                });
            }
        }
        Ok(all.map(|(sum, hits)| Local { name: NAME, sum, metrics: vec![("label_accuracy", hits)] }))
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn column(name: &str, counts: &[u64]) -> LabelColumn {
        let classes = (0..counts.len()).map(|class| format!("c{class}")).collect();
        LabelColumn { name: name.into(), classes, counts: counts.to_vec() }
    }

    fn loss(config: &ClassificationConfig) -> (nn::VarStore, Classification) {
        tch::manual_seed(3);
        let store = nn::VarStore::new(Device::Cpu);
        let loss = config.init(&store.root(), Outputs::of_dim(3)).unwrap();
        (store, loss)
    }

    fn encoded(rows: &[f32]) -> Encoded {
        Encoded::of(Tensor::from_slice(rows).view([-1, 3]))
    }

    #[test]
    fn it_is_the_weighted_cross_entropy_of_what_is_known() {
        let columns = vec![column("species", &[3, 1]), column("run", &[1, 1, 2])];
        let config = ClassificationConfig { columns, ..Default::default() };
        let (_store, loss) = loss(&config);
        let views = [encoded(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]), encoded(&[0.0, 0.0, 1.0, 0.6, 0.8, 0.0])];
        // Of the first view both rows have a species, the second also a run; of the other only the first a run.
        let classes = vec![
            Tensor::from_slice(&[0i64, -1, 1, 2]).view([2, 2]),
            Tensor::from_slice(&[-1i64, 0, -1, -1]).view([2, 2]),
        ];
        let asked = Asked { targets: vec![], links: &[], widths: vec![], classes };
        let found = loss.local(&views, &asked).unwrap().unwrap();
        let entropy = |view: usize, row: i64, column: usize, class: usize| {
            let logits = loss.logits(&views[view].embedding)[column].get(row);
            let logits = Vec::<f32>::try_from(logits).unwrap();
            let sum: f64 = logits.iter().map(|&z| f64::from(z).exp()).sum();
            sum.ln() - f64::from(logits[class])
        };
        // Weights 4 / (2 * 3), 4 / (2 * 1); 4 / (3 * 1), 4 / (3 * 2).
        let terms = [
            (2.0 / 3.0, entropy(0, 0, 0, 0)),
            (2.0, entropy(0, 1, 0, 1)),
            (2.0 / 3.0, entropy(0, 1, 1, 2)),
            (4.0 / 3.0, entropy(1, 0, 1, 0)),
        ];
        let expected: f64 = terms.iter().map(|(weight, term)| weight * term).sum();
        assert!((found.sum.double_value(&[]) - expected).abs() < 1e-5);
        let weights: f64 = terms.iter().map(|(weight, _)| weight).sum();
        assert!((loss.num_asked(&asked) - weights).abs() < 1e-12 && loss.is_asked(&asked));
        let none = Asked { targets: vec![], links: &[], widths: vec![], classes: vec![] };
        assert!(loss.local(&views, &none).unwrap().is_none() && !loss.is_asked(&none));
    }

    #[test]
    fn classes_weigh_the_same_or_as_they_come() {
        assert_eq!(column("a", &[3, 1]).weights(true), [2.0 / 3.0, 2.0]);
        assert_eq!(column("a", &[3, 1]).weights(false), [1.0, 1.0]);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let store = nn::VarStore::new(Device::Cpu);
        let refused = |columns: Vec<LabelColumn>, hidden: Vec<usize>| {
            let config = ClassificationConfig { columns, hidden, ..Default::default() };
            config.init(&store.root(), Outputs::of_dim(3)).unwrap_err().to_string()
        };
        assert!(refused(vec![], vec![]).contains("invar finetune"));
        assert!(refused(vec![column("one", &[5])], vec![]).contains("1 in one"));
        assert!(refused(vec![column("one", &[5, 0])], vec![]).contains("[5, 0] in one"));
        assert!(refused(vec![column("two", &[5, 1])], vec![0]).contains("loss.hidden"));
        let (_store, loss) = loss(&ClassificationConfig { columns: vec![column("a", &[1, 1])], ..Default::default() });
        let asked = Asked {
            targets: vec![],
            links: &[],
            widths: vec![],
            classes: vec![Tensor::from_slice(&[2i64]).view([1, 1])],
        };
        assert!(loss.local(&[encoded(&[1.0, 0.0, 0.0])], &asked).unwrap_err().to_string().contains("got 2"));
    }
}
