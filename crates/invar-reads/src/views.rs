//! The views of a read as it is embedded: the whole read, or windows whose embeddings are averaged.
//!
//! Windows are evenly spaced and symmetric about the middle of the read, so those of the reverse complement are the
//! same stretches of DNA and their mean is the same:
//!
//! ```text
//! read      |---------------------------------------|
//! windows   |============|                              window_bp
//!                    |============|                     stride_bp or less, so that the last one ends with the read
//!                                       ...============|
//! ```

use std::{cmp::Ordering, iter::once, ops::Range, sync::Arc};

use invar_dataset::{DatasetError, View, ViewShape, ViewSource};
use serde::{Deserialize, Serialize};

use crate::{
    ConfigError, Reads,
    kmer::{KmerConfig, KmerProfiler},
    packed::{CODE_N, NUM_CODES, PackedSlice, reverse_complement_codes},
};

/// The input of an encoder of reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "TaggedRepresentation", into = "TaggedRepresentation")]
pub enum Representation {
    /// Canonical k-mer profiles: [`View::Dense`] `[num_features]`. They do not depend on the strand.
    Kmers(KmerConfig),
    /// One token per base, A C G T N = 0 to 4: [`View::Tokens`]. Ignoring the strand is up to the encoder.
    Tokens,
}

/// Its form in a recipe: `{ type = "kmers", ks = [6] }`, `{ type = "tokens" }`. The braces of `Tokens` make serde
/// reject unknown keys; with a unit variant it would ignore them.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
enum TaggedRepresentation {
    Kmers(KmerConfig),
    Tokens {},
}

impl From<TaggedRepresentation> for Representation {
    fn from(tagged: TaggedRepresentation) -> Self {
        match tagged {
            TaggedRepresentation::Kmers(config) => Self::Kmers(config),
            TaggedRepresentation::Tokens {} => Self::Tokens,
        }
    }
}

impl From<Representation> for TaggedRepresentation {
    fn from(representation: Representation) -> Self {
        match representation {
            Representation::Kmers(config) => Self::Kmers(config),
            Representation::Tokens => Self::Tokens {},
        }
    }
}

impl Default for Representation {
    fn default() -> Self {
        Self::Kmers(KmerConfig::default())
    }
}

/// Turns bases into views of one [`Representation`].
#[derive(Clone, Debug)]
pub struct ViewMaker {
    /// `None` for tokens.
    profiler: Option<KmerProfiler>,
}

impl ViewMaker {
    /// Prepares the tables.
    ///
    /// # Errors
    /// If the k-mer setting is invalid.
    pub fn new(representation: &Representation) -> Result<Self, ConfigError> {
        let profiler = match representation {
            Representation::Kmers(config) => Some(KmerProfiler::new(config)?),
            Representation::Tokens => None,
        };
        Ok(Self { profiler })
    }

    /// The shape of every view.
    pub fn shape(&self) -> ViewShape {
        match &self.profiler {
            Some(profiler) => ViewShape::Dense(vec![profiler.num_features()]),
            None => ViewShape::Tokens { vocabulary: NUM_CODES },
        }
    }

    /// Whether a sequence and its reverse complement are different views.
    pub fn has_strands(&self) -> bool {
        self.profiler.is_none()
    }

    /// The view of a vector of codes (0 to 3, 4 for N). An empty vector is treated as a single N, so that no encoder
    /// receives a sequence without tokens.
    ///
    /// # Panics
    /// If a code is above 4.
    pub fn of_codes(&self, codes: &[u8]) -> View {
        match &self.profiler {
            Some(profiler) => View::features(profiler.profile_codes(codes)),
            None if codes.is_empty() => View::tokens(vec![i32::from(CODE_N)]),
            None => View::tokens(codes.iter().map(|&code| i32::from(code)).collect()),
        }
    }

    /// As [`Self::of_codes`] for the bases in `range`, without unpacking them unless necessary.
    ///
    /// # Panics
    /// If `range` exceeds the sequence.
    pub fn of_sequence(&self, sequence: PackedSlice<'_>, range: Range<usize>) -> View {
        if let Some(profiler) = &self.profiler {
            return View::features(profiler.profile(sequence, range));
        }
        let mut codes = Vec::new();
        sequence.unpack_codes(range, &mut codes);
        self.of_codes(&codes)
    }
}

/// How reads are cut for embedding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbedConfig {
    /// Length of a window, in bases; by default the whole read. A read that is not longer is also used whole.
    pub window_bp: Option<u32>,
    /// Maximum distance between the starts of two windows, in bases; by default `window_bp`, so that every base is
    /// covered and few are covered twice.
    pub stride_bp: Option<u32>,
    /// Maximum number of windows per read; a longer one gets this many windows, evenly spaced. No limit by default.
    pub max_windows: Option<u32>,
}

impl EmbedConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// If a length or a number is 0, the stride leaves gaps, or a setting requires `window_bp`.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let named = [("window_bp", self.window_bp), ("stride_bp", self.stride_bp), ("max_windows", self.max_windows)];
        for (name, value) in named {
            if value == Some(0) {
                return Err(ConfigError::new(name, 0, "it must be at least 1"));
            }
            if let (None, Some(value)) = (self.window_bp, value) {
                return Err(ConfigError::new(name, value, "it needs window_bp, which is not set"));
            }
        }
        match (self.stride_bp, self.window_bp) {
            (Some(stride), Some(window)) if stride > window => {
                let reason = format!("it must be at most window_bp = {window}, or bases between windows go unseen");
                Err(ConfigError::new("stride_bp", stride, reason))
            }
            _ => Ok(()),
        }
    }

    /// The windows of a read of `num_bases` bases, from left to right: at least one, mirror images of each other about
    /// the middle of the read. The middle one of an odd number is one base longer if it could not be centred otherwise.
    pub fn windows(&self, num_bases: usize) -> Vec<Range<usize>> {
        let window = match self.window_bp {
            Some(window) if (window as usize) < num_bases => window as usize,
            _ => return once(0..num_bases).collect(),
        };
        let stride = self.stride_bp.map_or(window, |stride| stride as usize).max(1);
        let slack = num_bases - window;
        let number = (1 + slack.div_ceil(stride)).min(self.max_windows.map_or(usize::MAX, |most| most as usize));
        // Rounded to the nearest base; for a mirror image, by the same amount the other way.
        let start = |i: usize| {
            let (steps, total) = (2 * (number as u128 - 1), 2 * i as u128 * slack as u128);
            ((total + steps / 2) / steps) as usize
        };
        let place = |i: usize| {
            let mirror = number - 1 - i;
            match i.cmp(&mirror) {
                Ordering::Less => start(i)..start(i) + window,
                Ordering::Equal => slack / 2..slack.div_ceil(2) + window,
                Ordering::Greater => slack - start(mirror)..slack - start(mirror) + window,
            }
        };
        (0..number).map(place).collect()
    }
}

/// The views of reads for embedding. Every read is a separate sample, even if it is a mate.
pub struct ReadViews {
    reads: Arc<dyn Reads>,
    config: EmbedConfig,
    maker: ViewMaker,
}

impl ReadViews {
    /// The views of `reads`.
    ///
    /// # Errors
    /// If a setting is invalid.
    pub fn new(
        reads: Arc<dyn Reads>,
        config: EmbedConfig,
        representation: &Representation,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { reads, config, maker: ViewMaker::new(representation)? })
    }
}

impl ViewSource for ReadViews {
    fn len(&self) -> usize {
        self.reads.len()
    }

    fn view_shape(&self) -> ViewShape {
        self.maker.shape()
    }

    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
        let sequence = self.reads.sequence(index)?;
        let windows = self.config.windows(sequence.len());
        Ok(windows.into_iter().map(|window| self.maker.of_sequence(sequence, window)).collect())
    }

    fn symmetries(&self) -> Vec<String> {
        vec!["reverse complement".into()]
    }

    /// The windows of the reverse complement are in the order of their mirror images in [`Self::views`], so that means
    /// over them are rounded alike.
    fn transformed(&self, index: usize, symmetry: usize) -> Result<Vec<View>, DatasetError> {
        assert_eq!(symmetry, 0, "reads have one symmetry");
        let mut codes = self.reads.sequence(index)?.to_codes();
        reverse_complement_codes(&mut codes);
        let windows = self.config.windows(codes.len());
        Ok(windows.into_iter().rev().map(|window| self.maker.of_codes(&codes[window])).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryReads, PackedSequence, Read, kmer::KmerTransform};
    use proptest::prelude::*;

    fn config() -> impl Strategy<Value = EmbedConfig> {
        (1u32..60, prop::option::of(1u32..60), prop::option::of(1u32..6)).prop_map(|(window, stride, max_windows)| {
            let stride_bp = stride.map(|stride| stride.min(window));
            EmbedConfig { window_bp: Some(window), stride_bp, max_windows }
        })
    }

    fn views(codes: &[u8], config: EmbedConfig, representation: &Representation) -> ReadViews {
        let sequence = PackedSequence::from_codes(codes).unwrap();
        let reads = MemoryReads::new(vec![Read { sequence, ..Read::default() }]);
        ReadViews::new(Arc::new(reads), config, representation).unwrap()
    }

    proptest! {
        #[test]
        fn windows_are_mirror_images(config in config(), num_bases in 0usize..500) {
            prop_assert!(config.validate().is_ok());
            let windows = config.windows(num_bases);
            let mirrored: Vec<_> = windows.iter().rev().map(|w| num_bases - w.end..num_bases - w.start).collect();
            prop_assert_eq!(&mirrored, &windows);
            let window = config.window_bp.unwrap() as usize;
            prop_assert!(windows.iter().all(|w| w.end <= num_bases));
            if num_bases > window {
                prop_assert!(windows.iter().all(|w| w.len() == window || w.len() == window + 1));
            } else {
                prop_assert_eq!((windows.len(), &windows[0]), (1, &(0..num_bases)));
            }
            match config.max_windows {
                Some(most) => prop_assert!(windows.len() <= most as usize),
                None => {
                    // Every base is covered, and starts are no further apart than requested.
                    prop_assert_eq!((windows[0].start, windows[windows.len() - 1].end), (0, num_bases));
                    let stride = config.stride_bp.unwrap_or(window as u32) as usize;
                    for pair in windows.windows(2) {
                        prop_assert!(pair[1].start <= pair[0].end);
                        prop_assert!(pair[1].start - pair[0].start <= stride);
                    }
                }
            }
        }

        #[test]
        fn the_other_strand_gives_the_same_profiles(
            codes in proptest::collection::vec(prop_oneof![30 => 0u8..4, 1 => Just(CODE_N)], 0..300), config in config(),
        ) {
            let kmers = Representation::Kmers(KmerConfig { ks: vec![3], ..KmerConfig::default() });
            let views = views(&codes, config, &kmers);
            prop_assert_eq!(views.views(0).unwrap(), views.transformed(0, 0).unwrap());
        }

        #[test]
        fn tokens_of_the_other_strand_are_the_complement(
            codes in proptest::collection::vec(0u8..5, 1..300), config in config(),
        ) {
            let views = views(&codes, config, &Representation::Tokens);
            let ids = |views: Vec<View>| views.into_iter().map(|view| match view {
                View::Tokens { ids, .. } => ids,
                other => panic!("{other:?}"),
            }).collect::<Vec<_>>();
            let complement = |ids: &Vec<i32>| ids.iter().rev().map(|&id| if id == 4 { 4 } else { 3 - id }).collect();
            let expected: Vec<Vec<i32>> = ids(views.views(0).unwrap()).iter().map(complement).collect();
            prop_assert_eq!(ids(views.transformed(0, 0).unwrap()), expected);
        }
    }

    // By hand: 25 bases in windows of 10, stride 10: slack 15 in 2 steps, the middle window takes one more base.
    #[test]
    fn windows_by_hand() {
        let config = |stride_bp, max_windows| EmbedConfig { window_bp: Some(10), stride_bp, max_windows };
        assert_eq!(config(None, None).windows(25), [0..10, 7..18, 15..25]);
        assert_eq!(config(Some(5), None).windows(25), [0..10, 5..15, 10..20, 15..25]);
        assert_eq!(config(None, Some(2)).windows(25), [0..10, 15..25]);
        let only = |config: EmbedConfig| {
            let windows = config.windows(25);
            assert_eq!(windows.len(), 1);
            windows[0].clone()
        };
        assert_eq!(only(config(None, Some(1))), 7..18);
        assert_eq!(only(EmbedConfig::default()), 0..25);
        // As long as a read can be, without overflow.
        let longest = config(Some(1), Some(3)).windows(u32::MAX as usize);
        assert_eq!(longest[2], u32::MAX as usize - 10..u32::MAX as usize);
    }

    #[test]
    fn an_empty_read_has_a_view() {
        let config = EmbedConfig { window_bp: Some(10), ..EmbedConfig::default() };
        let tokens = views(&[], config, &Representation::Tokens);
        assert_eq!(tokens.views(0).unwrap(), [View::tokens(vec![4])]);
        assert_eq!(tokens.transformed(0, 0).unwrap(), [View::tokens(vec![4])]);
        let kmers = views(&[], config, &Representation::default());
        assert_eq!(kmers.views(0).unwrap(), [View::features(vec![0.0; 2080])]);
        assert_eq!(kmers.view_shape(), ViewShape::Dense(vec![2080]));
    }

    #[test]
    fn impossible_settings_are_refused() {
        let error = |window_bp, stride_bp, max_windows| {
            EmbedConfig { window_bp, stride_bp, max_windows }.validate().unwrap_err().to_string()
        };
        assert_eq!(error(Some(0), None, None), "window_bp = 0: it must be at least 1");
        assert_eq!(error(None, None, Some(4)), "max_windows = 4: it needs window_bp, which is not set");
        assert!(error(Some(10), Some(11), None).starts_with("stride_bp = 11: it must be at most window_bp = 10"));
    }

    #[test]
    fn recipe_syntax() {
        let parse = |text: &str| toml::from_str::<Representation>(text).map_err(|error| error.to_string());
        assert_eq!(parse("type = 'tokens'"), Ok(Representation::Tokens));
        assert_eq!(parse("type = 'kmers'"), Ok(Representation::default()));
        let kmers = Representation::Kmers(KmerConfig { ks: vec![4, 6], transform: KmerTransform::Clr });
        assert_eq!(parse("type = 'kmers'\nks = [4, 6]\ntransform = 'clr'"), Ok(kmers.clone()));
        assert!(parse("type = 'tokens'\nks = [4]").unwrap_err().contains("ks"));
        assert!(parse("type = 'kmers'\nk = 4").unwrap_err().contains("unknown field `k`"));
        for representation in [kmers, Representation::Tokens] {
            assert_eq!(parse(&toml::to_string(&representation).unwrap()), Ok(representation));
        }
    }
}
