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
pub mod confusion;
mod domains;
pub mod exit;
pub mod hand_over;
pub mod output;
pub mod palette;
pub mod picture;
mod plot;
pub mod remote;
pub mod result_dir;
pub mod stage_log;
pub mod ui;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::{Context, Result};
use clap::Parser;
use invar_dataset::{FaultClass, object};

use cli::Cli;
use stage_log::{Ended, StageLog};
use ui::{Listener, Summary, Ui};

/// Parses the command line, passes it to `run`, and reports the result: the whole of a program. Returns its exit code.
///
/// `faults` classifies errors that this crate does not know; see [`exit::class`].
pub fn execute(
    arguments: impl IntoIterator<Item = OsString>,
    run: impl FnOnce(Cli, &Ui) -> Result<Summary>,
    faults: &[exit::ClassOf],
) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(told) => return help_or_usage(&told),
    };
    let ui = Ui::new(&cli.common);
    let threads = cli.common.threads;
    let result = logged(cli, |cli| start_workers(threads).and_then(|()| run(cli, &ui)), faults);
    match result.and_then(|summary| ui.summary(&summary)) {
        Ok(()) => 0,
        Err(error) => {
            let code = exit::code(&error, faults);
            ui.error(&error, code);
            code
        }
    }
}

/// Why a command that was run by [`call`] failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is at fault.
    pub class: FaultClass,
    /// The program's words, without `error:`.
    pub text: String,
}

/// Whether a command line is a command of `invar-learn`: one that [`call`] does not run.
pub fn is_for_learn(arguments: impl IntoIterator<Item = OsString>) -> bool {
    let answer = Cli::try_parse_from(arguments).is_ok_and(|cli| cli.is_for_learn());
    // URLs that another process refuses are no fault of the next command here.
    object::forget();
    answer
}

/// Runs a command inside another program: the arguments (the first is the program's name) and the results are those of
/// `invar`, but nothing is printed, and no signal is handled. What would be printed on stderr goes to `listener`; `stop`
/// asks the command to end soon, without an output.
///
/// # Errors
/// What the program would say, of the class that its exit code stands for.
pub fn call(
    arguments: impl IntoIterator<Item = OsString>,
    listener: Listener,
    stop: Arc<AtomicBool>,
) -> Result<Summary, Failure> {
    let failed = |class: FaultClass, text: &str| Failure { class, text: text.into() };
    let cli = Cli::try_parse_from(arguments).map_err(|told| failed(FaultClass::Usage, usage(&told.to_string())))?;
    if cli.is_for_learn() {
        return Err(failed(FaultClass::Usage, "the command needs networks: it is one of invar-learn"));
    }
    let ui = Ui::of_caller(&cli.common, listener, stop);
    let threads = cli.common.threads;
    let run = |cli| with_threads(threads, || commands::run(cli, &ui)).context(WORKERS)?;
    logged(cli, run, &[]).map_err(|error| failed(exit::class(&error, &[]), &ui::in_words(&error)))
}

/// A copy in `directory`, for a program that goes on with it, of what a URL names: of all objects below it, if it ends with
/// a slash.
///
/// # Errors
/// As a command's that reads it.
pub fn copied(url: &Path, directory: &Path) -> Result<PathBuf, Failure> {
    invar_store::install();
    let done = remote::copied(url, directory);
    object::forget();
    done.map_err(|error| Failure { class: exit::class(&error, &[]), text: ui::in_words(&error) })
}

/// Does work with a number of threads of its own, or with those of all work.
///
/// # Errors
/// If they cannot be started.
pub fn with_threads<T: Send>(
    threads: Option<usize>,
    work: impl FnOnce() -> T + Send,
) -> Result<T, rayon::ThreadPoolBuildError> {
    match threads {
        None => Ok(work()),
        Some(threads) => {
            let pool = workers(threads).stack_size(STACK_BYTES).build()?;
            Ok(pool.install(work))
        }
    }
}

/// As much as the first thread of a program has, because SQL is parsed by recursion.
const STACK_BYTES: usize = 8 << 20;

/// What was being done if it fails.
const WORKERS: &str = "starting worker threads";

/// What clap says of a slip, without the grammar that it repeats.
fn usage(told: &str) -> &str {
    let text = told.strip_prefix("error: ").unwrap_or(told);
    text.split("\n\nUsage:").next().unwrap_or(text).trim_end()
}

/// Runs a command, with a line in the log if one is asked for.
fn logged(cli: Cli, run: impl FnOnce(Cli) -> Result<Summary>, faults: &[exit::ClassOf]) -> Result<Summary> {
    invar_store::install();
    let done = run_logged(cli, run, faults);
    object::forget();
    done
}

fn run_logged(cli: Cli, run: impl FnOnce(Cli) -> Result<Summary>, faults: &[exit::ClassOf]) -> Result<Summary> {
    let (stage, traffic) = stage_log::of(&cli);
    let log = cli.common.log.as_deref().map(StageLog::open).transpose()?;
    let done = run(cli);
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
}

/// Prints clap's output: help and version, on request, or what is wrong with the command line.
fn help_or_usage(told: &clap::Error) -> u8 {
    match ui::written(told.print()) {
        Ok(()) if told.use_stderr() => 2,
        Ok(()) => 0,
        Err(error) => {
            ui::error(&error);
            1
        }
    }
}

fn start_workers(threads: Option<usize>) -> Result<()> {
    match threads {
        None => Ok(()),
        Some(threads) => workers(threads).build_global().context(WORKERS),
    }
}

/// So many threads, or as many as the largest machines have cores: beyond, a machine would do nothing but start them.
fn workers(threads: usize) -> rayon::ThreadPoolBuilder {
    const MAX_THREADS: usize = 1_024;
    rayon::ThreadPoolBuilder::new().num_threads(threads.min(MAX_THREADS))
}
