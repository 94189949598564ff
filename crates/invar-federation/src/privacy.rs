//! Noise in what a site sends, and what it still gives away.
//!
//! The change of the weights is clipped to an L2 norm `C`, and each weight is given Gaussian noise of standard deviation
//! `z C`. What is protected is the site as a whole: whether it took part with its data, or with a change of zero. After
//! `T` rounds the weights together are one Gaussian mechanism of `mu = sqrt(T) / z` (Dong, Roth and Su, *Gaussian
//! differential privacy*, 2022, corollary 2), and for each epsilon exactly
//!
//! ```text
//! delta = Phi(mu / 2 - epsilon / mu) - e^epsilon Phi(-mu / 2 - epsilon / mu)
//! ```
//!
//! (Balle and Wang, *Improving the Gaussian mechanism for differential privacy*, 2018, theorem 8). No amplification by
//! sampling is claimed: a site knows that it takes part. Against another data set of the same site, instead of none, the
//! change is twice as long, and `mu` twice as large.
//!
//! The noise comes from the operating system: from the recipe's seed, which everybody knows, it could be subtracted. So two
//! runs with noise differ. The accounting is for real numbers; floating-point numbers leak a little more (Mironov, *On
//! significance of the least significant bits for differential privacy*, 2012).

use std::path::Path;

use rand::{SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::{Error, PrivacyConfig, Weights};

/// Epsilon for a `delta`, of `rounds` rounds with noise of `noise_multiplier` times the clipping norm; infinite without
/// noise.
pub fn epsilon(noise_multiplier: f64, rounds: u32, delta: f64) -> f64 {
    if rounds == 0 {
        return 0.0;
    }
    if noise_multiplier <= 0.0 {
        return f64::INFINITY;
    }
    let mu = f64::from(rounds).sqrt() / noise_multiplier;
    if delta_of(0.0, mu) <= delta {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    while delta_of(high, mu) > delta {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = (low + high) / 2.0;
        if delta_of(middle, mu) > delta {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// `delta` of a Gaussian mechanism.
fn delta_of(epsilon: f64, mu: f64) -> f64 {
    let first = ln_phi(mu / 2.0 - epsilon / mu);
    let second = epsilon + ln_phi(-mu / 2.0 - epsilon / mu);
    // first >= second.
    first.exp() * -(second - first).min(0.0).exp_m1()
}

/// The logarithm of the normal distribution function.
fn ln_phi(x: f64) -> f64 {
    if x > -10.0 {
        return (0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)).ln();
    }
    // Mills' ratio as a continued fraction (Abramowitz and Stegun, 26.2.14): the distribution function underflows.
    let mut fraction = 0.0;
    for term in (1..=60).rev() {
        fraction = f64::from(term) / (-x + fraction);
    }
    -x * x / 2.0 - (std::f64::consts::TAU).sqrt().ln() - (-x + fraction).ln()
}

/// Clips the change from `global` to `local`, and adds noise from the operating system to it.
///
/// # Errors
/// If the system has no random numbers.
pub fn privatize(config: &PrivacyConfig, global: &Weights, local: &Weights) -> Result<Weights, Error> {
    let mut noise = StdRng::try_from_rng(&mut rand::rngs::SysRng).map_err(|error| Error::Random(error.to_string()))?;
    Ok(with_noise(config, global, local, &mut noise))
}

fn with_noise(config: &PrivacyConfig, global: &Weights, local: &Weights, noise: &mut StdRng) -> Weights {
    let norm = local.distance(global);
    let shortened = if norm > config.clip { config.clip / norm } else { 1.0 };
    let deviation = config.noise_multiplier * config.clip;
    let noise = std::cell::RefCell::new(noise);
    Weights::combined(&[global, local], |values| {
        let [global, local] = [(); 2].map(|()| f64::from(values.next().unwrap_or(0.0)));
        let drawn: f64 = StandardNormal.sample(&mut **noise.borrow_mut());
        (global + (local - global) * shortened + drawn * deviation) as f32
    })
}

/// The updates with noise that a site has made, in a file that it keeps. One that was made twice counts twice: each has other
/// noise, and who sees both sees more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Round and noise multiplier of each.
    pub updates: Vec<(u32, f64)>,
}

impl Ledger {
    /// Reads it; empty if it is not there.
    ///
    /// # Errors
    /// If it cannot be read, or is damaged.
    pub fn read(path: &Path) -> Result<Self, Error> {
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| Error::corrupt(path, "format", "rounds and noise multipliers", error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::io(path)(error)),
        }
    }

    /// Writes it, atomically.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let json = serde_json::to_vec_pretty(self).expect("numbers");
        invar_dataset::atomic::write(path, &json).map_err(Error::io(path))
    }

    /// Epsilon of all rounds: Gaussian mechanisms of `mu_i` are one of the root of the sum of their squares.
    pub fn epsilon(&self, delta: f64) -> f64 {
        let squares: f64 = self.updates.iter().map(|(_, noise)| 1.0 / (noise * noise)).sum();
        if squares == 0.0 { 0.0 } else { epsilon(1.0 / squares.sqrt(), 1, delta) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `dp_accounting` 0.6: `PLDAccountant`s of `GaussianDpEvent(z)` composed `rounds` times, `get_epsilon(delta)`; see
    /// `accountant.py`.
    const ACCOUNTED: &[(f64, u32, f64, f64)] = include!("privacy/accounted.in");

    #[test]
    fn epsilon_is_that_of_the_privacy_loss_distribution() {
        assert!(ACCOUNTED.len() > 10);
        for &(noise, rounds, delta, expected) in ACCOUNTED {
            let found = epsilon(noise, rounds, delta);
            // The peer rounds up, on a grid of 1e-4.
            assert!(
                (found - expected).abs() < 2e-3 * expected.max(0.1),
                "{noise} {rounds} {delta}: {found} {expected}"
            );
            assert!((delta_of(found, f64::from(rounds).sqrt() / noise) / delta - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn the_tail_of_the_normal_distribution_is_smooth() {
        // scipy.special.log_ndtr
        for (x, expected) in
            [(-9.0, -43.628149), (-11.0, -63.824934), (-40.0, -804.608442), (0.0, -std::f64::consts::LN_2)]
        {
            assert!((ln_phi(x) - expected).abs() < 1e-5, "{x}: {}", ln_phi(x));
        }
        assert!((ln_phi(-10.0 + 1e-9) - ln_phi(-10.0 - 1e-9)).abs() < 1e-6);
    }

    #[test]
    fn edge_cases_have_the_epsilon_they_deserve() {
        assert_eq!(epsilon(1.0, 0, 1e-5), 0.0);
        assert_eq!(epsilon(0.0, 1, 1e-5), f64::INFINITY);
        assert_eq!(epsilon(1e9, 1, 1e-5), 0.0);
        let ledger = Ledger { updates: (1..=4).map(|round| (round, 2.0)).collect() };
        assert!((ledger.epsilon(1e-5) - epsilon(2.0, 4, 1e-5)).abs() < 1e-9);
        assert_eq!(Ledger::default().epsilon(1e-5), 0.0);
    }

    #[test]
    fn a_long_change_is_clipped_and_the_noise_has_its_size() {
        let weights = |values: Vec<f32>| Weights {
            tensors: [("w".to_owned(), (vec![values.len()], values))].into(),
            header: String::new(),
        };
        let (global, local) = (weights(vec![1.0; 40_000]), weights(vec![1.5; 40_000]));
        let config = |noise_multiplier| PrivacyConfig { clip: 2.0, noise_multiplier, delta: 1e-5 };
        let mut rng = StdRng::seed_from_u64(1);
        let quiet = with_noise(&config(0.0), &global, &local, &mut rng);
        assert!((quiet.distance(&global) - 2.0).abs() < 1e-3);
        let short = with_noise(&PrivacyConfig { clip: 1e6, ..config(0.0) }, &global, &local, &mut rng);
        assert_eq!(short, local);
        // 40,000 draws of deviation 1: the norm of the noise is 200, to about 0.7.
        let noisy = with_noise(&config(0.5), &global, &local, &mut rng);
        assert!((noisy.distance(&quiet) - 200.0).abs() < 4.0, "{}", noisy.distance(&quiet));
        assert_ne!(
            privatize(&config(0.5), &global, &local).unwrap(),
            privatize(&config(0.5), &global, &local).unwrap()
        );
    }
}
