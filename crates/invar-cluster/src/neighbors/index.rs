//! The nearest rows of queries, external or rows themselves, by cosine.
//!
//! Exact by matrix products; for many rows by cells (an inverted file: Sivic and Zisserman 2003; Jégou, Douze and
//! Schmid 2011): a query searches the cells whose means are nearest. How many it needs is measured on rows of the index
//! when it is built. Queries are grouped by the cells that they search, so that these are matrix products too.

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod stored;

use invar_dataset::{Progress, check_memory, seed};
use rayon::prelude::*;

pub use self::stored::{Head, IndexError};
use super::{
    Base, Metric, Neighbors, QUERIES, SEED,
    cells::{CELL, Cells},
    insert,
};
use crate::{ClusterError, Rows, rows, sample};

/// Rows whose exact neighbours are found, to measure how many cells must be searched.
const PROBED_ROWS: usize = 500;
/// Fraction of their true neighbours that must be found.
const WISHED: f64 = 0.98;
/// Numbers of neighbours for which that is measured.
const MEASURED: [usize; 2] = [10, 100];
/// Number of cells per query beyond which an exhaustive search is as fast.
const MOST_PROBES: usize = 512;
/// Rows per task of a thread when there are few queries.
const STRETCH: usize = 1 << 16;
/// Queries between two checks for cancellation; fewer if each has many neighbours, which are held in memory.
const BATCH: usize = 1 << 14;
const EXACT_BATCH: usize = 1 << 10;
const WAITING: usize = 1 << 23;

/// A searchable set of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    dim: usize,
    /// Unit-length values, cell after cell.
    values: Vec<f32>,
    /// The row index at each place.
    order: Vec<u32>,
    /// Where each cell begins, and where the last ends.
    starts: Vec<u32>,
    /// The means of the cells, `[cells, dim]`; empty if there is only one.
    means: Vec<f32>,
    depths: Vec<Depth>,
}

/// How deep to search for a given number of neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Depth {
    /// Number of neighbours.
    pub k: u32,
    /// Number of cells to search.
    pub probes: u32,
    /// Fraction of the true `k` nearest that is found, measured on rows of the index.
    pub recall: f64,
}

/// A search in an [`Index`].
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Neighbours per query.
    pub k: usize,
    /// The row that each query is itself, which it does not find; empty if no query is a row.
    pub own: &'a [Option<u32>],
    /// Whether all rows are searched.
    pub exact: bool,
}

impl Index {
    /// Number of rows up to which an exact search is fast enough.
    pub const EXACT_ROWS: usize = 100_000;

    /// Whether building cells takes less time than answering `num_queries` queries without them.
    pub fn pays(num_rows: usize, num_queries: usize) -> bool {
        // Building compares every row with the means of all cells, and searches for some rows exactly.
        num_rows > Self::EXACT_ROWS && num_queries > 2 * num_rows.div_ceil(CELL) + PROBED_ROWS
    }

    /// Peak memory of [`Index::build`] beyond the values it is given, in bytes.
    pub fn memory_bytes(num_rows: usize, dim: usize) -> usize {
        num_rows.saturating_mul(dim * size_of::<f32>() + 64)
    }

    /// All `values` `[n, dim]` in one cell, for exact search.
    ///
    /// # Errors
    /// As [`Rows::new`].
    pub fn flat(mut values: Vec<f32>, dim: usize) -> Result<Self, ClusterError> {
        let n = Rows::new(&values, dim)?.len() as u32;
        values.par_chunks_mut(dim).for_each(rows::normalize);
        Ok(Self { dim, values, order: (0..n).collect(), starts: vec![0, n], means: vec![], depths: vec![] })
    }

    /// `values` `[n, dim]` in cells.
    ///
    /// # Errors
    /// As [`Rows::new`]; if there is not enough memory, or the user cancels.
    pub fn build(values: Vec<f32>, dim: usize, progress: &dyn Progress) -> Result<Self, ClusterError> {
        let flat = Self::flat(values, dim)?;
        let n = flat.order.len();
        let what = || format!("an index of {n} rows of {dim} values");
        check_memory(flat.values.len() * 4 + Self::memory_bytes(n, dim), what, || "take a part of the rows".into())?;
        progress.set_total(3);
        let (cells, _) = Cells::new(&flat.values, dim, 1);
        progress.advance(1);
        stop_if_cancelled(progress)?;
        let values = Rows::new(&flat.values, dim)?.gather(&cells.order);
        let mut index = Self {
            dim,
            values,
            order: cells.order.iter().map(|&row| row as u32).collect(),
            starts: cells.starts.iter().map(|&start| start as u32).collect(),
            means: cells.means,
            depths: vec![],
        };
        drop(flat);
        progress.advance(1);
        index.measure(progress)?;
        progress.advance(1);
        Ok(index)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Dimension of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of cells; 1 if every search is exact.
    pub fn num_cells(&self) -> usize {
        self.starts.len() - 1
    }

    /// How deep a search goes, for increasing numbers of neighbours; empty if every search is exact.
    pub fn depths(&self) -> &[Depth] {
        &self.depths
    }

    /// The values of some rows, at unit length, concatenated.
    ///
    /// # Panics
    /// If an index is out of range.
    pub fn rows(&self, wanted: &[u32]) -> Vec<f32> {
        let mut places = vec![0u32; self.order.len()];
        self.order.iter().enumerate().for_each(|(place, &row)| places[row as usize] = place as u32);
        wanted.iter().flat_map(|&row| self.place(places[row as usize] as usize).iter().copied()).collect()
    }

    /// The nearest rows of each query, ties by index: `k`, or as many as there are others. Independent of the threads
    /// and of the other queries.
    ///
    /// # Errors
    /// If the dimensions differ, there is not one own row per query, or the user cancels.
    pub fn search(
        &self,
        queries: Rows<'_>,
        request: &Request<'_>,
        progress: &dyn Progress,
    ) -> Result<Neighbors, ClusterError> {
        let length = |what, expected, found| Err(ClusterError::Length { what, expected, found });
        if queries.dim() != self.dim {
            return length("dimension of the queries", self.dim, queries.dim());
        }
        if !request.own.is_empty() && request.own.len() != queries.len() {
            return length("own rows of the queries", queries.len(), request.own.len());
        }
        let others = self.len() - usize::from(request.own.iter().any(Option::is_some)).min(self.len());
        let k = request.k.min(others);
        let depth = self.depths.iter().find(|depth| depth.k as usize >= k && !request.exact);
        let (batch, recall) = match depth {
            Some(depth) => ((WAITING / (depth.probes as usize * k.max(1))).clamp(QUERIES, BATCH), depth.recall),
            None => (EXACT_BATCH, 1.0),
        };
        progress.set_total(queries.len() as u64);
        let mut all = Neighbors { k, indices: Vec::new(), values: Vec::new(), recall };
        for (number, asked) in queries.values().chunks(batch * self.dim).enumerate() {
            stop_if_cancelled(progress)?;
            let mut unit = asked.to_vec();
            unit.chunks_mut(self.dim).for_each(rows::normalize);
            let own = |query: usize| request.own.get(number * batch + query).copied().flatten();
            let found = match depth {
                Some(depth) => self.near(&unit, k, depth.probes as usize, own),
                None => self.exact(&unit, k, own),
            };
            all.indices.extend(found.iter().flatten().map(|&(_, row)| row));
            all.values.extend(found.iter().flatten().map(|&(cosine, _)| cosine.clamp(-1.0, 1.0)));
            progress.advance(found.len() as u64);
        }
        Ok(all)
    }

    fn place(&self, place: usize) -> &[f32] {
        &self.values[place * self.dim..][..self.dim]
    }

    /// A range of places as a base to search.
    fn base(&self, places: std::ops::Range<usize>) -> Base<'_> {
        Base::new(&self.values[places.start * self.dim..places.end * self.dim], self.dim, Metric::Cosine)
    }

    /// The `k` best of each query among all rows.
    fn exact(&self, queries: &[f32], k: usize, own: impl Fn(usize) -> Option<u32> + Sync) -> Vec<Vec<(f32, u32)>> {
        let n = self.len();
        let stretches: Vec<usize> = (0..n).step_by(STRETCH).collect();
        let pieces: Vec<(usize, usize)> = (0..queries.len() / self.dim)
            .step_by(QUERIES)
            .flat_map(|block| stretches.iter().map(move |&stretch| (block, stretch)))
            .collect();
        let found: Vec<Vec<Vec<(f32, u32)>>> = pieces
            .par_iter()
            .map(|&(block, first)| {
                let asked = &queries[block * self.dim..];
                let asked = &asked[..asked.len().min(QUERIES * self.dim)];
                let base = self.base(first..(first + STRETCH).min(n));
                base.best_of_block(asked, k, |query| own(block + query), |place| self.order[first + place])
            })
            .collect();
        let mut best: Vec<Vec<(f32, u32)>> = vec![Vec::with_capacity(k + 1); queries.len() / self.dim];
        for (&(block, _), found) in pieces.iter().zip(found) {
            for (query, found) in found.into_iter().enumerate() {
                found.into_iter().for_each(|(score, row)| insert(&mut best[block + query], k, score, row));
            }
        }
        best
    }

    /// The `k` best of each query among the rows of its nearest cells; among all, if these hold fewer than `k`.
    fn near(
        &self,
        queries: &[f32],
        k: usize,
        probes: usize,
        own: impl Fn(usize) -> Option<u32> + Sync,
    ) -> Vec<Vec<(f32, u32)>> {
        let cells = Base::new(&self.means, self.dim, Metric::Euclidean).best(queries, probes, |_| None);
        let mut asking: Vec<Vec<usize>> = vec![vec![]; self.num_cells()];
        for (query, cells) in cells.chunks(probes).enumerate() {
            cells.iter().for_each(|&(_, cell)| asking[cell as usize].push(query));
        }
        let found: Vec<Vec<Vec<(f32, u32)>>> = asking
            .par_iter()
            .enumerate()
            .map(|(cell, asking)| {
                let places = self.starts[cell] as usize..self.starts[cell + 1] as usize;
                let first = places.start;
                let base = self.base(places);
                let of_block = |queries_of: &[usize]| {
                    let asked: Vec<f32> = queries_of
                        .iter()
                        .flat_map(|&query| queries[query * self.dim..][..self.dim].iter().copied())
                        .collect();
                    let itself = |query: usize| own(queries_of[query]);
                    base.best_of_block(&asked, k, itself, |place| self.order[first + place])
                };
                let blocks: Vec<_> = asking.par_chunks(QUERIES).map(of_block).collect();
                blocks.concat()
            })
            .collect();
        let mut best: Vec<Vec<(f32, u32)>> = vec![Vec::with_capacity(k + 1); queries.len() / self.dim];
        for (asking, found) in asking.iter().zip(found) {
            for (&query, found) in asking.iter().zip(found) {
                found.into_iter().for_each(|(score, row)| insert(&mut best[query], k, score, row));
            }
        }
        let short: Vec<usize> = (0..best.len()).filter(|&query| best[query].len() < k).collect();
        if !short.is_empty() {
            let asked: Vec<f32> =
                short.iter().flat_map(|&query| queries[query * self.dim..][..self.dim].iter().copied()).collect();
            let found = self.exact(&asked, k, |at| own(short[at]));
            short.iter().zip(found).for_each(|(&query, found)| best[query] = found);
        }
        best
    }

    /// Measures how many cells must be searched: where the nearest others of some rows lie.
    fn measure(&mut self, progress: &dyn Progress) -> Result<(), ClusterError> {
        let places = sample::subset(&mut seed::rng(SEED, 2), self.len(), PROBED_ROWS);
        let asked: Vec<f32> = places.iter().flat_map(|&place| self.place(place).iter().copied()).collect();
        let mut cell_of = vec![0u32; self.len()];
        for cell in 0..self.num_cells() {
            let places = self.starts[cell] as usize..self.starts[cell + 1] as usize;
            self.order[places].iter().for_each(|&row| cell_of[row as usize] = cell as u32);
        }
        let most = MOST_PROBES.min(self.num_cells() / 2);
        let k = MEASURED[1].min(self.len().saturating_sub(1));
        if most == 0 || k < MEASURED[1] {
            return Ok(());
        }
        let exact = self.exact(&asked, k, |query| Some(self.order[places[query]]));
        stop_if_cancelled(progress)?;
        let cells = Base::new(&self.means, self.dim, Metric::Euclidean).best(&asked, most, |_| None);
        for k in MEASURED {
            // Neighbours by how many cells are nearer than theirs.
            let mut by_rank = vec![0usize; most];
            for (exact, cells) in exact.iter().zip(cells.chunks(most)) {
                for &(_, row) in &exact[..k] {
                    if let Some(rank) = cells.iter().position(|&(_, cell)| cell == cell_of[row as usize]) {
                        by_rank[rank] += 1;
                    }
                }
            }
            let mut found = 0;
            let shares = by_rank.iter().map(|hits| {
                found += hits;
                found as f64 / (places.len() * k) as f64
            });
            if let Some((rank, recall)) = shares.enumerate().find(|&(_, share)| share >= WISHED) {
                self.depths.push(Depth { k: k as u32, probes: rank as u32 + 1, recall });
            }
        }
        Ok(())
    }
}

fn stop_if_cancelled(progress: &dyn Progress) -> Result<(), ClusterError> {
    if progress.is_cancelled() { Err(ClusterError::Cancelled) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
