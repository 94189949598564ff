//! Embeddings in half precision.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use invar_dataset::{Column, ColumnData};
use invar_embeddings::{EmbeddingWriter, Embeddings, Precision, Provenance, Query, info};

const DIM: usize = 3;
const NUM_ROWS: usize = 25;

fn provenance() -> Provenance {
    Provenance { precision: Precision::Half, ..Provenance::new("0.1.0", DIM) }
}

/// Thirds and a subnormal: none is representable in half precision.
fn values() -> Vec<f32> {
    (0..NUM_ROWS * DIM).map(|i| if i == 7 { 1e-7 } else { (i as f32 - 30.0) / 3.0 }).collect()
}

fn ids(range: Range<usize>) -> Column {
    Column { name: "id".into(), data: ColumnData::Str(range.map(|row| Some(format!("read{row}"))).collect()) }
}

/// Written by runs that are killed after these numbers of rows.
fn write(path: PathBuf, ends: &[usize]) -> PathBuf {
    let values = values();
    for &end in ends {
        let (writer, done) = EmbeddingWriter::resume(&path, provenance()).unwrap();
        let (mut writer, done) = (writer.with_rows_per_part(10), usize::try_from(done).unwrap());
        writer.write(&[ids(done..end)], &values[done * DIM..end * DIM]).unwrap();
        if end == NUM_ROWS {
            assert_eq!(writer.finish(&Default::default()).unwrap().num_rows, NUM_ROWS as u64);
        }
    }
    path
}

/// All bytes of a file or a directory.
fn contents(path: &Path) -> Vec<Vec<u8>> {
    if path.is_file() {
        return vec![fs::read(path).unwrap()];
    }
    let mut files: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn values_are_rounded_and_read_as_single_precision() {
    let dir = tempfile::tempdir().unwrap();
    let expected: Vec<f32> = values().iter().map(|&value| half::f16::from_f32(value).to_f32()).collect();
    for name in ["emb", "emb.parquet"] {
        let path = write(dir.path().join(name), &[NUM_ROWS]);
        let read = Embeddings::read(&path).unwrap();
        assert_eq!((read.dim, &read.values), (DIM, &expected));
        assert_eq!(read.provenance.unwrap().precision, Precision::Half);
        assert_eq!(info(&path).unwrap().columns.last().unwrap().data_type, "array[f16, 3]");
        // In SQL they are lists in single precision, and so is an answer that contains them.
        let table = Query::new(&path).unwrap().run("SELECT id, embedding FROM emb WHERE embedding[1] > 2.5").unwrap();
        assert_eq!(table.num_rows(), expected.iter().step_by(DIM).filter(|&&value| value > 2.5).count());
        assert_eq!(table.provenance().unwrap().precision, Precision::Single);
        let all = Query::new(&path).unwrap().run("SELECT embedding FROM emb").unwrap();
        assert_eq!(all.num_rows(), NUM_ROWS);
    }
}

#[test]
fn a_killed_run_goes_on_with_the_same_bytes_and_another_precision_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["emb", "emb.parquet"] {
        let path = write(dir.path().join(name), &[NUM_ROWS]);
        let killed = write(dir.path().join(format!("killed-{name}")), &[12, 22, NUM_ROWS]);
        assert!(contents(&path) == contents(&killed), "{name}");
        let single = Provenance { precision: Precision::Single, ..provenance() };
        let error = EmbeddingWriter::resume(&path, single).unwrap_err().to_string();
        assert!(error.ends_with("precision was \"half\", is now \"single\""), "{error}");
    }
}
