use thiserror::Error;

/// What can be wrong with a loss or with what it is given.
#[derive(Debug, Error)]
pub enum Error {
    /// The loss is defined for another number of views.
    #[error("loss {loss} compares {expected} views of a pair, got {found}")]
    Views {
        /// The loss, as the recipe names it.
        loss: &'static str,
        /// Views it compares.
        expected: usize,
        /// Views it was given.
        found: usize,
    },
    /// The embeddings of the views do not match.
    #[error("loss {loss}: view 0 has embeddings {first:?}, view {view} has {found:?}")]
    Shape {
        /// The loss, as the recipe names it.
        loss: &'static str,
        /// Shape of the first view's embeddings.
        first: Vec<i64>,
        /// Number of the view that differs.
        view: usize,
        /// Shape of its embeddings.
        found: Vec<i64>,
    },
    /// A batch without negatives.
    #[error("loss {loss} needs at least 2 pairs in a batch, got {found}")]
    TooFew {
        /// The loss, as the recipe names it.
        loss: &'static str,
        /// Pairs in the batch.
        found: i64,
    },
    /// Something beside the embeddings does not match them.
    #[error("loss {loss}: {what} must have shape {expected:?}, got {found:?}")]
    Beside {
        /// The loss, as the recipe names it.
        loss: &'static str,
        /// What does not match.
        what: &'static str,
        /// The shape that it must have.
        expected: Vec<i64>,
        /// Its shape; empty where it is missing.
        found: Vec<i64>,
    },
    /// A memory bank that does not fit, or tensors that are none.
    #[error("memory bank: {name} must be {expected}, got {found}")]
    Bank {
        /// The tensor.
        name: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// An encoder that has no tokens.
    #[error(
        "loss {loss} needs an encoder that has a vector for each position: one of {}",
        invar_nn::encoder::WITH_TOKENS.join(", ")
    )]
    NoTokens {
        /// The loss, as the recipe names it.
        loss: &'static str,
    },
    /// A link between items that cannot be.
    #[error("loss dense-info-nce: {what}: expected {expected}, found {found}")]
    Link {
        /// What of it.
        what: &'static str,
        /// As it must be.
        expected: String,
        /// As it is.
        found: String,
    },
    /// A setting out of range.
    #[error("{key} must be {expected}, got {found}")]
    Config {
        /// The setting, dotted as in a recipe.
        key: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// LibTorch refused, or a peer died.
    #[error(transparent)]
    Torch(#[from] invar_torch::Error),
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error.into())
    }
}
