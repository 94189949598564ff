use std::path::PathBuf;

use clap::Args;

use super::path_or_url;

/// `invar report`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar report result --out report.html
  invar report result --out report.html --title 'Mock community, lane 3'
The page opens from disk in any browser and loads nothing: it can be sent by mail or kept beside a paper. It shows a map of the
samples to colour, hover over, lasso and filter (`length_bp > 5000 and not cluster in (0, 1)`), tables to download as CSV, the
clusters with pictures of their grains, the curves of the training, how far the embedding is invariant, what it gives away, and
where it all came from. What RESULT does not hold is left out, and said.
Of more than 1,000,000 samples as many are drawn at random.")]
pub struct Report {
    /// A result of `invar run`: a directory that holds clusters.parquet, and whatever exists of embeddings/,
    /// clusters.tsv, data/, run/ and evaluation.json (`invar evaluate --json`)
    #[arg(value_name = "RESULT")]
    pub result: PathBuf,
    /// The page to write
    #[arg(long, value_name = "HTML", value_parser = path_or_url())]
    pub out: PathBuf,
    /// Its title [default: the name of RESULT]
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
}
