use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ClusterError;

/// How finely Leiden divides: the weight of the chance term in the modularity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Resolution {
    /// This one.
    Fixed(f64),
    /// The one of [`Resolution::CANDIDATES`] whose clusters are best separated and most reproducible in halves of the
    /// rows: the largest product of the two. One cluster, if none qualifies.
    Auto,
}

impl Resolution {
    /// What is tried for [`Resolution::Auto`].
    pub const CANDIDATES: [f64; 20] = [
        0.05, 0.064, 0.083, 0.11, 0.14, 0.18, 0.23, 0.29, 0.38, 0.48, 0.62, 0.8, 1.0, 1.3, 1.7, 2.2, 2.8, 3.6, 4.7, 6.0,
    ];

    pub(super) fn candidates(&self) -> &[f64] {
        match self {
            Self::Fixed(value) => std::slice::from_ref(value),
            Self::Auto => &Self::CANDIDATES,
        }
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(value) => write!(f, "{value}"),
            Self::Auto => f.write_str("auto"),
        }
    }
}

impl FromStr for Resolution {
    type Err = ClusterError;

    fn from_str(text: &str) -> Result<Self, ClusterError> {
        match (text, text.parse::<f64>()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(value)) if value > 0.0 && value.is_finite() => Ok(Self::Fixed(value)),
            _ => Err(ClusterError::Parameter {
                parameter: "resolution",
                value: text.into(),
                must: "a positive number, or \"auto\"",
            }),
        }
    }
}

impl Serialize for Resolution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(value) => serializer.serialize_f64(*value),
            Self::Auto => serializer.serialize_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for Resolution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Resolution;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a positive number, or \"auto\"")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Resolution, E> {
                if value > 0.0 && value.is_finite() {
                    Ok(Resolution::Fixed(value))
                } else {
                    Err(E::invalid_value(de::Unexpected::Float(value), &self))
                }
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Resolution, E> {
                self.visit_f64(value as f64)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Resolution, E> {
                self.visit_f64(value as f64)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Resolution, E> {
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
