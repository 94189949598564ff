//! Regions and the boundaries between them, as numbers: what merging needs of a picture.

use rayon::prelude::*;

/// Rows that are looked through at a time; what comes out does not depend on it.
const BAND_ROWS: usize = 256;

/// The boundary of two regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boundary {
    /// The regions, the smaller label first.
    pub regions: [u32; 2],
    /// Sum of the heights of its pairs of facing pixels, the height of a pair being the greater of the two.
    pub sum: u64,
    /// How many pairs: its length in the city-block metric.
    pub pairs: u64,
}

impl Boundary {
    /// Mean height.
    pub fn height(&self) -> f64 {
        self.sum as f64 / self.pairs as f64
    }
}

/// An over-segmentation of a picture.
#[derive(Clone, Debug)]
pub(super) struct BoundaryGraph {
    /// Pixels of each region, by label; of 0, which is no region, none.
    pub sizes: Vec<u64>,
    /// By the labels of their regions, each pair once.
    pub boundaries: Vec<Boundary>,
}

impl BoundaryGraph {
    /// Of `labels`, `1..=n`, row by row, and the height of each pixel. 0 has no boundary.
    pub fn new(labels: &[u32], width: usize, heights: &[u16]) -> Self {
        let most = labels.par_iter().max().map_or(0, |&most| most as usize);
        let mut sizes = vec![0u64; most + 1];
        labels.iter().filter(|&&label| label != 0).for_each(|&label| sizes[label as usize] += 1);
        if labels.is_empty() {
            return Self { sizes, boundaries: Vec::new() };
        }
        let bands: Vec<Vec<Boundary>> = labels
            .par_chunks(BAND_ROWS * width)
            .enumerate()
            .map(|(band, chunk)| {
                let first = band * BAND_ROWS * width;
                let mut found = Vec::new();
                for (offset, &label) in chunk.iter().enumerate() {
                    let here = first + offset;
                    let mut face = |other: usize| {
                        if labels[other] != label && labels[other] != 0 && label != 0 {
                            let height = heights[here].max(heights[other]);
                            add(&mut found, [labels[other], label], u64::from(height), 1);
                        }
                    };
                    if here % width > 0 {
                        face(here - 1);
                    }
                    if here >= width {
                        face(here - width);
                    }
                }
                united(found)
            })
            .collect();
        Self { sizes, boundaries: united(bands.into_iter().flatten().collect()) }
    }

    /// The graph in which region `r` has become part of `into[r]`.
    pub fn united_by(&self, into: &[u32]) -> Self {
        let mut sizes = vec![0u64; self.sizes.len()];
        self.sizes.iter().zip(into).for_each(|(size, &root)| sizes[root as usize] += size);
        let mut left = Vec::new();
        for boundary in &self.boundaries {
            let regions = boundary.regions.map(|region| into[region as usize]);
            if regions[0] != regions[1] {
                add(&mut left, regions, boundary.sum, boundary.pairs);
            }
        }
        Self { sizes, boundaries: united(left) }
    }

    /// Length of all boundaries.
    pub fn total_pairs(&self) -> u64 {
        self.boundaries.iter().map(|boundary| boundary.pairs).sum()
    }
}

fn add(boundaries: &mut Vec<Boundary>, [a, b]: [u32; 2], sum: u64, pairs: u64) {
    let regions = [a.min(b), a.max(b)];
    match boundaries.last_mut() {
        Some(last) if last.regions == regions => {
            last.sum += sum;
            last.pairs += pairs;
        }
        _ => boundaries.push(Boundary { regions, sum, pairs }),
    }
}

/// Each pair of regions once, in their order. Sums of whole numbers: the order of `boundaries` does not matter.
fn united(mut boundaries: Vec<Boundary>) -> Vec<Boundary> {
    boundaries.sort_unstable_by_key(|boundary| boundary.regions);
    boundaries.dedup_by(|next, last| {
        let same = next.regions == last.regions;
        if same {
            last.sum += next.sum;
            last.pairs += next.pairs;
        }
        same
    });
    boundaries
}
