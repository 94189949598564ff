use proptest::prelude::*;

use super::{votes::majority, *};
use crate::specimen::{on_threads, sines};

#[test]
fn against_numpy() {
    // Z = sin(1 + 3 i + 7 d + i d), 40 x 6, labels i % 3; cosines with the diagonal left out, stable argsort.
    let values = sines(40, 6);
    let rows = Rows::new(&values, 6).unwrap();
    let found = nearest(rows, &[0], 5, Metric::Cosine).unwrap();
    assert_eq!(found.indices, [11, 36, 19, 25, 30]);
    let expected = [0.983054636194307, 0.8373534501656816, 0.7750046714468285, 0.7153339190387016, 0.5895161387769029];
    assert!(found.values.iter().zip(expected).all(|(&a, b)| (f64::from(a) - b).abs() < 1e-6), "{:?}", found.values);
    let labels: Vec<Option<usize>> = (0..40).map(|i| Some(i % 3)).collect();
    let scores = knn_scores(rows, &labels, &KnnConfig { k: 5, ..Default::default() }).unwrap();
    assert_eq!((scores.recall_at_1, scores.accuracy_knn, scores.recall_at_k), (0.35, 0.15, 0.75));
}

#[test]
fn unlabelled_rows_are_left_out() {
    // The nearest of each row is a row without a label.
    let values = [1.0, 0.0, 1.0, 0.001, 0.9, 0.1, 0.0, 1.0, 0.001, 1.0, 0.1, 0.9];
    let labels = [Some("a"), None, Some("a"), Some("b"), None, Some("b")];
    let scores = knn_scores(Rows::new(&values, 2).unwrap(), &labels, &KnnConfig::default()).unwrap();
    assert_eq!((scores.num_queries, scores.k, scores.recall_at_1), (4, 3, 1.0));
}

#[test]
fn too_few_rows_are_defined() {
    for n in 0..2 {
        let values = vec![1.0; n * 3];
        let scores = knn_scores(Rows::new(&values, 3).unwrap(), &vec![Some(1); n], &KnnConfig::default()).unwrap();
        assert_eq!((scores.num_queries, scores.k, scores.recall_at_1), (n, 0, 0.0));
    }
    let scores = knn_scores(Rows::new(&[1.0, 2.0], 1).unwrap(), &[Some(1), Some(1)], &KnnConfig::default()).unwrap();
    assert_eq!((scores.k, scores.recall_at_1, scores.accuracy_knn, scores.recall_at_k), (1, 1.0, 1.0, 1.0));
}

#[test]
fn a_tie_goes_to_the_nearest() {
    assert_eq!(majority(["b", "a", "a", "b"].iter()), Some(&"b"));
    assert_eq!(majority(["b", "a", "a"].iter()), Some(&"a"));
}

#[test]
fn a_zero_row_is_no_nan() {
    let found = nearest(Rows::new(&[0.0, 0.0, 1.0, 0.0, 1.0, 1.0], 2).unwrap(), &[0], 2, Metric::Cosine).unwrap();
    assert_eq!((found.indices.as_slice(), found.values.as_slice()), ([1, 2].as_slice(), [0.0, 0.0].as_slice()));
}

#[test]
fn threads_change_no_bit() {
    let values = sines(2500, 5);
    let queries: Vec<usize> = (0..2500).step_by(3).collect();
    let all =
        |threads| on_threads(threads, || nearest(Rows::new(&values, 5).unwrap(), &queries, 7, Metric::Cosine).unwrap());
    assert_eq!(all(1), all(2));
}

#[test]
fn retrieval_against_numpy() {
    // G = sin(1 + 3 i + 7 d + i d), 30 x 5; Q = G + 0.6 cos(2 i + 5 d); both scaled to unit length;
    // top = (Q @ G.T).argmax(1); (top == arange(30)).mean(); top[:8]
    let gallery = sines(30, 5);
    let noise = |at: usize| 0.6 * (2.0 * (at / 5) as f64 + 5.0 * (at % 5) as f64).cos() as f32;
    let queries: Vec<f32> = gallery.iter().enumerate().map(|(at, &x)| x + noise(at)).collect();
    let (gallery, queries) = (Rows::new(&gallery, 5).unwrap(), Rows::new(&queries, 5).unwrap());
    assert_eq!(&retrieve(gallery, queries).unwrap()[..8], [19, 1, 29, 8, 29, 5, 6, 29]);
    assert!(
        (self_retrieval(gallery, queries, &(0..30).collect::<Vec<_>>()).unwrap() - 0.5666666666666667).abs() < 1e-12
    );
}

#[test]
fn retrieval_of_nothing_and_of_other_shapes_is_defined() {
    let (none, one, two) = (Rows::new(&[], 2).unwrap(), [1.0, 0.0], [1.0, 0.0, 0.0, 1.0]);
    let (one, two) = (Rows::new(&one, 2).unwrap(), Rows::new(&two, 2).unwrap());
    assert_eq!(self_retrieval(none, none, &[]).unwrap(), 0.0);
    assert!(retrieve(none, two).unwrap().is_empty() && retrieve_other(one, two, &[0, 0]).unwrap().is_empty());
    assert_eq!(retrieve_other(two, two, &[0, 1]).unwrap(), [1, 0]);
    let error = self_retrieval(one, two, &[0]).unwrap_err().to_string();
    assert_eq!(error, "own rows of the queries: expected 2, found 1");
    let wide = Rows::new(&[1.0, 0.0, 0.0], 3).unwrap();
    assert_eq!(retrieve(two, wide).unwrap_err().to_string(), "dimension of the queries: expected 2, found 3");
    // Where all embeddings are equal, the first of the gallery is found each time: chance.
    let same = vec![1.0; 20];
    let same = Rows::new(&same, 2).unwrap();
    assert_eq!(self_retrieval(same, same, &(0..10).collect::<Vec<_>>()).unwrap(), 0.1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against a scan of all cosines; rows of small integers of one length, so that products are exact.
    #[test]
    fn retrieval_is_a_full_scan(
        gallery in prop::collection::vec(prop::sample::select(vec![-1f32, 1.0]), 1..400),
        queries in prop::collection::vec(-9i8..9, 4..400),
    ) {
        let gallery = &gallery[..gallery.len() / 4 * 4];
        let queries: Vec<f32> = queries.chunks_exact(4).flatten().map(|&x| f32::from(x)).collect();
        let found = retrieve(Rows::new(gallery, 4).unwrap(), Rows::new(&queries, 4).unwrap()).unwrap();
        for (query, &found) in queries.chunks(4).zip(&found) {
            let product = |row: &[f32]| row.iter().zip(query).map(|(a, b)| a * b).sum::<f32>();
            let best = gallery.chunks(4).map(product).fold(f32::NEG_INFINITY, f32::max);
            prop_assert_eq!(gallery.chunks(4).position(|row| product(row) == best), Some(found as usize));
        }
    }

    /// Against a sort of all distances; coordinates are small integers, so the arithmetic is exact and ties are
    /// frequent.
    #[test]
    fn euclidean_neighbours_are_those_of_a_full_sort(
        values in prop::collection::vec(-9i8..9, 6..300), k in 1usize..12,
    ) {
        let values: Vec<f32> = values.chunks_exact(3).flatten().map(|&x| f32::from(x)).collect();
        let rows = Rows::new(&values, 3).unwrap();
        let queries: Vec<usize> = (0..rows.len()).collect();
        let found = nearest(rows, &queries, k, Metric::Euclidean).unwrap();
        for &query in &queries {
            let mut all: Vec<(f32, u32)> = (0..rows.len())
                .filter(|&other| other != query)
                .map(|other| (rows::squared_distance(rows.row(query), rows.row(other)).sqrt(), other as u32))
                .collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            all.truncate(k);
            let ours = found.indices.chunks(found.k.max(1)).nth(query).unwrap_or(&[]);
            prop_assert_eq!(ours, all.iter().map(|&(_, row)| row).collect::<Vec<_>>());
        }
    }
}
