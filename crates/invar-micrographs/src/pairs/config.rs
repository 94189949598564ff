//! The configuration of a pair source, and its checks.
//!
//! ```toml
//! [source.pairs]
//! max_angle_deg = 180
//! scale = [0.9, 1.1]
//! max_shift = 0.05
//! mirror = false
//! [source.pairs.augment]
//! blur_px = { range = [0.3, 1.0], probability = 0.3 }
//! [[source.pairs.kinds]]
//! type = "rotations"
//! weight = 3
//! [[source.pairs.kinds]]
//! type = "crops"
//! ```

use serde::{Deserialize, Serialize};

use crate::{Error, views::refuse};

/// How pairs are drawn (`[source.pairs]`). Each of the two views is jittered separately.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrainPairsConfig {
    /// Views are rotated by an angle between minus and plus this, in degrees; 180 is the whole circle.
    pub max_angle_deg: f64,
    /// The field is scaled by a factor in this range, drawn log-uniformly; above 1 more is visible.
    pub scale: [f64; 2],
    /// The field of `rotations` is shifted by up to this fraction of its side.
    pub max_shift: f64,
    /// Whether half of the views are mirrored. Off by default: chirality can be real.
    pub mirror: bool,
    /// How the intensities are varied.
    pub augment: AugmentConfig,
    /// The kinds of pairs, mixed by weight.
    pub kinds: Vec<PairKindConfig>,
}

impl Default for GrainPairsConfig {
    fn default() -> Self {
        Self {
            max_angle_deg: 180.0,
            scale: [0.9, 1.1],
            max_shift: 0.05,
            mirror: false,
            augment: AugmentConfig::default(),
            kinds: vec![PairKindConfig::Rotations(RotationsConfig::default())],
        }
    }
}

/// A kind of pair and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum PairKindConfig {
    /// The same place, rotated twice.
    Rotations(RotationsConfig),
    /// Two places of the same region.
    Crops(CropsConfig),
}

/// Settings of `rotations` pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotationsConfig {
    /// How often this kind is drawn, relative to the others.
    pub weight: f64,
}

impl Default for RotationsConfig {
    fn default() -> Self {
        Self { weight: 1.0 }
    }
}

/// Settings of `crops` pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CropsConfig {
    /// How often this kind is drawn, relative to the others.
    pub weight: f64,
}

impl Default for CropsConfig {
    fn default() -> Self {
        Self { weight: 1.0 }
    }
}

/// How the intensities of a view are varied, which are 0 to 1 between the levels of its image; in this order. An effect
/// that is not given keeps its default, one with probability 0 is off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Standard deviation of a Gaussian blur, in view pixels.
    pub blur_px: Effect,
    /// Exponent of the intensity, drawn log-uniformly; above 1 darkens.
    pub gamma: Effect,
    /// Factor about mid-grey, drawn log-uniformly.
    pub contrast: Effect,
    /// Offset added.
    pub brightness: Effect,
    /// Mean number of photons (electrons, counts) at intensity 1, drawn log-uniformly, for Poisson noise.
    pub photons: Effect,
    /// Standard deviation of Gaussian noise.
    pub noise: Effect,
}

/// A random effect.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// Smallest and largest strength.
    pub range: [f64; 2],
    /// How often it happens at all.
    #[serde(default = "always")]
    pub probability: f64,
}

fn always() -> f64 {
    1.0
}

impl Default for AugmentConfig {
    fn default() -> Self {
        let effect = |range, probability| Effect { range, probability };
        Self {
            blur_px: effect([0.3, 1.0], 0.3),
            gamma: effect([0.8, 1.25], 0.5),
            contrast: effect([0.8, 1.25], 0.8),
            brightness: effect([-0.1, 0.1], 0.8),
            photons: effect([100.0, 2_000.0], 0.3),
            noise: effect([0.0, 0.05], 0.5),
        }
    }
}

impl AugmentConfig {
    /// No effect.
    pub fn none() -> Self {
        let off = |effect: Effect| Effect { probability: 0.0, ..effect };
        let Self { blur_px, gamma, contrast, brightness, photons, noise } = Self::default();
        Self {
            blur_px: off(blur_px),
            gamma: off(gamma),
            contrast: off(contrast),
            brightness: off(brightness),
            photons: off(photons),
            noise: off(noise),
        }
    }
}

impl PairKindConfig {
    /// How often this kind is drawn, relative to the others.
    pub fn weight(&self) -> f64 {
        match self {
            Self::Rotations(config) => config.weight,
            Self::Crops(config) => config.weight,
        }
    }

    /// Its name in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rotations(_) => "rotations",
            Self::Crops(_) => "crops",
        }
    }
}

impl GrainPairsConfig {
    /// Checks the settings that do not depend on the grains.
    ///
    /// # Errors
    /// [`Error::Config`], naming the setting.
    pub fn validate(&self) -> Result<(), Error> {
        if !(0.0..=180.0).contains(&self.max_angle_deg) {
            return Err(refuse("pairs.max_angle_deg", "0 to 180".into(), self.max_angle_deg));
        }
        check("pairs.scale", self.scale, [0.1, 10.0])?;
        if !(0.0..=10.0).contains(&self.max_shift) {
            return Err(refuse("pairs.max_shift", "0 to 10".into(), self.max_shift));
        }
        self.augment.validate()?;
        for (i, kind) in self.kinds.iter().enumerate() {
            if !(0.0..=f64::MAX).contains(&kind.weight()) {
                return Err(refuse(format!("pairs.kinds[{i}].weight"), "a number, 0 or more".into(), kind.weight()));
            }
        }
        if self.kinds.iter().all(|kind| kind.weight() == 0.0) {
            let found = format!("{} kinds, none with a weight", self.kinds.len());
            return Err(refuse("pairs.kinds", "one with a weight above 0".into(), found));
        }
        Ok(())
    }
}

impl AugmentConfig {
    fn validate(&self) -> Result<(), Error> {
        let limits = [
            ("blur_px", self.blur_px, [0.0, 100.0]),
            ("gamma", self.gamma, [0.01, 100.0]),
            ("contrast", self.contrast, [0.01, 100.0]),
            ("brightness", self.brightness, [-10.0, 10.0]),
            ("photons", self.photons, [0.1, 1e9]),
            ("noise", self.noise, [0.0, 10.0]),
        ];
        for (name, effect, allowed) in limits {
            check(&format!("pairs.augment.{name}.range"), effect.range, allowed)?;
            if !(0.0..=1.0).contains(&effect.probability) {
                let what = format!("pairs.augment.{name}.probability");
                return Err(refuse(what, "0 to 1".into(), effect.probability));
            }
        }
        Ok(())
    }
}

fn check(what: &str, [low, high]: [f64; 2], [least, most]: [f64; 2]) -> Result<(), Error> {
    if least <= low && low <= high && high <= most {
        return Ok(());
    }
    Err(refuse(what, format!("[smallest, largest] within {least} and {most}"), format!("[{low}, {high}]")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<GrainPairsConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn recipe_syntax() {
        let config = parse(
            r#"
            scale = [0.5, 2]
            mirror = true
            [augment]
            blur_px = { range = [1, 2] }
            noise = { range = [0, 0.1], probability = 0.25 }
            [[kinds]]
            type = "crops"
            weight = 3
            "#,
        )
        .unwrap();
        let expected = GrainPairsConfig {
            scale: [0.5, 2.0],
            mirror: true,
            augment: AugmentConfig {
                blur_px: Effect { range: [1.0, 2.0], probability: 1.0 },
                noise: Effect { range: [0.0, 0.1], probability: 0.25 },
                ..AugmentConfig::default()
            },
            kinds: vec![PairKindConfig::Crops(CropsConfig { weight: 3.0 })],
            ..GrainPairsConfig::default()
        };
        assert_eq!(config, expected);
        assert_eq!(parse(&toml::to_string(&config).unwrap()).unwrap(), config);
        assert_eq!(parse("").unwrap(), GrainPairsConfig::default());
        assert!(config.validate().is_ok());
    }

    #[test]
    fn slips_are_named() {
        assert!(parse("miror = true").unwrap_err().contains("unknown field `miror`"));
        assert!(parse("[augment]\nblurr_px = { range = [1, 2] }").unwrap_err().contains("unknown field `blurr_px`"));
        assert!(parse("[[kinds]]\ntype = \"crop\"").unwrap_err().contains("unknown variant `crop`"));
        assert!(parse("[[kinds]]\ntype = \"crops\"\nwieght = 1").unwrap_err().contains("unknown field `wieght`"));
        let error = |text: &str| parse(text).unwrap().validate().unwrap_err().to_string();
        assert_eq!(error("max_angle_deg = 200"), "pairs.max_angle_deg: expected 0 to 180, found 200");
        assert_eq!(
            error("scale = [2, 1]"),
            "pairs.scale: expected [smallest, largest] within 0.1 and 10, found [2, 1]"
        );
        assert!(error("scale = [0, 1]").contains("found [0, 1]"));
        assert!(error("max_shift = nan").contains("found NaN"));
        assert_eq!(
            error("[augment]\nnoise = { range = [0, 1], probability = 2 }"),
            "pairs.augment.noise.probability: expected 0 to 1, found 2"
        );
        assert!(error("[augment]\ngamma = { range = [nan, 1] }").starts_with("pairs.augment.gamma.range"));
        assert!(error("kinds = []").contains("0 kinds"));
        assert!(error("[[kinds]]\ntype = \"crops\"\nweight = -1").starts_with("pairs.kinds[0].weight"));
    }
}
