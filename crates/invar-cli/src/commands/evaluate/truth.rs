//! Agreement of the embeddings with known labels.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

use anyhow::Result;
use invar_cluster::{
    KMeansConfig, NumClusters, Rows, kmeans,
    neighbors::{KnnConfig, knn_scores},
    scores::{BinScores, Scores},
};
use invar_dataset::{ColumnData, NoProgress, seed};
use invar_embeddings::{ClusterTable, Embeddings};
use serde_json::json;

use super::{Questions, report::Report};
use crate::{
    exit::{BadInput, Usage},
    ui::thousands,
};

/// Number of labels above which the table of labels and clusters is omitted: nobody would read it.
const MAX_TABLE_LABELS: usize = 40;

/// The true label of each row, and where they came from.
pub struct Truth<'a> {
    /// Name of the column.
    pub column: &'a str,
    /// One per row.
    pub labels: Vec<Option<&'a str>>,
}

/// Scores neighbours, k-means and a clustering against the labels.
pub fn score(
    report: &mut Report,
    truth: &Truth,
    embeddings: &Embeddings,
    rows: Rows,
    questions: &Questions,
) -> Result<()> {
    let labels = &truth.labels;
    let classes: Vec<&str> = labels.iter().flatten().copied().collect();
    let num_labelled = classes.len();
    let num_classes = classes.iter().collect::<HashSet<_>>().len();
    report.heading(&format!(
        "against {} ({num_classes} labels on {} samples)",
        truth.column,
        thousands(num_labelled as u64)
    ));
    let facts = json!({"column": truth.column, "num_labels": num_classes, "num_rows": num_labelled});
    report.json.insert("labels".into(), facts);
    if num_labelled > 1 {
        let knn = knn_scores(rows, labels, &KnnConfig { seed: questions.seed, ..KnnConfig::default() })?;
        report.number("recall@1", "recall_at_1", json!(knn.recall_at_1));
        report.number(&format!("{}-NN accuracy", knn.k), "knn_accuracy", json!(knn.accuracy_knn));
        report.number(&format!("recall@{}", knn.k), "recall_at_k", json!(knn.recall_at_k));
    }
    if questions.kmeans_runs > 0 && num_labelled > 0 {
        let runs = kmeans_runs(&classes, num_classes, labels, rows, questions)?;
        report.scores(&format!("k-means, k = {num_classes}, mean of {} runs", runs.len()), "kmeans", &runs);
    }
    if let Some(path) = &questions.clusters {
        let clusters = clusters_of(path, embeddings)?;
        let clusters: Vec<i32> = (0..labels.len()).filter(|&i| labels[i].is_some()).map(|i| clusters[i]).collect();
        report.scores(&path.display().to_string(), "clusters", &[Scores::new(&classes, &clusters)?]);
        if let Some(column) = &questions.weight {
            let weights = weights(column, embeddings)?;
            let weights: Vec<u64> = (0..labels.len()).filter(|&i| labels[i].is_some()).map(|i| weights[i]).collect();
            report.bins(column, &BinScores::new(&classes, &clusters, &weights)?);
        }
        if num_classes <= MAX_TABLE_LABELS {
            report.text += &composition(&classes, &clusters);
        }
    }
    Ok(())
}

/// The weight of each row, a whole number.
fn weights(column: &str, embeddings: &Embeddings) -> Result<Vec<u64>> {
    let names = embeddings.column_names()?;
    if !names.iter().any(|name| name == column) {
        let reason = format!("--weight {column}: expected a column of the embeddings, found {}", names.join(", "));
        return Err(Usage(reason).into());
    }
    match embeddings.column(column)?.data {
        ColumnData::U32(values) => Ok(values.into_iter().map(|value| value.map_or(0, u64::from)).collect()),
        ColumnData::U8(values) => Ok(values.into_iter().map(|value| value.map_or(0, u64::from)).collect()),
        _ => Err(Usage(format!("--weight {column}: expected a column of whole numbers, found another type")).into()),
    }
}

fn kmeans_runs(
    classes: &[&str],
    num_classes: usize,
    labels: &[Option<&str>],
    rows: Rows,
    questions: &Questions,
) -> Result<Vec<Scores>> {
    let values: Vec<f32> =
        (0..rows.len()).filter(|&i| labels[i].is_some()).flat_map(|i| rows.row(i)).copied().collect();
    let labelled = Rows::new(&values, rows.dim())?;
    let run = |run: u64| {
        let seed = seed::mix(questions.seed, run);
        let config = KMeansConfig { k: NumClusters::Fixed(num_classes), seed, ..KMeansConfig::default() };
        let found = kmeans(labelled, &config, &NoProgress)?;
        Ok(Scores::new(classes, &found.labels)?)
    };
    (0..questions.kmeans_runs as u64).map(run).collect()
}

fn clusters_of(path: &Path, embeddings: &Embeddings) -> Result<Vec<i32>> {
    let table = ClusterTable::read(path)?;
    let same_keys = match (&table.keys, &embeddings.keys) {
        (Some(found), Some(expected)) => found == expected,
        // From an older version: the names, in their order, must suffice.
        _ => true,
    };
    if table.ids != embeddings.ids || !same_keys {
        let reason = format!(
            "{}: {} rows that are not the {} samples of the embeddings, in their order",
            path.display(),
            table.ids.len(),
            embeddings.ids.len()
        );
        return Err(BadInput(reason).into());
    }
    Ok(table.clusters)
}

/// For each label, the clusters of its samples.
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
            .filter(|&&(_, n)| 100 * n >= total)
            .map(|&(cluster, n)| format!("{} ({:.0} %)", name(cluster), 100.0 * n as f64 / total as f64))
            .collect();
        text += &format!("  {class:<width$} {:>8}  {}\n", thousands(total as u64), shown.join(", "));
    }
    text
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
}
