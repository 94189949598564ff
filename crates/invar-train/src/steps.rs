//! How long training takes: a number of steps, or one that follows the data.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::Error;

/// Total number of optimizer steps: `steps = 600`, or `steps = { epochs = 32, least = 600, most = 3000 }`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Steps {
    /// This many, whatever the data.
    Fixed(u64),
    /// Enough to show each sample a given number of times.
    Epochs(Epochs),
}

/// Steps that follow the number of samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epochs {
    /// How many pairs are drawn per sample, on average.
    pub epochs: f64,
    /// Minimum number of steps: a network needs some, however few samples there are.
    #[serde(default = "default_least")]
    pub least: u64,
    /// Maximum number of steps: beyond some number of samples, a part of them teaches as much as all.
    #[serde(default = "default_most")]
    pub most: u64,
}

fn default_least() -> u64 {
    200
}

fn default_most() -> u64 {
    20_000
}

impl Steps {
    /// The steps of a run on `num_samples` samples, when each step shows `pairs_per_step`.
    pub fn on(self, num_samples: usize, pairs_per_step: usize) -> u64 {
        match self {
            Self::Fixed(steps) => steps,
            Self::Epochs(Epochs { epochs, least, most }) => {
                let steps = (epochs * num_samples as f64 / pairs_per_step.max(1) as f64).ceil();
                // The conversion saturates if the number is too large.
                (steps as u64).clamp(least, most)
            }
        }
    }

    /// Checks that training can run with these settings; without a step only if there `may_be_none`.
    ///
    /// # Errors
    /// Names the first setting that is out of range.
    pub(crate) fn validate(self, may_be_none: bool) -> Result<(), Error> {
        let refuse = |key, expected: &str, found: String| Err(Error::Config { key, expected: expected.into(), found });
        match self {
            Self::Fixed(0) if !may_be_none => refuse("train.steps", "at least 1", "0".into()),
            Self::Epochs(Epochs { epochs, .. }) if !(epochs > 0.0 && epochs.is_finite()) => {
                refuse("train.steps.epochs", "above 0", epochs.to_string())
            }
            Self::Epochs(Epochs { least: 0, .. }) => refuse("train.steps.least", "at least 1", "0".into()),
            Self::Epochs(Epochs { least, most, .. }) if most < least => {
                refuse("train.steps.most", &format!("at least train.steps.least, {least}"), most.to_string())
            }
            _ => Ok(()),
        }
    }
}

impl From<u64> for Steps {
    fn from(steps: u64) -> Self {
        Self::Fixed(steps)
    }
}

impl Serialize for Steps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(steps) => serializer.serialize_u64(*steps),
            Self::Epochs(epochs) => epochs.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Steps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrTable)
    }
}

/// Distinguishes the two by type, so that a mistake in the table is reported by its key.
struct NumberOrTable;

impl<'de> Visitor<'de> for NumberOrTable {
    type Value = Steps;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of steps, or { epochs, least, most }")
    }

    fn visit_u64<E: serde::de::Error>(self, steps: u64) -> Result<Steps, E> {
        Ok(Steps::Fixed(steps))
    }

    fn visit_i64<E: serde::de::Error>(self, steps: i64) -> Result<Steps, E> {
        u64::try_from(steps)
            .map(Steps::Fixed)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(steps), &self))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Steps, M::Error> {
        Epochs::deserialize(MapAccessDeserializer::new(map)).map(Steps::Epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_the_data_between_the_least_and_the_most() {
        let steps = Steps::Epochs(Epochs { epochs: 32.0, least: 100, most: 3000 });
        // By hand: 32 times 9,500 samples in batches of 512 are 593.75 batches.
        assert_eq!(steps.on(9_500, 512), 594);
        assert_eq!(steps.on(5 * 9_500, 512), 2_969);
        assert_eq!((steps.on(10, 8), steps.on(1_000_000, 512), steps.on(0, 0)), (100, 3_000, 100));
        assert_eq!(Steps::from(7).on(9_500, 512), 7);
    }

    #[test]
    fn recipe_syntax() {
        let parse = |text: &str| serde_json::from_str::<Steps>(text);
        for steps in [Steps::Fixed(600), Steps::Epochs(Epochs { epochs: 2.5, least: 3, most: 4 })] {
            assert_eq!(parse(&serde_json::to_string(&steps).unwrap()).unwrap(), steps);
        }
        let expected = Steps::Epochs(Epochs { epochs: 12.0, least: 200, most: 20_000 });
        assert_eq!(parse(r#"{"epochs": 12}"#).unwrap(), expected);
        let error = |text| parse(text).unwrap_err().to_string();
        assert!(error("-3").contains("-3"));
        assert!(error(r#"{"epoch": 12}"#).contains("unknown field `epoch`"));
        assert!(error(r#"{"least": 12}"#).contains("missing field `epochs`"));
        assert!(error(r#""many""#).contains("a number of steps, or { epochs, least, most }"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |steps: Steps| steps.validate(false).unwrap_err().to_string();
        assert!(refused(Steps::Fixed(0)).contains("train.steps"));
        let epochs = |epochs, least, most| refused(Steps::Epochs(Epochs { epochs, least, most }));
        assert!(epochs(f64::NAN, 1, 2).contains("train.steps.epochs"));
        assert!(epochs(0.0, 1, 2).contains("train.steps.epochs"));
        assert!(epochs(1.0, 0, 2).contains("train.steps.least"));
        assert!(epochs(1.0, 5, 2).contains("train.steps.most"));
    }
}
