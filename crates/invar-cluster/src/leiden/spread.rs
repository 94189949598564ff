//! From the rows that the graph was built on to all others.

use std::collections::HashMap;

use crate::{
    Rows, Ties,
    neighbors::{self, Metric},
};

/// Rows of which the clusters are known.
pub(super) struct Sampled<'a> {
    /// The rows.
    pub rows: Rows<'a>,
    /// Their numbers among all.
    pub chosen: &'a [usize],
    /// Their clusters.
    pub labels: &'a [i32],
    /// How surely each belongs there.
    pub probability: &'a [f32],
    /// How many of them are asked.
    pub neighbors: usize,
}

impl Sampled<'_> {
    /// Clusters and probabilities of all rows: of one that must stay with a known row those of that; else the cluster of
    /// most of its nearest known rows (of equally many that of the nearest), and their share.
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
        // Rows that nobody was sampled of and that must stay together follow the first of them.
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

/// Rows that are looked up at once.
const BLOCK: usize = 65_536;
