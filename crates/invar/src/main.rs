//! The `invar` that the user types; see [`invar_cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    invar_cli::execute(std::env::args_os(), invar_cli::commands::run, &[]).into()
}
