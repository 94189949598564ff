use serde::{Deserialize, Serialize};

use crate::Error;

/// The `[federation]` table of a recipe: how sites train together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FederationConfig {
    /// Number of rounds.
    pub rounds: u32,
    /// Optimizer steps of each site in each round. Training has `rounds * local_steps` of them, whatever `train.steps` says.
    pub local_steps: u64,
    /// Fresh keys that a site sends in each round; 0 for no bank.
    pub keys: usize,
    /// Number of keys of each site in the bank: the newest.
    pub keys_per_site: usize,
    /// Keys made more rounds ago than this are not used.
    pub max_age: u32,
    /// FedProx: adds `proximal / 2 |w - w_global|^2` to the loss of a site (Li et al., *Federated optimization in
    /// heterogeneous networks*, 2020); 0 for none.
    pub proximal: f64,
    /// FedAvgM: the server adds this part of the last change to the new one (Hsu, Qi and Brown, *Measuring the effects of
    /// non-identical data distribution for federated visual classification*, 2019), in `[0, 1)`; 0 for none.
    pub server_momentum: f64,
    /// What becomes of norms whose means are taken over a batch.
    pub batch_norms: BatchNorms,
    /// Noise in what is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy: Option<PrivacyConfig>,
}

/// What becomes of batch norms, whose statistics are those of a site's own samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNorms {
    /// An encoder that has some is refused.
    #[default]
    Refuse,
    /// They stay at the site, which keeps them from round to round (FedBN: Li et al., *FedBN: federated learning on non-IID
    /// features via local batch normalization*, 2021).
    Local,
}

/// Noise in what a site sends: the Gaussian mechanism, for the site as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacyConfig {
    /// The change of the weights is shortened to this L2 norm.
    pub clip: f64,
    /// Standard deviation of the noise in each weight, as a multiple of `clip`.
    pub noise_multiplier: f64,
    /// The `delta` that epsilon is stated for, in (0, 1).
    #[serde(default = "default_delta")]
    pub delta: f64,
}

fn default_delta() -> f64 {
    1e-5
}

impl Default for FederationConfig {
    fn default() -> Self {
        Self {
            rounds: 25,
            local_steps: 16,
            keys: 256,
            keys_per_site: 256,
            max_age: 12,
            proximal: 0.0,
            server_momentum: 0.0,
            batch_norms: BatchNorms::Refuse,
            privacy: None,
        }
    }
}

impl FederationConfig {
    /// Optimizer steps of a site in all rounds.
    pub fn steps(&self) -> u64 {
        u64::from(self.rounds) * self.local_steps
    }

    /// Optimizer steps that are done before a round, 1-based.
    pub fn steps_before(&self, round: u32) -> u64 {
        u64::from(round.saturating_sub(1)) * self.local_steps
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// Names the first that is out of range.
    pub fn check(&self) -> Result<(), Error> {
        let bad = |key: &'static str, expected: &str, found: String| {
            Err(Error::Config { key, expected: expected.into(), found })
        };
        if self.rounds == 0 {
            return bad("rounds", "at least 1", "0".into());
        }
        if self.local_steps == 0 {
            return bad("local_steps", "at least 1", "0".into());
        }
        if self.keys_per_site < self.keys {
            return bad(
                "keys_per_site",
                &format!("at least the keys of a round, {}", self.keys),
                self.keys_per_site.to_string(),
            );
        }
        if self.keys > 0 && self.max_age == 0 {
            return bad("max_age", "at least 1, the age of keys of the round before", "0".into());
        }
        if !(self.proximal >= 0.0 && self.proximal.is_finite()) {
            return bad("proximal", "at least 0", self.proximal.to_string());
        }
        if !(0.0..1.0).contains(&self.server_momentum) {
            return bad("server_momentum", "in [0, 1)", self.server_momentum.to_string());
        }
        let Some(privacy) = &self.privacy else { return Ok(()) };
        if !(privacy.clip > 0.0 && privacy.clip.is_finite()) {
            return bad("privacy.clip", "above 0", privacy.clip.to_string());
        }
        if !(privacy.noise_multiplier >= 0.0 && privacy.noise_multiplier.is_finite()) {
            return bad("privacy.noise_multiplier", "at least 0", privacy.noise_multiplier.to_string());
        }
        if !(privacy.delta > 0.0 && privacy.delta < 1.0) {
            return bad("privacy.delta", "in (0, 1)", privacy.delta.to_string());
        }
        Ok(())
    }
}
