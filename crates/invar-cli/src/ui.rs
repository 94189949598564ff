//! Everything a person sees: data to stdout, words and progress to stderr.

use std::{
    io::{IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use invar_dataset::Progress;
use serde_json::Value;

use crate::cli::Common;

static CANCELLED: AtomicBool = AtomicBool::new(false);

/// How a command talks.
pub struct Ui {
    json: bool,
    quiet: bool,
    verbose: bool,
}

/// What a command found or made: for a person, and for a program.
pub struct Summary {
    /// Printed on stdout by default.
    pub text: String,
    /// Printed on stdout with `--json`.
    pub json: Value,
}

/// What a stage says in place of its figures where its output was there already.
pub const DONE_BEFORE: &str = "done before, from the same inputs; nothing was written";

impl Summary {
    /// Of a process that leaves the talking to another.
    pub fn nothing() -> Self {
        Self { text: String::new(), json: Value::Null }
    }
}

impl Ui {
    /// Also takes over Ctrl-C and SIGTERM: the first asks the command to stop cleanly, the second ends it at once.
    pub fn new(common: &Common) -> Self {
        // Fails only where a handler is set already, which is nowhere.
        let _ = ctrlc::set_handler(|| {
            if CANCELLED.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
        Self { json: common.json, quiet: common.quiet, verbose: common.verbose > 0 }
    }

    /// The same, but it says only warnings and errors.
    pub fn hushed(&self) -> Self {
        Self { json: self.json, quiet: true, verbose: false }
    }

    /// Said unless `--quiet`.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Said with `--verbose`.
    pub fn detail(&self, text: &str) {
        if self.verbose {
            eprintln!("{text}");
        }
    }

    /// Always said.
    pub fn warn(&self, text: &str) {
        eprintln!("{} {text}", paint("warning:", "33"));
    }

    /// An error and its causes, once.
    pub fn error(&self, error: &anyhow::Error) {
        eprintln!("{} {error}", paint("error:", "31"));
        let mut shown = error.to_string();
        for cause in error.chain().skip(1) {
            let text = cause.to_string();
            if !shown.ends_with(&text) {
                eprintln!("  because: {text}");
            }
            shown = text;
        }
    }

    /// The result of the command, on stdout.
    pub fn summary(&self, summary: &Summary) {
        if summary.text.is_empty() && summary.json.is_null() {
            return;
        }
        let text = if self.json {
            serde_json::to_string_pretty(&summary.json).expect("a JSON value has string keys")
        } else {
            summary.text.trim_end().to_owned()
        };
        // A closed pipe (`invar query ... | head`) is the reader's choice, not a failure.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// A progress bar of `unit`s: on a terminal only, gone when finished.
    pub fn bar(&self, title: &str, unit: Unit) -> Bar {
        let target = if self.quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template(unit.template()).expect("the templates are valid");
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        bar.set_prefix(title.to_owned());
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
    /// Does something that prints while the bar is out of the way.
    pub fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    /// Whether nobody sees it.
    pub fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
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

/// Whether the user pressed Ctrl-C.
pub fn is_cancelled() -> bool {
    CANCELLED.load(Ordering::Relaxed)
}

/// A count for a person: `12,345`.
pub fn thousands(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

/// Small figures (a strand gap of 1e-8) in scientific notation, others as they are.
pub struct Significant(pub f64);

impl std::fmt::Display for Significant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 != 0.0 && self.0.abs() < 1e-3 { write!(f, "{:.2e}", self.0) } else { write!(f, "{:.4}", self.0) }
    }
}

fn paint(word: &str, colour: &str) -> String {
    if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
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
