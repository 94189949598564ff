use thiserror::Error;

/// What can be wrong with a loss or its input.
#[derive(Debug, Error)]
pub enum Error {
    /// The loss is defined for another number of views.
    #[error("loss {loss} compares {expected} views of a pair, got {found}")]
    Views {
        /// The loss, as named in the recipe.
        loss: &'static str,
        /// The number of views it compares.
        expected: usize,
        /// The number of views it was given.
        found: usize,
    },
    /// The embeddings of the views do not match.
    #[error("loss {loss}: view 0 has embeddings {first:?}, view {view} has {found:?}")]
    Shape {
        /// The loss, as named in the recipe.
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
        /// The loss, as named in the recipe.
        loss: &'static str,
        /// Pairs in the batch.
        found: i64,
    },
    /// An input besides the embeddings does not match them.
    #[error("loss {loss}: {what} must have shape {expected:?}, got {found:?}")]
    Beside {
        /// The loss, as named in the recipe.
        loss: &'static str,
        /// What does not match.
        what: &'static str,
        /// The required shape.
        expected: Vec<i64>,
        /// Its shape; empty if it is missing.
        found: Vec<i64>,
    },
    /// A memory bank that does not fit, or tensors that are not one.
    #[error("memory bank: {name} must be {expected}, got {found}")]
    Bank {
        /// The tensor.
        name: String,
        /// The required value.
        expected: String,
        /// The actual value.
        found: String,
    },
    /// An encoder that has no tokens.
    #[error(
        "loss {loss} needs an encoder that has a vector for each position: one of {}",
        invar_nn::encoder::WITH_TOKENS.join(", ")
    )]
    NoTokens {
        /// The loss, as named in the recipe.
        loss: &'static str,
    },
    /// An impossible link between items.
    #[error("loss dense-info-nce: {what}: expected {expected}, found {found}")]
    Link {
        /// Which property is wrong.
        what: &'static str,
        /// The required value.
        expected: String,
        /// The actual value.
        found: String,
    },
    /// A setting out of range.
    #[error("{key} must be {expected}, got {found}")]
    Config {
        /// The setting, dotted as in a recipe.
        key: &'static str,
        /// The allowed values.
        expected: &'static str,
        /// The actual value.
        found: String,
    },
    /// LibTorch failed, or a peer died.
    #[error(transparent)]
    Torch(#[from] invar_torch::Error),
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error.into())
    }
}
