//! What is made of clusters and embeddings beside their samples: pictures, files, tables.

use std::path::PathBuf;

use clap::Args;

use super::path_or_url;

/// Clusters, and the samples that are in them.
#[derive(Args, Debug)]
pub struct Clusters {
    /// Clusters, as written by `invar cluster`
    #[arg(value_name = "CLUSTERS", value_parser = path_or_url())]
    pub clusters: PathBuf,
    /// The dataset directory that contains their samples; several are combined into one
    #[arg(long, required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
}

impl Clusters {
    /// All that is read.
    pub fn inputs(&self) -> impl Iterator<Item = &PathBuf> {
        self.data.iter().chain([&self.clusters])
    }
}

/// `invar gallery`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar gallery clusters.parquet --data data --out gallery.png
  invar gallery clusters.parquet --data data --out gallery.png --each 10 --cell 64
Under each picture: the width of the window.")]
pub struct Gallery {
    /// What it is made of.
    #[command(flatten)]
    pub of: Clusters,
    /// The picture to write
    #[arg(long, value_name = "PNG", value_parser = path_or_url())]
    pub out: PathBuf,
    /// Number of grains shown from each end of a cluster
    #[arg(long, default_value_t = 6, value_name = "N")]
    pub each: usize,
    /// Side of each grain's picture, in pixels
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
    /// What it is made of.
    #[command(flatten)]
    pub of: Clusters,
    /// The directory to create
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Maximum side of the PNG in pixels; larger images are reduced. The TIFF always has the image's size
    #[arg(long, default_value_t = 4096, value_name = "PX")]
    pub max_side: u32,
}

/// `invar edges`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar edges emb --data graph --out edges.parquet
  invar query edges.parquet \"SELECT * FROM self ORDER BY score LIMIT 20\"
The score is the cosine of the embeddings of the two nodes: a low one is a suspicious link, or a boundary between grains that
are seldom neighbours.")]
pub struct Edges {
    /// Embeddings of nodes
    #[arg(value_name = "EMB", value_parser = path_or_url())]
    pub embeddings: PathBuf,
    /// The dataset directory of the graph; several are combined into one
    #[arg(long, required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
    /// The Parquet file to write
    #[arg(long, value_name = "EDGES", value_parser = path_or_url())]
    pub out: PathBuf,
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
    /// What it is made of.
    #[command(flatten)]
    pub of: Clusters,
    /// The directory to create
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Only these clusters; -1 for samples in none [default: all]
    #[arg(long, value_name = "N", num_args = 1.., allow_negative_numbers = true)]
    pub cluster: Vec<i32>,
}

/// `invar bins`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar bins clusters.parquet --data data --out bins
  invar bins clusters.parquet --data data --out bins --min-bin-bp 500000
  checkm2 predict --input bins -x fa --output-directory checkm2
Writes bin_000.fa and so on, by falling size; bins.tsv, a line for each: contigs, bases, N50, GC, depth in each sample, and a
purity estimate, the mean `probability` of its bases in CLUSTERS; and contig2bin.tsv, contig and bin without a header, which
DAS Tool takes.")]
pub struct Bins {
    /// What it is made of.
    #[command(flatten)]
    pub of: Clusters,
    /// The directory to create
    #[arg(long, value_name = "BINS")]
    pub out: PathBuf,
    /// Clusters of fewer bases are no bins
    #[arg(long, default_value_t = 200_000, value_name = "BP")]
    pub min_bin_bp: u64,
}
