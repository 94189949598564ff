//! The command line of Invar: its grammar, its output and exit codes, and every command that works without LibTorch.
//!
//! Two programs are built from it. `invar` is what the user types: it reads, clusters, measures and draws by itself,
//! and hands over whatever needs networks to `invar-learn`, which is `invar` with LibTorch. Loading LibTorch takes a
//! quarter of a second and 150 MB before a program's first line, whatever the program then does.
//!
//! ```
//! use clap::Parser;
//! use invar_cli::cli::{Cli, Command};
//!
//! let cli = Cli::try_parse_from(["invar", "info", "reads.parquet", "--threads", "2"])?;
//! assert!(matches!(cli.command, Command::Info(_)));
//! assert_eq!(cli.common.threads, Some(2));
//! // What is said of a slip is clap's, and ends a program with 2.
//! assert!(Cli::try_parse_from(["invar", "inof"]).unwrap_err().to_string().contains("'info'"));
//! # Ok::<(), clap::Error>(())
//! ```

#![allow(clippy::exit, clippy::print_stderr, clippy::print_stdout)]

pub mod builtin;
pub mod cli;
pub mod commands;
mod domains;
pub mod exit;
pub mod hand_over;
pub mod output;
mod palette;
pub mod picture;
mod plot;
pub mod result_dir;
pub mod stage_log;
pub mod ui;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use cli::Cli;
use stage_log::{Ended, StageLog};
use ui::{Summary, Ui};

/// Parses the command line, passes it to `run`, and reports the result: the whole of a program.
///
/// `faults` classifies errors that this crate does not know; see [`exit::class`].
pub fn execute(run: impl FnOnce(Cli, &Ui) -> Result<Summary>, faults: &[exit::ClassOf]) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return help_or_usage(&told),
    };
    let ui = Ui::new(&cli.common);
    let (threads, log) = (cli.common.threads, cli.common.log.clone());
    let (stage, traffic) = stage_log::of(&cli);
    let started = log.as_deref().map(StageLog::open).transpose();
    let result = started.and_then(|log| {
        let done = start_workers(threads).and_then(|()| run(cli, &ui));
        if let Some(log) = log {
            let ended = match &done {
                // From a process that leaves the output to another, or stages with their own lines.
                Ok(summary) if summary.json.is_null() || stage == "run" => return done,
                Ok(summary) => summary.into(),
                Err(error) => Ended::Failed { error, exit_code: exit::code(error, faults) },
            };
            log.end(stage, &traffic, ended)?;
        }
        done
    });
    match result.and_then(|summary| ui.summary(&summary)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::error(&error);
            exit::code(&error, faults).into()
        }
    }
}

/// Prints clap's output: help and version, on request, or what is wrong with the command line.
fn help_or_usage(told: &clap::Error) -> ExitCode {
    match ui::written(told.print()) {
        Ok(()) if told.use_stderr() => ExitCode::from(2),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::error(&error);
            ExitCode::FAILURE
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
