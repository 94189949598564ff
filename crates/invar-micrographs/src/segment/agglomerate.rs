//! Merges regions repeatedly across the weakest whole boundary.

mod around;

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use self::around::Around;
use super::boundary_graph::{Boundary, BoundaryGraph};

/// The merge of two regions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Merge {
    /// The boundary's height, or that of an earlier merge if higher: what must be allowed for this merge to happen.
    pub height: f64,
    /// A region from each side.
    pub regions: [u32; 2],
    /// Length of the removed boundary.
    pub pairs: u64,
}

/// All merges, weakest boundary first: always the two regions whose common boundary is lowest, until one is left of
/// each connected part. The height of a boundary that grows by a merge follows from exact sums, so that the order of
/// merging does not matter. Among equally high boundaries the one with the first pair of labels comes first. Nearly
/// linear in the number of boundaries.
pub(super) fn dendrogram(graph: BoundaryGraph) -> Vec<Merge> {
    let BoundaryGraph { sizes, boundaries } = graph;
    let limits = limits(&boundaries);
    let mut regions = Regions::new(sizes.len(), boundaries);
    let mut heap = BinaryHeap::new();
    let mut merges = Vec::with_capacity(sizes.len());
    let mut highest = 0.0f64;
    for limit in limits {
        let all = (0..regions.boundaries.len() as u32).filter(|&id| regions.is_closed[id as usize]);
        heap.extend(all.map(|id| regions.candidate(id)).filter(|candidate| candidate.height < limit).map(Reverse));
        while let Some(Reverse(candidate)) = heap.pop() {
            if !regions.is_current(&candidate) {
                continue;
            }
            let boundary = regions.boundaries[candidate.id as usize];
            highest = highest.max(boundary.height());
            merges.push(Merge { height: highest, regions: boundary.regions, pairs: boundary.pairs });
            regions.open(candidate.id, |changed| {
                if changed.height < limit {
                    heap.push(Reverse(changed));
                }
            });
        }
    }
    merges
}

/// Heights up to which boundaries are sorted at a time, ascending, with about as many boundaries between any two of
/// them: sorting all at once would take half as much memory as the boundaries themselves.
fn limits(boundaries: &[Boundary]) -> Vec<f64> {
    const TIMES: usize = 8;
    const LOOKED_AT: usize = 4_096;
    let some = boundaries.iter().step_by(boundaries.len() / LOOKED_AT + 1);
    let mut heights: Vec<f64> = some.map(Boundary::height).collect();
    heights.sort_unstable_by(f64::total_cmp);
    let mut limits: Vec<f64> = (1..TIMES).filter_map(|i| heights.get(i * heights.len() / TIMES).copied()).collect();
    limits.push(f64::INFINITY);
    limits
}

/// Root of each region if only merges below `height` are done: the smallest label of what it became part of.
pub(super) fn roots(num_labels: usize, merges: &[Merge], height: f64) -> Vec<u32> {
    let mut roots: Vec<u32> = (0..num_labels as u32).collect();
    for merge in merges.iter().take_while(|merge| merge.height < height) {
        let [a, b] = merge.regions.map(|region| root(&mut roots, region));
        roots[a.max(b) as usize] = a.min(b);
    }
    for region in 0..num_labels as u32 {
        roots[region as usize] = root(&mut roots, region);
    }
    roots
}

/// The height of the first merge at `floor` or above whose boundary is too short (see [`join_below`]); infinite if there
/// is none. `sizes` are those of the regions before any merge.
pub(super) fn first_too_short(
    mut sizes: Vec<u64>,
    merges: &[Merge],
    floor: f64,
    is_too_short: impl Fn(u64, u64) -> bool,
) -> f64 {
    let mut roots: Vec<u32> = (0..sizes.len() as u32).collect();
    for merge in merges {
        let [a, b] = merge.regions.map(|region| root(&mut roots, region));
        let [one, other] = [a, b].map(|region| sizes[region as usize]);
        if merge.height >= floor && is_too_short(merge.pairs, one.min(other)) {
            return merge.height;
        }
        roots[a.max(b) as usize] = a.min(b);
        sizes[a.min(b) as usize] = one + other;
    }
    f64::INFINITY
}

/// Root of each region of `graph` after merging as [`dendrogram`] does, only below `height` and never across a boundary
/// that is too short: `is_too_short` of its pairs and of the pixels of the smaller region. One that is too short must
/// stay so while regions grow; it counts again when another part of it is added.
pub(super) fn join_below(graph: BoundaryGraph, height: f64, is_too_short: impl Fn(u64, u64) -> bool) -> Vec<u32> {
    let BoundaryGraph { mut sizes, boundaries } = graph;
    let mut regions = Regions::new(sizes.len(), boundaries);
    let mut roots: Vec<u32> = (0..sizes.len() as u32).collect();
    let all = (0..regions.boundaries.len() as u32).map(|id| regions.candidate(id));
    let mut heap: BinaryHeap<_> = all.filter(|candidate| candidate.height < height).map(Reverse).collect();
    while let Some(Reverse(candidate)) = heap.pop() {
        if !regions.is_current(&candidate) {
            continue;
        }
        let Boundary { regions: [a, b], pairs, .. } = regions.boundaries[candidate.id as usize];
        let [one, other] = [a, b].map(|region| sizes[region as usize]);
        if is_too_short(pairs, one.min(other)) {
            continue;
        }
        let kept = regions.open(candidate.id, |changed| {
            if changed.height < height {
                heap.push(Reverse(changed));
            }
        });
        sizes[kept as usize] = one + other;
        let [a, b] = [a, b].map(|region| root(&mut roots, region));
        roots[a.max(b) as usize] = a.min(b);
    }
    for region in 0..roots.len() as u32 {
        roots[region as usize] = root(&mut roots, region);
    }
    roots
}

/// Root of each region of `graph` after those of fewer than `min_size_px` pixels, smallest first, have merged across
/// their lowest boundary. One without neighbours stays.
pub(super) fn join_small(graph: BoundaryGraph, min_size_px: u64) -> Vec<u32> {
    let BoundaryGraph { mut sizes, boundaries } = graph;
    let mut regions = Regions::new(sizes.len(), boundaries);
    let mut roots: Vec<u32> = (0..sizes.len() as u32).collect();
    let small = |(label, &size): (usize, &u64)| {
        (0 < size && size < min_size_px).then_some(Reverse((size, label as u32, label as u32)))
    };
    // By size, then by smallest label; the region for looking both up is a third number.
    let mut heap: BinaryHeap<_> = sizes.iter().enumerate().filter_map(small).collect();
    while let Some(Reverse((size, first, region))) = heap.pop() {
        if sizes[region as usize] != size || !regions.is_alive[region as usize] || root(&mut roots, region) != first {
            continue;
        }
        let around = regions.around[region as usize].boundaries();
        let Some(lowest) = around.map(|id| regions.candidate(id)).min() else { continue };
        let [a, b] = regions.boundaries[lowest.id as usize].regions;
        let kept = regions.open(lowest.id, |_| {});
        let size = sizes[a as usize] + sizes[b as usize];
        sizes[kept as usize] = size;
        let [a, b] = [a, b].map(|region| root(&mut roots, region));
        roots[a.max(b) as usize] = a.min(b);
        if size < min_size_px {
            heap.push(Reverse((size, a.min(b), kept)));
        }
    }
    for region in 0..roots.len() as u32 {
        roots[region as usize] = root(&mut roots, region);
    }
    roots
}

fn root(roots: &mut [u32], mut region: u32) -> u32 {
    while roots[region as usize] != region {
        let above = roots[roots[region as usize] as usize];
        roots[region as usize] = above;
        region = above;
    }
    region
}

/// A boundary in its state when it was queued. Ordered by height, then by number.
#[derive(Clone, Copy)]
struct Candidate {
    height: f64,
    id: u32,
    /// Number of pairs, modulo 2^32. It only grows, by less than that, so it shows whether the boundary is still the
    /// same.
    pairs: u32,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.height.total_cmp(&other.height).then(self.id.cmp(&other.id)).then(self.pairs.cmp(&other.pairs))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The remaining regions, each with its neighbours and the index of the boundary to each.
struct Regions {
    around: Vec<Around>,
    is_alive: Vec<bool>,
    boundaries: Vec<Boundary>,
    is_closed: Vec<bool>,
}

impl Regions {
    /// From `boundaries`, by the labels of their regions, which are below `num_labels`.
    fn new(num_labels: usize, boundaries: Vec<Boundary>) -> Self {
        let mut degrees = vec![0u32; num_labels];
        boundaries.iter().flat_map(|boundary| boundary.regions).for_each(|region| degrees[region as usize] += 1);
        let mut around: Vec<Around> = degrees.iter().map(|&degree| Around::with_capacity(degree as usize)).collect();
        for (boundary, id) in boundaries.iter().zip(0..) {
            let [a, b] = boundary.regions;
            around[a as usize].insert(b, id);
            around[b as usize].insert(a, id);
        }
        Self { around, is_alive: vec![true; num_labels], is_closed: vec![true; boundaries.len()], boundaries }
    }

    fn candidate(&self, id: u32) -> Candidate {
        let boundary = self.boundaries[id as usize];
        Candidate { height: boundary.height(), id, pairs: boundary.pairs as u32 }
    }

    /// Whether the boundary still exists unchanged.
    fn is_current(&self, candidate: &Candidate) -> bool {
        self.is_closed[candidate.id as usize] && self.boundaries[candidate.id as usize].pairs as u32 == candidate.pairs
    }

    /// Merges the two regions of a boundary, and reports boundaries that were combined as a result. Returns the
    /// remaining region.
    fn open(&mut self, id: u32, mut changed: impl FnMut(Candidate)) -> u32 {
        let [a, b] = self.boundaries[id as usize].regions;
        // The one with fewer neighbours is removed.
        let fewer = self.around[a as usize].len() < self.around[b as usize].len();
        let (kept, gone) = if fewer { (b, a) } else { (a, b) };
        self.is_closed[id as usize] = false;
        self.is_alive[gone as usize] = false;
        self.around[kept as usize].remove(gone);
        for (other, moved) in std::mem::take(&mut self.around[gone as usize]).into_pairs() {
            if other == kept {
                continue;
            }
            self.around[other as usize].remove(gone);
            let id = match self.around[kept as usize].get(other) {
                Some(there) => {
                    let (id, lost) = (moved.min(there), moved.max(there));
                    self.boundaries[id as usize] = self.boundaries[id as usize].with(self.boundaries[lost as usize]);
                    self.is_closed[lost as usize] = false;
                    changed(self.candidate(id));
                    id
                }
                None => moved,
            };
            self.boundaries[id as usize].regions = [kept.min(other), kept.max(other)];
            self.around[kept as usize].insert(other, id);
            self.around[other as usize].insert(kept, id);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::segment::boundary_graph::HeightOf;

    /// Labels `1..=n` of random rectangles, and a height per pixel.
    fn picture(width: usize, height: usize, cell: usize, seed: u64, levels: u64) -> (Vec<u32>, Vec<u16>) {
        let random = |i: u64| (i ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
        let across = width.div_ceil(cell);
        let of = |i: usize| (i / width / cell * across + i % width / cell) as u64;
        let mut numbers = BTreeMap::new();
        let mut labels = Vec::new();
        for i in 0..width * height {
            // Some cells are merged with the next.
            let name = of(i) / (1 + random(of(i)) % 2);
            let next = numbers.len() as u32 + 1;
            labels.push(*numbers.entry(name).or_insert(next));
        }
        let heights = (0..width * height).map(|i| (random(i as u64 + 99_991) % levels) as u16).collect();
        (labels, heights)
    }

    /// Heights of the pairs and first pair of labels of each boundary, recomputed from the pixels.
    fn count(labels: &[u32], first: &[u32], width: usize, heights: &[u16]) -> BTreeMap<[u32; 2], (Vec<f64>, [u32; 2])> {
        let mut found = BTreeMap::new();
        for here in 0..labels.len() {
            let left = (here % width > 0).then(|| here - 1);
            for other in left.into_iter().chain(here.checked_sub(width)) {
                let pair = |labels: &[u32]| [labels[here].min(labels[other]), labels[here].max(labels[other])];
                if labels[here] != labels[other] {
                    let entry = found.entry(pair(labels)).or_insert((Vec::new(), [u32::MAX; 2]));
                    entry.0.push(f64::from(heights[here].max(heights[other])));
                    entry.1 = entry.1.min(pair(first));
                }
            }
        }
        found
    }

    /// Mean less 0.6 of the standard deviation. The sums are of integers, so that their order does not matter.
    fn height(pairs: &[f64]) -> f64 {
        let mean = |of: fn(f64) -> f64| pairs.iter().map(|&pair| of(pair)).sum::<f64>() / pairs.len() as f64;
        let (level, square) = (mean(|pair| pair), mean(|pair| pair * pair));
        (level - 0.6 * (square - level * level).max(0.0).sqrt()).max(0.0)
    }

    fn lower(a: &(Vec<f64>, [u32; 2]), b: &(Vec<f64>, [u32; 2])) -> Ordering {
        height(&a.0).total_cmp(&height(&b.0)).then(a.1.cmp(&b.1))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Few levels of height, so that there are ties.
        #[test]
        fn merges_are_those_of_looking_at_all_pixels_each_time(
            width in 1usize..24, rows in 1usize..24, cell in 1usize..5, seed in any::<u64>(), levels in 1u64..12,
            at in 0.0f64..12.0,
        ) {
            let (first, heights) = picture(width, rows, cell, seed, levels);
            let graph = BoundaryGraph::new(&first, width, &heights, HeightOf::NearlyAll);
            let merges = dendrogram(graph.clone());
            let into = roots(graph.sizes.len(), &merges, at);
            let left = BoundaryGraph::merged(&first, &into, width, &heights, HeightOf::NearlyAll);
            prop_assert_eq!(left, graph.united_by(&into));
            let mut labels = first.clone();
            let mut highest = 0.0f64;
            for (done, merge) in merges.iter().enumerate() {
                let around = count(&labels, &first, width, &heights);
                let (regions, (pairs, _)) = around.iter().min_by(|a, b| lower(a.1, b.1)).unwrap();
                highest = highest.max(height(pairs));
                prop_assert_eq!(merge.height, highest, "merge {}", done);
                prop_assert_eq!(merge.pairs, pairs.len() as u64);
                let [a, b] = *regions;
                labels.iter_mut().filter(|label| **label == b).for_each(|label| *label = a);
                // All merges so far, and no others.
                let mut roots: Vec<u32> = (0..graph.sizes.len() as u32).collect();
                for merge in &merges[..=done] {
                    let [a, b] = merge.regions.map(|region| root(&mut roots, region));
                    roots[a.max(b) as usize] = a.min(b);
                }
                let found: Vec<u32> = first.iter().map(|&label| root(&mut roots, label)).collect();
                prop_assert_eq!(&found, &labels, "merge {}", done);
            }
            prop_assert!(count(&labels, &first, width, &heights).is_empty(), "something is left to merge");
            prop_assert_eq!(graph.total_pairs(), count(&first, &first, width, &heights).values().map(|c| c.0.len() as u64).sum::<u64>());
        }

        #[test]
        fn regions_join_below_a_height_but_not_across_short_boundaries(
            width in 1usize..20, rows in 1usize..20, cell in 1usize..5, seed in any::<u64>(), levels in 1u64..12,
            below in 0.0f64..12.0, short in prop_oneof![Just(0.0), 0.0f64..1.5],
        ) {
            let (first, heights) = picture(width, rows, cell, seed, levels);
            let graph = BoundaryGraph::new(&first, width, &heights, HeightOf::NearlyAll);
            let is_too_short = |pairs: u64, smaller: u64| (pairs as f64) < short * (smaller as f64).sqrt();
            let roots = join_below(graph.clone(), below, is_too_short);
            let found: Vec<u32> = first.iter().map(|&label| roots[label as usize]).collect();
            // The oracle: the lowest of all boundaries that may be removed, again and again.
            let mut labels = first.clone();
            loop {
                let mut sizes = BTreeMap::new();
                labels.iter().for_each(|&label| *sizes.entry(label).or_insert(0u64) += 1);
                let around = count(&labels, &first, width, &heights);
                let allowed = around.iter().filter(|([a, b], (pairs, _))| {
                    height(pairs) < below && !is_too_short(pairs.len() as u64, sizes[a].min(sizes[b]))
                });
                let Some([a, b]) = allowed.min_by(|a, b| lower(a.1, b.1)).map(|(pair, _)| *pair) else { break };
                labels.iter_mut().filter(|label| **label == b).for_each(|label| *label = a);
            }
            prop_assert_eq!(&found, &labels);
            // Up to the first that is refused, they are the merges of the dendrogram.
            let merges = dendrogram(graph.clone());
            let first = first_too_short(graph.sizes.clone(), &merges, 0.0, is_too_short);
            if first >= below {
                prop_assert_eq!(roots, self::roots(graph.sizes.len(), &merges, below));
            }
        }

        #[test]
        fn small_regions_join_across_their_lowest_boundary(
            width in 1usize..20, rows in 1usize..20, cell in 1usize..5, seed in any::<u64>(), least in 0u64..80,
        ) {
            let (first, heights) = picture(width, rows, cell, seed, 5);
            let graph = BoundaryGraph::new(&first, width, &heights, HeightOf::NearlyAll);
            let roots = join_small(graph, least);
            let found: Vec<u32> = first.iter().map(|&label| roots[label as usize]).collect();
            // The oracle: the smallest region, its lowest boundary, again and again.
            let mut labels = first.clone();
            loop {
                let mut sizes = BTreeMap::new();
                labels.iter().for_each(|&label| *sizes.entry(label).or_insert(0u64) += 1);
                let around = count(&labels, &first, width, &heights);
                let joined = |label: u32| around.keys().any(|pair| pair.contains(&label));
                let small = sizes.iter().filter(|(label, size)| **size < least && joined(**label));
                let Some((&smallest, _)) = small.min_by_key(|(label, size)| (**size, **label)) else { break };
                let own = around.iter().filter(|(pair, _)| pair.contains(&smallest));
                let [a, b] = own.min_by(|a, b| lower(a.1, b.1)).map(|(pair, _)| *pair).unwrap();
                labels.iter_mut().filter(|label| **label == b).for_each(|label| *label = a);
            }
            prop_assert_eq!(found, labels);
        }
    }
}
