//! `invar cluster --assign`: assigns new samples to old clusters, or to none of them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use invar_cluster::{AssignConfig, Clustered, Rows, assign, groups::Labelled};
use invar_dataset::{object, path};
use invar_embeddings::{ClusterTable, Embeddings, Provenance};
use serde_json::json;

use super::{Output, beside, groups, shown, sizes, warn_of_dropped};
use crate::{
    cli::{Cluster, Common},
    commands::{same_model, same_rows},
    exit::{BadInput, Usage},
    ui::{Summary, Ui, Unit, counted, thousands},
};

/// Name of the method, as stored.
const METHOD: &str = "assigned";
/// Fraction of the samples in no cluster from which there is a warning.
const MANY: f64 = 0.5;

/// `invar cluster EMB --assign CLUSTERS`
pub fn run(args: &Cluster, clusters: &Path, common: &Common, ui: &Ui) -> Result<Summary> {
    let table = ClusterTable::read(clusters)?;
    let of = clustered_embeddings(args, clusters, &table)?;
    let output = Output::checked(args, common, &[&args.embeddings, clusters, &of])?;
    let files = output.begin()?;
    same_model::check(&of, &args.embeddings)?;
    let vectors = args.vectors.to_reader();
    let old = Embeddings::read_as(&of, &vectors)?;
    same_rows::check_read(&old, &of, &table)?;
    let new = Embeddings::read_as(&args.embeddings, &vectors)?;
    warn_of_dropped(&new, &args.embeddings, ui);
    if old.dim != new.dim {
        let (of, path) = (of.display(), args.embeddings.display());
        let reason = format!("{of} is of {} dimensions, {path} of {}: they cannot be compared", old.dim, new.dim);
        return Err(BadInput(reason).into());
    }
    let at = |path: &Path| path.display().to_string();
    let old_rows = Rows::new(&old.values, old.dim).with_context(|| at(&of))?;
    let rows = Rows::new(&new.values, new.dim).with_context(|| at(&args.embeddings))?;
    let defaults = AssignConfig::default();
    let config = AssignConfig { neighbors: args.neighbors.unwrap_or(defaults.neighbors), gate: args.gate, ..defaults };
    let clustered = Clustered { rows: old_rows, labels: &table.clusters, x: &table.x, y: &table.y };
    let found = {
        let bar = ui.bar("assign", Unit::Items);
        assign(clustered, rows, &config, &bar)?
    };
    let labelled =
        Labelled { labels: &found.labels, probability: &found.probability, confidence: &[], are_shares: true };
    let groups = groups::table(&new, rows, labelled)?;
    let mut parameters = serde_json::to_value(&config).expect("a configuration has string keys");
    parameters["to"] =
        json!({"method": table.method, "parameters": table.parameters, "inputs": table.provenance.inputs});
    let assigned = ClusterTable {
        ids: new.ids,
        keys: new.keys,
        clusters: found.labels,
        probability: found.probability,
        distance: found.distance,
        x: found.x,
        y: found.y,
        provenance: new.provenance.unwrap_or_else(|| Provenance::new(env!("CARGO_PKG_VERSION"), new.dim)),
        embeddings: Some(output.way_to(&args.embeddings)?),
        method: METHOD.into(),
        parameters,
        found: json!({"method": METHOD, "gates": found.gates}),
    };
    files.finish(&assigned, &groups, axis(&table))?;
    let (sizes, num_none) = sizes(&assigned.clusters, found.gates.len());
    let (num_rows, num_taken) = (sizes.iter().sum::<u64>() + num_none, sizes.iter().filter(|&&size| size > 0).count());
    if num_none as f64 > MANY * num_rows as f64 {
        ui.warn(&format!(
            "{} of {} are in none of the clusters: these samples differ from those of {}, or were measured differently",
            thousands(num_none),
            counted(num_rows, "sample"),
            clusters.display()
        ));
    }
    let mut text = format!(
        "{}: {} of {} in {num_taken} of the {} of {}, {} in none\n  sizes {}",
        output.clusters.display(),
        thousands(num_rows - num_none),
        counted(num_rows, "sample"),
        counted(sizes.len() as u64, "cluster"),
        clusters.display(),
        thousands(num_none),
        shown(&sizes),
    );
    text += &groups::in_words(&groups);
    text += &beside(&output);
    let json = json!({
        "out": path::text(&output.clusters), "plot": output.plot.as_deref().map(path::text),
        "groups": path::text(&output.groups), "method": METHOD, "num_rows": num_rows, "num_clusters": sizes.len(),
        "sizes": sizes, "num_noise": num_none,
    });
    Ok(Summary { text, json })
}

/// The embeddings that the clusters belong to: as given by the user, or else where they were.
fn clustered_embeddings(args: &Cluster, clusters: &Path, table: &ClusterTable) -> Result<PathBuf> {
    if let Some(of) = &args.of {
        return Ok(of.clone());
    }
    let refuse = |reason: String| Err(Usage(format!("{}: {reason}: --of EMB names them", clusters.display())).into());
    let Some(way) = &table.embeddings else {
        return refuse("it does not record where the clustered embeddings are".into());
    };
    if object::is_url(&path::parse(way)) {
        return refuse(format!("the embeddings that were clustered were read from {way}"));
    }
    let of = clusters.parent().unwrap_or(Path::new("")).join(path::parse(way));
    if !of.exists() {
        return refuse(format!("the embeddings that were clustered are not at {} any more", of.display()));
    }
    Ok(of)
}

/// The name of an axis of the old map.
fn axis(table: &ClusterTable) -> &'static str {
    match table.parameters["projection"]["method"].as_str() {
        Some("pca") => "principal component",
        _ => "UMAP",
    }
}
