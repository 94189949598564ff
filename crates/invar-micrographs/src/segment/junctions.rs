//! Where grains meet: at the corners of three in a polycrystal, of four where lines cross.

use std::ops::Range;

use super::Window;

/// Side of the central part that is looked at, in pixels.
const MIDDLE_PX: usize = 2048;
/// Of the junctions of a polycrystal, about this many times the width of what counts as one junction over the size of a
/// grain (the root of its area) are of four grains: their edge between two corners is too short to be seen. Real and
/// synthetic micrographs have 0.5 to 2.8, noise 1, random scratches 3.2 and more.
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
    let Window { rows, columns } = Window::middle_of(width, labels.len() / width.max(1), MIDDLE_PX);
    let corners = corners(labels, width, &rows, &columns);
    let within = 2 * reach_px + 1;
    let mut clusters = Clusters::of(corners.len());
    for (number, corner) in corners.iter().enumerate() {
        // Corners come row by row.
        let above = corners[..number].partition_point(|other| other.row + within < corner.row);
        for (other, earlier) in (above..).zip(&corners[above..number]) {
            if earlier.column.abs_diff(corner.column) <= within {
                clusters.join(other, number);
            }
        }
    }
    let mut met: Vec<(usize, u32)> = Vec::with_capacity(4 * corners.len());
    for (number, corner) in corners.iter().enumerate() {
        let cluster = clusters.root(number);
        met.extend(corner.labels.iter().map(|&label| (cluster, label)));
    }
    met.sort_unstable();
    met.dedup();
    let (mut count, mut crossings) = (0, 0);
    for junction in met.chunk_by(|a, b| a.0 == b.0) {
        count += 1;
        crossings += usize::from(junction.len() >= 4);
    }
    let mut seen: Vec<u32> = rows.clone().flat_map(|row| &labels[row * width..][columns.clone()]).copied().collect();
    let area = seen.len();
    seen.sort_unstable();
    seen.dedup();
    let size_px = (area as f64 / seen.len().max(1) as f64).sqrt();
    Junctions { count, crossings, by_chance: BY_CHANCE * within as f64 / size_px.max(1.0) }
}

/// Two by two pixels of three labels or four.
struct Corner {
    row: usize,
    column: usize,
    labels: [u32; 4],
}

fn corners(labels: &[u32], width: usize, rows: &Range<usize>, columns: &Range<usize>) -> Vec<Corner> {
    let mut found = Vec::new();
    for row in rows.start..rows.end.saturating_sub(1) {
        for column in columns.start..columns.end.saturating_sub(1) {
            let at = row * width + column;
            let labels = [labels[at], labels[at + 1], labels[at + width], labels[at + width + 1]];
            let [a, b, c, d] = labels;
            let distinct =
                1 + usize::from(b != a) + usize::from(c != a && c != b) + usize::from(d != a && d != b && d != c);
            if distinct >= 3 {
                found.push(Corner { row, column, labels });
            }
        }
    }
    found
}

/// Disjoint sets of numbers, each under its smallest.
struct Clusters(Vec<usize>);

impl Clusters {
    fn of(len: usize) -> Self {
        Self((0..len).collect())
    }

    fn root(&mut self, mut number: usize) -> usize {
        while self.0[number] != number {
            self.0[number] = self.0[self.0[number]];
            number = self.0[number];
        }
        number
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
