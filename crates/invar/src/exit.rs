//! Exit codes: 0 done, 1 failed, 2 usage, 3 bad input data, 130 interrupted.

use std::{fmt, process::ExitCode};

/// The user stopped the program; everything finished so far is kept.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted; the same command continues from here")
    }
}

impl std::error::Error for Interrupted {}

/// The command was understood but asks for something that cannot be.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The data that a user gave do not fit together: a label for no read, two labels for one.
#[derive(Debug)]
pub struct BadInput(pub String);

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadInput {}

/// The exit code that an error stands for: the first cause that has one decides.
pub fn code(error: &anyhow::Error) -> ExitCode {
    error.chain().find_map(code_of).unwrap_or(1).into()
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if cause.is::<Interrupted>() {
        return Some(130);
    }
    if cause.is::<Usage>() {
        return Some(2);
    }
    if cause.is::<BadInput>() || is_bad_input(cause) {
        return Some(3);
    }
    None
}

fn is_bad_input(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<invar_dataset::DatasetError>().is_some_and(invar_dataset::DatasetError::is_bad_input)
        || cause.downcast_ref::<invar_reads::Error>().is_some_and(invar_reads::Error::is_bad_input)
        || cause.downcast_ref::<invar_embeddings::Error>().is_some_and(invar_embeddings::Error::is_bad_input)
}
