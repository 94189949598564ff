use invar_dataset::NoProgress;
use proptest::prelude::*;

use super::{spanning::Edge, *};
use crate::{
    rows,
    scores::Scores,
    specimen::{blobs, on_threads},
};

fn run(values: &[f32], dim: usize, config: &HdbscanConfig) -> Clustering {
    hdbscan(Rows::new(values, dim).unwrap(), config, &NoProgress).unwrap()
}

fn ari(a: &[i32], b: &[i32]) -> f64 {
    Scores::new(a, b).unwrap().adjusted_rand_index
}

/// Four discs of radius 0.6, 0.9, 1.2 and 1.5 that touch, 60 rows each, and three rows far off: numpy makes the same.
fn discs() -> Vec<f32> {
    let fraction = |x: f64| x - x.floor();
    let row = |i: u32| {
        let (disc, at) = (f64::from(i % 4), f64::from(i + 1));
        let radius = (0.6 + 0.3 * disc) * fraction(at * 0.618_033_988_749_894_9).sqrt();
        let angle = std::f64::consts::TAU * fraction(at * 0.754_877_666_246_692_7);
        let centre = disc * std::f64::consts::FRAC_PI_2;
        let x = 1.5 * centre.cos() + radius * angle.cos();
        let y = 1.5 * centre.sin() + radius * angle.sin();
        [x as f32, y as f32]
    };
    (0..240).flat_map(row).chain([9.0, 9.0, -9.0, 8.0, 0.2, -12.0]).collect()
}

/// Sizes of the clusters, noise, and sum of the probabilities from the Python package hdbscan 0.8.44 with `min_samples`
/// one less (it does not count the row itself), `algorithm="generic"`. Many edges of the tree have the same length,
/// those to a row in a sparse place, and their order is undefined: a row may be in another cluster.
#[test]
fn against_the_python_package() {
    type Case = ((usize, usize, f64, bool), (&'static [usize], usize, f64));
    let cases: [Case; 6] = [
        ((20, 20, 0.0, false), (&[113, 76], 54, 150.78371)),
        ((10, 5, 0.0, false), (&[66, 65, 60, 12], 40, 181.89601)),
        ((5, 3, 0.0, false), (&[66, 38, 22, 21, 20, 19, 15, 14, 13], 15, 206.48297)),
        ((5, 3, 0.25, false), (&[66, 60, 22, 21, 20, 15, 14, 13], 12, 213.07997)),
        ((5, 3, 0.3, false), (&[66, 60, 52, 22, 21, 14], 8, 223.18671)),
        ((120, 5, 0.0, true), (&[125], 118, 125.0)),
    ];
    for ((min_cluster_size, min_samples, epsilon, allow_single_cluster), (sizes, noise, sum)) in cases {
        let min_samples = Some(min_samples);
        let config = HdbscanConfig { min_cluster_size, min_samples, epsilon, allow_single_cluster };
        let found = run(&discs(), 2, &config);
        let of = |cluster: i32| found.labels.iter().filter(|&&label| label == cluster).count();
        let found_sizes: Vec<usize> = (0..found.num_clusters as i32).map(of).collect();
        assert_eq!(found_sizes.len(), sizes.len(), "{config:?}");
        assert!(found_sizes.iter().zip(sizes).all(|(a, b)| a.abs_diff(*b) <= 1), "{config:?}: {found_sizes:?}");
        assert!(of(-1).abs_diff(noise) <= 1, "{config:?}: {}", of(-1));
        let found: f64 = found.probability.iter().map(|&of| f64::from(of)).sum();
        assert!((found / sum - 1.0).abs() < 0.01, "{config:?}: {found}");
    }
}

/// The edges of a minimum spanning tree of all pairs, shortest first (Prim's algorithm).
fn prim(data: Rows<'_>, min_samples: usize) -> Vec<Edge> {
    let n = data.len();
    let distance = |a: usize, b: usize| rows::squared_distance(data.row(a), data.row(b)).sqrt();
    let core: Vec<f32> = (0..n)
        .map(|row| {
            let mut all: Vec<f32> = (0..n).map(|other| distance(row, other)).collect();
            all.sort_by(f32::total_cmp);
            all[min_samples - 1]
        })
        .collect();
    let mut nearest = vec![(f32::INFINITY, 0); n];
    let (mut is_in, mut last, mut edges) = (vec![false; n], 0, vec![]);
    for _ in 1..n {
        is_in[last] = true;
        for row in (0..n).filter(|&row| !is_in[row]) {
            let length = distance(last, row).max(core[last]).max(core[row]);
            if length < nearest[row].0 {
                nearest[row] = (length, last);
            }
        }
        last = (0..n).filter(|&row| !is_in[row]).min_by(|&a, &b| nearest[a].0.total_cmp(&nearest[b].0)).unwrap();
        edges.push(Edge { a: nearest[last].1 as u32, b: last as u32, length: nearest[last].0 });
    }
    edges.sort_by(|a, b| a.length.total_cmp(&b.length));
    edges
}

fn tree(data: Rows<'_>, min_samples: usize, k: usize) -> Vec<Edge> {
    let near = neighbors::of_all(data, k, Metric::Euclidean, &NoProgress).unwrap();
    Reachability::new(data, &near, min_samples).spanning_tree(&near, &NoProgress).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// For distant and for touching groups, which the graph of neighbours leaves disconnected.
    #[test]
    fn the_tree_is_as_short_as_that_of_all_pairs(seed in 0..1000u64, spread in 0.5..12.0f64, min_samples in 1..9usize) {
        let (values, _) = blobs(160, 5, 6, spread, seed);
        let rows = Rows::new(&values, 5).unwrap();
        let length = |edges: &[Edge]| edges.iter().map(|edge| f64::from(edge.length)).sum::<f64>();
        let (found, exact) = (tree(rows, min_samples, 15), prim(rows, min_samples));
        prop_assert_eq!(found.len(), 159);
        prop_assert!((1.0 - 1e-5..1.02).contains(&(length(&found) / length(&exact))), "{} {}", length(&found), length(&exact));
        // Among all neighbours it is that of all pairs.
        let whole = length(&tree(rows, min_samples, 159));
        prop_assert!((whole / length(&exact) - 1.0).abs() < 1e-5, "{} {}", whole, length(&exact));
    }
}

#[test]
fn blobs_and_an_outlier() {
    let (mut values, mut truth) = blobs(300, 3, 4, 10.0, 1);
    values.extend([100.0, 100.0, 100.0]);
    truth.push(-1);
    let found = run(&values, 3, &HdbscanConfig::default());
    assert_eq!((found.num_clusters, found.labels[300], found.probability[300]), (4, -1, 0.0));
    // HDBSCAN calls the fringe of a cluster noise; every row inside a cluster is in the right one.
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
fn many_rows_of_many_dimensions() {
    // More rows than are compared with all others, in groups that the graph leaves disconnected.
    let (values, truth) = blobs(24_000, 16, 12, 6.0, 2);
    let found = run(&values, 16, &HdbscanConfig::default());
    assert_eq!(found.num_clusters, 12);
    assert!(ari(&truth, &found.labels) > 0.99);
}

#[test]
fn too_few_rows_are_noise() {
    for n in 0..5usize {
        let values: Vec<f32> = (0..n * 2).map(|x| x as f32).collect();
        let found = run(&values, 2, &HdbscanConfig { min_cluster_size: 5, ..Default::default() });
        assert_eq!((found.labels, found.num_clusters), (vec![-1; n], 0));
    }
    for n in 2..9usize {
        let values: Vec<f32> = (0..n * 2).map(|x| (x * x) as f32).collect();
        let found = run(&values, 2, &HdbscanConfig { min_cluster_size: 2, ..Default::default() });
        assert_eq!(found.labels.len(), n);
    }
}

#[test]
fn equal_rows_are_defined() {
    let config = HdbscanConfig { min_cluster_size: 5, ..Default::default() };
    for values in [[0.5; 200].to_vec(), vec![0.0; 200]] {
        let found = run(&values, 2, &config);
        assert_eq!(found.labels.len(), 100);
        assert!(found.probability.iter().all(|p| p.is_finite()));
        let one = run(&values, 2, &HdbscanConfig { allow_single_cluster: true, ..config.clone() });
        assert_eq!((one.labels, one.probability), (vec![0; 100], vec![1.0; 100]));
    }
    // Two heaps of equal rows: too many for all of them to be each other's neighbours.
    let heaps = [[0.6f32, 0.8].repeat(80), [0.8f32, 0.6].repeat(70)].concat();
    let found = run(&heaps, 2, &config);
    assert_eq!(found.labels, [[0; 80].as_slice(), &[1; 70]].concat());
}

#[test]
fn bad_parameters_are_named() {
    let refused =
        |config: HdbscanConfig| hdbscan(Rows::new(&[], 1).unwrap(), &config, &NoProgress).unwrap_err().to_string();
    let defaults = HdbscanConfig::default;
    assert_eq!(
        refused(HdbscanConfig { min_cluster_size: 1, ..defaults() }),
        "min_cluster_size = 1: must be at least 2"
    );
    assert_eq!(refused(HdbscanConfig { min_samples: Some(0), ..defaults() }), "min_samples = 0: must be 1 to 1,000");
    assert_eq!(refused(HdbscanConfig { epsilon: -1.0, ..defaults() }), "epsilon = -1: must be 0 or a positive number");
}

#[test]
fn the_same_at_any_number_of_threads() {
    let (values, _) = blobs(700, 20, 4, 2.0, 5);
    let of = |threads| on_threads(threads, || run(&values, 20, &HdbscanConfig::default()));
    let one = of(1);
    assert_eq!(one, of(2));
    assert_eq!(one, of(3));
}
