//! `metrics.jsonl`: one JSON object a line.
//!
//! Everything but the object `timing` is the same in every run of one recipe. When a run is resumed the file is cut
//! back to the checkpoint, so it reads as if there had been no interruption.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use invar_dataset::atomic;
use serde::{Deserialize, Serialize};

use crate::Error;

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
}

/// What a validation finds on held-out pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationMetrics {
    /// Steps done.
    pub step: u64,
    /// Mean loss.
    pub validation_loss: f64,
    /// Mean squared distance of the two views of a pair: 0 is best (Wang and Isola 2020).
    pub alignment: f64,
    /// Log of the mean of `exp(-2 d^2)` over distinct samples: the lower, the more evenly spread.
    pub uniformity: f64,
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

/// The file, open for appending.
pub struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Opens `path`, and cuts it back to what was written up to and including step `last_step`.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: impl Into<PathBuf>, last_step: u64) -> Result<Self, Error> {
        let path = path.into();
        cut_back(&path, last_step).map_err(Error::io(&path))?;
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io(&path))?;
        Ok(Self { path, file })
    }

    /// Appends a line, in one write.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&mut self, event: &Event) -> Result<(), Error> {
        let mut line = serde_json::to_vec(event).expect("metrics are plain numbers and strings");
        line.push(b'\n');
        self.file.write_all(&line).map_err(Error::io(&self.path))
    }
}

fn cut_back(path: &Path, last_step: u64) -> io::Result<()> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let belongs = |line: &&[u8]| step_of(line).is_some_and(|step| step <= last_step);
    let kept: Vec<u8> = text.split_inclusive(|&b| b == b'\n').take_while(belongs).flatten().copied().collect();
    if kept.len() == text.len() { Ok(()) } else { atomic::write(path, &kept) }
}

/// The step of a whole line; `None` of a line that a kill cut off.
fn step_of(line: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(line.strip_suffix(b"\n")?).ok()?.get("step")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_cut_back_to_the_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let warn = |step| Event::Warning { step, message: "m".into() };
        let mut log = MetricsLog::open(&path, 0).unwrap();
        for step in 1..=5 {
            log.write(&warn(step)).unwrap();
        }
        log.file.write_all(b"{\"step\": 6, \"los").unwrap();
        let mut log = MetricsLog::open(&path, 3).unwrap();
        log.write(&warn(4)).unwrap();
        let steps: Vec<u64> =
            fs::read(&path).unwrap().split_inclusive(|&b| b == b'\n').map(|line| step_of(line).unwrap()).collect();
        assert_eq!(steps, [1, 2, 3, 4]);
    }
}
