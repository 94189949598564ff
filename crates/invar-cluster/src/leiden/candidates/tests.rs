use super::*;
use crate::specimen::{blobs, sines};

fn outcome(resolution: f64, confidence: &[f32], silhouette: Option<f64>) -> Outcome {
    Outcome { resolution, labels: vec![], confidence: confidence.to_vec(), silhouette }
}

/// By the definition, from all pairs: scikit-learn's `silhouette_score(metric="cosine")`.
fn by_pairs(values: &[f32], dim: usize, labels: &[i32]) -> f64 {
    let rows: Vec<&[f32]> = values.chunks(dim).collect();
    let distance =
        |a: usize, b: usize| 1.0 - rows[a].iter().zip(rows[b]).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
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
fn the_silhouette_is_that_of_all_pairs() {
    let (values, mut labels) = blobs(130, 6, 4, 3.0, 1);
    labels[7] = 4; // alone
    labels[9] = (labels[9] + 1) % 4; // in the wrong one
    let rows = Rows::new(&values, 6).unwrap();
    let values = rows.normalized();
    let (fast, slow) = (silhouette(&values, 6, &labels, 5), by_pairs(&values, 6, &labels));
    assert!((fast - slow).abs() < 1e-5, "{fast} {slow}");
    // sklearn.metrics.silhouette_score(x, np.arange(50) % 3, metric="cosine") of the same rows is below 0: the labels
    // have nothing to do with them.
    let values = Rows::new(&sines(50, 5), 5).unwrap().normalized();
    let labels: Vec<i32> = (0..50).map(|row| row % 3).collect();
    let (fast, slow) = (silhouette(&values, 5, &labels, 3), by_pairs(&values, 5, &labels));
    assert!(fast < 0.0 && (fast - slow).abs() < 1e-5, "{fast} {slow}");
}

#[test]
fn similarities_by_hand() {
    // Cluster 0 of 4 rows: 3 of them in a cluster of 5: 3 / 6. Cluster 1 of 3 rows: 2 in that of 5: 2 / 6; 1 in that of 2: 1 / 4.
    let mut found = best_similarities(&[0, 0, 0, 0, 1, 1, 1], &[8, 8, 8, 9, 8, 8, 9]);
    found.sort_by_key(|&(cluster, _)| cluster);
    assert_eq!(found, [(0, 0.5), (1, 1.0 / 3.0)]);
}

#[test]
fn the_largest_product_is_taken_and_what_is_not_found_again_is_not() {
    let outcomes = [
        outcome(0.1, &[1.0, 1.0], Some(0.30)),
        outcome(0.3, &[0.9, 0.9, 0.9], Some(0.40)),
        outcome(0.5, &[0.6, 0.5, 0.6, 0.6], Some(0.90)),
        outcome(0.7, &[0.9; 5], Some(0.40)),
    ];
    assert_eq!(best(&outcomes), Some(1));
    assert_eq!(outcomes[1].candidate(true).score, Some(0.40 * f64::from(0.9f32)));
    assert_eq!(outcomes[2].candidate(false).score, None);
    assert_eq!(best(&outcomes[2..3]), None);
    // Clusters that do not lie apart are none; neither is one.
    assert_eq!(best(&[outcome(0.1, &[1.0, 1.0], Some(0.0)), outcome(0.05, &[1.0], None)]), None);
}
