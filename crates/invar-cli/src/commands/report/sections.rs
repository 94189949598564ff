//! The parts of the page below the clusters, as text, curves and tables.

use anyhow::Result;
use invar_dataset::manifest::Manifest;
use invar_embeddings::{ClusterTable, Provenance};
use invar_report::{Chart, Section, Series};
use serde_json::Value;

use super::{Figures, history::Training, pairs, words};
use crate::{
    commands::evaluate::{COSINE_OF, NUM_PROBED},
    result_dir::ResultDir,
    ui::{Significant, thousands},
};

/// Maximum number of values per curve; longer ones are thinned.
const MOST_VALUES: usize = 1000;
/// Number of values up to which each gets a dot.
const DOTS: usize = 60;
/// Maximum number of training warnings listed.
const MOST_WARNINGS: usize = 20;

fn section(heading: &str) -> Section {
    Section { heading: heading.into(), ..Section::default() }
}

fn without(heading: &str, reason: &str) -> Section {
    Section { sentences: vec![reason.into()], ..section(heading) }
}

fn curve(name: &str, values: Vec<(f64, Option<f64>)>) -> Series {
    let step = values.len().div_ceil(MOST_VALUES).max(1);
    let last = values.len().saturating_sub(1);
    let kept = values.iter().enumerate().filter(|&(at, _)| at % step == 0 || at == last).map(|(_, value)| *value);
    let (x, y): (Vec<f64>, Vec<Option<f64>>) = kept.unzip();
    Series { name: name.into(), dots: x.len() <= DOTS, x, y }
}

/// The candidates for the number of clusters.
pub fn how_many(found: &Value) -> Section {
    const HEADING: &str = "How many clusters";
    let candidates: Vec<&Value> = found["candidates"].as_array().into_iter().flatten().collect();
    if candidates.is_empty() {
        return without(
            HEADING,
            "The number of clusters was given, or the method keeps no record of the numbers that it tried.",
        );
    }
    let number = |one: &Value| one["num_clusters"].as_f64().or(one["k"].as_f64());
    // Several methods and settings give the same number: the chosen one, or else the best of them, represents it.
    let rank = |one: &Value| (one["chosen"] == Value::Bool(true), one["score"].as_f64().unwrap_or(f64::NEG_INFINITY));
    let mut sorted = candidates;
    sorted.sort_by(|a, b| {
        let (of_a, of_b) = (rank(a), rank(b));
        let number = |one| number(one).unwrap_or(0.0);
        number(a).total_cmp(&number(b)).then(of_b.0.cmp(&of_a.0)).then(of_b.1.total_cmp(&of_a.1))
    });
    sorted.dedup_by(|next, kept| number(next) == number(kept));
    let candidates = sorted.clone();
    let series = [
        ("silhouette", "lie apart (silhouette)"),
        ("reproducibility", "found again in halves (Jaccard)"),
        ("score", "both (product)"),
    ];
    let there = |key: &str| sorted.iter().any(|one| one[key].is_number());
    let curves = series.iter().filter(|(key, _)| there(key)).map(|(key, name)| {
        curve(name, sorted.iter().filter_map(|one| Some((number(one)?, one[*key].as_f64()))).collect())
    });
    let chosen = candidates.iter().find(|one| one["chosen"] == Value::Bool(true));
    let mark = chosen.and_then(|one| Some((number(one)?, "taken".to_owned())));
    let chart = Chart {
        title: "Candidates".into(),
        x_label: "number of clusters".into(),
        y_label: "higher is better".into(),
        series: curves.collect(),
        mark,
    };
    let mut sentences = vec![
        "Good clusters lie apart, and come out again when only half of the samples are clustered. The number of clusters is \
         the one at which the product of both is largest."
            .to_owned(),
    ];
    if chosen.is_none() {
        sentences.push("No candidate did both: all samples are one cluster.".into());
    }
    let mut names: Vec<String> = vec![];
    for one in &candidates {
        names.extend(one.as_object().into_iter().flatten().map(|(name, _)| name.clone()));
    }
    names.sort();
    names.dedup();
    names.sort_by_key(|name| ["num_clusters", "k"].iter().all(|first| first != name));
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
        Value::Bool(value) => if *value { "taken" } else { "" }.into(),
        Value::Number(number) if number.is_f64() => format!("{:.3}", number.as_f64().unwrap_or_default()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let table = invar_report::Table {
        caption: String::new(),
        columns: names.iter().map(|name| words(name)).collect(),
        rows: candidates.iter().map(|one| names.iter().map(|name| cell(&one[name.as_str()])).collect()).collect(),
    };
    // A single candidate does not make a curve.
    let charts = if candidates.len() > 1 { vec![chart] } else { vec![] };
    Section { sentences, charts, tables: vec![table], ..section(HEADING) }
}

/// The curves of the training.
pub fn training(training: Option<Training>) -> Section {
    const HEADING: &str = "Training";
    let Some(training) = training else {
        return without(HEADING, "There is no record of the training beside these results.");
    };
    let values = |events: &[Value], key: &str| -> Vec<(f64, Option<f64>)> {
        events.iter().filter_map(|event| Some((event["step"].as_f64()?, event[key].as_f64()))).collect()
    };
    let of = |name: &str, events: &[Value], key: &str| {
        let values = values(events, key);
        values.iter().any(|(_, value)| value.is_some()).then(|| curve(name, values))
    };
    let held_out = &training.validations;
    let chart = |title: &str, y_label: &str, series: Vec<Option<Series>>| {
        let series: Vec<Series> = series.into_iter().flatten().collect();
        (!series.is_empty()).then(|| Chart {
            title: title.into(),
            x_label: "step".into(),
            y_label: y_label.into(),
            series,
            mark: None,
        })
    };
    let charts = [
        chart(
            "Loss",
            "loss",
            vec![of("training", &training.steps, "loss"), of("held out", held_out, "validation_loss")],
        ),
        chart(
            "Retrieval, held out",
            "share",
            vec![of("finds its pair", held_out, "retrieval"), of("neighbours' label", held_out, "knn_accuracy")],
        ),
        chart("Alignment, held out", "squared distance of a pair", vec![of("alignment", held_out, "alignment")]),
        chart("Uniformity, held out", "log mean exp(-2 d\u{b2})", vec![of("uniformity", held_out, "uniformity")]),
        chart("Effective rank, held out", "dimensions in use", vec![of("effective rank", held_out, "effective_rank")]),
    ];
    let mut sentences = vec![];
    if let Some(last) = training.steps.last() {
        let step = last["step"].as_u64().unwrap_or_default();
        sentences.push(format!("{} steps.", thousands(step)));
    }
    match held_out.last() {
        Some(last) => {
            if let Some(retrieval) = last["retrieval"].as_f64() {
                let pairs = last["num_pairs"].as_u64().unwrap_or_default();
                sentences.push(format!(
                    "At the end, of {} held-out samples {:.0} % were found by their other view as the nearest of all ({:.1} % by chance).",
                    thousands(pairs),
                    100.0 * retrieval,
                    100.0 / pairs.max(1) as f64
                ));
            }
        }
        None => sentences.push("No samples were held out, so only the loss of the training is known.".into()),
    }
    for (step, message) in training.warnings.iter().take(MOST_WARNINGS) {
        sentences.push(format!("Warning at step {}: {message}", thousands(*step)));
    }
    Section { sentences, charts: charts.into_iter().flatten().collect(), ..section(HEADING) }
}

/// How invariant the embedding is to what an instrument does by accident.
pub fn invariance(provenance: &Provenance, noun: &str) -> Section {
    const HEADING: &str = "Invariance";
    let figures: &Figures = &provenance.invariance;
    let Some(number) = figures.get(NUM_PROBED) else {
        return without(HEADING, "It was not measured how far the embedding ignores the symmetries of the instrument.");
    };
    let mut sentences = vec![format!(
        "Measured on {} {noun}, each embedded as it is and after symmetries of the instrument ({}). An embedding that \
         ignores them has a cosine of 1.",
        thousands(*number as u64),
        symmetries(noun)
    )];
    if let (Some(mean), Some(worst)) = (figures.get("symmetry_cosine_mean"), figures.get("symmetry_gap_max")) {
        sentences.push(format!(
            "Here it is {mean:.4} on average; the worst of all differs from 1 by {}.",
            Significant(*worst)
        ));
    }
    if let Some(found) = figures.get("retrieval_upright_moved") {
        sentences.push(format!(
            "Of the moved {noun}, {:.0} % find themselves as the nearest among all as they lie.",
            100.0 * found
        ));
    }
    let rows = figures.iter().filter(|(name, _)| *name != NUM_PROBED && !name.starts_with(COSINE_OF));
    let table = pairs("", rows.map(|(name, value)| (words(name), Significant(*value).to_string())));
    Section { sentences, charts: against_angle(figures), tables: vec![table], ..section(HEADING) }
}

/// The cosine by rotation angle ("rotated by 15 degrees"), if there are such symmetries.
fn against_angle(figures: &Figures) -> Vec<Chart> {
    let angle =
        |name: &str| name.strip_prefix(COSINE_OF)?.strip_prefix("rotated by ")?.strip_suffix(" degrees")?.parse().ok();
    let mut values: Vec<(f64, Option<f64>)> =
        figures.iter().filter_map(|(name, &value)| Some((angle(name)?, Some(value)))).collect();
    if values.len() < 2 {
        return vec![];
    }
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let chart = Chart {
        title: "Cosine against angle".into(),
        x_label: "turned by, degrees".into(),
        y_label: "cosine to upright, mean".into(),
        series: vec![curve("cosine", values)],
        mark: None,
    };
    vec![chart]
}

fn symmetries(noun: &str) -> &'static str {
    match noun {
        "reads" => "the other strand",
        "grains" => "turned by angles",
        _ => "as their domain has them",
    }
}

/// For each column that the embedding reveals, how far, in words.
pub fn telling(evaluation: &Value) -> Vec<String> {
    let probes = evaluation["probes"].as_object().into_iter().flat_map(|probes| probes.values());
    probes.filter_map(|probe| probe["words"].as_str()).map(str::to_owned).collect()
}

/// What the embedding reveals about how the samples were taken.
pub fn shortcuts(evaluation: Option<&Value>) -> Section {
    const HEADING: &str = "Shortcuts";
    let Some(evaluation) = evaluation else {
        return without(
            HEADING,
            "It was not measured what the embedding gives away of how the samples were taken (invar evaluate --json, kept as \
             evaluation.json, says so).",
        );
    };
    let Some(probes) = evaluation["probes"].as_object() else {
        return without(HEADING, "There was no column to predict: as far as known, all samples were taken alike.");
    };
    let mut sentences = vec![
        "A column that says how a sample was taken (its file, image, magnification) should not be predictable from the \
         embedding by a linear model. If it is, clusters may reflect the instrument and not the samples."
            .to_owned(),
    ];
    let telling: Vec<String> = telling(evaluation).iter().map(|words| format!("Beware: {words}.")).collect();
    if telling.is_empty() {
        sentences.push("Nothing is given away: no such column is predicted much better than by chance.".into());
    }
    sentences.extend(telling);
    let number = |value: &Value| value.as_f64().map(|value| format!("{value:.3}")).unwrap_or_default();
    let row = |(name, probe): (&String, &Value)| {
        let measure = probe["measure"].as_str().map(words).unwrap_or_else(|| "nothing to tell".into());
        vec![name.clone(), measure, number(&probe["score"]), number(&probe["chance"])]
    };
    let table = invar_report::Table {
        caption: String::new(),
        columns: ["column", "measure", "told", "by chance"].map(str::to_owned).to_vec(),
        rows: probes.iter().map(row).collect(),
    };
    Section { sentences, tables: vec![table], ..section(HEADING) }
}

/// How far the clusters agree with known labels, in a sentence.
pub fn agreement(evaluation: &Value) -> Option<String> {
    let (column, labels) = (evaluation["labels"]["column"].as_str()?, evaluation["labels"]["num_labels"].as_u64()?);
    let ari = evaluation["clusters"]["ari"].as_f64()?;
    Some(format!(
        "Against the {} known labels of {column:?}: adjusted Rand index {ari:.3} (1 is the same grouping, 0 chance).",
        thousands(labels)
    ))
}

/// The scores against known labels.
pub fn labels(evaluation: &Value) -> Option<Section> {
    let column = evaluation["labels"]["column"].as_str()?;
    let mut rows = vec![];
    for (name, key) in
        [("nearest neighbour of the same label", "recall_at_1"), ("20 nearest vote right", "knn_accuracy")]
    {
        rows.extend(evaluation[key].as_f64().map(|value| (name.to_owned(), format!("{value:.4}"))));
    }
    let mut tables = vec![pairs("neighbours", rows)];
    for (caption, key) in [("these clusters", "clusters"), ("k-means with the number of labels", "kmeans")] {
        let Some(scores) = evaluation[key].as_object() else { continue };
        let cell = |value: &Value| match value.as_u64() {
            Some(count) => thousands(count),
            None => format!("{:.4}", value.as_f64().unwrap_or(f64::NAN)),
        };
        tables.push(pairs(caption, scores.iter().map(|(name, value)| (words(name), cell(value)))));
    }
    let heading = format!("Against the labels of {column:?}");
    Some(Section { tables, ..section(&heading) })
}

/// Where everything came from.
pub fn provenance(results: &ResultDir, table: &ClusterTable) -> Result<Section> {
    let provenance = &table.provenance;
    let mut facts = vec![("Invar".to_owned(), provenance.tool_version.clone())];
    let mut fact = |name: &str, value: Option<String>| facts.extend(value.map(|value| (name.to_owned(), value)));
    fact("model, SHA-256 of its weights", provenance.model_sha256.clone());
    fact("seed", provenance.seed.map(|seed| seed.to_string()));
    fact("dimensions of the embedding", Some(provenance.dim.to_string()));
    fact("device", provenance.extra.get("device").and_then(|device| device.as_str()).map(str::to_owned));
    fact("embedded", provenance.extra.get("features").and_then(|features| features.as_str()).map(str::to_owned));
    fact("clustered by", Some(table.method.clone()));
    let mut tables = vec![pairs("", facts)];
    let inputs = provenance.inputs.iter().map(|input| vec![input.path.clone(), input.sha256.clone()]).collect();
    tables.push(invar_report::Table {
        caption: "what the samples were read from".into(),
        columns: ["file", "SHA-256"].map(str::to_owned).to_vec(),
        rows: inputs,
    });
    let mut sentences = vec![];
    if Manifest::exists(&results.data()) {
        let manifest = Manifest::read(&results.data())?;
        let counts = manifest.counts.iter().map(|(name, count)| (words(name), thousands(*count)));
        tables.push(pairs("counted when they were read", counts));
        let warnings = manifest.facts.get("warnings").and_then(Value::as_array).into_iter().flatten();
        sentences.extend(warnings.filter_map(Value::as_str).map(|text| format!("Warning when they were read: {text}")));
    } else {
        sentences.push("The dataset is not beside these results.".into());
    }
    let parameters = serde_json::to_string_pretty(&table.parameters).expect("a JSON value has string keys");
    let mut texts = vec![("Parameters of the clustering".to_owned(), parameters)];
    texts.extend(provenance.recipe.clone().map(|recipe| ("Recipe, every default written out".to_owned(), recipe)));
    Ok(Section { sentences, tables, texts, ..section("Provenance") })
}
