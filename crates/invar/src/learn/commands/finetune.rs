//! `invar finetune`

mod labelled;
mod recipe;
mod regression;

use std::{
    collections::{HashMap, HashSet},
    fs,
    ops::Range,
    rc::Rc,
};

use anyhow::{Context, Result};
use invar_cli::{
    cli::{Common, Finetune},
    confusion,
    exit::Usage,
    ui::{Summary, Ui, Unit, counted, thousands},
};
use invar_cluster::calibration::{temperature, temperature_for};
use invar_dataset::{Chosen, RunDir, atomic, path, seed::Stream};
use invar_loss::LabelColumn;
use invar_nn::Features;
use invar_train::{EmbedConfig, Model, Steps, checkpoint};
use serde::Serialize;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use self::{
    labelled::{Labelled, Sample, Wanted},
    regression::{Embedded, Regression},
};
use super::train::{self, Learned, Options};
use crate::{
    classifier::{About, Classifier, Column, HEAD, Measured, Prediction, measured},
    recipe::{LabelSettings, Recipe},
    source::{Datasets, Samples},
};

/// How often a sample with a label is drawn at most, compared with one without.
const MOST_REPEATS: usize = 50;

/// `invar finetune`
pub fn run(args: &Finetune, common: &Common, ui: &Ui) -> Result<Summary> {
    let model = RunDir::new(&args.model);
    let of_model = Recipe::of_run(&model)?;
    let file = model.model();
    if !file.is_file() {
        return Err(Usage(format!("{}: does not exist: the training has not finished", file.display())).into());
    }
    let mut recipe = recipe::load(&of_model, &args.recipe, &args.set, common.seed, &args.model)?;
    let settings = recipe.labels.clone().unwrap_or_default();
    settings.check()?;
    let source = recipe.source.clone();
    let data = Datasets::new(&source, &args.data, ui);
    let samples = Rc::new(data.samples()?);
    let wanted = Wanted {
        labels: &args.labels,
        columns: &args.label_column,
        group_column: args.group_column.as_deref(),
        held_out: settings.held_out,
        held_out_from: settings.held_out_from,
        seed: Stream::Labels.seed(recipe.seed),
    };
    let labelled = Rc::new(Labelled::find(&wanted, samples.table.as_ref(), samples.views.len())?);
    recipe::add_labels(&mut recipe, labelled.columns.clone())?;
    ui.note(&about_labels(&labelled));
    // The training says which it is.
    let device = train::device(common, &ui.muted())?;
    let embedding = Embedding { samples: Rc::clone(&samples), features: recipe.embed.features };
    let model = Model::load(&file, device)?;
    let before = embedding.of(model, &labelled.samples, "embed labelled samples", ui)?;
    let begun = Begun::new(&labelled, &before, &settings, wanted.seed)?;
    let classes = labelled.of_pairs(&*data.pairs()?)?;
    let is_trained = recipe.train.steps != Steps::Fixed(0);
    let learned = Learned {
        digest: digest(&classes),
        classes,
        share: settings.share,
        most: MOST_REPEATS,
        start: if settings.hidden.is_empty() { begun.head(before.dim, is_trained) } else { HashMap::new() },
        finish: {
            let (labelled, threshold, seed) = (Rc::clone(&labelled), settings.threshold, wanted.seed);
            Box::new(move |tensors, run, device, ui| {
                let model = Model::load(&run.model(), device)?;
                let made =
                    Made { begun: &begun, labelled: &labelled, embedding: &embedding, threshold, is_trained, seed };
                made.finish(tensors, run, model, ui)
            })
        },
    };
    let options = Options { learned: Some(learned), ..Options::default() };
    let mut summary = train::train(&recipe, &data, &args.out, options, common, ui)?;
    let run = RunDir::new(&args.out);
    if summary.json.is_null() {
        // Another process writes.
        return Ok(summary);
    }
    describe(&run, &mut summary)?;
    summary.json["labels"]["num_held_out"] = labelled.num_held_out().into();
    Ok(summary)
}

/// Adds what was learned to the summary of a run that has a classifier.
///
/// # Errors
/// If the classifier is missing or damaged.
pub fn describe(run: &RunDir, summary: &mut Summary) -> Result<()> {
    let about = Classifier::read(&run.classifier())?.about;
    let conflict = Conflict::read(run)?;
    summary.text += &in_words(&about, run, conflict.as_ref());
    summary.json["labels"] = json!({
        "columns": about.columns, "grouped_by": about.grouped_by, "threshold": about.threshold,
        "classifier": path::text(&run.classifier()),
    });
    summary.json["harmony"] = json!(conflict);
    Ok(())
}

/// How embeddings of some samples are made.
struct Embedding {
    samples: Rc<Samples>,
    features: Features,
}

/// Embeddings of the samples with labels.
struct Embeddings {
    /// `[n, dim]`, row-major.
    values: Vec<f32>,
    dim: usize,
}

impl Embedding {
    /// The embeddings of `samples` by `model`.
    fn of(&self, model: Model, samples: &[Sample], title: &str, ui: &Ui) -> Result<Embeddings> {
        let model = model.with_features(self.features);
        let chosen = Chosen::new(self.samples.views.as_ref(), samples.iter().map(|sample| sample.index).collect());
        let config = EmbedConfig { view_workers: rayon::current_num_threads(), ..EmbedConfig::default() };
        let (mut values, bar) = (vec![], ui.bar(title, Unit::Items));
        let mut sink = |_: Range<usize>, some: &[f32]| {
            values.extend_from_slice(some);
            Ok(())
        };
        invar_train::embed(&model, &chosen, 0..samples.len(), &config, &mut sink, &bar)?;
        Ok(Embeddings { values, dim: model.dim() })
    }
}

/// What is known before anything is trained.
struct Begun {
    /// One per column.
    regressions: Vec<Regression>,
    /// How they do on the samples held out.
    held_out: Vec<Option<Measured>>,
}

impl Begun {
    fn new(labelled: &Labelled, before: &Embeddings, settings: &LabelSettings, seed: u64) -> Result<Self> {
        let part = |is_held_out: bool| {
            let (mut samples, mut values) = (vec![], vec![]);
            for (sample, row) in labelled.samples.iter().zip(before.values.chunks_exact(before.dim)) {
                if sample.is_held_out == is_held_out {
                    samples.push(sample);
                    values.extend_from_slice(row);
                }
            }
            Embedded { samples, values, dim: before.dim }
        };
        let (learned, others) = (part(false), part(true));
        let (mut regressions, mut held_out) = (vec![], vec![]);
        for (column, labels) in labelled.columns.iter().enumerate() {
            let found = Regression::choose(&learned, column, labels, settings.balance, seed)?;
            let (values, classes, _) = others.of_column(column);
            let of_row = |row: &[f32]| Prediction::of(&found.fitted.logits(row), found.temperature);
            held_out.push(measured(&values.chunks_exact(before.dim).map(of_row).collect::<Vec<_>>(), &classes));
            regressions.push(found);
        }
        Ok(Self { regressions, held_out })
    }

    /// The head as it starts, by the names of a trainer's tensors: it says what the regressions say. If it is to stay so,
    /// those that were cross-validated.
    fn head(&self, dim: usize, is_trained: bool) -> HashMap<String, Tensor> {
        let single = |values: &[f64]| Tensor::from_slice(values).to_kind(Kind::Float);
        let of_column = |(column, found): (usize, &Regression)| {
            let found = if is_trained { &found.start } else { &found.fitted };
            let weights = single(&found.weights).view([-1, dim as i64]);
            [
                (format!("{HEAD}column{column}.weight"), weights),
                (format!("{HEAD}column{column}.bias"), single(&found.bias)),
            ]
        };
        self.regressions.iter().enumerate().flat_map(of_column).collect()
    }
}

/// Samples without labels by which a classifier is calibrated where none were held out.
const UNLABELLED: usize = 1000;

/// A model that was trained, and what it was made from.
struct Made<'a> {
    begun: &'a Begun,
    labelled: &'a Labelled,
    embedding: &'a Embedding,
    /// Predictions less probable than this abstain.
    threshold: f64,
    /// Whether it is another than before.
    is_trained: bool,
    /// Determines how the samples held out are halved.
    seed: u64,
}

impl Made<'_> {
    /// Writes the classifier, measured and calibrated on what was held out.
    fn finish(&self, tensors: &HashMap<String, Tensor>, run: &RunDir, model: Model, ui: &Ui) -> Result<()> {
        let Self { begun, labelled, embedding, .. } = self;
        let columns = labelled.columns.iter().zip(&begun.regressions).zip(&begun.held_out);
        let columns = columns.map(|((labels, regression), held_out)| Column {
            name: labels.name.clone(),
            classes: labels.classes.clone(),
            counts: labels.counts.clone(),
            temperature: if self.is_trained { 1.0 } else { regression.temperature },
            before: regression.cross_validated,
            before_held_out: *held_out,
            held_out: None,
        });
        let about = About {
            columns: columns.collect(),
            model_sha256: model.sha256().to_owned(),
            features: embedding.features,
            threshold: self.threshold,
            grouped_by: labelled.grouped_by.clone(),
        };
        let mut classifier = Classifier::of_trainer(tensors, about)?;
        let held_out: Vec<Sample> = labelled.samples.iter().filter(|sample| sample.is_held_out).cloned().collect();
        if held_out.is_empty() {
            if self.is_trained {
                self.calibrate_without_labels(&mut classifier, model, ui)?;
            }
            return classifier.write(&run.classifier());
        }
        let embedded = embedding.of(model, &held_out, "embed held-out samples", ui)?;
        let logits: Vec<Vec<Vec<f64>>> =
            embedded.values.chunks_exact(embedded.dim).map(|row| classifier.logits(row)).collect();
        let halves = labelled::folds(&held_out, 2, self.seed);
        let mut matrices = vec![];
        for (number, column) in classifier.about.columns.iter_mut().enumerate() {
            let known: Vec<(usize, u32)> =
                (0..held_out.len()).filter_map(|row| Some((row, held_out[row].classes[number]?))).collect();
            let Some(measured) = calibrate(column, number, &known, &logits, &halves) else { continue };
            column.held_out = Some(measured.0);
            let predicted = measured.1.iter().map(|prediction| prediction.classes[0]);
            let title = format!("{}: {} samples held out", column.name, known.len());
            let pairs = known.iter().map(|(_, class)| *class as usize).zip(predicted);
            matrices.push(confusion::Matrix::new(title, &column.classes, pairs));
        }
        if !matrices.is_empty() {
            atomic::write(run.confusion(), confusion::draw(&matrices)?.as_bytes())
                .with_context(|| run.confusion().display().to_string())?;
        }
        classifier.write(&run.classifier())
    }

    /// As sure on average, of samples without labels, as the probe was right in cross-validation.
    fn calibrate_without_labels(&self, classifier: &mut Classifier, model: Model, ui: &Ui) -> Result<()> {
        let known: HashSet<usize> = self.labelled.samples.iter().map(|sample| sample.index).collect();
        let total = self.embedding.samples.views.len();
        let step = (total / UNLABELLED).max(1);
        let indices = (0..total).step_by(step).filter(|index| !known.contains(index)).take(UNLABELLED);
        let of = |index: usize| Sample { index, key: 0, classes: vec![], group: 0, is_held_out: false };
        let samples: Vec<Sample> = indices.map(of).collect();
        let embedded = self.embedding.of(model, &samples, "embed samples without labels", ui)?;
        let logits: Vec<Vec<Vec<f64>>> =
            embedded.values.chunks_exact(embedded.dim).map(|row| classifier.logits(row)).collect();
        for (number, column) in classifier.about.columns.iter_mut().enumerate() {
            let of_column: Vec<Vec<f64>> = logits.iter().map(|logits| logits[number].clone()).collect();
            if let Some(before) = column.before {
                // Never certain, whatever a few labels say.
                let most = before.num_samples as f64 / (before.num_samples + 1) as f64;
                column.temperature = temperature_for(&of_column, before.accuracy.min(most));
            }
        }
        Ok(())
    }
}

/// Sets the temperature of a column by the samples held out; how well it does is told by each half of them with the
/// temperature of the other.
fn calibrate(
    column: &mut Column,
    number: usize,
    known: &[(usize, u32)],
    logits: &[Vec<Vec<f64>>],
    halves: &[usize],
) -> Option<(Measured, Vec<Prediction>)> {
    let of = |half: Option<usize>| {
        let some = known.iter().filter(|(row, _)| half.is_none_or(|half| halves[*row] == half));
        some.map(|&(row, class)| (logits[row][number].clone(), class)).unzip::<_, _, Vec<_>, Vec<_>>()
    };
    let found = |half: Option<usize>| {
        let (logits, classes) = of(half);
        if logits.is_empty() { column.temperature } else { temperature(&logits, &classes) }
    };
    let by_half = [found(Some(1)), found(Some(0))];
    let predict = |&(row, _): &(usize, u32)| Prediction::of(&logits[row][number], by_half[halves[row].min(1)]);
    let predictions: Vec<Prediction> = known.iter().map(predict).collect();
    let classes: Vec<u32> = known.iter().map(|(_, class)| *class).collect();
    let measured = measured(&predictions, &classes)?;
    column.temperature = found(None);
    Some((measured, predictions))
}

/// SHA-256 of which sample has which class.
fn digest(classes: &[Vec<Option<u32>>]) -> String {
    let bytes = classes.iter().flatten().flat_map(|class| class.unwrap_or(u32::MAX).to_le_bytes());
    checkpoint::digest(&bytes.collect::<Vec<u8>>())
}

/// How the gradients of the losses were to each other, over all steps that were logged.
#[derive(Serialize)]
struct Conflict {
    /// Number of steps.
    num_steps: usize,
    /// The lowest cosine of two losses' gradients, on average.
    mean_cosine: f64,
    /// Share of the steps in which it was below 0.
    conflict_rate: f64,
}

impl Conflict {
    fn read(run: &RunDir) -> Result<Option<Self>> {
        let path = run.metrics();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| path.display().to_string())?,
        };
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(Self::of(&lines.filter_map(|line| line["gradient_cosine"].as_f64()).collect::<Vec<_>>()))
    }

    fn of(cosines: &[f64]) -> Option<Self> {
        let num = cosines.len() as f64;
        (!cosines.is_empty()).then(|| Self {
            num_steps: cosines.len(),
            mean_cosine: cosines.iter().sum::<f64>() / num,
            conflict_rate: cosines.iter().filter(|&&cosine| cosine < 0.0).count() as f64 / num,
        })
    }

    fn in_words(&self) -> String {
        let (verb, verdict) = match self.mean_cosine {
            cosine if cosine <= -0.1 => ("pull against the embedding", "what one loss gains, the other loses in part"),
            cosine if cosine >= 0.1 => ("pull with the embedding", "the losses want the same"),
            _ => ("pull against the embedding", "no conflict to speak of"),
        };
        let share = match verb {
            "pull with the embedding" => 1.0 - self.conflict_rate,
            _ => self.conflict_rate,
        };
        format!("your labels {verb} in {:.0} % of steps, cosine {:.2}: {verdict}", 100.0 * share, self.mean_cosine)
    }
}

/// The labels, before anything is done with them.
fn about_labels(labelled: &Labelled) -> String {
    let of_column = |column: &LabelColumn| {
        let (least, most) =
            (column.counts.iter().min().copied().unwrap_or(0), column.counts.iter().max().copied().unwrap_or(0));
        let each = if least == most { least.to_string() } else { format!("{least} to {most}") };
        format!("{}: {} labels, {each} samples each", column.name, column.classes.len())
    };
    let columns: Vec<String> = labelled.columns.iter().map(of_column).collect();
    let held_out = match labelled.num_held_out() {
        0 => "none held out: too few groups of each".to_owned(),
        number => format!("{} held out, by {}", thousands(number as u64), labelled.grouped_by),
    };
    format!("{}; {held_out}", columns.join("; "))
}

/// What came of it.
fn in_words(about: &About, run: &RunDir, conflict: Option<&Conflict>) -> String {
    let right =
        |measured: &Measured| format!("{:.3} right of {}", measured.accuracy, thousands(measured.num_samples as u64));
    let mut text = String::new();
    for column in &about.columns {
        let learned = counted(column.counts.iter().sum(), "sample");
        text += &format!(
            "\n  {}: {} labels, learned from {learned}: {}",
            column.name,
            column.classes.len(),
            column.most_frequent(&column.counts)
        );
        if let Some(before) = &column.before {
            text += &format!(
                "\n    a probe of the model as it was, cross-validated by {}: {}",
                about.grouped_by,
                right(before)
            );
        }
        match (&column.before_held_out, &column.held_out) {
            (Some(before), Some(after)) => {
                text += &format!(
                    "\n    held out: {}, of the probe {:.3}; calibration error {:.3}",
                    right(after),
                    before.accuracy,
                    after.calibration_error
                );
            }
            _ => text += "\n    none held out: how well it does is not measured",
        }
        text += &format!("\n    probabilities: {}", column.calibration());
    }
    text += &format!("\n  `invar predict` abstains from what is less probable than {}", about.threshold);
    if let Some(conflict) = conflict {
        text += &format!("\n  {}", conflict.in_words());
    }
    if run.confusion().is_file() {
        text += &format!("\n  which labels are taken for which: {}", run.confusion().display());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_gradients_did_is_said_in_words() {
        let said = |cosines: &[f64]| Conflict::of(cosines).unwrap().in_words();
        assert_eq!(
            said(&[0.05, -0.07, -0.02, 0.01]),
            "your labels pull against the embedding in 50 % of steps, cosine -0.01: no conflict to speak of"
        );
        assert!(said(&[-0.5, -0.3, 0.1]).contains("in 67 % of steps, cosine -0.23: what one loss gains"));
        assert!(said(&[0.5, 0.3, -0.1]).contains("pull with the embedding in 67 % of steps, cosine 0.23"));
        assert!(Conflict::of(&[]).is_none());
    }

    #[test]
    fn a_temperature_is_measured_on_what_it_was_not_found_on() {
        let mut column = Column {
            name: "c".into(),
            classes: vec!["a".into(), "b".into()],
            counts: vec![1, 1],
            temperature: 3.0,
            before: None,
            before_held_out: None,
            held_out: None,
        };
        // All equally sure, and three of four right.
        let logits: Vec<Vec<Vec<f64>>> = (0..80).map(|_| vec![vec![8.0, 0.0]]).collect();
        let known: Vec<(usize, u32)> = (0..80).map(|row| (row, u32::from(row % 8 < 2))).collect();
        let halves: Vec<usize> = (0..80).map(|row| row / 40).collect();
        let (found, predictions) = calibrate(&mut column, 0, &known, &logits, &halves).unwrap();
        assert_eq!((found.num_samples, found.accuracy, predictions.len()), (80, 0.75, 80));
        assert!(found.calibration_error < 0.01, "{found:?}");
        assert!((8.0 / column.temperature - 3f64.ln()).abs() < 0.05);
        assert!(calibrate(&mut column, 0, &[], &[], &[]).is_none());
    }
}
