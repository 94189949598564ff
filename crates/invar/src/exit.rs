//! Exit codes: 0 done, 1 failed, 2 usage, 3 bad input data, 130 interrupted.

use std::process::ExitCode;

use thiserror::Error;

/// The command was understood but asks for something that cannot be.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// The data that a user gave do not fit together: a label for no sample, two labels for one.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct BadInput(pub String);

/// The exit code that an error stands for: the first cause that has one decides.
pub fn code(error: &anyhow::Error) -> ExitCode {
    error.chain().find_map(code_of).unwrap_or(1).into()
}

type Cause = dyn std::error::Error + 'static;

fn code_of(cause: &Cause) -> Option<u8> {
    if is_interrupted(cause) {
        Some(130)
    } else if cause.is::<Usage>() || cause.is::<invar_reads::ConfigError>() || is_usage(cause) {
        Some(2)
    } else if cause.is::<BadInput>() || is_bad_input(cause) {
        Some(3)
    } else {
        None
    }
}

fn is_usage(cause: &Cause) -> bool {
    matches!(cause.downcast_ref(), Some(invar_micrographs::Error::Config { .. }))
}

fn is_interrupted(cause: &Cause) -> bool {
    #[cfg(feature = "torch")]
    if matches!(cause.downcast_ref(), Some(invar_train::Error::Interrupted)) {
        return true;
    }
    matches!(cause.downcast_ref(), Some(invar_reads::Error::Interrupted { .. }))
        || matches!(cause.downcast_ref(), Some(invar_micrographs::Error::Interrupted { .. }))
        || matches!(cause.downcast_ref(), Some(invar_cluster::ClusterError::Cancelled))
}

fn is_bad_input(cause: &Cause) -> bool {
    #[cfg(feature = "torch")]
    if cause.downcast_ref().is_some_and(invar_train::Error::is_bad_input) {
        return true;
    }
    use invar_cluster::ClusterError;
    use invar_dataset::DatasetError;
    use invar_embeddings::EmbeddingsError;
    cause.downcast_ref().is_some_and(DatasetError::is_bad_input)
        || cause.downcast_ref().is_some_and(invar_reads::PairsError::is_bad_input)
        || cause.downcast_ref().is_some_and(invar_reads::Error::is_bad_input)
        || cause.downcast_ref().is_some_and(invar_micrographs::Error::is_bad_input)
        || cause.downcast_ref().is_some_and(EmbeddingsError::is_bad_input)
        || cause.downcast_ref().is_some_and(ClusterError::is_bad_input)
}
