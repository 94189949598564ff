//! Regions and the boundaries between them, as numbers: what merging needs to know of a picture.

use rayon::prelude::*;

/// Pixels processed at a time, in whole rows; the result does not depend on it.
const BAND_PX: usize = 1 << 18;

/// The boundary between two regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boundary {
    /// The regions, the smaller label first.
    pub regions: [u32; 2],
    /// Sum of the heights of its pairs of facing pixels; the height of a pair is the greater of the two.
    pub sum: u64,
    /// Sum of their squares; 0 if only the mean counts.
    pub squares: u64,
    /// Number of pairs: its length in the city-block metric.
    pub pairs: u64,
}

/// How the height of a boundary is computed from its pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeightOf {
    /// The height that nearly all of them reach.
    NearlyAll,
    /// Their mean.
    Mean,
}

/// How many standard deviations the height of a boundary lies below the mean of its pairs.
const BELOW_MEAN: f64 = 0.6;

impl Boundary {
    /// The height that nearly all of it reaches: the mean height of its pairs minus a fraction of their standard
    /// deviation, at least 0. A chain of needles and scratches has strong pairs and weak ones, while a boundary that
    /// merely varies has few weak ones. The mean, if squares were not summed.
    pub fn height(&self) -> f64 {
        let count = self.pairs as f64;
        let mean = self.sum as f64 / count;
        let variance = (self.squares as f64 / count - mean * mean).max(0.0);
        (mean - BELOW_MEAN * variance.sqrt()).max(0.0)
    }

    /// The same boundary combined with another part of it.
    pub fn with(self, more: Self) -> Self {
        Self { sum: self.sum + more.sum, squares: self.squares + more.squares, pairs: self.pairs + more.pairs, ..self }
    }
}

/// An over-segmentation of a picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BoundaryGraph {
    /// Pixels of each region, by label; none for 0, which is not a region.
    pub sizes: Vec<u64>,
    /// By the labels of their regions, each pair once.
    pub boundaries: Vec<Boundary>,
}

impl BoundaryGraph {
    /// The graph of `labels`, `1..=n`, row by row, with the height of each pixel. 0 has no boundary.
    pub fn new(labels: &[u32], width: usize, heights: &[u16], of: HeightOf) -> Self {
        let most = labels.par_iter().max().map_or(0, |&most| most as usize);
        Self::of_pixels(labels.len(), most + 1, |pixel| labels[pixel], width, heights, of)
    }

    /// The same after region `r` has become part of `into[r]`. Computed from the pixels again, because the graph itself
    /// takes more memory than they do.
    pub fn merged(labels: &[u32], into: &[u32], width: usize, heights: &[u16], of: HeightOf) -> Self {
        Self::of_pixels(labels.len(), into.len(), |pixel| into[labels[pixel] as usize], width, heights, of)
    }

    fn of_pixels(
        num_pixels: usize,
        num_labels: usize,
        label: impl Fn(usize) -> u32 + Sync,
        width: usize,
        heights: &[u16],
        of: HeightOf,
    ) -> Self {
        let mut sizes = vec![0u64; num_labels];
        (0..num_pixels).map(&label).filter(|&label| label != 0).for_each(|label| sizes[label as usize] += 1);
        if num_pixels == 0 {
            return Self { sizes, boundaries: Vec::new() };
        }
        let band_px = (BAND_PX / width).max(1) * width;
        let bands: Vec<Vec<Boundary>> = (0..num_pixels.div_ceil(band_px))
            .into_par_iter()
            .map(|band| {
                let mut found = Vec::new();
                for here in band * band_px..((band + 1) * band_px).min(num_pixels) {
                    let own = label(here);
                    let mut face = |other: usize| {
                        let others = label(other);
                        if others != own && others != 0 && own != 0 {
                            let height = u64::from(heights[here].max(heights[other]));
                            let regions = [others.min(own), others.max(own)];
                            let squares = if of == HeightOf::NearlyAll { height * height } else { 0 };
                            add(&mut found, Boundary { regions, sum: height, squares, pairs: 1 });
                        }
                    };
                    if !here.is_multiple_of(width) {
                        face(here - 1);
                    }
                    if here >= width {
                        face(here - width);
                    }
                }
                united(found)
            })
            .collect();
        let mut found = Vec::with_capacity(bands.iter().map(Vec::len).sum());
        // Each band is freed as soon as it is copied.
        bands.into_iter().for_each(|band| found.extend(band));
        Self { sizes, boundaries: united(found) }
    }

    /// The graph after region `r` has become part of `into[r]`, from this one.
    pub fn united_by(&self, into: &[u32]) -> Self {
        let mut sizes = vec![0u64; self.sizes.len()];
        self.sizes.iter().zip(into).for_each(|(size, &root)| sizes[root as usize] += size);
        let boundaries = self.boundaries.iter().map(|boundary| {
            let [a, b] = boundary.regions.map(|region| into[region as usize]);
            Boundary { regions: [a.min(b), a.max(b)], ..*boundary }
        });
        let left = boundaries.filter(|boundary| boundary.regions[0] != boundary.regions[1]).collect();
        Self { sizes, boundaries: united(left) }
    }

    /// Total length of the boundaries.
    pub fn total_pairs(&self) -> u64 {
        self.boundaries.iter().map(|boundary| boundary.pairs).sum()
    }
}

fn add(boundaries: &mut Vec<Boundary>, boundary: Boundary) {
    match boundaries.last_mut() {
        Some(last) if last.regions == boundary.regions => *last = last.with(boundary),
        _ => boundaries.push(boundary),
    }
}

/// Each pair of regions once, in order. Sums of integers: the order of `boundaries` does not matter.
fn united(mut boundaries: Vec<Boundary>) -> Vec<Boundary> {
    boundaries.sort_unstable_by_key(|boundary| boundary.regions);
    boundaries.dedup_by(|next, last| {
        let same = next.regions == last.regions;
        if same {
            *last = last.with(*next);
        }
        same
    });
    // Almost nothing is left of the pairs of pixels that these were.
    boundaries.shrink_to_fit();
    boundaries
}
