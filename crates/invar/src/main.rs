//! The `invar` command line: one file a subcommand under `commands/`.
//!
//! This crate alone knows every other, prints, and exits.

mod cli;
mod commands;
mod exit;
mod palette;
mod picture;
mod plot;
#[cfg(feature = "torch")]
mod recipe;
#[cfg(feature = "torch")]
mod sheet;
#[cfg(feature = "torch")]
mod source;
mod ui;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let ui = ui::Ui::new(&cli.common);
    match commands::run(cli, &ui) {
        Ok(summary) => {
            ui.summary(&summary);
            ExitCode::SUCCESS
        }
        Err(error) => {
            ui.error(&error);
            exit::code(&error)
        }
    }
}
