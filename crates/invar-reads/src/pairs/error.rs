use invar_dataset::{DatasetError, Fault, FaultClass};
use thiserror::Error;

use super::PairKind;
use crate::ConfigError;

/// Why no pairs can be drawn.
#[derive(Debug, Error)]
pub enum PairsError {
    /// The recipe contains an invalid setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The reads cannot be read, or there are none.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The recipe requests a kind of pair that none of the reads can provide.
    #[error("no {kind} pair can be drawn from these {num_samples} samples: {reason}")]
    Impossible {
        /// The kind.
        kind: PairKind,
        /// Number of samples (a pair of mates is one).
        num_samples: usize,
        /// What they lack, with the required and the actual value.
        reason: String,
    },
}

impl PairsError {
    /// Whether the reads are at fault, rather than the recipe or the machine.
    pub fn is_bad_input(&self) -> bool {
        self.class() == FaultClass::BadInput
    }
}

impl Fault for PairsError {
    fn class(&self) -> FaultClass {
        match self {
            Self::Config(error) => error.class(),
            Self::Dataset(error) => error.class(),
            Self::Impossible { .. } => FaultClass::BadInput,
        }
    }
}
