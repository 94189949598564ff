//! `invar edges`: the edges of a graph, each with how alike its two nodes are.

use std::collections::HashMap;

use anyhow::Result;
use invar_dataset::{Column, Dataset, path};
use invar_embeddings::{Embeddings, InputChecksum, Provenance, write_facts};
use invar_graphs::GraphDataset;
use serde_json::json;

use crate::{
    cli::{Common, Edges},
    exit::BadInput,
    output,
    ui::{Significant, Summary, Ui, counted},
};

/// Rows of the table in memory at a time.
const BLOCK_ROWS: usize = 65_536;

/// `invar edges`
pub fn run(args: &Edges, common: &Common, _: &Ui) -> Result<Summary> {
    output::check_file(&args.out, common, &[&args.embeddings])?;
    let graph = GraphDataset::open(&args.data)?;
    let embeddings = Embeddings::read(&args.embeddings)?;
    let bad = |expected: &str, found: &str| {
        BadInput(format!("{}: expected {expected}, found {found}", args.embeddings.display()))
    };
    let keys = embeddings.keys.as_ref().ok_or_else(|| bad("a column `key`", "none"))?;
    let by_key: HashMap<i64, usize> = keys.iter().copied().zip(0..).collect();
    let row_of = |node: usize| i64::try_from(graph.key(node)).ok().and_then(|key| by_key.get(&key).copied());
    let rows: Vec<Option<usize>> = (0..graph.len()).map(row_of).collect();
    if !rows.is_empty() && rows.iter().all(Option::is_none) {
        return Err(bad("embeddings of nodes of the graph", "those of other samples").into());
    }
    let length = |row: usize| embeddings.row(row).iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let cosine = |a: usize, b: usize| {
        let (a, b) = (rows[a]?, rows[b]?);
        let product: f64 =
            embeddings.row(a).iter().zip(embeddings.row(b)).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
        let lengths = length(a) * length(b);
        (lengths > 0.0).then(|| (product / lengths) as f32)
    };
    let mut provenance = Provenance::new(env!("CARGO_PKG_VERSION"), 0);
    for input in graph.manifests().flat_map(|(_, manifest)| &manifest.inputs) {
        provenance.inputs.push(InputChecksum { path: input.path.clone(), sha256: input.sha256.clone() });
    }
    if let Some(of) = &embeddings.provenance {
        (provenance.model_sha256, provenance.recipe) = (of.model_sha256.clone(), of.recipe.clone());
    }
    let (mut lowest, mut sum, mut num) = (f64::INFINITY, 0.0, 0u64);
    let mut blocks = graph.edge_blocks(BLOCK_ROWS, cosine);
    let num_rows = write_facts(&args.out, &provenance, || -> Result<Option<Vec<Column>>> {
        let block = blocks.next();
        for score in block.iter().flat_map(|block| scores(block)) {
            lowest = lowest.min(score);
            sum += score;
            num += 1;
        }
        Ok(block)
    })?;
    let mut text = format!("{}: {}", args.out.display(), counted(num_rows, "edge"));
    let mean = (num > 0).then(|| sum / num as f64);
    if let Some(mean) = mean {
        text += &format!(", mean score {}, lowest {}", Significant(mean), Significant(lowest));
    }
    let json = json!({"out": path::text(&args.out), "num_rows": num_rows, "num_scored": num, "mean_score": mean});
    Ok(Summary { text, json })
}

/// The known scores of a block.
fn scores(block: &[Column]) -> Vec<f64> {
    let column = block.iter().find(|column| column.name == "score");
    match column.map(|column| &column.data) {
        Some(invar_dataset::ColumnData::F32(values)) => {
            values.iter().flatten().map(|&score| f64::from(score)).collect()
        }
        _ => vec![],
    }
}
