use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use crate::{LabelMap, neighbors::neighbors};

/// Turns labels with fewer pixels than `min_size_px` into background and closes the gaps in the numbering. Labels are
/// `1..=n`.
pub(super) fn drop_small(labels: &mut [u32], min_size_px: u32) {
    let sizes = sizes(labels);
    let mut number = 0;
    let numbers: Vec<u32> = (0..sizes.len())
        .map(|label| {
            let kept = label > 0 && sizes[label] > 0 && sizes[label] >= u64::from(min_size_px);
            number += u32::from(kept);
            if kept { number } else { 0 }
        })
        .collect();
    labels.iter_mut().for_each(|label| *label = numbers[*label as usize]);
}

/// Merges each label with fewer pixels than `min_size_px`, smallest first, with the neighbour with which it shares the
/// longest boundary, and closes the gaps in the numbering. Labels are `1..=n`; one without neighbours stays.
pub(crate) fn merge_small(labels: &mut Vec<u32>, width: usize, min_size_px: u32) {
    let mut sizes = sizes(labels);
    let min = u64::from(min_size_px);
    if !sizes.iter().skip(1).any(|&size| size < min) {
        return;
    }
    let map = LabelMap { width, height: labels.len() / width, labels: std::mem::take(labels) };
    let mut shared: Vec<BTreeMap<u32, u64>> = vec![BTreeMap::new(); sizes.len()];
    for edge in neighbors(&map, 0) {
        shared[edge.a as usize].insert(edge.b, edge.boundary_px);
        shared[edge.b as usize].insert(edge.a, edge.boundary_px);
    }
    *labels = map.labels;
    let mut into: Vec<u32> = (0..sizes.len() as u32).collect();
    let mut small: BinaryHeap<Reverse<(u64, u32)>> = (1..sizes.len())
        .filter(|&label| sizes[label] < min)
        .map(|label| Reverse((sizes[label], label as u32)))
        .collect();
    while let Some(Reverse((size, label))) = small.pop() {
        if into[label as usize] != label || sizes[label as usize] != size {
            continue;
        }
        let longest = shared[label as usize].iter().max_by_key(|&(&other, &length)| (length, Reverse(other)));
        let Some((&target, _)) = longest else { continue };
        into[label as usize] = target;
        sizes[target as usize] += size;
        for (other, length) in std::mem::take(&mut shared[label as usize]) {
            shared[other as usize].remove(&label);
            if other != target {
                *shared[target as usize].entry(other).or_default() += length;
                *shared[other as usize].entry(target).or_default() += length;
            }
        }
        if sizes[target as usize] < min {
            small.push(Reverse((sizes[target as usize], target)));
        }
    }
    for label in 1..into.len() {
        let mut root = label as u32;
        while into[root as usize] != root {
            root = into[root as usize];
        }
        into[label] = root;
    }
    labels.iter_mut().for_each(|label| *label = into[*label as usize]);
    drop_small(labels, 0);
}

/// Pixels of each label, from 0.
fn sizes(labels: &[u32]) -> Vec<u64> {
    let most = labels.iter().max().map_or(0, |&most| most as usize);
    let mut sizes = vec![0u64; most + 1];
    labels.iter().for_each(|&label| sizes[label as usize] += 1);
    sizes
}
