//! The `invar` that the user types; see [`invar_cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    invar_cli::execute(invar_cli::commands::run, &[])
}
