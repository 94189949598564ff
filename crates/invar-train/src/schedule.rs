//! Learning rate: linear warm-up, then a cosine (Loshchilov and Hutter, *SGDR*, 2017, without restarts).

use std::f64::consts::PI;

use crate::TrainConfig;

/// The learning rate of step `step`, 0-based, out of `steps`.
///
/// Rises linearly up to `learning_rate` at step `warmup_steps - 1`, then falls along half a cosine to
/// `min_learning_rate` at the last step.
pub fn learning_rate(config: &TrainConfig, steps: u64, step: u64) -> f64 {
    let (peak, floor) = (config.learning_rate, config.min_learning_rate);
    if step < config.warmup_steps {
        return peak * (step + 1) as f64 / config.warmup_steps as f64;
    }
    let span = steps.saturating_sub(config.warmup_steps + 1).max(1);
    let progress = ((step - config.warmup_steps) as f64 / span as f64).min(1.0);
    floor + (peak - floor) * 0.5 * (1.0 + (PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_then_falls_along_a_cosine() {
        let config =
            TrainConfig { warmup_steps: 10, learning_rate: 1.0, min_learning_rate: 0.2, ..TrainConfig::default() };
        let at = |step| learning_rate(&config, 111, step);
        assert_eq!((at(0), at(4), at(9)), (0.1, 0.5, 1.0));
        // Closed form: the middle of the cosine is the mean of its ends.
        assert!((at(10) - 1.0).abs() < 1e-12 && (at(60) - 0.6).abs() < 1e-12 && (at(110) - 0.2).abs() < 1e-12);
        assert_eq!(at(10_000), at(110));
    }

    #[test]
    fn the_shortest_runs_are_defined() {
        for (steps, warmup_steps) in [(1, 0), (1, 5), (2, 1), (5, 5)] {
            let config = TrainConfig { warmup_steps, ..TrainConfig::default() };
            assert!((0..steps).all(|step| learning_rate(&config, steps, step) > 0.0));
        }
    }
}
