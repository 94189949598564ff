use invar_dataset::NoProgress;

use super::*;
use crate::specimen::{blobs, on_threads};

fn run(values: &[f32], dim: usize, k: usize, metric: Metric) -> Neighbors {
    of_all(Rows::new(values, dim).unwrap(), k, metric, &NoProgress).unwrap()
}

fn exact(values: &[f32], dim: usize, k: usize, metric: Metric) -> Neighbors {
    let rows = Rows::new(values, dim).unwrap();
    super::super::nearest(rows, &(0..rows.len()).collect::<Vec<_>>(), k, metric).unwrap()
}

/// Share of the exact neighbours that are found.
fn recall(found: &Neighbors, exact: &Neighbors) -> f64 {
    let of = |(found, exact): (&[u32], &[u32])| found.iter().filter(|row| exact.contains(row)).count();
    found.indices.chunks(found.k).zip(exact.indices.chunks(exact.k)).map(of).sum::<usize>() as f64
        / exact.indices.len() as f64
}

#[test]
fn nearly_all_are_found_and_as_many_as_it_says() {
    for (dim, k, spread, metric) in [
        (8, 15, 1.0, Metric::Cosine),
        (8, 30, 1.0, Metric::Euclidean),
        (32, 15, 0.0, Metric::Cosine), // One cloud that nothing divides.
        (32, 5, 3.0, Metric::Euclidean),
    ] {
        let (values, _) = blobs(5000, dim, 20, spread, 1);
        let (found, exact) = (run(&values, dim, k, metric), exact(&values, dim, k, metric));
        let share = recall(&found, &exact);
        assert!(share >= 0.95, "{dim} {k} {spread} {metric:?}: {share}");
        assert!((share - found.recall).abs() < 0.02, "{share} {}", found.recall);
        for (row, (list, values)) in found.indices.chunks(k).zip(found.values.chunks(k)).enumerate() {
            let mut distinct = list.to_vec();
            distinct.sort_unstable();
            distinct.dedup();
            assert!(distinct.len() == k && !list.contains(&(row as u32)), "row {row}: {list:?}");
            match metric {
                Metric::Cosine => assert!(values.is_sorted_by(|a, b| a >= b)),
                Metric::Euclidean => assert!(values.is_sorted()),
            }
        }
    }
}

#[test]
fn values_are_those_of_the_exact_search() {
    let (values, _) = blobs(3000, 16, 5, 2.0, 2);
    for metric in [Metric::Cosine, Metric::Euclidean] {
        let (found, exact) = (run(&values, 16, 10, metric), exact(&values, 16, 10, metric));
        let near = found.values.chunks(10).zip(exact.values.chunks(10)).filter(|(a, b)| (a[0] - b[0]).abs() < 1e-5);
        assert!(near.count() > 2950);
    }
}

#[test]
fn equal_rows_have_others_for_neighbors() {
    let values = [0.6f32, 0.8].repeat(9000);
    let found = run(&values, 2, 15, Metric::Cosine);
    assert_eq!(found.recall, 1.0);
    assert!(found.values.iter().all(|cosine| (cosine - 1.0).abs() < 1e-6));
    for (row, list) in found.indices.chunks(15).enumerate() {
        assert!(!list.contains(&(row as u32)));
    }
    // Half of them have length zero and therefore no direction.
    let values: Vec<f32> = (0..4000).flat_map(|row| if row % 2 == 0 { [0.0, 0.0] } else { [0.6, 0.8] }).collect();
    assert!(run(&values, 2, 15, Metric::Cosine).values.iter().all(|cosine| cosine.is_finite()));
}

#[test]
fn the_same_at_any_number_of_threads() {
    let (values, _) = blobs(4000, 12, 9, 1.0, 3);
    let of = |threads| on_threads(threads, || run(&values, 12, 15, Metric::Cosine));
    let one = of(1);
    assert_eq!(one, of(2));
    assert_eq!(one, of(3));
}
