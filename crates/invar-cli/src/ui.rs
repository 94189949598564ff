//! Everything the user sees: data on stdout, messages and progress on stderr. With `--events`, and for a program that runs
//! a command by [`crate::call`], messages and progress are events instead.

use std::{
    ffi::c_int,
    fmt::Display,
    fs,
    io::{self, IsTerminal, Write},
    os::unix::process::parent_id,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use invar_dataset::Progress;
use serde_json::{Value, json};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    cli::Common,
    exit::{INTERRUPTED, Interrupted},
};

/// Receives what a command says while it works: JSON objects whose field `event` is `note`, `warning`, `progress`
/// (`stage`, `done`, `total`), `error` (`text`, `exit_code`), or what the command itself names (`step`, `validation`).
pub type Listener = Arc<dyn Fn(Value) + Send + Sync>;

/// Whether the user asked to stop.
static CANCELLED: AtomicBool = AtomicBool::new(false);
/// How many pieces of work check for that: the existing bars.
static WATCHERS: AtomicUsize = AtomicUsize::new(0);
/// How long a command that was asked to stop may do unmonitored work: tidy up, write the last file.
const GRACE: Duration = Duration::from_secs(3);

/// Shortest time between two events of progress of one stage.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// How a command communicates.
pub struct Ui {
    json: bool,
    quiet: bool,
    verbose: bool,
    stop: Stop,
    listener: Option<Listener>,
}

/// What asks a command to stop.
#[derive(Clone)]
enum Stop {
    /// Ctrl-C, SIGTERM, SIGHUP.
    Signal,
    /// The program that runs the command.
    Flag(Arc<AtomicBool>),
}

impl Stop {
    fn is_asked(&self) -> bool {
        match self {
            Self::Signal => CANCELLED.load(Ordering::Relaxed),
            Self::Flag(flag) => flag.load(Ordering::Relaxed),
        }
    }
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
    /// Also takes over Ctrl-C, SIGTERM and SIGHUP: the first asks the command to stop cleanly if something is checking for
    /// it, and otherwise ends it; a second Ctrl-C ends it at once.
    pub fn new(common: &Common) -> Self {
        let events = common.events;
        // What `nohup` or a shell has made the process ignore stays ignored.
        let taken = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal));
        // Fails only for signals that nobody may take over.
        if let Ok(mut signals) = Signals::new(taken) {
            thread::spawn(move || {
                for signal in signals.forever() {
                    stop(signal, events);
                }
            });
        }
        if events {
            thread::spawn(follow_parent);
        }
        let listener: Option<Listener> = if events { Some(Arc::new(say::<Value>)) } else { None };
        Self { json: common.json, quiet: common.quiet, verbose: common.verbose > 0, stop: Stop::Signal, listener }
    }

    /// For a program that runs a command: everything is told to `listener`, `stop` asks the command to stop, and signals
    /// are left to the program.
    pub fn of_caller(common: &Common, listener: Listener, stop: Arc<AtomicBool>) -> Self {
        let (quiet, verbose) = (common.quiet, common.verbose > 0);
        Self { json: common.json, quiet, verbose, stop: Stop::Flag(stop), listener: Some(listener) }
    }

    /// The same, but printing only warnings and errors.
    pub fn muted(&self) -> Self {
        let (stop, listener) = (self.stop.clone(), self.listener.clone());
        Self { json: self.json, quiet: true, verbose: false, stop, listener }
    }

    /// Printed unless `--quiet`.
    pub fn note(&self, text: &str) {
        if self.quiet {
            return;
        }
        match &self.listener {
            Some(listener) => listener(json!({"event": "note", "text": text})),
            None => say(text),
        }
    }

    /// Printed with `--verbose`.
    pub fn detail(&self, text: &str) {
        if self.verbose {
            self.note(text);
        }
    }

    /// Always printed.
    pub fn warn(&self, text: &str) {
        match &self.listener {
            Some(listener) => listener(json!({"event": "warning", "text": text})),
            None => say(format_args!("{} {text}", paint("warning:", "33"))),
        }
    }

    /// An event that only a listener is told, unless `--quiet`.
    pub fn event(&self, event: impl FnOnce() -> Value) {
        if let Some(listener) = self.listener.as_ref().filter(|_| !self.quiet) {
            listener(event());
        }
    }

    /// Why the command failed.
    pub fn error(&self, error: &anyhow::Error, exit_code: u8) {
        match &self.listener {
            Some(listener) => listener(json!({"event": "error", "text": in_words(error), "exit_code": exit_code})),
            None => self::error(error),
        }
    }

    /// Stops between two pieces of work, if the user asked to.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn check_cancelled(&self) -> Result<()> {
        if self.stop.is_asked() { Err(Interrupted.into()) } else { Ok(()) }
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

    /// A progress bar of `unit`s: only on a terminal, removed when finished; a listener is told instead.
    pub fn bar(&self, title: &str, unit: Unit) -> Bar {
        let target = if self.quiet || self.listener.is_some() || !io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template(unit.template()).expect("the templates are valid");
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        bar.set_prefix(title.to_owned());
        WATCHERS.fetch_add(1, Ordering::Relaxed);
        let listener = self.listener.clone().filter(|_| !self.quiet);
        Bar { bar, stage: title.to_owned(), stop: self.stop.clone(), listener, told: Mutex::new(None) }
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
    stage: String,
    stop: Stop,
    listener: Option<Listener>,
    /// When the listener was last told, and how much was done.
    told: Mutex<Option<(Instant, u64)>>,
}

impl Bar {
    /// For work that a program does itself, without a command; as [`Ui::of_caller`].
    pub fn of_caller(title: &str, listener: Listener, stop: Arc<AtomicBool>) -> Self {
        WATCHERS.fetch_add(1, Ordering::Relaxed);
        let (bar, stop) = (ProgressBar::hidden(), Stop::Flag(stop));
        Self { bar, stage: title.to_owned(), stop, listener: Some(listener), told: Mutex::new(None) }
    }

    /// Runs something that prints, with the bar out of the way.
    pub fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    /// Whether it is not shown.
    pub fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }

    /// Tells the listener how far the stage is, if that has changed and it was not told just now, or this is the end.
    fn tell(&self, is_end: bool) {
        let Some(listener) = &self.listener else { return };
        let (done, total) = (self.bar.position(), self.bar.length());
        // Another thread tells it at this moment.
        let Ok(mut told) = self.told.try_lock() else { return };
        if told.is_some_and(|(at, before)| before == done || (!is_end && at.elapsed() < PROGRESS_EVERY)) {
            return;
        }
        *told = Some((Instant::now(), done));
        listener(json!({"event": "progress", "stage": self.stage, "done": done, "total": total}));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.tell(true);
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
        self.tell(false);
    }

    fn message(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    fn is_cancelled(&self) -> bool {
        self.stop.is_asked()
    }
}

/// Does as a signal asks. Schedulers send SIGTERM more than once for one time limit, to the process and to its group: only a
/// person who presses Ctrl-C again does not want to wait.
fn stop(signal: c_int, events: bool) {
    let is_first = !CANCELLED.swap(true, Ordering::Relaxed);
    if (is_first && WATCHERS.load(Ordering::Relaxed) == 0) || (!is_first && signal == SIGINT) {
        end_now(events);
    }
    if is_first {
        thread::spawn(move || end_unwatched(events));
    }
}

/// Whether the process was started so that it ignores a signal; known on Linux only.
fn is_ignored(signal: c_int) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|signals| signals >> (signal - 1) & 1 == 1)
}

/// Ends the command, asked to stop, if nothing has checked for that for a while. Unfinished files have not been renamed
/// into place.
fn end_unwatched(events: bool) {
    let mut unwatched = Duration::ZERO;
    while unwatched < GRACE {
        let pause = GRACE / 30;
        thread::sleep(pause);
        unwatched = if WATCHERS.load(Ordering::Relaxed) == 0 { unwatched + pause } else { Duration::ZERO };
    }
    end_now(events);
}

/// Stops the command, as if asked to, when the program that runs it has ended without stopping it: nobody reads its events.
fn follow_parent() {
    let parent = parent_id();
    while parent_id() == parent {
        thread::sleep(GRACE / 3);
    }
    CANCELLED.store(true, Ordering::Relaxed);
    end_unwatched(true);
}

fn end_now(events: bool) -> ! {
    let text = Interrupted.to_string();
    if events {
        say(json!({"event": "error", "text": text, "exit_code": INTERRUPTED}));
    } else {
        error(&Interrupted.into());
    }
    std::process::exit(INTERRUPTED.into());
}

/// An error and its causes, once, on stderr.
pub fn error(error: &anyhow::Error) {
    say(format_args!("{} {}", paint("error:", "31"), in_words(error)));
}

/// An error and its causes, one a line, without repeating what was said before.
pub fn in_words(error: &anyhow::Error) -> String {
    joined(error, "\n  because: ")
}

/// An error and its causes, with `between` before each; what ends with the text of its cause needs no other.
pub fn joined(error: &anyhow::Error, between: &str) -> String {
    let mut shown = error.to_string();
    let mut words = shown.clone();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        if !shown.ends_with(&text) {
            words += &format!("{between}{text}");
        }
        shown = text;
    }
    words
}

/// Prints a line on stderr. If that is closed or full, nothing can be done.
fn say<T: Display>(text: T) {
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
