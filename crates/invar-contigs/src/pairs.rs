//! Views of one contig that count as the same: the contig as a whole, and random fragments of it (Wang et al.,
//! *COMEBin*, 2024), the depth of each drawn anew as if the samples had been sequenced once more.
//!
//! ```text
//! contig     |-----------------------------------------|    depth 8.1  3.0
//! view 1     |=========================================|          8.2  2.9
//! view 2        |==============|                                  7.6  3.3     shorter, so less certain
//! view 3                    |===================|                 8.4  2.7
//! ```
//! A fragment is shorter than its contig by a tenth at least, so that no two views are the same even of a contig that is
//! hardly longer than the shortest fragment.

use std::{
    fmt::Write,
    ops::Range,
    sync::{Arc, OnceLock},
};

use invar_bases::{ConfigError, kmer::KmerSums};
use invar_dataset::{
    DatasetError, Pair, PairSource, SampleId, SampleName, ViewShape,
    seed::{self, Rng},
};
use serde::{Deserialize, Serialize};

use crate::{ContigDataset, Depth, FeatureConfig, draw, views::Features};

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
}

impl Default for ContigPairsConfig {
    fn default() -> Self {
        Self { views: 6, min_fragment_bp: 1000, redraw_depth: true }
    }
}

/// Draws views of contigs.
///
/// Memory: at most half a byte a base for each k, once every contig was drawn.
pub struct ContigPairs {
    contigs: Arc<ContigDataset>,
    /// Of each contig, from its first pair on.
    sums: Vec<OnceLock<Option<KmerSums>>>,
    features: Features,
    config: ContigPairsConfig,
}

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
        let features = Features::new(features, contigs.samples().len()).map_err(|error| error.within("view"))?;
        let refuse =
            |setting, found: String, reason: &str| Err(ConfigError::new(setting, found, reason).within("pairs"));
        if !(2..=MOST_VIEWS).contains(&config.views) {
            return refuse("views", config.views.to_string(), "2 to 32");
        }
        if config.min_fragment_bp == 0 {
            return refuse("min_fragment_bp", "0".into(), "at least 1");
        }
        let sums = (0..contigs.len()).map(|_| OnceLock::new()).collect();
        Ok(Self { contigs, sums, features, config: config.clone() })
    }

    /// What `pair(index, seed)` draws, in words.
    ///
    /// # Errors
    /// As `pair`.
    pub fn describe(&self, index: usize, pair_seed: u64) -> Result<String, DatasetError> {
        let mut text = format!("{}, {} bp", self.contigs.name(index)?, self.contigs.length_bp(index));
        for drawn in self.drawn(index, pair_seed) {
            let _ = write!(text, "\n  {:>9} to {:>9}", drawn.range.start + 1, drawn.range.end);
            if self.features.have_depth() {
                let depths: Vec<String> = drawn.depths.iter().map(|depth| format!("{:8.2}", depth.mean)).collect();
                let _ = write!(text, "  depth {}", depths.join(" "));
            }
        }
        Ok(text)
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
        vec![self.features.shape()]
    }

    fn pair(&self, index: usize, pair_seed: u64) -> Result<Pair, DatasetError> {
        let sequence = self.contigs.sequence(index)?;
        let views = self.drawn(index, pair_seed).into_iter();
        let sums = self.sums[index].get_or_init(|| self.features.sums(sequence)).as_ref();
        let views = views.map(|drawn| self.features.of_stretch(sums, sequence, drawn.range, &drawn.depths));
        Ok(Pair::of(self.contigs.sample_id(index), views))
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
