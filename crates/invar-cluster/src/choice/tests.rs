use invar_dataset::NoProgress;

use super::*;
use crate::{
    scores::Scores,
    specimen::{blobs, on_threads},
};

fn run(values: &[f32], dim: usize, ties: Option<&Ties>, config: &AutoConfig) -> Clustering {
    auto(Rows::new(values, dim).unwrap(), ties, config, &NoProgress).unwrap()
}

fn chosen(of: &Clustering) -> Vec<&Candidate> {
    of.candidates.iter().filter(|candidate| candidate.chosen).collect()
}

#[test]
fn the_number_of_blobs_is_found() {
    // Leiden cannot see the three of few rows; k-means can.
    for (n, k) in [(36, 3), (300, 2), (900, 7), (1500, 23)] {
        let (values, labels) = blobs(n, 12, k, 6.0, k as u64);
        let found = run(&values, 12, None, &AutoConfig::default());
        assert_eq!(found.num_clusters, k, "{n} rows: {:?}", chosen(&found));
        assert_eq!(Scores::new(&labels, &found.labels).unwrap().adjusted_rand_index, 1.0);
        assert!(found.confidence.iter().all(|&of| of > 0.9), "{:?}", found.confidence);
        let [taken] = chosen(&found)[..] else { panic!("{:?}", found.candidates) };
        assert_eq!((taken.method, taken.num_clusters), (found.method, k));
        let best = found.candidates.iter().filter_map(|one| one.score).fold(0.0, f64::max);
        assert_eq!(taken.score, Some(best));
    }
}

#[test]
fn one_cloud_and_equal_rows_and_few_are_one() {
    let (cloud, _) = blobs(600, 16, 1, 0.0, 2);
    for values in [&cloud[..], &[0.6; 16 * 40], &[0.0; 16 * 3], &cloud[..16]] {
        let found = run(values, 16, None, &AutoConfig::default());
        assert_eq!((found.num_clusters, found.confidence.as_slice()), (1, &[1.0][..]), "{:?}", chosen(&found));
        assert!(chosen(&found).is_empty());
    }
    assert_eq!(run(&[], 16, None, &AutoConfig::default()).num_clusters, 0);
}

#[test]
fn rows_that_must_stay_together_are_left_to_leiden() {
    let (values, _) = blobs(400, 8, 4, 8.0, 7);
    let ties = Ties::new((0..400).map(|row| (row < 2).then_some(1)).collect());
    let found = run(&values, 8, Some(&ties), &AutoConfig::default());
    assert_eq!(found.labels[0], found.labels[1]);
    assert!(found.candidates.iter().all(|one| one.method == Method::Leiden));
    let rows = Rows::new(&values, 8).unwrap();
    let config = AutoConfig { k: Some(NumClusters::Fixed(3)), ..AutoConfig::default() };
    let error = auto(rows, Some(&ties), &config, &NoProgress).unwrap_err();
    assert_eq!(error.to_string(), "k = 3: must be left out where rows must stay together");
    let found = auto(rows, None, &config, &NoProgress).unwrap();
    assert_eq!((found.method, found.num_clusters, found.candidates.len()), (Method::KMeans, 3, 0));
}

#[test]
fn parameters_are_checked_before_anything_is_tried() {
    let (values, _) = blobs(40, 4, 2, 8.0, 7);
    let refused = |ties: Option<&Ties>, config: AutoConfig| {
        auto(Rows::new(&values, 4).unwrap(), ties, &config, &NoProgress).unwrap_err().to_string()
    };
    let of = AutoConfig::default;
    assert_eq!(refused(None, AutoConfig { neighbors: 0, ..of() }), "neighbors = 0: must be 1 to 1,000");
    assert_eq!(refused(None, AutoConfig { neighbors: 5_000, ..of() }), "neighbors = 5000: must be 1 to 1,000");
    assert_eq!(refused(None, AutoConfig { sample: 0, ..of() }), "sample = 0: must be at least 1");
    assert_eq!(refused(None, AutoConfig { k_max: 1, ..of() }), "k_max = 1: must be at least 2");
    let ties = Ties::new(vec![None; 39]);
    assert_eq!(refused(Some(&ties), of()), "rows that must stay together: expected 40, found 39");
}

#[test]
fn a_cluster_that_is_cut_at_random_is_said_to_be() {
    // Three round blobs as four: two of the four are pieces of one.
    let (values, _) = blobs(1200, 10, 3, 6.0, 4);
    let rows = Rows::new(&values, 10).unwrap();
    let config = KMeansConfig { k: NumClusters::Fixed(4), ..KMeansConfig::default() };
    let found = ClusterConfig::KMeans(config).run(rows, None, &NoProgress).unwrap();
    let unsure = found.confidence.iter().filter(|&&of| of < 0.75).count();
    assert_eq!((found.confidence.len(), unsure), (4, 2), "{:?}", found.confidence);
    assert!(found.candidates.is_empty());
}

#[test]
fn more_rows_than_are_tried_get_the_same_clusters() {
    let (values, labels) = blobs(MOST_ROWS + 1000, 12, 5, 6.0, 3);
    let found = run(&values, 12, None, &AutoConfig::default());
    assert_eq!(Scores::new(&labels, &found.labels).unwrap().adjusted_rand_index, 1.0, "{:?}", chosen(&found));
}

#[test]
fn the_same_at_any_number_of_threads() {
    let (values, _) = blobs(700, 12, 9, 2.0, 4);
    let of = |threads| on_threads(threads, || run(&values, 12, None, &AutoConfig::default()));
    let one = of(1);
    assert!(one.num_clusters > 1, "{:?}", one.candidates);
    assert_eq!(one, of(2));
    assert_eq!(one, of(3));
}
