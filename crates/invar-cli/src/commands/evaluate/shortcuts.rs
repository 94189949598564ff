//! Shortcuts: what the embedding gives away that it should not know.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use anyhow::Result;
use invar_cluster::{
    Rows,
    probe::{Measure, ProbeConfig, ProbeScore, probe_classes, probe_numbers},
};
use invar_dataset::{Column, ColumnData};
use invar_embeddings::{EMBEDDING, Embeddings, KEY};
use serde_json::{Value, json};

use super::{Probes, Questions, report::Report};
use crate::{commands::labels::as_labels, exit::Usage};

/// Columns of the contract that may be shortcuts.
const SUSPECTS: [&str; 3] = ["source", "image", "pixel_size_nm"];

/// Columns of the contract that say what a sample is; a column that is none of these came from a sample sheet.
const FACTS: &[&str] = &[
    // of all
    "id",
    KEY,
    EMBEDDING,
    // of reads
    "description",
    "length_bp",
    "mean_quality",
    "gc",
    "mate",
    "reference",
    "position",
    "mapping_quality",
    "is_reverse",
    // of grains
    "label",
    "page",
    "aspect_ratio",
    "eccentricity",
    "orientation_deg",
    "solidity",
    "mean_intensity",
    "min_intensity",
    "max_intensity",
    "touches_border",
    "num_neighbors",
    "pixel_size_source",
    "class",
];

/// Beginnings of names of measures of a grain, whose unit is `_px`, `_um`, `_px2`, `_um2`.
const MEASURES: [&str; 7] =
    ["bbox_", "centroid_", "area_", "equivalent_diameter_", "perimeter_", "major_axis_", "minor_axis_"];

/// Distinct numbers up to which a column of them is one of classes.
const MAX_NUMBER_CLASSES: usize = 10;

/// Probes columns of the embeddings at `path`, but for the column of labels, which is meant to be told.
pub fn probe(
    report: &mut Report,
    path: &Path,
    embeddings: &Embeddings,
    rows: Rows,
    label_column: Option<&str>,
    questions: &Questions,
) -> Result<()> {
    let there: Vec<String> = invar_embeddings::info(path)?.columns.into_iter().map(|column| column.name).collect();
    let (names, named) = match &questions.probes {
        Probes::None => return Ok(()),
        Probes::Usual => (usual(&there, label_column), false),
        Probes::Named(names) => (names.clone(), true),
    };
    if let Some(missing) = names.iter().find(|name| !there.contains(name) || *name == EMBEDDING) {
        let reason = format!("--probe {missing}: expected a column of {}, found {}", path.display(), there.join(", "));
        return Err(Usage(reason).into());
    }
    let groups = Groups::of(embeddings, &there)?;
    let mut found = vec![];
    for name in names {
        // A type that is none of facts (a list) cannot be probed.
        let Ok(column) = embeddings.column(&name) else { continue };
        let score = score(rows, &column, groups.for_column(&name), questions.seed)?;
        if named || score.is_some() {
            found.push((name, score));
        }
    }
    describe(report, &found, groups.column);
    Ok(())
}

/// The suspects, and what a sample sheet added.
fn usual(there: &[String], label_column: Option<&str>) -> Vec<String> {
    let is_measure = |name: &str| {
        MEASURES.iter().any(|start| name.starts_with(start))
            && ["_px", "_um", "_px2", "_um2"].iter().any(|unit| name.ends_with(unit))
    };
    let is_usual =
        |name: &&String| SUSPECTS.contains(&name.as_str()) || !(FACTS.contains(&name.as_str()) || is_measure(name));
    there.iter().filter(is_usual).filter(|name| Some(name.as_str()) != label_column).cloned().collect()
}

/// What is held out whole: the image of each row, or else its file.
struct Groups {
    column: &'static str,
    of_row: Option<Vec<u32>>,
}

impl Groups {
    fn of(embeddings: &Embeddings, there: &[String]) -> Result<Self> {
        let column = if there.iter().any(|name| name == "image") { "image" } else { "source" };
        if !there.iter().any(|name| name == column) {
            return Ok(Self { column, of_row: None });
        }
        let labels = as_labels(&embeddings.column(column)?);
        let mut numbers: HashMap<&Option<String>, u32> = HashMap::new();
        let mut number = |label| {
            let next = numbers.len() as u32;
            *numbers.entry(label).or_insert(next)
        };
        let of_row: Vec<u32> = labels.iter().map(&mut number).collect();
        Ok(Self { column, of_row: (numbers.len() > 1).then_some(of_row) })
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
    report.heading("what a linear model tells from the embedding");
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
    fn suspects_and_the_columns_of_a_sample_sheet_are_probed() {
        let names = "id source key image label area_um2 centroid_row_um mean_intensity major_axis_um pixel_size_nm phase material_um embedding";
        let there: Vec<String> = names.split(' ').map(str::to_owned).collect();
        assert_eq!(usual(&there, Some("phase")), ["source", "image", "pixel_size_nm", "material_um"]);
        assert_eq!(usual(&there, None), ["source", "image", "pixel_size_nm", "phase", "material_um"]);
    }
}
