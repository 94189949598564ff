//! Shortcuts: what the embedding reveals but should not know.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use anyhow::Result;
use invar_cluster::{
    Rows,
    probe::{Measure, ProbeConfig, ProbeScore, probe_classes, probe_numbers},
};
use invar_dataset::{Column, ColumnData, Shortcuts};
use invar_embeddings::{EMBEDDING, Embeddings};
use serde_json::{Value, json};

use super::{Probes, Questions, report::Report};
use crate::{commands::labels::as_labels, exit::Usage};

/// The provenance key of the [`Shortcuts`], as defined by the domain when the embeddings were made.
pub const SHORTCUTS: &str = "shortcuts";

/// Number of distinct values up to which a numeric column is treated as classes.
const MAX_NUMBER_CLASSES: usize = 10;

/// Probes columns of the embeddings at `path`, except for the column of labels, which should be predictable.
pub fn probe(
    report: &mut Report,
    path: &Path,
    embeddings: &Embeddings,
    rows: Rows,
    label_column: Option<&str>,
    questions: &Questions,
) -> Result<()> {
    let there: Vec<String> = invar_embeddings::info(path)?.columns.into_iter().map(|column| column.name).collect();
    let shortcuts = shortcuts(embeddings, &there);
    let (names, named) = match &questions.probes {
        Probes::None => return Ok(()),
        Probes::Usual => (usual(&shortcuts, &there, label_column), false),
        Probes::Named(names) => (names.clone(), true),
    };
    if let Some(missing) = names.iter().find(|name| !there.contains(name) || *name == EMBEDDING) {
        let reason = format!("--probe {missing}: expected a column of {}, found {}", path.display(), there.join(", "));
        return Err(Usage(reason).into());
    }
    let groups = Groups::of(embeddings, &shortcuts.group, &there)?;
    let mut found = vec![];
    for name in names {
        // Other types (a list) cannot be probed.
        let Ok(column) = embeddings.column(&name) else { continue };
        let score = score(rows, &column, groups.for_column(&name), questions.seed)?;
        if named || score.is_some() {
            found.push((name, score));
        }
    }
    describe(report, &found, &groups.column);
    Ok(())
}

/// The columns as classified by the domain; for embeddings not made by `invar embed`, those that any may have.
fn shortcuts(embeddings: &Embeddings, there: &[String]) -> Shortcuts {
    let said = embeddings.provenance.as_ref().and_then(|provenance| provenance.extra.get(SHORTCUTS));
    let said = said.and_then(|value| serde_json::from_value(value.clone()).ok());
    said.unwrap_or_else(|| {
        let suspects: Vec<String> =
            there.iter().filter(|name| *name == "source" || *name == "image").cloned().collect();
        Shortcuts { group: suspects.last().cloned().unwrap_or_default(), suspects }
    })
}

/// The suspect columns that exist, in the order of the columns.
fn usual(shortcuts: &Shortcuts, there: &[String], label_column: Option<&str>) -> Vec<String> {
    let is_usual = |name: &&String| shortcuts.suspects.contains(name) && Some(name.as_str()) != label_column;
    there.iter().filter(is_usual).cloned().collect()
}

/// What is held out whole: the image of each row, or else its file.
struct Groups {
    column: String,
    of_row: Option<Vec<u32>>,
}

impl Groups {
    fn of(embeddings: &Embeddings, column: &str, there: &[String]) -> Result<Self> {
        if !there.iter().any(|name| name == column) {
            return Ok(Self { column: column.to_owned(), of_row: None });
        }
        let labels = as_labels(&embeddings.column(column)?);
        let mut numbers: HashMap<&Option<String>, u32> = HashMap::new();
        let mut number = |label| {
            let next = numbers.len() as u32;
            *numbers.entry(label).or_insert(next)
        };
        let of_row: Vec<u32> = labels.iter().map(&mut number).collect();
        Ok(Self { column: column.to_owned(), of_row: (numbers.len() > 1).then_some(of_row) })
    }

    /// `None` for the column of the groups itself.
    fn for_column(&self, name: &str) -> Option<&[u32]> {
        self.of_row.as_deref().filter(|_| name != self.column)
    }
}

fn score(rows: Rows, column: &Column, groups: Option<&[u32]>, seed: u64) -> Result<Option<ProbeScore>> {
    let config = ProbeConfig { seed, ..ProbeConfig::default() };
    if let Some(numbers) = numbers(column) {
        let distinct: BTreeSet<u64> = numbers.iter().flatten().map(|number| number.to_bits()).collect();
        if distinct.len() > MAX_NUMBER_CLASSES {
            return Ok(probe_numbers(rows, &numbers, groups, &config)?);
        }
    }
    Ok(probe_classes(rows, &as_labels(column), groups, &config)?)
}

/// The numbers of a column of numbers.
fn numbers(column: &Column) -> Option<Vec<Option<f64>>> {
    fn wide<T: Copy + Into<f64>>(values: &[Option<T>]) -> Vec<Option<f64>> {
        values.iter().map(|value| value.map(Into::into)).collect()
    }
    match &column.data {
        ColumnData::Str(_) | ColumnData::Bool(_) => None,
        ColumnData::U8(values) => Some(wide(values)),
        ColumnData::U32(values) => Some(wide(values)),
        ColumnData::I64(values) => Some(values.iter().map(|value| value.map(|value| value as f64)).collect()),
        ColumnData::F32(values) => Some(wide(values)),
        ColumnData::F64(values) => Some(wide(values)),
    }
}

fn describe(report: &mut Report, found: &[(String, Option<ProbeScore>)], group: &str) {
    if found.is_empty() {
        return;
    }
    report.heading("what a linear model predicts from the embedding");
    let width = found.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(24);
    let mut probes = serde_json::Map::new();
    for (name, score) in found {
        let Some(score) = score else {
            report.text += &format!("  {name:<width$} {:>12}\n", "nothing to tell");
            probes.insert(name.clone(), Value::Null);
            continue;
        };
        let measure = match score.measure {
            Measure::Accuracy => "accuracy",
            Measure::R2 => "R2",
        };
        let held_out = if score.grouped { format!(", each {group} held out whole") } else { String::new() };
        report.text +=
            &format!("  {name:<width$} {:>12.4}  {measure}, {:.4} by chance{held_out}\n", score.score, score.chance);
        let mut json = json!(score);
        json["telling"] = json!(score.is_telling());
        if score.is_telling() {
            json["words"] = json!(sentence(name, score));
        }
        probes.insert(name.clone(), json);
    }
    for (name, score) in found.iter().filter_map(|(name, score)| Some((name, score.as_ref()?))) {
        if score.is_telling() {
            report.text += &format!("  {}\n", sentence(name, score));
        }
    }
    report.json.insert("probes".into(), Value::Object(probes));
}

fn sentence(name: &str, score: &ProbeScore) -> String {
    let what = match name {
        "image" | "source" => format!("tells the {name} apart"),
        name => format!("gives {name} away"),
    };
    match score.measure {
        Measure::Accuracy => format!(
            "the embedding {what}: right for {:.0} % of {} samples that were held out, {:.0} % by chance",
            100.0 * score.score,
            score.num_rows,
            100.0 * score.chance
        ),
        Measure::R2 => format!(
            "the embedding {what}: {:.0} % of its variance over {} samples that were held out",
            100.0 * score.score,
            score.num_rows
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_that_are_there_are_probed_but_not_the_labels() {
        let names = "id source image label pixel_size_nm phase embedding";
        let there: Vec<String> = names.split(' ').map(str::to_owned).collect();
        let suspects = ["source", "image", "pixel_size_nm", "phase", "operator"].map(str::to_owned).to_vec();
        let shortcuts = Shortcuts { suspects, group: "image".into() };
        assert_eq!(usual(&shortcuts, &there, Some("phase")), ["source", "image", "pixel_size_nm"]);
        assert_eq!(usual(&shortcuts, &there, None), ["source", "image", "pixel_size_nm", "phase"]);
    }
}
