//! The classifier of a fine-tuned model: `classifier.safetensors` in its run directory.

use std::{collections::HashMap, path::Path};

use anyhow::Result;
use invar_cli::{
    exit::BadInput,
    ui::{counted, thousands},
};
use invar_cluster::logistic::softmax;
use invar_nn::Features;
use invar_train::checkpoint;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Where a trainer has it among its tensors.
pub const HEAD: &str = "head.classification.";

/// From an embedding to the probabilities of labels, in one or several columns.
pub struct Classifier {
    /// What it is, besides the numbers.
    pub about: About,
    hidden: Vec<Layer>,
    /// The output layer of each column.
    outputs: Vec<Layer>,
}

/// What is stored with the numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    /// The columns of labels.
    pub columns: Vec<Column>,
    /// SHA-256 of the model whose embeddings it classifies, in hexadecimal.
    pub model_sha256: String,
    /// The features that are the embedding.
    pub features: Features,
    /// Predictions less probable than this abstain.
    pub threshold: f64,
    /// What samples were grouped by where some are held out.
    pub grouped_by: String,
}

/// A column of labels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its labels, in the order of the logits.
    pub classes: Vec<String>,
    /// Number of samples of each that were learned from.
    pub counts: Vec<u64>,
    /// What the logits are divided by.
    pub temperature: f64,
    /// A logistic regression on the embeddings of the model before, cross-validated; `None` with too few labels.
    pub before: Option<Measured>,
    /// That regression, on the samples held out.
    pub before_held_out: Option<Measured>,
    /// This classifier, on the samples held out; `None` if there are none.
    pub held_out: Option<Measured>,
}

/// How predictions compare with labels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Number of samples.
    pub num_samples: usize,
    /// Fraction of them whose most probable label is right.
    pub accuracy: f64,
    /// Expected calibration error of the probabilities.
    pub calibration_error: f64,
}

/// A linear layer.
struct Layer {
    /// `[outputs, inputs]`, row-major.
    weights: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
}

/// What is predicted of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The most probable class, and the next.
    pub classes: [usize; 2],
    /// Their probabilities.
    pub probabilities: [f64; 2],
    /// Entropy of all probabilities, in nats.
    pub entropy: f64,
}

impl Classifier {
    /// The classifier among the tensors of a trainer: of the moving average, if there is one.
    ///
    /// # Errors
    /// If one of its tensors is missing or of another shape.
    pub fn of_trainer(tensors: &HashMap<String, Tensor>, about: About) -> Result<Self> {
        let averaged = format!("ema.{HEAD}");
        let prefix = if tensors.keys().any(|name| name.starts_with(&averaged)) { &averaged } else { HEAD };
        let own = tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor)));
        Ok(Self::of_tensors(&own.map(|(name, tensor)| (name, tensor.shallow_clone())).collect(), about)?)
    }

    fn of_tensors(tensors: &HashMap<String, Tensor>, about: About) -> Result<Self, BadInput> {
        let layer = |name: String| -> Result<Option<Layer>, BadInput> {
            let (Some(weights), Some(bias)) =
                (tensors.get(&format!("{name}.weight")), tensors.get(&format!("{name}.bias")))
            else {
                return Ok(None);
            };
            let (outputs, inputs) = weights.size2().map_err(|_| bad(&name, "two dimensions", weights))?;
            if bias.size() != [outputs] {
                return Err(bad(&name, &format!("a bias of {outputs}"), bias));
            }
            let host = |tensor: &Tensor| {
                let flat = tensor.detach().to_device(tch::Device::Cpu).to_kind(Kind::Float).contiguous().view([-1]);
                Vec::<f32>::try_from(flat).map_err(|_| bad(&name, "numbers", tensor))
            };
            Ok(Some(Layer { weights: host(weights)?, bias: host(bias)?, inputs: inputs as usize }))
        };
        let mut hidden = vec![];
        while let Some(next) = layer(format!("hidden{}", hidden.len()))? {
            hidden.push(next);
        }
        let mut outputs = vec![];
        for (number, column) in about.columns.iter().enumerate() {
            let name = format!("column{number}");
            let found = layer(name.clone())?.ok_or_else(|| BadInput(format!("tensor {name}.weight is missing")))?;
            if found.bias.len() != column.classes.len() {
                let (expected, found) = (column.classes.len(), found.bias.len());
                return Err(BadInput(format!("{name}: expected {expected} classes, found {found}")));
            }
            outputs.push(found);
        }
        let mut widths = hidden.iter().map(|layer| layer.bias.len());
        let last = widths.next_back();
        let follow = hidden.windows(2).all(|two| two[0].bias.len() == two[1].inputs);
        if !follow || outputs.iter().any(|output| last.is_some_and(|last| last != output.inputs)) {
            return Err(BadInput("its layers do not follow each other".into()));
        }
        Ok(Self { about, hidden, outputs })
    }

    /// Writes it to `path`, atomically.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&self, path: &Path) -> Result<()> {
        let named = |kind: &str, layers: &[Layer]| {
            let tensors = layers.iter().enumerate().flat_map(|(number, layer)| {
                let weights = Tensor::from_slice(&layer.weights).view([-1, layer.inputs as i64]);
                [
                    (format!("{kind}{number}.weight"), weights),
                    (format!("{kind}{number}.bias"), Tensor::from_slice(&layer.bias)),
                ]
            });
            tensors.collect::<Vec<_>>()
        };
        let mut tensors = named("hidden", &self.hidden);
        tensors.extend(named("column", &self.outputs));
        checkpoint::write(path, &tensors, &self.about)?;
        Ok(())
    }

    /// Reads what [`Classifier::write`] wrote.
    ///
    /// # Errors
    /// If the file is missing or damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let (tensors, about): (HashMap<String, Tensor>, About) = checkpoint::read(path)?;
        let read = Self::of_tensors(&tensors, about);
        Ok(read.map_err(|BadInput(reason)| BadInput(format!("{}: {reason}", path.display())))?)
    }

    /// Dimensions of the embeddings that it classifies.
    pub fn dim(&self) -> usize {
        self.hidden.first().or(self.outputs.first()).map_or(0, |layer| layer.inputs)
    }

    /// The logits of an embedding in each column.
    pub fn logits(&self, embedding: &[f32]) -> Vec<Vec<f64>> {
        let mut x: Vec<f64> = embedding.iter().map(|&x| f64::from(x)).collect();
        for layer in &self.hidden {
            x = layer.forward(&x).into_iter().map(|x| x.max(0.0)).collect();
        }
        self.outputs.iter().map(|output| output.forward(&x)).collect()
    }

    /// What is predicted of an embedding in each column.
    pub fn predict(&self, embedding: &[f32]) -> Vec<Prediction> {
        let columns = self.logits(embedding).into_iter().zip(&self.about.columns);
        columns.map(|(logits, column)| Prediction::of(&logits, column.temperature)).collect()
    }
}

impl Column {
    /// The labels that `counts` has most of, in words.
    pub fn most_frequent(&self, counts: &[u64]) -> String {
        const LISTED: usize = 5;
        let mut order: Vec<usize> = (0..counts.len()).filter(|&class| counts[class] > 0).collect();
        order.sort_by(|&a, &b| counts[b].cmp(&counts[a]).then(a.cmp(&b)));
        let listed =
            order.iter().take(LISTED).map(|&class| format!("{} {}", self.classes[class], thousands(counts[class])));
        let more = order.len().saturating_sub(LISTED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        listed.collect::<Vec<_>>().join(", ") + &more
    }

    /// By what its probabilities were calibrated, in words.
    pub fn calibration(&self) -> String {
        let temperature = self.temperature;
        match (&self.held_out, &self.before) {
            (Some(held_out), _) => {
                let samples = counted(held_out.num_samples as u64, "held-out sample");
                format!("calibrated on {samples}, temperature {temperature:.2}")
            }
            (None, Some(_)) if temperature != 1.0 => {
                format!("calibrated by the cross-validation, temperature {temperature:.2}")
            }
            _ => "not calibrated".to_owned(),
        }
    }
}

impl Prediction {
    /// From the logits of all classes.
    pub fn of(logits: &[f64], temperature: f64) -> Self {
        let mut all: Vec<f64> = logits.iter().map(|logit| logit / temperature).collect();
        softmax(&mut all);
        let entropy = -all.iter().filter(|&&p| p > 0.0).map(|p| p * p.ln()).sum::<f64>();
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by(|&a, &b| all[b].total_cmp(&all[a]).then(a.cmp(&b)));
        let classes = [0, 1].map(|place| order.get(place).copied().unwrap_or(0));
        Self { classes, probabilities: classes.map(|class| all[class]), entropy: entropy.max(0.0) }
    }
}

impl Layer {
    fn forward(&self, x: &[f64]) -> Vec<f64> {
        let row = |weights: &[f32]| weights.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum::<f64>();
        self.weights.chunks_exact(self.inputs).zip(&self.bias).map(|(w, &bias)| row(w) + f64::from(bias)).collect()
    }
}

/// Compares predictions with labels.
pub fn measured(predictions: &[Prediction], classes: &[u32]) -> Option<Measured> {
    let is_right: Vec<bool> =
        predictions.iter().zip(classes).map(|(p, &class)| p.classes[0] == class as usize).collect();
    let sure: Vec<f64> = predictions.iter().map(|prediction| prediction.probabilities[0]).collect();
    (!classes.is_empty()).then(|| Measured {
        num_samples: classes.len(),
        accuracy: is_right.iter().filter(|&&right| right).count() as f64 / classes.len() as f64,
        calibration_error: invar_cluster::calibration::expected_calibration_error(&sure, &is_right),
    })
}

fn bad(name: &str, expected: &str, found: &Tensor) -> BadInput {
    BadInput(format!("{name}: expected {expected}, found {:?}", found.size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(classes: &[usize]) -> About {
        let column = |(number, &classes): (usize, &usize)| Column {
            name: format!("c{number}"),
            classes: (0..classes).map(|class| class.to_string()).collect(),
            counts: vec![1; classes],
            temperature: 2.0,
            before: None,
            before_held_out: None,
            held_out: None,
        };
        About {
            columns: classes.iter().enumerate().map(column).collect(),
            model_sha256: "ab".into(),
            features: Features::default(),
            threshold: 0.5,
            grouped_by: "sample".into(),
        }
    }

    fn tensor(values: &[f32], rows: i64) -> Tensor {
        Tensor::from_slice(values).view([rows, -1])
    }

    #[test]
    fn it_survives_a_file_and_predicts_what_its_layers_say() {
        let prefixed = |name: &str, tensor: Tensor| (format!("{HEAD}{name}"), tensor);
        let tensors = HashMap::from([
            prefixed("hidden0.weight", tensor(&[1.0, 0.0, 0.0, -1.0], 2)),
            prefixed("hidden0.bias", Tensor::from_slice(&[0.0f32, 0.5])),
            prefixed("column0.weight", tensor(&[2.0, 0.0, 0.0, 4.0], 2)),
            prefixed("column0.bias", Tensor::from_slice(&[0.0f32, 1.0])),
        ]);
        let classifier = Classifier::of_trainer(&tensors, about(&[2])).unwrap();
        // The second hidden value is -1 + 0.5 and cut off.
        assert_eq!(classifier.logits(&[3.0, 1.0]), [[6.0, 1.0]]);
        assert_eq!(classifier.dim(), 2);
        let found = classifier.predict(&[3.0, 1.0])[0];
        let expected = 1.0 / (1.0 + (-2.5f64).exp());
        assert_eq!(found.classes, [0, 1]);
        assert!((found.probabilities[0] - expected).abs() < 1e-12);
        let entropy = -expected * expected.ln() - (1.0 - expected) * (1.0 - expected).ln();
        assert!((found.entropy - entropy).abs() < 1e-12);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("classifier.safetensors");
        classifier.write(&path).unwrap();
        assert_eq!(Classifier::read(&path).unwrap().predict(&[3.0, 1.0])[0], found);
        std::fs::write(&path, &std::fs::read(&path).unwrap()[..100]).unwrap();
        assert!(Classifier::read(&path).is_err());
    }

    #[test]
    fn a_column_says_its_labels_and_how_it_was_calibrated() {
        let mut column = about(&[7]).columns.remove(0);
        assert_eq!(column.most_frequent(&[0, 1200, 3, 3, 1, 1, 1]), "1 1,200, 2 3, 3 3, 4 1, 5 1 and 1 more");
        assert_eq!(column.calibration(), "not calibrated");
        column.before = Some(Measured { num_samples: 9, accuracy: 1.0, calibration_error: 0.0 });
        assert_eq!(column.calibration(), "calibrated by the cross-validation, temperature 2.00");
        column.held_out = Some(Measured { num_samples: 1, accuracy: 1.0, calibration_error: 0.0 });
        assert_eq!(column.calibration(), "calibrated on 1 held-out sample, temperature 2.00");
        // As where only other columns have samples held out.
        (column.held_out, column.temperature) = (None, 1.0);
        assert_eq!(column.calibration(), "not calibrated");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let refused = |tensors: &[(&str, Tensor)]| {
            let own = tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.shallow_clone())).collect();
            Classifier::of_tensors(&own, about(&[2])).err().unwrap().0
        };
        assert!(refused(&[]).contains("column0.weight is missing"));
        let bias = || Tensor::from_slice(&[0.0f32; 3]);
        let three = refused(&[("column0.weight", tensor(&[0.0; 6], 3)), ("column0.bias", bias())]);
        assert_eq!(three, "column0: expected 2 classes, found 3");
        let short = refused(&[("column0.weight", tensor(&[0.0; 4], 2)), ("column0.bias", bias())]);
        assert_eq!(short, "column0: expected a bias of 2, found [3]");
    }

    #[test]
    fn right_and_sure_are_told_apart() {
        let prediction = |class: usize, sure: f64| Prediction {
            classes: [class, 1 - class],
            probabilities: [sure, 1.0 - sure],
            entropy: 0.0,
        };
        let found = measured(&[prediction(0, 0.9), prediction(1, 0.9)], &[0, 0]).unwrap();
        assert_eq!((found.num_samples, found.accuracy), (2, 0.5));
        assert!((found.calibration_error - 0.4).abs() < 1e-12);
        assert_eq!(measured(&[], &[]), None);
    }
}
