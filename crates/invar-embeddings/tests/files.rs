//! Writing, resuming, reading and describing whole files.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use invar_dataset::{Column, ColumnData};
use invar_embeddings::{
    ClusterTable, EmbeddingWriter, Embeddings, EmbeddingsError, InputChecksum, Kind, Provenance, Vectors, info,
};

const DIM: usize = 3;

fn provenance() -> Provenance {
    Provenance {
        recipe: Some("seed = 7\n".into()),
        seed: Some(7),
        inputs: vec![InputChecksum { path: "a.fastq".into(), sha256: "00ff".into() }],
        ..Provenance::new("0.1.0", DIM)
    }
}

/// Rows `range` of an endless table.
fn rows(range: std::ops::Range<usize>) -> (Vec<Column>, Vec<f32>) {
    let column = |name: &str, data| Column { name: name.into(), data };
    let columns = vec![
        column("id", ColumnData::Str(range.clone().map(|i| Some(format!("read{i}"))).collect())),
        column("length_bp", ColumnData::U32(range.clone().map(|i| (i % 7 != 0).then_some(i as u32)).collect())),
        column("mate", ColumnData::U8(range.clone().map(|i| Some((i % 3) as u8)).collect())),
        column("gc", ColumnData::F32(range.clone().map(|i| Some(i as f32 / 8.0)).collect())),
        column("mean_quality", ColumnData::F64(range.clone().map(|i| (i % 5 != 0).then_some(i as f64)).collect())),
        column("position", ColumnData::I64(range.clone().map(|i| Some(-(i as i64))).collect())),
        column("is_reverse", ColumnData::Bool(range.clone().map(|i| Some(i % 2 == 0)).collect())),
    ];
    let embeddings = range.flat_map(|i| {
        let angle = i as f32 * 0.1;
        [angle.cos(), angle.sin(), 0.0]
    });
    (columns, embeddings.collect())
}

fn write(path: &Path, num_rows: usize, batch: usize, rows_per_part: usize) {
    let writer = EmbeddingWriter::create(path, provenance()).unwrap().with_rows_per_part(rows_per_part);
    fill(writer, 0, num_rows, batch).finish(&figures()).unwrap();
}

fn fill(mut writer: EmbeddingWriter, from: usize, to: usize, batch: usize) -> EmbeddingWriter {
    for first in (from..to).step_by(batch) {
        let (columns, embeddings) = rows(first..to.min(first + batch));
        writer.write(&columns, &embeddings).unwrap();
    }
    writer
}

fn figures() -> BTreeMap<String, f64> {
    BTreeMap::from([("strand_gap_max".into(), 1.5e-7)])
}

/// Every file under `dir` with its bytes.
fn bytes(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(
                bytes(&path)
                    .into_iter()
                    .map(|(name, bytes)| (path.file_name().unwrap().into(), bytes, name))
                    .map(|(directory, bytes, name): (PathBuf, _, _)| (directory.join(name), bytes)),
            );
        } else {
            all.insert(path.file_name().unwrap().into(), fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
fn a_file_and_a_directory_give_back_what_was_written() {
    for name in ["emb.parquet", "emb"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        write(&path, 25, 7, 10);
        let read = Embeddings::read(&path).unwrap();
        let (columns, embeddings) = rows(0..25);
        assert_eq!((read.dim, read.len(), read.values.as_slice()), (DIM, 25, embeddings.as_slice()));
        assert_eq!(read.ids[24], "read24");
        assert_eq!(read.provenance, Some(Provenance { invariance: figures(), ..provenance() }));
        for column in columns.into_iter().filter(|column| column.name != "mate") {
            assert_eq!(read.column(&column.name).unwrap(), column);
        }
        // Small integers come back as wider ones.
        let expected = ColumnData::U32((0..25).map(|i| Some(i % 3)).collect());
        assert_eq!(read.column("mate").unwrap().data, expected);
        let found = info(&path).unwrap();
        assert_eq!((found.kind, found.num_rows, found.dim), (Kind::Embeddings, 25, Some(DIM)));
        assert_eq!((found.is_directory, found.num_parts), if name == "emb" { (true, 3) } else { (false, 1) });
        let types: Vec<&str> = found.columns.iter().map(|column| column.data_type.as_str()).collect();
        assert_eq!(types, ["str", "u32", "u32", "f32", "f64", "i64", "bool", "array[f32, 3]"]);
        // Nothing else is left behind.
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_replacement_comes_when_it_is_whole_and_goes_on_after_a_kill() {
    for name in ["emb.parquet", "emb"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        write(&path, 45, 5, 10);
        let old = Embeddings::read(&path).unwrap();
        let new = || Provenance { seed: Some(8), ..provenance() };
        let replace =
            |provenance| EmbeddingWriter::replace(&path, provenance).map(|(w, n)| (w.with_rows_per_part(10), n));
        // Killed after two parts; the old ones are whole. Other settings start over, the same settings continue.
        for (provenance, found) in [(new(), 0), (Provenance { seed: Some(9), ..new() }, 0), (new(), 0), (new(), 20)] {
            let (writer, rows) = replace(provenance).unwrap();
            assert_eq!(rows, found, "{name}");
            drop(fill(writer, rows as usize, 25.max(rows as usize), 5));
            assert_eq!(Embeddings::read(&path).unwrap(), old, "{name}");
        }
        let (writer, rows) = replace(new()).unwrap();
        fill(writer, rows as usize, 25, 5).finish(&figures()).unwrap();
        let read = Embeddings::read(&path).unwrap();
        assert_eq!((read.len(), read.provenance.unwrap().seed), (25, Some(8)), "{name}");
        let left: Vec<PathBuf> = bytes(dir.path()).into_keys().collect();
        assert_eq!(left.len(), if name == "emb" { 3 } else { 1 }, "{left:?}");
    }
}

#[test]
fn how_the_rows_are_split_over_calls_changes_no_byte() {
    for name in ["emb.parquet", "emb"] {
        let of = |batch| {
            let dir = tempfile::tempdir().unwrap();
            write(&dir.path().join(name), 43, batch, 10);
            bytes(dir.path())
        };
        assert_eq!(of(1), of(43));
        assert_eq!(of(10), of(17));
    }
}

/// A run that is dropped after any number of rows, at any point of a part, and continued produces the same bytes as one
/// that was not interrupted; and rows already written are not requested again.
#[test]
fn a_killed_run_is_continued() {
    for name in ["emb.parquet", "emb"] {
        let whole = tempfile::tempdir().unwrap();
        write(&whole.path().join(name), 43, 4, 10);
        for killed_at in [0, 3, 10, 11, 29, 40, 43] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(name);
            let writer = EmbeddingWriter::create(&path, provenance()).unwrap().with_rows_per_part(10);
            drop(fill(writer, 0, killed_at, 4));
            let (writer, done) = EmbeddingWriter::resume(&path, provenance()).unwrap();
            assert_eq!(done, killed_at as u64 / 10 * 10);
            let writer = fill(writer.with_rows_per_part(10), done as usize, 43, 4);
            assert_eq!(writer.rows_written(), 43);
            writer.finish(&figures()).unwrap();
            assert_eq!(bytes(dir.path()), bytes(whole.path()), "{name} killed after {killed_at} rows");
        }
    }
}

#[test]
fn a_run_killed_before_the_end_marker_keeps_its_last_rows() {
    let whole = tempfile::tempdir().unwrap();
    write(&whole.path().join("emb"), 40, 5, 10);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("emb");
    // All rows are in full parts, none of which says that it is the last one.
    let writer = EmbeddingWriter::create(&path, provenance()).unwrap().with_rows_per_part(10);
    drop(fill(writer, 0, 40, 5));
    assert!(Embeddings::read(&path).unwrap_err().to_string().contains("incomplete: 4 parts"));
    let (writer, done) = EmbeddingWriter::resume(&path, provenance()).unwrap();
    assert_eq!(done, 40);
    writer.with_rows_per_part(10).finish(&figures()).unwrap();
    assert_eq!(bytes(dir.path()), bytes(whole.path()));
    assert_eq!(Embeddings::read(&path).unwrap().provenance.unwrap().invariance, figures());
}

#[test]
fn a_whole_output_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["emb.parquet", "emb"] {
        let path = dir.path().join(name);
        write(&path, 12, 5, 10);
        let (mut writer, done) = EmbeddingWriter::resume(&path, provenance()).unwrap();
        assert!(writer.is_whole());
        assert_eq!((done, writer.rows_written()), (12, 12));
        let (columns, embeddings) = rows(0..1);
        assert!(matches!(writer.write(&columns, &embeddings), Err(EmbeddingsError::Exists { .. })));
        assert_eq!(writer.finish(&figures()).unwrap().num_rows, 12);
        assert!(matches!(EmbeddingWriter::create(&path, provenance()), Err(EmbeddingsError::Exists { .. })));
    }
}

#[test]
fn another_provenance_is_not_continued() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["emb.parquet", "emb"] {
        let path = dir.path().join(name);
        let other = Provenance { seed: Some(8), ..provenance() };
        // Half-written, then whole.
        let writer = EmbeddingWriter::create(&path, provenance()).unwrap().with_rows_per_part(10);
        drop(fill(writer, 0, 15, 15));
        for _ in 0..2 {
            let error = EmbeddingWriter::resume(&path, other.clone()).unwrap_err();
            assert!(error.to_string().ends_with("cannot be continued: seed was 7, is now 8"), "{error}");
            let (writer, _) = EmbeddingWriter::resume(&path, provenance()).unwrap();
            writer.finish(&figures()).unwrap();
        }
    }
}

#[test]
fn nothing_one_and_two_rows() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..3 {
        for name in ["emb.parquet", "emb"] {
            let path = dir.path().join(format!("{n}{name}"));
            let mut writer = EmbeddingWriter::create(&path, provenance()).unwrap();
            let (columns, embeddings) = rows(0..n);
            writer.write(&columns, &embeddings).unwrap();
            assert_eq!(writer.finish(&figures()).unwrap().num_rows, n as u64);
            let read = Embeddings::read(&path).unwrap();
            assert_eq!((read.len(), read.dim, read.values.len()), (n, DIM, n * DIM));
            assert_eq!(read.column("length_bp").unwrap().data.len(), n);
        }
    }
    // Not even the columns are known.
    let path = dir.path().join("none");
    EmbeddingWriter::create(&path, provenance()).unwrap().finish(&figures()).unwrap();
    assert!(Embeddings::read(&path).unwrap().is_empty());
}

#[test]
fn rows_that_do_not_fit_are_refused_with_both_values() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = || EmbeddingWriter::create(&dir.path().join("emb"), provenance()).unwrap();
    let refused = |columns: &[Column], embeddings: &[f32]| fresh().write(columns, embeddings).unwrap_err().to_string();
    let (columns, embeddings) = rows(0..2);
    assert_eq!(
        refused(&columns, &embeddings[..5]),
        "number of values: expected a multiple of the dimension 3, found 5"
    );
    assert_eq!(refused(&columns, &embeddings[..3]), "length of column \"id\": expected 1, found 2");
    assert_eq!(refused(&columns[1..], &embeddings), "first column: expected id str, found length_bp u32");
    assert_eq!(refused(&[], &embeddings), "first column: expected id str, found none");
    let twice = [columns[0].clone(), columns[1].clone(), columns[1].clone()];
    assert!(refused(&twice, &embeddings).ends_with("found \"length_bp\""));
    let null = [Column { name: "id".into(), data: ColumnData::Str(vec![Some("a".into()), None]) }];
    assert_eq!(refused(&null, &embeddings), "id: expected a name, found null in row 1");
    let mut writer = fresh();
    writer.write(&columns, &embeddings).unwrap();
    let error = writer.write(&columns[..1], &embeddings).unwrap_err().to_string();
    assert!(error.starts_with("columns: expected id str, length_bp u32") && error.ends_with("found id str"), "{error}");
}

#[test]
fn damage_is_an_error_and_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good.parquet");
    write(&good, 25, 25, 10);
    let bytes = fs::read(&good).unwrap();
    let path = dir.path().join("bad.parquet");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Embeddings::read(&path)
    };
    let error = read(b"").unwrap_err();
    assert!(error.to_string().ends_with("bad.parquet: not a whole Parquet file: 0 bytes, minimum 12"), "{error}");
    let error = read(b"@read1\nACGT\n+\nIIII\n").unwrap_err();
    assert!(error.to_string().contains("it begins with \"@rea\", not \"PAR1\""), "{error}");
    let error = read(&bytes[..bytes.len() - 10]).unwrap_err();
    assert!(error.to_string().contains("it ends with"), "{error}");
    // A byte is changed, in many places: an error or other values, never a panic.
    let mut num_errors = 0;
    for at in (4..bytes.len() - 4).step_by(41) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x5a;
        match read(&damaged) {
            Err(error) => {
                num_errors += 1;
                assert!(error.is_bad_input(), "byte {at}: {error}");
                assert!(error.to_string().contains("bad.parquet"), "byte {at}: {error}");
            }
            Ok(read) => assert_eq!(read.dim, DIM),
        }
    }
    assert!(num_errors > 5, "{num_errors}");
    let error = Embeddings::read(&dir.path().join("none.parquet")).unwrap_err();
    assert!(!error.is_bad_input() && error.to_string().contains("none.parquet"), "{error}");
}

#[test]
fn a_half_written_directory_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("emb");
    let writer = EmbeddingWriter::create(&path, provenance()).unwrap().with_rows_per_part(10);
    drop(fill(writer, 0, 25, 5));
    for error in [Embeddings::read(&path).unwrap_err(), info(&path).unwrap_err()] {
        assert!(error.is_bad_input());
        assert!(error.to_string().contains("emb: incomplete: 2 parts, no end marker"), "{error}");
    }
}

#[test]
fn a_missing_or_changed_part_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("emb");
    write(&path, 25, 25, 10);
    let part = path.join("part-00001.parquet");
    let bytes = fs::read(&part).unwrap();
    fs::write(&part, &bytes[1..]).unwrap();
    let error = Embeddings::read(&path).unwrap_err().to_string();
    let expected = format!("part-00001.parquet: size in bytes: expected {}, found {}", bytes.len(), bytes.len() - 1);
    assert!(error.ends_with(&expected), "{error}");
    fs::remove_file(&part).unwrap();
    let error = Embeddings::read(&path).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("part-00001.parquet"), "{error}");
    // Without its last part it looks as if the run had not ended.
    fs::write(&part, &bytes).unwrap();
    fs::remove_file(path.join("part-00002.parquet")).unwrap();
    assert!(Embeddings::read(&path).unwrap_err().to_string().contains("incomplete: 2 parts"));
}

#[test]
fn rows_without_a_vector_are_named_and_left_out_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("emb.parquet");
    let mut writer = EmbeddingWriter::create(&path, provenance()).unwrap();
    let (columns, _) = rows(0..4);
    let embeddings = [1.0, 0.0, 0.0, 2.0, f32::NEG_INFINITY, 0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0, 0.0];
    writer.write(&columns, &embeddings).unwrap();
    writer.finish(&BTreeMap::new()).unwrap();
    let error = Embeddings::read(&path).unwrap_err();
    let expected = "column \"embedding\", row 1 (id \"read1\"): expected finite numbers, found -inf in place 1";
    assert!(error.is_bad_input() && error.to_string().ends_with(expected), "{error}");
    let read = Embeddings::read_as(&path, &Vectors { drop_bad_rows: true, ..Vectors::default() }).unwrap();
    assert_eq!((&read.values[..], &read.dropped[..]), (&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0][..], &[1, 2][..]));
    assert_eq!(read.ids, ["read0", "read3"]);
    // The same rows are missing from other columns.
    assert_eq!(read.column("id").unwrap().data, ColumnData::Str(vec![Some("read0".into()), Some("read3".into())]));
}

#[test]
fn missing_columns_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clusters.parquet");
    clusters().write(&path).unwrap();
    let error = Embeddings::read(&path).unwrap_err().to_string();
    let expected = "columns: expected one named \"embedding\", found id, key, cluster, probability, distance, x, y";
    assert!(error.ends_with(expected), "{error}");
    let path = dir.path().join("emb.parquet");
    write(&path, 2, 2, 10);
    let error = Embeddings::read(&path).unwrap().column("species").unwrap_err().to_string();
    assert!(error.contains("expected one named \"species\", found id, length_bp"), "{error}");
    let error = ClusterTable::read(&path).unwrap_err().to_string();
    assert!(error.ends_with("kind of file: expected clusters, found embeddings"), "{error}");
}

fn clusters() -> ClusterTable {
    ClusterTable {
        ids: vec!["a".into(), "b".into(), "a".into()],
        keys: Some(vec![3, 1, (1 << 53) - 1]),
        clusters: vec![0, -1, 4],
        probability: vec![1.0, 0.0, 0.5],
        distance: vec![0.0, 1.5, 0.25],
        x: vec![0.0, -1.5, 2.0],
        y: vec![3.0, 0.25, -2.0],
        provenance: provenance(),
        embeddings: None,
        method: "kmeans".into(),
        parameters: serde_json::json!({"k": 5, "seed": u64::MAX}),
        found: serde_json::json!({"candidates": []}),
    }
}

#[test]
fn clusters_round_trip() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clusters.parquet");
    clusters().write(&path).unwrap();
    assert_eq!(ClusterTable::read(&path).unwrap(), clusters());
    let found = info(&path).unwrap();
    assert_eq!((found.kind, found.num_rows, found.dim), (Kind::Clusters, 3, None));
    assert_eq!(found.provenance.unwrap().extra["clustering"]["parameters"]["k"], 5);
    // A table from an older version has no keys.
    let old = ClusterTable { keys: None, ..clusters() };
    old.write(&dir.path().join("old.parquet")).unwrap();
    assert_eq!(ClusterTable::read(&dir.path().join("old.parquet")).unwrap(), old);
    let short = ClusterTable { keys: Some(vec![1]), ..clusters() };
    let error = short.write(&dir.path().join("short.parquet")).unwrap_err().to_string();
    assert_eq!(error, "length of column \"key\": expected 3, found 1");
    let short = ClusterTable { x: vec![], ..clusters() };
    let error = short.write(&dir.path().join("short.parquet")).unwrap_err().to_string();
    assert_eq!(error, "length of column \"x\": expected 3, found 0");
}

#[test]
fn keys_are_read_where_they_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("emb.parquet");
    write(&path, 5, 5, 10);
    assert_eq!(Embeddings::read(&path).unwrap().keys, None);
    let with_key = |name: &str, data| {
        let path = dir.path().join(name);
        let (mut columns, values) = rows(0..3);
        columns.insert(1, Column { name: "key".into(), data });
        let mut writer = EmbeddingWriter::create(&path, provenance()).unwrap().with_rows_per_part(2);
        writer.write(&columns, &values).unwrap();
        writer.finish(&figures()).unwrap();
        Embeddings::read(&path)
    };
    let keys = ColumnData::I64(vec![Some(9), Some((1 << 53) - 1), Some(0)]);
    assert_eq!(with_key("keys", keys).unwrap().keys, Some(vec![9, (1 << 53) - 1, 0]));
    // A sample sheet's column that an older version wrote under this name is not a key.
    let text = ColumnData::Str(["a", "b", "c"].map(|text| Some(text.into())).to_vec());
    assert_eq!(with_key("sheet", text).unwrap().keys, None);
    let error = with_key("null", ColumnData::I64(vec![Some(9), Some(4), None])).unwrap_err().to_string();
    assert!(error.ends_with("column \"key\", row 0: expected a value, found null"), "{error}");
}

/// The Parquet library fixes its number of threads at start, so the test starts itself again with 1 and with 3.
#[test]
fn threads_change_no_byte() {
    const OUT: &str = "INVAR_TEST_OUT";
    if let Some(out) = env::var_os(OUT) {
        write(&PathBuf::from(out), 3000, 500, 1000);
        return;
    }
    let of = |threads: &str| {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new(env::current_exe().unwrap())
            .args(["--exact", "threads_change_no_byte"])
            .env(OUT, dir.path().join("emb.parquet"))
            .env("POLARS_MAX_THREADS", threads)
            .output()
            .unwrap();
        assert!(status.status.success());
        bytes(dir.path())
    };
    let one = of("1");
    assert_eq!(one.len(), 1);
    assert!(one == of("3"));
}

#[test]
fn a_directory_of_something_else_is_told_apart_from_an_unfinished_one() {
    let dir = tempfile::tempdir().unwrap();
    let error = Embeddings::read(dir.path()).unwrap_err().to_string();
    assert!(error.ends_with("embeddings: expected part-00000.parquet, found a directory without part files"));
    fs::write(dir.path().join("manifest.json"), "{}").unwrap();
    let error = Embeddings::read(dir.path()).unwrap_err().to_string();
    assert!(error.contains("found a dataset directory"), "{error}");
}

#[test]
fn parts_of_other_models_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    for (name, model, dim) in [("a", "m1", 3), ("b", "m2", 3), ("c", "m1", 2)] {
        let provenance = Provenance { model_sha256: Some(model.into()), ..Provenance::new("0.1.0", dim) };
        let mut writer = EmbeddingWriter::create(&dir.path().join(name), provenance).unwrap().with_rows_per_part(2);
        writer.write(&rows(0..4).0, &[1.0; 12][..4 * dim]).unwrap();
        writer.finish(&figures()).unwrap();
    }
    for (from, expected, found) in
        [("b", "SHA-256 of the model: expected m1, as in ", "m2"), ("c", "dimension: expected 3, as in ", "2")]
    {
        fs::copy(dir.path().join(from).join("part-00000.parquet"), dir.path().join("a/part-00000.parquet")).unwrap();
        let error = Embeddings::read(&dir.path().join("a")).unwrap_err();
        let text = error.to_string();
        assert!(error.is_bad_input() && text.contains(expected) && text.ends_with(&format!("found {found}")), "{text}");
        assert!(text.contains("part-00000.parquet: ") && text.contains("part-00001.parquet, found"), "{text}");
    }
}
