use invar_dataset::NoProgress;

use super::*;
use crate::specimen::{blobs, on_threads};

const DIM: usize = 16;

/// Rows of five blobs, the first `n` of which are old, but for those of the last blob.
fn old_and_new() -> (Vec<f32>, Vec<i32>, Vec<f32>, Vec<i32>) {
    let (values, labels) = blobs(1_500, DIM, 5, 4.0, 3);
    let (mut old, mut old_labels, mut new, mut new_labels) = (vec![], vec![], vec![], vec![]);
    for (row, (values, &label)) in values.chunks(DIM).zip(&labels).enumerate() {
        match (row < 1_000, label) {
            (true, 4) => {}
            (true, _) => {
                old.extend_from_slice(values);
                old_labels.push(label);
            }
            (false, _) => {
                new.extend_from_slice(values);
                new_labels.push(label);
            }
        }
    }
    (old, old_labels, new, new_labels)
}

fn run(old: &[f32], labels: &[i32], new: &[f32], config: &AssignConfig) -> Assigned {
    let x: Vec<f32> = labels.iter().map(|&label| label as f32).collect();
    let y = vec![1.0; x.len()];
    let old = Clustered { rows: Rows::new(old, DIM).unwrap(), labels, x: &x, y: &y };
    assign(old, Rows::new(new, DIM).unwrap(), config, &NoProgress).unwrap()
}

#[test]
fn members_come_to_their_cluster_and_strangers_to_none() {
    let (old, old_labels, new, labels) = old_and_new();
    let found = run(&old, &old_labels, &new, &AssignConfig::default());
    let (mut known, mut right, mut strangers, mut refused) = (0, 0, 0, 0);
    for (&found, &label) in found.labels.iter().zip(&labels) {
        if label == 4 {
            strangers += 1;
            refused += usize::from(found == -1);
        } else {
            known += 1;
            right += usize::from(found == label);
        }
    }
    assert!(right as f64 > 0.9 * f64::from(known), "{right} of {known}");
    assert_eq!(refused, strangers);
    // The place is that of the neighbours, the distance that to the mean of the old members.
    let at = found.labels.iter().position(|&label| label == 2).unwrap();
    assert_eq!((found.x[at], found.y[at], found.probability[at]), (2.0, 1.0, 1.0));
    let members: Vec<&[f32]> =
        old.chunks(DIM).zip(&old_labels).filter(|(_, label)| **label == 2).map(|(row, _)| row).collect();
    let squared: f64 = (0..DIM)
        .map(|d| {
            let mean = members.iter().map(|row| f64::from(row[d])).sum::<f64>() / members.len() as f64;
            (mean - f64::from(new[at * DIM + d])).powi(2)
        })
        .sum();
    assert!((f64::from(found.distance[at]) - squared.sqrt()).abs() < 1e-5);
}

#[test]
fn a_gate_lets_in_the_share_of_members_that_it_names() {
    let (old, labels, ..) = old_and_new();
    for gate in [0.5, 0.9] {
        let rows = Rows::new(&old, DIM).unwrap();
        let gates = gates(rows, &labels, &AssignConfig { gate, ..AssignConfig::default() }, &NoProgress).unwrap();
        let all: Vec<usize> = (0..rows.len()).collect();
        let near = neighbors::nearest(rows, &all, 15, Metric::Cosine).unwrap();
        let passed = |row: &&usize| mean_distance(near.of(**row).unwrap().1) <= gates[labels[**row] as usize];
        let share = all.iter().filter(passed).count() as f64 / all.len() as f64;
        assert!((share - gate).abs() < 0.01, "{share}");
    }
}

#[test]
fn noise_is_no_cluster_and_an_old_row_is_where_it_was() {
    let (old, mut labels, ..) = old_and_new();
    labels.iter_mut().filter(|label| **label == 1).for_each(|label| *label = -1);
    let config = AssignConfig { gate: 1.0, neighbors: 1, ..AssignConfig::default() };
    assert_eq!(run(&old, &labels, &old, &config).labels, labels);
    // Nobody to ask: none.
    let nobody = run(&[], &[], &old[..DIM * 2], &config);
    assert_eq!((nobody.labels, nobody.x), (vec![-1, -1], vec![0.0, 0.0]));
    assert!(run(&old, &labels, &[], &config).labels.is_empty());
}

#[test]
fn a_part_of_the_old_rows_is_asked_and_small_clusters_whole() {
    let (old, mut labels, new, _) = old_and_new();
    // Cluster 3 has ten members left.
    let mut left = 10;
    labels.iter_mut().filter(|label| **label == 3).for_each(|label| {
        left -= 1;
        *label = if left >= 0 { 3 } else { -1 };
    });
    let x = vec![0.0; labels.len()];
    let clustered = Clustered { rows: Rows::new(&old, DIM).unwrap(), labels: &labels, x: &x, y: &x };
    let asked = clustered.asked(300);
    let of = |wanted: i32| asked.iter().filter(|&&row| labels[row] == wanted).count();
    assert_eq!(of(3), 10);
    assert!((60..100).contains(&of(0)) && asked.is_sorted(), "{}", of(0));
    let config = AssignConfig { asked: 300, ..AssignConfig::default() };
    let one = on_threads(1, || run(&old, &labels, &new, &config));
    for threads in [2, 3] {
        assert_eq!(on_threads(threads, || run(&old, &labels, &new, &config)), one);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let old = Clustered { rows: Rows::new(&[1.0, 0.0], 2).unwrap(), labels: &[0], x: &[0.0], y: &[0.0] };
    let new = Rows::new(&[1.0, 0.0, 0.0], 3).unwrap();
    let refused = |old, config: &AssignConfig| assign(old, new, config, &NoProgress).unwrap_err().to_string();
    assert_eq!(refused(old, &AssignConfig::default()), "dimension of the new rows: expected 2, found 3");
    let config = AssignConfig { gate: 1.5, ..AssignConfig::default() };
    assert_eq!(refused(old, &config), "gate = 1.5: must be greater than 0 and at most 1");
}
