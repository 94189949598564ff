//! `invar ingest graph` and `invar ingest grain-graph`.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use invar_dataset::{Column, ColumnData, Dataset, SampleTable, manifest, path};
use invar_embeddings::Embeddings;
use invar_graphs::{EdgeList, Features, Graph, IngestConfig, Inputs, NodeColumn, Nodes, Source, Texts};
use invar_micrographs::GrainDataset;
use serde_json::json;

use crate::{
    cli::{Common, IngestGrainGraph, IngestGraph},
    commands::labels::as_labels,
    exit::BadInput,
    ui::{DONE_BEFORE, Summary, Ui, Unit, counted, thousands},
};

/// Columns of the table of grains that are features where none are named.
const GRAIN_FEATURES: [&str; 5] =
    ["equivalent_diameter_px", "aspect_ratio", "solidity", "mean_intensity", "num_neighbors"];
/// Columns of the table of grains that are carried along.
const GRAIN_COLUMNS: [&str; 7] =
    ["image", "label", "centroid_x_px", "centroid_y_px", "area_px", "touches_border", "class"];

/// `invar ingest graph`
pub fn graph(args: &IngestGraph, common: &Common, ui: &Ui) -> Result<Summary> {
    let inputs = Inputs { nodes: args.nodes.clone(), edges: args.edges.clone() };
    let config = IngestConfig { features: args.features.clone(), scale: !args.no_scaling, force: common.force };
    ingest_tables(&inputs, &args.out, &config, ui)
}

/// Ingests the tables of a graph into a dataset directory.
///
/// # Errors
/// As the domain.
pub fn ingest_tables(inputs: &Inputs, out: &Path, config: &IngestConfig, ui: &Ui) -> Result<Summary> {
    let summary = {
        let bar = ui.bar("ingest", Unit::Items);
        invar_graphs::ingest(inputs, out, config, &bar)?
    };
    Ok(described(&summary, "node", out, ui))
}

/// `invar ingest grain-graph`
pub fn grain_graph(args: &IngestGrainGraph, common: &Common, ui: &Ui) -> Result<Summary> {
    let mut files = vec![manifest::path(&args.data)];
    if let Some(embeddings) = &args.embeddings {
        files.extend(parts(embeddings)?);
    }
    let parameters = json!({
        "data": path::text(&args.data), "features": args.features, "embeddings": args.embeddings.as_deref().map(path::text),
    });
    let summary = {
        let bar = ui.bar("ingest", Unit::Items);
        invar_graphs::ingest_graph(&files, parameters, &args.out, common.force, &bar, || graph_of_grains(args))?
    };
    Ok(described(&summary, "grain", &args.out, ui))
}

/// The files of an EMB.
fn parts(embeddings: &Path) -> Result<Vec<PathBuf>> {
    if !embeddings.is_dir() {
        return Ok(vec![embeddings.into()]);
    }
    let entries = embeddings.read_dir().with_context(|| embeddings.display().to_string())?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "parquet"));
    files.sort();
    Ok(files)
}

fn graph_of_grains(args: &IngestGrainGraph) -> Result<Graph> {
    let dataset = GrainDataset::open(std::slice::from_ref(&args.data))?;
    let columns = dataset.columns(0..dataset.len())?;
    let mut features = match &args.embeddings {
        Some(embeddings) => of_embeddings(&dataset, embeddings)?,
        None => of_columns(&columns, args)?,
    };
    features.scale();
    let carried = columns.iter().filter(|column| GRAIN_COLUMNS.contains(&column.name.as_str()));
    let carried = carried.map(|column| {
        let values = as_labels(column);
        NodeColumn::new(&column.name, values.iter().map(|value| value.as_deref().unwrap_or_default()).collect())
    });
    let names: Vec<_> = (0..dataset.len()).map(|grain| dataset.sample_name(grain)).collect();
    let mut sources: Vec<Source> = vec![];
    for name in &names {
        match sources.last_mut() {
            Some(last) if last.number == name.source_number && last.path == name.source => last.num_nodes += 1,
            _ => sources.push(Source { path: name.source.clone(), number: name.source_number, num_nodes: 1 }),
        }
    }
    let nodes = Nodes {
        ids: names.iter().map(|name| name.id.as_str()).collect::<Texts>(),
        features,
        columns: carried.collect(),
    };
    let keys = names.iter().map(|name| name.key).collect();
    Ok(Graph { nodes, edges: touching(&dataset)?, keys, sources, noun: "grains".into() })
}

/// An edge for each two grains that touch, as strong as their boundary is long.
fn touching(dataset: &GrainDataset) -> Result<EdgeList> {
    let mut list = EdgeList::default();
    for number in 0..dataset.num_images() {
        let (image, grains) = (dataset.image(number), dataset.grains_of(number));
        for edge in image.neighbors() {
            let grain = |label: u32| {
                let found = image.regions().binary_search_by_key(&label, |region| region.label);
                let reason = || BadInput(format!("{}: label {label} of its neighbours is no grain", image.name));
                found.map(|at| (grains.start + at) as u32).map_err(|_| reason())
            };
            list.edges.push((grain(edge.a)?, grain(edge.b)?, edge.boundary_px.max(1) as f32));
        }
    }
    Ok(list)
}

/// Features from columns of the table of grains. What is unknown of a grain is the mean of those of which it is known;
/// a default column of which nothing is known is left out.
fn of_columns(columns: &[Column], args: &IngestGrainGraph) -> Result<Features> {
    let asked: Vec<&str> = match &args.features[..] {
        [] => GRAIN_FEATURES.to_vec(),
        named => named.iter().map(String::as_str).collect(),
    };
    let (mut names, mut found) = (vec![], vec![]);
    for name in asked {
        let bad = |expected: &str, found: &str| {
            BadInput(format!("{}: column {name}: expected {expected}, found {found}", args.data.display()))
        };
        let column = columns.iter().find(|column| column.name == name);
        let column = column.ok_or_else(|| bad("a column of the table of grains", "none"))?;
        let values = numbers(&column.data).ok_or_else(|| bad("numbers", "text"))?;
        let known: Vec<f64> = values.iter().flatten().copied().filter(|value| value.is_finite()).collect();
        if known.is_empty() && !values.is_empty() {
            if args.features.is_empty() {
                continue;
            }
            return Err(bad("a number for some grain", "none").into());
        }
        let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
        names.push(name.to_owned());
        found.push(values.into_iter().map(move |value| value.filter(|value| value.is_finite()).unwrap_or(mean) as f32));
    }
    let num_rows = columns.first().map_or(0, |column| column.data.len());
    let values = (0..num_rows).flat_map(|_| found.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>()).collect();
    Ok(Features::Dense { names, values })
}

/// The values of a column of numbers or flags.
fn numbers(data: &ColumnData) -> Option<Vec<Option<f64>>> {
    fn all<T: Copy>(values: &[Option<T>], number: impl Fn(T) -> f64) -> Option<Vec<Option<f64>>> {
        Some(values.iter().map(|value| value.map(&number)).collect())
    }
    match data {
        ColumnData::Str(_) => None,
        ColumnData::Bool(values) => all(values, |value| f64::from(u8::from(value))),
        ColumnData::U8(values) => all(values, f64::from),
        ColumnData::U32(values) => all(values, f64::from),
        ColumnData::I64(values) => all(values, |value| value as f64),
        ColumnData::F32(values) => all(values, f64::from),
        ColumnData::F64(values) => all(values, |value| value),
    }
}

/// Features from the embeddings of the grains.
fn of_embeddings(dataset: &GrainDataset, path: &Path) -> Result<Features> {
    let embeddings = Embeddings::read(path)?;
    let keys = embeddings.keys.as_ref();
    let keys = keys.ok_or_else(|| BadInput(format!("{}: expected a column `key`, found none", path.display())))?;
    let rows: HashMap<i64, usize> = keys.iter().copied().zip(0..).collect();
    let mut values = Vec::with_capacity(dataset.len() * embeddings.dim);
    for grain in 0..dataset.len() {
        let row = i64::try_from(dataset.key(grain)).ok().and_then(|key| rows.get(&key));
        let missing = || {
            let (id, key) = (dataset.grain(grain).id(), dataset.key(grain));
            BadInput(format!(
                "{}: expected the embedding of every grain, found none of {id} (key {key})",
                path.display()
            ))
        };
        values.extend_from_slice(embeddings.row(*row.ok_or_else(missing)?));
    }
    Ok(Features::Dense { names: (0..embeddings.dim).map(|at| format!("embedding_{at}")).collect(), values })
}

/// What was read, and what was left out.
fn described(summary: &invar_graphs::Summary, noun: &str, out: &Path, ui: &Ui) -> Summary {
    let (manifest, warnings) = (&summary.manifest, summary.warnings());
    warnings.iter().for_each(|warning| ui.warn(warning));
    super::warn_of_nothing(manifest, out, noun, ui);
    let edges = manifest.counts.get("edges").copied().unwrap_or(0);
    let mut text = format!("{}: {} and {}", out.display(), counted(manifest.num_rows(), noun), counted(edges, "edge"),);
    if summary.already_done {
        text += &format!(", {DONE_BEFORE}");
    }
    for (name, count) in &manifest.counts {
        text += &format!("\n  {name:<24} {:>14}", thousands(*count));
    }
    let json = json!({
        "out": path::text(out), "num_rows": manifest.num_rows(), "counts": manifest.counts, "warnings": warnings,
        "done_before": summary.already_done,
    });
    Summary { text, json }
}
