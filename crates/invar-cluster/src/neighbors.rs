//! Nearest neighbours, and how well they agree with known labels.
//!
//! Exact neighbours by blocks of matrix products: the cost is `queries x n x D`, the memory `queries x k`. The
//! neighbours of all rows of a large set by cells and neighbours of neighbours, with the fraction of them that is
//! found. An [`Index`] answers external queries with the same cells, and can be stored.

mod approximate;
mod cells;
mod index;
mod votes;

use std::ops::Range;

use invar_dataset::Progress;
use rayon::prelude::*;

use crate::{ClusterError, Rows, gemm, rows};

#[cfg(feature = "fuzzing")]
pub use index::fuzzing;
pub use index::{Depth, Head, Index, IndexError, Request};
pub use votes::{KnnConfig, KnnScores, knn_scores};

/// What "near" means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Largest cosine of the angle. A zero row has cosine 0 with every other.
    Cosine,
    /// Smallest Euclidean distance.
    Euclidean,
}

/// The neighbours of some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbors {
    /// Neighbours per query: `k`, or as many as there are other rows.
    pub k: usize,
    /// Row indices, nearest first, ties by index; `[queries, k]`.
    pub indices: Vec<u32>,
    /// Cosine, or Euclidean distance; `[queries, k]`.
    pub values: Vec<f32>,
    /// Fraction of the neighbours that are as near as the true `k` nearest: 1 for an exact search, otherwise measured
    /// on some rows.
    pub recall: f64,
}

impl Neighbors {
    /// The neighbours of a query, nearest first, and how near they are; `None` if there are none.
    pub fn of(&self, query: usize) -> Option<(&[u32], &[f32])> {
        let range = query * self.k..(query + 1) * self.k;
        (self.k > 0).then(|| (&self.indices[range.clone()], &self.values[range]))
    }
}

/// Queries, and rows, per matrix product.
const QUERIES: usize = 256;
const TILE: usize = 512;
/// Scores that are checked together for a large enough one.
const GLANCE: usize = 32;
/// Number of rows above which the neighbours of all rows are found approximately.
const EXACT_ROWS: usize = 20_000;
/// Determines the draws of rows: a search has no seed, because its result should not depend on one.
const SEED: u64 = 0x6e65_6172;

/// The `k` nearest other rows of rows `queries` (all of them: `0..n`); a row is never its own neighbour.
///
/// # Errors
/// If there are more than `u32::MAX` rows.
///
/// # Panics
/// If a query is not a row.
pub fn nearest(data: Rows<'_>, queries: &[usize], k: usize, metric: Metric) -> Result<Neighbors, ClusterError> {
    check_rows(data)?;
    let normalized = match metric {
        Metric::Cosine => Some(data.normalized()),
        Metric::Euclidean => None,
    };
    let values = normalized.as_deref().unwrap_or(data.values());
    let asked: Vec<f32> =
        queries.iter().flat_map(|&q| values[q * data.dim()..][..data.dim()].iter().copied()).collect();
    let base = Base::new(values, data.dim(), metric);
    Ok(base.search(&asked, k.min(data.len().saturating_sub(1)), |query| Some(queries[query])))
}

/// The `k` nearest other rows of every row, with progress and cancellation: exact up to 20,000 rows, nearly so
/// ([`Neighbors::recall`]) above, where at most 1,000 are found per row.
///
/// # Errors
/// If there are more than `u32::MAX` rows, there is not enough memory, or the user cancels.
pub fn of_all(data: Rows<'_>, k: usize, metric: Metric, progress: &dyn Progress) -> Result<Neighbors, ClusterError> {
    /// Rows between two checks for cancellation.
    const STRETCH: usize = 16 * QUERIES;
    check_rows(data)?;
    let k = k.min(data.len().saturating_sub(1));
    if data.len() > EXACT_ROWS {
        return approximate::of_all(data, k.clamp(1, 1_000), metric, progress);
    }
    let normalized = (metric == Metric::Cosine).then(|| data.normalized());
    let values = normalized.as_deref().unwrap_or(data.values());
    let base = Base::new(values, data.dim(), metric);
    let (indices, values_of) = (Vec::with_capacity(data.len() * k), Vec::with_capacity(data.len() * k));
    let mut all = Neighbors { k, indices, values: values_of, recall: 1.0 };
    progress.set_total(data.len() as u64);
    for (stretch, asked) in values.chunks(STRETCH * data.dim()).enumerate() {
        if progress.is_cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let found = base.search(asked, k, |query| Some(stretch * STRETCH + query));
        all.indices.extend(found.indices);
        all.values.extend(found.values);
        progress.advance((asked.len() / data.dim()) as u64);
    }
    Ok(all)
}

/// Peak memory of [`of_all`] beyond the rows, in bytes.
pub(crate) fn memory_bytes(num_rows: usize, dim: usize, k: usize) -> usize {
    approximate::memory_bytes(num_rows, dim, k.min(1_000))
}

/// The `k` nearest rows of `data` to the external rows `asked`.
pub(crate) fn nearest_to(data: Rows<'_>, asked: Rows<'_>, k: usize, metric: Metric) -> Neighbors {
    let normalized = match metric {
        Metric::Cosine => Some(data.normalized()),
        Metric::Euclidean => None,
    };
    // The length of a query does not affect the order.
    Base::new(normalized.as_deref().unwrap_or(data.values()), data.dim(), metric).search(
        asked.values(),
        k.min(data.len()),
        |_| None,
    )
}

/// For each query the gallery row with the largest cosine, the first of equal ones; empty for an empty gallery.
///
/// # Errors
/// If the dimensions differ, or the gallery has more than `u32::MAX` rows.
pub fn retrieve(gallery: Rows<'_>, queries: Rows<'_>) -> Result<Vec<u32>, ClusterError> {
    retrieve_where(gallery, queries, |_| None)
}

/// As [`retrieve`], but query `i` never finds gallery row `own[i]`: finds the nearest *other* sample.
///
/// # Errors
/// As [`retrieve`], and if there is not one own row per query.
pub fn retrieve_other(gallery: Rows<'_>, queries: Rows<'_>, own: &[usize]) -> Result<Vec<u32>, ClusterError> {
    check_own(queries, own)?;
    if gallery.len() < 2 {
        return Ok(vec![]);
    }
    retrieve_where(gallery, queries, |query| Some(own[query]))
}

/// Fraction of the queries whose nearest gallery row is their own: query `i` and gallery row `own[i]` are of one sample
/// (retrieval top-1). One over the size of the gallery by chance.
///
/// # Errors
/// As [`retrieve_other`].
pub fn self_retrieval(gallery: Rows<'_>, queries: Rows<'_>, own: &[usize]) -> Result<f64, ClusterError> {
    check_own(queries, own)?;
    let found = retrieve(gallery, queries)?;
    let hits = found.iter().zip(own).filter(|&(&row, &own)| row as usize == own).count();
    Ok(if found.is_empty() { 0.0 } else { hits as f64 / found.len() as f64 })
}

fn retrieve_where(
    gallery: Rows<'_>,
    queries: Rows<'_>,
    itself: impl Fn(usize) -> Option<usize> + Sync,
) -> Result<Vec<u32>, ClusterError> {
    if gallery.dim() != queries.dim() {
        let (expected, found) = (gallery.dim(), queries.dim());
        return Err(ClusterError::Length { what: "dimension of the queries", expected, found });
    }
    check_rows(gallery)?;
    let values = gallery.normalized();
    // The length of a query does not affect the order.
    let base = Base::new(&values, gallery.dim(), Metric::Cosine);
    Ok(base.search(queries.values(), 1.min(gallery.len()), itself).indices)
}

fn check_own(queries: Rows<'_>, own: &[usize]) -> Result<(), ClusterError> {
    let (expected, found) = (queries.len(), own.len());
    if found == expected {
        Ok(())
    } else {
        Err(ClusterError::Length { what: "own rows of the queries", expected, found })
    }
}

/// Row indices have 32 bits.
fn check_rows(data: Rows<'_>) -> Result<(), ClusterError> {
    let (method, rows, max_rows) = ("nearest neighbours", data.len(), u32::MAX as usize);
    if rows > max_rows {
        return Err(ClusterError::TooManyRows { method, rows, max_rows, hint: "take a part" });
    }
    Ok(())
}

/// The majority label of the rows `near`, ties going to the nearest, and its fraction; `labels` are those of all rows.
/// (0, 0) for no rows.
pub(crate) fn vote(near: &[u32], labels: &[i32]) -> (i32, f32) {
    let mut votes: Vec<(i32, usize)> = Vec::new();
    for &row in near {
        let label = labels[row as usize];
        match votes.iter_mut().find(|vote| vote.0 == label) {
            Some(vote) => vote.1 += 1,
            None => votes.push((label, 1)),
        }
    }
    let most = votes.iter().map(|vote| vote.1).max().unwrap_or(0);
    let label = votes.iter().find(|vote| vote.1 == most).map_or(0, |vote| vote.0);
    (label, most as f32 / near.len().max(1) as f32)
}

/// The rows that are searched.
struct Base<'a> {
    values: &'a [f32],
    dim: usize,
    metric: Metric,
    /// Half the squared norms, for Euclidean distance.
    half_norms: Vec<f32>,
}

impl<'a> Base<'a> {
    fn new(values: &'a [f32], dim: usize, metric: Metric) -> Self {
        let half = |row: &[f32]| (rows::squared_norm(row) / 2.0) as f32;
        let half_norms = match metric {
            Metric::Cosine => vec![0.0; values.len() / dim],
            Metric::Euclidean => values.par_chunks(dim).map(half).collect(),
        };
        Self { values, dim, metric, half_norms }
    }

    fn search(&self, asked: &[f32], k: usize, itself: impl Fn(usize) -> Option<usize> + Sync) -> Neighbors {
        let mut found = self.best(asked, k, itself);
        if k > 0 {
            found.par_chunks_mut(k).zip(asked.par_chunks(self.dim)).for_each(|(best, query)| {
                best.copy_from_slice(&self.measure(query, best.to_vec()));
            });
        }
        let indices = found.iter().map(|&(_, row)| row).collect();
        let values = found.iter().map(|&(value, _)| value).collect();
        Neighbors { k, indices, values, recall: 1.0 }
    }

    /// The `k` best rows for each query, or as many as there are, with their scores, one query after another.
    fn best(&self, asked: &[f32], k: usize, itself: impl Fn(usize) -> Option<usize> + Sync) -> Vec<(f32, u32)> {
        let blocks: Vec<Vec<(f32, u32)>> = asked
            .par_chunks(QUERIES * self.dim)
            .enumerate()
            .map(|(block, asked)| {
                let own = |query| itself(block * QUERIES + query).map(|own| own as u32);
                self.best_of_block(asked, k, own, |row| row as u32).concat()
            })
            .collect();
        blocks.concat()
    }

    fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.dim..][..self.dim]
    }

    /// Some of the rows, numbered from 0.
    fn part(&self, rows: Range<usize>) -> Self {
        let values = &self.values[rows.start * self.dim..rows.end * self.dim];
        Self { values, dim: self.dim, metric: self.metric, half_norms: self.half_norms[rows].to_vec() }
    }

    /// How near `other` is to `row`: larger means nearer, comparable among those of one row.
    fn score(&self, row: usize, other: usize) -> f32 {
        rows::dot(self.row(row), self.row(other)) - self.half_norms[other]
    }

    /// The `k` best of each query of a block, by the ids of rows; a query does not find the row with its own id.
    fn best_of_block(
        &self,
        asked: &[f32],
        k: usize,
        itself: impl Fn(usize) -> Option<u32>,
        name: impl Fn(usize) -> u32,
    ) -> Vec<Vec<(f32, u32)>> {
        let num_queries = asked.len() / self.dim;
        let mut best: Vec<Vec<(f32, u32)>> = vec![Vec::with_capacity(k + 1); num_queries];
        if k == 0 {
            return best;
        }
        let mut products = Vec::new();
        for (tile, rows) in self.values.chunks(TILE * self.dim).enumerate() {
            let first = tile * TILE;
            let half_norms = &self.half_norms[first..][..rows.len() / self.dim];
            products.resize(num_queries * half_norms.len(), 0.0);
            gemm::products(asked, rows, self.dim, &mut products);
            for (query, scores) in products.chunks_mut(half_norms.len()).enumerate() {
                if self.metric == Metric::Euclidean {
                    scores.iter_mut().zip(half_norms).for_each(|(score, half_norm)| *score -= half_norm);
                }
                let (best, own) = (&mut best[query], itself(query));
                for (glance, scores) in scores.chunks(GLANCE).enumerate() {
                    if best.len() == k {
                        let largest =
                            scores.iter().fold(f32::MIN, |most, &score| if score > most { score } else { most });
                        if largest < best[k - 1].0 {
                            continue;
                        }
                    }
                    for (offset, &score) in scores.iter().enumerate() {
                        if best.len() < k || score >= best[k - 1].0 {
                            let row = name(first + glance * GLANCE + offset);
                            if own != Some(row) {
                                insert(best, k, score, row);
                            }
                        }
                    }
                }
            }
        }
        best
    }

    /// Converts scores into the metric's own values.
    fn measure(&self, query: &[f32], mut best: Vec<(f32, u32)>) -> Vec<(f32, u32)> {
        if self.metric == Metric::Euclidean {
            for (value, row) in &mut best {
                let row = &self.values[*row as usize * self.dim..][..self.dim];
                *value = rows::squared_distance(&query[..self.dim], row).sqrt();
            }
            best.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        }
        best
    }
}

/// Keeps the `k` largest scores, in descending order; ties by index.
fn insert(best: &mut Vec<(f32, u32)>, k: usize, score: f32, row: u32) {
    let is_before = |&(other, its_row): &(f32, u32)| other > score || (other == score && its_row < row);
    if best.len() == k && is_before(&best[k - 1]) {
        return;
    }
    let at = best.partition_point(is_before);
    best.insert(at, (score, row));
    best.truncate(k);
}

#[cfg(test)]
mod tests;
