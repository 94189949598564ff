use invar_dataset::NoProgress;

use super::*;
use crate::{
    LeidenConfig, Resolution, leiden,
    specimen::{blobs, on_threads},
};

fn project(values: &[f32], dim: usize, config: &ProjectionConfig) -> Vec<[f32; 2]> {
    let (x, y) = config.project(Rows::new(values, dim).unwrap(), None, &NoProgress).unwrap();
    x.into_iter().zip(y).map(|(x, y)| [x, y]).collect()
}

fn squared(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)
}

/// For each row the `k` others whose places are nearest.
fn nearest_places(places: &[[f32; 2]], k: usize) -> Vec<Vec<usize>> {
    let of = |row: usize| {
        let mut others: Vec<usize> = (0..places.len()).filter(|&other| other != row).collect();
        others.sort_by(|&a, &b| squared(places[row], places[a]).total_cmp(&squared(places[row], places[b])));
        others.truncate(k);
        others
    };
    (0..places.len()).map(of).collect()
}

#[test]
fn blobs_stay_apart() {
    let (values, labels) = blobs(600, 16, 6, 4.0, 1);
    let places = project(&values, 16, &ProjectionConfig::default());
    for (row, near) in nearest_places(&places, 10).iter().enumerate() {
        assert!(near.iter().all(|&other| labels[other] == labels[row]), "row {row}: {near:?}");
    }
}

#[test]
fn more_neighbors_are_kept_than_by_principal_components() {
    // A smooth patch of three dimensions in sixteen; two components cannot hold it.
    let (flat, _) = blobs(700, 3, 1, 0.0, 2);
    let (directions, _) = blobs(16, 3, 1, 0.0, 3);
    let wave = |at: &[f32]| {
        directions
            .chunks(3)
            .map(|of| (at.iter().zip(of).map(|(a, b)| a * b).sum::<f32>() * 2.0).sin())
            .collect::<Vec<_>>()
    };
    let values: Vec<f32> = flat.chunks(3).flat_map(wave).collect();
    let all: Vec<usize> = (0..700).collect();
    let near = neighbors::nearest(Rows::new(&values, 16).unwrap(), &all, 15, Metric::Cosine).unwrap();
    let kept = |config: &ProjectionConfig| {
        let found = nearest_places(&project(&values, 16, config), 15);
        let of =
            |(found, near): (&Vec<usize>, &[u32])| found.iter().filter(|&&row| near.contains(&(row as u32))).count();
        found.iter().zip(near.indices.chunks(15)).map(of).sum::<usize>() as f64 / (700 * 15) as f64
    };
    let (umap, pca) = (kept(&ProjectionConfig::default()), kept(&ProjectionConfig::Pca {}));
    assert!(umap > 1.5 * pca && umap > 0.35, "{umap} {pca}");
}

#[test]
fn few_rows_and_equal_rows_have_places() {
    for n in 0..20 {
        for values in [blobs(n, 4, n.max(1), 3.0, 1).0, [0.5, 0.5, 0.1, 0.0].repeat(n), vec![0.0; 4 * n]] {
            for config in [ProjectionConfig::default(), ProjectionConfig::Pca {}] {
                let places = project(&values, 4, &config);
                assert_eq!(places.len(), n);
                assert!(places.iter().flatten().all(|x| x.is_finite()), "{n}: {places:?}");
            }
        }
    }
    assert_eq!(project(&[0.3, 0.4], 2, &ProjectionConfig::default()), [[0.0, 0.0]]);
    assert!(project(&[0.0, 1.0, 2.0, -3.0], 1, &ProjectionConfig::default()).iter().flatten().all(|x| x.is_finite()));
}

#[test]
fn the_same_at_any_number_of_threads() {
    let (values, _) = blobs(1500, 12, 5, 2.0, 4);
    let of = |threads| on_threads(threads, || project(&values, 12, &ProjectionConfig::default().with_seed(7)));
    let one = of(1);
    assert_eq!(one, of(2));
    assert_eq!(one, of(3));
    assert_ne!(one, project(&values, 12, &ProjectionConfig::default().with_seed(8)));
}

#[test]
fn neighbors_that_are_known_are_not_looked_for() {
    let (values, _) = blobs(300, 8, 3, 2.0, 5);
    let rows = Rows::new(&values, 8).unwrap();
    let near = neighbors::of_all(rows, 30, Metric::Cosine, &NoProgress).unwrap();
    let config = ProjectionConfig::default();
    let with = config.project(rows, Some(&near), &NoProgress).unwrap();
    assert_eq!(with, config.project(rows, None, &NoProgress).unwrap());
    let config_of_clusters = LeidenConfig { resolution: Resolution::Fixed(0.3), ..LeidenConfig::default() };
    let clusters = leiden(rows, None, &config_of_clusters, &NoProgress).unwrap();
    assert_eq!(clusters.near, Some(near));
    let few = neighbors::of_all(rows, 5, Metric::Cosine, &NoProgress).unwrap();
    assert_eq!(config.project(rows, Some(&few), &NoProgress).unwrap(), with);
    let error = config.project(Rows::new(&values[8..], 8).unwrap(), Some(&few), &NoProgress).unwrap_err();
    assert_eq!(error.to_string(), "neighbours of the rows to project: expected 1495, found 1500");
}

#[test]
fn new_rows_come_to_lie_among_their_like() {
    let (values, labels) = blobs(800, 16, 5, 4.0, 6);
    let (old, new) = values.split_at(500 * 16);
    let (old, new) = (Rows::new(old, 16).unwrap(), Rows::new(new, 16).unwrap());
    let (x, y) = ProjectionConfig::default().project(old, None, &NoProgress).unwrap();
    let place = |new: Rows<'_>, k| {
        let normalized = new.normalized();
        let near = neighbors::nearest_to(old, Rows::new(&normalized, 16).unwrap(), k, Metric::Cosine);
        places_of(&near, &x, &y, new.len())
    };
    let (new_x, new_y) = place(new, 15);
    for (row, at) in new_x.into_iter().zip(new_y).enumerate() {
        let nearest = (0..500)
            .min_by(|&a, &b| {
                let of = |old: usize| squared([at.0, at.1], [x[old], y[old]]);
                of(a).total_cmp(&of(b))
            })
            .unwrap();
        assert_eq!(labels[nearest], labels[500 + row], "row {row}");
    }
    // An old row is its own nearest neighbour, but others pull it too; with one neighbour it stays where it was.
    assert_eq!(place(old, 1), (x.clone(), y.clone()));
    assert_eq!(place(new, 0).0, [0.0; 300]);
}

#[test]
fn recipes_are_read_and_bad_parameters_named() {
    let read = |json: &str| serde_json::from_str::<ProjectionConfig>(json);
    let umap = |neighbors, epochs| ProjectionConfig::Umap(UmapConfig { neighbors, epochs, seed: 0 });
    assert_eq!(read(r#"{"method": "umap", "neighbors": 30, "epochs": 100}"#).unwrap(), umap(30, Some(100)));
    assert_eq!(read(r#"{"method": "pca"}"#).unwrap(), ProjectionConfig::Pca {});
    assert!(read(r#"{"method": "umap", "min_dist": 0}"#).unwrap_err().to_string().contains("unknown field `min_dist`"));
    for (config, expected) in
        [(umap(1, None), "neighbors = 1: must be 2 to 1,000"), (umap(15, Some(0)), "epochs = 0: must be at least 1")]
    {
        let error = config.project(Rows::new(&[], 1).unwrap(), None, &NoProgress).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
