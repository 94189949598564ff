use std::collections::{HashMap, HashSet};

use invar_dataset::NoProgress;
use proptest::prelude::*;

use super::*;
use crate::{
    Candidate,
    neighbors::Metric,
    scores::Scores,
    specimen::{blobs, on_threads},
};

fn run(values: &[f32], dim: usize, together: Option<&[Option<i64>]>, config: &LeidenConfig) -> Clustering {
    let ties = together.map(|values| Ties::new(values.to_vec()));
    leiden(Rows::new(values, dim).unwrap(), ties.as_ref(), config, &NoProgress).unwrap()
}

fn fixed(resolution: f64) -> LeidenConfig {
    LeidenConfig { resolution: Resolution::Fixed(resolution), seed: 3, ..LeidenConfig::default() }
}

#[test]
fn blobs_are_found_and_found_again() {
    // Eight of 1, 3, 5, ... 15 parts of 64: the largest has fourteen times as many rows as the smallest.
    let (values, labels) = blobs(2400, 16, 64, 6.0, 5);
    let labels: Vec<i32> = labels.iter().map(|&label| (f64::from(label).sqrt()) as i32).collect();
    let of_blob: HashMap<i32, usize> = labels.iter().fold(HashMap::new(), |mut counts, &label| {
        *counts.entry(label).or_default() += 1;
        counts
    });
    assert_eq!((of_blob.len(), of_blob[&0], of_blob[&7]), (8, 38, 555));
    // Rows of one blob are around one centre.
    let centres: Vec<f32> = values[..64 * 16].to_vec();
    let moved: Vec<f32> = values
        .chunks(16)
        .enumerate()
        .flat_map(|(row, at)| {
            let (own, first) = (row % 64, (labels[row] * labels[row]) as usize);
            (0..16).map(|d| at[d] - centres[own * 16 + d] + centres[first * 16 + d]).collect::<Vec<_>>()
        })
        .collect();
    let found = run(&moved, 16, None, &LeidenConfig::default());
    let scores = Scores::new(&labels, &found.labels).unwrap();
    assert!(scores.adjusted_rand_index > 0.98, "{scores:?} {:?}", found.candidates);
    assert_eq!(found.num_clusters, 8);
    assert!(found.confidence.iter().all(|&of| of > 0.85), "{:?}", found.confidence);
    assert!(found.probability.iter().all(|&share| share > 0.5));
    let chosen: Vec<&Candidate> = found.candidates.iter().filter(|candidate| candidate.chosen).collect();
    assert_eq!((chosen.len(), chosen[0].num_clusters), (1, 8));
}

#[test]
fn what_does_not_fall_into_clusters_is_one() {
    let (values, _) = blobs(600, 16, 1, 0.0, 2);
    let found = run(&values, 16, None, &LeidenConfig::default());
    assert_eq!((found.num_clusters, found.confidence.as_slice()), (1, &[1.0][..]), "{:?}", found.candidates);
    assert!(found.candidates.iter().all(|candidate| !candidate.chosen));
    let same = [0.6f32, 0.8].repeat(100);
    assert_eq!(run(&same, 2, None, &LeidenConfig::default()).num_clusters, 1);
}

#[test]
fn few_rows() {
    assert_eq!(run(&[], 4, None, &LeidenConfig::default()).num_clusters, 0);
    for n in 1..6 {
        let (values, _) = blobs(n, 4, n, 3.0, 1);
        for config in [LeidenConfig::default(), fixed(1.0)] {
            let found = run(&values, 4, None, &config);
            assert_eq!(found.labels.len(), n);
            assert!((1..=n).contains(&found.num_clusters), "{n} rows: {}", found.num_clusters);
            assert_eq!(found.confidence.len(), found.num_clusters);
        }
    }
}

#[test]
fn rows_that_must_stay_together_do_and_those_of_no_value_are_alone() {
    let (values, labels) = blobs(400, 8, 4, 8.0, 7);
    // A row of blob 0 and one of blob 1 are tied: both blobs are then one cluster, because nothing separates them
    // otherwise.
    let mut tied = vec![None; 400];
    (tied[0], tied[1]) = (Some(11), Some(11));
    let free = run(&values, 8, None, &fixed(0.3));
    assert_eq!(free.num_clusters, 4);
    let found = run(&values, 8, Some(&tied), &fixed(0.3));
    assert_eq!(found.labels[0], found.labels[1]);
    // All rows of a blob in one node: the result is the same as without.
    let whole: Vec<Option<i64>> = labels.iter().map(|&label| (label == 2).then_some(-5)).collect();
    assert_eq!(run(&values, 8, Some(&whole), &fixed(0.3)).labels, free.labels);
    let error = leiden(Rows::new(&values, 8).unwrap(), Some(&Ties::new(tied[1..].to_vec())), &fixed(0.3), &NoProgress)
        .unwrap_err();
    assert_eq!(error.to_string(), "rows that must stay together: expected 400, found 399");
}

#[test]
fn the_same_at_any_number_of_threads() {
    let (values, _) = blobs(700, 12, 9, 2.0, 4);
    let together: Vec<Option<i64>> = (0..700).map(|row| (row % 3 == 0).then_some(row / 30)).collect();
    let of = |threads| on_threads(threads, || run(&values, 12, Some(&together), &LeidenConfig::default()));
    let one = of(1);
    assert!(one.num_clusters > 1, "{:?}", one.candidates);
    assert_eq!(one, of(2));
    assert_eq!(one, of(3));
}

#[test]
fn rows_outside_the_sample_follow_those_inside() {
    let (values, labels) = blobs(500, 8, 5, 8.0, 9);
    let config = LeidenConfig { sample: 200, ..fixed(0.3) };
    let found = run(&values, 8, None, &config);
    assert_eq!(Scores::new(&labels, &found.labels).unwrap().adjusted_rand_index, 1.0);
    assert!(found.probability.iter().all(|&share| share > 0.5 && share <= 1.0));
    // Ties hold there too: every row of blob 4 is tied to one row of blob 0, wherever the sample has them.
    let together: Vec<Option<i64>> =
        labels.iter().enumerate().map(|(row, &label)| (label == 4 || row == 0).then_some(1)).collect();
    let found = run(&values, 8, Some(&together), &config);
    assert!((0..500).filter(|&row| labels[row] == 4).all(|row| found.labels[row] == found.labels[0]));
}

#[test]
fn bad_parameters_are_refused() {
    let refused = |config: LeidenConfig| {
        leiden(Rows::new(&[1.0, 0.0], 2).unwrap(), None, &config, &NoProgress).unwrap_err().to_string()
    };
    assert_eq!(refused(fixed(f64::NAN)), "resolution = NaN: must be a positive number, or \"auto\"");
    assert_eq!(refused(fixed(0.0)), "resolution = 0: must be a positive number, or \"auto\"");
    assert_eq!(refused(LeidenConfig { sample: 0, ..fixed(1.0) }), "sample = 0: must be at least 1");
    let read = |json: &str| serde_json::from_str::<LeidenConfig>(json).map_err(|error| error.to_string());
    assert_eq!(read(r#"{"resolution": 1}"#).unwrap().resolution, Resolution::Fixed(1.0));
    assert_eq!(read(r#"{"resolution": "auto"}"#).unwrap().resolution, Resolution::Auto);
    assert!(read(r#"{"resolution": -1}"#).unwrap_err().contains("expected a positive number, or \"auto\""));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_cluster_hangs_together_and_ties_hold(seed in 0..1000u64, resolution in 0.05..3.0f64, ties in 0..40i64) {
        let (values, _) = blobs(150, 5, 6, 1.5, seed);
        let together: Vec<Option<i64>> =
            (0..150).map(|row| (row * 7 % 11 < 4 && ties > 0).then(|| row % ties.max(1))).collect();
        let found = run(&values, 5, Some(&together), &fixed(resolution));
        let rows = Rows::new(&values, 5).unwrap();
        let near = neighbors::nearest(rows, &(0..150).collect::<Vec<_>>(), 15, Metric::Cosine).unwrap();
        // Which rows can be reached from the first of a cluster by neighbours and ties within it.
        for cluster in 0..found.num_clusters as i32 {
            let members: HashSet<usize> = (0..150).filter(|&row| found.labels[row] == cluster).collect();
            let mut reached = HashSet::from([*members.iter().min().unwrap()]);
            loop {
                let joins = |a: usize, b: usize| {
                    near.indices[a * 15..][..15].contains(&(b as u32))
                        || near.indices[b * 15..][..15].contains(&(a as u32))
                        || (together[a].is_some() && together[a] == together[b])
                };
                let next: Vec<usize> = members
                    .iter()
                    .copied()
                    .filter(|&row| !reached.contains(&row) && reached.iter().any(|&other| joins(row, other)))
                    .collect();
                if next.is_empty() {
                    break;
                }
                reached.extend(next);
            }
            prop_assert_eq!(reached.len(), members.len(), "cluster {}", cluster);
        }
        for (a, b) in (0..150).flat_map(|a| (0..a).map(move |b| (a, b))) {
            if together[a].is_some() && together[a] == together[b] {
                prop_assert_eq!(found.labels[a], found.labels[b]);
            }
        }
    }
}

#[test]
fn what_is_kept_apart_is_joined_by_no_edge() {
    // One blob whose rows are all known to belong to two groups.
    let (values, _) = blobs(600, 16, 1, 0.0, 4);
    let mut ties = Ties::new((0..600).map(|row| Some(row % 2)).collect());
    let of =
        |ties: &Ties| leiden(Rows::new(&values, 16).unwrap(), Some(ties), &fixed(0.3), &NoProgress).unwrap().labels;
    assert_eq!(of(&ties), [0; 600]);
    ties.keep_apart(1, 0);
    ties.keep_apart(1, 1);
    assert_eq!(ties.num_apart(), 1);
    assert_eq!(of(&ties), [0, 1].repeat(300));
}

#[test]
fn a_cluster_of_few_heavy_rows_is_found() {
    // 200 rows in two blobs that overlap, and three heavy rows in a place of their own: 15 neighbours of theirs lie elsewhere.
    let mut values = blobs(200, 16, 2, 0.3, 5).0;
    let heavy = blobs(203, 16, 3, 0.3, 6).0;
    let own: Vec<f32> = (0..16).map(|at| if at == 9 { 40.0 } else { 0.0 }).collect();
    values.extend((0..3).flat_map(|row| own.iter().zip(&heavy[16 * row..]).map(|(own, noise)| own + 0.01 * noise)));
    let weights: Vec<f64> = (0..203).map(|row| if row < 200 { 1.0 } else { 30.0 }).collect();
    let ties = Ties::new(vec![None; 203]).weighing(weights, 50.0);
    let rows = Rows::new(&values, 16).unwrap();
    let found = leiden(rows, Some(&ties), &fixed(0.2), &NoProgress).unwrap();
    let plain = leiden(rows, None, &fixed(0.2), &NoProgress).unwrap();
    let is_apart =
        |found: &[i32]| found[200..].iter().all(|&label| label == found[200] && !found[..200].contains(&label));
    assert!(is_apart(&found.labels), "{:?}", &found.labels[195..]);
    // Without weights they are fewer than their neighbours, and so a part of another cluster.
    assert!(!is_apart(&plain.labels));
}
