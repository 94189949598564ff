//! Parquet files from other programs that contain vectors.

use std::{fs::File, path::Path};

use invar_dataset::{Column, ColumnData, seed};
use invar_embeddings::{EmbeddingWriter, Embeddings, Provenance, Query, Vectors, dimension, info};
use polars::{datatypes::ReshapeDimension, prelude as pl, prelude::IntoColumn, prelude::NamedFrom};
use polars_io::prelude::ParquetWriter;

const DIM: usize = 3;
const NUM_ROWS: usize = 5;
/// Number of files that are damaged at random.
const CASES: u64 = 2_000;

fn values() -> Vec<f32> {
    (0..NUM_ROWS * DIM).map(|i| i as f32 * 0.25 - 1.0).collect()
}

/// The vectors as a column of this type, row 1 null where asked.
fn vectors(name: &str, inner: &pl::DataType, is_fixed: bool) -> pl::Column {
    let shape = [ReshapeDimension::Infer, ReshapeDimension::new_dimension(DIM as u64)];
    let arrays = pl::Series::new(name.into(), values()).cast(inner).unwrap().reshape_array(&shape).unwrap();
    let lists = pl::DataType::List(Box::new(inner.clone()));
    if is_fixed { arrays.into_column() } else { arrays.cast(&lists).unwrap().into_column() }
}

fn write(path: &Path, columns: Vec<pl::Column>) {
    let height = columns.first().map_or(0, pl::Column::len);
    let mut frame = pl::DataFrame::new(height, columns).unwrap();
    ParquetWriter::new(File::create(path).unwrap()).finish(&mut frame).unwrap();
}

fn named(column: &str) -> Vectors {
    Vectors { column: Some(column.into()), drop_bad_rows: false }
}

#[test]
fn lists_of_any_precision_are_vectors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.parquet");
    let ids = pl::Series::new("id".into(), ["a", "b", "c", "d", "e"]).into_column();
    for inner in [pl::DataType::Float32, pl::DataType::Float64] {
        for is_fixed in [true, false] {
            write(&path, vec![vectors("vec", &inner, is_fixed), ids.clone()]);
            let read = Embeddings::read_as(&path, &named("vec")).unwrap();
            assert_eq!((read.dim, &read.values), (DIM, &values()), "{inner} {is_fixed}");
            assert_eq!((read.ids.join(""), read.keys, read.provenance), ("abcde".into(), None, None));
            let error = Embeddings::read(&path).unwrap_err();
            assert!(error.is_bad_input());
            let expected = "expected one named \"embedding\", found vec, id (--column vec)";
            assert!(error.to_string().ends_with(expected), "{error}");
            let error = Embeddings::read_as(&path, &named("id")).unwrap_err().to_string();
            assert!(error.ends_with("type of column \"id\": expected lists of numbers, found str"), "{error}");
            let error = Embeddings::read_as(&path, &named("vek")).unwrap_err().to_string();
            assert!(error.ends_with("expected one named \"vek\", found vec, id (--column vec)"), "{error}");
        }
    }
}

#[test]
fn rows_without_names_are_called_by_their_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.parquet");
    let embedding = vectors("embedding", &pl::DataType::Float32, true);
    write(&path, vec![embedding.clone()]);
    assert_eq!(Embeddings::read(&path).unwrap().ids, ["0", "1", "2", "3", "4"]);
    let numbers = pl::Series::new("id".into(), [7_i32, 8, 9, 10, 11]).into_column();
    let keys = pl::Series::new("key".into(), [70_i64, 80, 90, 100, 110]).into_column();
    write(&path, vec![numbers, keys, embedding]);
    let read = Embeddings::read(&path).unwrap();
    assert_eq!(read.ids, ["7", "8", "9", "10", "11"]);
    assert_eq!(read.keys, Some(vec![70, 80, 90, 100, 110]));
}

#[test]
fn lists_of_different_lengths_are_refused_with_both() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.parquet");
    let list = |values: &[f32]| Some(pl::Series::new("".into(), values));
    let of = |lists: Vec<Option<pl::Series>>| {
        let lists: pl::ListChunked = lists.into_iter().collect();
        pl::IntoSeries::into_series(lists).with_name("vec".into()).into_column()
    };
    write(&path, vec![of(vec![None, list(&[1.0, 2.0]), list(&[1.0, 2.0, 3.0])])]);
    let error = Embeddings::read_as(&path, &named("vec")).unwrap_err();
    assert!(error.is_bad_input());
    let expected = "column \"vec\", row 2: expected 2 numbers, as in the rows before, found 3";
    assert!(error.to_string().ends_with(expected), "{error}");
    write(&path, vec![of(vec![list(&[1.0, 2.0]), None, list(&[3.0, 4.0])])]);
    let error = Embeddings::read_as(&path, &named("vec")).unwrap_err().to_string();
    assert!(error.ends_with("column \"vec\", row 1 (id \"1\"): expected finite numbers, found null"), "{error}");
    let lenient = Vectors { drop_bad_rows: true, ..named("vec") };
    let read = Embeddings::read_as(&path, &lenient).unwrap();
    assert_eq!((read.values, read.ids), (vec![1.0, 2.0, 3.0, 4.0], vec!["0".to_owned(), "2".into()]));
    write(&path, vec![of(vec![list(&[]), list(&[])])]);
    let error = Embeddings::read_as(&path, &named("vec")).unwrap_err().to_string();
    assert!(error.ends_with("row 0: expected numbers, found 0"), "{error}");
}

#[test]
fn files_without_rows_or_types_are_no_panics() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.parquet");
    write(&path, vec![]);
    assert!(Embeddings::read(&path).unwrap_err().is_bad_input());
    write(&path, vec![pl::Series::new_null("embedding".into(), 0).into_column()]);
    let error = Embeddings::read(&path).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("expected lists of numbers, found null"), "{error}");
    write(&path, vec![vectors("embedding", &pl::DataType::Float32, true).clear()]);
    assert!(Embeddings::read(&path).unwrap().is_empty());
}

#[test]
fn directories_of_other_programs_are_one_table() {
    let dir = tempfile::tempdir().unwrap();
    let ids =
        |first: i32| pl::Series::new("id".into(), (first..first + NUM_ROWS as i32).collect::<Vec<_>>()).into_column();
    let columns = |first| vec![ids(first), vectors("vec", &pl::DataType::Float64, false)];
    // The names that Spark, DuckDB and polars give, and those of programs that number parts as Invar does.
    for names in [
        ["part-00000-6f1c.c000.snappy.parquet", "part-00001-6f1c.c000.snappy.parquet"],
        ["data_0.parquet", "data_1.parquet"],
        ["00000000.parquet", "00000001.parquet"],
        ["part-00000.parquet", "part-00001.parquet"],
    ] {
        let path = dir.path().join(names[0].split('.').next().unwrap());
        std::fs::create_dir(&path).unwrap();
        write(&path.join(names[1]), columns(50));
        write(&path.join(names[0]), columns(7));
        std::fs::write(path.join("_SUCCESS"), "").unwrap();
        std::fs::write(path.join(".part.crc"), "crc").unwrap();
        let read = Embeddings::read_as(&path, &named("vec")).unwrap();
        assert_eq!(read.ids, ["7", "8", "9", "10", "11", "50", "51", "52", "53", "54"], "{names:?}");
        assert_eq!(read.values, [values(), values()].concat());
        assert_eq!((read.provenance, info(&path).unwrap().num_parts), (None, 2));
        let table = Query::new(&path).unwrap().run("SELECT SUM(id) AS sum FROM self").unwrap();
        assert_eq!(table.to_csv(), "sum\n305\n");
        assert_eq!(dimension(&path, "vec").unwrap(), Some(DIM));
    }
}

#[test]
fn directories_of_files_that_do_not_belong_together_are_refused_with_both() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("parts");
    std::fs::create_dir(&path).unwrap();
    let says = |expected: &str| {
        let error = Embeddings::read_as(&path, &named("vec")).unwrap_err();
        assert!(error.is_bad_input() && error.to_string().contains(expected), "{error}");
    };
    says("a directory without part files");
    write(&path.join("a.parquet"), vec![vectors("vec", &pl::DataType::Float32, false)]);
    write(&path.join("b.parquet"), vec![vectors("vec", &pl::DataType::Float64, false)]);
    says("b.parquet: columns: expected vec list[f32], as in ");
    std::fs::write(path.join("notes.txt"), "").unwrap();
    says("parts: files: expected Parquet files of one table and nothing else, found \"notes.txt\"");
    std::fs::remove_file(path.join("notes.txt")).unwrap();
    std::fs::write(path.join("b.parquet"), "nothing").unwrap();
    says("b.parquet: not a whole Parquet file");
    // Embeddings that Invar has begun are not another program's file.
    let mut writer = EmbeddingWriter::create(&dir.path().join("ours.parquet"), Provenance::new("0.1.0", 1)).unwrap();
    let ids = Column { name: "id".into(), data: ColumnData::Str(vec![Some("a".into())]) };
    writer.write(&[ids], &[1.0]).unwrap();
    writer.finish(&Default::default()).unwrap();
    std::fs::rename(dir.path().join("ours.parquet"), path.join("b.parquet")).unwrap();
    says("b.parquet: kind of the file: expected a part of embeddings with its end marker");
}

#[test]
fn damage_that_a_query_meets_is_the_file_s() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.parquet");
    write(&path, vec![vectors("embedding", &pl::DataType::Float32, true)]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20..60].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let query = Query::new(&path).unwrap();
    let error = query.run("SELECT embedding FROM other").unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("other.parquet: "), "{error}");
    // Errors in the query are still the query's.
    assert!(!query.run("SELECT name FROM other").unwrap_err().is_bad_input());
}

/// Bytes of a file are changed, left out or inserted at random: the file is read or refused by name, and there is never
/// a panic.
#[test]
fn whatever_the_bytes_are_they_are_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.parquet");
    let ids = pl::Series::new("id".into(), ["a", "b", "c", "d", "e"]).into_column();
    let (mut num_read, mut num_refused) = (0, 0);
    for (inner, is_fixed) in [(pl::DataType::Float32, true), (pl::DataType::Float64, false)] {
        write(&path, vec![ids.clone(), vectors("vec", &inner, is_fixed)]);
        let whole = std::fs::read(&path).unwrap();
        for case in 0..CASES {
            let mut rng = seed::rng(u64::from(is_fixed), case);
            let mut below = |bound: usize| (seed::uniform(&mut rng) * bound as f64) as usize;
            let mut bytes = whole.clone();
            for _ in 0..=below(4) {
                let at = below(bytes.len());
                let end = (at + 1 + below(8)).min(bytes.len());
                match below(4) {
                    0 => bytes[at] ^= 1 << below(8),
                    1 => bytes[at..end].fill([0, 0x7f, 0x80, 0xff][below(4)]),
                    2 => drop(bytes.drain(at..end)),
                    _ => bytes.splice(at..at, whole[at.min(whole.len())..].iter().copied().take(8)).for_each(drop),
                }
            }
            std::fs::write(&path, &bytes).unwrap();
            let lenient = Vectors { drop_bad_rows: true, ..named("vec") };
            let read = Embeddings::read_as(&path, &lenient);
            let asked = Query::new(&path).and_then(|query| query.run("SELECT * FROM other"));
            for error in [read.err(), asked.err(), info(&path).err(), dimension(&path, "vec").err()] {
                match error {
                    None => num_read += 1,
                    Some(error) => {
                        assert!(error.is_bad_input() && error.to_string().contains("other.parquet"), "{case}: {error}");
                        num_refused += 1;
                    }
                }
            }
        }
    }
    assert!(num_read > CASES && num_refused > CASES, "{num_read} {num_refused}");
}
