use std::sync::atomic::{AtomicBool, Ordering};

use invar_dataset::NoProgress;
use proptest::prelude::*;

use super::*;
use crate::{
    rows::squared_distance,
    scores::Scores,
    specimen::{blobs, on_threads},
};

fn config(k: usize) -> KMeansConfig {
    KMeansConfig { k: NumClusters::Fixed(k), ..Default::default() }
}

fn run(values: &[f32], dim: usize, config: &KMeansConfig) -> KMeans {
    kmeans(Rows::new(values, dim).unwrap(), config, &NoProgress).unwrap()
}

fn ari(a: &[i32], b: &[i32]) -> f64 {
    Scores::new(a, b).unwrap().adjusted_rand_index
}

/// Textbook Lloyd in double precision: the oracle for the bounds.
fn textbook(values: &[f32], dim: usize, mut centers: Vec<f64>, iterations: usize) -> (Vec<i32>, Vec<f64>) {
    let k = centers.len() / dim;
    let mut labels = vec![];
    for _ in 0..=iterations {
        labels = values
            .chunks(dim)
            .map(|row| {
                let squared = |c: usize| -> f64 {
                    row.iter().zip(&centers[c * dim..]).map(|(&x, c)| (f64::from(x) - c).powi(2)).sum()
                };
                (0..k).min_by(|&a, &b| squared(a).total_cmp(&squared(b))).unwrap() as i32
            })
            .collect();
        for c in 0..k {
            let members: Vec<&[f32]> =
                values.chunks(dim).zip(&labels).filter(|&(_, &l)| l as usize == c).map(|(row, _)| row).collect();
            for d in 0..dim {
                let sum: f64 = members.iter().map(|row| f64::from(row[d])).sum();
                if !members.is_empty() {
                    centers[c * dim + d] = sum / members.len() as f64;
                }
            }
        }
    }
    (labels, centers)
}

#[test]
fn well_separated_blobs_are_found() {
    let (values, truth) = blobs(600, 12, 7, 6.0, 1);
    let found = run(&values, 12, &config(7));
    assert_eq!(ari(&truth, &found.labels), 1.0);
    assert!(found.converged);
    // 600 rows x 12 dimensions of variance 1/3, less 7 fitted means: 600 * 12 / 3 * (1 - 7 / 600) = 2372.
    assert!((2372.0f64 / found.inertia - 1.0).abs() < 0.05, "{}", found.inertia);
}

#[test]
fn bounds_change_nothing() {
    // Overlapping blobs take many iterations, and every row must end where the textbook puts it.
    let (values, _) = blobs(3000, 5, 9, 1.0, 2);
    let prepared = Prepared::new(Rows::new(&values, 5).unwrap(), false);
    let start: Vec<f32> = values[..9 * 5].to_vec();
    let run = lloyd::run(&prepared, start.clone(), 200, 0.0, &NoProgress).unwrap();
    assert!(run.converged && run.iterations > 10, "{} iterations", run.iterations);
    let (labels, centers) = textbook(&values, 5, start.iter().map(|&x| f64::from(x)).collect(), run.iterations);
    for (ours, theirs) in run.centers.iter().zip(&centers) {
        assert!((f64::from(*ours) - theirs).abs() < 1e-5, "{ours} {theirs}");
    }
    assert_eq!(prepared.finish(run).labels, labels);
}

#[test]
fn known_line() {
    // sklearn.cluster.KMeans(2).fit([[0], [1], [2], [10], [12]]): centres 1 and 11, inertia 4.
    let found = run(&[0.0, 1.0, 2.0, 10.0, 12.0], 1, &config(2));
    let mut centers = found.centers.clone();
    centers.sort_by(f32::total_cmp);
    assert_eq!((centers.as_slice(), found.inertia), ([1.0, 11.0].as_slice(), 4.0));
    // Row 0: 1 from its centre, 11 from the other; row 1 lies on its centre.
    assert!((found.probability[0] - (1.0 - 1.0 / 11.0)).abs() < 1e-6, "{:?}", found.probability);
    assert_eq!(found.probability[1], 1.0);
}

#[test]
fn values_far_from_the_origin_lose_nothing() {
    let (values, truth) = blobs(400, 4, 5, 8.0, 3);
    let far: Vec<f32> = values.iter().map(|x| x + 10_000.0).collect();
    let found = run(&far, 4, &config(5));
    assert_eq!(ari(&truth, &found.labels), 1.0);
    assert!(found.centers.iter().all(|c| (9_980.0..10_020.0).contains(c)));
}

#[test]
fn fewer_rows_than_clusters_are_clusters_each() {
    for n in 0..=4usize {
        let values: Vec<f32> = (0..n * 2).map(|x| x as f32).collect();
        let found = run(&values, 2, &config(4));
        assert_eq!((found.k, found.inertia), (n, 0.0));
        let mut labels = found.labels.clone();
        labels.sort_unstable();
        assert_eq!(labels, (0..n as i32).collect::<Vec<_>>());
        assert_eq!(found.probability, vec![1.0; n]);
    }
}

#[test]
fn identical_rows_are_one_cluster() {
    let found = run(&[0.25; 300], 3, &config(4));
    assert_eq!(found.labels, vec![0; 100]);
    assert_eq!((found.inertia, found.k), (0.0, 4));
    assert_eq!(found.probability, vec![0.0; 100]);
    assert_eq!(run(&[0.25; 300], 3, &KMeansConfig::default()).k, 1);
}

#[test]
fn one_cluster_is_the_mean() {
    let found = run(&[0.0, 2.0, 7.0], 1, &config(1));
    assert_eq!((found.centers.as_slice(), found.inertia), ([3.0].as_slice(), 26.0));
    assert_eq!(found.probability, [1.0; 3]);
}

#[test]
fn an_empty_centre_takes_the_farthest_row() {
    let values = [0.0, 1.0, 2.0, 10.0];
    let prepared = Prepared::new(Rows::new(&values, 1).unwrap(), false);
    // Nothing is nearest to 1,000.
    let run = lloyd::run(&prepared, vec![0.0, 1000.0], 50, 0.0, &NoProgress).unwrap();
    assert_eq!((run.centers.as_slice(), run.inertia), ([1.0, 10.0].as_slice(), 2.0));
}

#[test]
fn spherical_ignores_length() {
    let values = [1.0, 0.1, 100.0, 0.0, 0.1, 0.0, 0.0, 1.0, 0.2, 30.0, 0.0, 0.2];
    let found = run(&values, 2, &KMeansConfig { spherical: true, ..config(2) });
    assert_eq!(ari(&found.labels, &[0, 0, 0, 1, 1, 1]), 1.0);
    for center in found.centers.chunks(2) {
        assert!((squared_distance(center, &[0.0, 0.0]) - 1.0).abs() < 1e-6);
    }
}

#[test]
fn the_number_of_clusters_is_found() {
    for k in [2, 5, 12] {
        let (values, truth) = blobs(900, 16, k, 4.0, k as u64);
        let found = run(&values, 16, &KMeansConfig { k_max: 20, ..Default::default() });
        assert_eq!((found.k, ari(&truth, &found.labels)), (k, 1.0));
    }
}

#[test]
fn what_has_no_clusters_is_one() {
    let (values, _) = blobs(1000, 16, 1, 1.0, 6);
    assert_eq!(run(&values, 16, &KMeansConfig { k_max: 12, ..Default::default() }).k, 1);
}

#[test]
fn threads_change_no_byte() {
    // Several chunks, so that there is something to reorder.
    let (values, _) = blobs(3 * CHUNK + 17, 6, 8, 1.5, 4);
    let config = KMeansConfig { restarts: 2, ..config(8) };
    let of = |threads| on_threads(threads, || run(&values, 6, &config));
    assert_eq!(of(1), of(2));
    assert_eq!(of(1), of(5));
}

#[test]
fn bad_parameters_are_named() {
    let data = [1.0, 2.0];
    let refused =
        |config: KMeansConfig| kmeans(Rows::new(&data, 1).unwrap(), &config, &NoProgress).unwrap_err().to_string();
    assert_eq!(refused(config(0)), "k = 0: must be at least 1, or \"auto\"");
    assert_eq!(refused(KMeansConfig { restarts: 0, ..config(1) }), "restarts = 0: must be at least 1");
    let refusal = refused(KMeansConfig { tolerance: f64::NAN, ..config(1) });
    assert_eq!(refusal, "tolerance = NaN: must be 0 or a positive number");
    assert!("0".parse::<NumClusters>().is_err());
    assert_eq!("auto".parse::<NumClusters>().unwrap().to_string(), "auto");
}

#[test]
fn a_user_can_stop_it() {
    struct Stop(AtomicBool);
    impl Progress for Stop {
        fn set_total(&self, _: u64) {}
        fn advance(&self, _: u64) {
            self.0.store(true, Ordering::Relaxed);
        }
        fn message(&self, _: &str) {}
        fn is_cancelled(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }
    let (values, _) = blobs(100, 2, 3, 5.0, 1);
    let stopped = kmeans(Rows::new(&values, 2).unwrap(), &config(3), &Stop(AtomicBool::new(false)));
    assert!(matches!(stopped, Err(ClusterError::Cancelled)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the values, each row ends at its nearest centre and each centre at the mean of its rows.
    #[test]
    fn a_converged_run_is_a_fixed_point(
        values in prop::collection::vec(-100i32..100, 2..240), k in 1usize..9, seed: u64,
    ) {
        let values: Vec<f32> = values.chunks_exact(2).flatten().map(|&x| x as f32 / 8.0).collect();
        let found = run(&values, 2, &KMeansConfig { restarts: 1, tolerance: 0.0, seed, ..config(k) });
        prop_assert!(found.converged);
        for (row, &label) in values.chunks(2).zip(&found.labels) {
            let own = squared_distance(row, &found.centers[label as usize * 2..][..2]);
            let nearest = found.centers.chunks(2).map(|c| squared_distance(row, c)).fold(f32::INFINITY, f32::min);
            prop_assert!(own <= nearest + 1e-3, "{own} {nearest}");
        }
        for (label, center) in found.centers.chunks(2).enumerate() {
            let members: Vec<_> =
                values.chunks(2).zip(&found.labels).filter(|&(_, &l)| l as usize == label).map(|(r, _)| r).collect();
            if !members.is_empty() {
                for d in 0..2 {
                    let mean = members.iter().map(|r| r[d]).sum::<f32>() / members.len() as f32;
                    prop_assert!((mean - center[d]).abs() < 1e-2, "{mean} {}", center[d]);
                }
            }
        }
    }
}
