//! The grammar of the command line. What each command does is under `commands/`.

mod cluster;
mod clustered;
mod federate;
mod ingest;
mod labels;
mod query;
mod report;
mod search;
mod shell;
mod vectors;

use std::path::PathBuf;

use clap::{
    ArgAction, Args, Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
};
use invar_dataset::{RunDir, object};
use invar_embeddings::Shard;
use invar_federation::Global;
use serde::{Deserialize, Serialize};

pub use self::cluster::{Cluster, Method, Projection, Quality};
pub use self::clustered::{Bins, Clusters, Edges, Extract, Gallery, Paint};
pub use self::federate::{
    Federate, FederateClient, FederateInit, FederateMembership, FederateMerge, FederateRecipe, FederateSimulate,
    FederateSite, FederateStep,
};
pub use self::ingest::{
    Ingest, IngestContigs, IngestGrainGraph, IngestGraph, IngestMicrographs, IngestReads, MaskKind, Polarity,
    QualityEncoding, Segment,
};
pub use self::labels::{Finetune, Predict};
pub use self::query::{Format, Query};
pub use self::report::Report;
pub use self::search::Search;
pub use self::shell::{Completions, Man};
pub use self::vectors::Vectors;

/// Raw instrument files in, embeddings out that ignore what the instrument did by accident.
#[derive(Debug, Parser)]
#[command(
    name = "invar",
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage (also a path that is not there), 3 bad input data, 130 interrupted."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command.
    #[command(flatten)]
    pub common: Common,
}

impl Cli {
    /// Whether the command needs networks, which `invar-learn` has.
    pub fn is_for_learn(&self) -> bool {
        match &self.command {
            Command::Views(_) | Command::Train(_) | Command::Embed(_) | Command::Run(_) => true,
            Command::Finetune(_) | Command::Predict(_) => true,
            Command::Federate(command) => !matches!(command, Federate::Merge(_)),
            Command::Search(args) => !args.to_be_embedded().is_empty(),
            Command::Info(args) => args.is_run(),
            _ => false,
        }
    }
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Worker threads, at most 1,024 [default: all cores]; results do not depend on it
    #[arg(long, global = true, value_name = "N", help_heading = "Common")]
    pub threads: Option<usize>,
    /// Where networks run: auto, cpu, cuda:N or mps
    #[arg(long, global = true, default_value = "auto", help_heading = "Common")]
    pub device: String,
    /// Seed of everything random [default: the recipe's, else 0]
    #[arg(long, global = true, value_name = "N", help_heading = "Common")]
    pub seed: Option<u64>,
    /// Print a machine-readable summary on stdout
    #[arg(long, global = true, help_heading = "Common")]
    pub json: bool,
    /// Print notes, warnings, progress and errors on stderr as lines of JSON, for a program that runs this one; stop when
    /// that program has ended
    #[arg(long, global = true, help_heading = "Common")]
    pub events: bool,
    /// Add one line of JSON per stage to a file: seconds, peak memory, rows, bytes in and out, how it ended
    #[arg(long, global = true, value_name = "JSONL", help_heading = "Common")]
    pub log: Option<PathBuf>,
    /// Print more
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Common")]
    pub verbose: u8,
    /// Print only warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Common")]
    pub quiet: bool,
    /// Replace an existing output when the new one is complete; other files are left alone
    #[arg(long, global = true, help_heading = "Common")]
    pub force: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read instrument files into a dataset directory
    #[command(subcommand)]
    Ingest(Ingest),
    /// Show pairs: what a network trained with a recipe learns to see as the same
    Views(Views),
    /// Train an encoder on the pairs that a recipe describes; resumes automatically
    Train(Train),
    /// Write the embedding of every sample to Parquet
    Embed(Embed),
    /// Teach a trained encoder the labels of some samples
    Finetune(Finetune),
    /// Write the label of every sample to Parquet, by a model that `invar finetune` made
    Predict(Predict),
    /// Train one model at several sites that do not show each other their samples
    #[command(subcommand)]
    Federate(Federate),
    /// Group embeddings: a cluster number and 2-D coordinates for each
    Cluster(Cluster),
    /// Measure embeddings: invariance, uniformity and, with labels, neighbours and clusters
    Evaluate(Evaluate),
    /// Draw a contact sheet: the grains nearest to and farthest from the centre of each cluster
    Gallery(Gallery),
    /// Paint the clusters back over the images
    Paint(Paint),
    /// Write the edges of a graph, each with how alike its two nodes are
    Edges(Edges),
    /// Write the content of each cluster in its original form: reads in separate files, grains cut out
    Extract(Extract),
    /// Write the contigs of each cluster as a bin: FASTA, a table of the bins, and which contig is in which
    Bins(Bins),
    /// Query the Parquet files with SQL
    Query(Query),
    /// Find the samples most similar to others: in the same embeddings, or in new files
    Search(Search),
    /// Write one page to look at, search and show around: map, clusters, curves, provenance
    Report(Report),
    /// Every stage in order, skipping the finished ones
    Run(Run),
    /// What this file or directory is, who made it, and whether it is intact
    Info(Info),
    /// Print a script that lets a shell complete commands and options
    Completions(Completions),
    /// Write manual pages, one for each command
    Man(Man),
}

/// `invar views`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar views data --recipe my.toml --out views.png
  invar views data --recipe reads/quickstart --number 5
Pictures become a contact sheet, the views of a pair side by side; reads become text.")]
pub struct Views {
    /// Dataset directories; several are combined into one
    #[arg(required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
    /// A recipe file, or the name of a built-in one (`invar run --help` lists them)
    #[arg(long)]
    pub recipe: String,
    /// The file to write: .png for pictures [default: text goes to stdout]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Number of pairs
    #[arg(short, long, default_value_t = 24, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub number: u32,
    /// Override a key of the recipe
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `invar train`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar train reads/quickstart --data data --out run
  invar train my.toml --data lane1 --data lane2 --out run --set train.steps=2000
  invar train reads/quickstart --data data --dry-run
  torchrun --no-python --nproc_per_node 4 invar train my.toml --data data --out run
  srun --ntasks 8 --gpus-per-task 1 invar train my.toml --data data --out run
The directory resumes where it holds a checkpoint of the same recipe, also in another number of processes; a finished one
is left as it is. `tensorboard --logdir run` draws the curves. With --force the new run is made in RUN/.invar-next and takes the
place of the old one when it is finished.

Several processes train on one batch together, each on its part of it, as if they were one. They are told of each other by
torchrun, by srun, or by RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT.")]
pub struct Train {
    /// A recipe file, or the name of a built-in one (`invar run --help` lists them)
    pub recipe: String,
    /// Dataset directory; several are combined into one
    #[arg(long, required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
    /// The run directory to create or continue
    #[arg(long, value_name = "RUN", required_unless_present = "dry_run")]
    pub out: Option<PathBuf>,
    /// Override a key of the recipe
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Do not train: report the network, its memory, the speed of the data, and the device
    #[arg(long)]
    pub dry_run: bool,
    /// Tab-separated table with columns `id` and a label: held-out samples are scored by their neighbours' labels. A
    /// column `source` or `key` distinguishes samples with the same name
    #[arg(long, value_name = "TSV")]
    pub labels: Option<PathBuf>,
    /// The column of --labels [default: the first that is not `id`, `source` or `key`]
    #[arg(long, value_name = "NAME", requires = "labels")]
    pub label_column: Option<String>,
    /// How long a process waits for another before it gives up
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = clap::value_parser!(u64).range(1..))]
    pub peer_timeout: u64,
}

/// `invar embed`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar embed --model run --data data --out embeddings
  invar embed --model run --data data --out embeddings.parquet
  invar embed --model run --data data --out rotated --moved
  invar embed --model run --data lane1 --data lane2 --out embeddings --shard 3/16
A directory is written part by part and continues after an interruption; a .parquet file is written in one piece.

With --shard a task of an array job does its share of the samples: `--shard $SLURM_ARRAY_TASK_ID/16` under `#SBATCH
--array=1-16`. All tasks are given the same options and the same EMB; they need not run at the same time, nor in order. The rows
are those of one task that does all. EMB is whole when all shards are; until then what reads it says which are missing. The last
shard also measures the invariance.")]
pub struct Embed {
    /// The run directory of a trained model
    #[arg(long, value_name = "RUN")]
    pub model: PathBuf,
    /// Dataset directory; several are combined into one
    #[arg(long, required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
    /// A directory of part files, or a file ending in .parquet
    #[arg(long, value_name = "EMB", value_parser = path_or_url())]
    pub out: PathBuf,
    /// Number of samples on which the invariance is measured and stored with the embeddings, each under every symmetry;
    /// 0 for none [default: as many, each under two random symmetries, as take a quarter of the work of embedding, at
    /// most 1,000]
    #[arg(long, value_name = "N")]
    pub probe: Option<usize>,
    /// First transform every sample by a random one of its symmetries (rotate the image, reverse-complement the read),
    /// so that clusters and neighbours can be measured on randomly oriented samples
    #[arg(long)]
    pub moved: bool,
    /// Which features of the network to embed with [default: what the model was trained for, embed.features of its
    /// recipe]
    #[arg(long, value_enum, value_name = "FEATURES")]
    pub features: Option<Features>,
    /// Embed one of N equal parts of the samples, from 1/N to N/N, into an EMB that N tasks write together
    #[arg(long, value_name = "NUMBER/N", conflicts_with = "force")]
    pub shard: Option<Shard>,
    /// Number of bits per stored value; float16 takes half the space [default: embed.dtype of the model's recipe, or
    /// else float32]
    #[arg(long, value_enum, value_name = "DTYPE")]
    pub dtype: Option<Dtype>,
}

/// The type of the values of an embedding, as an option and in a recipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32 bits
    #[default]
    Float32,
    /// 16 bits, three digits: cosines change by less than a thousandth
    Float16,
}

/// Which output of a network is the embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Features {
    /// The output of its last layer, which is what training compares
    Projected,
    /// The input of its last layer, which holds more than what pairs share
    Pooled,
    /// Both, concatenated with equal weight
    Both,
}

/// `invar evaluate`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar evaluate embeddings
  invar evaluate embeddings --labels truth.tsv --label-column species
  invar evaluate embeddings --labels truth.tsv --clusters clusters.parquet --json
  invar evaluate embeddings --label-column phase --probe detector --probe magnification
  invar evaluate embeddings --against rotated --label-column phase
Unless --probe names others, `source`, `image`, `pixel_size_nm` and every column that a sample sheet added are probed: what
a linear model can read off the embedding, with whole images held out.")]
#[command(group = clap::ArgGroup::new("truth").args(["labels", "label_column"]).multiple(true))]
pub struct Evaluate {
    /// Embeddings: a Parquet file or a directory of part files
    #[arg(value_name = "EMB", value_parser = path_or_url())]
    pub embeddings: PathBuf,
    /// Which column they are in.
    #[command(flatten)]
    pub vectors: Vectors,
    /// Tab-separated table with a header: a column `id` and one of labels. A column `source` or `key`, as in the
    /// embeddings, distinguishes samples with the same name
    #[arg(long, value_name = "TSV", value_parser = path_or_url())]
    pub labels: Option<PathBuf>,
    /// The column of labels [default: the first of --labels that is not `id`, `source` or `key`]; without --labels a column of EMB
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,
    /// Score these clusters too
    #[arg(long, value_name = "CLUSTERS", requires = "truth", value_parser = path_or_url())]
    pub clusters: Option<PathBuf>,
    /// Also score --clusters by this column, the number of bases of a contig say: purity, completeness, nearly complete
    /// bins (more than 90 % of a label, less than 5 % of others)
    #[arg(long, value_name = "COLUMN", requires = "clusters")]
    pub weight: Option<String>,
    /// Other embeddings of the same samples, such as those of `embed --moved`: does each sample find itself?
    #[arg(long, value_name = "EMB2", value_parser = path_or_url())]
    pub against: Option<PathBuf>,
    /// Columns of EMB to predict from the embedding, instead of the usual ones; can be repeated
    #[arg(long, value_name = "COLUMN")]
    pub probe: Vec<String>,
    /// Do not probe
    #[arg(long, conflicts_with = "probe")]
    pub no_probe: bool,
    /// Runs of k-means with the true number of labels, each with its own seed
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub kmeans_runs: usize,
}

/// `invar run`
#[derive(Args, Debug)]
#[command(after_help = crate::builtin::help())]
pub struct Run {
    /// A recipe file, or the name of a built-in one
    pub recipe: String,
    /// Instrument files, by path or URL as for `invar ingest`
    #[arg(long, required_unless_present = "sample_sheet", num_args = 1.., value_name = "FILE", value_parser = path_or_url())]
    pub input: Vec<PathBuf>,
    /// CSV or TSV that names the files, or describes micrographs, as for `invar ingest`: source.sample_sheet of the
    /// recipe
    #[arg(long, value_name = "CSV", value_parser = path_or_url())]
    pub sample_sheet: Option<PathBuf>,
    /// The directory that all results go to
    #[arg(long, value_name = "RUNDIR")]
    pub out: PathBuf,
    /// Tab-separated table of true labels, to measure the result against
    #[arg(long, value_name = "TSV")]
    pub labels: Option<PathBuf>,
    /// The column of labels [default: the first of --labels that is not `id`, `source` or `key`]; without --labels, a
    /// column of the samples themselves
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,
    /// Number of samples on which the invariance is measured, as for `invar embed`
    #[arg(long, value_name = "N")]
    pub probe: Option<usize>,
    /// Override a key of the recipe
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `invar info`
#[derive(Args, Debug)]
pub struct Info {
    /// A dataset, run or embedding directory, a Parquet file, or an instrument file
    #[arg(value_parser = path_or_url())]
    pub path: PathBuf,
    /// Read everything and compare checksums
    #[arg(long)]
    pub verify: bool,
}

impl Info {
    /// Whether it is about the run directory of a training, which must be described by whatever can read its recipe. A model
    /// of many sites describes itself.
    pub fn is_run(&self) -> bool {
        RunDir::new(&self.path).is_run() && !Global::is_at(&self.path)
    }
}

/// An argument that is a path, or a URL, which from here on goes by a name without its secrets. One that cannot be taken
/// is refused afterwards, because clap would show it.
fn path_or_url() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(|text| object::named(text.as_ref()))
}
