//! Logistic regressions on the embeddings of the model as it was: where the classifier starts, and what it has to beat.

use anyhow::Result;
use invar_cluster::{
    Rows,
    calibration::temperature,
    logistic::{Logistic, LogisticConfig, softmax},
};
use invar_loss::LabelColumn;

use super::labelled::{Sample, fewest_groups, folds};
use crate::classifier::{Measured, Prediction, measured};

/// Inverse penalties that are tried, and the one that is taken where nothing can be tried.
const PENALTIES: [f64; 5] = [0.1, 1.0, 10.0, 100.0, 1000.0];
const USUAL: f64 = 10.0;
/// Folds of the cross-validation, at most.
const FOLDS: usize = 5;

/// The inverse penalty of the classifier that training starts with, where a class has several labels. A regression that knows
/// its few labels by heart leaves an encoder nothing to learn from them.
const START: f64 = 1.0;

/// The regression of a column.
pub struct Regression {
    /// On all samples that are learned from.
    pub fitted: Logistic,
    /// The same with a penalty that lets training go on from there.
    pub start: Logistic,
    /// What its logits are divided by.
    pub temperature: f64,
    /// Of samples of folds that it had not seen; `None` if a class has a single group.
    pub cross_validated: Option<Measured>,
}

/// Samples with their embeddings.
pub struct Embedded<'a> {
    /// Those that are learned from.
    pub samples: Vec<&'a Sample>,
    /// `[n, dim]`, row-major.
    pub values: Vec<f32>,
    /// Dimensions of an embedding.
    pub dim: usize,
}

impl Embedded<'_> {
    /// The rows with a label in a column, their classes, and their places among the samples.
    pub fn of_column(&self, column: usize) -> (Vec<f32>, Vec<u32>, Vec<usize>) {
        let (mut values, mut classes, mut places) = (vec![], vec![], vec![]);
        for (place, (sample, row)) in self.samples.iter().zip(self.values.chunks_exact(self.dim)).enumerate() {
            if let Some(class) = sample.classes[column] {
                values.extend_from_slice(row);
                classes.push(class);
                places.push(place);
            }
        }
        (values, classes, places)
    }
}

impl Regression {
    /// Chooses the penalty by the likelihood of folds that were not seen, none of which shares a group with the others.
    ///
    /// # Errors
    /// If an embedding is not finite.
    pub fn choose(
        embedded: &Embedded<'_>,
        column: usize,
        labels: &LabelColumn,
        balance: bool,
        seed: u64,
    ) -> Result<Self> {
        let (values, classes, places) = embedded.of_column(column);
        let weights = labels.weights(balance);
        let fit = |values: &[f32], classes: &[u32], c: f64| -> Result<Logistic> {
            let config = LogisticConfig { c, ..LogisticConfig::default() };
            Ok(Logistic::fit(Rows::new(values, embedded.dim)?, classes, &weights, &config)?)
        };
        let samples: Vec<Sample> = places
            .iter()
            .zip(&classes)
            .map(|(&place, &class)| Sample { classes: vec![Some(class)], ..embedded.samples[place].clone() })
            .collect();
        let num_folds = fewest_groups(&samples).min(FOLDS);
        if num_folds < 2 {
            let fitted = fit(&values, &classes, USUAL)?;
            return Ok(Self { start: fitted.clone(), fitted, temperature: 1.0, cross_validated: None });
        }
        let folds = folds(&samples, num_folds, seed);
        let mut tried: Vec<Tried> = vec![];
        for c in PENALTIES {
            let mut logits = vec![vec![]; classes.len()];
            for fold in 0..num_folds {
                let seen = (0..classes.len()).filter(|&row| folds[row] != fold);
                let (mut seen_values, mut seen_classes) = (vec![], vec![]);
                for row in seen {
                    seen_values.extend_from_slice(&values[row * embedded.dim..][..embedded.dim]);
                    seen_classes.push(classes[row]);
                }
                let fitted = fit(&seen_values, &seen_classes, c)?;
                for row in (0..classes.len()).filter(|&row| folds[row] == fold) {
                    logits[row] = fitted.logits(&values[row * embedded.dim..][..embedded.dim]);
                }
            }
            tried.push(Tried::new(c, logits, &classes, &weights));
        }
        let Tried { c, logits, temperature, .. } = simplest(tried);
        let predictions: Vec<Prediction> = logits.iter().map(|logits| Prediction::of(logits, temperature)).collect();
        let (fitted, start) = (fit(&values, &classes, c)?, fit(&values, &classes, START)?);
        Ok(Self { fitted, start, temperature, cross_validated: measured(&predictions, &classes) })
    }
}

/// A penalty, and how it does.
struct Tried {
    c: f64,
    /// Of each row, by a regression that had not seen it.
    logits: Vec<Vec<f64>>,
    temperature: f64,
    /// How unlikely the classes are, in nats, on average, and the standard error of that. At the best temperature: a large
    /// penalty makes unsure, which says nothing of who is right.
    unlikely: f64,
    error: f64,
}

impl Tried {
    fn new(c: f64, logits: Vec<Vec<f64>>, classes: &[u32], weights: &[f64]) -> Self {
        let temperature = temperature(&logits, classes);
        let of_row = |(logits, &class): (&Vec<f64>, &u32)| {
            let mut all: Vec<f64> = logits.iter().map(|logit| logit / temperature).collect();
            let own = all[class as usize];
            (softmax(&mut all) - own) * weights[class as usize]
        };
        let all: Vec<f64> = logits.iter().zip(classes).map(of_row).collect();
        let num = all.len() as f64;
        let unlikely = all.iter().sum::<f64>() / num;
        let variance = all.iter().map(|x| (x - unlikely).powi(2)).sum::<f64>() / (num - 1.0).max(1.0);
        Self { c, logits, temperature, unlikely, error: (variance / num).sqrt() }
    }
}

/// The largest penalty that does as well as the best, within the standard error of that (Breiman et al., *Classification and
/// regression trees*, 1984): with few labels, the best is best by chance.
fn simplest(tried: Vec<Tried>) -> Tried {
    let best = tried.iter().min_by(|a, b| a.unlikely.total_cmp(&b.unlikely)).expect("a penalty was tried");
    let bound = best.unlikely + best.error;
    tried.into_iter().find(|tried| tried.unlikely <= bound).expect("the best is within the bound")
}

#[cfg(test)]
mod tests {
    use invar_dataset::seed;

    use super::*;

    fn specimen(per_class: usize) -> (Vec<Sample>, Vec<f32>) {
        let mut rng = seed::rng(3, 1);
        let (mut samples, mut values) = (vec![], vec![]);
        for index in 0..3 * per_class {
            let class = index as u32 % 3;
            let key = index as u64;
            samples.push(Sample { index, key, classes: vec![Some(class), None], group: key, is_held_out: false });
            for at in 0..4 {
                let wild = 0.8 * (2.0 * seed::uniform(&mut rng) - 1.0);
                values.push((wild + f64::from(u8::from(at == class))) as f32);
            }
        }
        (samples, values)
    }

    fn column(counts: u64) -> LabelColumn {
        let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
        LabelColumn { name: "species".into(), classes, counts: vec![counts; 3] }
    }

    #[test]
    fn its_cross_validation_is_honest_about_what_was_not_seen() {
        let (samples, values) = specimen(40);
        let embedded = Embedded { samples: samples.iter().collect(), values, dim: 4 };
        let found = Regression::choose(&embedded, 0, &column(40), true, 7).unwrap();
        let measured = found.cross_validated.unwrap();
        assert_eq!(measured.num_samples, 120);
        assert!(measured.accuracy > 0.8 && measured.calibration_error < 0.15, "{measured:?}");
        // Labels that say nothing are found out, though a regression can learn them by heart.
        let mut shuffled = samples.clone();
        let mut rng = seed::rng(4, 1);
        for sample in &mut shuffled {
            sample.classes[0] = Some((seed::uniform(&mut rng) * 3.0) as u32);
        }
        let embedded = Embedded { samples: shuffled.iter().collect(), values: embedded.values, dim: 4 };
        let found = Regression::choose(&embedded, 0, &column(40), false, 7).unwrap();
        assert!(found.cross_validated.unwrap().accuracy < 0.5);
    }

    #[test]
    fn one_label_a_class_is_fitted_and_not_measured() {
        let (samples, values) = specimen(1);
        let embedded = Embedded { samples: samples.iter().collect(), values, dim: 4 };
        let found = Regression::choose(&embedded, 0, &column(1), true, 7).unwrap();
        assert!(found.cross_validated.is_none());
        assert_eq!(found.fitted.bias.len(), 3);
        assert_eq!(embedded.of_column(1).1, Vec::<u32>::new());
    }
}
