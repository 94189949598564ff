//! `invar evaluate`

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use anyhow::{Context, Result};
use invar_cluster::{
    KMeansConfig, NumClusters, Rows, geometry, kmeans,
    neighbors::{KnnConfig, knn_scores},
    scores::Scores,
};
use invar_dataset::{NoProgress, seed};
use invar_embeddings::{ClusterTable, Embeddings};
use serde_json::{Value, json};

use super::labels::Labels;
use crate::{
    cli::{Common, Evaluate},
    exit::BadInput,
    ui::{Summary, Ui, thousands},
};

/// Labels above which the table of labels and clusters is left out: nobody reads it.
const MAX_TABLE_LABELS: usize = 40;

/// `invar evaluate`
pub fn run(args: &Evaluate, common: &Common, _: &Ui) -> Result<Summary> {
    let labels = args.labels.as_deref().map(|path| Labels::read(path, args.label_column.as_deref())).transpose()?;
    let truth = labels.as_ref().map(|labels| Truth { labels, clusters: args.clusters.as_deref() });
    evaluate(&args.embeddings, truth, args.kmeans_runs, common.seed.unwrap_or(0))
}

/// What the embeddings are measured against.
pub struct Truth<'a> {
    /// True labels.
    pub labels: &'a Labels,
    /// A clustering to score.
    pub clusters: Option<&'a Path>,
}

/// Measures the embeddings at `path`.
pub fn evaluate(path: &Path, truth: Option<Truth>, kmeans_runs: usize, seed: u64) -> Result<Summary> {
    let embeddings = Embeddings::read(path)?;
    let rows = Rows::new(&embeddings.values, embeddings.dim).with_context(|| path.display().to_string())?;
    let mut report = Report::default();
    report.number("samples", "num_rows", json!(rows.len()));
    report.number("dimensions", "dim", json!(rows.dim()));
    let provenance = embeddings.provenance.as_ref();
    for (name, value) in provenance.map(|p| &p.invariance).into_iter().flatten() {
        report.number(&name.replace('_', " "), name, json!(value));
    }
    if let Some(uniformity) = geometry::uniformity(rows, seed) {
        report.number("uniformity", "uniformity", json!(uniformity));
    }
    if rows.len() > 1 {
        let healthy = geometry::embedding_std(rows) * (rows.dim() as f64).sqrt();
        report.number("std x sqrt(dim)", "scaled_std", json!(healthy));
        report.number("effective rank", "effective_rank", json!(geometry::effective_rank(rows)));
    }
    if let Some(truth) = truth {
        against(&mut report, &truth, &embeddings, rows, kmeans_runs, seed)?;
    }
    Ok(Summary { text: format!("{}\n{}", path.display(), report.text), json: Value::Object(report.json) })
}

fn against(
    report: &mut Report,
    truth: &Truth,
    embeddings: &Embeddings,
    rows: Rows,
    kmeans_runs: usize,
    seed: u64,
) -> Result<()> {
    let labels = truth.labels.of(&embeddings.ids)?;
    let num_labelled = labels.iter().flatten().count();
    let classes: Vec<&str> = labels.iter().flatten().copied().collect();
    let num_classes = classes.iter().collect::<std::collections::HashSet<_>>().len();
    report.heading(&format!(
        "against {} ({num_classes} labels on {} samples)",
        truth.labels.column,
        thousands(num_labelled as u64)
    ));
    report.json.insert(
        "labels".into(),
        json!({"column": truth.labels.column, "num_labels": num_classes, "num_rows": num_labelled}),
    );
    if num_labelled > 1 {
        let knn = knn_scores(rows, &labels, &KnnConfig { seed, ..KnnConfig::default() })?;
        report.number("1-NN accuracy", "nearest_neighbour_accuracy", json!(knn.accuracy_1nn));
        report.number(&format!("{}-NN accuracy", knn.k), "knn_accuracy", json!(knn.accuracy_knn));
        report.number(&format!("recall@{}", knn.k), "recall_at_k", json!(knn.recall_at_k));
    }
    if kmeans_runs > 0 && num_labelled > 0 {
        let values: Vec<f32> =
            (0..rows.len()).filter(|&i| labels[i].is_some()).flat_map(|i| rows.row(i)).copied().collect();
        let labelled = Rows::new(&values, rows.dim())?;
        let mut runs = Vec::with_capacity(kmeans_runs);
        for run in 0..kmeans_runs as u64 {
            let config = KMeansConfig {
                k: NumClusters::Fixed(num_classes),
                seed: seed::mix(seed, run),
                ..KMeansConfig::default()
            };
            let found = kmeans(labelled, &config, &NoProgress)?;
            runs.push(Scores::new(&classes, &found.labels)?);
        }
        report.scores(&format!("k-means, k = {num_classes}, mean of {kmeans_runs} runs"), "kmeans", &runs);
    }
    if let Some(path) = truth.clusters {
        let table = ClusterTable::read(path)?;
        if table.ids != embeddings.ids {
            let reason = format!(
                "{}: {} rows that are not the {} samples of the embeddings, in their order",
                path.display(),
                table.ids.len(),
                embeddings.ids.len()
            );
            return Err(BadInput(reason).into());
        }
        let clusters: Vec<i32> =
            (0..labels.len()).filter(|&i| labels[i].is_some()).map(|i| table.clusters[i]).collect();
        report.scores(&path.display().to_string(), "clusters", &[Scores::new(&classes, &clusters)?]);
        if num_classes <= MAX_TABLE_LABELS {
            report.text += &composition(&classes, &clusters);
        }
    }
    Ok(())
}

/// For each label, which clusters its samples are in.
fn composition(classes: &[&str], clusters: &[i32]) -> String {
    let mut counts: BTreeMap<&str, HashMap<i32, usize>> = BTreeMap::new();
    for (class, cluster) in classes.iter().zip(clusters) {
        *counts.entry(class).or_default().entry(*cluster).or_default() += 1;
    }
    let width = counts.keys().map(|class| class.chars().count()).max().unwrap_or(0);
    let mut text = format!("\n  {:<width$} {:>8}  clusters (share of its samples)\n", "label", "samples");
    for (class, of_class) in counts {
        let total: usize = of_class.values().sum();
        let mut shares: Vec<(i32, usize)> = of_class.into_iter().collect();
        shares.sort_by_key(|&(cluster, n)| (std::cmp::Reverse(n), cluster));
        let name = |cluster: i32| if cluster < 0 { "noise".into() } else { cluster.to_string() };
        let shown: Vec<String> = shares
            .iter()
            .take(4)
            .map(|&(cluster, n)| format!("{} ({:.0} %)", name(cluster), 100.0 * n as f64 / total as f64))
            .collect();
        text += &format!("  {class:<width$} {:>8}  {}\n", thousands(total as u64), shown.join(", "));
    }
    text
}

#[derive(Default)]
struct Report {
    text: String,
    json: serde_json::Map<String, Value>,
}

impl Report {
    fn number(&mut self, label: &str, key: &str, value: Value) {
        let shown = match value.as_u64() {
            Some(count) => thousands(count),
            None => format!("{:.4}", Significant(value.as_f64().unwrap_or(f64::NAN))),
        };
        self.text += &format!("  {label:<24} {shown:>12}\n");
        self.json.insert(key.into(), value);
    }

    fn heading(&mut self, text: &str) {
        self.text += &format!("\n{text}\n");
    }

    /// Means over runs.
    fn scores(&mut self, heading: &str, key: &str, runs: &[Scores]) {
        let mean = |of: fn(&Scores) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
        let figures = [
            ("ARI", "ari", mean(|s| s.adjusted_rand_index)),
            ("NMI", "nmi", mean(|s| s.normalized_mutual_info)),
            ("homogeneity", "homogeneity", mean(|s| s.homogeneity)),
            ("completeness", "completeness", mean(|s| s.completeness)),
            ("purity", "purity", mean(|s| s.purity)),
        ];
        self.heading(heading);
        let mut object = serde_json::Map::new();
        for (label, name, value) in figures {
            self.text += &format!("  {label:<24} {value:>12.4}\n");
            object.insert(name.into(), json!(value));
        }
        object.insert("num_clusters".into(), json!(runs[0].num_clusters));
        self.json.insert(key.into(), Value::Object(object));
    }
}

/// Small figures (a strand gap of 1e-8) in scientific notation, others as they are.
struct Significant(f64);

impl std::fmt::Display for Significant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 != 0.0 && self.0.abs() < 1e-3 { write!(f, "{:.2e}", self.0) } else { write!(f, "{:.4}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composition_lists_the_largest_clusters_first() {
        let text = composition(&["a", "a", "a", "b"], &[1, 0, 1, -1]);
        assert!(text.contains("a            3  1 (67 %), 0 (33 %)") || text.contains("1 (67 %), 0 (33 %)"), "{text}");
        assert!(text.contains("noise (100 %)"), "{text}");
    }

    #[test]
    fn small_figures_are_scientific() {
        assert_eq!(Significant(1.5e-8).to_string(), "1.50e-8");
        assert_eq!(Significant(0.25).to_string(), "0.2500");
        assert_eq!(Significant(0.0).to_string(), "0.0000");
    }
}
