//! `metrics.jsonl`: one JSON object per line; and the same for TensorBoard, next to it in `tensorboard/`.
//!
//! Everything but the object `timing` is the same in every run of a recipe. When a run is resumed the file is cut back
//! to the checkpoint, so it reads as if there had been no interruption; TensorBoard's file is derived from it.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use invar_dataset::{RunDir, atomic};
use serde::{Deserialize, Serialize};

use crate::{Error, HeldOut, tensorboard::EventsFile};

/// The metrics of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Number of the step, 1-based, i.e. the number of steps done.
    pub step: u64,
    /// The loss that was minimised.
    pub loss: f64,
    /// L2 norm of the gradient, before clipping.
    pub grad_norm: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// The loss's own metrics: `loss_over_ln_n`, `accuracy`, `temperature`, `embedding_std`, ...
    #[serde(flatten)]
    pub metrics: BTreeMap<String, f64>,
    /// How long it took.
    pub timing: Timing,
}

/// Times since the last logged step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Pairs per second.
    pub pairs_per_s: f64,
    /// Seconds that the trainer waited for data.
    pub wait_s: f64,
    /// The same as a fraction of the time.
    pub wait_fraction: f64,
    /// Seconds since the run was started or resumed.
    pub elapsed_s: f64,
    /// When the step finished: seconds since 1970, UTC. 0 in files from versions that did not write it.
    #[serde(default)]
    pub unix_s: f64,
}

/// What a validation finds on held-out pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationMetrics {
    /// Steps done.
    pub step: u64,
    /// Mean loss.
    pub validation_loss: f64,
    /// What the embeddings of all held-out pairs show together.
    #[serde(flatten)]
    pub held_out: HeldOut,
    /// Whether the loss is the lowest so far.
    pub is_best: bool,
    /// The loss's own metrics, averaged.
    pub metrics: BTreeMap<String, f64>,
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A training step.
    Step(StepMetrics),
    /// A validation.
    Validation(ValidationMetrics),
    /// A warning.
    Warning {
        /// Steps done.
        step: u64,
        /// The text.
        message: String,
    },
}

impl Timing {
    /// The current time, for [`Timing::unix_s`].
    pub fn now() -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
    }
}

/// `metrics.jsonl` and TensorBoard's events, for appending.
pub struct MetricsLog {
    run: RunDir,
    last_step: u64,
    files: Option<Files>,
}

struct Files {
    metrics: File,
    tensorboard: EventsFile,
}

impl MetricsLog {
    /// The log of a run directory that continues after step `last_step`. Nothing is written before
    /// [`MetricsLog::begin`].
    pub fn new(run: &RunDir, last_step: u64) -> Self {
        Self { run: run.clone(), last_step, files: None }
    }

    /// Opens the files, unless they are open, and cuts them back to what was written up to and including the last step.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn begin(&mut self) -> Result<(), Error> {
        self.files().map(|_| ())
    }

    fn files(&mut self) -> Result<&mut Files, Error> {
        let files = match self.files.take() {
            Some(files) => files,
            None => {
                let (path, directory) = (self.run.metrics(), self.run.path());
                fs::create_dir_all(directory).map_err(Error::io(directory))?;
                let kept = cut_back(&path, self.last_step).map_err(Error::io(&path))?;
                let tensorboard = EventsFile::create(&self.run, lines(&kept).map_while(parse))?;
                let metrics = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io(&path))?;
                Files { metrics, tensorboard }
            }
        };
        Ok(self.files.insert(files))
    }

    /// Appends a line in one write, and the same to TensorBoard's events.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&mut self, event: &Event) -> Result<(), Error> {
        let mut line = serde_json::to_vec(event).expect("metrics are plain numbers and strings");
        line.push(b'\n');
        let path = self.run.metrics();
        let files = self.files()?;
        files.metrics.write_all(&line).map_err(Error::io(path))?;
        files.tensorboard.append(&parse(&line).expect("a line that was just written"))
    }
}

/// The part of the file that is kept.
fn cut_back(path: &Path, last_step: u64) -> io::Result<Vec<u8>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(error),
    };
    let belongs = |line: &&[u8]| step_of(line).is_some_and(|step| step <= last_step);
    let kept: Vec<u8> = lines(&text).take_while(belongs).flatten().copied().collect();
    if kept.len() != text.len() {
        atomic::write(path, &kept)?;
    }
    Ok(kept)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&b| b == b'\n')
}

fn step_of(line: &[u8]) -> Option<u64> {
    parse(line)?.get("step")?.as_u64()
}

/// A complete line; `None` if a kill cut it off.
fn parse(line: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(line.strip_suffix(b"\n")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(run_dir: &Path, last_step: u64) -> MetricsLog {
        let mut log = MetricsLog::new(&RunDir::new(run_dir), last_step);
        log.begin().unwrap();
        log
    }

    fn warning(step: u64) -> Event {
        Event::Warning { step, message: format!("m{step}") }
    }

    fn step(step: u64) -> Event {
        let timing = Timing { unix_s: 1.7e9 + step as f64 / 3.0, pairs_per_s: 0.1, ..Timing::default() };
        let metrics = [("accuracy".to_owned(), 1.0 / step as f64), ("broken".to_owned(), f64::NAN)].into();
        let (loss, grad_norm, learning_rate) = (0.1 * step as f64, 1e-30, 1e-3);
        Event::Step(StepMetrics { step, loss, grad_norm, learning_rate, metrics, timing })
    }

    fn validation(step: u64) -> Event {
        let held_out = HeldOut { num_pairs: 9, knn_accuracy: Some(0.5), ..HeldOut::default() };
        let metrics = [("accuracy".to_owned(), 0.25)].into();
        Event::Validation(ValidationMetrics { step, validation_loss: 1.5, held_out, is_best: true, metrics })
    }

    fn events_file(run_dir: &Path) -> Vec<u8> {
        let mut files = fs::read_dir(RunDir::new(run_dir).tensorboard()).unwrap();
        let file = files.next().unwrap().unwrap();
        assert!(files.next().is_none(), "more than one file");
        assert!(file.file_name().to_str().unwrap().starts_with("events.out.tfevents."));
        fs::read(file.path()).unwrap()
    }

    #[test]
    fn the_file_is_cut_back_to_the_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), 0);
        for step in 1..=5 {
            log.write(&warning(step)).unwrap();
        }
        log.files().unwrap().metrics.write_all(b"{\"step\": 6, \"los").unwrap();
        let mut log = open(dir.path(), 3);
        log.write(&warning(4)).unwrap();
        let text = fs::read(RunDir::new(dir.path()).metrics()).unwrap();
        assert_eq!(lines(&text).map(|line| step_of(line).unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn tensorboards_events_after_a_resume_are_those_of_a_run_that_never_stopped() {
        let events = |steps: std::ops::RangeInclusive<u64>| steps.flat_map(|s| [step(s), warning(s), validation(s)]);
        let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut log = open(whole.path(), 0);
        events(1..=6).for_each(|event| log.write(&event).unwrap());
        let mut log = open(killed.path(), 0);
        assert!(events_file(killed.path()).is_empty());
        events(1..=5).for_each(|event| log.write(&event).unwrap());
        log.files().unwrap().tensorboard.append(&serde_json::json!({"event": "step", "step": 6})).unwrap();
        // From an hour ago, and from a kill during a resume.
        for old in ["events.out.tfevents.1600000000.invar", ".events.out.tfevents.1600000001.invar.partial"] {
            fs::write(RunDir::new(killed.path()).tensorboard().join(old), b"old").unwrap();
        }
        let mut log = open(killed.path(), 4);
        events(5..=6).for_each(|event| log.write(&event).unwrap());
        assert_eq!(events_file(killed.path()), events_file(whole.path()));
        assert_eq!(
            fs::read(RunDir::new(killed.path()).metrics()).unwrap(),
            fs::read(RunDir::new(whole.path()).metrics()).unwrap()
        );
        // Appending gives the same file as writing it anew.
        let appended = events_file(whole.path());
        open(whole.path(), 6);
        assert_eq!(events_file(whole.path()), appended);
    }

    #[test]
    fn a_line_is_read_back_as_it_was() {
        let line = serde_json::to_string(&validation(3)).unwrap();
        assert!(line.contains("\"knn_accuracy\":0.5") && line.contains("\"retrieval\":0.0"), "{line}");
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), validation(3));
    }
}
