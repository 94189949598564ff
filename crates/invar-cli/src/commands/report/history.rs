//! The records of a training and an evaluation.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use invar_dataset::RunDir;
use serde_json::Value;

use crate::exit::BadInput;

/// Values by name, one record per step.
#[derive(Default)]
pub struct Training {
    /// Of training steps.
    pub steps: Vec<Value>,
    /// Of validations.
    pub validations: Vec<Value>,
    /// The step of each warning and its text.
    pub warnings: Vec<(u64, String)>,
}

/// The metrics of the training in `run`; `None` if there are none.
///
/// # Errors
/// If a line is not a record of metrics.
pub fn training(run: &Path) -> Result<Option<Training>> {
    let path = RunDir::new(run).metrics();
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut training = Training::default();
    for (number, line) in text.lines().enumerate() {
        let bad = |found: String| {
            BadInput(format!("{}: line {}: expected a metric as JSON, found {found}", path.display(), number + 1))
        };
        let event: Value = serde_json::from_str(line).map_err(|error| bad(error.to_string()))?;
        let step = event["step"].as_u64().ok_or_else(|| bad("no step".into()))?;
        match event["event"].as_str() {
            Some("step") => training.steps.push(event),
            Some("validation") => training.validations.push(event),
            Some("warning") => {
                training.warnings.push((step, event["message"].as_str().unwrap_or_default().to_owned()));
            }
            _ => return Err(bad(format!("event {}", event["event"])).into()),
        }
    }
    Ok(Some(training))
}

/// The output of `invar evaluate --json`; `None` if it was not kept.
///
/// # Errors
/// If it is not an evaluation.
pub fn evaluation(path: &Path) -> Result<Option<Value>> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    let bad = |found: String| BadInput(format!("{}: expected an evaluation as JSON, found {found}", path.display()));
    let value: Value = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if value["num_rows"].is_u64() { Ok(Some(value)) } else { Err(bad("no num_rows".into()).into()) }
}
