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

/// One of the errors that led to an error.
pub type Cause = dyn std::error::Error + 'static;

/// The exit code that an error stands for: the first cause that has one decides. `code_of_more` knows errors of crates
/// that this one does not.
pub fn code(error: &anyhow::Error, code_of_more: impl Fn(&Cause) -> Option<u8>) -> ExitCode {
    error.chain().find_map(|cause| code_of_more(cause).or_else(|| code_of(cause))).unwrap_or(1).into()
}

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
    cause.downcast_ref().is_some_and(invar_dataset::DatasetError::is_usage)
        || matches!(cause.downcast_ref(), Some(invar_micrographs::Error::Config { .. }))
        || matches!(cause.downcast_ref(), Some(invar_reads::Error::Config { .. }))
        || matches!(cause.downcast_ref(), Some(invar_reads::PairsError::Config(_)))
}

fn is_interrupted(cause: &Cause) -> bool {
    matches!(cause.downcast_ref(), Some(invar_reads::Error::Interrupted { .. }))
        || matches!(cause.downcast_ref(), Some(invar_micrographs::Error::Interrupted { .. }))
        || matches!(cause.downcast_ref(), Some(invar_cluster::ClusterError::Cancelled))
}

fn is_bad_input(cause: &Cause) -> bool {
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
