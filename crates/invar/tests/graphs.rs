//! Graphs through the command line: every specimen of `test-data/graphs/index.toml`, nodes from two tables to clusters,
//! and neighbourhoods of grains from micrographs to a painted picture.
#![cfg(feature = "torch")]

mod support;

use std::fs;

use invar_dataset::ColumnData;
use invar_embeddings::column;
use serde::Deserialize;
use support::Bench;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test-data/graphs");
const IMAGE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../test-data/micrographs/polycrystals/images/polycrystal-1.tif");

#[derive(Deserialize)]
struct Index {
    valid: Vec<Specimen>,
    invalid: Vec<Specimen>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Specimen {
    name: String,
    #[allow(dead_code)]
    description: String,
    origin: String,
    licence: String,
    features: String,
    #[serde(default)]
    nodes: u64,
    #[serde(default)]
    edges: u64,
    #[serde(default)]
    warning: String,
    #[serde(default)]
    file: String,
    #[serde(default)]
    message: String,
}

impl Specimen {
    fn arguments(&self) -> Vec<String> {
        assert!(!self.origin.is_empty() && !self.licence.is_empty(), "{}", self.name);
        let tables = ["nodes", "edges"].map(|table| format!("{DATA}/corpus/{}.{table}.tsv", self.name));
        let mut args =
            ["ingest", "graph", &tables[0], &tables[1], "--out", "data", "--json"].map(String::from).to_vec();
        if !self.features.is_empty() {
            args.extend(["--features".into(), self.features.clone()]);
        }
        args
    }
}

fn index() -> Index {
    toml::from_str(&fs::read_to_string(format!("{DATA}/index.toml")).unwrap()).unwrap()
}

#[test]
fn valid_tables_give_their_nodes_and_edges() {
    let specimens = index().valid;
    assert!(specimens.len() >= 8);
    for specimen in specimens {
        let args = specimen.arguments();
        let summary = Bench::new().json(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let found = [&summary["num_rows"], &summary["counts"]["edges"]].map(|count| count.as_u64().unwrap());
        assert_eq!(found, [specimen.nodes, specimen.edges], "{}", specimen.name);
        let warnings = summary["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), usize::from(!specimen.warning.is_empty()), "{}: {warnings:?}", specimen.name);
        assert!(warnings.iter().all(|warning| warning.as_str().unwrap().contains(&specimen.warning)));
    }
}

#[test]
fn invalid_tables_are_named_and_leave_nothing() {
    let specimens = index().invalid;
    assert!(specimens.len() >= 12);
    for specimen in specimens {
        let (bench, args) = (Bench::new(), specimen.arguments());
        let message = bench.fails(3, &args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(
            message.contains(&specimen.file) && message.contains(&specimen.message),
            "{}: {message}",
            specimen.name
        );
        assert!(!message.contains("panicked") && !bench.path("data").exists(), "{}: {message}", specimen.name);
    }
}

/// `invar run graphs/nodes` on the communities with these edges, and its result.
fn run(bench: &Bench, edges: &str, out: &str, more: &[&str]) -> serde_json::Value {
    bench.write(&format!("{out}.tsv"), edges);
    let (nodes, edges) = (format!("{DATA}/communities/nodes.tsv"), format!("{out}.tsv"));
    let args =
        ["run", "graphs/nodes", "--input", &nodes, &edges, "--label-column", "community", "--out", out, "--json"];
    bench.json(&[&args[..], &["-q"], more].concat())["stages"].clone()
}

#[test]
fn communities_are_found_by_their_edges_and_not_by_others() {
    let recipe = fs::read_to_string(format!("{DATA}/../../pipelines/graphs/nodes.toml")).unwrap();
    let expected = recipe.parse::<toml::Table>().unwrap()["expected"].as_table().unwrap().clone();
    let least = |key: &str| expected[key].as_float().unwrap();
    let bench = Bench::new();
    let edges = fs::read_to_string(format!("{DATA}/communities/edges.tsv")).unwrap();
    let figures = |stages: &serde_json::Value| {
        let evaluated = &stages["evaluate"];
        [&evaluated["kmeans"]["ari"], &evaluated["recall_at_1"]].map(|figure| figure.as_f64().unwrap())
    };
    let stages = run(&bench, &edges, "out", &[]);
    let [ari, nearest] = figures(&stages);
    assert!(ari >= least("min_ari") && nearest >= least("min_nearest_neighbour"), "{ari} {nearest}");
    // The control: as many edges of each source, to other targets.
    let rows: Vec<(&str, &str)> = edges.lines().skip(1).map(|line| line.split_once('\t').unwrap()).collect();
    let shuffled = (0..rows.len()).map(|at| format!("{}\t{}\n", rows[at].0, rows[(at * 731 + 17) % rows.len()].1));
    let shuffled = format!("source\ttarget\n{}", shuffled.collect::<String>());
    let [other, _] = figures(&run(&bench, &shuffled, "shuffled", &[]));
    assert!(other < ari - 0.4, "{other} with other edges, {ari} with the right ones");
    // The same bytes at one thread.
    let again = run(&bench, &edges, "again", &["--threads", "1"]);
    assert_eq!(stages["train"]["model_sha256"], again["train"]["model_sha256"]);
    let embedding = |out: &str| invar_embeddings::Embeddings::read(&bench.path(&format!("{out}/embeddings"))).unwrap();
    assert_eq!(embedding("out").values, embedding("again").values);
}

#[test]
fn neighbourhoods_of_grains_are_painted_over_the_image() {
    let bench = Bench::new();
    bench.ok(&["ingest", "micrographs", IMAGE, "--out", "grains", "-q"]);
    bench.ok(&["ingest", "grain-graph", "grains", "--out", "graph", "-q"]);
    let steps = ["--set", "train.steps=10", "--set", "train.warmup_steps=1", "--set", "train.validation_fraction=0"];
    bench.ok(&[&["train", "micrographs/neighbourhoods", "--data", "graph", "--out", "run", "-q"], &steps[..]].concat());
    bench.ok(&["embed", "--model", "run", "--data", "graph", "--out", "emb.parquet", "-q"]);
    let ids = |file: &str| column(&bench.path(file), "id").unwrap().data;
    assert_eq!(ids("emb.parquet"), ids("grains/grains.parquet"));
    let keys = |file: &str| column(&bench.path(file), "key").unwrap().data;
    assert_eq!(keys("emb.parquet"), keys("grains/grains.parquet"));
    bench.ok(&["cluster", "emb.parquet", "--method", "kmeans", "--k", "3", "--out", "clusters.parquet", "-q"]);
    bench.ok(&["paint", "clusters.parquet", "--data", "grains", "--out", "painted", "-q"]);
    assert!(bench.path("painted/polycrystal-1.png").is_file());
    // An edge for each two grains that touch, as long as their boundary, with a cosine.
    bench.ok(&["edges", "emb.parquet", "--data", "graph", "--out", "edges.parquet", "-q"]);
    let numbers = |file: &str, name: &str| -> Vec<f64> {
        match column(&bench.path(file), name).unwrap().data {
            ColumnData::F32(values) => values.into_iter().map(|value| f64::from(value.unwrap())).collect(),
            ColumnData::I64(values) => values.into_iter().map(|value| value.unwrap() as f64).collect(),
            other => panic!("{other:?}"),
        }
    };
    let sorted = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values
    };
    assert_eq!(sorted(numbers("edges.parquet", "weight")), sorted(numbers("grains/neighbors.parquet", "boundary_px")));
    assert!(numbers("edges.parquet", "score").iter().all(|score| (-1.001..=1.001).contains(score)));
    // From embeddings of the grains, of which one must not be missing.
    bench.ok(&["ingest", "grain-graph", "grains", "--embeddings", "emb.parquet", "--out", "of-embeddings", "-q"]);
    bench.ok(&["query", "emb.parquet", "SELECT * FROM self WHERE label > 1", "--out", "fewer.parquet", "-q"]);
    let args = ["ingest", "grain-graph", "grains", "--embeddings", "fewer.parquet", "--out", "fewer"];
    let message = bench.fails(3, &args);
    assert!(message.contains("found none of polycrystal-1#1") && !bench.path("fewer").exists(), "{message}");
}

#[test]
fn what_does_not_fit_is_said() {
    let bench = Bench::new();
    let tables = ["nodes", "edges"].map(|table| format!("{DATA}/communities/{table}.tsv"));
    bench.ok(&["ingest", "graph", &tables[0], &tables[1], "--out", "data", "-q"]);
    let train =
        |more: &[&str]| bench.fails(2, &[&["train", "graphs/nodes", "--data", "data", "--out", "run"], more].concat());
    let message = train(&["--set", "encoder.depth=3"]);
    assert!(message.contains("up to 3 edges away") && message.contains("up to 2 edges away"), "{message}");
    let message = train(&["--set", "encoder={type=\"kmer-mlp\"}"]);
    assert!(message.contains("needs reads, found a source of graphs"), "{message}");
    let message = bench.fails(2, &["run", "graphs/nodes", "--input", &tables[0], "--out", "out"]);
    assert!(message.contains("two tables, of nodes and of edges: 1 were given"), "{message}");
    let words = bench.ok(&["views", "data", "--recipe", "graphs/nodes", "--number", "2"]);
    assert_eq!(words.matches("a view of ").count(), 4, "{words}");
    let text = bench.ok(&["info", "data"]);
    assert!(text.contains("a dataset of graphs, 480 samples"), "{text}");
}
