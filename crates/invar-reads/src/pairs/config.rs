//! The configuration of a pair source, and its checks.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
};

use crate::{ConfigError, error_model::ErrorModelConfig};

/// Which pairs are drawn from reads. In a recipe:
///
/// ```toml
/// error_model = { type = "ont" }
///
/// [[kinds]]
/// type = "windows"
/// weight = 3
/// window_bp = [1000, 5000]
///
/// [[kinds]]
/// type = "strand"
/// window_bp = 2000
/// error_model = { type = "custom", substitution = 0.05 }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadPairsConfig {
    /// Sequencing errors introduced into every view whose kind names no other model.
    pub error_model: ErrorModelConfig,
    /// Fraction of the bases of a view that are hidden, for a loss that predicts them from the rest (`masked-token`);
    /// views must be tokens.
    #[serde(skip_serializing_if = "is_zero")]
    pub masked: f64,
    /// The kinds of pairs, mixed by weight.
    pub kinds: Vec<PairKindConfig>,
}

fn is_zero(masked: &f64) -> bool {
    *masked == 0.0
}

impl Default for ReadPairsConfig {
    fn default() -> Self {
        Self {
            error_model: ErrorModelConfig::default(),
            masked: 0.0,
            kinds: vec![PairKindConfig::Windows(WindowsConfig::default())],
        }
    }
}

/// A kind of pair and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum PairKindConfig {
    /// A window of a read and the same window of its reverse complement.
    Strand(StrandConfig),
    /// Two windows of one read.
    Windows(WindowsConfig),
    /// The two mates of a fragment.
    Mates(MatesConfig),
    /// Two aligned reads of different molecules that cover the same locus.
    Overlap(OverlapConfig),
    /// Two reads of one component of overlaps, found without an alignment.
    OverlapComponent(OverlapComponentConfig),
    /// Two reads that a chain of such overlaps joins.
    OverlapWalk(OverlapWalkConfig),
}

/// Settings of `strand` pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StrandConfig {
    /// How often this kind is drawn, relative to the others.
    pub weight: f64,
    /// Length of the window, in bases; by default the whole read. A shorter read is used whole.
    pub window_bp: Option<WindowLength>,
    /// Errors of this kind's views, if they differ from those of all kinds.
    pub error_model: Option<ErrorModelConfig>,
}

impl Default for StrandConfig {
    fn default() -> Self {
        Self { weight: 1.0, window_bp: None, error_model: None }
    }
}

/// Settings of `windows` pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WindowsConfig {
    /// How often this kind is drawn, relative to the others.
    pub weight: f64,
    /// Length of a window, in bases; with a range, each window has its own length, shorter if the read would not hold
    /// two of them otherwise.
    pub window_bp: WindowLength,
    /// Minimum number of bases between the two windows.
    pub min_gap_bp: u32,
    /// Maximum number of bases between the two windows; by default as many as the read has.
    pub max_gap_bp: Option<u32>,
    /// Maximum number of bases that the two windows may share; 0 keeps them apart.
    pub max_overlap_bp: u32,
    /// Errors of this kind's views, if they differ from those of all kinds.
    pub error_model: Option<ErrorModelConfig>,
}

impl Default for WindowsConfig {
    fn default() -> Self {
        Self {
            weight: 1.0,
            window_bp: WindowLength { min: 1_000, max: 5_000 },
            min_gap_bp: 0,
            max_gap_bp: None,
            max_overlap_bp: 0,
            error_model: None,
        }
    }
}

impl WindowsConfig {
    /// Minimum number of bases from the end of the first window to the start of the second; negative if they may
    /// overlap.
    pub(super) fn min_distance(&self) -> i64 {
        i64::from(self.min_gap_bp) - i64::from(self.max_overlap_bp)
    }
}

/// Settings of `mates` pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MatesConfig {
    /// How often this kind is drawn, relative to the others.
    pub weight: f64,
    /// Length of the window of each mate, in bases; by default the whole mate.
    pub window_bp: Option<WindowLength>,
    /// Errors of this kind's views, if they differ from those of all kinds.
    pub error_model: Option<ErrorModelConfig>,
}

impl Default for MatesConfig {
    fn default() -> Self {
        Self { weight: 1.0, window_bp: None, error_model: None }
    }
}

/// Settings of `overlap` pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OverlapConfig {
    /// How often this kind is drawn, relative to the others.
    pub weight: f64,
    /// Minimum number of bases of the reference that both reads span.
    pub min_overlap_bp: u32,
    /// Reads of lower mapping quality are not used; those without one are.
    pub min_mapping_quality: u8,
    /// Length of the windows, in bases, cut from both reads at their common locus; by default the whole reads. A base
    /// of the reference is located in a read by proportion, ignoring its CIGAR string: indels and soft clips shift a
    /// window by at most their length.
    pub window_bp: Option<WindowLength>,
    /// Errors of this kind's views, if they differ from those of all kinds.
    pub error_model: Option<ErrorModelConfig>,
}

impl Default for OverlapConfig {
    fn default() -> Self {
        Self { weight: 1.0, min_overlap_bp: 100, min_mapping_quality: 0, window_bp: None, error_model: None }
    }
}

/// Settings of `overlap-component` pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OverlapComponentConfig {
    /// How often this kind is drawn, relative to the others.
    pub weight: f64,
    /// Length of a window, anywhere in its read, in bases. A shorter read is used whole.
    pub window_bp: WindowLength,
    /// Errors of this kind's views, if they differ from those of all kinds.
    pub error_model: Option<ErrorModelConfig>,
}

impl Default for OverlapComponentConfig {
    fn default() -> Self {
        Self { weight: 1.0, window_bp: WindowLength { min: 1_000, max: 5_000 }, error_model: None }
    }
}

/// Settings of `overlap-walk` pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OverlapWalkConfig {
    /// How often this kind is drawn, relative to the others.
    pub weight: f64,
    /// Length of a window, anywhere in its read, in bases. A shorter read is used whole.
    pub window_bp: WindowLength,
    /// Maximum number of overlaps from the first read to the second: a walk has between 1 and this many.
    pub max_steps: u32,
    /// Errors of this kind's views, if they differ from those of all kinds.
    pub error_model: Option<ErrorModelConfig>,
}

impl Default for OverlapWalkConfig {
    fn default() -> Self {
        Self { weight: 1.0, window_bp: WindowLength { min: 1_000, max: 5_000 }, max_steps: 16, error_model: None }
    }
}

impl ReadPairsConfig {
    /// Whether a kind draws from overlaps found without an alignment.
    pub fn needs_overlaps(&self) -> bool {
        let needs = |kind: &PairKindConfig| {
            matches!(kind, PairKindConfig::OverlapComponent(_) | PairKindConfig::OverlapWalk(_))
        };
        self.kinds.iter().any(needs)
    }

    /// Checks the settings that do not depend on the reads.
    ///
    /// # Errors
    /// If no kind has a weight, or a weight, a window or a gap is invalid.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (i, kind) in self.kinds.iter().enumerate() {
            kind.validate().map_err(|error| error.within(&format!("kinds[{i}]")))?;
        }
        if !(0.0..1.0).contains(&self.masked) {
            return Err(ConfigError::new("masked", self.masked, "a share is at least 0 and less than 1"));
        }
        if self.kinds.iter().all(|kind| kind.weight() == 0.0) {
            return Err(ConfigError::new("kinds", self.kinds.len(), "at least one kind needs a weight above 0"));
        }
        Ok(())
    }
}

impl PairKindConfig {
    /// How often this kind is drawn, relative to the others.
    pub fn weight(&self) -> f64 {
        match self {
            Self::Strand(config) => config.weight,
            Self::Windows(config) => config.weight,
            Self::Mates(config) => config.weight,
            Self::Overlap(config) => config.weight,
            Self::OverlapComponent(config) => config.weight,
            Self::OverlapWalk(config) => config.weight,
        }
    }

    /// The errors of its views, if they differ from those of all kinds.
    pub fn error_model(&self) -> Option<ErrorModelConfig> {
        match self {
            Self::Strand(config) => config.error_model,
            Self::Windows(config) => config.error_model,
            Self::Mates(config) => config.error_model,
            Self::Overlap(config) => config.error_model,
            Self::OverlapComponent(config) => config.error_model,
            Self::OverlapWalk(config) => config.error_model,
        }
    }

    /// Length of its windows; `None` for whole reads.
    pub fn window_bp(&self) -> Option<WindowLength> {
        match self {
            Self::Strand(config) => config.window_bp,
            Self::Windows(config) => Some(config.window_bp),
            Self::Mates(config) => config.window_bp,
            Self::Overlap(config) => config.window_bp,
            Self::OverlapComponent(config) => Some(config.window_bp),
            Self::OverlapWalk(config) => Some(config.window_bp),
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if !(0.0..=f64::MAX).contains(&self.weight()) {
            return Err(ConfigError::new("weight", self.weight(), "a weight is a number, 0 or more"));
        }
        if let Some(window) = self.window_bp() {
            window.validate()?;
        }
        match self {
            Self::Windows(config) => config.validate(),
            Self::Overlap(config) if config.min_overlap_bp == 0 => {
                Err(ConfigError::new("min_overlap_bp", 0, "it must be at least 1"))
            }
            Self::OverlapWalk(config) if config.max_steps == 0 => {
                Err(ConfigError::new("max_steps", 0, "it must be at least 1"))
            }
            _ => Ok(()),
        }
    }
}

impl WindowsConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |setting, found: u32, reason: String| Err(ConfigError::new(setting, found, reason));
        if self.min_gap_bp > 0 && self.max_overlap_bp > 0 {
            let reason = format!("windows that may overlap cannot lie min_gap_bp = {} apart", self.min_gap_bp);
            return refuse("max_overlap_bp", self.max_overlap_bp, reason);
        }
        if self.max_overlap_bp >= self.window_bp.min {
            let reason = format!("it must be below the shortest window of {} bp", self.window_bp.min);
            return refuse("max_overlap_bp", self.max_overlap_bp, reason);
        }
        match self.max_gap_bp {
            Some(most) if most < self.min_gap_bp => {
                refuse("max_gap_bp", most, format!("it must be at least min_gap_bp = {}", self.min_gap_bp))
            }
            _ => Ok(()),
        }
    }
}

/// Length of a window, in bases: a number, or a range `[shortest, longest]` from which it is drawn log-uniformly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLength {
    /// Shortest.
    pub min: u32,
    /// Longest.
    pub max: u32,
}

impl WindowLength {
    /// Always the same length.
    pub const fn fixed(length_bp: u32) -> Self {
        Self { min: length_bp, max: length_bp }
    }

    fn validate(self) -> Result<(), ConfigError> {
        if self.min == 0 {
            return Err(ConfigError::new("window_bp", self, "a window has at least 1 base"));
        }
        if self.min > self.max {
            return Err(ConfigError::new("window_bp", self, "the shortest window comes first, then the longest"));
        }
        Ok(())
    }
}

impl fmt::Display for WindowLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { min, max } if min == max => write!(f, "{min}"),
            Self { min, max } => write!(f, "[{min}, {max}]"),
        }
    }
}

impl Serialize for WindowLength {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self { min, max } if min == max => min.serialize(serializer),
            Self { min, max } => [min, max].serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for WindowLength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LengthVisitor;

        impl<'de> Visitor<'de> for LengthVisitor {
            type Value = WindowLength;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bases, or [shortest, longest]")
            }

            fn visit_u64<E: de::Error>(self, length: u64) -> Result<WindowLength, E> {
                let invalid = |_| E::invalid_value(de::Unexpected::Unsigned(length), &self);
                u32::try_from(length).map(WindowLength::fixed).map_err(invalid)
            }

            fn visit_i64<E: de::Error>(self, length: i64) -> Result<WindowLength, E> {
                let invalid = |_| E::invalid_value(de::Unexpected::Signed(length), &self);
                u32::try_from(length).map(WindowLength::fixed).map_err(invalid)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<WindowLength, A::Error> {
                let mut next = |i| values.next_element()?.ok_or_else(|| de::Error::invalid_length(i, &self));
                let length = WindowLength { min: next(0)?, max: next(1)? };
                match values.next_element::<de::IgnoredAny>()? {
                    None => Ok(length),
                    Some(_) => Err(de::Error::invalid_length(3, &self)),
                }
            }
        }

        deserializer.deserialize_any(LengthVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ReadPairsConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn recipe_syntax() {
        let config = parse(
            r#"
            error_model = { type = "ont" }
            [[kinds]]
            type = "windows"
            weight = 3
            window_bp = [1000, 5000]
            max_gap_bp = 20000
            [[kinds]]
            type = "strand"
            window_bp = 2000
            error_model = { type = "custom", substitution = 0.05 }
            [[kinds]]
            type = "mates"
            [[kinds]]
            type = "overlap"
            min_overlap_bp = 500
            "#,
        )
        .unwrap();
        let custom = ErrorModelConfig::Custom { substitution: 0.05, insertion: 0.0, deletion: 0.0 };
        let expected = ReadPairsConfig {
            masked: 0.0,
            error_model: ErrorModelConfig::Ont {},
            kinds: vec![
                PairKindConfig::Windows(WindowsConfig {
                    weight: 3.0,
                    max_gap_bp: Some(20_000),
                    ..WindowsConfig::default()
                }),
                PairKindConfig::Strand(StrandConfig {
                    window_bp: Some(WindowLength::fixed(2_000)),
                    error_model: Some(custom),
                    ..StrandConfig::default()
                }),
                PairKindConfig::Mates(MatesConfig::default()),
                PairKindConfig::Overlap(OverlapConfig { min_overlap_bp: 500, ..OverlapConfig::default() }),
            ],
        };
        assert_eq!(config, expected);
        // The resolved recipe, with all defaults, parses to the same.
        assert_eq!(parse(&toml::to_string(&config).unwrap()).unwrap(), config);
        assert_eq!(parse("").unwrap(), ReadPairsConfig::default());
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_named() {
        let error = |line: &str| parse(&format!("[[kinds]]\ntype = \"windows\"\n{line}")).unwrap_err();
        assert!(error("windw_bp = 3").contains("unknown field `windw_bp`"));
        assert!(error("window_bp = \"long\"").contains("a number of bases, or [shortest, longest]"));
        assert!(error("window_bp = [1]").contains("a number of bases, or [shortest, longest]"));
        assert!(error("window_bp = [1, 2, 3]").contains("a number of bases, or [shortest, longest]"));
        assert!(error("window_bp = -1").contains("a number of bases, or [shortest, longest]"));
        assert!(parse("[[kinds]]\ntype = \"windos\"").unwrap_err().contains("windos"));
    }

    #[test]
    fn impossible_settings_are_named_with_their_values() {
        let error = |lines: &str| parse(&format!("[[kinds]]\n{lines}")).unwrap().validate().unwrap_err().to_string();
        assert_eq!(
            error("type = \"windows\"\nwindow_bp = [5000, 1000]"),
            "kinds[0].window_bp = [5000, 1000]: the shortest window comes first, then the longest"
        );
        assert_eq!(error("type = \"strand\"\nwindow_bp = 0"), "kinds[0].window_bp = 0: a window has at least 1 base");
        assert_eq!(error("type = \"strand\"\nweight = -1"), "kinds[0].weight = -1: a weight is a number, 0 or more");
        assert_eq!(error("type = \"strand\"\nweight = nan"), "kinds[0].weight = NaN: a weight is a number, 0 or more");
        assert_eq!(
            error("type = \"windows\"\nmin_gap_bp = 5\nmax_gap_bp = 4"),
            "kinds[0].max_gap_bp = 4: it must be at least min_gap_bp = 5"
        );
        assert_eq!(
            error("type = \"windows\"\nmax_overlap_bp = 1000"),
            "kinds[0].max_overlap_bp = 1000: it must be below the shortest window of 1000 bp"
        );
        assert_eq!(
            error("type = \"windows\"\nmax_overlap_bp = 9\nmin_gap_bp = 5"),
            "kinds[0].max_overlap_bp = 9: windows that may overlap cannot lie min_gap_bp = 5 apart"
        );
        assert_eq!(error("type = \"overlap-walk\"\nmax_steps = 0"), "kinds[0].max_steps = 0: it must be at least 1");
        let window = "kinds[0].window_bp = 0: a window has at least 1 base";
        assert_eq!(error("type = \"overlap-component\"\nwindow_bp = 0"), window);
        assert_eq!(error("type = \"strand\"\nweight = 0"), "kinds = 1: at least one kind needs a weight above 0");
        assert!(parse("kinds = []").unwrap().validate().is_err());
    }
}
