//! `invar query`: tables, formats of the answer, and queries that are too large.

mod support;

use std::fs;

use invar_dataset::{Column, ColumnData};
use invar_embeddings::{EmbeddingWriter, Embeddings, Provenance, column};
use support::Bench;

/// Embeddings of the model "m" with this many rows, in directory `emb`.
fn with_rows(num_rows: usize) -> Bench {
    let bench = Bench::new();
    write(&bench, "emb", num_rows);
    bench
}

fn write(bench: &Bench, name: &str, num_rows: usize) {
    let ids = ColumnData::Str((0..num_rows).map(|row| Some(format!("r{row}"))).collect());
    let keys = ColumnData::I64((0..num_rows as i64).map(|row| Some(1000 + row)).collect());
    let columns = [Column { name: "id".into(), data: ids }, Column { name: "key".into(), data: keys }];
    let values: Vec<f32> = (0..num_rows).flat_map(|row| [(row as f32).cos(), (row as f32).sin()]).collect();
    let provenance = Provenance { model_sha256: Some("m".into()), ..Provenance::new("0.1.0", 2) };
    let mut writer = EmbeddingWriter::create(&bench.path(name), provenance).unwrap();
    writer.write(&columns, &values).unwrap();
    writer.finish(&Default::default()).unwrap();
}

#[test]
fn files_are_tables_called_after_them() {
    let bench = with_rows(60);
    bench.ok(&["cluster", "emb", "--out", "clusters.parquet", "--k", "3"]);
    let joined = "SELECT COUNT(*) AS n FROM emb JOIN clusters USING (key)";
    assert_eq!(bench.ok(&["query", "emb", "clusters.parquet", joined, "--format", "csv"]), "n\n60\n");
    let named = ["query", "e=emb", "c=clusters.parquet", "SELECT COUNT(*) AS n FROM e JOIN c USING (key)", "--json"];
    assert_eq!(bench.json(&named), serde_json::json!({"columns": ["n"], "rows": [{"n": 60}]}));
    let first = ["query", "clusters.parquet", "emb", "SELECT COUNT(*) AS n FROM self", "--format", "json"];
    assert_eq!(bench.json(&first), serde_json::json!([{"n": 60}]));
    fs::create_dir(bench.path("old")).unwrap();
    fs::copy(bench.path("clusters.parquet"), bench.path("old/clusters.parquet")).unwrap();
    let error = bench.fails(2, &["query", "clusters.parquet", "old/clusters.parquet", "SELECT 1"]);
    assert!(error.contains("call one clusters2=old/clusters.parquet"), "{error}");
    let error = bench.fails(2, &["query", "emb", "SELECT idd FROM emb"]);
    assert_eq!(error, "error: no column \"idd\"; the nearest is \"id\"\n  SELECT idd FROM emb\n         ^^^\n");
    bench.fails(2, &["query", "emb"]);
    // Options may stand anywhere.
    let between = ["query", "emb", "--format", "csv", "c=clusters.parquet", "--quiet", "SELECT COUNT(*) AS n FROM c"];
    assert_eq!(bench.ok(&between), "n\n60\n");
}

#[test]
fn an_answer_with_embeddings_is_an_emb_of_their_model() {
    let bench = with_rows(60);
    let sql = "SELECT * FROM emb WHERE key >= 1030";
    assert_eq!(bench.ok(&["query", "emb", sql, "--out", "half.parquet"]), "half.parquet: 30 rows\n");
    let half = Embeddings::read(&bench.path("half.parquet")).unwrap();
    let all = Embeddings::read(&bench.path("emb")).unwrap();
    assert_eq!((&half.ids[..], &half.values[..]), (&all.ids[30..], &all.values[60..]));
    assert_eq!(half.provenance.as_ref().unwrap().model_sha256.as_deref(), Some("m"));
    assert_eq!(half.provenance.unwrap().extra["query"], sql);
    bench.ok(&["cluster", "half.parquet", "--out", "c.parquet", "--k", "3"]);
    bench.ok(&["query", "emb", "SELECT id FROM emb", "--out", "ids.parquet"]);
    assert_eq!(column(&bench.path("ids.parquet"), "id").unwrap().data.len(), 60);
}

#[test]
fn the_ending_of_the_output_says_how_it_is_written() {
    let bench = with_rows(3);
    let sql = "SELECT id, key FROM emb WHERE key > 1000";
    for (name, expected) in [
        ("q.csv", "id,key\nr1,1001\nr2,1002\n"),
        ("q.json", "[\n  {\"id\":\"r1\",\"key\":1001},\n  {\"id\":\"r2\",\"key\":1002}\n]\n"),
        ("q.ndjson", "{\"id\":\"r1\",\"key\":1001}\n{\"id\":\"r2\",\"key\":1002}\n"),
        ("q.txt", "id   key\n--  ----\nr1  1001\nr2  1002\n"),
    ] {
        bench.ok(&["query", "emb", sql, "--out", name]);
        assert_eq!(fs::read_to_string(bench.path(name)).unwrap(), expected);
        let format = name.rsplit('.').next().unwrap();
        let format = if format == "txt" { "table" } else { format };
        assert_eq!(bench.ok(&["query", "emb", sql, "--format", format]), expected);
        bench.fails(2, &["query", "emb", sql, "--out", name]);
        bench.ok(&["query", "emb", sql, "--out", name, "--force"]);
    }
    for (format, magic) in [("arrow", b"ARROW1"), ("parquet", b"PAR1\x15\x00")] {
        let out = format!("q.{format}");
        bench.ok(&["query", "emb", sql, "--out", &out]);
        let written = fs::read(bench.path(&out)).unwrap();
        let told = bench.output(&["query", "emb", sql, "--format", format]).stdout;
        assert!(written == told && written.starts_with(&magic[..4]), "{format}");
    }
    let error = bench.fails(2, &["query", "emb", sql, "--out", "q.xls"]);
    assert!(error.contains("q.xls: ends in none of .parquet, .arrow"), "{error}");
    bench.ok(&["query", "emb", sql, "--out", "q.xls", "--format", "csv"]);
}

/// Pairs of all rows: at least 400 million, of at least 16 bytes each, plus their names.
const TOO_MANY: &str = "SELECT a.id, b.id AS other, a.key + b.key AS sum FROM self a CROSS JOIN self b";

#[cfg(target_os = "linux")]
#[test]
fn a_query_that_takes_too_much_memory_ends_with_both_figures() {
    let bench = with_rows(20_000);
    let error = bench.fails(1, &["query", "emb", TOO_MANY, "--out", "q.csv", "--memory-bytes", "300000000"]);
    assert!(
        error.contains("error: the query has taken ") && error.contains(" MB of memory, 300 MB are free to it"),
        "{error}"
    );
    assert!(!bench.path("q.csv").exists());
    // More than the counter of rows holds.
    write(&bench, "many", 70_000);
    let error = bench.fails(2, &["query", "many", TOO_MANY]);
    assert!(error.contains("a join of more than 4,294,967,295 rows"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn memory_that_the_system_refuses_is_an_error_in_words() {
    let bench = with_rows(20_000);
    let command = bench.command(&["query", "emb", TOO_MANY]);
    let limited = format!("ulimit -v 3000000; exec {} \"$@\"", command.get_program().to_str().unwrap());
    let output = std::process::Command::new("sh")
        .args(["-c", &limited, "sh"])
        .args(command.get_args())
        .current_dir(bench.path("."))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("error: the query takes more memory than this machine gives"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_query_at_work_is_interrupted_at_once() {
    let bench = with_rows(30_000);
    let mut command = bench.command(&["query", "emb", TOO_MANY, "--out", "q.csv"]);
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    // Once it has filled memory it is at work.
    let at_work = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let filled = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        filled.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).is_some_and(|kb| kb > 100_000)
    };
    while !at_work() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(!bench.path("q.csv").exists());
}
