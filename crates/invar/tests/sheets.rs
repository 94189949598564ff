//! Sample sheets on the command line, and what a stage used of them.
#![cfg(feature = "torch")]

mod support;

use std::fs;

use serde_json::Value;
use support::{Bench, TRAINED, fastq};

/// Three samples of reads and their sheet.
fn bench() -> Bench {
    let bench = Bench::new();
    for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
        let text = fastq(3, 20, 2500 + index).replace("@r", &format!("@{name}"));
        bench.write(&format!("{name}.fastq"), text);
    }
    bench.write(
        "sheet.tsv",
        "sample\tfastq_1\tpH\tdepth\tembedding\n1\ta.fastq\t6.5\tdeep\tx\n2\tb.fastq\t\tdeep\ty\n3\tc.fastq\t7\t\tz\n",
    );
    bench
}

#[test]
fn columns_of_the_sheet_are_in_every_table_of_the_samples() {
    let bench = bench();
    let run = ["run", "reads/quickstart", "--sample-sheet", "sheet.tsv", "--out", "result", "--log", "log.jsonl"];
    bench.ok(&[&run, TRAINED].concat());
    // Ingested separately, together they are the same.
    for name in ["1", "2", "3"] {
        bench.ok(&["ingest", "reads", "--sample-sheet", "sheet.tsv", "--sample", name, "--out", &format!("d{name}")]);
    }
    bench.ok(&["embed", "--model", "result/run", "--data", "d1", "--data", "d2", "--data", "d3", "--out", "apart"]);
    let of = |emb: &str| {
        let sql = "SELECT sample, pH, sheet_depth, sheet_embedding, COUNT(*) AS n FROM e GROUP BY sample, pH, sheet_depth, sheet_embedding ORDER BY sample";
        bench.ok(&["query", &format!("e={emb}"), sql, "--format", "csv"])
    };
    let expected = "sample,pH,sheet_depth,sheet_embedding,n\n1,6.5,deep,x,60\n2,,deep,y,60\n3,7.0,,z,60\n";
    assert_eq!(of("result/embeddings"), expected);
    assert_eq!(of("apart"), expected);
    // The same dataset is already done; with another sheet it would be another dataset.
    let again = ["ingest", "reads", "--sample-sheet", "sheet.tsv", "--sample", "1", "--out", "d1"];
    assert!(bench.ok(&again).contains("nothing was written"));
    bench.write("sheet.tsv", "sample\tfastq_1\tpH\n1\ta.fastq\t9\n");
    bench.fails(2, &again);

    let lines = fs::read_to_string(bench.path("log.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stages: Vec<&str> = lines.iter().map(|line| line["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["ingest", "train", "embed", "cluster"]);
    let bytes: u64 =
        ["a", "b", "c"].iter().map(|name| fs::metadata(bench.path(&format!("{name}.fastq"))).unwrap().len()).sum();
    assert_eq!((&lines[0]["bytes_in"], &lines[0]["num_rows"]), (&bytes.into(), &180.into()));
    for line in &lines {
        assert!(line["elapsed_s"].as_f64().unwrap() > 0.0 && line["bytes_out"].as_u64().unwrap() > 0, "{line}");
        assert_eq!(line["status"], "done");
    }
    bench.fails(3, &["ingest", "reads", "sheet.tsv", "--out", "none", "--log", "log.jsonl"]);
    let lines = fs::read_to_string(bench.path("log.jsonl")).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&last["status"], &last["exit_code"]), (&"failed".into(), &3.into()));
}

#[test]
fn every_bad_row_is_told_at_once() {
    let bench = bench();
    bench.write("bad.csv", "sample,fastq_1,fastq_2\nx,a.fastq,\nx,none.fastq,b.fastq\n,c.fastq,c.fastq\n");
    for args in [
        &["ingest", "reads", "--sample-sheet", "bad.csv", "--out", "data"][..],
        &["run", "reads/quickstart", "--sample-sheet", "bad.csv", "--out", "data"],
    ] {
        let error = bench.fails(3, args);
        for (row, what) in [(2, "fastq_2"), (3, "\"x\" again"), (3, "none.fastq"), (4, "nothing"), (4, "c.fastq again")]
        {
            let told = error.lines().any(|line| line.contains(&format!("row {row}")) && line.contains(what));
            assert!(told, "row {row}, {what}: {error}");
        }
        assert!(!bench.path("data").exists());
    }
    bench.write("images.csv", "image,labels,pixel_size_nm\nnone.tif,,\na.fastq,mask.tif,minus\n");
    let error = bench.fails(3, &["ingest", "micrographs", "--sample-sheet", "images.csv", "--out", "data"]);
    for what in ["row 2: expected an image", "row 3, labels", "row 3, pixel_size_nm"] {
        assert!(error.contains(what), "{what}: {error}");
    }
    let usage =
        bench.fails(2, &["run", "reads/quickstart", "--sample-sheet", "sheet.tsv", "--input", "a.fastq", "--out", "r"]);
    assert!(usage.contains("names the files of reads"), "{usage}");
    bench.fails(2, &["ingest", "reads", "a.fastq", "--sample-sheet", "sheet.tsv", "--out", "data"]);
    bench.fails(2, &["ingest", "reads", "--out", "data"]);
}
