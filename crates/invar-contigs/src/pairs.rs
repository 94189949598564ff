//! Views of one contig that count as the same: the contig as a whole, and random fragments of it (Wang et al.,
//! *COMEBin*, 2024), the depth of each drawn anew as if the samples had been sequenced once more.
//!
//! ```text
//! contig     |-----------------------------------------|    depth 8.1  3.0
//! view 1     |=========================================|          8.2  2.9
//! view 2        |==============|                                  7.6  3.3     shorter, so less certain
//! view 3                    |===================|                 8.4  2.7
//! ```
//! With `[source.view.graph]` each view is shown with the contigs around it in the assembly graph, as wholes, and with other
//! edges left out.
//!
//! A fragment is shorter than its contig by a tenth at least, so that no two views are the same even of a contig that is
//! hardly longer than the shortest fragment.

use std::{
    fmt::Write,
    ops::Range,
    sync::{Arc, OnceLock},
};

use invar_bases::{ConfigError, kmer::KmerSums};
use invar_dataset::{
    DatasetError, NodeFeatures, Pair, PairSource, Related, SampleId, SampleName, View, ViewShape,
    neighborhood::{Look, NeighborRole, OutOfRange, check_left_out, seed_of_view},
    seed::{self, Rng, mix},
};
use serde::{Deserialize, Serialize};

use crate::{
    ContigDataset, Depth, FeatureConfig, draw,
    surroundings::Wholes,
    views::{AssemblyView, Features, NO_GRAPH, shape},
};

/// Views of a contig, at most.
const MOST_VIEWS: usize = 32;

/// How views of a contig are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContigPairsConfig {
    /// Views of a contig: the first is the whole, the others are fragments. 2 to 32.
    pub views: usize,
    /// Shortest fragment. Of a contig of less than twice this, half of the contig.
    pub min_fragment_bp: u32,
    /// Whether the depth of each view is drawn anew, by the number of reads that it was measured on.
    pub redraw_depth: bool,
    /// The fraction of the edges of the assembly graph that are left out of each view, in `[0, 0.95]`.
    pub drop_edges: f64,
    /// What the neighbours of a contig in the assembly graph are to it, where they are in the same batch.
    pub neighbors: NeighborRole,
    /// How much a neighbour counts beside the contig itself, if neighbours are positives.
    pub neighbor_weight: f32,
}

impl Default for ContigPairsConfig {
    fn default() -> Self {
        Self {
            views: 6,
            min_fragment_bp: 1000,
            redraw_depth: true,
            drop_edges: 0.3,
            neighbors: NeighborRole::Negatives,
            neighbor_weight: 1.0,
        }
    }
}

/// Draws views of contigs.
///
/// Memory: at most half a byte a base for each k, once every contig was drawn; with a graph, 4 bytes a feature of each contig
/// as well.
pub struct ContigPairs {
    contigs: Arc<ContigDataset>,
    /// Of each contig, from its first pair on.
    sums: Vec<OnceLock<Option<KmerSums>>>,
    wholes: Wholes,
    graph: Option<AssemblyView>,
    config: ContigPairsConfig,
}

/// Part of the identity of what is a view of a contig, and not the contig as its neighbours see it.
const PART: u64 = 0x70_6172;

/// A view, before it is turned into features.
#[derive(Clone, Debug, PartialEq)]
struct Drawn {
    range: Range<usize>,
    depths: Vec<Depth>,
}

impl ContigPairs {
    /// Pairs of `contigs`.
    ///
    /// # Errors
    /// If a setting is invalid.
    pub fn new(
        contigs: Arc<ContigDataset>,
        config: &ContigPairsConfig,
        features: &FeatureConfig,
    ) -> Result<Self, ConfigError> {
        let of_contigs = Features::new(features, contigs.samples().len()).map_err(|error| error.within("view"))?;
        features.check_graph(&contigs).map_err(|error| error.within("view"))?;
        let refuse =
            |setting, found: String, reason: &str| Err(ConfigError::new(setting, found, reason).within("pairs"));
        if !(2..=MOST_VIEWS).contains(&config.views) {
            return refuse("views", config.views.to_string(), "2 to 32");
        }
        if config.min_fragment_bp == 0 {
            return refuse("min_fragment_bp", "0".into(), "at least 1");
        }
        if let Err(OutOfRange { key, expected, found }) = check_left_out("drop_edges", config.drop_edges) {
            return refuse(key, found, expected);
        }
        if !(config.neighbor_weight.is_finite() && config.neighbor_weight > 0.0) {
            return refuse("neighbor_weight", config.neighbor_weight.to_string(), "a number above 0");
        }
        if config.neighbors != NeighborRole::Negatives && !contigs.has_graph() {
            return refuse("neighbors", format!("{:?}", config.neighbors).to_lowercase(), NO_GRAPH);
        }
        let sums = (0..contigs.len()).map(|_| OnceLock::new()).collect();
        let wholes = Wholes::new(Arc::clone(&contigs), of_contigs);
        Ok(Self { contigs, sums, wholes, graph: features.graph.clone(), config: config.clone() })
    }

    /// What `pair(index, seed)` draws, in words.
    ///
    /// # Errors
    /// As `pair`.
    pub fn describe(&self, index: usize, pair_seed: u64) -> Result<String, DatasetError> {
        let mut text = format!("{}, {} bp", self.contigs.name(index)?, self.contigs.length_bp(index));
        for (view, drawn) in self.drawn(index, pair_seed).into_iter().enumerate() {
            let _ = write!(text, "\n  {:>9} to {:>9}", drawn.range.start + 1, drawn.range.end);
            if self.wholes.features().have_depth() {
                let depths: Vec<String> = drawn.depths.iter().map(|depth| format!("{:8.2}", depth.mean)).collect();
                let _ = write!(text, "  depth {}", depths.join(" "));
            }
            if let Some(graph) = &self.graph {
                let seen = graph.seen(&self.contigs, &self.look(graph, pair_seed, view), index, true);
                let _ = write!(text, "  beside {} contigs, {} edges", seen.nodes.len() - 1, seen.edge_index.len());
            }
        }
        if self.contigs.has_graph() {
            let _ = write!(text, "\n  {}", self.config.neighbors.in_words(self.related(index, pair_seed).len()));
        }
        text.push('\n');
        Ok(text)
    }

    fn look(&self, graph: &AssemblyView, pair_seed: u64, view: usize) -> Look {
        let (hops, fanout, drop_edges) = (graph.hops, graph.fanout, self.config.drop_edges);
        Look { hops, fanout, seed: seed_of_view(pair_seed, view), drop_edges }
    }

    /// A view of contig `index` with these features.
    fn view(&self, index: usize, features: Vec<f32>, pair_seed: u64, view: usize) -> Result<View, DatasetError> {
        let Some(graph) = &self.graph else { return Ok(View::features(features)) };
        let look = self.look(graph, pair_seed, view);
        let seen = graph.seen(&self.contigs, &look, index, true);
        let (num_features, mut rows) = (features.len(), features);
        for &node in &seen.nodes[1..] {
            rows.extend(self.wholes.of(node)?);
        }
        let mut nodes: Vec<u64> = seen.nodes.iter().map(|&node| mix(look.seed, node as u64)).collect();
        nodes[0] = mix(nodes[0], PART);
        Ok(View::Node(seen.surroundings(nodes, NodeFeatures::Dense(rows), num_features)))
    }

    fn related(&self, index: usize, pair_seed: u64) -> Vec<Related> {
        let (role, weight) = (self.config.neighbors, self.config.neighbor_weight);
        role.related(&*self.contigs, index, weight, pair_seed, |other| self.contigs.sample_id(other))
    }

    fn drawn(&self, index: usize, pair_seed: u64) -> Vec<Drawn> {
        let mut rng = seed::rng(pair_seed, index as u64);
        let length = self.contigs.length_bp(index) as usize;
        let depths: Vec<Depth> = self.contigs.depths(index).collect();
        let read_lengths: Vec<f32> = self.contigs.read_lengths(index).collect();
        let draw = |view: usize, rng: &mut Rng| {
            let range = if view == 0 { 0..length } else { fragment(length, self.config.min_fragment_bp as usize, rng) };
            let redrawn = |(&depth, &read_bp): (&Depth, &f32)| match self.config.redraw_depth {
                true => draw::redrawn(depth, range.len() as u32, read_bp, rng),
                false => depth,
            };
            let depths = depths.iter().zip(&read_lengths).map(redrawn).collect();
            Drawn { range, depths }
        };
        (0..self.config.views).map(|view| draw(view, &mut rng)).collect()
    }
}

/// A random stretch of a contig, shorter than it by a tenth at least.
fn fragment(length: usize, min_fragment_bp: usize, rng: &mut Rng) -> Range<usize> {
    let most = length - length.div_ceil(10);
    let least = min_fragment_bp.min(length / 2).min(most);
    let len = least + seed::below(most - least + 1, rng);
    let start = seed::below(length - len + 1, rng);
    start..start + len
}

impl PairSource for ContigPairs {
    fn len(&self) -> usize {
        self.contigs.len()
    }

    fn view_shapes(&self) -> Vec<ViewShape> {
        vec![shape(self.wholes.features().num_features(), self.graph.as_ref())]
    }

    fn pair(&self, index: usize, pair_seed: u64) -> Result<Pair, DatasetError> {
        let (sequence, features) = (self.contigs.sequence(index)?, self.wholes.features());
        let sums = self.sums[index].get_or_init(|| features.sums(sequence)).as_ref();
        let mut views = vec![];
        for (number, drawn) in self.drawn(index, pair_seed).into_iter().enumerate() {
            let values = features.of_stretch(sums, sequence, drawn.range, &drawn.depths);
            views.push(self.view(index, values, pair_seed, number)?);
        }
        Ok(Pair { related: self.related(index, pair_seed), ..Pair::of(self.contigs.sample_id(index), views) })
    }

    fn split_key(&self, index: usize) -> SampleId {
        self.contigs.sample_id(index)
    }

    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        self.contigs.sample_name(index)
    }
}

#[cfg(test)]
mod tests;
