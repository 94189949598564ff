//! The grammar of the command line. What each command does is under `commands/`.

mod ingest;
mod query;
mod report;
mod search;
mod vectors;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use invar_dataset::RunDir;
use invar_embeddings::Shard;
use serde::{Deserialize, Serialize};

pub use self::ingest::{Ingest, IngestMicrographs, IngestReads, MaskKind, Polarity, QualityEncoding, Segment};
pub use self::query::{Format, Query};
pub use self::report::Report;
pub use self::search::Search;
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

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Worker threads [default: all cores]; results do not depend on it
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
    /// Add a line of JSON for each stage to a file: seconds, peak memory, rows, bytes in and out, how it ended
    #[arg(long, global = true, value_name = "JSONL", help_heading = "Common")]
    pub log: Option<PathBuf>,
    /// Say more
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Common")]
    pub verbose: u8,
    /// Say only warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Common")]
    pub quiet: bool,
    /// Replace an output that exists, when the new one is whole; files of others are left alone
    #[arg(long, global = true, help_heading = "Common")]
    pub force: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read instrument files into a dataset directory
    #[command(subcommand)]
    Ingest(Ingest),
    /// Show pairs: what a network that is trained by a recipe is told is the same
    Views(Views),
    /// Train an encoder on the pairs that a recipe describes; resumes by itself
    Train(Train),
    /// Write the embedding of every sample to Parquet
    Embed(Embed),
    /// Group embeddings: a cluster number and 2-D coordinates for each
    Cluster(Cluster),
    /// Measure embeddings: invariance, uniformity and, with labels, neighbours and clusters
    Evaluate(Evaluate),
    /// Draw a contact sheet: the grains nearest to and farthest from the centre of each cluster
    Gallery(Gallery),
    /// Paint the clusters back over the images
    Paint(Paint),
    /// Write what is in each cluster, as it came: reads in files of their own, grains cut out
    Extract(Extract),
    /// Ask SQL of the Parquet files
    Query(Query),
    /// The samples that are most like some: of the same embeddings, or of new files
    Search(Search),
    /// One page to look at, search and show around: map, clusters, curves, provenance
    Report(Report),
    /// Every stage in order, skipping the finished ones
    Run(Run),
    /// What is this file or directory, who made it, is it whole
    Info(Info),
}

/// `invar views`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar views data --recipe my.toml --out views.png
  invar views data --recipe reads/quickstart --number 5
Pictures become a contact sheet, the views of a pair side by side; reads become text.")]
pub struct Views {
    /// Dataset directories; several are drawn from as one
    #[arg(required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
    /// A recipe file, or the name of a built-in one (`invar run --help` lists them)
    #[arg(long)]
    pub recipe: String,
    /// The file to write: .png for pictures [default: text goes to stdout]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How many pairs
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
    /// Dataset directory; several are trained on as one
    #[arg(long, required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
    /// The run directory to make or continue
    #[arg(long, value_name = "RUN", required_unless_present = "dry_run")]
    pub out: Option<PathBuf>,
    /// Override a key of the recipe
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Train nothing: say what the network, its memory and the speed of the data would be, and on which device
    #[arg(long)]
    pub dry_run: bool,
    /// Tab-separated table with columns `id` and a label: held-out samples are asked for their neighbours' labels.
    /// A column `source` or `key` tells samples of one name apart
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
    /// Dataset directory; several are embedded as one
    #[arg(long, required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
    /// A directory of part files, or a file ending in .parquet
    #[arg(long, value_name = "EMB")]
    pub out: PathBuf,
    /// Samples on which the invariance is measured and written beside the embeddings, each under every symmetry; 0 for
    /// none [default: as many, each under two symmetries drawn at random, as take a quarter of the work of embedding, at
    /// most 1,000]
    #[arg(long, value_name = "N")]
    pub probe: Option<usize>,
    /// Move every sample by a random one of its symmetries first (rotate the image, turn the read round), so that
    /// clusters and neighbours can be measured on samples that lie at random
    #[arg(long)]
    pub moved: bool,
    /// What of the network is embedded [default: what the model was trained to embed, embed.features of its recipe]
    #[arg(long, value_enum, value_name = "FEATURES")]
    pub features: Option<Features>,
    /// Embed one of N equal shares of the samples, from 1/N to N/N, into an EMB that N tasks write together
    #[arg(long, value_name = "NUMBER/N", conflicts_with = "force")]
    pub shard: Option<Shard>,
    /// In how many bits each value is stored; float16 takes half of the space [default: embed.dtype of the model's recipe,
    /// float32 where that does not say]
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

/// What of a network is an embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Features {
    /// What its last layer makes, which is what training compares
    Projected,
    /// What its last layer is given, which knows more than pairs share
    Pooled,
    /// Both side by side, of equal weight
    Both,
}

/// How to cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// k-means or Leiden, whichever has the clusters that lie furthest apart and are found again
    Auto,
    /// k-means++ with restarts
    Kmeans,
    /// Density-based; finds the number of clusters and leaves noise out
    Hdbscan,
    /// Communities of the graph of nearest neighbours, by modularity or the constant Potts model
    Leiden,
}

/// What Leiden makes large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Quality {
    /// Edges within clusters beyond those of chance
    Modularity,
    /// Edges within clusters beyond a density, the same for all: the constant Potts model
    Cpm,
}

/// How to put samples on the plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Projection {
    /// What is alike lies near; how far groups lie from one another means little
    Umap,
    /// The two directions in which the embeddings differ most
    Pca,
}

/// `invar cluster`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar cluster embeddings --out clusters.parquet
  invar cluster embeddings --out clusters.parquet --k 12
  invar cluster embeddings --out clusters.parquet --method hdbscan --min-cluster-size 50
  invar cluster embeddings --out clusters.parquet --method leiden --together component --apart homologs
  invar cluster embeddings --out clusters.parquet --plot clusters.svg
  invar cluster new_embeddings --assign clusters.parquet --out assigned.parquet
With --assign each sample gets the cluster of most of its nearest samples among the old ones, where it lies as near to them as
the members do; else -1, none of these. x and y are its place in the old map.")]
pub struct Cluster {
    /// Embeddings: a Parquet file or a directory of part files
    #[arg(value_name = "EMB")]
    pub embeddings: PathBuf,
    /// Which column they are in.
    #[command(flatten)]
    pub vectors: Vectors,
    /// The Parquet file to write: id, key, cluster (-1 is noise), probability, distance, x, y
    #[arg(long, value_name = "CLUSTERS")]
    pub out: PathBuf,
    /// Do not look for clusters: give each sample its place in these, that `invar cluster` made of other samples through
    /// the same model, or in none of them (-1)
    #[arg(long, value_name = "CLUSTERS", conflicts_with_all = ["method", "k", "restarts", "min_cluster_size", "min_samples",
        "resolution", "quality", "together", "apart", "sample", "projection"])]
    pub assign: Option<PathBuf>,
    /// The embeddings that the clusters of --assign are of [default: where they were when they were clustered]
    #[arg(long, value_name = "EMB", requires = "assign")]
    pub of: Option<PathBuf>,
    /// Share of a cluster's own members that --assign would take into it; a sample that is farther from them is in none
    #[arg(long, value_name = "SHARE", default_value_t = 0.95, requires = "assign")]
    pub gate: f64,
    /// How [default: what the other options are of, else auto]
    #[arg(long, value_enum)]
    pub method: Option<Method>,
    /// Number of clusters for k-means, or `auto` [default: auto]
    #[arg(long, value_name = "K")]
    pub k: Option<String>,
    /// Restarts of k-means, the best of which is kept [default: 10]
    #[arg(long, value_name = "N")]
    pub restarts: Option<usize>,
    /// Smallest group that HDBSCAN calls a cluster
    #[arg(long, value_name = "N")]
    pub min_cluster_size: Option<usize>,
    /// Neighbours that make a point dense for HDBSCAN [default: the smallest cluster]
    #[arg(long, value_name = "N")]
    pub min_samples: Option<usize>,
    /// How finely Leiden divides (1 and above: many clusters; 0.05: few), or `auto`: the one of twenty whose clusters lie
    /// apart and are found again in halves of the rows [default: auto]
    #[arg(long, value_name = "R")]
    pub resolution: Option<String>,
    /// What Leiden makes large: modularity, or the constant Potts model, from which large graphs hide no small clusters
    /// [default: modularity]
    #[arg(long, value_enum)]
    pub quality: Option<Quality>,
    /// Neighbours of a row in the graph that Leiden divides; a cluster has more rows than that. Of --assign, those that
    /// vote [default: 15]
    #[arg(long, value_name = "N")]
    pub neighbors: Option<usize>,
    /// Column of EMB, of integers: Leiden never parts rows that have one value in it
    #[arg(long, value_name = "COLUMN")]
    pub together: Option<String>,
    /// Column of EMB, of text: values of the column of --together, a blank between them, that the row's own is like but not
    /// one with (sister species); Leiden joins them by nothing that lies near
    #[arg(long, value_name = "COLUMN", requires = "together")]
    pub apart: Option<String>,
    /// Rows that Leiden looks at, drawn at random; the others join the nearest [default: 200,000]
    #[arg(long, value_name = "N")]
    pub sample: Option<usize>,
    /// The table of the clusters to write: members, confidence, the nearest other and what else is known, tab-separated
    /// [default: CLUSTERS with the ending .tsv]
    #[arg(long, value_name = "TSV")]
    pub groups: Option<PathBuf>,
    /// What the columns x and y, and the plot, are
    #[arg(long, value_enum, default_value = "umap")]
    pub projection: Projection,
    /// Also draw the 2-D projection, coloured by cluster
    #[arg(long, value_name = "SVG")]
    pub plot: Option<PathBuf>,
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
    #[arg(value_name = "EMB")]
    pub embeddings: PathBuf,
    /// Which column they are in.
    #[command(flatten)]
    pub vectors: Vectors,
    /// Tab-separated table with a header: one column `id`, one of labels. A column `source` or `key`, as in the
    /// embeddings, tells samples of one name apart
    #[arg(long, value_name = "TSV")]
    pub labels: Option<PathBuf>,
    /// The column of labels [default: the first of --labels that is not `id`, `source` or `key`]; without --labels a column of EMB
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,
    /// Score these clusters too
    #[arg(long, value_name = "CLUSTERS", requires = "truth")]
    pub clusters: Option<PathBuf>,
    /// Other embeddings of the same samples, such as those of `embed --moved`: is each found by its own?
    #[arg(long, value_name = "EMB2")]
    pub against: Option<PathBuf>,
    /// Columns of EMB to be told from the embedding, instead of the usual ones; may be given again
    #[arg(long, value_name = "COLUMN")]
    pub probe: Vec<String>,
    /// Do not probe
    #[arg(long, conflicts_with = "probe")]
    pub no_probe: bool,
    /// Runs of k-means with the true number of labels, each from a seed of its own
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub kmeans_runs: usize,
}

/// `invar gallery`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar gallery clusters.parquet --data data --out gallery.png
  invar gallery clusters.parquet --data data --out gallery.png --each 10 --cell 64
Under each picture: the width of the window.")]
pub struct Gallery {
    /// Clusters of grains, as `invar cluster` wrote them
    #[arg(value_name = "CLUSTERS")]
    pub clusters: PathBuf,
    /// The dataset directory that the grains are in; several as one
    #[arg(long, required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
    /// The picture to write
    #[arg(long, value_name = "PNG")]
    pub out: PathBuf,
    /// Grains shown from either end of a cluster
    #[arg(long, default_value_t = 6, value_name = "N")]
    pub each: usize,
    /// Side of the picture of a grain, pixels
    #[arg(long, default_value_t = 96, value_name = "PX")]
    pub cell: u32,
}

/// `invar paint`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar paint clusters.parquet --data data --out painted
Writes for each image NAME.png, the clusters over the image with a legend, and NAME.tif, a map of 32-bit labels that
napari opens: cluster + 1, and 0 for background and noise. With --force what was painted before is replaced, and nothing
else in the directory.")]
pub struct Paint {
    /// Clusters of grains, as `invar cluster` wrote them
    #[arg(value_name = "CLUSTERS")]
    pub clusters: PathBuf,
    /// The dataset directory that the grains are in; several as one
    #[arg(long, required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
    /// The directory to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Most pixels of a side of the PNG; larger images are shown smaller. The TIFF is always of the image's size
    #[arg(long, default_value_t = 4096, value_name = "PX")]
    pub max_side: u32,
}

/// `invar extract`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar extract clusters.parquet --data data --out groups
  invar extract clusters.parquet --data data --out groups --cluster 0 3
  flye --meta --nano-hq groups/group_000.fastq.gz --out-dir group_000 --threads 8
  hifiasm_meta -o group_000 -t 8 groups/group_000.fastq.gz
Writes group_000.fastq.gz and so on, by falling size as the clusters are numbered, and ungrouped.fastq.gz (cluster -1): names,
descriptions and qualities as they came, of BAM and CRAM in the order in which the sequencer read the bases; .fasta.gz of what
came without qualities. Mates are in group_000_1.fastq.gz and group_000_2.fastq.gz, in the same order; where the two are of
different clusters each is in the _unpaired file of its own. Compressed as BGZF, which is gzip.
The files are read again that DATA was made from: they must be where they were, and the same, byte for byte. Paths are relative
to the current directory, as they were at the ingest.

Of grains: group_000_IMAGE_LABEL.tif and so on, the window of a grain with its pixels as they came, and IMAGE_labels.tif, a map
of 32-bit labels, those of grains.parquet, of the grains that were cut out. invar paint and invar gallery show them.")]
pub struct Extract {
    /// Clusters of reads or grains, as `invar cluster` wrote them
    #[arg(value_name = "CLUSTERS")]
    pub clusters: PathBuf,
    /// The dataset directory that they are in; several as one
    #[arg(long, required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
    /// The directory to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Only these clusters; -1 are those in none [default: all]
    #[arg(long, value_name = "N", num_args = 1.., allow_negative_numbers = true)]
    pub cluster: Vec<i32>,
}

/// `invar run`
#[derive(Args, Debug)]
#[command(after_help = crate::builtin::help())]
pub struct Run {
    /// A recipe file, or the name of a built-in one
    pub recipe: String,
    /// Instrument files
    #[arg(long, required_unless_present = "sample_sheet", num_args = 1.., value_name = "FILE")]
    pub input: Vec<PathBuf>,
    /// CSV or TSV that names the files, or of micrographs says more of them, as for `invar ingest`: source.sample_sheet of the
    /// recipe
    #[arg(long, value_name = "CSV")]
    pub sample_sheet: Option<PathBuf>,
    /// The directory that all results go to
    #[arg(long, value_name = "RUNDIR")]
    pub out: PathBuf,
    /// Tab-separated table of true labels, to measure the result against
    #[arg(long, value_name = "TSV")]
    pub labels: Option<PathBuf>,
    /// The column of labels [default: the first of --labels that is not `id`, `source` or `key`]; without --labels one of the
    /// samples' own
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,
    /// Samples on which the invariance is measured, as for `invar embed`
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
    pub path: PathBuf,
    /// Read everything and compare checksums
    #[arg(long)]
    pub verify: bool,
}

impl Info {
    /// Whether it is asked about the run directory of a training, which what can read its recipe describes.
    pub fn is_run(&self) -> bool {
        RunDir::new(&self.path).is_run()
    }
}
