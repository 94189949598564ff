//! The one place that defines what may differ between a run and its resumption.

use std::{fs, path::Path};

use invar_dataset::{RunDir, ViewShape};
use serde_json::{Value, json};

use crate::{Error, Model, TrainConfig, TrainingJob, checkpoint, trainer};

impl TrainConfig {
    /// The settings that determine the weights. How often something is written, and how many threads draw views,
    /// affects no result and may differ between a run and its resumption.
    ///
    /// # Errors
    /// If the model to start from cannot be read.
    pub fn fixes_weights(&self) -> Result<Value, Error> {
        let mut train = json!(self);
        if let Some(settings) = train.as_object_mut() {
            for free in ["checkpoint_every", "keep_checkpoints", "log_every", "view_workers"] {
                settings.remove(free);
            }
            // Not a key of this table in a recipe.
            settings.insert("seed".into(), self.seed.into());
            // The content of the model, not its path.
            if let Some(path) = &self.warm_start {
                let path = Model::path_of(path);
                let bytes = fs::read(&path).map_err(Error::io(path))?;
                settings.insert("warm_start".into(), checkpoint::digest(&bytes).into());
            }
        }
        Ok(train)
    }
}

impl TrainingJob {
    /// Everything that determines the weights, apart from the samples themselves: what must not differ between a run
    /// and its resumption. [`TrainingJob::check_continues`] compares it.
    ///
    /// # Errors
    /// If the model to start from cannot be read.
    pub fn fixes_weights(&self) -> Result<Value, Error> {
        let train = self.train.fixes_weights()?;
        let encoder = match &self.encoders[..] {
            [encoder] => json!(encoder),
            encoders => json!(encoders),
        };
        Ok(json!({"data": self.data, "encoder": encoder, "loss": self.loss, "train": train}))
    }

    /// Checks that this recipe continues what `path` holds, whose weights were determined by `found`.
    ///
    /// # Errors
    /// [`Error::OtherRecipe`], naming the first key that differs and both values.
    pub fn check_continues(&self, path: &Path, found: &Value) -> Result<(), Error> {
        refuse_difference(path, found, &self.fixes_weights()?)
    }

    /// Checks that this recipe continues from the newest readable checkpoint of a run, before the data are opened. A
    /// run without a checkpoint may continue with any recipe.
    ///
    /// # Errors
    /// As [`TrainingJob::check_continues`], and if the directory cannot be listed.
    pub fn check_resumes(&self, run: &RunDir) -> Result<(), Error> {
        for (_, path) in run.list_checkpoints().map_err(Error::io(run.checkpoints()))? {
            // A damaged one is skipped, here as later.
            if let Ok(mut found) = trainer::identity_of(&path) {
                if let Some(settings) = found.as_object_mut() {
                    settings.remove(NUM_SAMPLES);
                    settings.remove(VIEWS);
                    settings.remove(STEP);
                }
                return self.check_continues(&path, &found);
            }
        }
        Ok(())
    }

    /// What checkpoints are compared by: also properties of the samples, and a step's own settings.
    ///
    /// # Errors
    /// If the model to start from cannot be read.
    pub(crate) fn identity(&self, shapes: &[ViewShape], num_samples: usize, of_step: Value) -> Result<Value, Error> {
        let mut identity = self.fixes_weights()?;
        if !of_step.is_null() {
            identity[STEP] = of_step;
        }
        identity[NUM_SAMPLES] = num_samples.into();
        identity[VIEWS] = match shapes {
            [shape] => format!("{shape:?}"),
            shapes => format!("{shapes:?}"),
        }
        .into();
        Ok(identity)
    }
}

const NUM_SAMPLES: &str = "num_samples";
const VIEWS: &str = "views";
const STEP: &str = "step";

/// Refuses to continue from what `path` holds if it was made with other settings.
///
/// # Errors
/// [`Error::OtherRecipe`], naming the first key that differs and both values.
pub(crate) fn refuse_difference(path: &Path, found: &Value, expected: &Value) -> Result<(), Error> {
    match first_difference(found, expected, String::new()) {
        None => Ok(()),
        Some((key, found, expected)) => {
            Err(Error::OtherRecipe { path: path.into(), key, expected: shortened(expected), found: shortened(found) })
        }
    }
}

/// The first key, in order, whose values differ, and both values.
fn first_difference(a: &Value, b: &Value, key: String) -> Option<(String, String, String)> {
    match (a, b) {
        _ if a == b => None,
        (Value::Object(x), Value::Object(y)) => {
            let mut keys: Vec<&String> = x.keys().chain(y.keys()).collect();
            keys.sort();
            keys.dedup();
            let dot = if key.is_empty() { "" } else { "." };
            keys.into_iter().find_map(|k| {
                let at = |map: &serde_json::Map<String, Value>| map.get(k).cloned().unwrap_or(Value::Null);
                first_difference(&at(x), &at(y), format!("{key}{dot}{k}"))
            })
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            let mut pairs = x.iter().zip(y).enumerate();
            pairs.find_map(|(i, (x, y))| first_difference(x, y, format!("{key}[{i}]")))
        }
        _ => Some((key, a.to_string(), b.to_string())),
    }
}

/// A value shortened to fit on a line.
fn shortened(value: String) -> String {
    const MOST: usize = 120;
    if value.chars().count() <= MOST { value } else { value.chars().take(MOST).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named_with_both_values() {
        let a = json!({"x": {"y": 1, "z": [1, 2]}, "w": "same"});
        let differ = |b: Value| first_difference(&a, &b, String::new());
        let expected = |key: &str, a: &str, b: &str| Some((key.to_owned(), a.to_owned(), b.to_owned()));
        assert_eq!(differ(a.clone()), None);
        assert_eq!(differ(json!({"x": {"y": 1, "z": [1, 3]}, "w": "same"})), expected("x.z[1]", "2", "3"));
        assert_eq!(differ(json!({"x": {"y": 1, "z": [1]}, "w": "same"})), expected("x.z", "[1,2]", "[1]"));
        assert_eq!(differ(json!({"x": {"z": [1, 2]}, "w": "same"})), expected("x.y", "1", "null"));
    }

    #[test]
    fn what_does_not_change_the_weights_does_not_count() {
        let recipe = |view_workers, seed| TrainingJob {
            encoders: vec![Default::default()],
            loss: Default::default(),
            train: TrainConfig { view_workers, seed, ..Default::default() },
            features: Default::default(),
            data: Value::Null,
        };
        let of = |recipe: &TrainingJob| recipe.identity(&[ViewShape::Dense(vec![3])], 10, Value::Null).unwrap();
        let (one, five, other) = (recipe(1, 7), recipe(5, 7), recipe(1, 8));
        assert_eq!(of(&one), of(&five));
        assert_ne!(of(&one), of(&other));
        five.check_continues(Path::new("a"), &one.fixes_weights().unwrap()).unwrap();
        let error = other.check_continues(Path::new("a"), &one.fixes_weights().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("a was made with train.seed = 7, this recipe has 8"), "{error}");
    }
}
