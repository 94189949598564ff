//! What the embeddings of all held-out pairs show together, with and without labels.
//!
//! A batch would be too small for this: a sample is easily distinguished from 500 others, less easily from 20,000.

use std::collections::HashMap;

use invar_cluster::{
    ClusterError, Rows, geometry,
    neighbors::{KnnConfig, knn_scores, retrieve},
};
use invar_dataset::{GroupId, PairSource};
use serde::{Deserialize, Serialize};

use crate::{Error, quality};

/// Neighbours that vote on a label.
const NEIGHBORS: usize = 20;

/// Figures of held-out pairs. All but the alignment and the retrieval use only the first view of each pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// N, the number of pairs measured.
    pub num_pairs: usize,
    /// Mean squared distance between the two views of a pair: 0 is best (Wang and Isola 2020).
    pub alignment: f64,
    /// Log of the mean of `exp(-2 d^2)` over distinct samples: the lower, the more evenly spread. With more than
    /// [`geometry::UNIFORMITY_MAX_ROWS`] pairs, that of a random sample of this size, always the same one.
    pub uniformity: f64,
    /// `exp` of the entropy of the singular values' shares, at most `min(N, D)`: how many dimensions are used (Roy and
    /// Vetterli 2007; RankMe, Garrido et al. 2023).
    pub effective_rank: f64,
    /// Standard deviation of each dimension, averaged, times `sqrt(D)`: about 1 when the embeddings fill the sphere, 0
    /// when they have collapsed to a point (Chen and He 2021).
    pub embedding_std: f64,
    /// Fraction of the samples for which the nearest second view to their first view, by cosine and among those of all
    /// samples, is their own; `1 / N` by chance. If samples have groups, the second view of another of the group counts
    /// too: the loss does not distinguish them.
    pub retrieval: f64,
    /// Fraction of the labelled samples whose label is the most frequent among their 20 nearest other labelled samples,
    /// by cosine; ties go to the label of the nearest. With more than 10,000 labelled samples, that of a random sample
    /// of this size. `None` with fewer than two labelled samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knn_accuracy: Option<f64>,
}

/// Measures the embeddings of pairs: row `i` of `first` and of `second`, each `[N, D]`, row-major, unit length, are two
/// views of sample `i`, whose label is number `labels[i]` and whose group is `groups[i]`; an empty list of groups means
/// `None` for each sample.
///
/// The cost grows with `N^2 D`: a few seconds on two cores for N = 20,000 and D = 128. The result does not depend on
/// the number of threads.
///
/// # Errors
/// If the lists differ in length, or a value is not finite.
pub fn held_out(
    first: &[f32],
    second: &[f32],
    dim: usize,
    labels: Option<&[Option<u32>]>,
    groups: &[Option<GroupId>],
) -> Result<HeldOut, Error> {
    let quality = quality::of_pairs(first, second, dim)?;
    let (first, second) = (Rows::new(first, dim)?, Rows::new(second, dim)?);
    if !groups.is_empty() && groups.len() != first.len() {
        let (expected, found) = (first.len(), groups.len());
        return Err(ClusterError::Length { what: "groups", expected, found }.into());
    }
    let knn_accuracy = match labels {
        Some(labels) => {
            let scores = knn_scores(first, labels, &KnnConfig { k: NEIGHBORS, ..KnnConfig::default() })?;
            (scores.k > 0).then_some(scores.accuracy_knn)
        }
        None => None,
    };
    Ok(HeldOut {
        num_pairs: first.len(),
        alignment: quality.alignment,
        uniformity: quality.uniformity,
        effective_rank: geometry::effective_rank(first),
        embedding_std: geometry::embedding_std(first) * (dim as f64).sqrt(),
        retrieval: retrieval(&retrieve(second, first)?, groups),
        knn_accuracy,
    })
}

/// Fraction of the samples that found themselves, or another of their group.
fn retrieval(found: &[u32], groups: &[Option<GroupId>]) -> f64 {
    let group = |sample: usize| groups.get(sample).copied().flatten();
    let is_hit = |&(sample, found): &(usize, usize)| {
        found == sample || group(sample).is_some_and(|own| group(found) == Some(own))
    };
    let hits = found.iter().map(|&found| found as usize).enumerate().filter(is_hit).count();
    hits as f64 / found.len().max(1) as f64
}

/// The labels of samples `indices`, numbered by first appearance; `None` if no sample has a label.
pub fn numbered_labels(source: &dyn PairSource, indices: &[usize]) -> Option<Vec<Option<u32>>> {
    let mut numbers = HashMap::new();
    let mut number = |label: String| {
        let next = numbers.len() as u32;
        *numbers.entry(label).or_insert(next)
    };
    let labels: Vec<Option<u32>> = indices.iter().map(|&index| source.label(index).map(&mut number)).collect();
    labels.iter().any(Option::is_some).then_some(labels)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use invar_dataset::{DatasetError, Labelled, Pair, SampleId, ViewShape};

    use super::*;

    /// `x[i, d] = sin(1 + 3 i + 7 d + i d)`, which numpy can reproduce.
    fn sines(n: usize, dim: usize) -> Vec<f64> {
        let value = |i: usize, d: usize| (1.0 + 3.0 * i as f64 + 7.0 * d as f64 + (i * d) as f64).sin();
        (0..n).flat_map(|i| (0..dim).map(move |d| value(i, d))).collect()
    }

    fn unit(values: &[f64], dim: usize) -> Vec<f32> {
        let norm = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
        values.chunks(dim).flat_map(|row| row.iter().map(|x| (x / norm(row)) as f32)).collect()
    }

    fn close(ours: f64, theirs: f64) {
        assert!((ours - theirs).abs() < 1e-5, "{ours}, expected {theirs}");
    }

    #[test]
    fn against_numpy_and_scikit_learn() {
        // i, d = np.arange(60)[:, None], np.arange(6); X = np.sin(1 + 3*i + 7*d + i*d)
        // A, B = unit(X), unit(X + 0.4 * np.cos(2.0*i + 5.0*d))  # rows of unit length
        let x = sines(60, 6);
        let moved = x.iter().enumerate().map(|(at, x)| x + 0.4 * (2.0 * (at / 6) as f64 + 5.0 * (at % 6) as f64).cos());
        let (a, b) = (unit(&x, 6), unit(&moved.collect::<Vec<_>>(), 6));
        // L = (A[:, 0] > 0.2) + 2 * (A[:, 1] > 0.3); has = np.arange(60) % 5 > 0; Y, l = A[has], L[has]
        let label = |row: &[f32]| u32::from(row[0] > 0.2) + 2 * u32::from(row[1] > 0.3);
        let labels: Vec<Option<u32>> =
            a.chunks(6).enumerate().map(|(i, row)| (i % 5 > 0).then(|| label(row))).collect();
        let found = held_out(&a, &b, 6, Some(&labels), &[]).unwrap();
        assert_eq!(found.num_pairs, 60);
        close(found.alignment, 0.13390373435014466); // ((A - B)**2).sum(1).mean()
        // d2 = ((A[:, None] - A)**2).sum(-1); np.log(np.exp(-2 * d2[np.triu_indices(60, 1)]).mean())
        close(found.uniformity, -2.6499869585924727);
        // s = np.linalg.svd(A, compute_uv=False); p = s / s.sum(); np.exp(-(p * np.log(p)).sum())
        close(found.effective_rank, 5.995372557187218);
        close(found.embedding_std, 0.997763091670821); // A.std(0).mean() * 6**0.5
        close(found.retrieval, 0.5666666666666667); // ((A @ B.T).argmax(1) == np.arange(60)).mean()
        // nn = sklearn.neighbors.NearestNeighbors(n_neighbors=20, metric="cosine").fit(Y)
        // vote = [collections.Counter(l[r]).most_common(1)[0][0] for r in nn.kneighbors(return_distance=False)]
        close(found.knn_accuracy.unwrap(), 0.7291666666666666); // (vote == l).mean()
    }

    #[test]
    fn closed_forms() {
        // The four axis directions of a plane, each found by its own copy and by no other.
        let cross = [1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, -1.0];
        let found = held_out(&cross, &cross, 2, Some(&[Some(0), Some(1), Some(0), None]), &[]).unwrap();
        assert_eq!((found.num_pairs, found.alignment, found.retrieval), (4, 0.0, 1.0));
        // Four pairs at squared distance 2, two at 4.
        close(found.uniformity, ((4.0 * (-4f64).exp() + 2.0 * (-8f64).exp()) / 6.0).ln());
        close(found.effective_rank, 2.0);
        // Variance 1 / D in each dimension.
        close(found.embedding_std, 1.0);
        // Each of the three labelled samples has one of the other label nearest, and none has a majority of its own.
        assert_eq!(found.knn_accuracy, Some(0.0));
        // The second views shifted by one place: none finds its own.
        let turned = [&cross[2..], &cross[..2]].concat();
        let found = held_out(&cross, &turned, 2, None, &[]).unwrap();
        assert_eq!((found.alignment, found.retrieval, found.knn_accuracy), (2.0, 0.0, None));
        // Each finds the one before it: for two of the four that is one of their group; the one without a group fails.
        let [a, b] = [Some(GroupId(0)), Some(GroupId(u64::MAX / 2))];
        let found = held_out(&cross, &turned, 2, None, &[a, a, None, a]).unwrap();
        assert_eq!((found.alignment, found.retrieval), (2.0, 0.5));
        assert_eq!(held_out(&cross, &turned, 2, None, &[a, b, a, b]).unwrap().retrieval, 0.0);
        assert_eq!(held_out(&cross, &turned, 2, None, &[None; 4]).unwrap().retrieval, 0.0);
        assert_eq!(held_out(&cross, &cross, 2, None, &[a, a, None, b]).unwrap().retrieval, 1.0);
    }

    #[test]
    fn collapse_is_seen() {
        let point = [0.6, 0.8].repeat(50);
        let found = held_out(&point, &point, 2, None, &[]).unwrap();
        assert_eq!((found.alignment, found.retrieval), (0.0, 1.0 / 50.0));
        close(found.uniformity, 0.0);
        close(found.effective_rank, 1.0);
        close(found.embedding_std, 0.0);
    }

    #[test]
    fn too_little_is_defined_and_nonsense_refused() {
        let labels = |n: usize| vec![Some(3); n];
        assert_eq!(held_out(&[], &[], 2, Some(&labels(0)), &[]).unwrap(), HeldOut::default());
        let one = held_out(&[1.0, 0.0], &[1.0, 0.0], 2, Some(&labels(1)), &[]).unwrap();
        assert_eq!((one.num_pairs, one.uniformity, one.retrieval, one.knn_accuracy), (1, 0.0, 1.0, None));
        let error = |first: &[f32], second: &[f32], labels: Option<&[Option<u32>]>| {
            held_out(first, second, 2, labels, &[]).unwrap_err().to_string()
        };
        let row = [1.0, 0.0];
        assert_eq!(error(&row, &[], None), "embeddings: number of keys: expected 1, found 0");
        assert_eq!(error(&row, &row, Some(&[])), "embeddings: labels: expected 1, found 0");
        let few = held_out(&row.repeat(2), &row.repeat(2), 2, None, &[None]).unwrap_err().to_string();
        assert_eq!(few, "embeddings: groups: expected 2, found 1");
        let nan = [1.0, f32::NAN];
        assert_eq!(error(&nan, &row, None), "embeddings: row 0, dimension 1: NaN is not a finite number");
    }

    /// Samples "0", "1", ...
    struct Numbers(usize);

    impl PairSource for Numbers {
        fn len(&self) -> usize {
            self.0
        }
        fn view_shapes(&self) -> Vec<ViewShape> {
            vec![ViewShape::Dense(vec![1])]
        }
        fn pair(&self, index: usize, _: u64) -> Result<Pair, DatasetError> {
            Ok(Pair::of(self.split_key(index), []))
        }
        fn split_key(&self, index: usize) -> SampleId {
            SampleId(index as u64)
        }
    }

    #[test]
    fn labels_are_numbered_as_they_appear() {
        let mut labels = vec![None; 9];
        for (index, label) in [(7, "b"), (5, "a"), (2, "b"), (0, "c")] {
            labels[index] = Some(label.to_owned());
        }
        let source = Labelled::new(Arc::new(Numbers(9)), labels);
        assert_eq!(numbered_labels(&source, &[7, 1, 5, 2, 8]), Some(vec![Some(0), None, Some(1), Some(0), None]));
        assert_eq!(numbered_labels(&source, &[1, 8]), None);
        assert_eq!(numbered_labels(&Numbers(9), &[7, 5]), None);
    }
}
