//! The figures of an evaluation.

use invar_cluster::scores::{BinScores, Scores};
use serde_json::{Value, json};

use crate::ui::{Significant, thousands};

/// The results of a command, for people and for programs.
#[derive(Default)]
pub struct Report {
    /// Lines.
    pub text: String,
    /// The same by name.
    pub json: serde_json::Map<String, Value>,
}

impl Report {
    /// A figure: `label` for the person, `key` for the program.
    pub fn number(&mut self, label: &str, key: &str, value: Value) {
        let shown = match value.as_u64() {
            Some(count) => thousands(count),
            None => Significant(value.as_f64().unwrap_or(f64::NAN)).to_string(),
        };
        self.text += &format!("  {label:<24} {shown:>12}\n");
        self.json.insert(key.into(), value);
    }

    /// Starts a group of figures under a heading.
    pub fn heading(&mut self, text: &str) {
        self.text += &format!("\n{text}\n");
    }

    /// Scores of clusters by the weight of the samples.
    pub fn bins(&mut self, column: &str, scores: &BinScores) {
        self.heading(&format!("the clusters by {column}"));
        let figures = [
            ("in clusters", "clustered", scores.clustered),
            ("purity", "purity", scores.purity),
            ("completeness", "completeness", scores.completeness),
            ("ARI", "ari", scores.adjusted_rand_index),
        ];
        let mut object = serde_json::Map::new();
        for (label, name, value) in figures {
            self.text += &format!("  {label:<24} {value:>12.4}\n");
            object.insert(name.into(), json!(value));
        }
        let (complete, all) = (scores.num_near_complete, scores.num_classes);
        self.text += &format!("  {:<24} {:>12}\n", "near-complete bins", format!("{complete} of {all}"));
        object.insert("num_near_complete".into(), json!(complete));
        object.insert("num_labels".into(), json!(all));
        self.json.insert("bins".into(), Value::Object(object));
    }

    /// Means over runs; accuracy is that of the best one-to-one assignment of clusters to labels.
    pub fn scores(&mut self, heading: &str, key: &str, runs: &[Scores]) {
        let mean = |of: fn(&Scores) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
        // Not computed above a thousand labels.
        let accuracy = mean(|s| s.hungarian_accuracy.unwrap_or(f64::NAN));
        let figures = [
            ("accuracy", "accuracy", accuracy),
            ("ARI", "ari", mean(|s| s.adjusted_rand_index)),
            ("NMI", "nmi", mean(|s| s.normalized_mutual_info)),
            ("homogeneity", "homogeneity", mean(|s| s.homogeneity)),
            ("completeness", "completeness", mean(|s| s.completeness)),
            ("purity", "purity", mean(|s| s.purity)),
        ];
        self.heading(heading);
        let mut object = serde_json::Map::new();
        for (label, name, value) in figures.into_iter().filter(|(_, _, value)| !value.is_nan()) {
            self.text += &format!("  {label:<24} {value:>12.4}\n");
            object.insert(name.into(), json!(value));
        }
        object.insert("num_clusters".into(), json!(runs[0].num_clusters));
        self.json.insert(key.into(), Value::Object(object));
    }
}
