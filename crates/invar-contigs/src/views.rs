//! What an encoder is shown of a contig: its composition, and its depth in each sample.
//!
//! ```text
//! [ canonical k-mer profile | ln(mean + 0.1) of each sample | ln(variance + 0.1) of each sample ]
//!                             ^ times depth_weight
//! ```
//! None of it depends on the strand. With `[source.view.graph]` it is shown these of the contigs around it in the assembly
//! graph as well.

use std::{ops::Range, sync::Arc};

use invar_bases::{
    ConfigError, PackedSlice,
    kmer::{KmerConfig, KmerProfiler, KmerSums, KmerTransform},
    packed::reverse_complement_codes,
};
use invar_dataset::{
    DatasetError, NodeFeatures, View, ViewShape, ViewSource,
    neighborhood::{GraphView, Look, MOST_RELATED, OutOfRange, Seen},
    seed::mix,
};
use serde::{Deserialize, Serialize};

use crate::{ContigDataset, Depth, surroundings::Wholes};

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
    /// How much is shown of the assembly graph around a contig; nothing if it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph: Option<AssemblyView>,
}

impl Default for FeatureConfig {
    fn default() -> Self {
        Self { shown: Shown::Both, ks: vec![4], transform: KmerTransform::Clr, depth_weight: 6.0, graph: None }
    }
}

/// How much is shown of the assembly graph around a contig (`[source.view.graph]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AssemblyView {
    /// From how many edges away information can reach the contig: at least the encoder's `depth`.
    pub hops: usize,
    /// Most neighbours of each contig in the views of training, drawn evenly anew for every batch.
    pub fanout: usize,
    /// How much each neighbour counts beside the contig itself, above 0.
    pub weight: f32,
}

impl Default for AssemblyView {
    fn default() -> Self {
        Self { hops: 2, fanout: 16, weight: 0.2 }
    }
}

impl AssemblyView {
    /// What is seen from contig `index`, or from a part of it.
    pub(crate) fn seen(&self, contigs: &ContigDataset, look: &Look, index: usize, is_part: bool) -> Seen {
        let mut seen = if is_part { look.at_part_of(contigs, index) } else { look.at(contigs, index) };
        seen.edge_weight.iter_mut().for_each(|weight| *weight *= self.weight);
        seen
    }
}

impl FeatureConfig {
    /// Checks that there is a graph where one is to be seen.
    pub(crate) fn check_graph(&self, contigs: &ContigDataset) -> Result<(), ConfigError> {
        let Some(view) = &self.graph else { return Ok(()) };
        let bad = |OutOfRange { key, expected, found }| ConfigError::new(format!("graph.{key}"), found, expected);
        GraphView { hops: view.hops, fanout: view.fanout }.check().map_err(bad)?;
        if !(view.weight > 0.0 && view.weight.is_finite()) {
            return Err(ConfigError::new("graph.weight", view.weight, "a finite number above 0"));
        }
        if contigs.has_graph() { Ok(()) } else { Err(ConfigError::new("graph", "set", NO_GRAPH)) }
    }

    /// The profile that is shown of the bases.
    pub(crate) fn kmers(&self) -> KmerConfig {
        KmerConfig { ks: self.ks.clone(), transform: self.transform }
    }
}

/// Why a graph cannot be seen.
pub(crate) const NO_GRAPH: &str = "the dataset has no assembly graph: ingest with --gfa, or give the file to `run`";

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
        let profiler = (config.shown != Shown::Depth).then(|| KmerProfiler::new(&config.kmers())).transpose()?;
        let num_samples = if config.shown == Shown::Composition { 0 } else { num_samples };
        Ok(Self { profiler, num_samples, depth_weight: config.depth_weight })
    }

    pub fn num_features(&self) -> usize {
        self.profiler.as_ref().map_or(0, KmerProfiler::num_features) + 2 * self.num_samples
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
    pub fn of(&self, sequence: PackedSlice<'_>, depths: &[Depth]) -> Vec<f32> {
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
    ) -> Vec<f32> {
        let profile =
            self.profiler.as_ref().zip(sums).map(|(profiler, sums)| profiler.profile_by(sums, sequence, range));
        self.joined(profile, depths)
    }

    /// The same of codes.
    fn of_codes(&self, codes: &[u8], depths: &[Depth]) -> Vec<f32> {
        self.joined(self.profiler.as_ref().map(|profiler| profiler.profile_codes(codes)), depths)
    }

    fn joined(&self, profile: Option<Vec<f32>>, depths: &[Depth]) -> Vec<f32> {
        let mut features = profile.unwrap_or_default();
        let logarithm = |value: f32| self.depth_weight * (value + LEAST_DEPTH).ln();
        let depths = &depths[..self.num_samples];
        features.extend(depths.iter().map(|depth| logarithm(depth.mean)));
        features.extend(depths.iter().map(|depth| logarithm(depth.variance)));
        features
    }
}

/// The shape of views of these features, with or without a graph around them.
pub(crate) fn shape(num_features: usize, graph: Option<&AssemblyView>) -> ViewShape {
    match graph {
        None => ViewShape::Dense(vec![num_features]),
        Some(graph) => ViewShape::Node { num_features, hops: graph.hops },
    }
}

/// The views of contigs for embedding: each as a whole, with its depth as it was measured, and with all that is around it
/// in the graph, up to 256 neighbours of each contig.
pub struct ContigViews {
    wholes: Wholes,
    graph: Option<AssemblyView>,
}

/// Decides which neighbours are seen of a contig with more than there may be.
const EMBED_SEED: u64 = 0x656d_6265;

impl ContigViews {
    /// The views of `contigs`.
    ///
    /// # Errors
    /// If a setting is invalid, or there is no graph to be seen.
    pub fn new(contigs: Arc<ContigDataset>, config: &FeatureConfig) -> Result<Self, ConfigError> {
        let features = Features::new(config, contigs.samples().len()).map_err(|error| error.within("view"))?;
        config.check_graph(&contigs).map_err(|error| error.within("view"))?;
        Ok(Self { wholes: Wholes::new(contigs, features), graph: config.graph.clone() })
    }

    fn view(&self, index: usize, of: &dyn Fn(usize) -> Result<Vec<f32>, DatasetError>) -> Result<View, DatasetError> {
        let Some(graph) = &self.graph else { return Ok(View::features(of(index)?)) };
        let look = Look { hops: graph.hops, fanout: MOST_RELATED, seed: EMBED_SEED, drop_edges: 0.0 };
        let seen = graph.seen(self.wholes.contigs(), &look, index, false);
        let mut rows = Vec::with_capacity(seen.nodes.len() * self.wholes.features().num_features());
        for &node in &seen.nodes {
            rows.extend(of(node)?);
        }
        let nodes = seen.nodes.iter().map(|&node| mix(EMBED_SEED, node as u64)).collect();
        Ok(View::Node(seen.surroundings(nodes, NodeFeatures::Dense(rows), self.wholes.features().num_features())))
    }
}

impl ViewSource for ContigViews {
    fn len(&self) -> usize {
        self.wholes.contigs().len()
    }

    fn view_shape(&self) -> ViewShape {
        shape(self.wholes.features().num_features(), self.graph.as_ref())
    }

    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
        // What is seen once need not be kept.
        let of =
            |node| if self.graph.is_some() { Ok(self.wholes.of(node)?.to_vec()) } else { self.wholes.computed(node) };
        Ok(vec![self.view(index, &of)?])
    }

    fn symmetries(&self) -> Vec<String> {
        vec!["reverse complement".into()]
    }

    /// The other strand of the contig and of all that are seen around it.
    fn transformed(&self, index: usize, symmetry: usize) -> Result<Vec<View>, DatasetError> {
        assert_eq!(symmetry, 0, "contigs have one symmetry");
        let contigs = self.wholes.contigs();
        let of_other_strand = |node: usize| {
            let mut codes = contigs.sequence(node)?.to_codes();
            reverse_complement_codes(&mut codes);
            let depths: Vec<Depth> = contigs.depths(node).collect();
            Ok(self.wholes.features().of_codes(&codes, &depths))
        };
        Ok(vec![self.view(index, &of_other_strand)?])
    }
}
