//! The silhouette (Rousseeuw 1987) of many clusterings of one set of rows.

use rayon::prelude::*;

use crate::{Rows, gemm, rows};

/// Maximum number of rows it is measured on: their distances are held in memory, 16 MB.
pub(crate) const MOST_ROWS: usize = 2_000;
/// Rows per matrix product.
const BLOCK: usize = 250;

/// Euclidean distances between some rows.
pub(crate) struct Silhouettes {
    /// Their indices.
    rows: Vec<usize>,
    /// `[n, n]`.
    distances: Vec<f32>,
    /// What each of them weighs, if not all the same.
    weights: Option<Vec<f64>>,
}

impl Silhouettes {
    /// For rows `chosen` of `data`, at most [`MOST_ROWS`] to limit the memory.
    pub fn new(data: Rows<'_>, chosen: Vec<usize>) -> Self {
        let (n, dim) = (chosen.len(), data.dim());
        let mut values = data.gather(&chosen);
        // Products lose the digits of values far from the origin.
        let mut mean = vec![0.0; dim];
        values.chunks(dim).for_each(|row| mean.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x)));
        values.chunks_mut(dim).for_each(|row| {
            row.iter_mut().zip(&mean).for_each(|(x, sum)| *x = (f64::from(*x) - sum / n as f64) as f32);
        });
        let squared: Vec<f32> = values.chunks(dim).map(|row| rows::squared_norm(row) as f32).collect();
        let mut distances = vec![0.0; n * n];
        distances.par_chunks_mut(BLOCK * n.max(1)).zip(values.par_chunks(BLOCK * dim)).enumerate().for_each(
            |(block, (distances, rows))| {
                gemm::products(rows, &values, dim, distances);
                for (at, row) in distances.chunks_mut(n).enumerate() {
                    let own = squared[block * BLOCK + at];
                    row.iter_mut().zip(&squared).for_each(|(x, other)| *x = (own + other - 2.0 * *x).max(0.0).sqrt());
                }
            },
        );
        Self { rows: chosen, distances, weights: None }
    }

    /// The same of rows that weigh differently: those of all rows of the data.
    #[must_use]
    pub fn weighing(self, weights: Option<&[f64]>) -> Self {
        let weights = weights.map(|weights| self.rows.iter().map(|&row| weights[row]).collect());
        Self { weights, ..self }
    }

    /// Mean silhouette of the rows, `[-1, 1]`; `labels`, below `num_clusters`, are those of all rows of the data. 0 for
    /// a row that is alone in its cluster, as in scikit-learn.
    ///
    /// A row that weighs more counts as so many rows in one place, which are not alone: the limit for ever smaller units of
    /// weight.
    pub fn mean(&self, labels: &[i32], num_clusters: usize) -> f64 {
        if let Some(weights) = &self.weights {
            return self.weighed_mean(weights, labels, num_clusters);
        }
        let n = self.rows.len();
        let labels: Vec<usize> = self.rows.iter().map(|&row| labels[row] as usize).collect();
        let mut sizes = vec![0u32; num_clusters];
        labels.iter().for_each(|&label| sizes[label] += 1);
        let mut total = 0.0;
        let mut sums = vec![0.0; num_clusters];
        for (at, &own) in labels.iter().enumerate().filter(|&(_, &own)| sizes[own] > 1) {
            sums.fill(0.0);
            let distances = &self.distances[at * n..][..n];
            labels
                .iter()
                .zip(distances)
                .enumerate()
                .filter(|&(other, _)| other != at)
                .for_each(|(_, (&label, &distance))| sums[label] += f64::from(distance));
            let within = sums[own] / f64::from(sizes[own] - 1);
            let others = (0..num_clusters).filter(|&label| label != own && sizes[label] > 0);
            let nearest = others.map(|label| sums[label] / f64::from(sizes[label])).fold(f64::INFINITY, f64::min);
            let largest = within.max(nearest);
            total += if largest > 0.0 && nearest.is_finite() { (nearest - within) / largest } else { 0.0 };
        }
        total / n.max(1) as f64
    }

    fn weighed_mean(&self, weights: &[f64], labels: &[i32], num_clusters: usize) -> f64 {
        let n = self.rows.len();
        let labels: Vec<usize> = self.rows.iter().map(|&row| labels[row] as usize).collect();
        let mut sizes = vec![0.0; num_clusters];
        labels.iter().zip(weights).for_each(|(&label, weight)| sizes[label] += weight);
        let (mut total, mut sums) = (0.0, vec![0.0; num_clusters]);
        for (at, &own) in labels.iter().enumerate() {
            sums.fill(0.0);
            let distances = &self.distances[at * n..][..n];
            let others = labels.iter().zip(distances).zip(weights).enumerate().filter(|&(other, _)| other != at);
            others.for_each(|(_, ((&label, &distance), weight))| sums[label] += weight * f64::from(distance));
            let within = sums[own] / sizes[own];
            let others = (0..num_clusters).filter(|&label| label != own && sizes[label] > 0.0);
            let nearest = others.map(|label| sums[label] / sizes[label]).fold(f64::INFINITY, f64::min);
            let largest = within.max(nearest);
            let silhouette = if largest > 0.0 && nearest.is_finite() { (nearest - within) / largest } else { 0.0 };
            total += weights[at] * silhouette;
        }
        let all: f64 = weights.iter().sum();
        if all > 0.0 { total / all } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specimen::{blobs, sines};

    /// By the definition, in double precision: scikit-learn's `silhouette_score`.
    fn by_pairs(values: &[f32], dim: usize, labels: &[i32]) -> f64 {
        let rows: Vec<&[f32]> = values.chunks(dim).collect();
        let distance = |a: usize, b: usize| {
            rows[a].iter().zip(rows[b]).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum::<f64>().sqrt()
        };
        let n = labels.len();
        let of_row = |a: usize| {
            let mean = |label: i32| {
                let others: Vec<usize> = (0..n).filter(|&b| b != a && labels[b] == label).collect();
                let sum: f64 = others.iter().map(|&b| distance(a, b)).sum();
                (!others.is_empty()).then(|| sum / others.len() as f64)
            };
            let Some(within) = mean(labels[a]) else { return 0.0 };
            let others = (0..=*labels.iter().max().unwrap()).filter(|&label| label != labels[a]).filter_map(mean);
            let nearest = others.fold(f64::INFINITY, f64::min);
            (nearest - within) / within.max(nearest)
        };
        (0..n).map(of_row).sum::<f64>() / n as f64
    }

    #[test]
    fn it_is_that_of_all_pairs() {
        let (mut values, mut labels) = blobs(530, 6, 4, 3.0, 1);
        // As far from the origin as raw features may lie.
        values.iter_mut().for_each(|x| *x += 300.0);
        labels[7] = 4; // alone
        labels[9] = (labels[9] + 1) % 4; // in the wrong one
        let rows = Rows::new(&values, 6).unwrap();
        let (fast, slow) = (Silhouettes::new(rows, (0..530).collect()).mean(&labels, 5), by_pairs(&values, 6, &labels));
        assert!((fast - slow).abs() < 1e-4, "{fast} {slow}");
        // On some of the rows.
        let some: Vec<usize> = (0..530).filter(|row| row % 3 == 0).collect();
        let gathered = rows.gather(&some);
        let of_some: Vec<i32> = some.iter().map(|&row| labels[row]).collect();
        let (fast, slow) = (Silhouettes::new(rows, some).mean(&labels, 5), by_pairs(&gathered, 6, &of_some));
        assert!((fast - slow).abs() < 1e-4, "{fast} {slow}");
        // Labels that have nothing to do with the rows.
        let values = sines(50, 5);
        let labels: Vec<i32> = (0..50).map(|row| row % 3).collect();
        let of_all = Silhouettes::new(Rows::new(&values, 5).unwrap(), (0..50).collect());
        let (fast, slow) = (of_all.mean(&labels, 3), by_pairs(&values, 5, &labels));
        assert!(fast < 0.0 && (fast - slow).abs() < 1e-5, "{fast} {slow}");
    }

    #[test]
    fn a_weight_is_many_rows_in_one_place() {
        let (values, labels) = blobs(40, 4, 3, 1.5, 2);
        let weights: Vec<usize> = (0..40).map(|row| 1 + row % 3).collect();
        // Each as often as it weighs, times so many that one more or less does not matter.
        let copies = || (0..40).flat_map(|row| std::iter::repeat_n(row, 12 * weights[row]));
        let repeated: Vec<f32> = copies().flat_map(|row| values[4 * row..4 * row + 4].to_vec()).collect();
        let of_copies: Vec<i32> = copies().map(|row| labels[row]).collect();
        let slow = by_pairs(&repeated, 4, &of_copies);
        let weights: Vec<f64> = weights.into_iter().map(|weight| weight as f64).collect();
        let rows = Rows::new(&values, 4).unwrap();
        let fast = Silhouettes::new(rows, (0..40).collect()).weighing(Some(&weights)).mean(&labels, 3);
        assert!((fast - slow).abs() < 5e-3, "{fast} {slow}");
        // All alone, each in its own place: as far apart as can be.
        let alone = Silhouettes::new(rows, (0..3).collect()).weighing(Some(&weights)).mean(&[0, 1, 2], 3);
        assert_eq!(alone, 1.0);
    }

    #[test]
    fn rows_of_one_place_have_none() {
        let values = [0.5f32; 40];
        let of_all = Silhouettes::new(Rows::new(&values, 4).unwrap(), (0..10).collect());
        assert_eq!(of_all.mean(&[0, 1, 0, 1, 0, 1, 0, 1, 0, 1], 2), 0.0);
    }
}
