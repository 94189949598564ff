use std::path::PathBuf;

use clap::Args;

use super::path_or_url;

/// `invar finetune`
#[derive(Args, Debug)]
#[command(after_help = "Recipes:
  finetune/full   encoder and classifier learn from the labels, beside the contrastive loss of the model's own recipe
  finetune/head   a classifier with a hidden layer; the encoder stays as it is
  finetune/probe  a logistic regression on the embeddings of the model: seconds
Examples:
  invar finetune finetune/full --model run --data data --labels labels.tsv --out tuned
  invar finetune finetune/probe --model run --data data --labels labels.tsv --label-column phase --out probe
  invar finetune finetune/full --model run --data data --labels labels.tsv --out tuned --set train.harmony.method=pcgrad
  invar predict --model tuned --data data --out predictions.parquet
The labels need not cover all samples: a few of each class will do. Where each class has 20 or more groups with labels (groups:
see --group-column), a fifth of them is held out to measure and calibrate the result; with fewer, all are learned from, and
cross-validation of the model as it was tells what to expect. The directory continues after an interruption like one of
`invar train`, and is a model like others: `invar embed --model` takes it, too.")]
pub struct Finetune {
    /// What is trained: finetune/full, finetune/head, finetune/probe, or a file with the tables `labels` and `train`
    pub recipe: String,
    /// The run directory of a trained model
    #[arg(long, value_name = "RUN")]
    pub model: PathBuf,
    /// Dataset directory; several are combined into one
    #[arg(long, required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
    /// Tab-separated table with columns `id` and a label. A column `source` or `key` distinguishes samples with the same
    /// name
    #[arg(long, value_name = "TSV")]
    pub labels: PathBuf,
    /// A column of labels to learn; may be given several times [default: the first that is not `id`, `source` or `key`]
    #[arg(long, value_name = "NAME")]
    pub label_column: Vec<String>,
    /// A column of the labels, or of the samples, that groups samples which must not be learned from and measured on at the
    /// same time: genome, specimen, image [default: image or overlap component, where each class has several, else the
    /// sample itself]
    #[arg(long, value_name = "NAME")]
    pub group_column: Option<String>,
    /// The run directory to create or continue
    #[arg(long, value_name = "RUN2")]
    pub out: PathBuf,
    /// Override a key of the recipe, or of the model's own
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `invar predict`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar predict --model tuned --data data --out predictions.parquet
  invar predict --model tuned --data data --out predictions.parquet --threshold 0.9
  invar predict --model tuned --data other --out predictions.parquet --labels truth.tsv --confusion confusion.svg
A row per sample: id, source, key, label, probability, entropy (nats), second_label, second_probability, abstained. With several
columns of labels, the names of the last six begin with that of the column: phase_label, phase_probability, ...")]
pub struct Predict {
    /// The run directory of `invar finetune`
    #[arg(long, value_name = "RUN2")]
    pub model: PathBuf,
    /// Dataset directory; several are combined into one
    #[arg(long, required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
    /// The Parquet file to write
    #[arg(long, value_name = "PRED", value_parser = path_or_url())]
    pub out: PathBuf,
    /// Abstain where the most probable label is less probable than this [default: labels.threshold of the recipe]
    #[arg(long, value_name = "P")]
    pub threshold: Option<f64>,
    /// True labels, to measure the predictions: accuracy, calibration error, confusion
    #[arg(long, value_name = "TSV", value_parser = path_or_url())]
    pub labels: Option<PathBuf>,
    /// Draw which labels are taken for which, as a picture (.svg)
    #[arg(long, value_name = "SVG", requires = "labels", value_parser = path_or_url())]
    pub confusion: Option<PathBuf>,
}
