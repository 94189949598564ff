//! Extends clusters from the rows that the graph was built on to all others.

use std::collections::HashMap;

use crate::{
    Rows, Ties,
    neighbors::{self, Metric},
};

/// Rows with known clusters.
pub(super) struct Sampled<'a> {
    /// The rows.
    pub rows: Rows<'a>,
    /// Their indices among all rows.
    pub chosen: &'a [usize],
    /// Their clusters.
    pub labels: &'a [i32],
    /// How confident each assignment is.
    pub probability: &'a [f32],
    /// How many of them vote.
    pub neighbors: usize,
}

impl Sampled<'_> {
    /// Clusters and probabilities of all rows: a row that must stay with a known row gets that row's; any other gets
    /// the majority cluster of its nearest known rows (ties go to the nearest), and its fraction.
    pub fn spread(&self, data: Rows<'_>, ties: Option<&Ties>) -> (Vec<i32>, Vec<f32>) {
        let (mut labels, mut probability) = (vec![-1; data.len()], vec![0.0; data.len()]);
        let value = |row: usize| ties.and_then(|ties| ties.together()[row]);
        let mut of_values = HashMap::new();
        for (&row, (&label, &share)) in self.chosen.iter().zip(self.labels.iter().zip(self.probability)) {
            (labels[row], probability[row]) = (label, share);
            if let Some(value) = value(row) {
                of_values.insert(value, (label, share));
            }
        }
        let mut asked = Vec::new();
        for row in (0..data.len()).filter(|&row| labels[row] < 0).collect::<Vec<_>>() {
            match value(row).and_then(|value| of_values.get(&value)) {
                Some(&known) => (labels[row], probability[row]) = known,
                None => asked.push(row),
            }
        }
        // Rows that must stay together, none of which was sampled, follow the first of them.
        let mut firsts = HashMap::new();
        let (leading, following): (Vec<usize>, Vec<usize>) = asked
            .into_iter()
            .partition(|&row| value(row).is_none_or(|value| *firsts.entry(value).or_insert(row) == row));
        for block in leading.chunks(BLOCK) {
            let values = data.gather(block);
            let queries = Rows::new(&values, data.dim()).expect("rows of rows");
            let found = neighbors::nearest_to(self.rows, queries, self.neighbors, Metric::Cosine);
            for (&row, near) in block.iter().zip(found.indices.chunks(found.k.max(1))) {
                (labels[row], probability[row]) = neighbors::vote(near, self.labels);
            }
        }
        for row in following {
            let first = firsts[&value(row).expect("a value by which it follows")];
            (labels[row], probability[row]) = (labels[first], probability[first]);
        }
        (labels, probability)
    }
}

/// Rows looked up at a time.
const BLOCK: usize = 65_536;
