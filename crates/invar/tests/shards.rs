//! Tasks of an array job: `invar embed --shard`, over datasets that were ingested separately.
#![cfg(feature = "torch")]

mod support;

use std::{collections::BTreeMap, process::Stdio};

use support::{Bench, TRAINED, fastq};

/// Enough reads for several blocks, in two datasets that were ingested separately, and a model trained on both.
fn bench() -> Bench {
    let bench = Bench::new();
    let reads = fastq(3, 1100, 120);
    let cut = reads.match_indices("\n@r").nth(1299).unwrap().0 + 1;
    bench.write("a.fastq", &reads[..cut]);
    bench.write("b.fastq", &reads[cut..]);
    for name in ["a", "b"] {
        bench.ok(&["ingest", "reads", &format!("{name}.fastq"), "--out", name]);
    }
    bench.ok(&[TRAIN, TRAINED, WINDOWS].concat());
    bench
}

const TRAIN: &[&str] = &["train", "reads/quickstart", "--data", "a", "--data", "b", "--out", "run"];
/// The reads are short.
const WINDOWS: &[&str] = &["--set", "source.pairs.kinds=[{ type = \"windows\", window_bp = [50, 80] }]"];

const EMBED: &[&str] = &["embed", "--model", "run", "--data", "a", "--data", "b", "--out"];

#[test]
fn sixteen_tasks_at_once_write_the_rows_of_one() {
    let bench = bench();
    bench.ok(&[EMBED, &["one"]].concat());
    for (name, count) in [("four", 4), ("sixteen", 16)] {
        let numbers: Vec<String> = (1..=count).rev().map(|number| format!("{number}/{count}")).collect();
        let tasks: Vec<_> = numbers
            .iter()
            .map(|shard| {
                let mut task = bench.command(&[EMBED, &[name, "--shard", shard, "--threads", "1"]].concat());
                task.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
            })
            .collect();
        for mut task in tasks {
            assert!(task.wait().unwrap().success());
        }
        let rows = |name| bench.ok(&["query", name, &format!("SELECT * FROM {name}"), "--format", "csv"]);
        assert!(rows("one") == rows(name), "{name}: other rows");
        let of = |name| {
            let info = bench.json(&["info", name, "--json"]);
            let of = |field: &str| info["provenance"][field].clone();
            (info["num_rows"].clone(), of("invariance"), of("inputs"), of("model_sha256"))
        };
        assert_eq!(of("one"), of(name));
        // The other stages accept them like one file.
        let clusters = format!("{name}.parquet");
        bench.ok(&["cluster", name, "--out", &clusters, "--k", "3"]);
        let again = bench.ok(&[EMBED, &[name, "--shard", &format!("2/{count}")]].concat());
        assert!(again.contains("nothing was written"), "{again}");
    }
    let tables: BTreeMap<&str, String> = ["four", "sixteen"]
        .map(|name| (name, std::fs::read_to_string(bench.path(&format!("{name}.tsv"))).unwrap()))
        .into();
    assert_eq!(tables["four"], tables["sixteen"]);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_embedded() {
    let bench = bench();
    bench.ok(&[EMBED, &["emb", "--shard", "1/3"]].concat());
    let incomplete = bench.fails(3, &["cluster", "emb", "--out", "c.parquet"]);
    assert!(incomplete.contains("1 of 3 shards are whole, not 2 and 3"), "{incomplete}");
    let division = bench.fails(2, &[EMBED, &["emb", "--shard", "1/4"]].concat());
    assert!(division.contains("holds 3 shards") && division.contains("expected 4 shards"), "{division}");
    let undivided = bench.fails(2, &[EMBED, &["emb"]].concat());
    assert!(undivided.contains("expected embeddings in one piece"), "{undivided}");
    let other = [TRAIN, TRAINED, WINDOWS, &["--force", "--set", "train.learning_rate=0.01"]];
    bench.ok(&other.concat());
    let model = bench.fails(2, &[EMBED, &["emb", "--shard", "2/3"]].concat());
    assert!(model.contains("cannot be continued: line") && model.contains("learning_rate"), "{model}");
    let force = bench.fails(2, &[EMBED, &["emb", "--shard", "2/3", "--force"]].concat());
    assert!(force.contains("--shard") && force.contains("--force"), "{force}");
    let file = bench.fails(2, &[EMBED, &["emb.parquet", "--shard", "2/3"]].concat());
    assert!(file.contains("name of a file"), "{file}");
    for shard in ["0/3", "4/3", "x", "3"] {
        let usage = bench.fails(2, &[EMBED, &["emb", "--shard", shard]].concat());
        assert!(usage.contains("1/16 to 16/16"), "{usage}");
    }
}
