//! The arguments of `invar ingest`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::path_or_url;

/// The domains that can be ingested.
#[derive(Debug, Subcommand)]
pub enum Ingest {
    /// FASTQ, FASTA (plain, gzip, BGZF, zstd), BAM and CRAM; recognised by content
    Reads(IngestReads),
    /// TIFF, OME-TIFF, PNG, JPEG, MRC and DM3/DM4; divided into grains, particles or tiles
    Micrographs(IngestMicrographs),
    /// Contigs of an assembly (FASTA), their depth in several samples (BAM, CRAM or a table) and the assembly graph
    Contigs(IngestContigs),
    /// Tables of nodes and edges (TSV, CSV; plain or gzip)
    Graph(IngestGraph),
    /// The grains of ingested micrographs as nodes, joined where they touch
    GrainGraph(IngestGrainGraph),
}

/// `invar ingest contigs`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar ingest contigs final.contigs.fa --bam S1.bam S2.bam S3.cram --out data
  invar ingest contigs scaffolds.fasta.gz --depth depth.txt --gfa assembly_graph.gfa --paths contigs.paths --out data
  invar ingest contigs final.contigs.fa --bam S1.bam --markers markers.tbl --out data
BAM and CRAM are sorted by position, of reads mapped to these very contigs; an index is not needed. Depth follows the rules
of jgi_summarize_bam_contig_depths (97 % identity, 75 bp of either end left out), which the manifest states. A sample is called
after its file. Contigs are found in the graph by --paths, by name or by sequence; the summary says how many were found.")]
pub struct IngestContigs {
    /// The contigs: FASTA, plain or compressed by gzip, BGZF or zstd, by path or URL
    #[arg(value_name = "FASTA", value_parser = path_or_url())]
    pub fasta: PathBuf,
    /// The reads of each sample on the contigs
    #[arg(long, num_args = 1.., value_name = "BAM", value_parser = path_or_url())]
    pub bam: Vec<PathBuf>,
    /// Depth of the contigs in samples, as written by jgi_summarize_bam_contig_depths (MetaBAT), CoverM or SemiBin
    #[arg(long, num_args = 1.., value_name = "TABLE", value_parser = path_or_url())]
    pub depth: Vec<PathBuf>,
    /// The assembly graph: GFA (1 or 2) or FASTG
    #[arg(long, value_name = "GRAPH", value_parser = path_or_url())]
    pub gfa: Option<PathBuf>,
    /// How contigs run through the graph: contigs.paths of SPAdes, assembly_info.txt of Flye
    #[arg(long, value_name = "FILE", value_parser = path_or_url(), requires = "gfa")]
    pub paths: Option<PathBuf>,
    /// Single-copy marker genes in the contigs: a table of hmmsearch (--tblout, --domtblout) for proteins that Prodigal
    /// called, of CheckM (marker_gene_stats.tsv), or with a header `contig`, tab, `marker`. Only the number of bins and what
    /// is said of each follow them, never the embedding
    #[arg(long, value_name = "TABLE", value_parser = path_or_url())]
    pub markers: Option<PathBuf>,
    /// The dataset directory to create
    #[arg(long, value_name = "DATA")]
    pub out: PathBuf,
    /// Leave out shorter contigs [default: 1000]
    #[arg(long, value_name = "BP")]
    pub min_length: Option<u32>,
    /// Minimum fraction of equal bases of an alignment that counts [default: 0.97]
    #[arg(long, value_name = "SHARE")]
    pub min_identity: Option<f32>,
    /// Minimum mapping quality of an alignment that counts [default: 0]
    #[arg(long, value_name = "Q")]
    pub min_mapping_quality: Option<u8>,
}

/// `invar ingest reads`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar ingest reads run1.fastq.gz run2.fastq.gz --out data --min-length 1000
  invar ingest reads --mates R1.fastq.gz R2.fastq.gz --out data
  samtools view -u aln.bam chr1 | invar ingest reads - --out data
  invar ingest reads sample.cram --reference genome.fa --out data
  invar ingest reads --sample-sheet samples.csv --out data
  invar ingest reads --sample-sheet samples.csv --sample gut3 --out data/gut3      a task for each sample
  invar ingest reads s3://bucket/run1.fastq.gz https://host/run2.bam --out data
Mates in FASTQ have one name, or names that end in /1 and /2, _1 and _2, .1 and .2, _R1 and _R2, _F and _R and the like;
--mates-by-order takes them by their place alone. FASTQ may be broken over lines. What can be read but looks wrong (a BGZF
file without its end, old quality characters, copies of one file, no read kept) is said as a warning; the exit code is 0.")]
pub struct IngestReads {
    /// Files, in order, by path or URL (s3://, gs://, az://, https://); `-` is standard input
    #[arg(required_unless_present = "sample_sheet", value_name = "INPUT", value_parser = path_or_url())]
    pub inputs: Vec<PathBuf>,
    /// The dataset directory to create
    #[arg(long, value_name = "DATA")]
    pub out: PathBuf,
    /// CSV or TSV that names the files: columns `sample`, `fastq_1` (or `file`) and, for pairs, `fastq_2`, relative to
    /// the sheet. Rows of one sample differ in `run` or `lane`. `sample` and all other columns become columns of the
    /// reads
    #[arg(long, value_name = "CSV", value_parser = path_or_url(), conflicts_with_all = ["inputs", "mates"])]
    pub sample_sheet: Option<PathBuf>,
    /// Only these samples of the sheet [default: all]
    #[arg(long, value_name = "NAME", requires = "sample_sheet")]
    pub sample: Vec<String>,
    /// The inputs are R1 R2 (R1 R2 ...) of read pairs
    #[arg(long)]
    pub mates: bool,
    /// Mates follow each other in every input
    #[arg(long, conflicts_with = "mates")]
    pub interleaved: bool,
    /// Mates are the records at the same position, whatever their names (with --mates or --interleaved)
    #[arg(long)]
    pub mates_by_order: bool,
    /// How FASTQ encodes qualities: auto is phred33 (every current instrument), unless a file's first records can only
    /// be phred64 or solexa, which is reported
    #[arg(long, value_enum, default_value = "auto")]
    pub quality_encoding: QualityEncoding,
    /// Reference genome (FASTA) for CRAM input
    #[arg(long, value_name = "FASTA", value_parser = path_or_url())]
    pub reference: Option<PathBuf>,
    /// Drop shorter reads
    #[arg(long, value_name = "BP")]
    pub min_length: Option<u32>,
    /// Drop longer reads
    #[arg(long, value_name = "BP")]
    pub max_length: Option<u32>,
    /// Drop reads whose mean Phred quality (of the mean error probability) is lower
    #[arg(long, value_name = "Q")]
    pub min_quality: Option<f32>,
    /// Keep secondary and supplementary alignments too
    #[arg(long)]
    pub all_alignments: bool,
    /// Count and list bad records instead of stopping at the first
    #[arg(long)]
    pub skip_bad_records: bool,
    /// Memory for BAM and CRAM records whose mate has not been read yet; more wait on disk, in DATA [default: 67108864]
    #[arg(long, value_name = "BYTES")]
    pub pending_mates_bytes: Option<u64>,
}

/// How the qualities of FASTQ are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QualityEncoding {
    /// Recognised from the first records
    Auto,
    /// `!` is 0: Sanger, Illumina since 1.8, nanopore, PacBio
    Phred33,
    /// `@` is 0: Illumina 1.3 to 1.7
    Phred64,
    /// `@` is 0 and `;` is -5: Solexa, Illumina before 1.3
    Solexa,
}

impl From<QualityEncoding> for invar_reads::QualityEncoding {
    fn from(encoding: QualityEncoding) -> Self {
        match encoding {
            QualityEncoding::Auto => Self::Auto,
            QualityEncoding::Phred33 => Self::Phred33,
            QualityEncoding::Phred64 => Self::Phred64,
            QualityEncoding::Solexa => Self::Solexa,
        }
    }
}

/// How grains are found in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Segment {
    /// Chosen for each image, and reported: particles, lines, steps between two phases, or what a network marks
    Auto,
    /// Grains separated by lines, dark or bright, as left by etching
    Lines,
    /// Grains separated by steps of brightness
    Steps,
    /// Particles on a common background
    Particles,
    /// Grains separated by what a small network recognises as boundaries, lines and steps alike
    Learned,
    /// Grains by a watershed of the gradient, to a fixed depth
    Watershed,
    /// Particles by one threshold of brightness
    Otsu,
}

/// Whether lines or particles are darker or brighter than their surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Polarity {
    /// Darker
    Dark,
    /// Brighter
    Bright,
}

/// What the values of a mask mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MaskKind {
    /// Decided for each mask from how its values are connected
    Auto,
    /// Each value is a grain
    Instances,
    /// Each connected part of a value is a grain
    Classes,
}

/// `invar ingest micrographs`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar ingest micrographs images/ --out data                              grains or particles, as each image has them
  invar ingest micrographs etched/ --segment lines --boundaries dark --out data
  invar ingest micrographs 'run*/*.tif' --segment particles --out data     particles
  invar ingest micrographs cells/ --labels masks/ --out data               masks of Cellpose, StarDist, ilastik
  invar ingest micrographs surfaces/ --tiles 128 --overlap 32 --out data   textures without grains
  invar ingest micrographs --sample-sheet samples.csv --pixel-size 12.5 --out data
  invar ingest micrographs s3://bucket/images/ --labels s3://bucket/masks/ --out data
DATA also gets segmented/NAME.png (look at them), labels/NAME.tif (napari opens them as labels), images.parquet,
grains.parquet and neighbors.parquet:
  invar query data/grains.parquet \"SELECT image, COUNT(*) AS n, AVG(area_um2) AS area FROM self GROUP BY image\"")]
pub struct IngestMicrographs {
    /// Files, directories (all images below; no masks, no results of Invar) and patterns; every page of a file is an
    /// image. Or URLs of files, and of s3://, gs:// and az:// also of what stands for a directory, with a slash at its
    /// end
    #[arg(value_name = "INPUT", value_parser = path_or_url(), required_unless_present = "sample_sheet")]
    pub inputs: Vec<PathBuf>,
    /// The dataset directory to create
    #[arg(long, value_name = "DATA")]
    pub out: PathBuf,
    /// How grains are found
    #[arg(long, value_enum, default_value = "auto", group = "how")]
    pub segment: Segment,
    /// Whether lines (or particles) are darker or brighter than their surroundings [default: decided for each image,
    /// and reported]
    #[arg(long, value_enum, value_name = "DARK|BRIGHT")]
    pub boundaries: Option<Polarity>,
    /// Half the width of the lines, or the blur of the steps, that separate grains: sigma of a Gaussian [default:
    /// measured on each image]
    #[arg(long, value_name = "PX")]
    pub sigma: Option<f32>,
    /// Draw the grains found over the image, for this many images, as segmented/NAME.png
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub pictures: usize,
    /// Masks made elsewhere: a directory, pattern or file; matched by the image's name (also NAME_mask, NAME_cp_masks,
    /// NAME_Simple Segmentation, ...). Each label is a grain; in a black-and-white mask, or one with few classes, each
    /// connected part is one
    #[arg(long, value_name = "MASKS", value_parser = path_or_url(), group = "how")]
    pub labels: Option<PathBuf>,
    /// What the values of masks mean: one grain each, or one class each, of which every connected part is a grain
    /// [default: decided for each mask, and reported]
    #[arg(long, value_enum, value_name = "KIND")]
    pub mask_kind: Option<MaskKind>,
    /// Values of masks that are not grains, separated by commas [default: 0, and what surrounds the grains of a class
    /// mask]
    #[arg(long, value_delimiter = ',', value_name = "VALUE")]
    pub mask_background: Vec<u32>,
    /// Class maps (phases, annotations), matched likewise: each grain gets the class of most of its pixels
    #[arg(long, value_name = "MAPS", value_parser = path_or_url())]
    pub classes: Option<PathBuf>,
    /// Square tiles of this side instead of grains
    #[arg(long, value_name = "PX", group = "how")]
    pub tiles: Option<u32>,
    /// How far tiles overlap [default: 0]
    #[arg(long, value_name = "PX", requires = "tiles")]
    pub overlap: Option<u32>,
    /// Treat each image as a whole
    #[arg(long, group = "how")]
    pub whole_image: bool,
    /// Leave out smaller regions
    #[arg(long, value_name = "PX")]
    pub min_area: Option<u64>,
    /// Cut off this many rows at the bottom of every image
    #[arg(long, value_name = "PX")]
    pub crop_bottom: Option<u32>,
    /// Do not look for a data bar at the bottom to cut off
    #[arg(long)]
    pub no_banner: bool,
    /// Physical size of a pixel [default: from the sample sheet or the file]
    #[arg(long, value_name = "NM")]
    pub pixel_size: Option<f64>,
    /// CSV or TSV with a column `image` or `file`; `mask` (or `labels`), `mask_kind`, `classes`, `pixel_size_nm` are used, all
    /// others kept as columns
    #[arg(long, value_name = "CSV", value_parser = path_or_url())]
    pub sample_sheet: Option<PathBuf>,
    /// Only rows of the sheet with one of these values in the column `sample` [default: all]
    #[arg(long, value_name = "NAME", requires = "sample_sheet")]
    pub sample: Vec<String>,
    /// List images that cannot be read instead of stopping at the first
    #[arg(long)]
    pub skip_bad_images: bool,
}

impl IngestContigs {
    /// All files that are read.
    pub fn inputs(&self) -> Vec<PathBuf> {
        let all = [&self.fasta].into_iter().chain(&self.bam).chain(&self.depth).chain(&self.gfa).chain(&self.paths);
        all.chain(&self.markers).cloned().collect()
    }
}

/// `invar ingest graph`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar ingest graph nodes.tsv.gz edges.tsv.gz --out data
  invar ingest graph genes.csv links.csv --features expression_1 expression_2 --out data
  invar ingest graph proteins.tsv contacts.tsv --features 'f*' --out data
NODES has a column `id` and either a column `features`, a list of the features of each node that are not 0 (`0,17,80`, or with
values `0:1.5 17:2`), or columns of numbers, which --features names. All other columns become columns of the embeddings and are
never learned from. EDGES has columns `source` and `target` (or `a` and `b`, `from` and `to`) and may have `weight`, more than 0.
Edges are taken in both directions; edges from a node to itself, and repeated ones, are left out and counted.")]
pub struct IngestGraph {
    /// A table with a row for each node, by path or URL
    #[arg(value_name = "NODES", value_parser = path_or_url())]
    pub nodes: PathBuf,
    /// A table with a row for each edge, by path or URL
    #[arg(value_name = "EDGES", value_parser = path_or_url())]
    pub edges: PathBuf,
    /// The dataset directory to create
    #[arg(long, value_name = "DATA")]
    pub out: PathBuf,
    /// Columns of NODES that are features, by name, or by how names begin (`f*`) [default: the column `features` lists
    /// them]
    #[arg(long, value_name = "COLUMN", num_args = 1..)]
    pub features: Vec<String>,
    /// Take features as they are [default: columns are brought to mean 0 and standard deviation 1, lists to sums of 1]
    #[arg(long)]
    pub no_scaling: bool,
}

/// `invar ingest grain-graph`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar ingest grain-graph data --out graph
  invar ingest grain-graph data --embeddings emb --out graph
  invar ingest grain-graph data --features area_px aspect_ratio solidity --out graph
An edge is as strong as the boundary that two grains share is long. Nodes have the ids and keys of the grains, so that
`invar paint CLUSTERS --data DATA` paints clusters of them over the micrographs.")]
pub struct IngestGrainGraph {
    /// A dataset directory of micrographs
    #[arg(value_name = "DATA")]
    pub data: PathBuf,
    /// The dataset directory to create
    #[arg(long, value_name = "GRAPH")]
    pub out: PathBuf,
    /// Columns of the table of grains that are features [default: area, shape and brightness]
    #[arg(long, value_name = "COLUMN", num_args = 1.., conflicts_with = "embeddings")]
    pub features: Vec<String>,
    /// Embeddings of the grains, which are the features instead
    #[arg(long, value_name = "EMB", value_parser = path_or_url())]
    pub embeddings: Option<PathBuf>,
}
