use super::measure::Run;

/// Number of pixels whose centre lies in, or on, the convex hull of the edge midpoints of the pixels of `runs`, as
/// counted by `skimage.morphology.convex_hull_image`, but in exact arithmetic. `runs` are those of one region, by row.
pub(super) fn area_px(runs: &[Run]) -> u64 {
    let (mut left, mut right) = (Chain::default(), Chain::default());
    // Twice the coordinates, so that edge midpoints are integers; the right side is mirrored.
    for row in runs.chunk_by(|a, b| a.row == b.row) {
        let y = 2 * i64::from(row[0].row);
        let first = 2 * i64::from(row[0].start);
        let last = 2 * (i64::from(row[row.len() - 1].end) - 1);
        for (y, widen) in [(y - 1, 0), (y, 1), (y + 1, 0)] {
            left.push(y, first - widen);
            right.push(y, -(last + widen));
        }
    }
    let (Some(top), Some(bottom)) = (runs.first(), runs.last()) else { return 0 };
    let (mut left, mut right) = (left.walk(), right.walk());
    (top.row..=bottom.row)
        .map(|row| {
            let y = 2 * i64::from(row);
            (1 - right.first_column(y) - left.first_column(y)).max(0) as u64
        })
        .sum()
}

/// The lower hull of points `(y, x)` in order of increasing `y` (Andrew 1979).
#[derive(Default)]
struct Chain(Vec<(i64, i64)>);

impl Chain {
    fn push(&mut self, y: i64, x: i64) {
        // The line between two rows belongs to both: the outer point counts.
        if let Some(&(_, last_x)) = self.0.last().filter(|last| last.0 == y) {
            if x >= last_x {
                return;
            }
            self.0.pop();
        }
        while let [.., (y0, x0), (y1, x1)] = self.0[..]
            && (x1 - x0) * (y - y0) >= (x - x0) * (y1 - y0)
        {
            self.0.pop();
        }
        self.0.push((y, x));
    }

    fn walk(self) -> Walk {
        Walk { points: self.0, at: 0 }
    }
}

struct Walk {
    points: Vec<(i64, i64)>,
    at: usize,
}

impl Walk {
    /// First pixel column that is not left of the chain at doubled row `y`; `y` increases from call to call.
    fn first_column(&mut self, y: i64) -> i64 {
        while self.at + 2 < self.points.len() && self.points[self.at + 1].0 < y {
            self.at += 1;
        }
        let ((y0, x0), (y1, x1)) = (self.points[self.at], self.points[self.at + 1]);
        let (numerator, denominator) = (x0 * (y1 - y0) + (x1 - x0) * (y - y0), 2 * (y1 - y0));
        numerator.div_euclid(denominator) + i64::from(numerator.rem_euclid(denominator) > 0)
    }
}
