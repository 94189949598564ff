//! Other programs open what Invar writes: pyarrow, polars, pandas and DuckDB, a file and a directory of parts.
//!
//! Needs Python with these packages: `make test` installs them and runs this.

use std::{collections::BTreeMap, path::Path, process::Command};

use invar_dataset::{Column, ColumnData};
use invar_embeddings::{EmbeddingWriter, Precision, Provenance};

const NUM_ROWS: usize = 25;
const DIM: usize = 4;

fn write(path: &Path) {
    write_as(path, Precision::Single);
}

fn write_as(path: &Path, precision: Precision) {
    let text = |name: &str, of: fn(usize) -> Option<String>| Column {
        name: name.into(),
        data: ColumnData::Str((0..NUM_ROWS).map(of).collect()),
    };
    let columns = [
        text("id", |row| Some(format!("read{row}"))),
        text("source", |row| (row % 5 > 0).then(|| "a.fastq".into())),
        Column { name: "length_bp".into(), data: ColumnData::U32((0..NUM_ROWS).map(|row| Some(row as u32)).collect()) },
    ];
    let values: Vec<f32> = (0..NUM_ROWS * DIM).map(|i| if i % DIM == (i / DIM) % DIM { 1.0 } else { 0.0 }).collect();
    let mut writer = EmbeddingWriter::create(path, Provenance { precision, ..Provenance::new("0", DIM) })
        .unwrap()
        .with_rows_per_part(10);
    writer.write(&columns, &values).unwrap();
    let invariance = BTreeMap::from([("symmetry_gap_max".into(), 0.5)]);
    assert_eq!(writer.finish(&invariance).unwrap().num_rows, NUM_ROWS as u64);
}

#[test]
#[ignore = "needs Python packages: `make test` runs it"]
fn other_programs_open_files_and_directories() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("emb.parquet"));
    write(&dir.path().join("emb"));
    write_as(&dir.path().join("half.parquet"), Precision::Half);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers.py");
    let python = std::env::var_os("INVAR_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(python).arg(script).arg(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // Four programs; for each precision, a file and a directory.
    assert_eq!(said.lines().filter(|line| line.ends_with(": as written")).count(), 12, "{said}");
}
