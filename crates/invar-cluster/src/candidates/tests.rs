use super::*;

fn outcome(resolution: f64, confidence: &[f32], silhouette: Option<f64>) -> Outcome {
    Outcome { silhouette, ..Outcome::new(Method::Leiden, Some(resolution), vec![], confidence.to_vec()) }
}

#[test]
fn similarities_by_hand() {
    // Cluster 0 of 4 rows: 3 of them in a cluster of 5: 3 / 6. Cluster 1 of 3 rows: 2 in that of 5: 2 / 6; 1 in that of 2: 1 / 4.
    let mut found = best_similarities(&[0, 0, 0, 0, 1, 1, 1], &[8, 8, 8, 9, 8, 8, 9], |_| 1.0);
    found.sort_by_key(|&(cluster, _)| cluster);
    assert_eq!(found, [(0, 0.5), (1, 1.0 / 3.0)]);
}

#[test]
fn a_cluster_that_no_part_has_keeps_its_place() {
    // Of four clusters two occur in the rows, in complete halves that are found unchanged.
    let labels = [0, 0, 2, 2];
    let parts: [(&[u32], &[i32]); 2] = [(&[0, 2], &[5, 6]), (&[1, 3], &[0, 1])];
    assert_eq!(confidence(&labels, 4, None, parts.into_iter()), [1.0, 0.0, 1.0, 0.0]);
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
    // Clusters that do not lie apart do not count; nor does a single one.
    assert_eq!(best(&[outcome(0.1, &[1.0, 1.0], Some(0.0)), outcome(0.05, &[1.0], None)]), None);
}
