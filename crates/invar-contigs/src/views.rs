//! What an encoder is shown of a contig: its composition, and its depth in each sample.
//!
//! ```text
//! [ canonical k-mer profile | ln(mean + 0.1) of each sample | ln(variance + 0.1) of each sample ]
//!                             ^ times depth_weight
//! ```
//! None of it depends on the strand.

use std::{ops::Range, sync::Arc};

use invar_bases::{
    ConfigError, PackedSlice,
    kmer::{KmerConfig, KmerProfiler, KmerSums, KmerTransform},
    packed::reverse_complement_codes,
};
use invar_dataset::{DatasetError, View, ViewShape, ViewSource};
use serde::{Deserialize, Serialize};

use crate::{ContigDataset, Depth};

/// What a depth of 0 is taken for, so that it has a logarithm: a read of 150 bases on 1,500.
const LEAST_DEPTH: f32 = 0.1;

/// Which features are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// Composition, and depth where the dataset has it.
    #[default]
    Both,
    /// Composition only.
    Composition,
    /// Depth only.
    Depth,
}

/// The features of a contig.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureConfig {
    /// Which of the two kinds.
    pub shown: Shown,
    /// The values of k of the profile, 1 to 8 each.
    pub ks: Vec<u8>,
    /// How counts of k-mers become features.
    pub transform: KmerTransform,
    /// What the logarithms of the depths are multiplied by, above 0. Features of a k-mer profile are many and those of depth
    /// few, but depth is known better: by default one of depth counts as much as six.
    pub depth_weight: f32,
}

impl Default for FeatureConfig {
    fn default() -> Self {
        Self { shown: Shown::Both, ks: vec![4], transform: KmerTransform::Clr, depth_weight: 6.0 }
    }
}

/// Turns contigs into features.
#[derive(Clone, Debug)]
pub(crate) struct Features {
    profiler: Option<KmerProfiler>,
    num_samples: usize,
    depth_weight: f32,
}

impl Features {
    /// Prepares the features of contigs with depth in `num_samples` samples.
    pub fn new(config: &FeatureConfig, num_samples: usize) -> Result<Self, ConfigError> {
        if !(config.depth_weight > 0.0 && config.depth_weight.is_finite()) {
            return Err(ConfigError::new("depth_weight", config.depth_weight, "a finite number above 0"));
        }
        if config.shown == Shown::Depth && num_samples == 0 {
            return Err(ConfigError::new(
                "shown",
                "\"depth\"",
                "the dataset has no depth: ingest with --bam or --depth",
            ));
        }
        let kmers = KmerConfig { ks: config.ks.clone(), transform: config.transform };
        let profiler = (config.shown != Shown::Depth).then(|| KmerProfiler::new(&kmers)).transpose()?;
        let num_samples = if config.shown == Shown::Composition { 0 } else { num_samples };
        Ok(Self { profiler, num_samples, depth_weight: config.depth_weight })
    }

    pub fn shape(&self) -> ViewShape {
        let num_kmers = self.profiler.as_ref().map_or(0, KmerProfiler::num_features);
        ViewShape::Dense(vec![num_kmers + 2 * self.num_samples])
    }

    /// Whether depth is among them.
    pub fn have_depth(&self) -> bool {
        self.num_samples > 0
    }

    /// What makes the features of many stretches of a contig cheap; `None` if its bases are not shown.
    pub fn sums(&self, sequence: PackedSlice<'_>) -> Option<KmerSums> {
        self.profiler.as_ref().map(|profiler| profiler.sums(sequence))
    }

    /// The features of a contig with these depths.
    fn of(&self, sequence: PackedSlice<'_>, depths: &[Depth]) -> View {
        let profile = self.profiler.as_ref().map(|profiler| profiler.profile(sequence, 0..sequence.len()));
        self.joined(profile, depths)
    }

    /// The features of a stretch of a contig, whose sums these are, with these depths.
    pub fn of_stretch(
        &self,
        sums: Option<&KmerSums>,
        sequence: PackedSlice<'_>,
        range: Range<usize>,
        depths: &[Depth],
    ) -> View {
        let profile =
            self.profiler.as_ref().zip(sums).map(|(profiler, sums)| profiler.profile_by(sums, sequence, range));
        self.joined(profile, depths)
    }

    /// The same of codes.
    fn of_codes(&self, codes: &[u8], depths: &[Depth]) -> View {
        self.joined(self.profiler.as_ref().map(|profiler| profiler.profile_codes(codes)), depths)
    }

    fn joined(&self, profile: Option<Vec<f32>>, depths: &[Depth]) -> View {
        let mut features = profile.unwrap_or_default();
        let logarithm = |value: f32| self.depth_weight * (value + LEAST_DEPTH).ln();
        let depths = &depths[..self.num_samples];
        features.extend(depths.iter().map(|depth| logarithm(depth.mean)));
        features.extend(depths.iter().map(|depth| logarithm(depth.variance)));
        View::features(features)
    }
}

/// The views of contigs for embedding: each as a whole, with its depth as it was measured.
pub struct ContigViews {
    contigs: Arc<ContigDataset>,
    features: Features,
}

impl ContigViews {
    /// The views of `contigs`.
    ///
    /// # Errors
    /// If a setting is invalid.
    pub fn new(contigs: Arc<ContigDataset>, config: &FeatureConfig) -> Result<Self, ConfigError> {
        let features = Features::new(config, contigs.samples().len()).map_err(|error| error.within("view"))?;
        Ok(Self { contigs, features })
    }
}

impl ViewSource for ContigViews {
    fn len(&self) -> usize {
        self.contigs.len()
    }

    fn view_shape(&self) -> ViewShape {
        self.features.shape()
    }

    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
        let (sequence, depths) = (self.contigs.sequence(index)?, self.contigs.depths(index).collect::<Vec<_>>());
        Ok(vec![self.features.of(sequence, &depths)])
    }

    fn symmetries(&self) -> Vec<String> {
        vec!["reverse complement".into()]
    }

    fn transformed(&self, index: usize, symmetry: usize) -> Result<Vec<View>, DatasetError> {
        assert_eq!(symmetry, 0, "contigs have one symmetry");
        let mut codes = self.contigs.sequence(index)?.to_codes();
        reverse_complement_codes(&mut codes);
        let depths: Vec<Depth> = self.contigs.depths(index).collect();
        Ok(vec![self.features.of_codes(&codes, &depths)])
    }
}
