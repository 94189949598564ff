//! Exit codes: 0 done, 1 failed, 2 usage, 3 bad input data, 130 interrupted.

use std::io;

use invar_cluster::ClusterError;
use invar_dataset::{DatasetError, Fault, FaultClass};
use invar_embeddings::EmbeddingsError;
use invar_report::ReportError;
use thiserror::Error;

use crate::domains;

/// The command was understood but requests something impossible.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// The user's data do not fit together: a label for no sample, two labels for one.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct BadInput(pub String);

/// The user asked to stop.
#[derive(Debug, Error)]
#[error("interrupted")]
pub struct Interrupted;

impl Fault for Usage {
    fn class(&self) -> FaultClass {
        FaultClass::Usage
    }
}

impl Fault for BadInput {
    fn class(&self) -> FaultClass {
        FaultClass::BadInput
    }
}

impl Fault for Interrupted {
    fn class(&self) -> FaultClass {
        FaultClass::Interrupted
    }
}

/// One of the causes of an error.
pub type Cause = dyn std::error::Error + 'static;

/// Returns the class of a cause, if it is of a type that the function knows.
pub type ClassOf = fn(&Cause) -> Option<FaultClass>;

/// The class of a cause that is an `E`.
pub fn class_of<E: Fault + 'static>(cause: &Cause) -> Option<FaultClass> {
    cause.downcast_ref::<E>().map(Fault::class)
}

/// The errors of the crates that every program has; those of the domains are in [`domains::FAULTS`].
const FAULTS: &[ClassOf] = &[
    class_of::<Usage>,
    class_of::<BadInput>,
    class_of::<Interrupted>,
    class_of::<DatasetError>,
    class_of::<EmbeddingsError>,
    class_of::<ClusterError>,
    class_of::<ReportError>,
    class_of::<invar_federation::Error>,
    class_of::<invar_flower::Error>,
    class_of::<io::Error>,
];

/// What is at fault for an error: the first cause that is more specific than "failed" decides. `more` classifies errors
/// of crates that this one does not know.
pub fn class(error: &anyhow::Error, more: &[ClassOf]) -> FaultClass {
    let ask = |cause: &Cause| {
        let all = more.iter().chain(domains::FAULTS).chain(FAULTS);
        all.filter_map(|class_of| class_of(cause)).find(|&class| class != FaultClass::Failed)
    };
    error.chain().find_map(ask).unwrap_or(FaultClass::Failed)
}

/// The exit code of an error; see [`class`].
pub fn code(error: &anyhow::Error, more: &[ClassOf]) -> u8 {
    match class(error, more) {
        FaultClass::Failed => 1,
        FaultClass::Usage => 2,
        FaultClass::BadInput => 3,
        FaultClass::Interrupted => INTERRUPTED,
    }
}

/// The code of a command that was told to stop.
pub const INTERRUPTED: u8 = 130;

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_first_cause_that_says_more_than_failed_decides() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let of = |error: anyhow::Error| class(&error, &[]);
        assert_eq!(of(anyhow::anyhow!("something")), FaultClass::Failed);
        assert_eq!(of(Usage("--k".into()).into()), FaultClass::Usage);
        assert_eq!(of(DatasetError::io("shard")(full()).into()), FaultClass::Failed);
        let missing: anyhow::Result<()> = Err(io::Error::from(io::ErrorKind::NotFound)).context("labels.tsv");
        assert_eq!(of(missing.unwrap_err()), FaultClass::Usage);
        let damaged = DatasetError::stored("shard")(io::ErrorKind::NotFound.into());
        assert_eq!(of(anyhow::Error::from(damaged).context("embedding")), FaultClass::BadInput);
    }
}
