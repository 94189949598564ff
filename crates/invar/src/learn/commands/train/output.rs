//! Where a training writes: its run directory, or a place next to the run that it will replace.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use invar_cli::exit::{BadInput, Usage};
use invar_dataset::{Fault, FaultClass, Replacement, RunDir, atomic};
use invar_train::TrainSummary;
use serde_json::Value;

use crate::recipe::Recipe;

/// The summary stored by a finished run; it contains no times, so it is the same after a resume.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Stored {
    outcome: invar_train::Outcome,
    pub steps: u64,
    pub model_step: u64,
    pub best_validation_loss: Option<f64>,
    model_sha256: String,
    /// Everything that determined the weights: recipe, shards trained on, how pairs were drawn from them.
    fixed_by: Value,
}

impl Stored {
    /// The summary of a training that has finished.
    pub fn of(summary: &TrainSummary, fixed_by: Value) -> Self {
        Self {
            outcome: summary.outcome,
            steps: summary.steps,
            model_step: summary.model_step,
            best_validation_loss: summary.best_validation_loss,
            model_sha256: summary.model_sha256.clone(),
            fixed_by,
        }
    }

    /// The summary of a finished run; `None` for an unfinished one.
    ///
    /// # Errors
    /// If it cannot be read, or was not written by a training.
    pub fn read(run: &RunDir) -> Result<Option<Self>> {
        let path = run.summary();
        match fs::read(&path) {
            Ok(bytes) => {
                let stored = serde_json::from_slice(&bytes);
                Ok(Some(stored.map_err(|error| BadInput(format!("{}: {error}", path.display())))?))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }
}

/// The run directory being written, and its final place.
pub struct Output {
    run: RunDir,
    /// Present if `run` will replace another.
    replacement: Option<Replacement>,
    out: PathBuf,
}

impl Output {
    /// Writes into `out`. A run that is to be replaced stays as it is until the new one is finished.
    pub fn new(out: &Path, force: bool) -> Self {
        let replacement = force.then(|| Replacement::of(out));
        let run = RunDir::new(replacement.as_ref().map_or(out, Replacement::path));
        Self { run, replacement, out: out.into() }
    }

    /// The directory the training writes to.
    pub fn path(&self) -> &Path {
        self.run.path()
    }

    /// Checks that the training may run here, before the data are opened; writes nothing. Returns the summary of a
    /// finished run if this one is already done.
    ///
    /// # Errors
    /// If another recipe or other data were trained here, or the directory contains files with a run's names that no
    /// training wrote.
    pub fn prepare(&self, settings: &invar_train::TrainingJob) -> Result<Option<Stored>> {
        Replacement::of(&self.out).recover(RunDir::end_marker()).with_context(|| self.out.display().to_string())?;
        refuse_foreign(&RunDir::new(&self.out))?;
        let Some(replacement) = &self.replacement else { return self.done_or_resumed(settings) };
        // A replacement that was killed continues; one by another recipe was never anybody's result.
        match self.done_or_resumed(settings) {
            Ok(Some(done)) => {
                self.commit(replacement)?;
                Ok(Some(done))
            }
            Ok(None) => Ok(None),
            Err(error) if is_failed(&error) => Err(error),
            Err(_) => {
                replacement.discard().with_context(|| replacement.path().display().to_string())?;
                Ok(None)
            }
        }
    }

    /// Writes the recipe: from here on the directory is a run directory.
    ///
    /// # Errors
    /// If the system fails.
    pub fn begin(&self, recipe: &Recipe) -> Result<()> {
        fs::create_dir_all(self.path()).with_context(|| self.path().display().to_string())?;
        let path = self.run.recipe();
        atomic::write(&path, recipe.to_toml().as_bytes()).with_context(|| path.display().to_string())
    }

    /// Removes what a failed training left if it cannot be continued: the corrected command finds the place free. What
    /// a machine failure interrupted is left for inspection.
    pub fn tidy(&self, error: &invar_train::Error) {
        if error.class() != FaultClass::Failed
            && self.run.list_checkpoints().is_ok_and(|checkpoints| checkpoints.is_empty())
        {
            // What cannot be removed is in nobody's way: without a checkpoint any recipe can run here.
            let _ = match &self.replacement {
                Some(replacement) => replacement.discard(),
                None => self.run.clear(),
            };
        }
    }

    /// Finishes the run, and puts it in place.
    ///
    /// # Errors
    /// If the system fails.
    pub fn finish(&self, stored: &Stored) -> Result<()> {
        let path = self.run.summary();
        let json = serde_json::to_vec_pretty(stored)?;
        atomic::write(&path, &json).with_context(|| path.display().to_string())?;
        self.replacement.as_ref().map_or(Ok(()), |replacement| self.commit(replacement))
    }

    fn commit(&self, replacement: &Replacement) -> Result<()> {
        let committed = RunDir::new(&self.out).files().and_then(|old| replacement.commit(&old, RunDir::end_marker()));
        committed.with_context(|| self.out.display().to_string())
    }

    fn done_or_resumed(&self, settings: &invar_train::TrainingJob) -> Result<Option<Stored>> {
        let done = Stored::read(&self.run)?;
        match &done {
            Some(done) => settings.check_continues(&self.run.summary(), &done.fixed_by)?,
            None => settings.check_resumes(&self.run)?,
        }
        Ok(done)
    }
}

fn is_failed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<invar_train::Error>().is_some_and(|error| error.class() == FaultClass::Failed)
}

/// Refuses a directory with files of a run's names that no training wrote.
fn refuse_foreign(run: &RunDir) -> Result<()> {
    let refuse = |name: &Path| {
        let name = name.strip_prefix(run.path()).unwrap_or(name).display();
        let reason =
            format!("{}: holds {name}, which no training wrote: choose another directory", run.path().display());
        Err(Usage(reason).into())
    };
    if run.path().exists() && !run.path().is_dir() {
        return Err(Usage(format!("{}: exists already and is no directory", run.path().display())).into());
    }
    if run.is_run() {
        let is_begun = run.summary().exists() || !run.list_checkpoints()?.is_empty();
        // A hand-written recipe differs from one written by a training, which has every default, in a fixed order.
        let text = fs::read_to_string(run.recipe()).unwrap_or_default();
        let is_ours = || Recipe::of_run(run).is_ok_and(|recipe| recipe.to_toml() == text);
        return if is_begun || is_ours() { Ok(()) } else { refuse(&run.recipe()) };
    }
    let names = [run.summary(), run.model(), run.metrics(), run.checkpoints(), run.tensorboard()];
    names.iter().find(|path| path.symlink_metadata().is_ok()).map_or(Ok(()), |path| refuse(path))
}
