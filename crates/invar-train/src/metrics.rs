//! `metrics.jsonl`: one JSON object a line; and the same for TensorBoard, beside it in `tensorboard/`.
//!
//! Everything but the object `timing` is the same in every run of one recipe. When a run is resumed the file is cut
//! back to the checkpoint, so it reads as if there had been no interruption; TensorBoard's is derived from it.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use invar_dataset::atomic;
use serde::{Deserialize, Serialize};

use crate::{Error, HeldOut, tensorboard::EventsFile};

/// The name of the file in a run directory.
const FILE: &str = "metrics.jsonl";

/// What is known after a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Number of the step, 1-based: steps done.
    pub step: u64,
    /// The loss that was minimised.
    pub loss: f64,
    /// L2 norm of the gradient, before clipping.
    pub grad_norm: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// What the loss reports of itself: `loss_over_ln_n`, `accuracy`, `temperature`, `embedding_std`, ...
    #[serde(flatten)]
    pub metrics: BTreeMap<String, f64>,
    /// How long it took.
    pub timing: Timing,
}

/// Times since the last logged step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Pairs a second.
    pub pairs_per_s: f64,
    /// Seconds that the trainer waited for data.
    pub wait_s: f64,
    /// The same as a fraction of the time.
    pub wait_fraction: f64,
    /// Seconds since the run was started or resumed.
    pub elapsed_s: f64,
    /// When the step was done: seconds since 1970, UTC. 0 in files of versions that did not write it.
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
    /// What the embeddings of all held-out pairs say together.
    #[serde(flatten)]
    pub held_out: HeldOut,
    /// Whether the loss is the lowest so far.
    pub is_best: bool,
    /// What the loss reports of itself, averaged.
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
    /// The time of now, for [`Timing::unix_s`].
    pub fn now() -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
    }
}

/// `metrics.jsonl` and TensorBoard's events, open for appending.
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    tensorboard: EventsFile,
}

impl MetricsLog {
    /// Opens the files of a run directory, and cuts them back to what was written up to and including step
    /// `last_step`.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn open(run_dir: &Path, last_step: u64) -> Result<Self, Error> {
        let path = run_dir.join(FILE);
        let kept = cut_back(&path, last_step).map_err(Error::io(&path))?;
        let tensorboard = EventsFile::create(run_dir, lines(&kept).map_while(parse))?;
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io(&path))?;
        Ok(Self { path, file, tensorboard })
    }

    /// Appends a line, in one write, and the same to TensorBoard's events.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&mut self, event: &Event) -> Result<(), Error> {
        let mut line = serde_json::to_vec(event).expect("metrics are plain numbers and strings");
        line.push(b'\n');
        self.file.write_all(&line).map_err(Error::io(&self.path))?;
        self.tensorboard.append(&parse(&line).expect("a line that was just written"))
    }
}

/// What is left of the file.
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

/// A whole line; `None` of a line that a kill cut off.
fn parse(line: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(line.strip_suffix(b"\n")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut files = fs::read_dir(run_dir.join("tensorboard")).unwrap();
        let file = files.next().unwrap().unwrap();
        assert!(files.next().is_none(), "more than one file");
        assert!(file.file_name().to_str().unwrap().starts_with("events.out.tfevents."));
        fs::read(file.path()).unwrap()
    }

    #[test]
    fn the_file_is_cut_back_to_the_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = MetricsLog::open(dir.path(), 0).unwrap();
        for step in 1..=5 {
            log.write(&warning(step)).unwrap();
        }
        log.file.write_all(b"{\"step\": 6, \"los").unwrap();
        let mut log = MetricsLog::open(dir.path(), 3).unwrap();
        log.write(&warning(4)).unwrap();
        let text = fs::read(dir.path().join(FILE)).unwrap();
        assert_eq!(lines(&text).map(|line| step_of(line).unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn tensorboards_events_after_a_resume_are_those_of_a_run_that_never_stopped() {
        let events = |steps: std::ops::RangeInclusive<u64>| steps.flat_map(|s| [step(s), warning(s), validation(s)]);
        let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut log = MetricsLog::open(whole.path(), 0).unwrap();
        events(1..=6).for_each(|event| log.write(&event).unwrap());
        let mut log = MetricsLog::open(killed.path(), 0).unwrap();
        assert!(events_file(killed.path()).is_empty());
        events(1..=5).for_each(|event| log.write(&event).unwrap());
        log.tensorboard.append(&serde_json::json!({"event": "step", "step": 6})).unwrap();
        // Of an hour ago, and of a kill amid a resume.
        for old in ["events.out.tfevents.1600000000.invar", ".events.out.tfevents.1600000001.invar.partial"] {
            fs::write(killed.path().join("tensorboard").join(old), b"old").unwrap();
        }
        let mut log = MetricsLog::open(killed.path(), 4).unwrap();
        events(5..=6).for_each(|event| log.write(&event).unwrap());
        assert_eq!(events_file(killed.path()), events_file(whole.path()));
        assert_eq!(fs::read(killed.path().join(FILE)).unwrap(), fs::read(whole.path().join(FILE)).unwrap());
        // And what was appended is what is written anew.
        let appended = events_file(whole.path());
        MetricsLog::open(whole.path(), 6).unwrap();
        assert_eq!(events_file(whole.path()), appended);
    }

    #[test]
    fn a_line_is_read_back_as_it_was() {
        let line = serde_json::to_string(&validation(3)).unwrap();
        assert!(line.contains("\"knn_accuracy\":0.5") && line.contains("\"retrieval\":0.0"), "{line}");
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), validation(3));
    }
}
