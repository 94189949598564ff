//! `invar predict`

use std::{collections::BTreeMap, ops::Range, path::Path};

use anyhow::{Context, Result};
use invar_cli::{
    cli::{Common, Predict},
    commands::labels::Labels,
    confusion::{self, Matrix},
    exit::{BadInput, Usage},
    output,
    ui::{Summary, Ui, Unit, thousands},
};
use invar_dataset::{Column, ColumnData, Progress, RunDir, atomic, path};
use invar_embeddings::{Provenance, write_facts};
use invar_train::{EmbedConfig, Model};
use serde_json::{Value, json};

use super::{embed, train};
use crate::{
    classifier::{self, About, Classifier, Measured, Prediction, measured},
    names::{self, BLOCK_ROWS, Names},
    recipe::Recipe,
    source::Datasets,
};

/// `invar predict`
pub fn run(args: &Predict, common: &Common, ui: &Ui) -> Result<Summary> {
    output::check_file(&args.out, common, &[])?;
    if let Some(picture) = &args.confusion {
        output::check_file(picture, common, &[&args.out])?;
    }
    if let Some(threshold) = args.threshold.filter(|threshold| !(0.0..=1.0).contains(threshold)) {
        return Err(Usage(format!("--threshold: expected a probability, 0 to 1, found {threshold}")).into());
    }
    let run = RunDir::new(&args.model);
    let recipe = Recipe::of_run(&run)?;
    let file = run.classifier();
    if !file.is_file() {
        let text = "the model has no classifier: `invar finetune` makes one from labels";
        return Err(Usage(format!("{}: does not exist: {text}", file.display())).into());
    }
    let classifier = Classifier::read(&file)?;
    let about = &classifier.about;
    let threshold = args.threshold.unwrap_or(about.threshold);
    let labels = match &args.labels {
        None => vec![],
        Some(table) => {
            about.columns.iter().map(|column| labels_of(table, column, about)).collect::<Result<Vec<_>>>()?
        }
    };
    let data = Datasets::new(&recipe.source, &args.data, ui);
    let samples = data.samples()?;
    let total = samples.views.len();
    // Before anything is embedded: a table for other samples is no work of hours.
    let names = if labels.is_empty() { Names::default() } else { Names::read(samples.table.as_ref(), total)? };
    let named = names.named();
    let truth = labels.iter().map(|labels| labels.of(&named)).collect::<Result<Vec<_>>>()?;
    let model = Model::load(&run.model(), train::device(common, ui)?)?.with_features(about.features);
    if model.sha256() != about.model_sha256 || model.dim() != classifier.dim() {
        return Err(BadInput(format!(
            "{}: SHA-256 of the model and dimensions of its embeddings: expected {} and {}, found {} and {}",
            file.display(),
            about.model_sha256,
            classifier.dim(),
            model.sha256(),
            model.dim()
        ))
        .into());
    }
    let provenance = Provenance {
        recipe: Some(recipe.to_toml()),
        model_sha256: Some(model.sha256().to_owned()),
        seed: Some(recipe.seed),
        inputs: embed::inputs(data.dirs())?,
        extra: BTreeMap::from([
            ("threshold".to_owned(), json!(threshold)),
            ("labels".to_owned(), json!(about.columns)),
        ]),
        ..Provenance::new(env!("CARGO_PKG_VERSION"), 0)
    };
    let config = EmbedConfig { view_workers: rayon::current_num_threads(), ..EmbedConfig::default() };
    let block = invar_train::block_samples(samples.views.as_ref(), &config);
    // Whole blocks of embedding.
    let step = (BLOCK_ROWS / block).max(1) * block;
    let mut tally = Tally::new(&classifier, &truth, threshold);
    let bar = ui.bar("predict", Unit::Items);
    bar.set_total(total as u64);
    let mut next = 0;
    let num_rows = write_facts(&args.out, &provenance, || -> Result<Option<Vec<Column>>> {
        if next >= total && next > 0 {
            return Ok(None);
        }
        let range = next..total.min(next + step);
        let first = range.start;
        next = range.end.max(1);
        let mut predictions: Vec<Vec<Prediction>> = Vec::with_capacity(range.len());
        let mut sink = |_: Range<usize>, values: &[f32]| {
            predictions.extend(values.chunks_exact(classifier.dim()).map(|row| classifier.predict(row)));
            Ok(())
        };
        let of_block = Part { bar: &bar };
        invar_train::embed(&model, samples.views.as_ref(), range.clone(), &config, &mut sink, &of_block)?;
        let names: Vec<Column> = samples.table.columns(range)?;
        let names: Vec<Column> =
            names.into_iter().filter(|column| names::COLUMNS.contains(&column.name.as_str())).collect();
        let columns = columns(&classifier, &predictions, threshold);
        tally.add(first, &predictions);
        Ok(Some([names, columns].concat()))
    })?;
    drop(bar);
    let (mut text, mut of_columns, mut matrices) = (String::new(), vec![], vec![]);
    for (number, (column, (counts, abstained))) in about.columns.iter().zip(&tally.counts).enumerate() {
        let share = 100.0 * *abstained as f64 / num_rows.max(1) as f64;
        text += &format!("\n  {}: {}", column.name, column.most_frequent(counts));
        text += &format!("\n    {share:.1} % abstained: less probable than {threshold}");
        let counted = column.classes.iter().cloned().zip(counts.iter().map(|&count| Value::from(count)));
        let counted: serde_json::Map<_, _> = counted.collect();
        let mut json = json!({"name": column.name, "num_abstained": abstained, "counts": counted});
        if let Some(compared) = tally.compared.get(number) {
            let kept = compared.kept(threshold);
            if let Some(found) = measured(&compared.predictions, &compared.classes) {
                text += &format!(
                    "\n    {:.3} right of {} with labels, calibration error {:.3}",
                    found.accuracy,
                    thousands(found.num_samples as u64),
                    found.calibration_error
                );
                if let Some(kept) = kept.filter(|kept| kept.num_samples < found.num_samples) {
                    let num_kept = thousands(kept.num_samples as u64);
                    text += &format!("; {:.3} of the {num_kept} that do not abstain", kept.accuracy);
                }
                json["measured"] = json!(found);
                json["measured_not_abstained"] = json!(kept);
            }
            let [unknown, abstained] = compared.unknown;
            if unknown > 0 {
                text += &format!(
                    "\n    {} have labels that were not learned, {} of them abstained",
                    thousands(unknown),
                    thousands(abstained)
                );
                json["num_unknown_labels"] = unknown.into();
            }
            let matrix = compared.matrix(column);
            for (label, predicted, count) in matrix.mistakes(3) {
                text += &format!("\n    {count} of {label} taken for {predicted}");
            }
            matrices.push(matrix);
        }
        of_columns.push(json);
    }
    if let Some(picture) = &args.confusion {
        atomic::write(picture, confusion::draw(&matrices)?.as_bytes())
            .with_context(|| picture.display().to_string())?;
        text += &format!("\n  which labels are taken for which: {}", picture.display());
    }
    let text = format!("{}: labels of {} samples{text}", args.out.display(), thousands(num_rows));
    let json =
        json!({"out": path::text(&args.out), "num_rows": num_rows, "threshold": threshold, "columns": of_columns});
    Ok(Summary { text, json })
}

/// The true labels of a column: those of its name; a table for the only column may call them anything.
fn labels_of(table: &Path, column: &classifier::Column, about: &About) -> Result<Labels> {
    let named = Labels::read(table, Some(&column.name));
    match named {
        Err(_) if about.columns.len() == 1 => Labels::read(table, None),
        named => named,
    }
}

/// Progress through a part of all samples.
struct Part<'a> {
    bar: &'a dyn Progress,
}

impl Progress for Part<'_> {
    fn set_total(&self, _: u64) {}

    fn advance(&self, amount: u64) {
        self.bar.advance(amount);
    }

    fn message(&self, text: &str) {
        self.bar.message(text);
    }

    fn is_cancelled(&self) -> bool {
        self.bar.is_cancelled()
    }
}

/// The columns of some predictions.
fn columns(classifier: &Classifier, predictions: &[Vec<Prediction>], threshold: f64) -> Vec<Column> {
    let all = &classifier.about.columns;
    let mut columns = vec![];
    for (number, column) in all.iter().enumerate() {
        let name = |name: &str| if all.len() == 1 { name.to_owned() } else { format!("{}_{name}", column.name) };
        let label = |place: usize| {
            let label = |of: &Vec<Prediction>| Some(column.classes[of[number].classes[place]].clone());
            ColumnData::Str(predictions.iter().map(label).collect())
        };
        let figure = |of: &dyn Fn(&Prediction) -> f64| {
            ColumnData::F32(predictions.iter().map(|predictions| Some(of(&predictions[number]) as f32)).collect())
        };
        let abstained = predictions.iter().map(|of| Some(of[number].probabilities[0] < threshold)).collect();
        columns.extend([
            Column { name: name("label"), data: label(0) },
            Column { name: name("probability"), data: figure(&|found| found.probabilities[0]) },
            Column { name: name("entropy"), data: figure(&|found| found.entropy) },
            Column { name: name("second_label"), data: label(1) },
            Column { name: name("second_probability"), data: figure(&|found| found.probabilities[1]) },
            Column { name: name("abstained"), data: ColumnData::Bool(abstained) },
        ]);
    }
    columns
}

/// What was predicted so far.
struct Tally<'a> {
    columns: &'a [classifier::Column],
    /// The true labels of all samples in each column; no columns where they are not known.
    truth: &'a [Vec<Option<&'a str>>],
    threshold: f64,
    /// How often each label of each column was predicted, and how often it was too improbable.
    counts: Vec<(Vec<u64>, u64)>,
    /// One per column of `truth`.
    compared: Vec<Compared>,
}

/// Predictions of samples whose label is known.
#[derive(Default)]
struct Compared {
    predictions: Vec<Prediction>,
    classes: Vec<u32>,
    /// Number of samples with a label that the classifier has never seen, which it cannot but get wrong; and how many of
    /// them it abstains from.
    unknown: [u64; 2],
}

impl<'a> Tally<'a> {
    fn new(classifier: &'a Classifier, truth: &'a [Vec<Option<&'a str>>], threshold: f64) -> Self {
        let columns = &classifier.about.columns;
        let counts = columns.iter().map(|column| (vec![0; column.classes.len()], 0)).collect();
        let compared = truth.iter().map(|_| Compared::default()).collect();
        Self { columns, truth, threshold, counts, compared }
    }

    /// Adds the predictions of samples `first` and following.
    fn add(&mut self, first: usize, predictions: &[Vec<Prediction>]) {
        for (sample, of_sample) in (first..).zip(predictions) {
            for (column, &prediction) in of_sample.iter().enumerate() {
                let abstains = u64::from(prediction.probabilities[0] < self.threshold);
                let (counts, abstained) = &mut self.counts[column];
                counts[prediction.classes[0]] += 1;
                *abstained += abstains;
                let Some(label) = self.truth.get(column).and_then(|truth| truth[sample]) else { continue };
                let compared = &mut self.compared[column];
                match self.columns[column].classes.iter().position(|class| class == label) {
                    Some(class) => {
                        compared.predictions.push(prediction);
                        compared.classes.push(class as u32);
                    }
                    None => {
                        compared.unknown[0] += 1;
                        compared.unknown[1] += abstains;
                    }
                }
            }
        }
    }
}

impl Compared {
    /// Those that do not abstain.
    fn kept(&self, threshold: f64) -> Option<Measured> {
        let is_kept = |(prediction, _): &(&Prediction, &u32)| prediction.probabilities[0] >= threshold;
        let (predictions, classes): (Vec<Prediction>, Vec<u32>) =
            self.predictions.iter().zip(&self.classes).filter(is_kept).unzip();
        measured(&predictions, &classes)
    }

    fn matrix(&self, column: &classifier::Column) -> Matrix {
        let title = format!("{}: {} samples with labels", column.name, thousands(self.classes.len() as u64));
        let predicted = self.predictions.iter().map(|prediction| prediction.classes[0]);
        Matrix::new(title, &column.classes, self.classes.iter().map(|&class| class as usize).zip(predicted))
    }
}
