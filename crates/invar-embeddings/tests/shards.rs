//! One EMB written by several tasks together.

use std::{collections::BTreeMap, fs, path::Path, sync::Barrier, thread};

use invar_dataset::{Column, ColumnData, Fault, FaultClass};
use invar_embeddings::{EmbeddingWriter, Embeddings, EmbeddingsError, Provenance, Query, Shard, info};

const DIM: usize = 2;
const ROWS: usize = 43;

fn provenance() -> Provenance {
    Provenance { recipe: Some("seed = 7\n".into()), model_sha256: Some("ab".into()), ..Provenance::new("0.1.0", DIM) }
}

fn shard(number: usize, count: usize) -> Shard {
    Shard::new(number, count).unwrap()
}

/// Writes rows `from..to` in parts of 10.
fn fill(writer: EmbeddingWriter, from: usize, to: usize) -> EmbeddingWriter {
    let mut writer = writer.with_rows_per_part(10);
    let ids = Column { name: "id".into(), data: ColumnData::Str((from..to).map(|i| Some(format!("r{i}"))).collect()) };
    let rows: Vec<f32> = (from..to).flat_map(|i| [i as f32, 1.0]).collect();
    writer.write(&[ids], &rows).unwrap();
    writer
}

fn open(path: &Path, shard: Shard, provenance: Provenance) -> Result<(EmbeddingWriter, u64), EmbeddingsError> {
    let rows = shard.of(ROWS);
    EmbeddingWriter::resume_shard(path, shard, rows.start as u64..rows.end as u64, ROWS as u64, provenance)
}

fn write(path: &Path, shard: Shard, figures: &BTreeMap<String, f64>) {
    let rows = shard.of(ROWS);
    let (writer, done) = open(path, shard, provenance()).unwrap();
    fill(writer, rows.start + done as usize, rows.end).finish(figures).unwrap();
}

fn figures() -> BTreeMap<String, f64> {
    BTreeMap::from([("strand_gap_max".into(), 0.5)])
}

/// All shards in arbitrary order, one of them without rows where there are more shards than rows.
fn write_all(path: &Path, count: usize) {
    for at in 0..count {
        let number = (at * 5 + 2) % count + 1;
        let figures = if number == count { figures() } else { BTreeMap::new() };
        write(path, shard(number, count), &figures);
    }
}

#[test]
fn shards_in_any_order_are_the_rows_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let one = dir.path().join("one");
    fill(EmbeddingWriter::create(&one, provenance()).unwrap(), 0, ROWS).finish(&figures()).unwrap();
    let expected = Embeddings::read(&one).unwrap();
    for count in [1, 2, 3, 16, 61] {
        let path = dir.path().join(format!("emb{count}"));
        write_all(&path, count);
        let found = Embeddings::read(&path).unwrap();
        assert_eq!((&found.ids, &found.values), (&expected.ids, &expected.values), "{count}");
        assert_eq!(found.provenance, expected.provenance, "{count}");
        let found = info(&path).unwrap();
        assert_eq!((found.num_rows, found.is_directory), (ROWS, true));
        let query = Query::new(&path).unwrap();
        let table = query.run(&format!("SELECT id FROM emb{count} WHERE id IN ('r0', 'r42') ORDER BY id")).unwrap();
        assert_eq!(table.to_csv(), "id\nr0\nr42\n", "{count}");
        let names: Vec<String> =
            fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.iter().all(|name| name.contains(&format!("-of-{count:04}-"))), "{names:?}");
    }
}

/// Tasks of an array start together, and those without rows end at once: each finds the others at any moment of theirs.
#[test]
fn tasks_that_write_at_the_same_time_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    const TASKS: usize = 4;
    for round in 0..100 {
        let path = dir.path().join(format!("emb{round}"));
        let start = Barrier::new(TASKS);
        thread::scope(|scope| {
            for number in 1..=TASKS {
                let (path, start) = (&path, &start);
                scope.spawn(move || {
                    start.wait();
                    write(path, shard(number, TASKS), &figures());
                });
            }
        });
        assert_eq!(info(&path).unwrap().num_rows, ROWS);
    }
}

#[test]
fn missing_shards_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("emb");
    for number in [1, 2, 4, 6] {
        write(&path, shard(number, 7), &BTreeMap::new());
    }
    // Begun, and killed after two parts and a bit.
    let (writer, _) = open(&path, shard(7, 7), provenance()).unwrap();
    drop(fill(writer, 36, 40));
    let error = Embeddings::read(&path).unwrap_err();
    assert!(error.to_string().contains("4 of 7 shards are whole, not 3, 5 and 7"), "{error}");
    assert_eq!(error.class(), FaultClass::BadInput);
}

#[test]
fn a_killed_shard_goes_on_to_the_same_bytes_and_a_whole_one_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let files = |path: &Path| -> BTreeMap<_, _> {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
        entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
    };
    let whole = dir.path().join("whole");
    write_all(&whole, 2);
    for killed_at in 0..21 {
        let path = dir.path().join(format!("emb{killed_at}"));
        let (writer, _) = open(&path, shard(1, 2), provenance()).unwrap();
        drop(fill(writer, 0, killed_at));
        let (_, done) = open(&path, shard(1, 2), provenance()).unwrap();
        assert_eq!(done as usize, killed_at / 10 * 10);
        write_all(&path, 2);
        assert_eq!(files(&path), files(&whole), "{killed_at}");
        let (writer, rows) = open(&path, shard(2, 2), provenance()).unwrap();
        assert!(writer.is_whole() && rows == 22);
        assert_eq!(files(&path), files(&whole), "{killed_at}");
    }
}

#[test]
fn what_is_left_of_another_division_or_model_is_refused_with_both() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("emb");
    write(&path, shard(3, 16), &BTreeMap::new());
    let other = open(&path, shard(2, 8), provenance()).unwrap_err();
    assert!(other.to_string().contains("16 shards (part-0003-of-0016-00000.parquet), expected 8 shards"), "{other}");
    assert_eq!(other.class(), FaultClass::Usage);
    let undivided = EmbeddingWriter::resume(&path, provenance()).unwrap_err();
    assert!(undivided.to_string().contains("expected embeddings in one piece"), "{undivided}");
    let other = Provenance { model_sha256: Some("cd".into()), ..provenance() };
    for number in [3, 4] {
        let error = open(&path, shard(number, 16), other.clone()).unwrap_err().to_string();
        assert!(error.contains("model_sha256 was \"ab\", is now \"cd\""), "{error}");
    }
    // From the same inputs, but other rows.
    let rows = EmbeddingWriter::resume_shard(&path, shard(3, 16), 5..8, 44, provenance()).unwrap_err().to_string();
    assert!(rows.contains("rows 5 to 8 of 43") && rows.contains("rows 5 to 8 of 44"), "{rows}");
    // One piece replaces them all.
    let (writer, _) = EmbeddingWriter::replace(&path, provenance()).unwrap();
    fill(writer, 0, 5).finish(&figures()).unwrap();
    assert_eq!(Embeddings::read(&path).unwrap().len(), 5);
    let piece = open(&path, shard(1, 2), provenance()).unwrap_err().to_string();
    assert!(piece.contains("holds embeddings in one piece (part-00000.parquet), expected 2 shards"), "{piece}");
    let file = open(&dir.path().join("emb.parquet"), shard(1, 2), provenance()).unwrap_err().to_string();
    assert!(file.contains("expected a directory"), "{file}");
}

/// Tasks that began at the same time, unaware of each other: whatever reads the shards notices it.
#[test]
fn shards_that_do_not_fit_together_are_no_whole() {
    let dir = tempfile::tempdir().unwrap();
    let move_part = |from: &str, to: &str, name: &str| {
        fs::rename(dir.path().join(from).join(name), dir.path().join(to).join(name)).unwrap();
    };
    let read = |name: &str| {
        let error = Embeddings::read(&dir.path().join(name)).unwrap_err();
        assert_eq!(error.class(), FaultClass::BadInput, "{error}");
        error.to_string()
    };
    for (name, model, rows, total) in [("a", "ab", 0..22, 43), ("b", "cd", 22..43, 43), ("c", "ab", 21..42, 42)] {
        let provenance = Provenance { model_sha256: Some(model.into()), ..provenance() };
        let number = if name == "a" { 1 } else { 2 };
        let path = dir.path().join(name);
        let range = rows.start as u64..rows.end as u64;
        let (writer, _) = EmbeddingWriter::resume_shard(&path, shard(number, 2), range, total, provenance).unwrap();
        fill(writer, rows.start, rows.end).finish(&BTreeMap::new()).unwrap();
    }
    let first: Vec<String> = (0..3).map(|index| format!("part-0001-of-0002-{index:05}.parquet")).collect();
    first.iter().for_each(|name| move_part("a", "b", name));
    let error = read("b");
    assert!(error.contains("part-0002-of-0002-00000.parquet: model_sha256: expected \"ab\""), "{error}");
    first.iter().for_each(|name| move_part("b", "c", name));
    let error = read("c");
    assert!(error.contains("rows of the shard: expected from row 22 on, of 43"), "{error}");
    fs::copy(dir.path().join("c").join(&first[0]), dir.path().join("c/part-00000.parquet")).unwrap();
    let error = read("c");
    assert!(error.contains("parts: expected all of embeddings in one piece"), "{error}");
}
