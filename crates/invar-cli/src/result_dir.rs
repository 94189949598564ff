//! The directory that all results of `invar run` go to.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::exit::Usage;

/// The names in the directory of a whole run.
///
/// ```text
/// data/                the dataset
/// run/                 the training: see invar_dataset::RunDir
/// embeddings/          an EMB
/// clusters.parquet     CLUSTERS
/// clusters.tsv         a line for each cluster
/// clusters.svg         their picture
/// evaluation.json      what `invar evaluate --json` says
/// report.html          all of it as one page
/// views.png            pairs, gallery.png and painted/ the clusters: where samples can be looked at
/// ```
#[derive(Clone, Debug)]
pub struct ResultDir {
    path: PathBuf,
}

const DATA: &str = "data";
const RUN: &str = "run";
const EMBEDDINGS: &str = "embeddings";
const CLUSTERS: &str = "clusters.parquet";
const GROUPS: &str = "clusters.tsv";
const PLOT: &str = "clusters.svg";
const EVALUATION: &str = "evaluation.json";
const REPORT: &str = "report.html";
const VIEWS: &str = "views.png";
const GALLERY: &str = "gallery.png";
const PAINTED: &str = "painted";

impl ResultDir {
    /// The results at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The dataset.
    pub fn data(&self) -> PathBuf {
        self.path.join(DATA)
    }

    /// The run directory of the training.
    pub fn run(&self) -> PathBuf {
        self.path.join(RUN)
    }

    /// The embeddings.
    pub fn embeddings(&self) -> PathBuf {
        self.path.join(EMBEDDINGS)
    }

    /// The clusters.
    pub fn clusters(&self) -> PathBuf {
        self.path.join(CLUSTERS)
    }

    /// The table of the clusters.
    pub fn groups(&self) -> PathBuf {
        self.path.join(GROUPS)
    }

    /// The picture of the clusters in the plane.
    pub fn plot(&self) -> PathBuf {
        self.path.join(PLOT)
    }

    /// The evaluation.
    pub fn evaluation(&self) -> PathBuf {
        self.path.join(EVALUATION)
    }

    /// The report page.
    pub fn report(&self) -> PathBuf {
        self.path.join(REPORT)
    }

    /// The contact sheet of pairs.
    pub fn views(&self) -> PathBuf {
        self.path.join(VIEWS)
    }

    /// The contact sheet of clusters.
    pub fn gallery(&self) -> PathBuf {
        self.path.join(GALLERY)
    }

    /// The images under their clusters.
    pub fn painted(&self) -> PathBuf {
        self.path.join(PAINTED)
    }

    /// Checks that a run may write here: unless a dataset shows that an earlier run did, nothing may have the name of a
    /// result.
    ///
    /// # Errors
    /// [`Usage`], naming what is in the way.
    pub fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Usage(format!("{}: {reason}", self.path.display())).into());
        if self.path.exists() && !self.path.is_dir() {
            return refuse("exists already and is no directory".into());
        }
        if self.data().exists() {
            return Ok(());
        }
        let others = [RUN, EMBEDDINGS, CLUSTERS, GROUPS, PLOT, EVALUATION, REPORT, VIEWS, GALLERY, PAINTED];
        match others.into_iter().find(|name| self.path.join(name).symlink_metadata().is_ok()) {
            Some(name) => {
                refuse(format!("holds {name}, but no {DATA}: it was not made by `invar run`; choose another directory"))
            }
            None => Ok(()),
        }
    }
}
