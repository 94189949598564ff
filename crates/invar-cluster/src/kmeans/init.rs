//! Greedy k-means++: every new centre is the best of `2 + ln k` candidates drawn with probability proportional to the
//! squared distance to the centres so far (Arthur and Vassilvitskii 2007, section 5; as in scikit-learn).

use invar_dataset::seed::{self, Rng};
use rayon::prelude::*;

use super::{CHUNK, Prepared};
use crate::{gemm, rows};

/// Draws `k` centres, `[k, D]`.
///
/// # Panics
/// If there are no rows or `k` is 0.
pub(super) fn greedy_plus_plus(data: &Prepared<'_>, k: usize, rng: &mut Rng) -> Vec<f32> {
    let num_candidates = 2 + (k as f64).ln() as usize;
    let mut state = State::new(data, k, seed::below(data.len(), rng));
    for _ in 1..k {
        let candidates: Vec<usize> = (0..num_candidates).map(|_| state.draw(seed::uniform(rng))).collect();
        let trials = state.try_candidates(&candidates);
        let potentials = (0..num_candidates).map(|t| trials.iter().map(|trial| trial.potentials[t]).sum::<f64>());
        let (best, _) = potentials.enumerate().fold((0, f64::INFINITY), |best, (candidate, potential)| {
            if potential < best.1 { (candidate, potential) } else { best }
        });
        state.take(candidates[best], best, num_candidates, &trials);
    }
    state.centers
}

/// Distances of all rows to the centres drawn so far.
struct State<'a> {
    data: &'a Prepared<'a>,
    centers: Vec<f32>,
    /// Squared distance to the nearest centre, and its index.
    closest: Vec<(f32, u32)>,
    /// Sum of the squared distances of each chunk.
    potentials: Vec<f64>,
}

/// The effect of the candidates on one chunk.
struct Trial {
    /// Sum of the squared distances of the chunk with each candidate added.
    potentials: Vec<f64>,
    /// Rows of the chunk that a candidate may be nearest to, ascending.
    rows: Vec<u32>,
    /// Their squared distances to the candidates, `[rows, candidates]`.
    squared_distances: Vec<f32>,
}

impl<'a> State<'a> {
    fn new(data: &'a Prepared<'a>, k: usize, first: usize) -> Self {
        let mut centers = Vec::with_capacity(k * data.dim);
        centers.extend_from_slice(data.row(first));
        let closest: Vec<(f32, u32)> =
            data.values.par_chunks(data.dim).map(|row| (rows::squared_distance(row, &centers), 0)).collect();
        let potentials = closest.par_chunks(CHUNK).map(potential).collect();
        Self { data, centers, closest, potentials }
    }

    /// The row at which the running sum of squared distances passes the fraction `share` of the total. If all rows lie
    /// on centres, every row is equally likely.
    fn draw(&self, share: f64) -> usize {
        let total: f64 = self.potentials.iter().sum();
        if total <= 0.0 {
            return ((share * self.data.len() as f64) as usize).min(self.data.len() - 1);
        }
        let mut left = share * total;
        for (chunk, &potential) in self.potentials.iter().enumerate() {
            if left < potential {
                let rows = self.closest.iter().enumerate().skip(chunk * CHUNK).take(CHUNK);
                let mut last = chunk * CHUNK;
                for (row, &(squared, _)) in rows {
                    if squared > 0.0 {
                        last = row;
                    }
                    left -= f64::from(squared);
                    if left < 0.0 {
                        return row;
                    }
                }
                return last;
            }
            left -= potential;
        }
        // Rounding used up the total: the last row that is not a centre.
        self.closest.iter().rposition(|&(squared, _)| squared > 0.0).unwrap_or(0)
    }

    /// Tries the candidates on every chunk. Rows so near their centre that the triangle inequality rules out a change
    /// (`d(candidate, centre) >= 2 d(row, centre)`) are skipped.
    fn try_candidates(&self, candidates: &[usize]) -> Vec<Trial> {
        let dim = self.data.dim;
        let candidate_rows: Vec<f32> = candidates.iter().flat_map(|&c| self.data.row(c).iter().copied()).collect();
        let norms: Vec<f32> = candidates.iter().map(|&c| self.data.squared_norms[c]).collect();
        // Squared distance of each centre to the nearest candidate, slightly reduced to allow for rounding.
        let to_candidate: Vec<f32> = self
            .centers
            .chunks(dim)
            .map(|center| {
                let nearest = candidate_rows.chunks(dim).map(|c| rows::squared_distance(center, c));
                nearest.fold(f32::INFINITY, f32::min) * (1.0 - 1e-5)
            })
            .collect();
        self.closest
            .par_chunks(CHUNK)
            .enumerate()
            .map(|(chunk, closest)| {
                let first = chunk * CHUNK;
                let active =
                    |&(_, &(squared, center)): &(usize, &(f32, u32))| to_candidate[center as usize] < 4.0 * squared;
                let rows: Vec<u32> =
                    closest.iter().enumerate().filter(active).map(|(row, _)| (first + row) as u32).collect();
                let squared_distances = self.squared_distances(&rows, &candidate_rows, &norms);
                let mut potentials = vec![self.potentials[chunk]; norms.len()];
                for (&row, distances) in rows.iter().zip(squared_distances.chunks(norms.len())) {
                    let old = self.closest[row as usize].0;
                    for (potential, &new) in potentials.iter_mut().zip(distances) {
                        *potential -= f64::from((old - new).max(0.0));
                    }
                }
                Trial { potentials, rows, squared_distances }
            })
            .collect()
    }

    /// Squared distances of some rows to the candidates, `[rows, candidates]`.
    fn squared_distances(&self, rows: &[u32], candidates: &[f32], norms: &[f32]) -> Vec<f32> {
        let dim = self.data.dim;
        let mut distances = vec![0.0; rows.len() * norms.len()];
        let mut gathered = Vec::with_capacity(256.min(rows.len()) * dim);
        for (block, out) in rows.chunks(256).zip(distances.chunks_mut(256 * norms.len())) {
            gathered.clear();
            block.iter().for_each(|&row| gathered.extend_from_slice(self.data.row(row as usize)));
            gemm::products(&gathered, candidates, dim, out);
            for (&row, out) in block.iter().zip(out.chunks_mut(norms.len())) {
                let own = self.data.squared_norms[row as usize];
                out.iter_mut().zip(norms).for_each(|(value, norm)| *value = (own + norm - 2.0 * *value).max(0.0));
            }
        }
        distances
    }

    /// Makes row `row`, candidate number `candidate`, a centre.
    fn take(&mut self, row: usize, candidate: usize, num_candidates: usize, trials: &[Trial]) {
        let center = (self.centers.len() / self.data.dim) as u32;
        self.centers.extend_from_slice(self.data.row(row));
        self.closest.par_chunks_mut(CHUNK).zip(&mut self.potentials).zip(trials).enumerate().for_each(
            |(chunk, ((closest, chunk_potential), trial))| {
                for (&row, distances) in trial.rows.iter().zip(trial.squared_distances.chunks(num_candidates)) {
                    let nearest = &mut closest[row as usize - chunk * CHUNK];
                    if distances[candidate] < nearest.0 {
                        *nearest = (distances[candidate], center);
                    }
                }
                *chunk_potential = potential(closest);
            },
        );
        // The product may leave some rounding error where the distance is zero.
        self.closest[row] = (0.0, center);
        let chunk = row / CHUNK;
        let end = ((chunk + 1) * CHUNK).min(self.closest.len());
        self.potentials[chunk] = potential(&self.closest[chunk * CHUNK..end]);
    }
}

fn potential(closest: &[(f32, u32)]) -> f64 {
    closest.iter().map(|&(squared, _)| f64::from(squared)).sum()
}
