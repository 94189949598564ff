use invar_dataset::{NoProgress, Progress};

use crate::{StepMetrics, ValidationMetrics};

/// Watches a training run. Libraries never print: the command line draws its bar from this, and Ctrl-C arrives through
/// [`Progress::is_cancelled`]. The unit of progress is the step.
pub trait Observer: Progress {
    /// A step is done (called for every step, including those that are not logged).
    fn step(&self, _metrics: &StepMetrics) {}

    /// A validation is done.
    fn validation(&self, _metrics: &ValidationMetrics) {}

    /// Something that the user must see.
    fn warning(&self, _text: &str) {}
}

impl Observer for NoProgress {}
