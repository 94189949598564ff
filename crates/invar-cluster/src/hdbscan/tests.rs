use invar_dataset::NoProgress;

use super::*;
use crate::{
    scores::Scores,
    specimen::{blobs, on_threads},
};

fn run(values: &[f32], dim: usize, config: &HdbscanConfig) -> Clustering {
    hdbscan(Rows::new(values, dim).unwrap(), config, &NoProgress).unwrap()
}

fn ari(a: &[i32], b: &[i32]) -> f64 {
    Scores::new(a, b).unwrap().adjusted_rand_index
}

#[test]
fn blobs_and_an_outlier() {
    let (mut values, mut truth) = blobs(300, 3, 4, 10.0, 1);
    values.extend([100.0, 100.0, 100.0]);
    truth.push(-1);
    let found = run(&values, 3, &HdbscanConfig::default());
    assert_eq!((found.num_clusters, found.labels[300], found.probability[300]), (4, -1, 0.0));
    // HDBSCAN calls the fringe of a cluster noise; whoever is in one is in the right one.
    let inside: Vec<usize> = (0..300).filter(|&row| found.labels[row] >= 0).collect();
    assert!(inside.len() > 240, "{}", inside.len());
    let of = |labels: &[i32]| inside.iter().map(|&row| labels[row]).collect::<Vec<_>>();
    assert_eq!(ari(&of(&truth), &of(&found.labels)), 1.0);
    for label in 0..4 {
        let members = || found.labels.iter().zip(&found.probability).filter(move |&(&l, _)| l == label);
        assert!(members().all(|(_, &p)| p > 0.0 && p <= 1.0));
        assert!(members().any(|(_, &p)| p == 1.0));
    }
}

#[test]
fn many_dimensions_are_projected() {
    let (values, truth) = blobs(400, 64, 5, 4.0, 2);
    let found = run(&values, 64, &HdbscanConfig { max_dimensions: 8, ..Default::default() });
    assert_eq!(found.num_clusters, 5);
    assert!(ari(&truth, &found.labels) > 0.9);
}

#[test]
fn a_sample_stands_for_the_rest() {
    let (values, truth) = blobs(2000, 4, 3, 10.0, 3);
    let found = run(&values, 4, &HdbscanConfig { sample: 500, ..Default::default() });
    assert_eq!((found.num_clusters, found.labels.len()), (3, 2000));
    let noise = found.labels.iter().filter(|&&label| label == -1).count();
    assert!(noise < 400, "{noise}");
    let inside = (0..2000).filter(|&row| found.labels[row] >= 0);
    let (a, b): (Vec<i32>, Vec<i32>) = inside.map(|row| (truth[row], found.labels[row])).unzip();
    assert_eq!(ari(&a, &b), 1.0);
    assert!(found.labels.iter().zip(&found.probability).all(|(&l, &p)| (l < 0) == (p == 0.0)));
}

#[test]
fn too_few_rows_are_noise() {
    for n in 0..5usize {
        let values: Vec<f32> = (0..n * 2).map(|x| x as f32).collect();
        let found = run(&values, 2, &HdbscanConfig { min_cluster_size: 5, ..Default::default() });
        assert_eq!((found.labels, found.num_clusters), (vec![-1; n], 0));
    }
}

#[test]
fn identical_rows_are_defined() {
    let found = run(&[0.5; 200], 2, &HdbscanConfig { min_cluster_size: 5, ..Default::default() });
    assert_eq!(found.labels.len(), 100);
    assert!(found.probability.iter().all(|p| p.is_finite()));
}

#[test]
fn too_many_rows_are_refused_with_a_way_out() {
    let values = vec![0.0; MAX_ROWS + 1];
    let error = hdbscan(Rows::new(&values, 1).unwrap(), &HdbscanConfig::default(), &NoProgress).unwrap_err();
    assert!(!error.is_bad_input());
    let text = error.to_string();
    assert!(text.starts_with("hdbscan of 30001 rows is too slow") && text.contains("sample = 30000"), "{text}");
}

#[test]
fn bad_parameters_are_named() {
    let config = HdbscanConfig { min_cluster_size: 1, ..Default::default() };
    let error = hdbscan(Rows::new(&[], 1).unwrap(), &config, &NoProgress).unwrap_err();
    assert_eq!(error.to_string(), "min_cluster_size = 1: must be at least 2");
}

#[test]
fn threads_change_no_byte() {
    let (values, _) = blobs(700, 20, 4, 2.0, 5);
    let of = |threads| on_threads(threads, || run(&values, 20, &HdbscanConfig { sample: 400, ..Default::default() }));
    assert_eq!(of(1), of(2));
}
