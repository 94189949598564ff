//! The run directory of a training run.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::atomic::whole_name;

/// The directory of a training run: what its files are called, and which files in it are Invar's.
///
/// ```text
/// recipe.toml          the resolved recipe: what makes a directory that of a run
/// checkpoints/         step-NNNNNNNN.safetensors, best-NNNNNNNN.safetensors, SHA256SUMS
/// metrics.jsonl        what was measured
/// tensorboard/         the same for TensorBoard: events.out.tfevents.*
/// model.safetensors    the model
/// classifier.safetensors, confusion.svg    of a fine-tuning: its classifier, and what it takes for what
/// summary.json         how training ended; written last
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

const RECIPE: &str = "recipe.toml";
const CHECKPOINTS: &str = "checkpoints";
const METRICS: &str = "metrics.jsonl";
const TENSORBOARD: &str = "tensorboard";
const MODEL: &str = "model.safetensors";
const CLASSIFIER: &str = "classifier.safetensors";
const CONFUSION: &str = "confusion.svg";
const SUMMARY: &str = "summary.json";

/// How the names of TensorBoard's events files begin.
pub const EVENTS_PREFIX: &str = "events.out.tfevents.";
/// The digests of the checkpoints, in the checkpoint directory.
pub const DIGESTS: &str = "SHA256SUMS";

impl RunDir {
    /// The run at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `recipe.toml`
    pub fn recipe(&self) -> PathBuf {
        self.path.join(RECIPE)
    }

    /// `checkpoints/`
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    /// `metrics.jsonl`
    pub fn metrics(&self) -> PathBuf {
        self.path.join(METRICS)
    }

    /// `tensorboard/`
    pub fn tensorboard(&self) -> PathBuf {
        self.path.join(TENSORBOARD)
    }

    /// `model.safetensors`
    pub fn model(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// `classifier.safetensors`
    pub fn classifier(&self) -> PathBuf {
        self.path.join(CLASSIFIER)
    }

    /// `confusion.svg`
    pub fn confusion(&self) -> PathBuf {
        self.path.join(CONFUSION)
    }

    /// `summary.json`
    pub fn summary(&self) -> PathBuf {
        self.path.join(SUMMARY)
    }

    /// `summary.json`, inside the directory: its presence means that a run is finished.
    pub fn end_marker() -> &'static Path {
        Path::new(SUMMARY)
    }

    /// Whether a training run was started here.
    pub fn is_run(&self) -> bool {
        self.recipe().is_file()
    }

    /// The checkpoint of a step.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.path.join(CHECKPOINTS).join(format!("{STEP}{step:08}{ENDING}"))
    }

    /// The checkpoint of the best validation, by step.
    pub fn best_checkpoint(&self, step: u64) -> PathBuf {
        self.path.join(CHECKPOINTS).join(format!("{BEST}{step:08}{ENDING}"))
    }

    /// The checkpoints with their steps, newest first.
    ///
    /// # Errors
    /// If the directory cannot be listed; one that does not exist holds none.
    pub fn list_checkpoints(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        numbered(&self.checkpoints(), STEP)
    }

    /// The checkpoints of best validations with their steps, newest first.
    ///
    /// # Errors
    /// As [`RunDir::list_checkpoints`].
    pub fn list_best_checkpoints(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        numbered(&self.checkpoints(), BEST)
    }

    /// The files in the directory that a training run wrote, by their paths inside it. None if there is no recipe to
    /// show that a run was here: files of these names then belong to someone else.
    ///
    /// # Errors
    /// If a directory cannot be listed.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        if !self.is_run() {
            return Ok(vec![]);
        }
        let mut files = vec![];
        for (directory, is_ours) in
            [("", is_top as fn(&str) -> bool), (CHECKPOINTS, is_checkpoint), (TENSORBOARD, Self::is_events)]
        {
            for name in names(&self.path.join(directory))? {
                if is_ours(whole_name(&name)) {
                    files.push(Path::new(directory).join(name));
                }
            }
        }
        Ok(files)
    }

    /// Whether a file in `tensorboard/` is one of Invar's, complete or not.
    pub fn is_events(name: &str) -> bool {
        let name = whole_name(name);
        name.starts_with(EVENTS_PREFIX) && name.ends_with(".invar")
    }

    /// Removes the files that a training run wrote, and directories that become empty.
    ///
    /// # Errors
    /// If the system fails.
    pub fn clear(&self) -> io::Result<()> {
        // The recipe goes last: as long as it is there, the rest is known to be ours.
        let mut files = self.files()?;
        files.sort_by_key(|file| file == Path::new(RECIPE));
        for file in files {
            fs::remove_file(self.path.join(file))?;
        }
        for directory in [self.checkpoints(), self.tensorboard(), self.path.clone()] {
            remove_if_empty(&directory)?;
        }
        Ok(())
    }
}

const STEP: &str = "step-";
const BEST: &str = "best-";
const ENDING: &str = ".safetensors";

fn is_top(name: &str) -> bool {
    [RECIPE, METRICS, MODEL, CLASSIFIER, CONFUSION, SUMMARY].contains(&name)
}

fn is_checkpoint(name: &str) -> bool {
    name == DIGESTS || step_of(name, STEP).or(step_of(name, BEST)).is_some()
}

fn step_of(name: &str, beginning: &str) -> Option<u64> {
    name.strip_prefix(beginning)?.strip_suffix(ENDING)?.parse().ok()
}

fn numbered(directory: &Path, beginning: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let found = names(directory)?.into_iter();
    let mut found: Vec<_> = found.filter_map(|name| Some((step_of(&name, beginning)?, directory.join(name)))).collect();
    found.sort_by(|a, b| b.cmp(a));
    Ok(found)
}

/// The names of the files in a directory; none if it does not exist. Ours are all text.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(error),
    };
    let mut names = vec![];
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}

/// Removes an empty directory.
pub(crate) fn remove_if_empty(directory: &Path) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(run: &RunDir, files: &[&str]) {
        for file in files {
            let path = run.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
    }

    #[test]
    fn only_what_a_training_wrote_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path().join("run"));
        let ours = [
            "recipe.toml",
            "metrics.jsonl",
            ".model.safetensors.partial",
            "checkpoints/step-00000010.safetensors",
            "checkpoints/best-00000008.safetensors",
            "checkpoints/SHA256SUMS",
            "tensorboard/events.out.tfevents.170.invar",
        ];
        let theirs = ["notes.txt", "checkpoints/epoch-3.pt", "tensorboard/events.out.tfevents.170.host"];
        write(&run, &ours);
        write(&run, &theirs);
        assert_eq!(run.list_checkpoints().unwrap(), [(10, run.checkpoint(10))]);
        let mut found = run.files().unwrap();
        found.sort();
        let mut expected = ours.map(PathBuf::from);
        expected.sort();
        assert_eq!(found, expected);
        run.clear().unwrap();
        assert!(run.files().unwrap().is_empty());
        assert!(theirs.iter().all(|file| run.path().join(file).is_file()));
    }

    #[test]
    fn without_a_recipe_files_of_these_names_are_somebody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path());
        write(&run, &["summary.json", "checkpoints/step-00000001.safetensors"]);
        run.clear().unwrap();
        assert!(run.summary().is_file() && run.checkpoint(1).is_file());
    }

    #[test]
    fn a_run_on_its_own_goes_with_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path().join("run"));
        write(&run, &["recipe.toml", "summary.json"]);
        run.clear().unwrap();
        assert!(!run.path().exists());
    }
}
