use std::fmt::Display;

use invar_dataset::{Fault, FaultClass};
use thiserror::Error;

/// A setting of a recipe with an invalid value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{setting} = {found}: {reason}")]
pub struct ConfigError {
    /// The setting, as named in the recipe.
    pub setting: String,
    /// Its value.
    pub found: String,
    /// What the value must be.
    pub reason: String,
}

impl Fault for ConfigError {
    fn class(&self) -> FaultClass {
        FaultClass::Usage
    }
}

impl ConfigError {
    /// The error of `setting`, whose value is `found`.
    pub fn new(setting: impl Into<String>, found: impl Display, reason: impl Into<String>) -> Self {
        Self { setting: setting.into(), found: found.to_string(), reason: reason.into() }
    }

    /// The same error for a setting inside `outer`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.setting = format!("{outer}.{}", self.setting);
        self
    }
}
