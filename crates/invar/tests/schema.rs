//! docs/schema.md matches what the program writes: columns, types, and where nulls may occur.
#![cfg(feature = "torch")]

mod support;

use std::{collections::BTreeMap, fs, path::Path};

use invar_dataset::ColumnData;
use invar_embeddings::{SCHEMA_VERSION, column, info};
use support::{Bench, TRAINED, fastq, truth};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A line of a table of the page.
#[derive(Debug, PartialEq)]
struct Documented {
    name: String,
    data_type: String,
    never_null: bool,
}

/// The tables of columns by their headings.
fn documented() -> BTreeMap<String, Vec<Documented>> {
    let page = fs::read_to_string(format!("{ROOT}/docs/schema.md")).unwrap();
    let mut tables: BTreeMap<String, Vec<Documented>> = BTreeMap::new();
    let (mut heading, mut in_table) = (String::new(), false);
    for line in page.lines() {
        if let Some(text) = line.strip_prefix("## ") {
            heading = text.to_owned();
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if line.starts_with("| column |") {
            assert_eq!(cells, ["column", "type", "unit", "null", ""], "{heading}");
            in_table = true;
        } else if !line.starts_with('|') {
            in_table = false;
        } else if in_table && !line.starts_with("|---") {
            assert_eq!(cells.len(), 5, "{line}");
            let name = cells[0].trim_matches('`').to_owned();
            let row = Documented { name, data_type: cells[1].into(), never_null: cells[3] == "never" };
            tables.entry(heading.clone()).or_default().push(row);
        }
    }
    tables
}

/// The content of a file, in the form of the page. `dim` is the dimension that the page calls D.
fn written(path: &Path, documented: &[Documented]) -> Vec<Documented> {
    let found = info(path).unwrap();
    assert_eq!(found.provenance.as_ref().unwrap().schema_version, SCHEMA_VERSION);
    let embedding = found.dim.map(|dim| format!("array[f32, {dim}]"));
    let of = |name: &str, data_type: &str| {
        let data_type = match data_type {
            "str" => "text",
            text if Some(text) == embedding.as_deref() => "f32[D]",
            // Of a bank, which has no embedding.
            text if name == "key" && text.starts_with("array[f32, ") => "f32[D]",
            other => other,
        };
        let said = documented.iter().find(|row| row.name == name).is_some_and(|row| row.never_null);
        // A column that may be null need not be.
        let never_null = said && (data_type == "f32[D]" || !has_nulls(path, name));
        Documented { name: name.into(), data_type: data_type.into(), never_null }
    };
    found.columns.iter().map(|column| of(&column.name, &column.data_type)).collect()
}

fn has_nulls(path: &Path, name: &str) -> bool {
    match column(path, name).unwrap().data {
        ColumnData::Str(values) => values.contains(&None),
        ColumnData::Bool(values) => values.contains(&None),
        ColumnData::U8(values) => values.contains(&None),
        ColumnData::U32(values) => values.contains(&None),
        ColumnData::I64(values) => values.contains(&None),
        ColumnData::F32(values) => values.iter().any(Option::is_none),
        ColumnData::F64(values) => values.iter().any(Option::is_none),
    }
}

#[test]
fn the_columns_of_reads_and_clusters_are_those_of_the_page() {
    let bench = Bench::new();
    bench.write("reads.fastq", fastq(3, 20, 2500));
    let bam = format!("{ROOT}/test-data/reads/real/human-chr17.bam");
    bench.ok(&["ingest", "reads", "reads.fastq", &bam, "--out", "data"]);
    bench.ok(&[&["train", "reads/quickstart", "--data", "data", "--out", "run"], TRAINED].concat());
    let pages = documented();
    for out in ["emb", "emb.parquet"] {
        bench.ok(&["embed", "--model", "run", "--data", "data", "--out", out]);
        assert_eq!(written(&bench.path(out), &pages["EMB of reads"]), pages["EMB of reads"]);
    }
    bench.ok(&["search", "emb", "--query", "emb", "--out", "hits.parquet"]);
    assert_eq!(written(&bench.path("hits.parquet"), &pages["SEARCH"]), pages["SEARCH"]);
    for method in ["kmeans", "hdbscan", "leiden"] {
        bench.ok(&["cluster", "emb", "--out", "c.parquet", "--method", method, "--force"]);
        assert_eq!(written(&bench.path("c.parquet"), &pages["CLUSTERS"]), pages["CLUSTERS"], "{method}");
    }
}

#[test]
fn the_columns_of_a_bank_are_those_of_the_page() {
    let bench = Bench::new();
    bench.write("reads.fastq", fastq(3, 20, 2500));
    bench.ok(&["ingest", "reads", "reads.fastq", "--out", "data"]);
    let small = ["--set", "encoder.hidden=[16]", "--set", "encoder.dim=8", "--set", "source.view.ks=[3]"];
    let short = ["--set", "federation.rounds=1", "--set", "federation.local_steps=1", "--data", "data"];
    bench.ok(&[&["federate", "simulate", "reads/federated", "--out", "run"], &small[..], &short[..]].concat());
    let pages = documented();
    assert_eq!(written(&bench.path("run/bank.parquet"), &pages["BANK"]), pages["BANK"]);
}

#[test]
fn the_columns_of_contigs_are_those_of_the_page() {
    let bench = Bench::new();
    let letters = |number: usize| "ACGTTGCAAC".repeat(100 + number);
    let contigs = (0..40).map(|number| format!(">c{number} x\n{}\n", letters(number)));
    bench.write("c.fa", contigs.collect::<String>() + ">alone\n" + &letters(50));
    let rows = (0..40).map(|number| format!("c{number}\t{number}\t1\t0.5\n"));
    let header = "Contig\tS Mean\tS Variance\tS Covered Fraction\n";
    bench.write("d.tsv", header.to_owned() + &rows.collect::<String>() + "alone\t1\t1\t1\n");
    bench.write("g.gfa", (0..40).map(|number| format!("S\tc{number}\t*\n")).collect::<String>());
    bench.write("m.tsv", "contig\tmarker\nc1\tPGK\n");
    let graph_and_markers = ["--gfa", "g.gfa", "--markers", "m.tsv"];
    bench.ok(&[&["ingest", "contigs", "c.fa", "--depth", "d.tsv", "--out", "data"], &graph_and_markers[..]].concat());
    bench.ok(&[&["train", "contigs/quickstart", "--data", "data", "--out", "run"], TRAINED].concat());
    bench.ok(&["embed", "--model", "run", "--data", "data", "--out", "emb"]);
    let pages = documented();
    assert_eq!(written(&bench.path("emb"), &pages["EMB of contigs"]), pages["EMB of contigs"]);
}

#[test]
fn the_columns_of_micrographs_are_those_of_the_page() {
    let bench = Bench::new();
    let polycrystals = format!("{ROOT}/test-data/micrographs/polycrystals");
    let (images, classes) = (format!("{polycrystals}/images"), format!("{polycrystals}/kinds"));
    let labels = format!("{polycrystals}/labels");
    let pages = documented();
    for (data, options) in [
        ("segmented", &["--classes", &classes][..]),
        ("masks", &["--labels", &labels]),
        ("of_known_size", &["--labels", &labels, "--pixel-size", "250"]),
        ("tiles", &["--tiles", "64"]),
    ] {
        bench.ok(&[&["ingest", "micrographs", &images, "--out", data], options].concat());
        for table in ["grains.parquet", "images.parquet", "neighbors.parquet"] {
            let path = bench.path(data).join(table);
            assert_eq!(written(&path, &pages[table]), pages[table], "{data}/{table}");
        }
    }
}

#[test]
fn the_columns_of_graphs_are_those_of_the_page() {
    let bench = Bench::new();
    let tables = ["nodes", "edges"].map(|table| format!("{ROOT}/test-data/graphs/communities/{table}.tsv"));
    bench.ok(&["ingest", "graph", &tables[0], &tables[1], "--out", "data"]);
    let steps = ["--set", "train.steps=2", "--set", "train.warmup_steps=1"];
    bench.ok(&[&["train", "graphs/nodes", "--data", "data", "--out", "run"], &steps[..]].concat());
    bench.ok(&["embed", "--model", "run", "--data", "data", "--out", "emb"]);
    bench.ok(&["edges", "emb", "--data", "data", "--out", "edges.parquet"]);
    let pages = documented();
    let (page, mut found) = (&pages["EMB of nodes"], written(&bench.path("emb"), &pages["EMB of nodes"]));
    // The column of the table of nodes, which is not of the page.
    let own = found.remove(page.len() - 1);
    assert_eq!((own.name.as_str(), own.data_type.as_str()), ("community", "text"));
    assert_eq!(&found, page);
    assert_eq!(written(&bench.path("edges.parquet"), &pages["EDGES"]), pages["EDGES"]);
}

#[test]
fn the_columns_of_predictions_are_those_of_the_page() {
    let bench = Bench::trained();
    bench.write("labels.tsv", truth(3, 20));
    let finetune = ["finetune", "finetune/probe", "--model", "run", "--data", "data", "--labels", "labels.tsv"];
    bench.ok(&[&finetune[..], &["--out", "tuned"]].concat());
    bench.ok(&["predict", "--model", "tuned", "--data", "data", "--out", "pred.parquet"]);
    let page = &documented()["PREDICTIONS"];
    assert_eq!(&written(&bench.path("pred.parquet"), page), page);
}

#[test]
fn the_version_of_the_page_is_that_of_the_program() {
    let page = fs::read_to_string(format!("{ROOT}/docs/schema.md")).unwrap();
    assert!(page.contains(&format!("\nVersion {SCHEMA_VERSION} (`invar.schema_version` in the footer).")));
}
