use invar_dataset::seed::{self, Rng};

use crate::pairs::normal;

/// Random draws of one picture.
pub(super) struct Draw(pub Rng);

impl Draw {
    /// Uniform from `low` to `high`.
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * seed::uniform(&mut self.0) as f32
    }

    /// Uniform in the logarithm, from `low` to `high`.
    pub fn log_uniform(&mut self, low: f32, high: f32) -> f32 {
        self.uniform(low.ln(), high.ln()).exp()
    }

    /// Normal of mean 0 and standard deviation 1.
    pub fn normal(&mut self) -> f32 {
        normal(&mut self.0)
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        (seed::uniform(&mut self.0) as f32) < p
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[seed::below(choices.len(), &mut self.0)]
    }

    /// A whole number from `low` to `high`, both included.
    pub fn count(&mut self, low: usize, high: usize) -> usize {
        low + seed::below(high - low + 1, &mut self.0)
    }

    /// An angle in `[0, pi)`.
    pub fn direction(&mut self) -> f32 {
        self.uniform(0.0, std::f32::consts::PI)
    }
}
