//! How uncertain a depth is that was measured on a number of reads.

use invar_dataset::seed::Rng;
use rand_distr::{Distribution, Gamma, Poisson};

use crate::Depth;

/// A number of the gamma distribution of this shape, of mean 1.
fn gamma(shape: f64, rng: &mut Rng) -> f64 {
    Gamma::new(shape, 1.0 / shape).map_or(1.0, |gamma| gamma.sample(rng))
}

/// The depth that `length_bp` bases of a contig would have been found to have, had the sample been sequenced once more:
/// the number of reads is drawn from the negative binomial distribution of the mean and the variance that were measured (of
/// the Poisson distribution, where bases vary no more than that), and the variance scaled as that of so few reads
/// scatters.
pub(crate) fn redrawn(depth: Depth, length_bp: u32, read_bp: f32, rng: &mut Rng) -> Depth {
    let reads_per_depth = f64::from(length_bp.max(1)) / f64::from(read_bp.max(1.0));
    let (mean, variance) = (f64::from(depth.mean), f64::from(depth.variance));
    let expected = mean * reads_per_depth;
    if expected <= 0.0 {
        return depth;
    }
    // The variance of the bases, in units of that of independent hits: that of the count of reads likewise.
    let excess = variance / mean - 1.0;
    let rate = if excess > 1e-6 { expected * gamma(expected / excess, rng) } else { expected };
    let count = Poisson::new(rate).map_or(rate, |poisson| poisson.sample(rng));
    let degrees = (reads_per_depth - 1.0).max(1.0);
    Depth {
        mean: (count / reads_per_depth) as f32,
        variance: (variance * (count / expected) * gamma(degrees / 2.0, rng)) as f32,
        ..depth
    }
}

#[cfg(test)]
mod tests {
    use invar_dataset::seed;

    use super::*;

    /// Mean and variance of many draws.
    fn moments(mut draw: impl FnMut(&mut Rng) -> f64) -> (f64, f64) {
        const DRAWS: usize = 40_000;
        let mut rng = seed::rng(3, 5);
        let all: Vec<f64> = (0..DRAWS).map(|_| draw(&mut rng)).collect();
        let mean = all.iter().sum::<f64>() / DRAWS as f64;
        (mean, all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (DRAWS - 1) as f64)
    }

    /// Five standard errors of a mean, and of a variance if the fourth moment is that of a heavy-tailed count.
    fn is_near(found: (f64, f64), mean: f64, variance: f64) -> bool {
        (found.0 - mean).abs() < 5.0 * (variance / 40_000.0).sqrt() && (found.1 / variance - 1.0).abs() < 0.12
    }

    #[test]
    fn a_depth_scatters_as_the_mean_of_so_many_reads_does() {
        for (mean, variance, length_bp) in [(8.0, 8.0, 3000), (8.0, 24.0, 3000), (0.5, 0.5, 1500), (30.0, 12.0, 60_000)]
        {
            let depth = Depth { mean, variance, breadth: 1.0 };
            let found = moments(|rng| f64::from(redrawn(depth, length_bp, 150.0, rng).mean));
            let of_mean = f64::from(variance.max(mean)) * 150.0 / f64::from(length_bp);
            assert!(is_near(found, f64::from(mean), of_mean), "{mean} {variance}: {found:?} {of_mean}");
            let (of_variance, _) = moments(|rng| f64::from(redrawn(depth, length_bp, 150.0, rng).variance));
            assert!((of_variance / f64::from(variance) - 1.0).abs() < 0.05, "{of_variance} {variance}");
        }
        let none = Depth::default();
        assert_eq!(redrawn(none, 900, 150.0, &mut seed::rng(1, 1)), none);
    }
}
