//! `invar-learn`: the commands that need LibTorch, one file each under `commands/`. `invar` hands them over to it.

mod commands;
mod recipe;
mod sheet;
mod source;

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: nothing has started a thread yet.
    unsafe { invar_torch::set_environment() };
    invar_cli::execute(commands::run, code_of)
}

/// Exit codes of the trainer's errors.
fn code_of(cause: &invar_cli::exit::Cause) -> Option<u8> {
    let error = cause.downcast_ref::<invar_train::Error>()?;
    match error {
        invar_train::Error::Interrupted => Some(130),
        error => error.is_bad_input().then_some(3),
    }
}
