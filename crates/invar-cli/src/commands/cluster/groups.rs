//! What is known of each cluster, besides its members.

use std::{
    fmt::{self, Display},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use invar_cluster::{
    Method, Rows,
    groups::{Contrasts, Group, GroupTable, Labelled},
};
use invar_dataset::{FigureRule, GroupFigures};
use invar_embeddings::{ClusterTable, EMBEDDING, Embeddings, KEY};

use serde_json::Value;

use crate::{exit::Usage, ui::thousands};

/// The provenance key of the [`GroupFigures`], as defined by the domain when the embeddings were made.
pub const GROUP_FIGURES: &str = "group_figures";

/// The confidence below which clusters count as not reproducible, and the names of the bands above (Hennig 2007).
const BANDS: [(f32, &str); 4] = [
    (0.85, "found again as they are"),
    (0.75, "found again by and large"),
    (0.6, "found again in outline, their members in doubt"),
    (0.0, "NOT found again in halves of the samples: pieces or mixtures"),
];
/// Number of clusters named per band.
const NAMED: usize = 12;

/// The default path of the table: next to CLUSTERS, with the extension `.tsv`.
///
/// # Errors
/// [`Usage`] if there is a file that is not such a table, so that `--force` never replaces an unintended one.
pub fn beside(clusters: &Path) -> Result<PathBuf> {
    let path = clusters.with_extension("tsv");
    let first = b"cluster\t";
    let mut start = vec![];
    let read = File::open(&path).and_then(|file| file.take(first.len() as u64).read_to_end(&mut start));
    if path != clusters && read.is_ok() && start != first {
        let reason = "exists already and is no table of clusters: --groups names another file for it";
        return Err(Usage(format!("{}: {reason}", path.display())).into());
    }
    Ok(path)
}

/// Columns that are not facts about the samples.
const NO_FACTS: [&str; 3] = ["id", KEY, EMBEDDING];

/// The table of clusters of embeddings, and what sets each apart in the embeddings' columns.
///
/// # Errors
/// If a column cannot be read.
pub fn table(embeddings: &Embeddings, rows: Rows<'_>, of: Labelled<'_>) -> Result<GroupTable> {
    let said = embeddings.provenance.as_ref().and_then(|provenance| provenance.extra.get(GROUP_FIGURES));
    let asked: GroupFigures = said.and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default();
    let mut names: Vec<&str> = asked.figures.iter().flat_map(|figure| figure.columns()).collect();
    names.sort_unstable();
    names.dedup();
    let there = embeddings.column_names()?;
    let known: Vec<&str> = names.iter().copied().filter(|name| there.iter().any(|there| there == name)).collect();
    let columns = known.into_iter().map(|name| embeddings.column(name)).collect::<Result<Vec<_>, _>>()?;
    let mut table = GroupTable::new(rows, of, &asked, &columns)?;
    drop(columns);
    // A column used only to see whether it has a value may be a name.
    let measures = asked.figures.iter().filter(|figure| !matches!(figure.rule, FigureRule::Missing { .. }));
    let telling: Vec<&str> = measures.flat_map(|figure| figure.columns()).collect();
    let mut contrasts = Contrasts::new(of.labels, &telling);
    for name in there.iter().filter(|name| !NO_FACTS.contains(&name.as_str())) {
        // Other types (a list) have no contrasts.
        if let Ok(column) = embeddings.column(name) {
            contrasts.add(&column)?;
        }
    }
    table.groups.iter_mut().zip(contrasts.finish()).for_each(|(group, apart)| group.apart = apart);
    Ok(table)
}

/// The same, from tables that were written, and what the clustering found besides the clusters.
///
/// # Errors
/// If a table cannot be read, or they do not belong together.
pub fn read(embeddings: &Path, clusters: &Path) -> Result<(GroupTable, Value)> {
    let clustered = ClusterTable::read(clusters)?;
    let embeddings_of = Embeddings::read(embeddings)?;
    let rows = Rows::new(&embeddings_of.values, embeddings_of.dim).with_context(|| embeddings.display().to_string())?;
    let confidence: Vec<f32> = serde_json::from_value(clustered.found["confidence"].clone()).unwrap_or_default();
    let method: Option<Method> = serde_json::from_value(clustered.found["method"].clone()).ok();
    let of = Labelled {
        labels: &clustered.clusters,
        probability: &clustered.probability,
        confidence: &confidence,
        are_shares: method == Some(Method::Leiden),
    };
    let table = table(&embeddings_of, rows, of).with_context(|| clusters.display().to_string())?;
    Ok((table, clustered.found))
}

/// How reliable the clusters are, if known: one line per band of confidence, and one for the doubtful members.
pub fn in_words(table: &GroupTable) -> String {
    let known: Vec<(i32, f32)> =
        table.groups.iter().filter_map(|group| Some((group.cluster, group.confidence?))).collect();
    let mut text: String = bands(&known).iter().map(|band| format!("\n  {band}")).collect();
    let doubtful: usize = table.groups.iter().filter_map(|group| group.doubtful).sum();
    if doubtful > 0 {
        let (number, noun) = (thousands(doubtful as u64), &table.noun);
        text += &format!(
            "\n  {number} {noun} are doubtful: most of what is near them is in other clusters (probability < 0.5)"
        );
    }
    text
}

/// Some groups by their numbers; if there are many, the first ones.
pub struct NamedGroups {
    /// How many there are.
    pub number: usize,
    names: String,
}

impl NamedGroups {
    /// Those whose confidence is in the lowest band, if any.
    pub fn not_found_again<'a>(groups: impl Iterator<Item = &'a Group>) -> Option<Self> {
        let least = BANDS[BANDS.len() - 2].0;
        let unsure = groups.filter(|group| group.confidence.is_some_and(|confidence| confidence < least));
        let numbers: Vec<i32> = unsure.map(|group| group.cluster).collect();
        (!numbers.is_empty()).then(|| Self::new(&numbers))
    }

    fn new(numbers: &[i32]) -> Self {
        let names: Vec<String> = numbers.iter().take(NAMED).map(i32::to_string).collect();
        let more = if numbers.len() > NAMED { ", ..." } else { "" };
        Self { number: numbers.len(), names: names.join(", ") + more }
    }
}

impl Display for NamedGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names)
    }
}

/// A part as a percentage of the whole.
pub fn share(part: usize, whole: usize) -> String {
    let percent = 100.0 * part as f64 / whole.max(1) as f64;
    if part > 0 && percent < 1.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

/// For each band of confidence that occurs, how many clusters are in it and which: `(cluster, confidence)`.
pub fn bands(known: &[(i32, f32)]) -> Vec<String> {
    let mut said = vec![];
    // A single cluster of all rows is trivially found in any half.
    if known.len() < 2 {
        return said;
    }
    let mut upper = f32::INFINITY;
    for (least, words) in BANDS {
        let in_band = known.iter().filter(|(_, confidence)| (least..upper).contains(confidence));
        let of: Vec<i32> = in_band.map(|&(cluster, _)| cluster).collect();
        upper = least;
        if !of.is_empty() {
            let of = NamedGroups::new(&of);
            said.push(format!("{} {words}: {of}", of.number));
        }
    }
    said
}
