//! ASTM grain-size number G by E112-13, from label maps.
//!
//! Planimetric (Jeffries; section 11): grains per square millimetre, `G = 3.321928 log10(N_A) - 2.954`. Intercepts
//! (Heyn, Hilliard, Abrams; sections 12 to 14): mean intercept length l in millimetres, `G = -6.643856 log10(l) -
//! 3.288`. Statistics (section 15): the 95 % confidence interval of the mean of n fields is `t s / sqrt(n)`, the
//! relative accuracy %RA is that over the mean, in per cent.

mod lines;
mod planimetric;

pub use lines::{Intercepts, TestLines, chords_um, grain_size_by_intercepts, intercepts};
pub use planimetric::{PlanimetricField, grain_size_by_counting, planimetric_fields};

use serde::{Deserialize, Serialize};

/// A grain-size number with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrainSize {
    /// ASTM grain-size number G.
    pub number: f64,
    /// Lower end of the 95 % confidence interval of G, converted from that of the measured mean; absent for a single
    /// field.
    pub number_low: Option<f64>,
    /// Upper end.
    pub number_high: Option<f64>,
    /// What was measured: grains per square millimetre, or mean intercept length in micrometres.
    pub mean: f64,
    /// Standard deviation of `mean` over the fields; absent for a single field.
    pub standard_deviation: Option<f64>,
    /// Half the width of the 95 % confidence interval of `mean`.
    pub confidence_95: Option<f64>,
    /// `confidence_95` in per cent of `mean`; E112 requires at most 10.
    pub relative_accuracy_percent: Option<f64>,
    /// Number of fields, or test lines.
    pub num_fields: usize,
    /// Number of grains, or intercepts, counted.
    pub count: f64,
}

/// Mean of `values` weighted by `weights`, standard deviation, half the 95 % confidence interval.
fn statistics(values: &[f64], weights: &[f64]) -> (f64, Option<(f64, f64)>) {
    let n = values.len();
    let total: f64 = weights.iter().sum();
    let mean = values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>() / total;
    if n < 2 {
        return (mean, None);
    }
    let squares = values.iter().zip(weights).map(|(v, w)| w * (v - mean).powi(2)).sum::<f64>() / total;
    let deviation = (squares * n as f64 / (n - 1) as f64).sqrt();
    (mean, Some((deviation, student_t_95(n - 1) * deviation / (n as f64).sqrt())))
}

/// Two-sided 95 % quantile of Student's t, to 0.001; beyond 10 degrees of freedom by the expansion of Cornish and
/// Fisher (Abramowitz and Stegun 26.7.5).
fn student_t_95(freedom: usize) -> f64 {
    const TABLE: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    if let Some(&t) = freedom.checked_sub(1).and_then(|index| TABLE.get(index)) {
        return t;
    }
    let (x, v) = (1.959_963_985_f64, freedom as f64);
    let (x3, x5, x7) = (x.powi(3), x.powi(5), x.powi(7));
    x + (x3 + x) / (4.0 * v)
        + (5.0 * x5 + 16.0 * x3 + 3.0 * x) / (96.0 * v * v)
        + (3.0 * x7 + 19.0 * x5 + 17.0 * x3 - 15.0 * x) / (384.0 * v.powi(3))
}

#[cfg(test)]
mod tests;
