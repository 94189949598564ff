//! The command line of Invar: its grammar, how it talks to people and ends, and every command that does without LibTorch.
//!
//! Two programs are made of it. `invar` is what a person types: it reads, clusters, measures and draws by itself, and hands
//! what needs networks over to `invar-learn`, which is `invar` with LibTorch. Loading LibTorch takes a quarter of a second and
//! 150 MB before a program's first line, whatever the program then does.

#![allow(clippy::exit, clippy::print_stderr, clippy::print_stdout)]

pub mod builtin;
pub mod cli;
pub mod commands;
pub mod exit;
pub mod hand_over;
mod palette;
pub mod picture;
mod plot;
pub mod ui;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use cli::Cli;
use ui::{Summary, Ui};

/// Reads the command line, does what `run` makes of it, and says how it went: the whole of a program.
///
/// `code_of` knows errors that this crate does not; see [`exit::code`].
pub fn execute(
    run: impl FnOnce(Cli, &Ui) -> Result<Summary>,
    code_of: impl Fn(&exit::Cause) -> Option<u8>,
) -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui::new(&cli.common);
    let threads = cli.common.threads;
    let result = start_workers(threads).and_then(|()| run(cli, &ui));
    match result {
        Ok(summary) => {
            ui.summary(&summary);
            ExitCode::SUCCESS
        }
        Err(error) => {
            ui.error(&error);
            exit::code(&error, code_of)
        }
    }
}

fn start_workers(threads: Option<usize>) -> Result<()> {
    match threads {
        None => Ok(()),
        Some(threads) => {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build_global().context("starting worker threads")
        }
    }
}
