//! The nearest rows of every row without comparing all pairs.
//!
//! ```text
//! rows -> cells of some hundred rows, by a coarse k-means -> the nearest within a row's nearest cells, by matrix products
//!      -> neighbours of neighbours, until few are better (NN-Descent, Dong, Moses and Li 2011)
//! ```
//! NN-Descent joins the neighbours of a row with each other and changes the lists of both, in whatever order the
//! threads run. Here a row looks at the neighbours of its neighbours as they were before the round and changes only its
//! own list, so that nothing depends on the threads. It begins with what the cells hold, which is most of it: products
//! of whole cells cost a tenth of single distances.

use invar_dataset::{Progress, check_memory, seed};
use rayon::prelude::*;

use super::{
    Base, Metric, Neighbors, SEED,
    cells::{CELL, Cells},
    insert,
};
use crate::{ClusterError, Rows, rows, sample};

/// A cell with more rows, for example from many equal rows, is cut into pieces that are treated as separate cells.
const LARGEST_CELL: usize = 4 * CELL;
/// Number of cells in which a row searches.
const PROBES: usize = 6;
/// Maximum number of neighbours, and of reverse neighbours, whose neighbours a row looks at.
const JOINED: usize = 20;
/// Maximum number of rounds.
const ROUNDS: usize = 8;
/// Rows whose exact neighbours are found too, to measure the recall.
const PROBED_ROWS: usize = 500;
/// Fraction of the true neighbours that is enough.
const ENOUGH: f64 = 0.985;
/// Fraction of the lists that must change in a round for another to follow.
const LEAST_CHANGE: f64 = 0.002;
/// Rows per task of a thread.
const CHUNK: usize = 256;

/// A neighbour: its score, its index, and whether it was found in the last round.
#[derive(Clone, Copy)]
struct Found {
    score: f32,
    row: u32,
    is_new: bool,
}

/// Peak memory of [`of_all`] beyond the rows, in bytes: the rows twice while they are reordered; then once, with two
/// generations of lists; and throughout, the order, the cells to search for each row, and the offsets of its lists.
pub(super) fn memory_bytes(num_rows: usize, dim: usize, k: usize) -> usize {
    const ROW: usize = 200;
    num_rows * ((2 * dim * size_of::<f32>()).max(dim * size_of::<f32>() + 3 * k * size_of::<Found>()) + ROW)
}

/// The `k` nearest of every row, approximately.
///
/// # Errors
/// If there is not enough memory, or the user cancels.
pub(super) fn of_all(
    data: Rows<'_>,
    k: usize,
    metric: Metric,
    progress: &dyn Progress,
) -> Result<Neighbors, ClusterError> {
    let (n, dim) = (data.len(), data.dim());
    let needed = memory_bytes(n, dim, k);
    let what = || format!("the {k} nearest of {n} rows of {dim} values");
    check_memory(needed, what, || "take a part of the rows, or fewer neighbours".into())?;
    progress.set_total((PROBES + ROUNDS) as u64);
    let cells = {
        let normalized = (metric == Metric::Cosine).then(|| data.normalized());
        Pieces::new(normalized.as_deref().unwrap_or(data.values()), dim)
    };
    // From here on a row's number is its place among the cells: what is near in space is near in memory.
    let mut values = data.gather(&cells.order);
    if metric == Metric::Cosine {
        values.par_chunks_mut(dim).for_each(rows::normalize);
    }
    let base = Base::new(&values, dim, metric);
    let mut lists: Vec<Vec<(f32, u32)>> = vec![Vec::with_capacity(k); n];
    for probe in 0..PROBES {
        if progress.is_cancelled() {
            return Err(ClusterError::Cancelled);
        }
        cells.search(&base, probe, k, &mut lists);
        progress.advance(1);
    }
    let mut graph = Lists::new(lists, k);
    let check = Check::new(&base, k);
    let mut recall = check.recall(&graph);
    for _ in 0..ROUNDS {
        if progress.is_cancelled() {
            return Err(ClusterError::Cancelled);
        }
        if recall >= ENOUGH {
            break;
        }
        let changed = graph.improve(&base);
        recall = check.recall(&graph);
        progress.advance(1);
        if (changed as f64) < LEAST_CHANGE * (n * k) as f64 {
            break;
        }
    }
    Ok(graph.finish(&base, &cells.order, recall))
}

/// The rows by cells that are no larger than [`LARGEST_CELL`], and the cells to search for each row.
struct Pieces {
    /// The rows, cell after cell.
    order: Vec<usize>,
    /// Where each cell begins in `order`, and where the last ends.
    starts: Vec<usize>,
    /// The cells to search for each place of `order`, its own first; `[n, probes]`.
    probes: Vec<u32>,
    num_probes: usize,
}

impl Pieces {
    fn new(values: &[f32], dim: usize) -> Self {
        let (cells, nearest) = Cells::new(values, dim, PROBES);
        let (n, num) = (cells.order.len(), cells.starts.len() - 1);
        let num_probes = PROBES.min(num);
        // The piece numbers of each cell.
        let (mut starts, mut pieces) = (vec![0], Vec::with_capacity(num));
        let mut own = vec![0u32; n];
        for cell in cells.starts.windows(2) {
            let members = &cells.order[cell[0]..cell[1]];
            let first = starts.len() as u32 - 1;
            let size = members.len().div_ceil(members.len().div_ceil(LARGEST_CELL).max(1)).max(1);
            for (at, piece) in members.chunks(size).enumerate() {
                piece.iter().for_each(|&row| own[row] = starts.len() as u32 - 1);
                starts.push(cell[0] + at * size + piece.len());
            }
            pieces.push(first..starts.len() as u32 - 1);
        }
        let probes = cells.order.iter().flat_map(|&row| {
            let others = nearest[row * num_probes..][1..num_probes].iter().map(|&cell| {
                let pieces = &pieces[cell as usize];
                // An empty cell is searched in vain.
                (pieces.start + row as u32 % pieces.len().max(1) as u32).min(starts.len() as u32 - 2)
            });
            std::iter::once(own[row]).chain(others).collect::<Vec<_>>()
        });
        let probes = probes.collect();
        Self { order: cells.order, starts, probes, num_probes }
    }

    /// Adds to the lists the contents of the `probe`-th cell of each row.
    fn search(&self, base: &Base<'_>, probe: usize, k: usize, lists: &mut [Vec<(f32, u32)>]) {
        if probe >= self.num_probes {
            return;
        }
        let mut asking: Vec<Vec<usize>> = vec![vec![]; self.starts.len() - 1];
        for (row, probes) in self.probes.chunks(self.num_probes).enumerate() {
            // Skip a cell that already replaced an empty one.
            if !probes[..probe].contains(&probes[probe]) {
                asking[probes[probe] as usize].push(row);
            }
        }
        let found: Vec<Vec<(f32, u32)>> = asking
            .par_iter()
            .enumerate()
            .map(|(cell, rows)| {
                let range = self.starts[cell]..self.starts[cell + 1];
                let first = range.start as u32;
                let asked: Vec<f32> = rows.iter().flat_map(|&row| base.row(row).iter().copied()).collect();
                let part = base.part(range);
                let own = |query: usize| rows[query].checked_sub(first as usize);
                let mut found = part.best(&asked, k, own);
                found.iter_mut().for_each(|found| found.1 += first);
                found
            })
            .collect();
        for (cell, (rows, found)) in asking.iter().zip(&found).enumerate() {
            let size = self.starts[cell + 1] - self.starts[cell];
            for (at, &row) in rows.iter().enumerate() {
                // The row itself does not count in its own cell.
                let of = k.min(size - usize::from(probe == 0));
                found[at * of..][..of].iter().for_each(|&(score, other)| insert(&mut lists[row], k, score, other));
            }
        }
    }
}

/// The lists of all rows, each of `k`, best first.
struct Lists {
    k: usize,
    found: Vec<Found>,
}

impl Lists {
    /// If a list is short, its row itself fills the missing entries, with the worst score.
    fn new(lists: Vec<Vec<(f32, u32)>>, k: usize) -> Self {
        let found = lists.into_iter().enumerate().flat_map(|(row, list)| {
            let missing = Found { score: f32::NEG_INFINITY, row: row as u32, is_new: false };
            let there = list.into_iter().map(|(score, row)| Found { score, row, is_new: true });
            there.chain(std::iter::repeat(missing)).take(k)
        });
        Self { k, found: found.collect() }
    }

    fn of(&self, row: usize) -> &[Found] {
        &self.found[row * self.k..][..self.k]
    }

    /// Up to [`JOINED`] rows that have each row in their lists, by its rank there; with whether it is new there.
    fn reversed(&self) -> (Vec<u8>, Vec<(u32, bool)>) {
        let n = self.found.len() / self.k;
        let (mut sizes, mut reversed) = (vec![0u8; n], vec![(0, false); n * JOINED]);
        for rank in 0..self.k.min(JOINED) {
            for row in 0..n {
                let found = &self.of(row)[rank];
                let (other, is_there) = (found.row as usize, found.score > f32::NEG_INFINITY);
                if is_there && usize::from(sizes[other]) < JOINED {
                    reversed[other * JOINED + usize::from(sizes[other])] = (row as u32, found.is_new);
                    sizes[other] += 1;
                }
            }
        }
        (sizes, reversed)
    }

    /// Looks at the neighbours of neighbours, and returns how many were better.
    fn improve(&mut self, base: &Base<'_>) -> usize {
        let (sizes, reversed) = self.reversed();
        let joined = self.k.min(JOINED);
        let n = sizes.len();
        let lists = &*self;
        let next: Vec<(Vec<Found>, usize)> = (0..n.div_ceil(CHUNK))
            .into_par_iter()
            .map(|chunk| {
                let rows = chunk * CHUNK..((chunk + 1) * CHUNK).min(n);
                let (mut next, mut changed) = (Vec::with_capacity(rows.len() * lists.k), 0);
                let (mut candidates, mut list) = (Vec::new(), Vec::with_capacity(lists.k + 1));
                for row in rows {
                    let own = lists.of(row);
                    candidates.clear();
                    let back = &reversed[row * JOINED..][..usize::from(sizes[row])];
                    candidates.extend(back.iter().map(|&(other, _)| other));
                    let forth = own[..joined].iter().map(|found| (found.row, found.is_new));
                    for (via, is_new) in forth.chain(back.iter().copied()) {
                        let further = lists.of(via as usize)[..joined].iter().filter(|found| is_new || found.is_new);
                        candidates.extend(further.map(|found| found.row));
                    }
                    candidates.sort_unstable();
                    candidates.dedup();
                    list.clear();
                    list.extend(own.iter().map(|found| Found { is_new: false, ..*found }));
                    for &other in candidates.iter().filter(|&&other| other as usize != row) {
                        let score = base.score(row, other as usize);
                        if score > list[lists.k - 1].score && list.iter().all(|found| found.row != other) {
                            let at = list.partition_point(|found| found.score >= score);
                            list.insert(at, Found { score, row: other, is_new: true });
                            list.truncate(lists.k);
                        }
                    }
                    changed += list.iter().filter(|found| found.is_new).count();
                    next.extend_from_slice(&list);
                }
                (next, changed)
            })
            .collect();
        self.found.clear();
        let mut changed = 0;
        for (found, of_chunk) in next {
            self.found.extend(found);
            changed += of_chunk;
        }
        changed
    }

    /// The lists of all rows by their original indices; `order` gives those of the places.
    fn finish(self, base: &Base<'_>, order: &[usize], recall: f64) -> Neighbors {
        let k = self.k;
        let (mut indices, mut values) = (vec![0; self.found.len()], vec![0.0; self.found.len()]);
        for (place, &row) in order.iter().enumerate() {
            let found = self.of(place).iter().map(|found| (found.score, found.row)).collect();
            let mut found = base.measure(base.row(place), found);
            found.iter_mut().for_each(|found| found.1 = order[found.1 as usize] as u32);
            // Ties by index, as in the exact search.
            let is_better = |a: &(f32, u32), b: &(f32, u32)| match base.metric {
                Metric::Cosine => b.0.total_cmp(&a.0),
                Metric::Euclidean => a.0.total_cmp(&b.0),
            };
            found.sort_by(|a, b| is_better(a, b).then(a.1.cmp(&b.1)));
            for (at, (value, other)) in found.into_iter().enumerate() {
                (values[row * k + at], indices[row * k + at]) = (value, other);
            }
        }
        Neighbors { k, indices, values, recall }
    }
}

/// Some rows, with the score of their last neighbour.
struct Check {
    least: Vec<(usize, f32)>,
}

impl Check {
    fn new(base: &Base<'_>, k: usize) -> Self {
        let n = base.half_norms.len();
        let rows = sample::subset(&mut seed::rng(SEED, 2), n, PROBED_ROWS);
        let asked: Vec<f32> = rows.iter().flat_map(|&row| base.row(row).iter().copied()).collect();
        let exact = base.best(&asked, k, |query| Some(rows[query]));
        Self { least: rows.into_iter().zip(exact.chunks(k).map(|found| found[k - 1].0)).collect() }
    }

    /// Fraction of the neighbours found that are as near as the true `k` nearest.
    fn recall(&self, lists: &Lists) -> f64 {
        let hits = |&(row, least): &(usize, f32)| {
            // Products of matrices and of single rows differ in their last digits.
            lists.of(row).iter().filter(|found| found.score >= least - 1e-6 * least.abs().max(1.0)).count()
        };
        self.least.iter().map(hits).sum::<usize>() as f64 / (self.least.len() * lists.k) as f64
    }
}

#[cfg(test)]
mod tests;
