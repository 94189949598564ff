use invar_dataset::DatasetError;
use thiserror::Error;

use super::PairKind;
use crate::ConfigError;

/// Why no pairs can be drawn.
#[derive(Debug, Error)]
pub enum PairsError {
    /// The recipe asks for what cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The reads cannot be read, or there are none.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The recipe asks for a kind of pair that none of the reads can give.
    #[error("no {kind} pair can be drawn from these {num_samples} samples: {reason}")]
    Impossible {
        /// The kind.
        kind: PairKind,
        /// Number of samples (a pair of mates is one).
        num_samples: usize,
        /// What they lack, the wanted value and the one met.
        reason: String,
    },
}

impl PairsError {
    /// Whether the reads are to blame, rather than the recipe or the machine.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Config(_) => false,
            Self::Dataset(error) => error.is_bad_input(),
            Self::Impossible { .. } => true,
        }
    }
}
