//! Everything the user sees: data on stdout, messages and progress on stderr.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use invar_dataset::Progress;
use serde_json::Value;

use crate::{
    cli::Common,
    exit::{INTERRUPTED, Interrupted},
};

/// Whether the user asked to stop.
static CANCELLED: AtomicBool = AtomicBool::new(false);
/// How many pieces of work check for that: the existing bars.
static WATCHERS: AtomicUsize = AtomicUsize::new(0);
/// How long a command that was asked to stop may do unmonitored work: tidy up, write the last file.
const GRACE: Duration = Duration::from_secs(3);

/// How a command communicates.
pub struct Ui {
    json: bool,
    quiet: bool,
    verbose: bool,
}

/// The result of a command: for people, and for programs.
pub struct Summary {
    /// Printed on stdout by default.
    pub text: String,
    /// Printed on stdout with `--json`.
    pub json: Value,
}

/// Printed instead of a stage's figures if its output already existed.
pub const DONE_BEFORE: &str = "done before, from the same inputs; nothing was written";

impl Summary {
    /// For a process that leaves the output to another.
    pub fn nothing() -> Self {
        Self { text: String::new(), json: Value::Null }
    }
}

impl Ui {
    /// Also takes over Ctrl-C and SIGTERM: the first asks the command to stop cleanly if something is checking for it,
    /// and otherwise ends it; the second ends it at once.
    pub fn new(common: &Common) -> Self {
        // Fails only if a handler is already set, which never happens.
        let _ = ctrlc::set_handler(|| {
            if CANCELLED.swap(true, Ordering::Relaxed) || WATCHERS.load(Ordering::Relaxed) == 0 {
                end_now();
            }
            thread::spawn(end_unwatched);
        });
        Self { json: common.json, quiet: common.quiet, verbose: common.verbose > 0 }
    }

    /// The same, but printing only warnings and errors.
    pub fn muted(&self) -> Self {
        Self { json: self.json, quiet: true, verbose: false }
    }

    /// Printed unless `--quiet`.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }

    /// Printed with `--verbose`.
    pub fn detail(&self, text: &str) {
        if self.verbose {
            say(text);
        }
    }

    /// Always printed.
    pub fn warn(&self, text: &str) {
        say(format_args!("{} {text}", paint("warning:", "33")));
    }

    /// The result of the command, on stdout.
    ///
    /// # Errors
    /// If it cannot be written: what a program reads there must be complete.
    pub fn summary(&self, summary: &Summary) -> Result<()> {
        if summary.text.is_empty() && summary.json.is_null() {
            return Ok(());
        }
        let text = if self.json {
            serde_json::to_string_pretty(&summary.json).expect("a JSON value has string keys")
        } else {
            summary.text.trim_end().to_owned()
        };
        let mut stdout = io::stdout().lock();
        written(writeln!(stdout, "{text}").and_then(|()| stdout.flush()))
    }

    /// Data that a command streams to stdout, regardless of `--json`.
    ///
    /// # Errors
    /// As [`Ui::summary`].
    pub fn data(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let mut stdout = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
        let result = write(&mut stdout).and_then(|()| stdout.flush());
        // What is left would be written again, and fail again, when it is dropped.
        let (_, _) = stdout.into_parts();
        written(result)
    }

    /// A progress bar of `unit`s: only on a terminal, removed when finished.
    pub fn bar(&self, title: &str, unit: Unit) -> Bar {
        let target = if self.quiet || !io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template(unit.template()).expect("the templates are valid");
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        bar.set_prefix(title.to_owned());
        WATCHERS.fetch_add(1, Ordering::Relaxed);
        Bar { bar }
    }
}

/// What a bar counts.
#[derive(Clone, Copy)]
pub enum Unit {
    /// Bytes of input.
    Bytes,
    /// Samples, steps, rows.
    Items,
}

impl Unit {
    fn template(self) -> &'static str {
        match self {
            Self::Bytes => "{prefix:<10} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta} {msg}",
            Self::Items => "{prefix:<10} {bar:30} {human_pos}/{human_len} {per_sec} ETA {eta} {msg}",
        }
    }
}

/// A progress bar that libraries can move.
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// Runs something that prints, with the bar out of the way.
    pub fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    /// Whether it is not shown.
    pub fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        WATCHERS.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Progress for Bar {
    fn set_total(&self, total: u64) {
        self.bar.set_length(total);
    }

    fn advance(&self, amount: u64) {
        self.bar.inc(amount);
    }

    fn message(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    fn is_cancelled(&self) -> bool {
        is_cancelled()
    }
}

/// Whether the user asked to stop.
fn is_cancelled() -> bool {
    CANCELLED.load(Ordering::Relaxed)
}

/// Stops between two pieces of work, if the user asked to.
///
/// # Errors
/// [`Interrupted`].
pub fn check_cancelled() -> Result<()> {
    if is_cancelled() { Err(Interrupted.into()) } else { Ok(()) }
}

/// Ends the command, asked to stop, if nothing has checked for that for a while. Unfinished files have not been renamed
/// into place.
fn end_unwatched() {
    let mut unwatched = Duration::ZERO;
    while unwatched < GRACE {
        let pause = GRACE / 30;
        thread::sleep(pause);
        unwatched = if WATCHERS.load(Ordering::Relaxed) == 0 { unwatched + pause } else { Duration::ZERO };
    }
    end_now();
}

fn end_now() -> ! {
    error(&Interrupted.into());
    std::process::exit(INTERRUPTED.into());
}

/// An error and its causes, once, on stderr.
pub fn error(error: &anyhow::Error) {
    say(format_args!("{} {error}", paint("error:", "31")));
    let mut shown = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        if !shown.ends_with(&text) {
            say(format_args!("  because: {text}"));
        }
        shown = text;
    }
}

/// Prints a line on stderr. If that is closed or full, nothing can be done.
fn say(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The result of writing to stdout. A closed pipe (`invar query ... | head`) is the reader's choice, not a failure.
pub(crate) fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("standard output"),
    }
}

/// A count for people: `12,345`.
pub fn thousands(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

/// `1 image`, `2,000 images`.
pub fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// Small figures (a strand gap of 1e-8) in scientific notation, others as they are.
pub struct Significant(pub f64);

impl Display for Significant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 != 0.0 && self.0.abs() < 1e-3 { write!(f, "{:.2e}", self.0) } else { write!(f, "{:.4}", self.0) }
    }
}

fn paint(word: &str, colour: &str) -> String {
    if io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[1;{colour}m{word}\x1b[0m")
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_figures_are_scientific() {
        assert_eq!(Significant(1.5e-8).to_string(), "1.50e-8");
        assert_eq!(Significant(0.25).to_string(), "0.2500");
        assert_eq!(Significant(0.0).to_string(), "0.0000");
    }
}
