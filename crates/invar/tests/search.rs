//! Similarity search through the command line. Embeddings are made up, so that the answers are known without a search.

mod support;

use std::{fs, path::Path};

use invar_dataset::{Column, ColumnData, seed};
use invar_embeddings::{EmbeddingWriter, Embeddings, Provenance, column};
use support::Bench;

const DIM: usize = 4;

/// Row `i` of `n` lies on a circle at `i / n` of a turn, with a small component in the other directions.
fn place(i: usize, n: usize) -> [f32; DIM] {
    let angle = i as f64 / n as f64 * std::f64::consts::TAU;
    [angle.cos() as f32, angle.sin() as f32, 0.0, 0.0]
}

fn text(values: impl Iterator<Item = String>) -> ColumnData {
    ColumnData::Str(values.map(Some).collect())
}

/// Embeddings at `path`: names, keys from `first_key`, lengths of 100 and more, and the values.
fn write(path: &Path, names: &[&str], first_key: i64, values: &[f32], model: &str) {
    let n = names.len();
    let columns = [
        Column { name: "id".into(), data: text(names.iter().map(|&name| name.into())) },
        Column { name: "source".into(), data: text((0..n).map(|_| "a.fq".into())) },
        Column { name: "key".into(), data: ColumnData::I64((0..n as i64).map(|row| Some(first_key + row)).collect()) },
        Column {
            name: "length_bp".into(),
            data: ColumnData::U32((0..n as u32).map(|row| (row != 3).then_some(100 + row)).collect()),
        },
        Column { name: "rank".into(), data: ColumnData::U32((0..n as u32).map(Some).collect()) },
    ];
    let provenance = Provenance { model_sha256: Some(model.into()), ..Provenance::new("0.1.0", values.len() / n) };
    let mut writer = EmbeddingWriter::create(path, provenance).unwrap();
    writer.write(&columns, values).unwrap();
    writer.finish(&Default::default()).unwrap();
}

/// Twelve rows on the circle; rows 4 and 5 are mates and share a name.
fn circle(bench: &Bench) {
    let names = ["a0", "a1", "a2", "a3", "m", "m", "a6", "a7", "a8", "a9", "b10", "b11"];
    let values: Vec<f32> = (0..12).flat_map(|i| place(i, 12)).collect();
    write(&bench.path("emb"), &names, 1000, &values, "aa");
}

/// Queries, ranks, names and cosines from CSV.
fn answers(csv: &str) -> Vec<(String, u32, String, f64)> {
    let line = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        (cells[0].to_owned(), cells[2].parse().unwrap(), cells[3].to_owned(), cells[5].parse().unwrap())
    };
    csv.lines().skip(1).map(line).collect()
}

fn names(csv: &str) -> Vec<String> {
    answers(csv).into_iter().map(|(_, _, name, _)| name).collect()
}

#[test]
fn the_nearest_are_found_by_name_key_and_file() {
    let bench = Bench::new();
    circle(&bench);
    let csv = bench.ok(&["search", "emb", "--like", "a1", "-k", "4", "--format", "csv"]);
    assert!(csv.starts_with("query,query_key,rank,id,key,cosine,source,length_bp,its_rank\n"), "{csv}");
    assert_eq!(csv.lines().nth(1).unwrap().split(',').next_back(), Some("0"));
    // Of equally near rows the first one; cosines of 30 and 60 degrees.
    assert_eq!(names(&csv), ["a0", "a2", "a3", "b11"]);
    let cosines: Vec<f64> = answers(&csv).iter().map(|answer| answer.3).collect();
    let expected = [0.75f64.sqrt(), 0.75f64.sqrt(), 0.5, 0.5];
    assert!(cosines.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{cosines:?}");
    let by_key = bench.ok(&["search", "emb", "--key", "1001", "-k", "4", "--format", "csv"]);
    assert_eq!(by_key, csv);
    assert_eq!(
        names(&bench.ok(&["search", "emb", "--like", "a1", "--itself", "-k", "2", "--format", "csv"])),
        ["a1", "a0"]
    );
    // Both mates are queries, or the one with the given key.
    let mates = bench.ok(&["search", "emb", "--like", "m", "-k", "1", "--format", "csv"]);
    assert_eq!(mates.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect::<Vec<_>>(), ["1004", "1005"]);
    assert_eq!(names(&mates), ["a3", "m"]);
    let one = bench.ok(&["search", "emb", "--like", "m", "--key", "1005", "-k", "1", "--format", "csv"]);
    assert_eq!(one.lines().nth(1), mates.lines().nth(2));
    // A file: a row with a key of EMB is that sample and does not find itself; all others may find every row.
    write(&bench.path("more.parquet"), &["a0", "new"], 1000, &[place(0, 12), place(0, 12)].concat(), "aa");
    let csv = bench.ok(&["search", "emb", "--query", "more.parquet", "-k", "2", "--format", "csv"]);
    assert_eq!(names(&csv), ["a1", "b11", "a0", "b11"], "the second has the key of a1: {csv}");
    write(&bench.path("new.parquet"), &["new"], 5000, &place(0, 12), "aa");
    assert_eq!(names(&bench.ok(&["search", "emb", "--query", "new.parquet", "-k", "1", "--format", "csv"])), ["a0"]);
    assert!(!bench.path("emb.index").exists(), "so few rows have no index");
}

#[test]
fn tables_say_what_tells_and_json_says_all() {
    let bench = Bench::new();
    circle(&bench);
    let table = bench.ok(&["search", "emb", "--like", "a1", "-k", "2"]);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["query", "rank", "id", "cosine", "length_bp", "its_rank"], "no column of one value, no keys");
    assert_eq!(lines[2], ["a1", "1", "a0", "0.866025", "100", "0"]);
    let table = bench.ok(&["search", "emb", "--like", "m", "-k", "2"]);
    assert!(table.starts_with("query  query_key  rank  id   key"), "mates have one name: {table}");
    let json = bench.json(&["search", "emb", "--like", "a1", "-k", "2", "--json"]);
    assert_eq!((&json["k"], &json["recall_when_made"], &json["num_rows"]), (&2.into(), &1.0.into(), &12.into()));
    assert_eq!(json["answers"][1]["id"], "a2");
    let lines = bench.ok(&["search", "emb", "--like", "a1", "-k", "2", "--format", "ndjson"]);
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first, json["answers"][0]);
}

#[test]
fn a_condition_holds_before_the_nearest_are_counted() {
    let bench = Bench::new();
    circle(&bench);
    let found = |condition: &str| {
        names(&bench.ok(&["search", "emb", "--like", "a1", "--where", condition, "-k", "3", "--format", "csv"]))
    };
    assert_eq!(found("length_bp >= 106"), ["b11", "b10", "a9"]);
    assert_eq!(found("id LIKE 'b%' -- and no more"), ["b11", "b10"]);
    // Neither true nor false for row 3, which has no length.
    assert_eq!(found("length_bp <> 100"), ["a2", "b11", "m"]);
    assert_eq!(found("length_bp > 9000"), Vec::<String>::new());
    let error = bench.fails(2, &["search", "emb", "--like", "a1", "--where", "lenght_bp > 5 AND rank = 1"]);
    let shown = "  lenght_bp > 5 AND rank = 1\n  ^^^^^^^^^\n";
    assert!(
        error.contains("no column \"lenght_bp\"; the nearest is \"length_bp\"") && error.contains(shown),
        "{error}"
    );
    let error = bench.fails(2, &["search", "emb", "--like", "a1", "--where", "length_bp > > 5"]);
    assert!(error.contains("  length_bp > > 5\n              ^\n"), "{error}");
    let error = bench.fails(2, &["search", "emb", "--like", "a1", "--where", "rank = 1 ORDER BY rank"]);
    assert!(error.contains("the condition ends before ORDER") && error.contains("           ^^^^^"), "{error}");
    assert_eq!(found("cosine(embedding, [-1.0, 0.0, 0.0, 0.0]) > 0.8"), ["m", "a6", "a7"]);
}

#[test]
fn parquet_holds_the_answers_and_who_gave_them() {
    let bench = Bench::new();
    circle(&bench);
    bench.ok(&["search", "emb", "--like", "a1", "a7", "-k", "3", "--out", "hits.parquet"]);
    let hits = bench.path("hits.parquet");
    let info = invar_embeddings::info(&hits).unwrap();
    let columns: Vec<&str> = info.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["query", "query_key", "rank", "id", "key", "cosine"]);
    let provenance = info.provenance.unwrap();
    assert_eq!((provenance.model_sha256.as_deref(), &provenance.extra["search"]["top"]), (Some("aa"), &3.into()));
    assert_eq!(
        column(&hits, "key").unwrap().data,
        ColumnData::I64([1000, 1002, 1003, 1006, 1008, 1005].map(Some).to_vec())
    );
    let error = bench.fails(2, &["search", "emb", "--like", "a1", "--out", "hits.parquet"]);
    assert!(error.contains("exists already"), "{error}");
    bench.fails(2, &["search", "new.parquet", "--like", "a1", "--out", "new.parquet", "--force"]);
    bench.ok(&["search", "emb", "--like", "a1", "--out", "hits.parquet", "--force"]);
    bench.ok(&["search", "emb", "--like", "a1", "-k", "1", "--out", "hits.csv"]);
    let text = fs::read_to_string(bench.path("hits.csv")).unwrap();
    assert_eq!(text, "query,query_key,rank,id,key,cosine\na1,1001,1,a0,1000,0.8660254\n");
    assert!(
        bench.fails(2, &["search", "emb", "--like", "a1", "--out", "hits.xyz"]).contains("hits.xyz: ends in none of")
    );
    assert!(!bench.path("hits.xyz").exists());
    assert_eq!(invar_embeddings::info(&hits).unwrap().num_rows, 10);
}

#[test]
fn what_does_not_fit_is_told_with_both_values() {
    let bench = Bench::new();
    circle(&bench);
    let error = bench.fails(2, &["search", "emb", "--like", "a1", "b12"]);
    assert!(error.contains("no sample is called \"b12\"; did you mean \"b10\" or \"b11\"?"), "{error}");
    assert!(bench.fails(2, &["search", "emb", "--key", "7"]).contains("no sample has the key 7"));
    let error = bench.fails(2, &["search", "emb", "--like", "m", "--key", "1001"]);
    assert!(error.contains("--key 1001 is \"a1\", which --like does not name"), "{error}");
    assert!(bench.fails(2, &["search", "emb"]).contains("--like"));
    bench.fails(2, &["search", "nothing", "--like", "a1"]);
    bench.fails(2, &["search", "emb", "--like", "a1", "-k", "0"]);
    write(&bench.path("other.parquet"), &["x"], 1, &place(0, 12), "bb");
    let error = bench.fails(3, &["search", "emb", "--query", "other.parquet"]);
    assert!(error.contains("the model is aa in emb and bb in other.parquet"), "{error}");
    write(&bench.path("wide.parquet"), &["x"], 1, &[1.0; 5], "aa");
    let error = bench.fails(3, &["search", "emb", "--query", "wide.parquet"]);
    assert!(error.contains("the dimension of the embedding is 4 in emb and 5 in wide.parquet"), "{error}");
    write(&bench.path("bad.parquet"), &["x", "y"], 1, &[1.0, 0.0, 0.0, 0.0, 1.0, f32::NAN, 0.0, 0.0], "aa");
    for args in [["search", "emb", "--query", "bad.parquet"], ["search", "bad.parquet", "--like", "x"]] {
        let error = bench.fails(3, &args);
        assert!(
            error.contains(
                "bad.parquet: column \"embedding\", row 1 (id \"y\"): expected finite numbers, found NaN in place 1"
            ),
            "{error}"
        );
    }
    // Complete files of another kind.
    bench.write("reads.parquet", "no Parquet at all");
    bench.fails(3, &["search", "reads.parquet", "--like", "x"]);
}

/// Enough rows for an index: around a thousand places in eight dimensions.
const MANY: usize = 100_003;

fn many_values(seed: u64) -> Vec<f32> {
    let number = |stream: u64, at: usize| {
        let mut rng = seed::rng(seed ^ stream << 32, at as u64);
        move || 2.0 * seed::uniform(&mut rng) - 1.0
    };
    let row = |row: usize| {
        let (mut place, mut own) = (number(1, row % 1000), number(2, row));
        (0..8).map(move |_| (place() + 0.05 * own()) as f32)
    };
    (0..MANY).flat_map(row).collect()
}

/// The names of the nearest other rows of a row, by a scan in double precision.
fn scanned(values: &[f32], row: usize, k: usize) -> Vec<String> {
    let at = |row: usize| values[row * 8..][..8].iter().map(|&x| f64::from(x));
    let dot = |a: usize, b: usize| at(a).zip(at(b)).map(|(a, b)| a * b).sum::<f64>();
    let others = (0..MANY).filter(|&other| other != row);
    let mut all: Vec<(f64, usize)> =
        others.map(|other| (dot(row, other) / (dot(row, row) * dot(other, other)).sqrt(), other)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all[..k].iter().map(|(_, row)| format!("s{row}")).collect()
}

fn many(bench: &Bench, emb: &str, seed: u64) -> usize {
    let n = MANY;
    let names: Vec<String> = (0..n).map(|row| format!("s{row}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    write(&bench.path(emb), &names, 1, &many_values(seed), "aa");
    n
}

#[test]
fn an_index_is_made_kept_checked_and_made_anew() {
    let bench = Bench::new();
    let n = many(&bench, "emb", 1);
    let ask = ["search", "emb", "--like", "s0", "s70001", "-k", "4", "--format", "csv"];
    let search = |more: &[&str]| {
        let output = bench.output(&[&ask[..], more].concat());
        assert!(output.status.success(), "{output:?}");
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (exact, words) = search(&["--exact"]);
    assert!(words.is_empty() && !bench.path("emb.index").exists(), "{words}");
    let (found, words) = search(&["--recall"]);
    assert!(words.contains("making an index of 100,003 rows") && words.contains("emb.index: kept"), "{words}");
    assert!(words.contains("recall@4 1.0000 against exact search, 2 queries"), "{words}");
    assert_eq!(found, exact);
    let values = many_values(1);
    assert_eq!(names(&found), [scanned(&values, 0, 4), scanned(&values, 70_001, 4)].concat());

    // Kept: the second time there is no message, and the bytes are the same for any number of threads.
    let kept = fs::read(bench.path("emb.index")).unwrap();
    assert_eq!(search(&[]), (found.clone(), String::new()));
    for threads in ["1", "3"] {
        fs::remove_file(bench.path("emb.index")).unwrap();
        assert_eq!(search(&["--threads", threads]).0, found);
        assert!(fs::read(bench.path("emb.index")).unwrap() == kept, "{threads} threads");
    }
    let json = bench.json(&["info", "emb.index", "--verify", "--json"]);
    assert_eq!((&json["kind"], &json["num_rows"], &json["verified"]), (&"index".into(), &n.into(), &true.into()));
    assert_eq!(
        json["made_of"]["parts"].as_array().unwrap().len(),
        invar_embeddings::info(&bench.path("emb")).unwrap().num_parts
    );
    // The index is next to the embeddings, which remain a directory of Parquet files only.
    assert_eq!(Embeddings::read(&bench.path("emb")).unwrap().len(), n);

    // A condition leaves the index unchanged.
    let (under, _) = search(&["--where", "length_bp < 50000"]);
    assert!(names(&under).iter().all(|name| name[1..].parse::<usize>().unwrap() < 49_900));
    assert!(fs::read(bench.path("emb.index")).unwrap() == kept);

    // Damaged: reported, and rebuilt.
    for damage in [kept.len() / 2, 20] {
        let mut bytes = kept.clone();
        bytes[damage] ^= 1;
        bench.write("emb.index", &bytes);
        bench.fails(3, &["info", "emb.index", "--verify"]);
        let (again, words) = search(&[]);
        assert!(words.contains("emb.index: checksum") && words.contains("made anew") && again == found, "{words}");
        assert!(fs::read(bench.path("emb.index")).unwrap() == kept);
    }
    bench.write("emb.index", &kept[..1000]);
    assert!(search(&[]).1.contains("size in bytes"), "cut short");

    // Copied embeddings are the same; others under the same name are not.
    fs::rename(bench.path("emb"), bench.path("old")).unwrap();
    fs::create_dir(bench.path("emb")).unwrap();
    for part in fs::read_dir(bench.path("old")).unwrap() {
        let part = part.unwrap();
        fs::copy(part.path(), bench.path("emb").join(part.file_name())).unwrap();
    }
    assert_eq!(search(&[]), (found.clone(), String::new()));
    fs::remove_dir_all(bench.path("emb")).unwrap();
    many(&bench, "emb", 2);
    let (turned, words) = search(&[]);
    assert!(words.contains("made of another part-00000.parquet") && turned != found, "{words}");
    assert!(search(&[]).1.is_empty());

    // A file of that name that belongs to someone else stays.
    bench.write("emb.index", "my notes");
    let (again, words) = search(&[]);
    assert!(words.contains("no index is kept") && names(&again) == names(&turned), "{words}");
    assert_eq!(fs::read(bench.path("emb.index")).unwrap(), b"my notes");
}

#[test]
fn rows_without_a_vector_are_left_out_on_request_and_the_others_keep_their_places() {
    let bench = Bench::new();
    let mut values: Vec<f32> = (0..12).flat_map(|i| place(i, 12)).collect();
    values[2 * DIM] = f32::NAN;
    let names_of = ["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "a10", "a11"];
    write(&bench.path("emb"), &names_of, 1000, &values, "aa");
    let ask = |more: &[&str]| {
        let fixed = ["search", "emb", "--drop-bad-rows", "-k", "2", "--format", "csv"];
        names(&bench.ok(&[&fixed[..], more].concat()))
    };
    assert_eq!(ask(&["--like", "a1"]), ["a0", "a3"]);
    assert_eq!(ask(&["--like", "a5", "--where", "length_bp > 101"]), ["a4", "a6"]);
    let of_all = ask(&["--query", "emb", "--where", "id IN ('a2', 'a8', 'a9')"]);
    assert_eq!(of_all, ["a9", "a9", "a8", "a8", "a8", "a8", "a8", "a9", "a8", "a9", "a9"]);
    let error = bench.fails(3, &["search", "emb", "--like", "a2", "--drop-bad-rows"]);
    assert!(error.contains("row 2 (\"a2\") holds no vector"), "{error}");
    bench.fails(3, &["search", "emb", "--like", "a1"]);

    // An index knows which rows were left out of it.
    let mut values = many_values(1);
    values[8 * 70_000 + 3] = f32::INFINITY;
    let all: Vec<String> = (0..MANY).map(|row| format!("s{row}")).collect();
    write(&bench.path("many"), &all.iter().map(String::as_str).collect::<Vec<_>>(), 1, &values, "aa");
    let lenient = ["search", "many", "--like", "s70001", "-k", "4", "--format", "csv", "--drop-bad-rows"];
    // The scan must not find it: it is as far away as possible.
    (0..8).for_each(|at| values[8 * 70_000 + at] = -values[8 * 70_001 + at]);
    let expected = scanned(&values, 70_001, 4);
    for _ in 0..2 {
        assert_eq!(names(&bench.ok(&lenient)), expected);
        assert!(bench.ok(&["info", "many.index"]).contains("column embedding, without 1 row that hold"));
    }
    let error = bench.fails(3, &lenient[..lenient.len() - 1]);
    assert!(error.contains("made without 1 row") && error.contains("row 70000 (id \"s70000\")"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_place_that_cannot_be_written_is_no_error() {
    let bench = Bench::new();
    many(&bench, "emb", 1);
    // Root may write everywhere; a directory in place of the index stops it too.
    fs::create_dir(bench.path("emb.index")).unwrap();
    let words = bench.words(&["search", "emb", "--like", "s5", "-k", "2"]);
    assert!(words.contains("emb.index") && words.contains("no index is kept"), "{words}");
}
