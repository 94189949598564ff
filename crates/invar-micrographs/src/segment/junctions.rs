//! Where grains meet: at the corners of three in a polycrystal, of four where lines cross.

use super::Window;
use crate::parts::Union;

/// Side of the central part that is looked at, in pixels.
const MIDDLE_PX: usize = 2048;
/// Of the junctions of a polycrystal, about this many times the width of what counts as one junction over the size of a
/// grain (the root of its area) are of four grains: their edge between two corners is too short to be seen. In micrographs
/// it is 0.5 to 2, in synthetic ones up to 2.8, in noise 1, and in 18 of 24 pictures of random scratches 3.3 and more.
const BY_CHANCE: f64 = 5.0 / 3.0;

/// The junctions of a label map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Junctions {
    /// How many there are.
    pub count: usize,
    /// At how many of them at least four grains meet.
    pub crossings: usize,
    /// The fraction of them at which four would meet in a polycrystal.
    pub by_chance: f64,
}

/// The junctions in the middle of a label map. Corners at most `2 reach_px + 1` pixels apart are one.
pub(super) fn junctions(labels: &[u32], width: usize, reach_px: usize) -> Junctions {
    let window = Window::middle_of(width, labels.len() / width.max(1), MIDDLE_PX);
    let corners = corners(labels, width, &window);
    let within = 2 * reach_px + 1;
    let mut joined = Union::default();
    for (number, corner) in corners.iter().enumerate() {
        joined.add();
        for row in corner.row.saturating_sub(within)..=corner.row {
            let first = (row, corner.column.saturating_sub(within));
            let from = corners[..number].partition_point(|other| (other.row, other.column) < first);
            let near = |other: &&Corner| other.row == row && other.column <= corner.column + within;
            let near = corners[from..number].iter().take_while(near).count();
            (from..from + near).for_each(|other| joined.join(other, number));
        }
    }
    let mut met: Vec<(u32, u32)> = joined
        .numbers()
        .into_iter()
        .zip(&corners)
        .flat_map(|(junction, corner)| corner.labels.map(|label| (junction, label)))
        .collect();
    met.sort_unstable();
    met.dedup();
    let (mut count, mut crossings) = (0, 0);
    for junction in met.chunk_by(|a, b| a.0 == b.0) {
        count += 1;
        crossings += usize::from(junction.len() >= 4);
    }
    let by_chance = BY_CHANCE * within as f64 / size_px(labels, width, &window);
    Junctions { count, crossings, by_chance }
}

/// The root of the mean area of the grains in a window.
fn size_px(labels: &[u32], width: usize, window: &Window) -> f64 {
    let row = |row: usize| &labels[row * width..][window.columns.clone()];
    let mut seen: Vec<u32> = window.rows.clone().flat_map(row).copied().collect();
    let area = seen.len();
    seen.sort_unstable();
    seen.dedup();
    (area as f64 / seen.len().max(1) as f64).sqrt().max(1.0)
}

/// Two by two pixels of three labels or four.
struct Corner {
    row: usize,
    column: usize,
    labels: [u32; 4],
}

/// Row by row.
fn corners(labels: &[u32], width: usize, window: &Window) -> Vec<Corner> {
    let mut found = Vec::new();
    for row in window.rows.start..window.rows.end.saturating_sub(1) {
        for column in window.columns.start..window.columns.end.saturating_sub(1) {
            let at = row * width + column;
            let [a, b, c, d] = [labels[at], labels[at + 1], labels[at + width], labels[at + width + 1]];
            let others = usize::from(b != a) + usize::from(c != a && c != b) + usize::from(d != a && d != b && d != c);
            if others >= 2 {
                found.push(Corner { row, column, labels: [a, b, c, d] });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Joins sets of corners until none is near another.
    fn by_hand(labels: &[u32], width: usize, reach_px: usize) -> (usize, usize) {
        let window = Window::middle_of(width, labels.len() / width, MIDDLE_PX);
        let mut sets: Vec<Vec<Corner>> =
            corners(labels, width, &window).into_iter().map(|corner| vec![corner]).collect();
        let within = 2 * reach_px + 1;
        let near = |a: &Corner, b: &Corner| a.row.abs_diff(b.row).max(a.column.abs_diff(b.column)) <= within;
        let pair = |sets: &[Vec<Corner>]| {
            let pairs = (0..sets.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
            pairs.into_iter().find(|&(a, b)| sets[a].iter().any(|one| sets[b].iter().any(|other| near(one, other))))
        };
        while let Some((a, b)) = pair(&sets) {
            let joined = sets.swap_remove(b);
            sets[a].extend(joined);
        }
        let met = |set: &Vec<Corner>| set.iter().flat_map(|corner| corner.labels).collect::<BTreeSet<u32>>().len();
        (sets.len(), sets.iter().filter(|set| met(set) >= 4).count())
    }

    proptest! {
        #[test]
        fn corners_that_are_near_are_one_junction(
            (width, labels) in (2usize..14, 2usize..14).prop_flat_map(|(width, height)| {
                (Just(width), proptest::collection::vec(prop_oneof![4 => Just(1u32), 1 => 2u32..5], width * height))
            }),
            reach_px in 0usize..3,
        ) {
            let found = junctions(&labels, width, reach_px);
            prop_assert_eq!((found.count, found.crossings), by_hand(&labels, width, reach_px));
        }
    }

    fn map(width: usize, height: usize, label: impl Fn(usize, usize) -> usize) -> Vec<u32> {
        (0..width * height).map(|i| 1 + label(i / width, i % width) as u32).collect()
    }

    #[test]
    fn squares_meet_in_fours_and_bricks_in_threes() {
        let squares = map(100, 80, |row, column| row / 20 * 5 + column / 20);
        let found = junctions(&squares, 100, 1);
        assert_eq!((found.count, found.crossings), (3 * 4, 3 * 4));
        assert!((found.by_chance - 5.0 / 20.0).abs() < 1e-9, "{found:?}");
        let bricks = map(100, 80, |row, column| row / 20 * 6 + (column + row / 20 % 2 * 10) / 20);
        let found = junctions(&bricks, 100, 1);
        assert_eq!((found.count, found.crossings), (3 * 9, 0));
        // Corners of a brick are ten pixels apart.
        assert_eq!(junctions(&bricks, 100, 5).crossings, 3);
    }

    #[test]
    fn what_has_no_corner_has_no_junction() {
        let (row, bands) = (map(50, 1, |_, column| column), map(9, 9, |row, _| row));
        for (labels, width) in [(vec![], 0), (vec![1], 1), (row.clone(), 50), (row, 1), (bands, 9)] {
            let found = junctions(&labels, width, 2);
            assert_eq!((found.count, found.crossings), (0, 0));
        }
    }
}
