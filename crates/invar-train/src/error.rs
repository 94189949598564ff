use std::{io, path::PathBuf};

use invar_cluster::ClusterError;
use invar_dataset::{DatasetError, Fault, FaultClass};
use thiserror::Error;

/// What can go wrong while training or embedding.
#[derive(Debug, Error)]
pub enum Error {
    /// An error in the data.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// An error of batches, encoders or devices.
    #[error(transparent)]
    Nn(#[from] invar_nn::Error),
    /// An error of the loss.
    #[error(transparent)]
    Loss(#[from] invar_loss::Error),
    /// Embeddings that cannot be measured.
    #[error("embeddings: {0}")]
    Embeddings(#[from] ClusterError),
    /// LibTorch failed, a peer died, or a thread panicked.
    #[error(transparent)]
    Torch(#[from] invar_torch::Error),
    /// There is not enough memory.
    #[error("{during}: {refusal}; {remedy}")]
    OutOfMemory {
        /// What was being done ("step 3").
        during: String,
        /// LibTorch's message.
        refusal: Box<Error>,
        /// What to lower, and what is kept.
        remedy: String,
    },
    /// The operating system reported an error.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A checkpoint or model file does not hold what it should.
    #[error("{path}: {what}: expected {expected}, found {found}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was checked.
        what: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The run directory belongs to another recipe.
    #[error(
        "{path} was made with {key} = {found}, this recipe has {expected}: use another run directory, or --force to start over"
    )]
    OtherRecipe {
        /// The checkpoint.
        path: PathBuf,
        /// The first setting that differs, dotted.
        key: String,
        /// Its value in this recipe.
        expected: String,
        /// Its value in the checkpoint.
        found: String,
    },
    /// The loss or its gradient is not finite; the weights were not touched.
    #[error(
        "step {step}: {what} is {value}, training stopped before the weights were changed; {}; {}",
        blame(samples), last_good(checkpoint.as_ref())
    )]
    NonFinite {
        /// The step, 1-based.
        step: u64,
        /// "loss" or "gradient norm".
        what: &'static str,
        /// Its value.
        value: f64,
        /// This process's samples without a finite embedding.
        samples: Vec<String>,
        /// The newest checkpoint, from an earlier step.
        checkpoint: Option<PathBuf>,
    },
    /// The model to start from has another encoder.
    #[error("train.warm_start: {path}: {found}: its encoder is not this recipe's")]
    WarmStart {
        /// The model file.
        path: PathBuf,
        /// The first tensor that differs, and how.
        found: String,
    },
    /// Tensors that do not match the trainer's.
    #[error("these are not tensors of this trainer: {found}")]
    Tensors {
        /// The first that differs, and how.
        found: String,
    },
    /// A batch that cannot be divided among the processes.
    #[error("a batch of {batch_size} pairs cannot be divided evenly among {processes} processes: choose a multiple")]
    Share {
        /// Pairs per batch: `train.batch_size`, or the number of training samples if smaller.
        batch_size: usize,
        /// Processes.
        processes: usize,
    },
    /// A pair that the loop cannot collate.
    #[error("sample {sample}: {reason}")]
    Pair {
        /// The sample's id.
        sample: String,
        /// What is wrong, with both values.
        reason: String,
    },
    /// A sample without a view.
    #[error("sample {0} gave no view to embed")]
    NoView(usize),
    /// Links between items that no loss uses.
    #[error("the pairs link items of their views, and no loss of the recipe reads links: dense-info-nce does")]
    UnreadLinks,
    /// A local loss, with pairs that carry no targets for it.
    #[error(
        "loss {loss} is asked nothing by the pairs: masked-token needs hidden tokens (source.pairs.masked of reads), \
         dense-info-nce links between items, classification labels (`invar finetune`)"
    )]
    NothingAsked {
        /// The loss, as named in the recipe.
        loss: &'static str,
    },
    /// A graph too large for a batch.
    #[error(
        "sample {sample}: its graph has {found} nodes and edges, and a batch at most {most} (embedding does not cut graphs)"
    )]
    Graph {
        /// The sample.
        sample: usize,
        /// Its number of nodes and edges.
        found: usize,
        /// The limit of a batch.
        most: usize,
    },
    /// A setting out of range.
    #[error("{key} must be {expected}, got {found}")]
    Config {
        /// The setting, dotted as in a recipe.
        key: &'static str,
        /// The allowed values.
        expected: String,
        /// The actual value.
        found: String,
    },
    /// The sink for embeddings failed.
    #[error("embeddings of samples {first}..{end} could not be stored: {source}")]
    Sink {
        /// First sample.
        first: usize,
        /// One past the last sample.
        end: usize,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A worker thread ended without a result.
    #[error("a view worker stopped before its batch was done")]
    Worker,
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Names at most eight samples.
fn blame(samples: &[String]) -> String {
    const MOST: usize = 8;
    if samples.is_empty() {
        return "the embeddings of this process's samples are finite".into();
    }
    let named = samples[..samples.len().min(MOST)].join(", ");
    let more = if samples.len() > MOST { format!(" and {} more", samples.len() - MOST) } else { String::new() };
    format!("samples {named}{more}")
}

pub(crate) fn last_good(checkpoint: Option<&PathBuf>) -> String {
    checkpoint.map_or("there is no checkpoint yet".into(), |path| format!("last good checkpoint: {}", path.display()))
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error.into())
    }
}

impl Error {
    /// Whether LibTorch ran out of memory, on the host or on a GPU.
    pub fn is_out_of_memory(&self) -> bool {
        let of_libtorch = match self {
            Self::OutOfMemory { .. } => return true,
            Self::Torch(error)
            | Self::Nn(invar_nn::Error::Torch(error))
            | Self::Loss(invar_loss::Error::Torch(error)) => error,
            _ => return false,
        };
        of_libtorch.is_out_of_memory()
    }

    /// Wraps an I/O error with the path it happened on.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Whether the data is to blame: the command line then exits with 3.
    pub fn is_bad_input(&self) -> bool {
        self.class() == FaultClass::BadInput
    }
}

impl Fault for Error {
    fn class(&self) -> FaultClass {
        match self {
            Self::Data(error) => error.class(),
            Self::Nn(error) => error.class(),
            Self::Embeddings(error) => error.class(),
            Self::Io { source, .. } => source.class(),
            Self::Loss(
                invar_loss::Error::Views { .. } | invar_loss::Error::Config { .. } | invar_loss::Error::NoTokens { .. },
            )
            | Self::NothingAsked { .. }
            | Self::UnreadLinks
            | Self::Torch(invar_torch::Error::Variable { .. })
            | Self::OtherRecipe { .. }
            | Self::WarmStart { .. }
            | Self::Share { .. }
            | Self::Config { .. } => FaultClass::Usage,
            Self::Loss(invar_loss::Error::TooFew { .. } | invar_loss::Error::Link { .. })
            | Self::Corrupt { .. }
            | Self::Tensors { .. }
            | Self::Pair { .. }
            | Self::Graph { .. }
            | Self::NoView(_) => FaultClass::BadInput,
            Self::Interrupted => FaultClass::Interrupted,
            Self::Loss(_)
            | Self::Torch(_)
            | Self::OutOfMemory { .. }
            | Self::NonFinite { .. }
            | Self::Sink { .. }
            | Self::Worker => FaultClass::Failed,
        }
    }
}
