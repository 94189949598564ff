use proptest::prelude::*;

use super::*;

fn close(ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() < 1e-12, "{ours}, expected {theirs}");
}

// The expected values are scikit-learn 1.8's: adjusted_rand_score, normalized_mutual_info_score,
// homogeneity_completeness_v_measure; purity and accuracy from contingency_matrix (and SciPy's linear_sum_assignment).

#[test]
fn a_middling_clustering() {
    let scores = Scores::new(&[0, 0, 0, 1, 1, 2, 2, 2, 2, 3], &[1, 1, 0, 0, 2, 2, 2, 2, 0, 0]).unwrap();
    close(scores.adjusted_rand_index, 0.12903225806451613);
    close(scores.normalized_mutual_info, 0.42865162892205944);
    close(scores.homogeneity, 0.3909839210104084);
    close(scores.completeness, 0.47435098761403194);
    close(scores.v_measure, 0.4286516289220593);
    close(scores.purity, 0.6);
    close(scores.hungarian_accuracy.unwrap(), 0.6);
    assert_eq!((scores.num_items, scores.num_classes, scores.num_clusters), (10, 4, 3));
}

#[test]
fn crossed_labels_are_worse_than_chance() {
    let scores = Scores::new(&[0, 0, 1, 1], &[0, 1, 0, 1]).unwrap();
    close(scores.adjusted_rand_index, -0.5);
    close(scores.normalized_mutual_info, 0.0);
}

#[test]
fn one_cluster_is_complete_and_not_homogeneous() {
    let scores = Scores::new(&["a", "a", "b", "b"], &[0; 4]).unwrap();
    close(scores.adjusted_rand_index, 0.0);
    close(scores.normalized_mutual_info, 0.0);
    assert_eq!((scores.homogeneity, scores.completeness, scores.v_measure), (0.0, 1.0, 0.0));
}

#[test]
fn a_cluster_each_is_homogeneous_and_half_complete() {
    let scores = Scores::new(&[0, 0, 1, 1], &[0, 1, 2, 3]).unwrap();
    close(scores.adjusted_rand_index, 0.0);
    close(scores.normalized_mutual_info, 2.0 / 3.0);
    close(scores.homogeneity, 1.0);
    close(scores.completeness, 0.5);
    close(scores.hungarian_accuracy.unwrap(), 0.5);
}

#[test]
fn nothing_and_one_item_are_defined() {
    let nothing = Scores::new::<i32, i32>(&[], &[]).unwrap();
    // sklearn: ARI, NMI, homogeneity and completeness of two empty lists are 1.
    assert_eq!((nothing.adjusted_rand_index, nothing.normalized_mutual_info, nothing.v_measure), (1.0, 1.0, 1.0));
    assert_eq!((nothing.purity, nothing.hungarian_accuracy), (0.0, Some(0.0)));
    let one = Scores::new(&["x"], &[7]).unwrap();
    assert_eq!((one.adjusted_rand_index, one.v_measure, one.purity), (1.0, 1.0, 1.0));
}

#[test]
fn lengths_must_agree() {
    let error = Scores::new(&[1, 2], &[1]).unwrap_err();
    assert_eq!(error.to_string(), "number of cluster labels: expected 2, found 1");
}

#[test]
fn a_hundred_million_pairs_do_not_overflow() {
    let labels: Vec<u32> = (0..200_000).map(|i| i % 2).collect();
    assert_eq!(Scores::new(&labels, &labels).unwrap().adjusted_rand_index, 1.0);
}

proptest! {
    #[test]
    fn names_and_order_of_labels_do_not_matter(
        items in prop::collection::vec((0u8..6, 0u8..6), 1..120), key in any::<u64>(),
    ) {
        let (a, b): (Vec<u8>, Vec<u8>) = items.iter().copied().unzip();
        let scores = Scores::new(&a, &b).unwrap();
        let renamed: Vec<String> = b.iter().map(|&label| format!("c{}", (label + 3) % 6)).collect();
        let mut order: Vec<usize> = (0..a.len()).collect();
        order.sort_by_key(|&i| invar_dataset::seed::mix(key, i as u64));
        let shuffled_a: Vec<u8> = order.iter().map(|&i| a[i]).collect();
        let shuffled_b: Vec<String> = order.iter().map(|&i| renamed[i].clone()).collect();
        let other = Scores::new(&shuffled_a, &shuffled_b).unwrap();
        prop_assert!((scores.adjusted_rand_index - other.adjusted_rand_index).abs() < 1e-12);
        prop_assert!((scores.normalized_mutual_info - other.normalized_mutual_info).abs() < 1e-12);
        prop_assert!((scores.v_measure - other.v_measure).abs() < 1e-12);
        prop_assert_eq!(scores.purity, other.purity);
        prop_assert_eq!(scores.hungarian_accuracy, other.hungarian_accuracy);
        // Symmetry, and the identity of the V-measure and the arithmetic NMI (Rosenberg and Hirschberg 2007).
        let swapped = Scores::new(&b, &a).unwrap();
        prop_assert!((scores.adjusted_rand_index - swapped.adjusted_rand_index).abs() < 1e-12);
        prop_assert!((scores.homogeneity - swapped.completeness).abs() < 1e-12);
        prop_assert!((scores.v_measure - scores.normalized_mutual_info).abs() < 1e-9);
        prop_assert!(scores.hungarian_accuracy.unwrap() <= scores.purity + 1e-12);
    }

    #[test]
    fn a_renamed_partition_is_perfect(labels in prop::collection::vec(0u8..9, 1..100)) {
        let renamed: Vec<i32> = labels.iter().map(|&label| 40 - i32::from(label)).collect();
        let scores = Scores::new(&labels, &renamed).unwrap();
        prop_assert_eq!(scores.adjusted_rand_index, 1.0);
        prop_assert!((scores.v_measure - 1.0).abs() < 1e-12);
        prop_assert_eq!((scores.purity, scores.hungarian_accuracy), (1.0, Some(1.0)));
    }
}
